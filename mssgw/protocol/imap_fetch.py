"""FETCH items and sections. RFC 3501 6.4.5."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mssgw.protocol.imap_lexer import BadSyntax, Cursor
from mssgw.protocol.mime import string

# Items without arguments.
PLAIN = frozenset({"FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "BODY"})
_MACROS = {
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
_NAME = re.compile(rb"[A-Za-z0-9.]+")
_NUMBERS = re.compile(rb"([1-9]\d{0,8}(?:\.[1-9]\d{0,8})*)(?:\.(?=[A-Za-z])|(?=\]))")
_TEXT = re.compile(rb"HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME", re.IGNORECASE)
_PARTIAL = re.compile(rb"<(\d{1,10})\.(\d{1,10})>")
MAX_PATH = 100


@dataclass(frozen=True, slots=True)
class Section:
    """BODY[...] in all its forms, and RFC822, RFC822.HEADER, RFC822.TEXT."""

    path: tuple[int, ...]  # part numbers
    text: str  # "", HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT, MIME
    names: tuple[bytes, ...]  # of HEADER.FIELDS, as the client wrote them
    partial: tuple[int, int] | None  # offset, length
    peek: bool
    label: bytes  # what the response calls it: `BODY[1.MIME]<0>`, `RFC822`

    @property
    def header_only(self) -> bool:
        """Whether the message's own header section is enough to answer."""
        return not self.path and self.text.startswith("HEADER")


Item = str | Section


def parse_items(cursor: Cursor) -> tuple[Item, ...]:
    """The argument after the sequence set: a macro, one item, or a list of items. Raises BadSyntax."""
    if not cursor.peek(b"("):
        found = cursor.take(_NAME)
        name = found[0].decode("ascii").upper() if found else ""
        if name in _MACROS:
            return _MACROS[name]
        return (_item(cursor, name),)

    def item() -> Item:
        found = cursor.take(_NAME)
        return _item(cursor, found[0].decode("ascii").upper() if found else "")

    return tuple(dict.fromkeys(cursor.parenthesised(item, empty=False)))


def _item(cursor: Cursor, name: str) -> Item:
    if name in ("BODY", "BODY.PEEK") and cursor.peek(b"["):
        return _section(cursor, peek=name == "BODY.PEEK")
    if name in PLAIN:
        return name
    match name:
        case "RFC822":
            return Section((), "", (), None, False, b"RFC822")
        case "RFC822.HEADER":
            return Section((), "HEADER", (), None, True, b"RFC822.HEADER")  # never sets \Seen
        case "RFC822.TEXT":
            return Section((), "TEXT", (), None, False, b"RFC822.TEXT")
    raise BadSyntax("unknown FETCH item")


def _section(cursor: Cursor, *, peek: bool) -> Section:
    start = cursor.at
    cursor.expect(b"[")
    path: tuple[int, ...] = ()
    if numbers := cursor.take(_NUMBERS):
        path = tuple(map(int, numbers[1].split(b".")))
        if len(path) > MAX_PATH:
            raise BadSyntax("section has too many levels")
    word = cursor.take(_TEXT)
    text = word[0].decode("ascii").upper() if word else ""
    if text == "MIME" and not path:
        raise BadSyntax("MIME needs a part number")
    names: tuple[bytes, ...] = ()
    if text.startswith("HEADER.FIELDS"):
        cursor.space()
        names = tuple(cursor.parenthesised(cursor.astring, empty=False))
    cursor.expect(b"]")
    label = _label(path, text, names)
    partial = None
    if found := cursor.take(_PARTIAL):
        partial = (int(found[1]), int(found[2]))
        if not partial[1]:
            raise BadSyntax("a partial fetch of nothing")
        label += b"<%d>" % partial[0]
    elif cursor.peek(b"<"):
        cursor.fail("<offset.length>")
    assert cursor.at > start
    return Section(path, text, names, partial, peek, label)


def _label(path: tuple[int, ...], text: str, names: tuple[bytes, ...]) -> bytes:
    label = ".".join([*map(str, path), *([text] if text else [])]).encode("ascii")
    if names:
        label += b" (" + b" ".join(map(_astring, names)) + b")"
    return b"BODY[" + label + b"]"


def _astring(name: bytes) -> bytes:
    return name if re.fullmatch(rb'[^\x00-\x20(){%*"\\\]\x7f-\xff]+', name) else string(name)
