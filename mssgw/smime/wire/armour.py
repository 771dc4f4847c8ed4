"""Base64 for MIME bodies, as a stream: lines of 76 with CRLF (RFC 2045 6.8), at memory speed.

`pybase64` makes the letters; one `struct` cuts a whole block into lines, twice as fast as inserting the
line ends afterwards (measured: 2.0 against 1.0 GB/s).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pybase64

from mssgw.smime.errors import Reason, SmimeError

LINE = 57  # octets in a line of 76 letters
_LINES = 128  # cut by one struct
_BLOCK = LINE * 1024  # octets turned into letters at once
_CUT = struct.Struct("76s" * _LINES)
_FOREIGN = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
_LONG = 1 << 20  # octets without a line end that are not waited for any longer


class Armour:
    """Writes base64 lines to a sink. `close` writes what is left; the sink stays open."""

    __slots__ = ("_carry", "_write")

    def __init__(self, write: Callable[[bytes], Any]) -> None:
        self._write = write
        self._carry = b""

    def write(self, data: bytes) -> None:
        if self._carry:
            data = self._carry + data
        stop = len(data) - len(data) % LINE
        if stop < _BLOCK:
            self._carry = data
            return
        for start in range(0, stop, _BLOCK):
            self._write(_lines(data[start : min(start + _BLOCK, stop)]))
        self._carry = data[stop:]

    def close(self) -> None:
        if self._carry:
            self._write(encode(self._carry))
            self._carry = b""


def _lines(data: bytes) -> bytes:
    """Whole lines of base64 for a multiple of LINE octets."""
    letters = pybase64.b64encode(data)
    size = len(letters)
    cut: list[bytes] = []
    at = 0
    while size - at >= _CUT.size:
        cut += _CUT.unpack_from(letters, at)
        at += _CUT.size
    cut += [letters[start : start + 76] for start in range(at, size, 76)]
    cut.append(b"")
    return b"\r\n".join(cut)


def encode(data: bytes) -> bytes:
    """Base64 lines of `data`, the last one ended too."""
    stop = len(data) - len(data) % LINE
    rest = pybase64.b64encode(data[stop:]) + b"\r\n" if stop < len(data) else b""
    return (_lines(data[:stop]) if stop else b"") + rest


def decode(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The octets behind base64 lines; other characters are passed over (RFC 2045 6.8). Raises SmimeError when it can't be.

    Whole lines nearly always hold whole quanta, so they are decoded as they stand; only when they don't, letters are
    picked out first.
    """
    carry = b""
    for chunk in chunks:
        data = carry + chunk if carry else chunk
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) < _LONG:
            carry = data
            continue
        lines, carry = (data[:cut], data[cut:]) if cut else (data, b"")
        try:
            plain = pybase64.b64decode(lines)
        except ValueError:
            letters = lines.translate(None, _FOREIGN)
            whole = len(letters) & ~3
            plain, carry = _decode(letters[:whole]), letters[whole:] + carry
        yield plain
    if letters := carry.translate(None, _FOREIGN):
        yield _decode(letters + b"=" * (-len(letters) % 4))


def _decode(letters: bytes) -> bytes:
    try:
        return pybase64.b64decode(letters)
    except ValueError as error:
        raise SmimeError(Reason.MALFORMED, "not base64") from error
