"""Audit: who did what, when, with which outcome; never content, subjects or patient data.

Rows are only added. Those of one message share its trace, so `find` returns the whole way of a message from
any address, Message-ID or trace.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from mssgw.core.address import Address
from mssgw.store import schema
from mssgw.store.engine import Reader, Transaction


class Act(enum.StrEnum):
    """The kinds of rows that the store itself writes. Other areas add their own."""

    QUEUED = "queued"  # a message entered the queue
    RECIPIENT = "recipient"  # a queued recipient reached its final state
    DELIVERED = "delivered"  # a message went into a mailbox
    DUPLICATE = "duplicate"  # the mailbox already had it
    QUEUE = "queue"  # an administrator's act: hold, retry, drop
    ACCOUNT = "account"
    IDENTITY = "identity"  # a key of ours: added, requested, retired


@dataclass(frozen=True, slots=True)
class Entry:
    id: int
    at: datetime
    who: str
    what: str
    outcome: str
    trace: str | None
    sender: str | None
    recipient: str | None
    message_id: str | None
    facts: dict[str, Any]


_audit = schema.audit.c
_ADD = sa.insert(schema.audit)
_COLUMNS = sa.select(schema.audit).order_by(_audit.id)


def add(
    tx: Transaction,
    who: str,
    what: str,
    outcome: str,
    trace: str | None = None,
    *,
    sender: Address | str | None = None,
    recipient: Address | str | None = None,
    message_id: str | None = None,
    **facts: object,
) -> None:
    """Write one row. `facts` are plain values (others become text); addresses and Message-ID can be searched for."""
    plain = {
        name: value if isinstance(value, int | float | str | bool) else str(value) for name, value in facts.items() if value is not None
    }
    tx.raw(
        _ADD,
        {
            "at": tx.now,
            "who": who,
            "what": what,
            "outcome": outcome,
            "trace": trace,
            "sender": None if sender is None else written(sender),
            "recipient": None if recipient is None else written(recipient),
            "message_id": message_id,
            "facts": msgspec.json.encode(plain).decode(),
        },
    )


def written(address: Address | str) -> str:
    """An address as audit rows hold it, in one case, so that it is found however the peer wrote it."""
    return str(address).casefold()


def find(
    rx: Reader,
    *,
    trace: str | None = None,
    address: Address | str | None = None,
    message_id: str | None = None,
    since: datetime | None = None,
    limit: int = 1000,
) -> list[Entry]:
    """Rows that match, and all others of the same traces, oldest first."""
    asked: list[sa.ColumnElement[bool]] = []
    if trace is not None:
        asked.append(_audit.trace == trace)
    if address is not None:
        asked.append(sa.or_(_audit.sender == written(address), _audit.recipient == written(address)))
    if message_id is not None:
        asked.append(_audit.message_id == message_id)
    if since is not None:
        asked.append(_audit.at >= since)
    newest = sa.select(_audit.id, _audit.trace).where(*asked).order_by(_audit.id.desc()).limit(limit)
    hits = rx.run(newest).all()
    traces = {row.trace for row in hits if row.trace}
    wanted = sa.or_(schema.among(_audit.id, "ids"), _audit.trace.in_(sa.bindparam("traces", expanding=True)))
    return [_entry(row) for row in rx.run(_COLUMNS.where(wanted), {"ids": [row.id for row in hits], "traces": sorted(traces)})]


def _entry(row: Any) -> Entry:
    return Entry(
        row.id, row.at, row.who, row.what, row.outcome, row.trace, row.sender, row.recipient, row.message_id, msgspec.json.decode(row.facts)
    )
