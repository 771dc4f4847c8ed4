"""LDAP messages, made and read (RFC 4511): bind, StartTLS, search, and their answers. No I/O.

Servers send definite lengths and whole octet strings (RFC 4511 5.1), so `der` reads them, whatever their size of
length. A filter is parsed once from the operator's text (RFC 4515) and filled with an address as a value: what
stands in an address can't become syntax.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mssgw.core.address import Address
from mssgw.core.config.ldap_filter import Comparison, Filter, Group, Presence, Substrings, Value
from mssgw.pki import der

MAX_MESSAGE: Final = 1024 * 1024  # octets of one message
MAX_ATTRIBUTES, MAX_VALUES = 64, 256  # of one entry

SCOPES: Final = {"base": 0, "one": 1, "sub": 2}
_START_TLS: Final = b"1.3.6.1.4.1.1466.20037"  # RFC 4511 4.14.1

BIND_RESPONSE, SEARCH_ENTRY, SEARCH_DONE, SEARCH_REFERENCE, EXTENDED_RESPONSE = 0x61, 0x64, 0x65, 0x73, 0x78
_BOOLEAN, _ENUMERATED = 0x01, 0x0A
_FALSE: Final = b"\x01\x01\x00"


class LdapError(Exception):
    """The server sent what is no answer, or nothing. The text is for the log and repeats no credentials."""


# --- requests -----------------------------------------------------------------------------------------------------------


def _message(number: int, operation: bytes) -> bytes:
    return der.sequence(der.integer(number), operation)


def simple_bind(number: int, name: str, password: bytes) -> bytes:
    return _message(number, der.tlv(0x60, der.integer(3), der.octets(name.encode()), der.tlv(0x80, password)))


def external_bind(number: int) -> bytes:
    """SASL EXTERNAL (RFC 4422 A): who we are stands in our TLS certificate. The empty credentials end it in one step."""
    return _message(number, der.tlv(0x60, der.integer(3), der.octets(b""), der.tlv(0xA3, der.octets(b"EXTERNAL"), der.octets(b""))))


def start_tls(number: int) -> bytes:
    return _message(number, der.tlv(0x77, der.tlv(0x80, _START_TLS)))


def unbind(number: int) -> bytes:
    return _message(number, b"\x42\x00")


def search(number: int, base: str, scope: str, condition: bytes, attributes: Sequence[str], *, entries: int, seconds: int) -> bytes:
    """A SearchRequest (RFC 4511 4.5.1). `condition` is the BER of a filter; aliases are never followed."""
    return _message(
        number,
        der.tlv(
            0x63,
            der.octets(base.encode()),
            der.tlv(_ENUMERATED, bytes((SCOPES[scope],))),
            der.tlv(_ENUMERATED, b"\0"),
            der.integer(entries),
            der.integer(seconds),
            _FALSE,
            condition,
            der.sequence(*(der.octets(name.encode()) for name in attributes)),
        ),
    )


EVERYTHING: Final = der.tlv(0x87, b"objectClass")


# --- answers ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """One message from the server. `code` is the resultCode where there is one, `values` the attributes of an entry."""

    number: int
    kind: int  # the tag: SEARCH_ENTRY, SEARCH_DONE, ...
    code: int = 0
    text: str = ""
    values: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)  # by name in lower case without options

    @property
    def problem(self) -> str:
        """The result for people: "" when it is success."""
        if not self.code:
            return ""
        name = _CODES.get(self.code, f"result {self.code}")
        return f"{name}: {self.text}" if self.text else name


_CODES: Final = {
    1: "operations error",
    2: "protocol error",
    3: "time limit exceeded",
    4: "size limit exceeded",
    7: "authentication method not supported",
    8: "stronger authentication required",
    10: "a referral, which is not followed",
    11: "administrative limit exceeded",
    13: "confidentiality required",
    32: "no such base",
    34: "base is not a distinguished name",
    48: "inappropriate authentication",
    49: "invalid credentials",
    50: "insufficient access rights",
    51: "busy",
    52: "unavailable",
    53: "unwilling to perform",
}
SIZE_LIMIT, NO_SUCH_OBJECT = 4, 32
REFUSED_BINDS: Final = frozenset((7, 8, 13, 14, 48, 49, 53))


def frame(buffer: bytes | bytearray) -> int:
    """Octets of the message at the start of the buffer; 0 when that can't be known yet. Raises LdapError."""
    if len(buffer) < 2:
        return 0
    if buffer[0] != der.SEQUENCE:
        raise LdapError("what it sent is not LDAP")
    size, start = buffer[1], 2
    if size >= 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4:
            raise LdapError("what it sent is not LDAP")
        if len(buffer) < 2 + count:
            return 0
        size, start = int.from_bytes(buffer[2 : 2 + count], "big"), 2 + count
    if size > MAX_MESSAGE:
        raise LdapError(f"a message over {MAX_MESSAGE} octets")
    return start + size


