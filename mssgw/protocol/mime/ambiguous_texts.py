"""Texts that readers decode differently: by what their octets are, against what their header says (RFC 2045 5, RFC 2046 4.1.2)."""

from __future__ import annotations

import codecs
import re
from binascii import a2b_base64, a2b_qp
from collections.abc import Iterator

from mssgw.protocol.mime.part import Part

CHARSET = re.compile(
    rb"(?:(?:us-)?ascii|utf-?8|iso-?8859-\d{1,2}|latin-?1|(?:windows-|cp)125\d)\Z"
)  # in all others some octet of ASCII means something else
_META = re.compile(rb"""(?i)<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w:.-]{1,40})""")
_MARKS = (b"\xff\xfe", b"\xfe\xff", b"+/v")  # of UTF-16, which browsers believe more than a Content-Type, and of UTF-7
_HEAD = 4096  # octets of a text in which browsers look for its character set
_CONTROL = re.compile(rb"[\x01-\x08\x0b\x0e-\x1f\x7f]")  # a backspace overstrikes, an escape (ISO 2022) is another character set: to some
_UPPER_CONTROL = re.compile(rb"[\x80-\x9f]")  # in ISO 8859: browsers show those of windows-1252, others nothing
_UPPER_CONTROL_UTF_8 = re.compile(rb"\xc2[\x80-\x9f]")  # a terminal obeys U+009B
_LONE_CR = re.compile(rb"\r(?!\n)")
_ENRICHED = frozenset(("text/enriched", "text/richtext"))  # RFC 1896: marks that some obey and hide, and others show
_IDENTITY = frozenset(("7bit", "8bit", "binary"))


def in_text(content: bytes, part: Part) -> Iterator[str]:
    """What a text says of its own character set against its header, and what ends or changes it for some."""
    if part.encoding not in _IDENTITY:
        content = decoded(content, part.encoding)
        if b"\0" in content:
            yield "a NUL octet in a text"
        if _LONE_CR.search(content):
            yield "a CR alone in a text"
    if _CONTROL.search(content):
        yield "a control character in a text"
    if part.media in _ENRICHED:
        yield "a text with marks that not every reader knows"
    if not content.isascii():
        yield from _beyond_ascii(content, (part.type.raw(b"charset") or b"us-ascii").lower().replace(b"utf8", b"utf-8"))
    head = content[:_HEAD]
    if head.startswith(_MARKS):
        yield "a text that browsers decode by its first octets"
    for found in _META.findall(head) if part.media == "text/html" else ():
        if not CHARSET.match(found.lower()):
            yield "a text/html that names another character set"


def _beyond_ascii(content: bytes, charset: bytes) -> Iterator[str]:
    if charset in (b"us-ascii", b"ascii"):
        yield "octets beyond ASCII in a text without a character set"
        return
    try:
        codecs.decode(content, charset.decode("ascii"))
    except (UnicodeError, LookupError):
        yield "octets that are none of the character set of a text"
        return
    controls = _UPPER_CONTROL_UTF_8 if charset == b"utf-8" else _UPPER_CONTROL
    if charset.startswith((b"iso", b"latin", b"utf-8")) and controls.search(content):
        yield "controls beyond ASCII in a text"


def decoded(content: bytes, encoding: str) -> bytes:
    """A leaf without its transfer encoding; empty when that is broken, which `ambiguity` names."""
    try:
        return a2b_base64(content) if encoding == "base64" else a2b_qp(content)
    except ValueError:
        return b""
