"""Distinguished names: read from a certificate or from the whitelist's text, compared by the rules of X.520.

Names in the whitelist are written by hand (RFC 4514, RFC 2253, RFC 1779 and less), so the reader accepts what is really
there: quoted and unquoted values, quotes inside a value, commas inside an unquoted value, `, ` and `;` between
attributes, either order, no-break and repeated spaces, `OID.2.5.4.3=`, `#`-encoded values. A separator counts only
before a known attribute type and `=`; anything else belongs to the value.

Two names are equal when the multiset of their attributes is equal after caseIgnoreMatch preparation (X.520 6.1,
RFC 4518): compatibility composition, case folding, one space for many, none at the ends. `lenient` compares CN and
OU only. `explain` names the attribute that differs.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from mssgw.pki import der

MAX_TEXT = 4096
MAX_ATTRIBUTES = 32

_OIDS = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "SERIALNUMBER",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "TITLE",
    "2.5.4.42": "GN",
    "2.5.4.97": "ORGANIZATIONIDENTIFIER",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "EMAILADDRESS",
}
_ALIASES = {
    **{name: name for name in _OIDS.values()},
    "S": "ST",
    "SP": "ST",
    "T": "TITLE",
    "G": "GN",
    "GIVENNAME": "GN",
    "SURNAME": "SN",
    "E": "EMAILADDRESS",
    "EMAIL": "EMAILADDRESS",
    "USERID": "UID",
    "COMMONNAME": "CN",
    "COUNTRYNAME": "C",
    "LOCALITYNAME": "L",
    "STATEORPROVINCENAME": "ST",
    "ORGANIZATIONNAME": "O",
    "ORGANIZATIONALUNITNAME": "OU",
}
_TYPE = re.compile(r"\s*(?:(?:OID\.)?([0-2](?:\.\d{1,20}){1,20})|([A-Za-z][A-Za-z0-9-]{0,40}))\s*=", re.IGNORECASE)
_HEX = re.compile(r"#((?:[0-9A-Fa-f]{2})+)\s*\Z")
_ORDER = ("CN", "OU", "O", "L", "ST", "C")
_IDENTITY = ("CN", "OU")  # what `lenient` looks at: the host and the structure's identifier

# Decoded names of a string are few and repeat thousands of times in the list; X.690 8.23 string tags.
_STRINGS = {
    12: "utf-8",
    18: "ascii",
    19: "ascii",
    20: "latin-1",
    21: "latin-1",
    22: "ascii",
    25: "latin-1",
    26: "ascii",
    27: "latin-1",
    28: "utf-32-be",
    30: "utf-16-be",
}


class NameSyntaxError(ValueError):
    """Not a distinguished name. The text names the place."""


class Match(enum.StrEnum):
    STRICT = "strict"
    LENIENT = "lenient"


@dataclass(frozen=True, slots=True)
class Difference:
    """One attribute that is `presented` in the certificate and `listed` in the list ("" when it has none)."""

    attribute: str
    presented: str
    listed: str

    def __str__(self) -> str:
        if not self.presented:
            return f"{self.attribute} is missing, the list says {self.listed!r}"
        if not self.listed:
            return f"{self.attribute} is {self.presented!r}, the list has none"
        return f"{self.attribute} is {self.presented!r}, the list says {self.listed!r}"


@dataclass(frozen=True)
class Name:
    """Attributes as (type, value), CN first. Types are short names in capitals, or dotted OIDs."""

    attributes: tuple[tuple[str, str], ...]

    @cached_property
    def key(self) -> tuple[tuple[str, str], ...]:
        """Equal for equal names: prepared attributes, sorted."""
        return tuple(sorted((kind, prepare(value)) for kind, value in self.attributes))

    @cached_property
    def lenient_key(self) -> tuple[tuple[str, str], ...]:
        """The CN and OU of `key`; () when either is missing, and () is equal to nothing."""
        found = tuple(pair for pair in self.key if pair[0] in _IDENTITY)
        return found if {kind for kind, _ in found} == set(_IDENTITY) else ()

    def first(self, kind: str) -> str:
        return next((value for each, value in self.attributes if each == kind), "")

    def equals(self, other: Name, match: Match = Match.STRICT) -> bool:
        if match is Match.LENIENT:
            return bool(self.lenient_key) and self.lenient_key == other.lenient_key
        return self.key == other.key

    def __str__(self) -> str:
        """RFC 4514, with what could disturb a log escaped."""
        return ",".join(f"{kind}={_escape(value)}" for kind, value in self.attributes)


def explain(presented: Name, listed: Name) -> list[Difference]:
    """How a certificate's name differs from a listed one; empty when they are equal. CN first, then OU, O, L, ST, C."""
    ours, theirs = Counter(presented.key), Counter(listed.key)
    left, right = list((ours - theirs).elements()), list((theirs - ours).elements())
    kinds = sorted({kind for kind, _ in left + right}, key=lambda kind: (_ORDER.index(kind) if kind in _ORDER else 99, kind))
    return [Difference(kind, _spoken(presented, kind, left), _spoken(listed, kind, right)) for kind in kinds]


def _spoken(name: Name, kind: str, differing: list[tuple[str, str]]) -> str:
    prepared = {value for each, value in differing if each == kind}
    return " + ".join(value for each, value in name.attributes if each == kind and prepare(value) in prepared)


def prepare(value: str) -> str:
    """caseIgnoreMatch preparation, RFC 4518 2: map, normalise, fold case, insignificant spaces."""
    if value.isascii() and value.isprintable():
        return " ".join(value.split()).casefold()
    mapped = "".join(
        " " if char.isspace() else char
        for char in unicodedata.normalize("NFKC", value)
        if char.isspace() or unicodedata.category(char) not in ("Cc", "Cf")
    )
    return " ".join(unicodedata.normalize("NFKC", mapped.casefold()).split())


