"""Distinguished names as text (RFC 4514), out of their DER: a type without a short name is written in dots, its value as # and hex.

The VIHF's Issuer is compared with the certificate's subject in this form, as the official samples have it:
`CN=899900000001+2.5.4.4=#0c044c454b41,OU=Doctor,C=FR`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SHORT = {  # RFC 4514 3
    "2.5.4.3": "CN",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}
_ENCODINGS = {0x1E: "utf-16-be", 0x1C: "utf-32-be"}  # BMPString, UniversalString


def distinguished_name(der: bytes) -> str:
    """The content of a Name (its sequence's octets, without their tag), last RDN first. Raises ValueError: not a Name."""
    return ",".join(reversed([_rdn(content) for _, content, _ in _read(der)]))


def _rdn(content: bytes) -> str:
    return "+".join(_attribute(pair) for _, pair, _ in _read(content))


def _attribute(pair: bytes) -> str:
    (_, oid, _), (tag, content, whole) = _read(pair)
    kind = _dotted(oid)
    short = _SHORT.get(kind)
    return f"{short}={_escaped(_text(tag, content))}" if short else f"{kind}=#{whole.hex()}"


def _text(tag: int, content: bytes) -> str:
    if tag in _ENCODINGS:
        return content.decode(_ENCODINGS[tag])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # TeletexString of older cards


def _escaped(text: str) -> str:
    """RFC 4514 2.4."""
    escaped = re.sub(r'([",+;<>\\])', r"\\\1", text).replace("\0", "\\00")
    escaped = re.sub(r"^([ #])", r"\\\1", escaped)
    return re.sub(r" $", r"\\ ", escaped)


def _dotted(oid: bytes) -> str:
    arcs, value = [], 0
    for octet in oid:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def der_items(der: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, content) of each element of the outermost sequence. Raises ValueError."""
    (_, content, _), *_ = _read(der)
    return ((tag, inner) for tag, inner, _ in _read(content))


def _read(der: bytes) -> list[tuple[int, bytes, bytes]]:
    """(tag, content, the whole) of each element that stands here one after the other. Raises ValueError: cut, or of indefinite length."""
    found, at = [], 0
    while at < len(der):
        start, tag = at, der[at]
        at += 2
        if at > len(der):
            raise ValueError("a DER element is cut")
        length = der[at - 1]
        if length == 0x80 or length > 0x84:
            raise ValueError("a DER length that cannot be read")
        if length & 0x80:
            octets = length & 0x7F
            length, at = int.from_bytes(der[at : at + octets]), at + octets
        content = der[at : at + length]
        if len(content) != length:
            raise ValueError("a DER element is cut")
        at += length
        found.append((tag, content, der[start:at]))
    return found
