"""`mssgw config check|show`."""

from __future__ import annotations

import contextlib
import json as json_module
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from bilingual import localtime
from mssgw import store
from mssgw.cli.frame import Family, Json, failure, output
from mssgw.core import owner
from mssgw.core.config import Config, ConfigError, load
from mssgw.node.readiness import require_ready
from mssgw.node.remarks import remarks

Finding = tuple[str, str]  # where in the file, sentence

app = Family(help="The configuration.", no_args_is_help=True)


def loaded(path: Path) -> Config:
    """The configuration, or the end of the program with every mistake printed."""
    with _mistakes(path):
        config = load(path)
    localtime.use(config.node.timezone)
    return config


@contextlib.contextmanager
def _mistakes(path: Path) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        lines = [f"{path}: {where + ': ' if where else ''}{sentence}" for where, sentence in error.problems]
        raise failure("\n".join(lines), fault="configuration") from error


@app.command()
def check(path: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Say every mistake in FILE at once, each with its path."""
    config = loaded(path)
    mistakes, warnings = judged(config, path)
    if mistakes:
        with _mistakes(path):
            raise ConfigError(mistakes)
    for name, sentence in warnings:
        sys.stderr.write(f"{path}: warning: {name + ': ' if name else ''}{sentence}\n")
    counted = f", {len(warnings)} warning(s)" if warnings else ""
    output(f"{path}: ok, {len(config.domain)} domain(s){counted}", json=False, document={})


def judged(config: Config, path: Path) -> tuple[list[Finding], list[Finding]]:
    """Mistakes and warnings of a file, as the service will meet them: root becomes the owner of the data, for good."""
    mistakes: list[Finding] = []
    try:
        _become_the_service(config)
    except ConfigError as error:  # nothing that another user sees would say anything about the service
        return error.problems, []
    for each in (require_ready, partial(_require_place, path=path), store.require_answer):
        try:
            each(config)
        except ConfigError as error:
            mistakes += error.problems
    exposed = [(name, secret.exposure(config.node.data)) for name, secret in config.secrets()]
    return mistakes, [*((name, sentence) for name, sentence in exposed if sentence), *remarks(config, datetime.now(UTC))]


def _require_place(config: Config, path: Path) -> None:
    if sentence := config.dmp.misplaced(config.node.data, path.parent.absolute()) if config.dmp else "":
        raise ConfigError([("dmp.store", sentence)])


def _become_the_service(config: Config) -> None:
    """The service gets its credentials from systemd, and reads all else itself: so do we. Raises ConfigError."""
    for _, secret in config.secrets():
        if secret.scheme == "credential":
            with contextlib.suppress(OSError):  # said with the other secrets
                secret.hold()
    owner.become(config.node.data)


@app.command()
def show(path: Annotated[Path, typer.Argument(metavar="FILE")], json: Json = False) -> None:
    """Print what is in force, defaults included. Secrets are shown by reference."""
    document = msgspec.to_builtins(loaded(path), enc_hook=str)
    text = "\n".join(f"{name} = {_toml(value)}" for name, value in _flat(document, "") if value is not None)
    output(text, json=json, document=document)


def _flat(value: object, path: str) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [pair for name, one in value.items() for pair in _flat(one, f"{path}.{name}" if path else name)]
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return [pair for index, one in enumerate(value) for pair in _flat(one, f"{path}[{index}]")]
    return [(path, value)]


def _toml(value: object) -> str:
    """As it would stand in the file: JSON's way to write text, numbers, lists and truth is TOML's."""
    return json_module.dumps(value, ensure_ascii=False)
