"""`mssgw config check|show`."""

from __future__ import annotations

import contextlib
import json as json_module
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from bilingual import localtime
from mssgw.cli.frame import Family, Json, at, both, failure, output, warn
from mssgw.core.config import Config, ConfigError, load
from mssgw.core.errors import Problem, located
from mssgw.core.texts import message

_IN_ADDRESS: Final = re.compile(r"(://[^:/?#]*:)[^/?#]*(?=@)")
_IN_QUERY: Final = re.compile(r"([?&](?:ssl)?password=)[^&#]*", re.IGNORECASE)

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
        raise refused(path, error.problems) from error


def refused(path: Path, problems: list[Problem]) -> typer.Exit:
    """To be raised: the end of a verb whose configuration can't be used, with all that is wrong in it."""
    said = [at(path, located(*one)) for one in problems]
    return failure(*said, fault="configuration", known={"problems": as_json(problems)})


def as_json(problems: Iterable[Problem]) -> list[dict[str, str]]:
    return [{"where": where, "sentence": what.en, "sentence_fr": what.fr} for where, what in problems]


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="FILE")],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as well: status 1 when there is one.")] = False,
    json: Json = False,
) -> None:
    """Say every mistake in FILE at once, each with its path; then what stops some mail and no node, as warnings."""
    config = loaded(path)
    from mssgw.cli.judgement import judged  # brings the whole node in: not for the verbs that only read the file

    mistakes, warnings = judged(config, path)
    if mistakes:
        raise refused(path, mistakes)
    if warnings and not json:
        warn(*(at(path, message("config.warning", what=located(*one))) for one in warnings))
    if warnings and strict:
        known = {"problems": [], "warnings": as_json(warnings)}
        raise failure(message("config.strict", path=path, count=len(warnings)), fault="configuration", known=known)
    facts = {"domains": len(config.domain), "warnings": len(warnings)}
    text = both(message("config.ok", path=path, **facts))
    output(text, json=json, document={"valid": True, "domains": facts["domains"], "warnings": as_json(warnings)})


@app.command()
def show(path: Annotated[Path, typer.Argument(metavar="FILE")], json: Json = False) -> None:
    """Print what is in force, defaults included. Secrets are shown by reference."""
    document = _without_passwords(msgspec.to_builtins(loaded(path), enc_hook=str))
    text = "\n".join(f"{name} = {_toml(value)}" for name, value in _flat(document, "") if value is not None)
    output(text, json=json, document=document)


def _without_passwords(value: Any) -> Any:
    """The addresses of databases and of other services may hold a password, which stays in the file."""
    if isinstance(value, dict):
        return {name: _without_passwords(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_passwords(one) for one in value]
    if isinstance(value, str) and "://" in value:
        return _IN_QUERY.sub(r"\1***", _IN_ADDRESS.sub(r"\1***", value))
    return value


def _flat(value: object, path: str) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [pair for name, one in value.items() for pair in _flat(one, f"{path}.{name}" if path else name)]
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return [pair for index, one in enumerate(value) for pair in _flat(one, f"{path}[{index}]")]
    return [(path, value)]


def _toml(value: object) -> str:
    """As it would stand in the file: JSON's way to write text, numbers, lists and truth is TOML's."""
    return json_module.dumps(value, ensure_ascii=False)
