"""DER: write it, and read definite-length BER/DER that is already in memory (X.690).

Writing is concatenation with lengths computed first, so that a structure around gigabytes can be opened
before the content is there (`header`). Reading works on offsets into one `bytes` object and never
recurses; a length that points outside its parent, an overlong length or a high tag number is `DerError`.
Indefinite lengths and endless content are read by `ber.py`, which gives definite pieces to this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache, wraps
from typing import Any, Final, TypeVar

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = b"\x05\x00"
OID: Final = 0x06
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

Tlv = tuple[int, int, int, int]
"""(tag octet, offset of the tag, offset of the content, offset after the content)."""


class DerError(ValueError):
    """Not the DER that was expected. The text names the place, never the content."""


def length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def header(tag: int, size: int) -> bytes:
    """Tag and length of an element whose content of `size` octets follows later."""
    return bytes((tag,)) + length(size)


def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return header(tag, len(content)) + content


def sequence(*parts: bytes) -> bytes:
    return tlv(SEQUENCE, *parts)


def set_of(parts: Iterable[bytes]) -> bytes:
    """SET OF in DER order (X.690 11.6)."""
    return tlv(SET, *sorted(parts))


def octets(content: bytes) -> bytes:
    return header(OCTET_STRING, len(content)) + content


def integer(value: int) -> bytes:
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def explicit(number: int, *parts: bytes) -> bytes:
    """Context tag, constructed: EXPLICIT [number], or IMPLICIT on something constructed."""
    return tlv(0xA0 | number, *parts)


T = TypeVar("T")


def lasting(most: int, entries: int = 1024) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Remember what was read from the same octets, of at most `most`: others must not fill memory with long ones."""

    def decorate(parse: Callable[..., T]) -> Callable[..., T]:
        remembered = lru_cache(maxsize=entries)(parse)

        @wraps(parse)
        def answer(octets: bytes, *more: Any) -> T:
            return (remembered if len(octets) <= most else parse)(octets, *more)

        return answer

    return decorate


@lru_cache(maxsize=512)
def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER with tag and length."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = bytearray()
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | (arc & 0x7F))
        content += bytes(reversed(groups))
    return tlv(OID, bytes(content))


def dotted(content: bytes) -> str:
    """The text of an OBJECT IDENTIFIER's content octets. Raises DerError."""
    if not content or content[-1] & 0x80 or len(content) > 64:
        raise DerError("object identifier is cut off or too long")
    arcs: list[int] = []
    arc = 0
    for octet in content:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def time(moment: datetime) -> bytes:
    """Time as UTCTime to 2049 and GeneralizedTime from 2050 (RFC 5652 11.3)."""
    year, month, day, hour, minute, second, *_ = moment.astimezone(UTC).timetuple()
    rest = f"{month:02}{day:02}{hour:02}{minute:02}{second:02}Z"
    if 1950 <= year < 2050:
        return tlv(UTC_TIME, f"{year % 100:02}{rest}".encode())
    return tlv(GENERALIZED_TIME, f"{year:04}{rest}".encode())


def read_time(tag: int, content: bytes) -> datetime:
    """UTCTime or GeneralizedTime in the forms of RFC 5652 11.3. Raises DerError."""
    wide = tag == GENERALIZED_TIME
    digits = content[:-1]
    if tag not in (UTC_TIME, GENERALIZED_TIME) or len(content) != (15 if wide else 13) or content[-1:] != b"Z" or not digits.isdigit():
        raise DerError("time is not in the form of RFC 5652 11.3")
    year = int(digits[:-10])
    if not wide:
        year += 2000 if year < 50 else 1900
    try:
        month, day, hour, minute, second = (int(digits[at : at + 2]) for at in range(len(digits) - 10, len(digits), 2))
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise DerError("time is no time") from error


def read(data: bytes, at: int, end: int, *, shortest: bool = False) -> Tlv:
    """The element at `at`, which must finish by `end`. `shortest`: lengths as DER has them, not as BER may. Raises DerError."""
    try:
        tag = data[at]
        size = data[at + 1]
    except IndexError:
        raise DerError(f"cut off at octet {at}") from None
    if tag & 0x1F == 0x1F:
        raise DerError(f"tag number over 30 at octet {at}")
    start = at + 2
    if size >= 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4:
            raise DerError(f"length form not accepted at octet {at}")
        size = int.from_bytes(data[start : start + count], "big")
        start += count
        if shortest and (size < 0x80 or size >> 8 * (count - 1) == 0):
            raise DerError(f"length is not in its shortest form at octet {at}")
    stop = start + size
    if stop > end or start > end:
        raise DerError(f"element at octet {at} is longer than its parent")
    return tag, at, start, stop


def split(data: bytes, start: int, end: int, most: int = 64) -> list[Tlv]:
    """The elements between two offsets, at most `most` of them. Raises DerError."""
    found: list[Tlv] = []
    while start < end:
        if len(found) >= most:
            raise DerError(f"more than {most} elements at octet {start}")
        # Tag and length in one octet each, which nearly all are: read here, a call for each would cost as much again.
        if end - start >= 2 and (size := data[start + 1]) < 0x80 and (tag := data[start]) & 0x1F != 0x1F and start + 2 + size <= end:
            found.append((tag, start, start + 2, start + 2 + size))
            start += 2 + size
            continue
        one = read(data, start, end)
        found.append(one)
        start = one[3]
    return found


def inside(data: bytes, element: Tlv, tag: int, most: int = 64, least: int = 0) -> list[Tlv]:
    """The children, `least` to `most` of them, of a constructed element that must carry `tag`. Raises DerError."""
    if element[0] != tag:
        raise DerError(f"tag {element[0]:#04x} where {tag:#04x} is due, octet {element[1]}")
    found = split(data, element[2], element[3], most)
    if len(found) < least:
        raise DerError(f"fewer than {least} elements at octet {element[1]}")
    return found


def whole(data: bytes, tag: int = SEQUENCE) -> Tlv:
    """`data` as exactly one element. Raises DerError when something follows."""
    one = read(data, 0, len(data))
    if one[3] != len(data):
        raise DerError("octets after the end")
    if one[0] != tag:
        raise DerError(f"tag {one[0]:#04x} where {tag:#04x} is due")
    return one


def small_integer(data: bytes, element: Tlv) -> int:
    """An INTEGER of at most 8 octets. Raises DerError."""
    if element[0] != INTEGER or not 1 <= element[3] - element[2] <= 8:
        raise DerError(f"small integer expected at octet {element[1]}")
    return int.from_bytes(data[element[2] : element[3]], "big", signed=True)


def octet_content(data: bytes, element: Tlv, primitive: int = OCTET_STRING, most: int = 1024) -> bytes:
    """The content of an OCTET STRING, joined when a BER sender cut it into pieces. Raises DerError."""
    tag, _, start, end = element
    if tag == primitive:
        return data[start:end]
    if tag != primitive | 0x20:
        raise DerError(f"octet string expected at octet {element[1]}")
    pieces = split(data, start, end, most)
    if any(piece[0] != OCTET_STRING for piece in pieces):
        raise DerError(f"octet string in pieces of another kind at octet {element[1]}")
    return b"".join(data[piece[2] : piece[3]] for piece in pieces)
