"""Delivery status notifications: the report as values, written and read (RFC 3461, 3464, 6522, 6533).

`build` writes a complete message: multipart/report of a text for people (French, then English), the
fields for machines, and what is returned of the original. Everything in it is 7-bit except a returned
original that was 8-bit itself. Text from other systems (diagnostics, ORCPT, ENVID) is cleaned of control
characters before it becomes a field, so that no reply of a peer can start a header field of ours.

`parse` reads the reports of other systems. It is tolerant where real mail transfer agents are sloppy (missing
address types, comments behind the action, wrong folding) and raises NotAReport when no recipient and its
outcome can be found. It never raises anything else.

Codes: RFC 3463 and the registry of RFC 5248.
"""

from __future__ import annotations

import base64
import binascii
import enum
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from mssgw.core.body import Body
from mssgw.core.message import Headers

PARSE_LIMIT = 1 << 20  # octets of a report that are read
PARSE_DEPTH = 8  # nested multiparts
PARSE_RECIPIENTS = 2000
HEADER_OCTETS = 64 * 1024  # octets of the original's header section that are returned
HEADER_FIELDS = 200
FIELD_LIMIT = 900  # characters of one value we write or keep; a line may have 998 (RFC 5322 2.1.1)


class NotAReport(ValueError):
    """The message names no recipient with its outcome."""


