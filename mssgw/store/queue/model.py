"""Values of the queue, and how they are read from rows."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NewType

import msgspec
import sqlalchemy as sa

from mssgw.core.address import Address, Domain
from mssgw.core.envelope import DsnOptions, Envelope, Notify, Origin, Recipient, Ret
from mssgw.core.errors import Deferred
from mssgw.store import schema
from mssgw.store.blobs import ContentId, Prepared
from mssgw.store.engine import Reader

DeliveryId = NewType("DeliveryId", int)


class State(enum.StrEnum):
    QUEUED = "QUEUED"
    SENT = "SENT"  # the next hop, or a mailbox here, has it
    FAILED = "FAILED"  # refused, or given up
    EXPANDED = "EXPANDED"  # replaced by other recipients (RFC 3464 2.3.3)
    DROPPED = "DROPPED"  # by an administrator

    @property
    def final(self) -> bool:
        return self is not State.QUEUED


class LeaseLost(Deferred):
    """Somebody else has this delivery now, or it is finished. Nothing was recorded."""


@dataclass(frozen=True, slots=True)
class NewQueued:
    trace: str  # unique
    content: Prepared  # what leaves, octet by octet
    envelope: Envelope
    message_id: str | None = None
    due: datetime | None = None  # first attempt; now


@dataclass(frozen=True, slots=True)
class RecipientState:
    id: int
    recipient: Recipient
    state: State
    reply: str | None  # the peer's last reply
    changed: datetime | None

    @property
    def address(self) -> Address:
        return self.recipient.address


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt did to one recipient. QUEUED: not now, with the reason."""

    recipient: int  # RecipientState.id
    state: State
    reply: str


@dataclass(frozen=True, slots=True)
class Delivery:
    id: DeliveryId
    trace: str
    domain: Domain  # the next hop
    content: ContentId | None  # None when finished
    size: int
    envelope: Envelope  # of the whole delivery: its recipients are all of this domain, final ones included
    message_id: str | None
    recipients: tuple[RecipientState, ...]
    received: datetime
    due: datetime
    attempts: int
    lease_until: datetime | None
    fence: int
    held: bool
    delay_told: datetime | None
    finished: datetime | None

    @property
    def pending(self) -> tuple[RecipientState, ...]:
        return tuple(one for one in self.recipients if not one.state.final)


@dataclass(frozen=True, slots=True)
class Queued:
    """One message with all its deliveries, for `mssgw queue show`."""

    trace: str
    received: datetime
    finished: datetime | None
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    waiting: int  # deliveries not finished, held ones not counted
    leased: int
    held: int
    oldest: datetime | None  # when the oldest unfinished message came


_delivery, _queued, _recipient = schema.delivery.c, schema.queued.c, schema.recipient.c
_NAMES = ("trace", "content_id", "size", "sender", "message_id", "ret", "envid", "utf8", "body_8bit", "origin", "received")
DELIVERIES = sa.select(schema.delivery, *(_queued[name] for name in _NAMES)).join(schema.queued)
_RECIPIENTS = sa.select(schema.recipient).where(schema.among(_recipient.delivery_id, "ids")).order_by(_recipient.id)
_BY_ID = DELIVERIES.where(schema.among(_delivery.id, "ids")).order_by(_delivery.due, _delivery.id)


def load(rx: Reader, ids: Iterable[int]) -> tuple[Delivery, ...]:
    """Deliveries with their recipients, the earliest due first."""
    return of_rows(rx, rx.run(_BY_ID, {"ids": list(ids)}).all())


def of_rows(rx: Reader, rows: Iterable[Any]) -> tuple[Delivery, ...]:
    found = list(rows)
    states: defaultdict[int, list[RecipientState]] = defaultdict(list)
    for row in rx.run(_RECIPIENTS, {"ids": [row.id for row in found]}):
        notify = frozenset(Notify(word) for word in row.notify.split())
        recipient = Recipient(Address.parse(row.address), notify, row.original, row.notify_given)
        states[row.delivery_id].append(RecipientState(row.id, recipient, State(row.state), row.reply, row.changed))
    return tuple(_delivery_of(row, tuple(states[row.id])) for row in found)


def _delivery_of(row: Any, recipients: tuple[RecipientState, ...]) -> Delivery:
    envelope = Envelope(
        sender=None if row.sender is None else Address.parse(row.sender),
        recipients=tuple(one.recipient for one in recipients),
        origin=msgspec.json.decode(row.origin, type=Origin),
        dsn=DsnOptions(Ret(row.ret) if row.ret else None, row.envid),
        utf8=row.utf8,
        body_8bit=row.body_8bit,
    )
    return Delivery(
        DeliveryId(row.id),
        row.trace,
        Domain(row.domain),
        row.content_id,
        row.size,
        envelope,
        row.message_id,
        recipients,
        row.received,
        row.due,
        row.attempts,
        row.lease_until,
        row.fence,
        row.held,
        row.delay_told,
        row.finished,
    )
