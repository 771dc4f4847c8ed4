"""`mssgw config check|show`."""

from __future__ import annotations

import contextlib
import json as json_module
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from mssgw.cli.frame import Family, Json, failure, output
from mssgw.core import owner
from mssgw.core.config import Config, ConfigError, load
from mssgw.node.readiness import remarks, require_ready

app = Family(help="The configuration.", no_args_is_help=True)


def loaded(path: Path) -> Config:
    """The configuration, or the end of the program with every mistake printed."""
    with _mistakes(path):
        return load(path)


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
    with _mistakes(path):
        _as_the_service(config)
        require_ready(config)
        if sentence := config.dmp.misplaced(config.node.data, path.parent.absolute()) if config.dmp else "":
            raise ConfigError([("dmp.store", sentence)])
    for name, secret in config.secrets():
        if exposure := secret.exposure(config.node.data):
            sys.stderr.write(f"{path}: warning: {name}: {exposure}\n")
    for name, sentence in remarks(config, datetime.now(UTC)):
        sys.stderr.write(f"{path}: warning: {name}: {sentence}\n")
    output(f"{path}: ok, {len(config.domain)} domain(s)", json=False, document={})


def _as_the_service(config: Config) -> None:
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
