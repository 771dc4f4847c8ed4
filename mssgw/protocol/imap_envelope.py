"""Reading ENVELOPE octets back: what SEARCH, SORT and lists of messages compare. RFC 3501 7.4.2."""

from __future__ import annotations

import re
from datetime import datetime

from mssgw.protocol.mime import decode_words, parse_date

_TOKEN = re.compile(rb'[()]|NIL|"((?:[^"\\]|\\.)*)"|\{(\d+)\}\r\n')
_FIELDS = ("date", "subject", "from", "sender", "reply-to", "to", "cc", "bcc", "in-reply-to", "message-id")

Node = bytes | None | list["Node"]


class Envelope:
    """The ten fields by name; strings as octets, address lists as lists of four."""

    __slots__ = ("_nodes",)

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = dict(zip(_FIELDS, nodes, strict=False))

    @property
    def sent(self) -> datetime | None:
        date = self._nodes.get("date")
        return parse_date(date) if isinstance(date, bytes) else None

    def text(self, field: str) -> str:
        """A field as people read it: `Name <local@host>, …` for addresses."""
        node = self._nodes.get(field)
        if isinstance(node, bytes):
            return decode_words(node)
        return ", ".join(filter(None, map(_address, node or [])))


def _address(node: Node) -> str:
    if not isinstance(node, list) or len(node) != 4:
        return ""
    name, _, local, host = (part if isinstance(part, bytes) else None for part in node)
    if host is None:  # a group's start or end
        return decode_words(local) if local else ""
    address = f"{decode_words(local or b'')}@{decode_words(host)}"
    return f"{decode_words(name)} <{address}>" if name else address


def read_envelope(wire: bytes) -> Envelope:
    """Octets that `mime.summarise` made. Anything unreadable, which it never makes, ends the list."""
    stack: list[list[Node]] = [[]]
    at = 0
    while token := _TOKEN.search(wire, at):
        at = token.end()
        if token[1] is not None:
            text = token[1]
            stack[-1].append(text.replace(b'\\"', b'"').replace(b"\\\\", b"\\") if b"\\" in text else text)
        elif token[2] is not None:
            at += int(token[2])
            stack[-1].append(wire[token.end() : at])
        elif token[0] == b"(":
            stack.append([])
        elif token[0] == b")":
            done = stack.pop()
            if not stack:
                return Envelope(done)
            stack[-1].append(done)
        else:
            stack[-1].append(None)
    whole = stack[0][0] if stack[0] else []
    return Envelope(whole if isinstance(whole, list) else [])
