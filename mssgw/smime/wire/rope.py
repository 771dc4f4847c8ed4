"""Rope: octets in pieces, some of them ranges of a Body, joined only when they are written.

A signed and encrypted message is the same content with something before and after it, three times over.
Pieces cost nothing to nest, so a message of any size is read from where it is and written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mssgw.core.body import Body

STEP = 256 * 1024  # octets read at once


@dataclass(frozen=True, slots=True)
class Range:
    """Octets [start, end) of a Body."""

    body: Body
    start: int
    end: int


Piece = bytes | Range


class Rope:
    """Immutable. `size` is known without reading."""

    __slots__ = ("pieces", "size")

    def __init__(self, *pieces: Piece) -> None:
        self.pieces = pieces
        self.size = sum(len(one) if isinstance(one, bytes) else one.end - one.start for one in pieces)

    @classmethod
    def of(cls, body: Body) -> Rope:
        return cls(Range(body, 0, body.size))

    def __add__(self, other: Rope) -> Rope:
        return Rope(*self.pieces, *other.pieces)

    def chunks(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, bytes):
                if piece:
                    yield piece
                continue
            for start in range(piece.start, piece.end, STEP):
                yield piece.body.read(start, min(STEP, piece.end - start))

    def pour(self, *sinks: Callable[[bytes], Any]) -> None:
        """Give every chunk to every sink."""
        for chunk in self.chunks():
            for sink in sinks:
                sink(chunk)

    def head(self, count: int) -> bytes:
        """The first octets."""
        found = b""
        for chunk in self.chunks():
            found += chunk[: count - len(found)]
            if len(found) >= count:
                break
        return found
