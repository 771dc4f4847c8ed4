"""Address lists of header fields, read as leniently as real mail needs. RFC 5322 3.4 and 4.4, RFC 3501 7.4.2 (the four parts).

One result is a `Mailbox`: octets as they stand in the field, quoting removed, encoded words untouched. Groups are
marked as in IMAP: a start with only `local` (the group's name), its members, an end with nothing at all.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from mssgw.protocol.mime.fields import unfold
from mssgw.protocol.mime.words import decode_words

MAX_ADDRESSES = 10_000  # of one field; more are left out
MAX_TOKENS = 250_000  # of one field that is read token by token: a megabyte of commas is no list


class Mailbox(NamedTuple):
    name: bytes | None
    route: bytes | None  # RFC 5322 4.4 obs-route, "@a,@b"
    local: bytes | None
    host: bytes | None

    @property
    def is_group(self) -> bool:
        return self.host is None

    @property
    def display_name(self) -> str:
        return decode_words(self.name) if self.name else ""

    @property
    def addr_spec(self) -> str:
        """`local@host` as text; not checked."""
        return f"{(self.local or b'').decode('utf-8', 'replace')}@{(self.host or b'').decode('utf-8', 'replace')}"


GROUP_END = Mailbox(None, None, None, None)

_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-]+"
_ONE = re.compile(
    rb"\s*(?:(?:\"([^\"\\\r\n]*)\"\s*|([A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\x80-\xff][A-Za-z0-9!#$%&'*+/=?^_`{|}~\- \x80-\xff]*))?"
    rb"<\s*(" + _ATOM + rb")@(" + _ATOM + rb")\s*>|(" + _ATOM + rb")@(" + _ATOM + rb"))\s*(,|\Z)"
)
_LEX = re.compile(
    rb'([ \t\r\n]+)|"((?:[^"\\]|\\.)*)(?:"|\Z)|\[([^\]]*)(?:\]|\Z)|([(<>@,:;.])|((?:[^ \t\r\n"(\[<>@,:;.\\]|\\.?)+)', re.DOTALL
)
_PAREN = re.compile(rb"[()\\]")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


_WORD = r"[^\s<>,;:\"()\[\]{}@]"
_NAME = r"[^\s<>,;:\"()\[\]{}@.]+"  # one label of a domain, as people see it
# Tried once in each word, not at each of its letters; with blanks around the signs as well.
_SPELLED = re.compile(rf"(?<!{_WORD}){_WORD}++\s{{0,3}}@\s{{0,3}}{_NAME}(?:(?:\.+|\s{{1,3}}\.\s{{1,3}}){_NAME})+")
_QUOTE = re.compile(r'"(?!@)')
_DOTS = {ord(one): "." for one in "\u3002\u00b7\u2022\u2219\u22c5\u06d4\u30fb"}  # IDNA takes the first for a dot, people the others
# An @ as a URL or a page writes it, and letters A in a circle.
_SIGN = re.compile(r"%40|&(?:#0*64|#x0*40|commat);?|[\u24d0\u24b6\U0001f150\U0001f170]", re.IGNORECASE)
_AT = re.compile(r"\s?[\[({]\s?(?:at?|arobase|@)\s?[\])}]\s?", re.IGNORECASE)
_DOT = re.compile(r"\s?[\[({]\s?(?:dot|point|\.)\s?[\])}]\s?", re.IGNORECASE)


# "paul at b.fr": a domain is written in letters of one case, unlike "Cardiologie at St.Luc".
_LABEL, _CAPITALS = r"[a-z0-9-]{1,63}", r"[A-Z0-9-]{1,63}"
_SPOKEN = re.compile(
    r"\s{1,3}(?i:at|arobase)\s{1,3}("
    rf"{_LABEL}(?:(?:\.|\s(?:dot|point)\s){_LABEL})+(?![^\W_])|{_CAPITALS}(?:(?:\.|\s(?:DOT|POINT)\s){_CAPITALS})+(?![^\W_]))"
)
_SPOKEN_DOT = re.compile(r"\s(?:dot|point)\s", re.IGNORECASE)


def spelled_addresses(value: bytes) -> list[str]:
    """Whatever people may take for an address in a field as it is displayed: in names, comments and encoded words too.

    Mail programs show the name and hide the address. Wide letters count as narrow ones, those without width are left out;
    "(at)", "[point]" and "paul at b.fr" are read as people read them.
    """
    shown = decode_words(unfold(value)).replace("\\", "")
    shown = _SIGN.sub("@", shown)
    plain = shown if shown.isascii() else _without_disguise(shown)
    if "(" in plain or "[" in plain or "{" in plain:
        plain = _DOT.sub(".", _AT.sub("@", plain))
    plain = _SPOKEN.sub(lambda found: "@" + _SPOKEN_DOT.sub(".", found[1]), plain)
    joined = _QUOTE.sub("", plain)  # a name in several pieces is shown as one
    found = _SPELLED.findall(plain) + (_SPELLED.findall(joined) if joined != plain else [])
    return list(dict.fromkeys(re.sub(r"\s", "", spelled).strip("'`.") for spelled in found))


def _without_disguise(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).translate(_DOTS)
    return "".join(one for one in plain if unicodedata.category(one) != "Cf")


def parse_addresses(value: bytes) -> list[Mailbox]:
    """The mailboxes and group marks of an unfolded address-list value. Never fails; what is no address is left out."""
    found: list[Mailbox] = []
    at = 0
    while (one := _ONE.match(value, at)) and len(found) < MAX_ADDRESSES:  # what nearly all mail looks like
        quoted, phrase, local, host, bare_local, bare_host, _ = one.groups()
        name = quoted if quoted is not None else phrase.rstrip() if phrase else None
        found.append(Mailbox(name or None, None, local or bare_local, host or bare_host))
        at = one.end()
        if at == len(value):
            return found
    return found + _Slow(value[at:], MAX_ADDRESSES - len(found)).run()


def mailboxes(value: bytes) -> list[Mailbox]:
    """Only the mailboxes, groups opened."""
    return [one for one in parse_addresses(value) if not one.is_group]


class _Slow:
    """Token by token: comments, groups, routes, quoted local parts, obsolete dots and blanks."""

    def __init__(self, value: bytes, room: int) -> None:
        self.value, self.room = value, room
        self.found: list[Mailbox] = []
        self.in_group = False
        self._clear()

    def _clear(self) -> None:
        self.words: list[bytes] = []  # of the phrase or addr-spec before "<"; b" " for blanks
        self.angle: list[bytes] | None = None  # what stands between "<" and ">"
        self.comment = b""
        self.has_at = False

    def run(self) -> list[Mailbox]:
        for kind, text in self._tokens():
            if len(self.found) >= self.room:
                break
            self._take(kind, text)
        self._flush()
        if self.in_group:
            self.found.append(GROUP_END)
        return self.found

    def _tokens(self) -> Iterator[tuple[str, bytes]]:
        at, value = 0, self.value
        for _ in range(MAX_TOKENS):
            if at >= len(value):
                return
            token = _LEX.match(value, at)
            if not token:
                at += 1
                continue
            at = token.end()
            if token[4] == b"(":
                comment, at = _comment(value, at)
                yield "comment", comment
            elif token[4]:
                yield "special", token[4]
            elif token[1]:
                yield "blank", b" "
            elif token[2] is not None:
                yield "word", _ESCAPE.sub(rb"\1", token[2])
            elif token[3] is not None:
                yield "word", b"[" + token[3] + b"]"
            else:
                yield "word", token[5]

    def _take(self, kind: str, text: bytes) -> None:
        here = self.words if self.angle is None else self.angle
        if kind == "comment":
            self.comment = self.comment or text.strip()
        elif kind != "special":
            if kind == "word" or (here and here[-1] != b" "):
                here.append(text)
        elif text == b"<":
            self.angle = []
        elif self.angle is not None and text in b">":
            self._flush()
        elif self.angle is not None:
            here.append(text)
        elif text == b"," or text == b">":
            self._flush()
        elif text == b":" and not self.in_group and not self.has_at:
            self._group_start()
        elif text == b";":
            self._flush()
            if self.in_group:
                self.found.append(GROUP_END)
                self.in_group = False
        else:
            self.has_at = self.has_at or text == b"@"
            here.append(text)

    def _group_start(self) -> None:
        name = b"".join(self.words).strip() or self.comment
        self._clear()
        self.in_group = True
        self.found.append(Mailbox(None, None, name, None))

    def _flush(self) -> None:
        """The end of one mailbox."""
        words, angle, comment = self.words, self.angle, self.comment
        self._clear()
        phrase = b"".join(words).strip()
        if angle is not None:
            route, local, host = _addr_spec(angle)
            if local or host or phrase:
                self.found.append(Mailbox(phrase or comment or None, route, local, host))
        elif b"@" in words:
            route, local, host = _addr_spec(words)
            if local or host:
                self.found.append(Mailbox(comment or None, route, local, host))
        elif phrase:  # a name without an address; "" as its host, because NIL would start a group
            self.found.append(Mailbox(comment or None, None, phrase, b""))


def _addr_spec(tokens: list[bytes]) -> tuple[bytes | None, bytes, bytes]:
    """(route, local, host) of the tokens between the angle brackets; blanks around dots are obsolete syntax, dropped."""
    tokens = [token for token in tokens if token != b" "]
    route = None
    if tokens[:1] == [b"@"] and b":" in tokens:
        cut = tokens.index(b":")
        route, tokens = b"".join(tokens[:cut]), tokens[cut + 1 :]
    if b"@" not in tokens:
        return route, b"".join(tokens), b""
    cut = len(tokens) - 1 - tokens[::-1].index(b"@")
    return route, b"".join(tokens[:cut]), b"".join(tokens[cut + 1 :])


def _comment(value: bytes, at: int) -> tuple[bytes, int]:
    """The text of the comment whose "(" stands before `at`, and the offset after it. RFC 5322 3.2.2: they nest."""
    depth, start = 1, at
    while found := _PAREN.search(value, at):
        at = found.end()
        if found[0] == b"\\":
            at += 1
        elif found[0] == b"(":
            depth += 1
        else:
            depth -= 1
            if not depth:
                return _ESCAPE.sub(rb"\1", value[start : at - 1]), at
    return _ESCAPE.sub(rb"\1", value[start:]), len(value)