def _escape(value: str) -> str:
    text = re.sub(r'([",+;<>\\])', r"\\\1", value)
    text = "".join(char if char.isprintable() or char == "\u00a0" else _hex_escape(char) for char in text)
    if text.startswith(("#", " ")):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and not text.endswith("\\ ") else text


def _hex_escape(char: str) -> str:
    return "".join(f"\\{octet:02X}" for octet in char.encode("utf-8", "replace"))


# -- text ----------------------------------------------------------------------------------------------------------


def parse(text: str) -> Name:
    """Read a name as text, in either order. Raises NameSyntaxError."""
    if len(text) > MAX_TEXT:
        raise NameSyntaxError(f"longer than {MAX_TEXT} characters")
    pairs: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        head = _TYPE.match(text, position)
        kind = _kind(head) if head else None
        if head is None or kind is None:
            raise NameSyntaxError(f"no attribute type at character {position + 1}: {text[position : position + 20]!r}")
        value, position = _value(text, head.end())
        pairs.append((kind, value))
        if len(pairs) > MAX_ATTRIBUTES:
            raise NameSyntaxError(f"more than {MAX_ATTRIBUTES} attributes")
    if not pairs:
        raise NameSyntaxError("empty name")
    if pairs[0][0] == "C" and pairs[-1][0] != "C":  # written in the certificate's order
        pairs.reverse()
    return Name(tuple(pairs))


def _kind(head: re.Match[str]) -> str | None:
    dotted, word = head[1], head[2]
    return _OIDS.get(dotted, dotted) if dotted else _ALIASES.get(word.upper())


def _value(text: str, start: int) -> tuple[str, int]:
    """The value that starts at `start`, and where the next attribute begins."""
    while start < len(text) and text[start] == " ":
        start += 1
    if text[start : start + 1] == '"' and (quoted := _quoted(text, start)):
        return quoted
    raw, position = [], start
    while position < len(text):
        char = text[position]
        if char == "\\" and position + 1 < len(text):
            raw.append(text[position : position + 2])
            position += 2
            continue
        if char in ",;+" and _separates(text, position + 1):
            break
        raw.append(char)
        position += 1
    value = "".join(raw).strip(" ") if not (raw and raw[-1] == "\\ ") else "".join(raw).lstrip(" ")
    if encoded := _HEX.match(value):
        return _from_hex(encoded[1]), position + 1
    return _unescape(value), position + 1


def _quoted(text: str, start: int) -> tuple[str, int] | None:
    """A value in quotes, RFC 2253 4. None when the quote doesn't close before a separator: then it is a plain character."""
    position = start + 1
    while position < len(text):
        if text[position] == "\\":
            position += 2
        elif text[position] == '"':
            rest = position + 1
            while rest < len(text) and text[rest] == " ":
                rest += 1
            if rest >= len(text) or (text[rest] in ",;+" and _separates(text, rest + 1)):
                return _unescape(text[start + 1 : position]), rest + 1
            position += 1
        else:
            position += 1
    return None


def _separates(text: str, after: int) -> bool:
    """Whether a comma, semicolon or plus before `after` ends the value: a known type follows, or nothing at all."""
    head = _TYPE.match(text, after)
    return _kind(head) is not None if head else not text[after:].strip(" ,;+")


def _unescape(value: str) -> str:
    if "\\" not in value:
        return value
    octets = re.sub(
        rb"\\([0-9A-Fa-f]{2})|\\(.)",
        lambda found: bytes.fromhex(found[1].decode()) if found[1] else found[2],
        value.encode("utf-8", "surrogatepass"),
        flags=re.DOTALL,
    )
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _from_hex(digits: str) -> str:
    octets = bytes.fromhex(digits)
    try:
        tag, _, start, end = der.read(octets, 0, len(octets), shortest=True)
    except der.DerError:
        return "#" + digits
    return _string(tag, octets[start:]) if end == len(octets) and tag in _STRINGS else "#" + digits


# -- DER -----------------------------------------------------------------------------------------------------------


def from_der(encoded: bytes) -> Name:
    """Read the DER of a Name (RDNSequence, RFC 5280 4.1.2.4). Raises NameSyntaxError."""
    try:
        rdns = der.inside(encoded, der.whole(encoded), der.SEQUENCE)
        pairs = [_attribute(encoded, one) for rdn in rdns for one in der.inside(encoded, rdn, der.SET)]
    except der.DerError as error:
        raise NameSyntaxError(str(error)) from error
    if len(pairs) > MAX_ATTRIBUTES:
        raise NameSyntaxError(f"more than {MAX_ATTRIBUTES} attributes")
    return Name(tuple(reversed(pairs)))


def _attribute(encoded: bytes, element: der.Tlv) -> tuple[str, str]:
    oid, value = der.inside(encoded, element, der.SEQUENCE, 2, 2)
    if oid[0] != der.OID:
        raise NameSyntaxError("an attribute is not a type and one value")
    dotted = der.dotted(encoded[oid[2] : oid[3]])
    return _OIDS.get(dotted, dotted), _string(value[0], encoded[value[2] : value[3]])


def _string(tag: int, content: bytes) -> str:
    try:
        return content.decode(_STRINGS[tag])
    except KeyError:
        return "#" + content.hex()
    except UnicodeDecodeError:  # cards of 2013 have Latin-1 octets under other tags as well
        return content.decode("latin-1")
