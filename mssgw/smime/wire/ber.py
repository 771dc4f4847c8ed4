"""BER from outside, as a stream with bounds (X.690 8; docs/reference/crypto.md 9.20).

Senders use indefinite lengths and cut the content into thousands of octet strings (OpenSSL, Outlook,
Bouncy Castle); others send 10^6 of them, nest 1,000 levels or never end. A Stream reads chunks, holds one
window of them, keeps an explicit stack instead of recursing, and gives up with BerError at its limits.
Small pieces leave as definite-length DER-readable octets (`element`), the large one as chunks (`octets`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mssgw.pki.der import OCTET_STRING, DerError, length

MAX_DEPTH = 32
MAX_ELEMENT = 4 * 1024 * 1024  # octets of one small piece: certificates, signers, recipients
MAX_ELEMENTS = 100_000  # elements inside small pieces, whole message
_INDEFINITE = re.compile(rb"[\x20-\x3f\x60-\x7f\xa0-\xbf\xe0-\xff]\x80")  # an indefinite length looks so; random octets may, too
PIECE = 256 * 1024  # octets of content handed on at once: fresh pages for more cost more than the cipher
_NOWHERE = 1 << 62
FREE_PIECES, SMALLEST_PIECE = 4096, 64  # content pieces: beyond the free ones they must average that many octets


class BerError(DerError):
    """Not BER, cut off, or over a limit (then `limit` is True)."""

    def __init__(self, text: str, limit: bool = False) -> None:
        self.limit = limit
        super().__init__(text)


def may_be_indefinite(content: bytes) -> bool:
    """Whether an indefinite length may stand in these octets. A false yes only costs time."""
    return b"\0\0" in content and _INDEFINITE.search(content) is not None


class Stream:
    """Reads one BER value from chunks. Containers are entered and left in order."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._window = b""
        self._at = 0  # in the window
        self._before = 0  # octets in earlier windows
        self._ends: list[int | None] = []  # absolute end of each open container; None is indefinite
        self._bounds: list[int] = [_NOWHERE]  # what no element may reach beyond: the closest definite end around it
        self._elements = 0

    @property
    def position(self) -> int:
        return self._before + self._at

    # --- octets

    def _fill(self, count: int) -> None:
        """Have at least `count` octets in the window. Raises BerError."""
        left = self._window[self._at :]
        have = [left] if left else []  # a single chunk is used as it is; joining would copy it
        size = len(left)
        while size < count:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise BerError(f"cut off at octet {self._before + self._at + size}")
            have.append(chunk)
            size += len(chunk)
        self._before += self._at
        self._window, self._at = b"".join(have), 0

    def take(self, count: int) -> bytes:
        if len(self._window) - self._at < count:
            self._fill(count)
        start = self._at
        self._at = start + count
        return self._window[start : self._at]

    def _some(self, most: int) -> memoryview:
        """Between 1 and `most` octets, as many as are there, not copied."""
        if self._at == len(self._window):
            self._fill(1)
        start = self._at
        self._at = min(start + most, len(self._window))
        return memoryview(self._window)[start : self._at]

    def at_end(self) -> bool:
        """Whether no octet is left."""
        while self._at == len(self._window):
            chunk = next(self._chunks, None)
            if chunk is None:
                return True
            self._before += self._at
            self._window, self._at = chunk, 0
        return False

    # --- headers and containers

    def _head(self) -> tuple[int, int | None]:
        """(tag, length or None). Raises BerError."""
        at = self._at
        if len(self._window) - at < 2:
            self._fill(2)
            at = 0
        tag, size = self._window[at], self._window[at + 1]
        self._at = at + 2
        if tag & 0x1F == 0x1F:
            raise BerError(f"tag number over 30 at octet {self.position - 2}")
        if size < 0x80:
            return tag, size
        if size == 0x80:
            if not tag & 0x20:
                raise BerError(f"indefinite length of a primitive at octet {self.position - 2}")
            return tag, None
        count = size & 0x7F
        if count > 8:
            raise BerError(f"length of {count} octets at octet {self.position - 2}")
        return tag, int.from_bytes(self.take(count), "big")

    def _open(self, size: int | None) -> None:
        if len(self._ends) >= MAX_DEPTH:
            raise BerError(f"deeper than {MAX_DEPTH} levels", limit=True)
        if size is None:
            self._ends.append(None)
            self._bounds.append(self._bounds[-1])
            return
        self._within_parent(size)
        end = self._before + self._at + size
        self._ends.append(end)
        self._bounds.append(end)

    def more(self) -> bool:
        """Whether the innermost container holds another element; an end-of-contents mark is not eaten."""
        end = self._ends[-1]
        if end is not None:
            return self._before + self._at < end
        return self.peek() != 0

    def peek(self) -> int:
        """The tag octet that comes next. Raises BerError at the end."""
        if self._at == len(self._window):
            self._fill(1)
        return self._window[self._at]

    def enter(self, tag: int) -> None:
        """Step into a constructed element. Raises BerError when another one is there."""
        found, size = self._head()
        if found != tag:
            raise BerError(f"tag {found:#04x} where {tag:#04x} is due, octet {self.position}")
        self._open(size)

    def leave(self) -> None:
        """Step out; nothing may be left inside. Raises BerError."""
        end = self._ends[-1]
        if end is None:
            if self.take(2) != b"\x00\x00":
                raise BerError(f"end of contents expected at octet {self.position - 2}")
        elif self.position != end:
            raise BerError(f"element should end at octet {end}, not {self.position}")
        self._ends.pop()
        self._bounds.pop()

    # --- whole pieces

    def element(self, most: int = MAX_ELEMENT) -> bytes:
        """The next element with tag, all lengths made definite. Raises BerError over `most` octets."""
        start = self._before + self._at
        tag, size = self._head()
        if size is not None:
            if size > most:
                raise BerError(f"element of {size} octets", limit=True)
            self._within_parent(size)
            content = self.take(size)
            if not tag & 0x20 or not may_be_indefinite(content):
                if start >= self._before:  # still in the window as it came
                    return self._window[start - self._before : self._at]
                return bytes((tag,)) + length(size) + content
            inner = Stream([content])
            inner._elements, inner._ends = self._elements, [None] * len(self._ends) + [size]
            inner._bounds = [size] * (len(inner._ends) + 1)
            content = inner._definite(most, len(self._ends))
            self._elements = inner._elements
            return bytes((tag,)) + length(len(content)) + content
        self._open(None)
        content = self._definite(most, len(self._ends) - 1)
        return bytes((tag,)) + length(len(content)) + content

    def _within_parent(self, size: int) -> None:
        if self._before + self._at + size > self._bounds[-1]:
            raise BerError(f"element at octet {self.position} is longer than its parent")

    def _definite(self, most: int, floor: int) -> bytes:
        """The content of the innermost container with definite lengths all the way down; leaves it."""
        stack: list[tuple[int, list[bytes]]] = [(0, [])]
        total = 0
        while True:
            while not self.more():
                self.leave()
                tag, parts = stack.pop()
                content = b"".join(parts)
                if len(self._ends) == floor:
                    return content
                stack[-1][1].append(bytes((tag,)) + length(len(content)) + content)
            self._elements += 1
            if self._elements > MAX_ELEMENTS:
                raise BerError("too many elements", limit=True)
            tag, size = self._head()
            if tag & 0x20:
                self._open(size)
                stack.append((tag, []))
                continue
            self._within_parent(size or 0)
            total += (size or 0) + 2
            if total > most:
                raise BerError(f"element over {most} octets", limit=True)
            stack[-1][1].append(bytes((tag,)) + length(size or 0) + self.take(size or 0))

    def octets(self, primitive: int = OCTET_STRING, most: int | None = None) -> Iterator[memoryview]:
        """The content of the OCTET STRING that comes next, in chunks, however it was cut (X.690 8.7.3).

        `primitive` is its tag when it stands alone, with IMPLICIT tags another one. Must be read to the end.
        Raises BerError, also over `most` octets.
        """
        tag, size = self._head()
        if tag == primitive and size is not None:
            self._within_parent(size)
            yield from self._counted(size, most)
            return
        if tag != primitive | 0x20:
            raise BerError(f"octet string expected at octet {self.position}")
        floor = len(self._ends)
        self._open(size)
        pieces = total = 0
        while len(self._ends) > floor:
            if not self.more():
                self.leave()
                continue
            pieces += 1
            if pieces > FREE_PIECES and pieces - FREE_PIECES > total // SMALLEST_PIECE:
                raise BerError("content cut into too many pieces", limit=True)
            tag, size = self._head()
            if tag == OCTET_STRING | 0x20:
                self._open(size)
            elif tag == OCTET_STRING and size is not None:
                self._within_parent(size)
                total += size
                yield from self._counted(size, None if most is None else most - total + size)
            else:
                raise BerError(f"octet string in pieces of another kind at octet {self.position}")

    def _counted(self, size: int, most: int | None) -> Iterator[memoryview]:
        if most is not None and size > most:
            raise BerError(f"content over {most} octets", limit=True)
        while size:
            chunk = self._some(min(size, PIECE))
            size -= len(chunk)
            yield chunk

    def finish(self) -> None:
        """Nothing may follow but the zero octets some senders pad with. Raises BerError."""
        while not self.at_end():
            if bytes(self._some(65536)).strip(b"\x00"):
                raise BerError("octets after the end")
