"""Charsets and encoded words: octets of a header or a text to str. RFC 2047, RFC 2231, RFC 6532.

Nothing here raises on content: with an unknown or wrong charset the octets are read as UTF-8 when they are valid, else as Windows-1252.
"""

from __future__ import annotations

import binascii
import codecs
import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import pybase64

_WORD = re.compile(rb"=\?([!->@-~]{1,60}?)(?:\*[^?]{0,60})?\?([bBqQ])\?([^?]*)\?=")
NOT_BASE64 = bytes(octet for octet in range(256) if not (chr(octet).isascii() and (chr(octet).isalnum() or octet in b"+/")))
_ODD = frozenset(
    {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"}
)  # codecs of Python that no mail uses
_ALIASES = {
    "unicode-1-1-utf-7": "utf-7",
    "x-sjis": "cp932",
    "ks_c_5601-1987": "cp949",
    "x-gbk": "gbk",
    "iso-8859-8-i": "iso-8859-8",
    "ascii": "us-ascii",
    "x-user-defined": "latin-1",
    "windows-874": "cp874",
    "x-mac-roman": "mac-roman",
    "x-unknown": "utf-8",
}


class Charset:
    """Decoding by charset name. A namespace without instances."""

    @staticmethod
    def decode(data: bytes, name: str) -> str:
        codec = _codec(name.strip().strip("'\"").lower())
        if codec is None or codec == "ascii":
            return Charset.guess(data)
        try:
            return data.decode(codec, "replace")
        except (UnicodeError, ValueError, OverflowError):  # some codecs ignore "replace"
            return Charset.guess(data)

    @staticmethod
    def guess(data: bytes) -> str:
        """UTF-8 when it is (RFC 6532), else Windows-1252, which is what undeclared 8-bit mail in French mostly is."""
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("cp1252", "replace")


@lru_cache(maxsize=256)
def _codec(name: str) -> str | None:
    if len(name) > 60:
        return None
    try:
        info = codecs.lookup(_ALIASES.get(name, name))
    except (LookupError, ValueError, UnicodeError):
        return None
    canonical = info.name.replace("-", "_")
    return None if canonical in _ODD or not getattr(info, "_is_text_encoding", True) else info.name


def is_known_charset(name: str) -> bool:
    return _codec(name.lower()) is not None


def decode_words(value: bytes) -> str:
    """A header value with RFC 2047 encoded words as text. Blanks between two words vanish (6.2).

    Neighbours of one charset are joined before they are decoded: many mailers cut inside a character.
    """
    if b"=?" not in value:
        return Charset.guess(value)
    text: list[str] = []
    pending: list[bytes] = []
    charset, at = "", 0
    for word in _WORD.finditer(value):
        between = value[at : word.start()]
        name = word[1].decode("ascii")
        glued = pending and not between.strip(b" \t\r\n")
        if pending and not (glued and name.lower() == charset.lower()):
            text.append(Charset.decode(b"".join(pending), charset))
            pending = []
        if not glued:
            text.append(Charset.guess(between))
        pending.append(_decode_word(word[2], word[3]))
        charset, at = name, word.end()
    if pending:
        text.append(Charset.decode(b"".join(pending), charset))
    text.append(Charset.guess(value[at:]))
    return "".join(text)


def _decode_word(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"qQ":
        return binascii.a2b_qp(text, header=True)
    return decode_base64_run(text.translate(None, NOT_BASE64))


def decode_base64_run(run: bytes) -> bytes:
    """Characters of the alphabet only, without padding; a lone last character is dropped."""
    cut = len(run) - (1 if len(run) % 4 == 1 else 0)
    return pybase64.b64decode(run[:cut] + b"=" * (-cut % 4))


def decode_parameter(value: bytes) -> str:
    """RFC 2231 4: charset'language'percent-encoded."""
    charset, quote, rest = value.partition(b"'")
    language, quote2, text = rest.partition(b"'")
    if not quote or not quote2 or len(language) > 60:
        return Charset.guess(unquote_to_bytes(value))
    return Charset.decode(unquote_to_bytes(text), charset.decode("ascii", "replace") or "utf-8")
