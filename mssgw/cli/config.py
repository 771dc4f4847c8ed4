"""`mssgw config check|show`."""

from __future__ import annotations

import contextlib
import json as json_module
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from bilingual import localtime
from mssgw.cli.frame import Family, Json, failure, output
from mssgw.core.config import Config, ConfigError, load

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
    from mssgw.cli.judgement import judged  # brings the whole node in: not for the verbs that only read the file

    mistakes, warnings = judged(config, path)
    if mistakes:
        with _mistakes(path):
            raise ConfigError(mistakes)
    for name, sentence in warnings:
        sys.stderr.write(f"{path}: warning: {name + ': ' if name else ''}{sentence}\n")
    counted = f", {len(warnings)} warning(s)" if warnings else ""
    output(f"{path}: ok, {len(config.domain)} domain(s){counted}", json=False, document={})


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
