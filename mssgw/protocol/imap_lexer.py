"""IMAP's small grammar: atoms, strings, literals, sets, dates, mailbox names. RFC 3501 9, 5.1.3; RFC 7888.

A command is one `bytes` with its literals in place, as they came (`{5}\\r\\nhello`), without the final CRLF.
`Cursor` walks over it; every method takes one token or raises BadSyntax with a sentence for the BAD response.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import NoReturn, TypeVar

T = TypeVar("T")

MAX_NAME = 1000  # octets of a mailbox name as UTF-8
MAX_NUMBER = 4_294_967_295

TAG = re.compile(rb'([^\x00-\x20(){%*"\\+\x7f-\xff]{1,100}) ')
LITERAL = re.compile(rb"\{(\d{1,100})(\+?)\}\Z")  # at the end of a line; far too large a number is a size, too: it is refused as one
_ATOM = re.compile(rb'[^\x00-\x20(){%*"\\\]\x7f-\xff]+')
_ASTRING = re.compile(rb'[^\x00-\x20(){%*"\\\x7f-\xff]+')  # "]" is allowed here
_LIST = re.compile(rb'[^\x00-\x20(){"\\\x7f-\xff]+')  # "%" and "*" too
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_LITERAL = re.compile(rb"\{(\d{1,10})\+?\}\r\n")
_NUMBER = re.compile(rb"\d{1,10}")
_SET = re.compile(rb"(?:\d{1,10}|\*)(?::(?:\d{1,10}|\*))?(?:,(?:\d{1,10}|\*)(?::(?:\d{1,10}|\*))?)*")
_FLAG = re.compile(rb'\\?[^\x00-\x20(){%*"\\\]\x7f-\xff]+')
_DATE = re.compile(rb'"?(\d{1,2})-([A-Za-z]{3})-(\d{4})"?')
_DATE_TIME = re.compile(rb'"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+\-])(\d\d)(\d\d)"')
_MONTHS = {name: number for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_SHIFTED = re.compile(rb"&([^-]*)-")
_PLAIN = re.compile(r"[^\x20-\x7e]+")

Range = tuple[int, int]  # both ends included; 0 stands for "*"
Ranges = tuple[Range, ...]


class BadSyntax(ValueError):
    """Not IMAP. The text goes to the client after BAD."""


class BadName(ValueError):
    """A mailbox name that can't be one here. The text goes to the client after NO."""


class Cursor:
    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def fail(self, expected: str) -> NoReturn:
        raise BadSyntax(f"expected {expected} at octet {self.at + 1}")

    def take(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        found = pattern.match(self.data, self.at)
        if found:
            self.at = found.end()
        return found

    def space(self) -> None:
        if self.data[self.at : self.at + 1] != b" ":
            self.fail("a space")
        self.at += 1

    def end(self) -> None:
        if self.at != len(self.data):
            self.fail("the end of the command")

    def at_end(self) -> bool:
        return self.at == len(self.data)

    def peek(self, text: bytes) -> bool:
        """Whether `text` (upper case) comes next, in any case."""
        return self.data[self.at : self.at + len(text)].upper() == text

    def skip(self, text: bytes) -> bool:
        """Take `text` (upper case) if it comes next."""
        if self.peek(text):
            self.at += len(text)
            return True
        return False

    def expect(self, text: bytes) -> None:
        if not self.skip(text):
            self.fail(text.decode("ascii"))

    def atom(self) -> bytes:
        found = self.take(_ATOM)
        return found[0] if found else self.fail("an atom")

    def keyword(self) -> bytes:
        """An atom, upper case."""
        return self.atom().upper()

    def string(self) -> bytes:
        if found := self.take(_QUOTED):
            text = found[1]
            return text.replace(b'\\"', b'"').replace(b"\\\\", b"\\") if b"\\" in text else text
        if found := self.take(_LITERAL):
            size = int(found[1])
            if self.at + size > len(self.data):
                self.fail("a literal of the announced size")
            self.at += size
            return self.data[self.at - size : self.at]
        return self.fail("a string")

    def astring(self) -> bytes:
        found = self.take(_ASTRING)
        return found[0] if found else self.string()

    def nstring(self) -> bytes | None:
        if self.peek(b"NIL"):
            self.at += 3
            return None
        return self.string()

    def number(self) -> int:
        found = self.take(_NUMBER)
        if not found or int(found[0]) > MAX_NUMBER:
            self.fail("a number")
        return int(found[0])

    def nz_number(self) -> int:
        number = self.number()
        return number or self.fail("a number above zero")

    def ranges(self) -> Ranges:
        """A sequence-set. Zero is no message and no UID."""
        found = self.take(_SET)
        if not found:
            self.fail("a sequence set")
        return tuple(map(self._range, found[0].split(b",")))

    def _range(self, text: bytes) -> Range:
        low, colon, high = text.partition(b":")
        first = 0 if low == b"*" else int(low)
        last = first if not colon else 0 if high == b"*" else int(high)
        if (first == 0 and low != b"*") or (last == 0 and colon and high != b"*") or max(first, last) > MAX_NUMBER:
            self.fail("numbers from 1 to 4294967295 in the set")
        return first, last

    def flag(self) -> str:
        found = self.take(_FLAG)
        return canonical_flag(found[0]) if found else self.fail("a flag")

    def flags(self) -> frozenset[str]:
        """A parenthesised list of flags."""
        return frozenset(self.parenthesised(self.flag))

    def parenthesised(self, item: Callable[[], T], *, empty: bool = True) -> list[T]:
        self.expect(b"(")
        items: list[T] = []
        if empty and self.skip(b")"):
            return items
        items.append(item())
        while not self.skip(b")"):
            self.space()
            items.append(item())
        return items

    def mailbox(self) -> str:
        """A mailbox name, INBOX in capitals. Raises BadSyntax, or BadName for what isn't modified UTF-7."""
        return parse_name(self.astring())

    def mailbox_reference(self) -> str:
        """The first argument of LIST: a name that may end in the separator."""
        return decode_name(self.astring())

    def list_mailbox(self) -> str:
        """A pattern of LIST: as a mailbox name, wildcards allowed."""
        found = self.take(_LIST)
        return decode_name(found[0] if found else self.string())

    def date(self) -> date:
        found = self.take(_DATE)
        if not found:
            self.fail("a date such as 1-Feb-1994")
        try:
            return date(int(found[3]), _MONTHS[found[2].lower()], int(found[1]))
        except (KeyError, ValueError):
            return self.fail("a day that exists")

    def date_time(self) -> datetime:
        found = self.take(_DATE_TIME)
        if not found:
            self.fail('a date-time such as "17-Jul-1996 02:44:25 -0700"')
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
        offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes)) * (-1 if sign == b"-" else 1)
        try:
            clock = int(hour), int(minute), min(int(second), 59)  # a leap second
            return datetime(int(year), _MONTHS[month.lower()], int(day), *clock, tzinfo=timezone(offset)).astimezone(UTC)
        except (KeyError, ValueError, OverflowError):
            return self.fail("a moment that exists")