def read(data: bytes) -> Answer:
    """One whole message. Raises LdapError."""
    try:
        fields = der.inside(data, der.whole(data), der.SEQUENCE, 3, 2)  # the third is controls, which we don't request
        number = der.small_integer(data, fields[0])
        operation = fields[1]
        kind = operation[0]
        if kind == SEARCH_ENTRY:
            return Answer(number, kind, values=_entry(data, operation))
        if kind in (BIND_RESPONSE, SEARCH_DONE, EXTENDED_RESPONSE):
            return Answer(number, kind, *_result(data, operation))
        if kind == SEARCH_REFERENCE:
            return Answer(number, kind)
    except der.DerError as error:
        raise LdapError(f"what it sent is not LDAP: {error}") from error
    raise LdapError(f"an answer of an unknown kind, {kind:#04x}")


def _result(data: bytes, operation: der.Tlv) -> tuple[int, str]:
    """(resultCode, diagnosticMessage) of an LDAPResult (RFC 4511 4.1.9)."""
    code, _matched, text = der.inside(data, operation, operation[0], 8, 3)[:3]
    if code[0] != _ENUMERATED or not 1 <= code[3] - code[2] <= 4:
        raise der.DerError("result code")
    words = data[text[2] : text[3]][:300].decode("utf-8", "replace")
    return int.from_bytes(data[code[2] : code[3]], "big"), "".join(char if char.isprintable() else " " for char in words).strip()


def _entry(data: bytes, operation: der.Tlv) -> dict[str, tuple[bytes, ...]]:
    found: dict[str, tuple[bytes, ...]] = {}
    _name, attributes = der.inside(data, operation, SEARCH_ENTRY, 2, 2)
    for one in der.inside(data, attributes, der.SEQUENCE, MAX_ATTRIBUTES):
        name, values = der.inside(data, one, der.SEQUENCE, 2, 2)
        label = data[name[2] : name[3]].decode("ascii", "replace").lower().partition(";")[0]
        held = tuple(data[value[2] : value[3]] for value in der.inside(data, values, der.SET, MAX_VALUES) if value[0] == der.OCTET_STRING)
        found[label] = found.get(label, ()) + held
    return found


# --- filters ------------------------------------------------------------------------------------------------------------

_HOLES: Final[dict[str, Callable[[Address], str]]] = {"address": str, "local": lambda who: who.local, "domain": lambda who: who.domain}
_GROUPS: Final = {"&": 0xA0, "|": 0xA1, "!": 0xA2}
_SIGNS: Final = {"=": 0xA3, ">=": 0xA5, "<=": 0xA6, "~=": 0xA8}


def fill(one: Filter, who: Address) -> bytes:
    """The BER of a filter (RFC 4511) about an address."""
    match one:
        case Group():
            return der.tlv(_GROUPS[one.kind], *(fill(inner, who) for inner in one.inside))
        case Presence():
            return der.tlv(0x87, one.attribute)
        case Comparison():
            return der.tlv(_SIGNS[one.sign], der.octets(one.attribute), der.octets(_filled(one.value, who)))
        case Substrings():
            last = len(one.pieces) - 1
            sent = [
                der.tlv(0x80 if index == 0 else 0x82 if index == last else 0x81, octets)
                for index, piece in enumerate(one.pieces)
                if (octets := _filled(piece, who))
            ]
            return der.tlv(0xA4, der.octets(one.attribute), der.sequence(*sent))


def _filled(value: Value, who: Address) -> bytes:
    return b"".join(part if isinstance(part, bytes) else _HOLES[part](who).encode(errors="replace") for part in value.parts)
