"""Prints `config/mssgw.toml`: every setting with its sentence, its type and its default.

`python -m mssgw.core.config.reference > config/mssgw.toml`; a test compares the two.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from mssgw.core.config import Config
from mssgw.core.config.base import Listen, Network, Secret, Settings

HEADER = """\
# mssgw: every setting. `mssgw init` writes a configuration that works; from here comes what it lacks.
# "# " explains; "#" alone stands before a setting with its default, or with an example where one is required. Take the '#'
# away from the tables and the settings that you use.
# Relative paths: what you give (certificates, keys, anchors, directories) starts at this file's directory; what the node
# keeps (stores, bodies, lists) at `[node] data`. Secrets: file:PATH, or credential:NAME (systemd LoadCredential).
# Check a file with `mssgw config check FILE`; see what is in force with `mssgw config show FILE`.
"""

_KINDS: dict[Any, str] = {
    str: "text",
    int: "number",
    bool: "true or false",
    Path: "path",
    Secret: "secret",
    Listen: "host:port",
    Network: "network",
    float: "number",
}


def reference() -> str:
    return HEADER + "\n".join(line for name, kind, note, _ in _fields(Config) for line in _table(name, kind, note)) + "\n"


def _fields(table: type[Settings]) -> Iterator[tuple[str, Any, str, msgspec.inspect.Field | Any]]:
    hints = get_type_hints(table, include_extras=True)
    for field in msgspec.structs.fields(table):
        kind, *notes = get_args(hints[field.name]) if get_origin(hints[field.name]) is Annotated else (hints[field.name],)
        note = next((meta.description for meta in notes if getattr(meta, "description", None)), "")
        yield field.name, kind, note, field


def _table(name: str, kind: Any, note: str) -> Iterator[str]:
    several = get_origin(kind) is tuple
    table = next(one for one in (get_args(kind) or (kind,)) if isinstance(one, type) and issubclass(one, Settings))
    yield f"\n# {note}"
    yield f"#[[{name}]]" if several else f"#[{name}]"
    inner = [(setting, value_kind, sentence) for setting, value_kind, sentence, _ in _fields(table) if _is_table(value_kind)]
    for setting, value_kind, sentence, field in _fields(table):
        if _is_table(value_kind):
            continue
        yield f"# {sentence} ({_kind(value_kind)}{', required' if field.required else ''})"
        if field.required:
            yield f"#{setting} = {_example(setting, value_kind)}"
        else:
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            yield f"#{setting} = {_toml(default)}" if default is not None else f"#{setting} ="
    for setting, value_kind, sentence in inner:
        yield from _table(f"{name}.{setting}", value_kind, sentence)


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


def _kind(kind: Any) -> str:
    kind = getattr(kind, "__supertype__", kind)
    if get_origin(kind) is Annotated:
        return _kind(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return " | ".join(get_args(kind))
    if get_origin(kind) in (types.UnionType, typing.Union):
        return ", ".join(_kind(one) for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is dict:
        return "table of text"
    if get_origin(kind) is tuple:
        return "list of " + _kind(get_args(kind)[0])
    return _KINDS.get(kind, getattr(kind, "__name__", str(kind)))


_EXAMPLES = {
    "hostname": "mx.hospital.example",
    "data": "/var/lib/mssgw",
    "master_key": "credential:mssgw.master.key",
    "anchors": "anchors",
    "certificate": "operator.pem",
    "key": "file:operator.key",
    "urls": "ldaps://directory.hospital.example",
    "base": "ou=people,dc=hospital,dc=example",
    "name": "hospital.example",
    "domain": "other.example",
    "host": "mx.other.example",
    "url": "https://dmp.example/si-dmp-server/v2/services",
    "address": "jeanne.martin@hospital.example",
    "id": "899700000001",
    "family": "Martin",
    "given": "Jeanne",
    "structure_id": "1750712184",
    "structure_name": "Hospital",
}


def _example(setting: str, kind: Any) -> str:
    example = f'"{_EXAMPLES[setting]}"'
    return f"[{example}]" if get_origin(kind) is tuple else example


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{}"  # a default is empty
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return str(value) if isinstance(value, int | float) else f'"{value}"'


if __name__ == "__main__":
    print(reference(), end="")
