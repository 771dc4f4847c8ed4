"""`mssgw config check|show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from mssgw.cli.frame import Json, failure, output
from mssgw.core.config import Config, ConfigError, load

app = typer.Typer(help="The configuration.", no_args_is_help=True)


def loaded(path: Path) -> Config:
    """The configuration, or the end of the program with every mistake printed."""
    try:
        return load(path)
    except ConfigError as error:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        for where, sentence in error.problems:
            console.print(f"{path}: {where + ': ' if where else ''}{sentence}", markup=False)
        raise typer.Exit(1) from error


@app.command()
def check(path: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Say every mistake in FILE at once, each with its path."""
    config = loaded(path)
    for name, secret in config.secrets():
        if secret.scheme == "pkcs11":
            continue  # it never leaves its token
        try:
            secret.read()
        except OSError as error:
            raise failure(f"{path}: {name}: {secret}: {error.strerror or error}") from error
    output(f"{path}: ok, {len(config.domain)} domain(s)", json=False, document={})


@app.command()
def show(path: Annotated[Path, typer.Argument(metavar="FILE")], json: Json = False) -> None:
    """Print what is in force, defaults included. Secrets are shown by reference."""
    document = msgspec.to_builtins(loaded(path), enc_hook=str)
    text = "\n".join(f"{name} = {value!r}" for name, value in _flat(document, ""))
    output(text, json=json, document=document)


def _flat(value: object, path: str) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [pair for name, one in value.items() for pair in _flat(one, f"{path}.{name}" if path else name)]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [pair for index, one in enumerate(value) for pair in _flat(one, f"{path}[{index}]")]
    return [(path, value)]
