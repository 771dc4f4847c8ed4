"""The header section of a message in transit: read with limits, checked, rewritten. The body below it is never changed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mssgw.core.address import Address, AddressError
from mssgw.core.body import Body, BodyWriter
from mssgw.core.errors import Refused
from mssgw.core.message import Headers
from mssgw.protocol import mime
from mssgw.protocol.mime import MimeLimits, TooComplex

_FIRST_LOOK = 16 * 1024
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"(?!@)')
_MOST_AUTHORS = 4096  # octets of one From field
_LOOKS_LIKE_ONE = re.compile(rb'[^\s<>,;:"()@]+@[^\s<>,;:"()@]+')
_MESSAGE_ID = re.compile(r"<[^<>\x00-\x20]{1,900}>")
_EMPTY_LINE = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Head:
    headers: Headers
    size: int  # octets of the section as it stands, the empty line included

    @classmethod
    def read(cls, body: Body, limits: MimeLimits) -> Head:
        """Raises TooComplex when the section is larger, or has more fields, than the limits allow."""
        section = body.read(0, _FIRST_LOOK)
        if _EMPTY_LINE not in section and body.size > _FIRST_LOOK:
            section = body.read(0, limits.header_octets + len(_EMPTY_LINE))
        end = 0 if section.startswith(b"\r\n") else section.find(_EMPTY_LINE) + 2
        if end == 1:
            if body.size > len(section):
                raise TooComplex(f"Header is larger than {limits.header_octets} octets")
            return cls._within(Headers.parse(section), len(section), limits)
        return cls._within(Headers.parse(section[:end]), end + 2, limits)

    @classmethod
    def _within(cls, headers: Headers, size: int, limits: MimeLimits) -> Head:
        if len(headers.fields) > limits.header_fields:
            raise TooComplex(f"Header has more than {limits.header_fields} fields")
        return cls(headers, size)


def replace(body: Body, head: Head, headers: Headers, spool: Path | None) -> Body:
    """The message with another header section. Copies large bodies: call it in a thread for those."""
    new = bytes(headers) + b"\r\n"
    if body.in_memory:
        return Body.of(new + body.read(head.size))
    writer = BodyWriter(spool)
    try:
        writer.write(new)
        for start in range(head.size, body.size, 65536):
            writer.write(body.read(start, 65536))
    except BaseException:
        writer.abort()
        raise
    return writer.finish()


def message_id_of(headers: Headers) -> str | None:
    """The Message-ID with its angle brackets; None when there is none that could be searched for."""
    found = _MESSAGE_ID.search(headers.first("message-id") or "")
    return found[0] if found else None


def authors(headers: Headers, name: str = "from") -> tuple[Address, ...]:
    """The addresses of the one From field (or Sender, ...). Raises Refused: none, twice, unreadable, a group.

    Whatever looks like an address outside quotes counts too, wherever it stands: another reader may take it for the author.
    """
    fields = [field for field in headers if field.name == name]
    if len(fields) != 1:
        raise Refused(f"Message needs exactly one {name.title()} field", code=554, enhanced="5.6.0")
    value = mime.unfold(fields[0].raw.partition(b":")[2]).strip()
    if len(value) > _MOST_AUTHORS:
        raise Refused(f"The {name.title()} field is longer than {_MOST_AUTHORS} octets", code=554, enhanced="5.6.0")
    found = mime.parse_addresses(value)
    if not found or any(one.is_group for one in found):
        raise Refused(f"The {name.title()} field holds no address", code=554, enhanced="5.6.0")
    try:
        spelled = (octets.decode("utf-8") for octets in _LOOKS_LIKE_ONE.findall(_QUOTED.sub(b'""', value)))
        return tuple(dict.fromkeys(Address.parse(text) for text in (*(one.addr_spec for one in found), *spelled)))
    except (AddressError, UnicodeDecodeError) as error:
        sentence = str(error).encode("ascii", "replace").decode()
        raise Refused(f"The {name.title()} field is not an address: {sentence}", code=554, enhanced="5.6.0") from error


def on_top(headers: Headers, sender: Address | None, results: str) -> Headers:
    """What final delivery adds: the reverse-path, and our findings (Authentication-Results)."""
    return headers.prepend(("Return-Path", f"<{sender or ''}>"), ("Authentication-Results", results))
