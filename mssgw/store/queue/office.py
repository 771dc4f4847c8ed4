"""The administrator's side of the queue: list, hold, retry, drop, purge."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from mssgw.core.address import Domain
from mssgw.core.errors import NotFound
from mssgw.core.texts import message
from mssgw.store import audit, schema
from mssgw.store.engine import Reader, Transaction
from mssgw.store.queue.claims import finish_if_done, set_state
from mssgw.store.queue.model import DELIVERIES, Delivery, DeliveryId, Outcome, Queued, State, load, of_rows

_delivery, _queued, _recipient = schema.delivery.c, schema.queued.c, schema.recipient.c


_TAKE_AWAY = (
    sa.update(schema.delivery)
    .where(  # also deliveries that a worker has leased
        schema.among(_delivery.id, "ids"), _delivery.finished.is_(None)
    )
    .values(fence=_delivery.fence + 1)
    .returning(_delivery.id)
)


def list_all(rx: Reader, *, domain: Domain | None = None, held: bool | None = None, limit: int = 1000) -> list[Delivery]:
    """Unfinished deliveries, the earliest due first."""
    statement = DELIVERIES.where(_delivery.finished.is_(None)).order_by(_delivery.due, _delivery.id).limit(limit)
    if domain is not None:
        statement = statement.where(_delivery.domain == domain)
    if held is not None:
        statement = statement.where(_delivery.held if held else sa.not_(_delivery.held))
    return list(of_rows(rx, rx.run(statement).all()))


def get(rx: Reader, delivery: DeliveryId) -> Delivery:
    """Raises NotFound."""
    found = load(rx, [delivery])
    if not found:
        raise NotFound("No such delivery", detail=f"delivery {delivery}")
    return found[0]


def show(rx: Reader, trace: str) -> Queued:
    """One message with all its deliveries, finished ones too. Raises NotFound."""
    row = rx.run(sa.select(_queued.id, _queued.received, _queued.finished).where(_queued.trace == trace)).first()
    if row is None:
        raise NotFound("No such message in the queue", detail=f"trace {trace}", message=message("queue.no-message"))
    deliveries = of_rows(rx, rx.run(DELIVERIES.where(_delivery.queued_id == row.id).order_by(_delivery.id)).all())
    return Queued(trace, row.received, row.finished, deliveries)


def retry(tx: Transaction, deliveries: Iterable[DeliveryId], who: str = "admin") -> int:
    """Make deliveries due now, those at work excepted; how many."""
    return _set(
        tx,
        deliveries,
        who,
        "retry",
        sa.or_(_delivery.lease_until.is_(None), _delivery.lease_until <= tx.now),
        due=tx.now,
        lease_until=None,
        lease_owner=None,
    )


def hold(tx: Transaction, deliveries: Iterable[DeliveryId], who: str = "admin") -> int:
    """Keep deliveries from being claimed until `unhold`; how many."""
    return _set(tx, deliveries, who, "hold", sa.not_(_delivery.held), held=True)


def unhold(tx: Transaction, deliveries: Iterable[DeliveryId], who: str = "admin") -> int:
    return _set(tx, deliveries, who, "unhold", _delivery.held, held=False)


def drop(tx: Transaction, deliveries: Iterable[DeliveryId], who: str = "admin", reason: str = "dropped by an administrator") -> int:
    """End deliveries without sending or bouncing. A worker that is sending one gets LeaseLost when it records."""
    ours = list(tx.run(_TAKE_AWAY, {"ids": list(deliveries)}).scalars())
    for delivery in load(tx, ours):
        for one in delivery.pending:
            set_state(tx, delivery, one.address, Outcome(one.id, State.DROPPED, reason), who)
        finish_if_done(tx, delivery.id)
    return len(ours)


def purge(tx: Transaction, before: datetime, limit: int = 1000) -> int:
    """Forget messages finished before a time (`queue.keep_days`); their audit rows stay. How many."""
    old = list(tx.run(sa.select(_queued.id).where(_queued.finished < before).limit(limit)).scalars())
    deliveries = list(tx.run(sa.select(_delivery.id).where(schema.among(_delivery.queued_id, "ids")), {"ids": old}).scalars())
    tx.run(sa.delete(schema.recipient).where(schema.among(_recipient.delivery_id, "ids")), {"ids": deliveries})
    tx.run(sa.delete(schema.delivery).where(schema.among(_delivery.id, "ids")), {"ids": deliveries})
    tx.run(sa.delete(schema.queued).where(schema.among(_queued.id, "ids")), {"ids": old})
    return len(old)


def _set(tx: Transaction, deliveries: Iterable[DeliveryId], who: str, outcome: str, where: sa.ColumnElement[bool], **values: object) -> int:
    ids = list(deliveries)
    changed = (
        tx.run(
            sa.update(schema.delivery)
            .where(schema.among(_delivery.id, "ids"), _delivery.finished.is_(None), where)
            .values(**values)
            .returning(_delivery.queued_id),
            {"ids": ids},
        )
        .scalars()
        .all()
    )
    for trace in tx.run(sa.select(_queued.trace).where(schema.among(_queued.id, "ids")), {"ids": changed}).scalars():
        audit.add(tx, who, audit.Act.QUEUE, outcome, trace)
    tx.ring("queue")
    return len(changed)