class Action(enum.StrEnum):  # RFC 3464 2.3.3
    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """What happened to one recipient (RFC 3464 2.3). Texts are decoded and without control characters."""

    final: str  # the address, without its type
    action: Action
    status: str  # RFC 3463, "5.1.1"
    original: str | None = None  # with its type, "rfc822;x@y.example"
    remote_mta: str | None = None  # host name, without "dns;"
    diagnostic: str | None = None  # with its type, "smtp; 550 5.1.1 No such user"
    last_attempt: datetime | None = None
    will_retry_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One report (RFC 3464 2.2). `original_message_id` is read from what was returned; `build` ignores it."""

    reporting_mta: str
    recipients: tuple[RecipientStatus, ...]
    envid: str | None = None
    arrival: datetime | None = None
    original_message_id: str | None = None


def clean(text: str, limit: int = FIELD_LIMIT) -> str:
    """Text from another system as one line without control characters, at most `limit` characters."""
    line = re.sub(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]+", " ", text[: 4 * limit]).strip()
    return line if len(line) <= limit else line[: limit - 3] + "..."


# Writing -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Returned:
    """What is returned of the original: its octets, whole or only the header section (RFC 3461 4.3)."""

    octets: bytes
    whole: bool
    utf8: bool = False  # the original was sent with SMTPUTF8
    cut: bool = False  # only the beginning of a header section

    @classmethod
    def header_of(cls, body: Body, *, utf8: bool = False) -> Returned:
        """The whole fields within the first HEADER_OCTETS, at most HEADER_FIELDS of them: a header of any size can be returned."""
        section = body.read(0, HEADER_OCTETS)
        fields = Headers.parse(section).fields
        broken = b"\r\n\r\n" not in section and body.size > HEADER_OCTETS  # within the last field
        kept = (fields[:-1] if broken else fields)[:HEADER_FIELDS]
        return cls(bytes(Headers(kept)), whole=False, utf8=utf8, cut=broken or len(kept) < len(fields))


@dataclass(frozen=True, slots=True)
class Letter:
    """The parts of a report that people see."""

    sender: str  # display name and address of who reports
    to: str
    subject: str
    text: str
    message_id: str  # without angle brackets
    date: datetime
    references: str | None = None  # Message-ID of the original, with angle brackets


def build(report: Report, letter: Letter, returned: Returned | None) -> bytes:
    """The whole message, CRLF line ends. Its envelope sender is the null path (RFC 3464 2)."""
    utf8 = _needs_utf8(report)
    parts = [
        _part("text/plain; charset=utf-8", letter.text.replace("\n", "\r\n").encode(), description="Notification"),
        _part(
            "message/global-delivery-status" if utf8 else "message/delivery-status",
            _status_fields(report, utf8=utf8),
            description="Delivery report",
            encode=utf8,  # RFC 6533 4.1: message/global-* may be encoded, so that the report travels on 7 bits
        ),
    ]
    if returned is not None:
        parts.append(_returned_part(returned))
    boundary = _boundary(parts, letter.message_id)
    mark = b"--" + boundary.encode()
    head = _head(letter, boundary, eight_bit=not all(part.isascii() for part in parts))
    return head + b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


def _head(letter: Letter, boundary: str, *, eight_bit: bool) -> bytes:
    fields = [
        ("From", letter.sender),
        ("To", letter.to),
        ("Subject", _encoded_word(letter.subject)),
        ("Date", format_datetime(letter.date)),
        ("Message-ID", f"<{letter.message_id}>"),
        ("Auto-Submitted", "auto-replied"),  # RFC 3834 5
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"'),  # RFC 6522 3
    ]
    if letter.references:
        fields += [("In-Reply-To", letter.references), ("References", letter.references)]
    if eight_bit:
        fields.append(("Content-Transfer-Encoding", "8bit"))
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode() + b"\r\n"


def _needs_utf8(report: Report) -> bool:
    """Whether an address needs message/global-delivery-status (RFC 6533 4). All other text can lose its accents."""
    return not all((one.final + (one.original or "")).isascii() for one in report.recipients)


def _status_fields(report: Report, *, utf8: bool) -> bytes:
    groups = [_group(_report_fields(report))] + [_group(_recipient_fields(one)) for one in report.recipients]
    return "\r\n".join(groups).encode("utf-8" if utf8 else "ascii", "replace")


def _report_fields(report: Report) -> Iterator[tuple[str, str | None]]:
    yield "Original-Envelope-Id", report.envid  # RFC 3464 2.2.1
    yield "Reporting-MTA", f"dns; {report.reporting_mta}"
    yield "Arrival-Date", _date(report.arrival)


def _recipient_fields(one: RecipientStatus) -> Iterator[tuple[str, str | None]]:
    yield "Original-Recipient", one.original  # RFC 3464 2.3.1
    yield "Final-Recipient", f"{'rfc822' if one.final.isascii() else 'utf-8'}; {one.final}"
    yield "Action", one.action.value
    yield "Status", one.status
    yield "Remote-MTA", one.remote_mta and f"dns; {one.remote_mta}"
    yield "Diagnostic-Code", one.diagnostic
    yield "Last-Attempt-Date", _date(one.last_attempt)
    yield "Will-Retry-Until", _date(one.will_retry_until)


def _group(fields: Iterator[tuple[str, str | None]]) -> str:
    return "".join(f"{name}: {clean(value)}\r\n" for name, value in fields if value)


def _date(when: datetime | None) -> str | None:
    return format_datetime(when) if when else None


def _returned_part(returned: Returned) -> bytes:
    if returned.whole:
        kind, name = ("message/global" if returned.utf8 else "message/rfc822"), "Your message"
    else:
        kind = "message/global-headers" if returned.utf8 else "text/rfc822-headers"
        name = "Beginning of the header of your message, the rest is left out" if returned.cut else "Header of your message"
    return _part(kind, returned.octets, description=name, encode=False)


def _part(kind: str, octets: bytes, *, description: str, encode: bool | None = None) -> bytes:
    """One part. `encode` None: quoted-printable when it is not plain ASCII of short lines."""
    if encode is None:
        encode = not octets.isascii() or max(map(len, octets.split(b"\r\n")), default=0) > 76
    head = f"Content-Description: {description}\r\nContent-Type: {kind}\r\n"
    if encode:
        lines = [quopri.encodestring(line, quotetabs=False).replace(b"=\n", b"=\r\n") for line in octets.split(b"\r\n")]
        head, octets = head + "Content-Transfer-Encoding: quoted-printable\r\n", b"\r\n".join(lines)
    elif not octets.isascii():
        head += "Content-Transfer-Encoding: 8bit\r\n"
    return head.encode() + b"\r\n" + octets


def _boundary(parts: list[bytes], seed: str) -> str:
    """A boundary that occurs in no part. Numbered, so that the same report has the same octets."""
    stem = "=_" + (re.sub(r"[^A-Za-z0-9]", "", seed)[:40] or "report")
    number = 0
    while any(f"--{stem}.{number}".encode() in part for part in parts):
        number += 1
    return f"{stem}.{number}"


def _encoded_word(text: str) -> str:
    """RFC 2047. Our subjects are short: one word of at most 75 characters each."""
    if text.isascii():
        return text
    words, chunk = [], ""
    for letter in text:
        if len((chunk + letter).encode()) > 42:
            words.append(chunk)
            chunk = ""
        chunk += letter
    return "\r\n ".join(f"=?utf-8?B?{base64.b64encode(word.encode()).decode()}?=" for word in [*words, chunk])


# Reading -----------------------------------------------------------------------------------------

_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
_RETURNED_TYPES = ("message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers")
_LOOSE = re.compile(rb"^(?:Reporting-MTA|Final-Recipient|Original-Recipient)[ \t]*:.*", re.IGNORECASE | re.MULTILINE | re.DOTALL)


def parse(message: bytes) -> Report:
    """Read a report. Raises NotAReport."""
    text = message[:PARSE_LIMIT].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    status: bytes | None = None
    returned: Headers | None = None
    for kind, octets in _leaves(text, 0):
        if kind in _STATUS_TYPES and status is None:
            status = octets
        elif kind in _RETURNED_TYPES and returned is None:
            returned = Headers.parse(octets.lstrip(b"\n"))
    if status is None:
        status = _loose(text)
    recipients, about = _read_groups(status)
    if not recipients:
        raise NotAReport("no recipient is named")
    return Report(
        reporting_mta=_without_type(about.first("reporting-mta") or ""),
        recipients=tuple(recipients),
        envid=_text(about.first("original-envelope-id")),
        arrival=_parse_date(about.first("arrival-date")),
        original_message_id=_text(returned.first("message-id")) if returned else None,
    )


def _loose(text: bytes) -> bytes:
    """Fields of a report outside of a part message/delivery-status; some agents send them so."""
    body = text.partition(b"\n\n")[2]
    found = _LOOSE.search(body)
    if not found:
        raise NotAReport("no delivery-status part")
    return found[0].partition(b"\n--")[0]


def _leaves(text: bytes, depth: int) -> Iterator[tuple[str, bytes]]:
    """(type, decoded octets) of every part that is not a multipart, in order."""
    head, _, body = text.partition(b"\n\n") if not text.startswith(b"\n") else (b"", b"", text[1:])
    headers = Headers.parse(head + b"\n")
    kind = (headers.first("content-type") or "text/plain").partition(";")[0].strip().lower()
    boundary = _BOUNDARY.search(headers.first("content-type") or "")
    if kind.startswith("multipart/") and boundary and depth < PARSE_DEPTH:
        mark = b"\n--" + (boundary[1] or boundary[2]).encode("utf-8", "surrogateescape")
        for part in (b"\n" + body).split(mark)[1:]:
            if part.startswith(b"--"):
                return
            yield from _leaves(part.partition(b"\n")[2], depth + 1)
    else:
        yield kind, _decoded(body, (headers.first("content-transfer-encoding") or "").strip().lower())


def _decoded(octets: bytes, encoding: str) -> bytes:
    if encoding == "quoted-printable":
        return quopri.decodestring(octets)
    if encoding == "base64":
        try:
            return base64.b64decode(re.sub(rb"[^A-Za-z0-9+/]", b"", octets) + b"==").replace(b"\r\n", b"\n")
        except binascii.Error:
            return octets
    return octets


def _read_groups(status: bytes) -> tuple[list[RecipientStatus], Headers]:
    about = Headers(())
    recipients: list[RecipientStatus] = []
    for group in re.split(rb"\n[ \t]*\n", status.strip(b"\n \t")):
        fields = Headers.parse(group.lstrip(b"\n") + b"\n")
        if len(recipients) < PARSE_RECIPIENTS and (one := _read_recipient(fields)):
            recipients.append(one)
        if not about.fields or fields.first("reporting-mta"):
            about = fields
    return recipients, about


def _read_recipient(fields: Headers) -> RecipientStatus | None:
    original = _text(fields.first("original-recipient"))
    final = _without_type(fields.first("final-recipient") or fields.first("x-actual-recipient") or original or "")
    if not final:
        return None
    diagnostic = _text(fields.first("diagnostic-code"))
    status = _STATUS.search(fields.first("status") or "") or _STATUS.search(diagnostic or "")
    word = re.match(r"\s*([a-z]+)", (fields.first("action") or "").lower())
    action = _action(word[1] if word else "", status[1] if status else "")
    return RecipientStatus(
        final=final,
        action=action,
        status=".".join(status.groups()) if status else {"failed": "5.0.0", "delayed": "4.0.0"}.get(action.value, "2.0.0"),
        original=original,
        remote_mta=_without_type(fields.first("remote-mta") or "") or None,
        diagnostic=diagnostic,
        last_attempt=_parse_date(fields.first("last-attempt-date")),
        will_retry_until=_parse_date(fields.first("will-retry-until")),
    )


def _action(word: str, status_class: str) -> Action:
    """The action in the field, else what the status class means (RFC 3463 3). Unknown counts as failed: the safe reading."""
    try:
        return Action(word)
    except ValueError:
        return {"2": Action.DELIVERED, "4": Action.DELAYED}.get(status_class, Action.FAILED)


def _text(value: str | None) -> str | None:
    return clean(value) or None if value else None


def _without_type(value: str) -> str:
    """`rfc822; <x@y>` and its variants -> `x@y`."""
    kind, semicolon, rest = value.partition(";")
    text = rest if semicolon and re.fullmatch(r"[^@<>]{0,40}", kind) else value
    text = clean(text)
    inside = re.search(r"<([^<>]+)>", text)
    return inside[1].strip() if inside else text


def _parse_date(value: str | None) -> datetime | None:
    if not value:
        return None
    try:
        when = parsedate_to_datetime(value[:100])
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None
