"""The little DER that trust reads by itself: names, and the outer shape of certificates and CRLs.

Strict: definite lengths in their shortest form, one-octet tags. `cryptography` parses everything else; this is for
what it refuses (TeletexString names) and for what must be cut out octet for octet (the signed part of a large CRL).
"""

from __future__ import annotations

from collections.abc import Iterator


class DerError(ValueError):
    """Not the DER that was expected."""


def read(octets: bytes) -> tuple[int, bytes, bytes]:
    """(tag, content, what follows)."""
    tag, start, end = span(octets, 0)
    return tag, octets[start:end], octets[end:]


def span(octets: bytes | memoryview, at: int) -> tuple[int, int, int]:
    """(tag, where the content starts, where it ends) of the element at `at`, without copying."""
    if len(octets) < at + 2:
        raise DerError("truncated")
    tag, length, start = octets[at], octets[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise DerError("a tag of more than one octet")
    if length & 0x80:
        width = length & 0x7F
        start += width
        if not 1 <= width <= 4 or len(octets) < start:
            raise DerError("length is indefinite or too long")
        length = int.from_bytes(octets[at + 2 : start], "big")
        if length < 0x80 or length >> 8 * (width - 1) == 0:
            raise DerError("length is not in its shortest form")
    if len(octets) < start + length:
        raise DerError("truncated")
    return tag, start, start + length


def expect(tag: int, octets: bytes) -> bytes:
    """The content of the one element that `octets` is."""
    found, content, rest = read(octets)
    if found != tag or rest:
        raise DerError(f"expected one element of tag {tag:#x}")
    return content


def tagged(content: bytes) -> Iterator[tuple[int, bytes]]:
    while content:
        tag, value, content = read(content)
        yield tag, value


def each(content: bytes, tag: int) -> Iterator[bytes]:
    for found, value in tagged(content):
        if found != tag:
            raise DerError(f"expected tag {tag:#x}, found {found:#x}")
        yield value


def dotted(octets: bytes) -> str:
    """An object identifier as text."""
    if not octets or octets[-1] & 0x80 or len(octets) > 64:
        raise DerError("broken object identifier")
    numbers, number = [], 0
    for octet in octets:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def names_of(certificate: bytes) -> tuple[bytes, bytes]:
    """The DER of issuer and subject of a certificate (RFC 5280 4.1.2.4, 4.1.2.6), whatever is in them."""
    tbs = read(expect(0x30, certificate))[1]
    elements: list[bytes] = []
    while tbs and len(elements) < 7:
        _, _, end = span(tbs, 0)
        elements.append(tbs[:end])
        tbs = tbs[end:]
    if elements and elements[0][0] == 0xA0:  # [0] version
        del elements[0]
    if len(elements) < 5:
        raise DerError("not a certificate")
    return elements[2], elements[4]
