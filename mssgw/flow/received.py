"""Trace fields we add: Received (RFC 5321 4.4), Date, Message-ID.

Where the client is one of ours (submission, the hospital's relay) its name and address are left out:
the field shows that we took the message, not where a doctor works.
"""

from __future__ import annotations

from datetime import UTC, datetime

from mssgw.core.envelope import Recipient
from mssgw.flow.transaction import Client

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MOST = 50  # Received fields after which a message is in a loop (RFC 5321 6.3)


def date(now: datetime) -> str:
    """RFC 5322 3.3, in UTC."""
    utc = now.astimezone(UTC)
    day = f"{_DAYS[utc.weekday()]}, {utc.day:02} {_MONTHS[utc.month - 1]} {utc.year:04}"
    return f"{day} {utc.hour:02}:{utc.minute:02}:{utc.second:02} +0000"


def received(
    client: Client, hostname: str, trace: str, now: datetime, recipients: list[Recipient], *, utf8: bool = False, hide_client: bool = False
) -> str:
    """The value of a Received field, folded. The recipient is named only when there is one: no recipient may see another here."""
    keyword = f"UTF8{client.keyword[1:]}" if utf8 and client.keyword.startswith("E") else client.keyword  # RFC 6531 4.3
    by = f"by {hostname} with {keyword} id {trace}"
    lines = [by] if hide_client else [f"from {client.helo} ([{_literal(client.address)}])", by]
    if client.tls is not None:
        lines.append(f"({client.tls.version} {client.tls.cipher})")
    if len(recipients) == 1 and recipients[0].address.ascii:
        lines.append(f"for <{recipients[0].address}>")
    return "\r\n\t".join(lines) + f";\r\n\t{date(now)}"


def message_id(trace: str, hostname: str) -> str:
    return f"<{trace}@{hostname}>"


def _literal(address: str) -> str:
    return f"IPv6:{address}" if ":" in address else address
