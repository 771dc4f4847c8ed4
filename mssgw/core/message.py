"""Headers and Message: a header section parsed once, order and raw octets kept.

Reading a header section never fails: a line that is not a field is kept as it stands and has no name.
Limits are checked where octets come in from outside (`protocol.mime`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mssgw.core.body import Body
from mssgw.core.envelope import Envelope

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")  # RFC 5322 2.2, with the obsolete blank before the colon
_UNFOLD = re.compile(rb"\r?\n(?=[ \t])")


@dataclass(frozen=True, slots=True)
class Field:
    """One header field. `raw` is everything, folds and final CRLF included."""

    name: str  # lower case; "" when the line is not a field
    raw: bytes

    @property
    def value(self) -> str:
        """Unfolded body, decoded as UTF-8 where it is and Latin-1 where it is not (RFC 6532, and what really comes)."""
        text = _UNFOLD.sub(b"", self.raw.partition(b":")[2]).strip(b" \t\r\n")
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError:
            return text.decode("latin-1")


@dataclass(frozen=True, slots=True)
class Headers:
    fields: tuple[Field, ...]

    @classmethod
    def parse(cls, section: bytes) -> Headers:
        """Parse the octets before the empty line (which may be included)."""
        names: list[str] = []
        lines_of: list[list[bytes]] = []  # joined once per field: a field may have very many folds
        lines = section.splitlines(keepends=True) if b"\r" not in section.replace(b"\r\n", b"") else section.split(b"\n")
        for line in lines:
            if line in (b"\r\n", b"\n", b""):
                break
            if line[:1] in (b" ", b"\t") and names:
                lines_of[-1].append(line)
            else:
                found = _FIELD.match(line)
                names.append(found[1].decode("ascii").lower() if found else "")
                lines_of.append([line])
        return cls(tuple(Field(name, b"".join(parts)) for name, parts in zip(names, lines_of, strict=True)))

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __bytes__(self) -> bytes:
        return b"".join(field.raw for field in self.fields)

    def all(self, name: str) -> list[str]:
        wanted = name.lower()
        return [field.value for field in self.fields if field.name == wanted]

    def first(self, name: str) -> str | None:
        wanted = name.lower()
        return next((field.value for field in self.fields if field.name == wanted), None)

    def without(self, drop: Iterable[str] | Callable[[Field], bool]) -> Headers:
        """A copy without the named fields, or without those for which the function returns True."""
        if callable(drop):
            return Headers(tuple(field for field in self.fields if not drop(field)))
        names = {name.lower() for name in drop}
        return Headers(tuple(field for field in self.fields if field.name not in names))

    def prepend(self, *fields: tuple[str, str]) -> Headers:
        """A copy with new fields on top. Values must be folded by the caller and hold no bare line ends."""
        return Headers(tuple(make_field(name, value) for name, value in fields) + self.fields)

    def append(self, *fields: tuple[str, str]) -> Headers:
        return Headers(self.fields + tuple(make_field(name, value) for name, value in fields))


def make_field(name: str, value: str) -> Field:
    """A new field. Raises ValueError on a line end that would start another field."""
    raw = f"{name}: {value}\r\n".encode()
    if re.search(rb"\r(?!\n)|(?<!\r)\n|\n(?![ \t])(?!\Z)", raw):
        raise ValueError(f"line end inside header field {name}")
    return Field(name.lower(), raw)


@dataclass(frozen=True, slots=True)
class Message:
    envelope: Envelope
    body: Body
