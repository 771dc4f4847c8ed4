"""The worker's side of the queue: add, claim, renew, record, release."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from mssgw.core.address import Address, Domain
from mssgw.core.envelope import Recipient
from mssgw.observe import crash_point
from mssgw.store import audit, blobs, schema
from mssgw.store.engine import Reader, Transaction
from mssgw.store.queue.model import Counts, Delivery, DeliveryId, LeaseLost, NewQueued, Outcome, State, load

_delivery, _queued, _recipient = schema.delivery.c, schema.queued.c, schema.recipient.c
_ADD_QUEUED = sa.insert(schema.queued).returning(_queued.id)
_ADD_DELIVERY = sa.insert(schema.delivery).returning(_delivery.id)
_ADD_RECIPIENT = sa.insert(schema.recipient)

_OPEN = sa.and_(_delivery.finished.is_(None), sa.not_(_delivery.held))
_DUE = sa.select(_delivery.id).where(_OPEN, _delivery.due <= sa.bindparam("time")).order_by(_delivery.due).limit(sa.bindparam("most"))
_NOT_BUSY = _DUE.where(_delivery.domain.not_in(sa.bindparam("busy", expanding=True)))


def _claiming(due: Any) -> Any:
    # Its own CTE: PostgreSQL may run a subquery of WHERE once for each row, and one with SKIP LOCKED finds others each time.
    found = due.with_for_update(skip_locked=True).cte("found")
    return (
        sa.update(schema.delivery)
        .where(_delivery.id.in_(sa.select(found.c.id)))
        .values(due=sa.bindparam("until"), lease_until=sa.bindparam("until"), lease_owner=sa.bindparam("owner"), fence=_delivery.fence + 1)
        .returning(_delivery.id)
    )


_CLAIM, _CLAIM_NOT_BUSY = _claiming(_DUE), _claiming(_NOT_BUSY)
_FAR = sa.and_(_delivery.finished.is_(None), sa.not_(_delivery.held), _delivery.due > sa.bindparam("latest"))
_IS_FAR = sa.select(sa.func.count()).where(_FAR)
_BRING_BACK = (
    sa.update(schema.delivery).where(_FAR).values(due=sa.bindparam("latest"), lease_until=None, lease_owner=None).returning(_delivery.id)
)
_NEXT_DUE = sa.select(sa.func.min(_delivery.due, type_=schema.Instant())).where(_OPEN)
_OURS = (_delivery.id == sa.bindparam("which"), _delivery.fence == sa.bindparam("token"), _delivery.finished.is_(None))
_RENEW = sa.update(schema.delivery).where(*_OURS).values(due=sa.bindparam("until"), lease_until=sa.bindparam("until"))
_RELEASE = sa.update(schema.delivery).where(*_OURS).values(due=sa.bindparam("next"), lease_until=None, lease_owner=None)
_RECORD = (
    sa.update(schema.delivery)
    .where(*_OURS)
    .values(due=sa.bindparam("next"), lease_until=None, lease_owner=None, attempts=_delivery.attempts + sa.bindparam("tried"))
)
_SET_STATE = (
    sa.update(schema.recipient)
    .where(
        _recipient.id == sa.bindparam("which"),
        _recipient.delivery_id == sa.bindparam("of"),
        _recipient.state == State.QUEUED,
    )
    .values(state=sa.bindparam("new"), reply=sa.bindparam("said"), changed=sa.bindparam("time"))
)
_PENDING = sa.select(sa.func.count()).where(_recipient.delivery_id == sa.bindparam("of"), _recipient.state == State.QUEUED)
_FINISH = (
    sa.update(schema.delivery)
    .where(_delivery.id == sa.bindparam("which"))
    .values(finished=sa.bindparam("time"), lease_until=None, lease_owner=None)
    .returning(_delivery.queued_id)
)
_LOCK_QUEUED = sa.select(_queued.id).where(_queued.id == sa.bindparam("which")).with_for_update(key_share=True)
_FINISH_QUEUED = (
    sa.update(schema.queued)
    .where(
        _queued.id == sa.bindparam("which"),
        ~sa.exists().where(_delivery.queued_id == sa.bindparam("which"), _delivery.finished.is_(None)),
    )
    .values(finished=sa.bindparam("time"), content_id=None)
)
_TELL_DELAY = sa.update(schema.delivery).where(*_OURS).values(delay_told=sa.bindparam("time"))


def add(tx: Transaction, new: NewQueued) -> list[DeliveryId]:
    """Take a message over: one delivery for each domain of its recipients, in their order."""
    envelope = new.envelope
    ((number,),) = tx.raw(
        _ADD_QUEUED,
        {
            "trace": new.trace,
            "content_id": blobs.add(tx, new.content),
            "size": new.content.size,
            "sender": None if envelope.sender is None else str(envelope.sender),
            "message_id": new.message_id,
            "ret": envelope.dsn.ret,
            "envid": envelope.dsn.envid,
            "utf8": envelope.utf8,
            "body_8bit": envelope.body_8bit,
            "origin": msgspec.json.encode(envelope.origin).decode(),
            "received": tx.now,
            "finished": None,
        },
    )
    hops: defaultdict[Domain, list[Recipient]] = defaultdict(list)
    for recipient in envelope.recipients:
        hops[recipient.address.domain].append(recipient)
    ids = [_add_delivery(tx, number, domain, recipients, new.due or tx.now) for domain, recipients in hops.items()]
    audit.add(
        tx,
        envelope.origin.kind,
        audit.Act.QUEUED,
        "ok",
        new.trace,
        sender=envelope.sender or "<>",
        message_id=new.message_id,
        size=new.content.size,
        recipients=len(envelope.recipients),
        peer=envelope.origin.peer,
        account=envelope.origin.account,
    )
    tx.ring("queue")
    crash_point("queue.added")
    return ids


def _add_delivery(tx: Transaction, queued: int, domain: Domain, recipients: list[Recipient], due: datetime) -> DeliveryId:
    row = {"queued_id": queued, "domain": domain, "due": due, "attempts": 0, "fence": 0, "held": False}
    ((number,),) = tx.raw(_ADD_DELIVERY, row)
    for one in recipients:
        tx.raw(
            _ADD_RECIPIENT,
            {
                "delivery_id": number,
                "address": str(one.address),
                "notify": " ".join(sorted(one.notify)),
                "notify_given": one.notify_given,
                "original": one.original,
                "state": State.QUEUED,
            },
        )
    return DeliveryId(number)


def claim(tx: Transaction, now: datetime, limit: int, lease_seconds: float, busy: Collection[Domain] = ()) -> tuple[Delivery, ...]:
    """Lease up to `limit` due deliveries, the earliest due first, none for `busy` domains."""
    until = now + timedelta(seconds=lease_seconds)
    values: dict[str, Any] = {"time": now, "most": limit, "until": until, "owner": tx.context.worker}
    if busy:
        values["busy"] = sorted(busy)
    claimed = tx.run(_CLAIM_NOT_BUSY if busy else _CLAIM, values).scalars().all()
    return load(tx, claimed) if claimed else ()


def next_due(rx: Reader) -> datetime | None:
    """When something can be claimed next: when it is due, or when its lease ends. None: nothing waits."""
    found: datetime | None = rx.run(_NEXT_DUE).scalar()
    return found


def is_far(rx: Reader, latest: datetime) -> bool:
    """Whether something is due later than that."""
    return bool(rx.run(_IS_FAR, {"latest": latest}).scalar_one())


def bring_back(tx: Transaction, latest: datetime) -> int:
    """Make due at `latest` what is due later: a clock that was ahead set those times. How many.

    The fence stays: who is at work on one of them records its outcome all the same.
    """
    return len(tx.run(_BRING_BACK, {"latest": latest}).all())


def renew(tx: Transaction, delivery: Delivery, until: datetime) -> None:
    """Keep a lease longer. Raises LeaseLost."""
    _ours(tx, _RENEW, delivery, until=until)


def release(tx: Transaction, delivery: Delivery, due: datetime | None = None) -> None:
    """Give a delivery back untried, due now or later. Raises LeaseLost."""
    _ours(tx, _RELEASE, delivery, next=due or tx.now)
    tx.ring("queue")


def record(tx: Transaction, delivery: Delivery, outcomes: Sequence[Outcome], next_due: datetime | None, *, attempted: bool = True) -> bool:
    """Write down an attempt; the lease ends. True when the delivery is finished.

    Recipients without an outcome stay queued. `next_due` is required while one is. Raises LeaseLost.
    """
    crash_point("queue.before_record")
    _ours(tx, _RECORD, delivery, next=next_due or tx.now, tried=int(attempted))
    addresses = {one.id: one.address for one in delivery.recipients}
    for outcome in outcomes:
        set_state(tx, delivery, addresses[outcome.recipient], outcome, "queue")
    finished = finish_if_done(tx, delivery.id)
    if not finished and next_due is None:
        raise ValueError(f"delivery {delivery.id} has recipients left and no next due time")
    tx.ring("queue")
    return finished


def set_state(tx: Transaction, delivery: Delivery, address: Address, outcome: Outcome, who: str) -> None:
    """Give a queued recipient its new state; a final one is written into the audit and never changes again."""
    values = {"which": outcome.recipient, "of": delivery.id, "new": outcome.state, "said": outcome.reply, "time": tx.now}
    if tx.run(_SET_STATE, values).rowcount and outcome.state.final:
        audit.add(
            tx,
            who,
            audit.Act.RECIPIENT,
            outcome.state.lower(),
            delivery.trace,
            sender=delivery.envelope.sender or "<>",
            recipient=address,
            message_id=delivery.message_id,
            reply=outcome.reply,
        )


def finish_if_done(tx: Transaction, delivery: DeliveryId) -> bool:
    """Close a delivery whose recipients are all final, and its message when it was the last."""
    if tx.run(_PENDING, {"of": delivery}).scalar_one():
        return False
    queued = tx.run(_FINISH, {"which": delivery, "time": tx.now}).scalar_one()
    tx.run(_LOCK_QUEUED, {"which": queued})  # two last deliveries may end at once on PostgreSQL
    tx.run(_FINISH_QUEUED, {"which": queued, "time": tx.now})
    return True


def tell_delay(tx: Transaction, delivery: Delivery) -> None:
    """Record that the delay was reported to the sender (RFC 3461 4.1, NOTIFY=DELAY). Raises LeaseLost."""
    _ours(tx, _TELL_DELAY, delivery, time=tx.now)


def count(rx: Reader) -> Counts:
    """How much waits, for metrics and `mssgw queue`."""
    ready = sa.not_(_delivery.held)
    leased = sa.and_(ready, _delivery.lease_until > rx.now)
    counts = (
        sa.func.count().filter(ready),
        sa.func.count().filter(leased),
        sa.func.count().filter(_delivery.held),
        sa.func.min(_queued.received, type_=schema.Instant()),
    )
    statement = sa.select(*counts).select_from(schema.delivery.join(schema.queued)).where(_delivery.finished.is_(None))
    row: Any = rx.run(statement).one()
    return Counts(*row)


def _ours(tx: Transaction, statement: Any, delivery: Delivery, **values: Any) -> None:
    if not tx.run(statement, {"which": delivery.id, "token": delivery.fence, **values}).rowcount:
        raise LeaseLost(detail=f"delivery {delivery.id} was claimed by somebody else, or is finished")
