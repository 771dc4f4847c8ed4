"""Rules for the content that our own clients submit (RFC 6409 8), as one pass over the header section.

Refused: no From or two, an author that is not the client's, a name that shows the address of another,
X-MSS-* values that the national guides don't know (docs/reference/mssante.md 3.2). Mended: Date and Message-ID added;
Bcc, Return-Path and Authentication-Results removed, because only we may write those.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from mssgw.core.address import Address, AddressError
from mssgw.core.errors import NotAllowed, Refused
from mssgw.core.message import Field, Headers
from mssgw.flow.head import authors
from mssgw.flow.received import MOST, date, message_id
from mssgw.protocol import mime

_NOT_THEIRS = ("bcc", "resent-bcc", "return-path", "authentication-results")
_AUTHORS = ("sender", "resent-from", "resent-sender")
_MSS = {  # docs/reference/mssante.md 3.2
    "x-mss-codecda": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?:,[A-Za-z0-9][A-Za-z0-9._-]{0,63})*\Z"),
    "x-mss-ins": re.compile(r"[ON]\Z"),
    "x-mss-nil": re.compile(r"[\x21-\x7e]{1,100}\Z"),
    "x-mss-mes": re.compile(r"FIN\Z"),
}

Owns = Callable[[Address], bool]


def require_author(headers: Headers, owns: Owns) -> None:
    """Every address in From must be the client's own. Raises NotAllowed, Refused."""
    claimed = list(authors(headers))
    for name in _AUTHORS:
        if any(field.name == name for field in headers):
            claimed += authors(headers, name)
    for address in claimed:
        if not owns(address):
            shown = str(address).encode("ascii", "replace").decode()
            raise NotAllowed(f"You may not write as {shown}; use an address of your own in From")
    for field in headers:
        if field.name == "from" or field.name in _AUTHORS:
            _require_name(field, owns)


def _require_name(field: Field, owns: Owns) -> None:
    """Mail programs show the name and hide the address, so a name may not be the address of another. Raises NotAllowed."""
    for text in mime.spelled_addresses(field.raw.partition(b":")[2]):
        try:
            own = owns(Address.parse(text))
        except AddressError:
            own = False
        if not own:
            told = text.encode("ascii", "replace").decode()[:200]
            raise NotAllowed(f"The name in {field.name.title()} shows {told}, which is not your address; write a name without an address")


def require_mss(headers: Headers) -> None:
    """Raises Refused for a value of an X-MSS-* field that receiving software would not understand."""
    for field in headers:
        if (known := _MSS.get(field.name)) and not known.match(field.value):
            raise Refused(f"The value of {field.name.upper()} is not one of the national guides", code=554, enhanced="5.6.0")


def require_no_loop(headers: Headers) -> None:
    """RFC 5321 6.3."""
    if sum(field.name == "received" for field in headers) >= MOST:
        raise Refused(f"Routing loop: more than {MOST} Received fields", code=554, enhanced="5.4.6")


def mended(headers: Headers, trace: str, hostname: str, now: datetime) -> Headers:
    names = {field.name for field in headers}
    kept = headers.without(_NOT_THEIRS) if not names.isdisjoint(_NOT_THEIRS) else headers
    if "date" not in names:
        kept = kept.append(("Date", date(now)))
    if "message-id" not in names:
        kept = kept.append(("Message-ID", message_id(trace, hostname)))
    return kept
