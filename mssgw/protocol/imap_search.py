"""SEARCH: keys as values, and their parser. RFC 3501 6.4.4, RFC 4731 (RETURN)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from mssgw.protocol.imap_lexer import BadSyntax, Cursor, Ranges, canonical_flag
from mssgw.protocol.mime import Charset, is_known_charset

MAX_DEPTH = 50
MAX_KEYS = 1000


class BadCharset(ValueError):
    """NO [BADCHARSET]."""


@dataclass(frozen=True, slots=True)
class All:
    pass


@dataclass(frozen=True, slots=True)
class And:
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Or:
    left: Key
    right: Key


@dataclass(frozen=True, slots=True)
class Not:
    key: Key


@dataclass(frozen=True, slots=True)
class HasFlag:
    flag: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class Messages:
    ranges: Ranges
    uid: bool


@dataclass(frozen=True, slots=True)
class Arrived:
    """INTERNALDATE, disregarding time and timezone: RFC 3501 6.4.4."""

    when: str  # "<", "=", ">="
    day: date


@dataclass(frozen=True, slots=True)
class Sent:
    """The Date field, disregarding time and timezone."""

    when: str
    day: date


@dataclass(frozen=True, slots=True)
class Size:
    larger: bool
    octets: int


@dataclass(frozen=True, slots=True)
class InEnvelope:
    """A substring of one field that ENVELOPE has."""

    field: str  # from to cc bcc subject
    text: str


@dataclass(frozen=True, slots=True)
class InHeader:
    name: bytes  # lower case
    text: str  # "" asks whether the field is there


@dataclass(frozen=True, slots=True)
class InText:
    text: str
    header_too: bool  # TEXT; without it, BODY


Key = All | And | Or | Not | HasFlag | Messages | Arrived | Sent | Size | InEnvelope | InHeader | InText


@dataclass(frozen=True, slots=True)
class Search:
    key: Key
    uid: bool
    returned: frozenset[str] | None  # MIN MAX ALL COUNT; None is the plain SEARCH response


_FLAGS = {
    b"ANSWERED": ("\\Answered", True),
    b"DELETED": ("\\Deleted", True),
    b"DRAFT": ("\\Draft", True),
    b"FLAGGED": ("\\Flagged", True),
    b"SEEN": ("\\Seen", True),
    b"RECENT": ("\\Recent", True),
    b"UNANSWERED": ("\\Answered", False),
    b"UNDELETED": ("\\Deleted", False),
    b"UNDRAFT": ("\\Draft", False),
    b"UNFLAGGED": ("\\Flagged", False),
    b"UNSEEN": ("\\Seen", False),
    b"OLD": ("\\Recent", False),
}
_DATES = {
    b"BEFORE": ("<", False),
    b"ON": ("=", False),
    b"SINCE": (">=", False),
    b"SENTBEFORE": ("<", True),
    b"SENTON": ("=", True),
    b"SENTSINCE": (">=", True),
}


def parse_search(cursor: Cursor, uid: bool) -> Search:
    """The arguments of SEARCH. Raises BadSyntax, BadCharset."""
    returned: frozenset[str] | None = None
    if cursor.skip(b" RETURN "):
        returned = frozenset(word.decode("ascii") for word in cursor.parenthesised(cursor.keyword)) or frozenset({"ALL"})
        if unknown := returned - {"MIN", "MAX", "ALL", "COUNT"}:
            raise BadSyntax(f"unknown search return option {min(unknown)[:50]}")
    charset = "utf-8"  # also when none is named: RFC 3501 says US-ASCII, of which it is a superset
    if cursor.skip(b" CHARSET "):
        charset = cursor.astring().decode("ascii", "replace").lower()
        if charset not in ("utf-8", "us-ascii") and not (charset.startswith("iso-8859-") and is_known_charset(charset)):
            raise BadCharset
    return Search(_Parser(cursor, charset).keys(), uid, returned)


class _Parser:
    def __init__(self, cursor: Cursor, charset: str) -> None:
        self.cursor, self.charset = cursor, charset
        self.depth = self.count = 0

    def keys(self) -> Key:
        """Keys to the end of the command, each after a space."""
        keys = [self._after_space()]
        while not self.cursor.at_end():
            keys.append(self._after_space())
        return keys[0] if len(keys) == 1 else And(tuple(keys))

    def _after_space(self) -> Key:
        self.cursor.space()
        return self.key()

    def key(self) -> Key:
        self.count += 1
        self.depth += 1
        if self.count > MAX_KEYS or self.depth > MAX_DEPTH:
            raise BadSyntax("search is too complex")
        key = self._key()
        self.depth -= 1
        return key

    def _key(self) -> Key:
        cursor = self.cursor
        if cursor.peek(b"("):
            keys = cursor.parenthesised(self.key, empty=False)
            return keys[0] if len(keys) == 1 else And(tuple(keys))
        if cursor.data[cursor.at : cursor.at + 1] in (b"*", *(b"%d" % digit for digit in range(10))):
            return Messages(cursor.ranges(), uid=False)
        word = cursor.keyword()
        if word in _FLAGS:
            return HasFlag(*_FLAGS[word])
        if word in _DATES:
            cursor.space()
            when, sent = _DATES[word]
            day = cursor.date()
            return Sent(when, day) if sent else Arrived(when, day)
        parse = _KEYS.get(word)
        if parse is None:
            raise BadSyntax("unknown search key")
        return parse(self)

    def text(self) -> str:
        self.cursor.space()
        given = self.cursor.astring()
        return Charset.decode(given, self.charset)

    def flag(self, wanted: bool) -> Key:
        self.cursor.space()
        return HasFlag(canonical_flag(self.cursor.atom()), wanted)

    def header(self) -> Key:
        self.cursor.space()
        name = self.cursor.astring().lower()
        return InHeader(name, self.text())

    def number(self, larger: bool) -> Key:
        self.cursor.space()
        return Size(larger, self.cursor.number())

    def uids(self) -> Key:
        self.cursor.space()
        return Messages(self.cursor.ranges(), uid=True)

    def either(self) -> Key:
        return Or(self._after_space(), self._after_space())


_KEYS: dict[bytes, Callable[[_Parser], Key]] = {
    b"ALL": lambda _: All(),
    b"NEW": lambda _: And((HasFlag("\\Recent", True), HasFlag("\\Seen", False))),
    b"KEYWORD": lambda parser: parser.flag(True),
    b"UNKEYWORD": lambda parser: parser.flag(False),
    b"FROM": lambda parser: InEnvelope("from", parser.text()),
    b"TO": lambda parser: InEnvelope("to", parser.text()),
    b"CC": lambda parser: InEnvelope("cc", parser.text()),
    b"BCC": lambda parser: InEnvelope("bcc", parser.text()),
    b"SUBJECT": lambda parser: InEnvelope("subject", parser.text()),
    b"HEADER": _Parser.header,
    b"BODY": lambda parser: InText(parser.text(), header_too=False),
    b"TEXT": lambda parser: InText(parser.text(), header_too=True),
    b"LARGER": lambda parser: parser.number(True),
    b"SMALLER": lambda parser: parser.number(False),
    b"UID": _Parser.uids,
    b"NOT": lambda parser: Not(parser._after_space()),
    b"OR": _Parser.either,
}
