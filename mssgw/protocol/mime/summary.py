"""What IMAP shows of a message, computed once at delivery and kept as wire octets. RFC 3501 7.4.2.

ENVELOPE, BODYSTRUCTURE and BODY never change for a message, so FETCH sends these octets as they are. Strings with
8-bit characters or line ends are literals, all others quoted strings; NUL, which no IMAP string can hold, is dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from mssgw.core.body import Body
from mssgw.protocol.mime.addresses import Mailbox, parse_addresses
from mssgw.protocol.mime.dates import parse_date
from mssgw.protocol.mime.fields import Fields, Structured
from mssgw.protocol.mime.part import DEFAULT_LIMITS, MimeLimits, Part, parse

_NOT_QUOTABLE = re.compile(rb"[\x00\r\n\x80-\xff]")
_ENCODING = re.compile(r"[a-z0-9][a-z0-9._+\-]{0,40}\Z")  # an unknown encoding was never applied
_MESSAGE_ID = re.compile(rb"<[^<>\x00-\x20]{1,900}>")
_EMPTY_PART = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0'  # RFC 3501 9 wants at least one part in a multipart


@dataclass(frozen=True, slots=True)
class Summary:
    envelope: bytes
    bodystructure: bytes
    body: bytes  # BODYSTRUCTURE without extension data
    header_size: int  # octets up to and with the empty line
    size: int
    message_id: str | None  # with angle brackets
    date: datetime | None  # of the Date field; naive when it gave no zone


def summarise(body: Body, limits: MimeLimits = DEFAULT_LIMITS) -> Summary:
    """Everything that IMAP shows of a message. Raises TooComplex."""
    root = parse(body, limits)
    short, full = structure(root)
    fields = root.fields
    identifier = _MESSAGE_ID.search(fields.get(b"message-id") or b"")
    return Summary(
        envelope=envelope(fields),
        bodystructure=full,
        body=short,
        header_size=root.body_start,
        size=body.size,
        message_id=identifier[0].decode("utf-8", "replace") if identifier else None,
        date=parse_date(fields.get(b"date") or b""),
    )


def string(value: bytes) -> bytes:
    """An IMAP string: quoted when it can be, else a literal. RFC 3501 4.3."""
    if _NOT_QUOTABLE.search(value):
        value = value.replace(b"\x00", b"")
        return b"{%d}\r\n%s" % (len(value), value)
    if b'"' in value or b"\\" in value:
        value = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"' + value + b'"'


def nstring(value: bytes | None) -> bytes:
    return b"NIL" if value is None else string(value)


def envelope(fields: Fields) -> bytes:
    """RFC 3501 7.4.2 ENVELOPE: Sender and Reply-To default to From."""
    sender = _addresses(fields, b"from")
    return b"(%s %s %s %s %s %s %s %s %s %s)" % (
        nstring(fields.get(b"date")),
        nstring(fields.get(b"subject")),
        sender,
        _addresses(fields, b"sender", sender),
        _addresses(fields, b"reply-to", sender),
        _addresses(fields, b"to"),
        _addresses(fields, b"cc"),
        _addresses(fields, b"bcc"),
        nstring(fields.get(b"in-reply-to")),
        nstring(fields.get(b"message-id")),
    )


def _addresses(fields: Fields, name: bytes, default: bytes = b"NIL") -> bytes:
    values = fields.all(name)
    if not values:
        return default
    written = [_address(one) for value in values for one in parse_addresses(value)]
    return b"(" + b"".join(written) + b")" if written else default


def _address(one: Mailbox) -> bytes:
    name, route, local, host = one
    return b"(%s %s %s %s)" % (nstring(name), nstring(route), nstring(local), nstring(host))


def structure(part: Part) -> tuple[bytes, bytes]:
    """(BODY, BODYSTRUCTURE) of a part and all below it."""
    major, _, minor = part.type.value.partition(b"/")
    if major == b"multipart":
        return _multipart(part, minor)
    wire = part.type.wire
    if major == b"text" and not any(name.lower().startswith(b"charset") for name, _ in wire):
        wire = (*wire, (b"charset", b"us-ascii"))  # RFC 2046 4.1.2: the default, written out for clients that don't know it
    encoding = part.encoding
    basic = b'("%s" "%s" %s %s %s %s %d' % (
        major,
        minor,
        _params(wire),
        nstring(part.fields.get(b"content-id")),
        nstring(part.fields.get(b"content-description")),
        string(encoding.encode()) if _ENCODING.match(encoding) else b'"7bit"',
        part.size,
    )
    extension = nstring(part.fields.get(b"content-md5")) + _extension(part)
    if part.message:
        short, full = structure(part.message)
        inner = envelope(part.message.fields)
        return (b"%s %s %s %d)" % (basic, inner, short, part.lines), b"%s %s %s %d %s)" % (basic, inner, full, part.lines, extension))
    if major == b"text":
        basic = b"%s %d" % (basic, part.lines)
    return basic + b")", b"%s %s)" % (basic, extension)


def _multipart(part: Part, minor: bytes) -> tuple[bytes, bytes]:
    pairs = [structure(child) for child in part.children] or [(_EMPTY_PART + b")", _EMPTY_PART + b" NIL NIL NIL NIL)")]
    short = b'(%s "%s")' % (b"".join(pair[0] for pair in pairs), minor)
    full = b'(%s "%s" %s%s)' % (b"".join(pair[1] for pair in pairs), minor, _params(part.type.wire), _extension(part))
    return short, full


def _extension(part: Part) -> bytes:
    """Disposition, language, location: the extension data after the first item."""
    fields = part.fields
    shown = part.disposition
    languages = fields.get(b"content-language")
    return b" %s %s %s" % (_disposition(shown), _languages(languages), nstring(fields.get(b"content-location")))


def _disposition(shown: Structured | None) -> bytes:
    return b"NIL" if shown is None else b"(%s %s)" % (string(shown.value), _params(shown.wire))


def _languages(value: bytes | None) -> bytes:
    tags = [tag.strip() for tag in (value or b"").split(b",") if tag.strip()]
    if not tags:
        return b"NIL"
    return b"(" + b" ".join(map(string, tags)) + b")"


def _params(wire: tuple[tuple[bytes, bytes], ...]) -> bytes:
    if not wire:
        return b"NIL"
    return b"(" + b" ".join([string(name) + b" " + string(value) for name, value in wire]) + b")"
