"""Certificates of recipients, by address, with where and when they were seen; and what their software can read.

The caller decides which one is good: nothing is judged here. History is kept. A change rings `CHANGED`. What an administrator
pinned stays pinned, whatever mail brings.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from mssgw.core.address import Address
from mssgw.store import schema
from mssgw.store.engine import Reader, Transaction
from mssgw.store.schema import from_microseconds

CHANGED = "certificates"  # the topic of the doorbell
PINNED = "pinned"  # the source that wins over all others


@dataclass(frozen=True, slots=True)
class Known:
    der: bytes
    source: str  # "mail", "pinned"
    first_seen: datetime
    seen: datetime


_certificate, _capability = schema.certificate.c, schema.capability.c
_ADD = {dialect: schema.upsert(dialect, schema.certificate, "source", "seen") for dialect in ("sqlite", "postgresql")}
_OF = (
    sa.select(_certificate.der, _certificate.source, _certificate.first_seen, _certificate.seen)
    .where(_certificate.key == sa.bindparam("of"))
    .order_by(_certificate.seen.desc(), _certificate.fingerprint)
)
_FORGET = sa.delete(schema.certificate).where(_certificate.key == sa.bindparam("of"))
_FORGET_CAPABILITY = sa.delete(schema.capability).where(_capability.key == sa.bindparam("of"))
_DROP = sa.delete(schema.certificate).where(_certificate.key == sa.bindparam("of"), _certificate.fingerprint == sa.bindparam("print"))
_SET_CAPABILITY = {dialect: schema.upsert(dialect, schema.capability, "der", "seen") for dialect in ("sqlite", "postgresql")}
_CAPABILITY = sa.select(_capability.der, _capability.seen).where(_capability.key == sa.bindparam("of"))


def add(tx: Transaction, address: Address, der: bytes, source: str, seen_at: datetime) -> None:
    """Remember a certificate; one already known keeps its first date, and its pin."""
    if source != PINNED and any(known.der == der and known.source == PINNED for known in of(tx, address)):
        source = PINNED
    tx.run(
        _ADD[tx.dialect],
        {
            "key": address.key,
            "fingerprint": hashlib.sha256(der).digest(),
            "der": der,
            "source": source,
            "first_seen": seen_at,
            "seen": seen_at,
        },
    )
    tx.ring(CHANGED)


def of(rx: Reader, address: Address) -> list[Known]:
    """All known certificates of an address, last seen first."""
    return [
        Known(der, source, from_microseconds(first), from_microseconds(seen))
        for der, source, first, seen in rx.raw(_OF, {"of": address.key})
    ]


def drop(tx: Transaction, address: Address, der: bytes) -> None:
    tx.run(_DROP, {"of": address.key, "print": hashlib.sha256(der).digest()})
    tx.ring(CHANGED)


def set_capabilities(tx: Transaction, address: Address, der: bytes, seen_at: datetime) -> None:
    """Record the capabilities in the last valid mail of this address (RFC 8551 2.5.2). Older mail changes nothing."""
    known = capabilities(tx, address)
    if known is None or known[1] <= seen_at:
        tx.run(_SET_CAPABILITY[tx.dialect], {"key": address.key, "der": der, "seen": seen_at})
        tx.ring(CHANGED)


def capabilities(rx: Reader, address: Address) -> tuple[bytes, datetime] | None:
    found = rx.raw(_CAPABILITY, {"of": address.key})
    return (found[0][0], from_microseconds(found[0][1])) if found else None


def forget(tx: Transaction, address: Address) -> int:
    """Drop all that is known of an address, pins and capabilities too; how many certificates it was."""
    count = tx.run(_FORGET, {"of": address.key}).rowcount
    tx.run(_FORGET_CAPABILITY, {"of": address.key})
    tx.ring(CHANGED)
    return count