_SYSTEM_FLAGS = {flag.lower(): flag for flag in ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "\\Recent")}


def canonical_flag(text: bytes) -> str:
    """Flags ignore case (RFC 3501 9): system flags as the RFC writes them, keywords as they came."""
    flag = text.decode("ascii")
    if not flag.startswith("\\"):
        return flag
    return _SYSTEM_FLAGS.get(flag.lower(), flag)


# -- mailbox names: RFC 3501 5.1.3 -----------------------------------------------------------------------


def decode_name(name: bytes) -> str:
    """Modified UTF-7 to text; strict, so that one mailbox has one name. Raises BadName."""
    try:
        text = _SHIFTED.sub(_unshift, name).decode("utf-8")
    except (ValueError, UnicodeError, binascii.Error):
        raise BadName("mailbox name is not modified UTF-7 (RFC 3501 5.1.3)") from None
    if encode_name(text) != name:
        raise BadName("mailbox name is not modified UTF-7 (RFC 3501 5.1.3)")
    return text


def _unshift(found: re.Match[bytes]) -> bytes:
    if not found[1]:
        return b"&"
    shifted = found[1].replace(b",", b"/")
    return binascii.a2b_base64(shifted + b"=" * (-len(shifted) % 4)).decode("utf-16-be").encode("utf-8")


def encode_name(name: str) -> bytes:
    """Text to modified UTF-7."""
    if name.isascii() and name.isprintable():
        return name.replace("&", "&-").encode("ascii") if "&" in name else name.encode("ascii")
    return _PLAIN.sub(_shift, name.replace("&", "&-")).encode("ascii")


def _shift(found: re.Match[str]) -> str:
    shifted = binascii.b2a_base64(found[0].encode("utf-16-be"), newline=False).rstrip(b"=").replace(b"/", b",")
    return f"&{shifted.decode('ascii')}-"


def parse_name(name: bytes) -> str:
    """A mailbox name as the server keeps it: decoded, INBOX in capitals, a final separator dropped. Raises BadName."""
    text = decode_name(name)
    first, slash, rest = text.partition("/")
    if first.upper() == "INBOX":  # RFC 3501 5.1
        text = "INBOX" + slash + rest
    return text.removesuffix("/")


def check_new_name(name: str) -> None:
    """Whether a mailbox may get this name. Raises BadName."""
    if not name or name.startswith("/") or "//" in name:
        raise BadName("mailbox name has an empty level")
    if len(name.encode("utf-8")) > MAX_NAME or name.count("/") > 20:
        raise BadName("mailbox name is too long or has too many levels")
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in name):
        raise BadName("mailbox name has control characters")


# -- sets ------------------------------------------------------------------------------------------------


def resolve(ranges: Ranges, largest: int) -> list[Range]:
    """Ranges in order, `*` replaced by `largest`, merged, nothing above `largest`: cheap whatever the client wrote.

    "5:*" with a largest of 3 is "3:5", so it names the last one (RFC 3501 9, seq-range).
    """
    plain = sorted((min(low or largest, high or largest), max(low or largest, high or largest)) for low, high in ranges)
    merged: list[Range] = []
    for low, high in plain:
        high = min(high, largest)
        if low > high or not high:
            continue
        if merged and low <= merged[-1][1] + 1:
            if high > merged[-1][1]:
                merged[-1] = (merged[-1][0], high)
        else:
            merged.append((low, high))
    return merged


def format_set(numbers: Iterable[int]) -> bytes:
    """Numbers as a sequence set; runs upwards become ranges, order is kept."""
    pieces: list[bytes] = []
    first = last = 0
    for number in numbers:
        if number == last + 1 and first:
            last = number
            continue
        if first:
            pieces.append(b"%d" % first if first == last else b"%d:%d" % (first, last))
        first = last = number
    if first:
        pieces.append(b"%d" % first if first == last else b"%d:%d" % (first, last))
    return b",".join(pieces)


def split_tag(line: bytes) -> tuple[str, Cursor]:
    """The tag, and a cursor before the verb. Raises BadSyntax when there is no tag to answer to."""
    found = TAG.match(line)
    if not found:
        raise BadSyntax("expected a tag, a space and a command")
    return found[1].decode("ascii"), Cursor(line, found.end())
