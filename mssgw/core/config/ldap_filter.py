"""Search filters (RFC 4515) with {address}, {local} and {domain} in their values, parsed once from the operator's text.

`smime.ldap_messages` fills them with an address as a value: what stands in an address can't become syntax.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mssgw.core.errors import Mistake

MAX_DEPTH: Final = 8


class FilterError(Mistake):
    """Not a search filter (RFC 4515). The text says where."""


HOLES: Final = ("address", "local", "domain")
_WRITTEN: Final = {name: f"{{{name}}}" for name in HOLES}
_HOLE = re.compile(r"\{(\w*)\}")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*(?:;[A-Za-z0-9-]+)*\Z|[0-9]+(?:\.[0-9]+)+(?:;[A-Za-z0-9-]+)*\Z")
_HEX = re.compile(r"[0-9A-Fa-f]{2}")
_SIMPLE = re.compile(r"([^=~<>:()]*)(=|~=|>=|<=)([^()]*)\Z")


@dataclass(frozen=True, slots=True)
class Value:
    """An assertion value: octets, and places where a part of the address goes."""

    parts: tuple[bytes | str, ...]

    @classmethod
    def parse(cls, text: str) -> Value:
        pieces = _HOLE.split(text)
        parts: list[bytes | str] = []
        for index, piece in enumerate(pieces):
            if index % 2 == 0:
                if piece:
                    parts.append(_unescape(piece))
            elif piece in HOLES:
                parts.append(piece)
            else:
                raise FilterError("config.filter.hole", given=f"{{{piece}}}", **_WRITTEN)
        return cls(tuple(parts))


@dataclass(frozen=True, slots=True)
class Group:
    """and, or, not."""

    kind: str  # "&", "|", "!"
    inside: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Presence:
    attribute: bytes


@dataclass(frozen=True, slots=True)
class Comparison:
    sign: str  # "=", "~=", ">=", "<="
    attribute: bytes
    value: Value


@dataclass(frozen=True, slots=True)
class Substrings:
    attribute: bytes
    pieces: tuple[Value, ...]  # what stands between the stars; empty first and last ones are left out when sent


Filter = Group | Presence | Comparison | Substrings


def parse(text: str) -> Filter:
    """A filter in RFC 4515 form, with {address}, {local} and {domain} in its values. Raises FilterError."""
    found, at = _parse(text, 0, MAX_DEPTH)
    if at != len(text):
        raise FilterError("config.filter.rest", at=at + 1)
    if not any(_holes(found)):
        raise FilterError("config.filter.nobody", **_WRITTEN)
    return found


def _holes(one: Filter) -> Iterable[str]:
    match one:
        case Group():
            yield from (hole for inner in one.inside for hole in _holes(inner))
        case Comparison():
            yield from (part for part in one.value.parts if isinstance(part, str))
        case Substrings():
            yield from (part for piece in one.pieces for part in piece.parts if isinstance(part, str))


def _parse(text: str, at: int, depth: int) -> tuple[Filter, int]:
    if text[at : at + 1] != "(":
        raise FilterError("config.filter.expected", sign="'('", at=at + 1)
    if not depth:
        raise FilterError("config.filter.deep", most=MAX_DEPTH)
    at += 1
    if (kind := text[at : at + 1]) in ("&", "|", "!"):
        inside: list[Filter] = []
        at += 1
        while text[at : at + 1] == "(":
            one, at = _parse(text, at, depth - 1)
            inside.append(one)
        if not inside or (kind == "!" and len(inside) > 1):
            raise FilterError("config.filter.group", kind=f"'{kind}'", number=len(inside), at=at + 1)
        made: Filter = Group(kind, tuple(inside))
    else:
        end = next((index for index in range(at, len(text)) if text[index] in "()"), len(text))
        made, at = _item(text[at:end]), end
    if text[at : at + 1] != ")":
        raise FilterError("config.filter.expected", sign="')'", at=at + 1)
    return made, at + 1


def _item(text: str) -> Filter:
    found = _SIMPLE.match(text)
    if not found:
        raise FilterError("config.filter.item", text=text)
    name, sign, value = found.groups()
    if not _ATTRIBUTE.match(name):
        raise FilterError("config.filter.attribute", name=name)
    if sign == "=" and value == "*":
        return Presence(name.encode())
    if sign == "=" and "*" in value:
        pieces = tuple(Value.parse(piece) for piece in value.split("*"))
        if not any(piece.parts for piece in pieces):
            raise FilterError("config.filter.stars", text=text)
        return Substrings(name.encode(), pieces)
    return Comparison(sign, name.encode(), Value.parse(value))


def _unescape(text: str) -> bytes:
    """Backslash and two hexadecimal digits stand for an octet (RFC 4515 3)."""
    first, *others = text.split("\\")
    made = [first.encode()]
    for one in others:
        if not _HEX.match(one):
            raise FilterError("config.filter.escape", text=f"\\{one[:2]}")
        made += [bytes.fromhex(one[:2]), one[2:].encode()]
    return b"".join(made)
