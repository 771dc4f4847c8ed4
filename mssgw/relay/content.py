"""A message as DATA carries it: CRLF line ends, dots doubled, the final dot (RFC 5321 4.5.2, 2.3.8).

A bare CR or LF never leaves: whatever is stored, the peer sees line ends only as CRLF, so nothing in a
message can be taken for its end (SMTP smuggling).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LINE_END = re.compile(rb"\r\n|\r|\n")


def dotted(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks with CRLF line ends and doubled dots, and at the end what closes DATA."""
    at_start, held = True, b""  # held: a CR whose LF may open the next chunk
    for chunk in chunks:
        octets = held + chunk
        held = b"\r" if octets.endswith(b"\r") else b""
        if held:
            octets = octets[:-1]
        if octets:
            yield (octets := _stuffed(octets, at_start))
            at_start = octets.endswith(b"\n")
    if held:
        yield b"\r\n"
        at_start = True
    yield b".\r\n" if at_start else b"\r\n.\r\n"


def _stuffed(octets: bytes, at_start: bool) -> bytes:
    if not octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r"):
        octets = _LINE_END.sub(b"\r\n", octets)
    if b"\n." in octets:
        octets = octets.replace(b"\n.", b"\n..")
    return b"." + octets if at_start and octets.startswith(b".") else octets
