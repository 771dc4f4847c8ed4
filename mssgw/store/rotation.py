"""A new master key for the store: every domain key is wrapped anew by it, all in one transaction. Bodies stay as they are.

    1  the new key as `seal.master_key`, the old one as `seal.former_key`; a reload: the node opens both
    2  `rotate`     the rows, and an audit row with them
    3  `retire`     the proof that nothing lies under the old key any more, and an audit row

A kill at any point leaves all rows under the old key or all under the new one, and both open until `former_key` is taken out.
"""

from __future__ import annotations

import sqlalchemy as sa

from mssgw.core.errors import ConfigError
from mssgw.core.texts import Message, message
from mssgw.observe import crash_point
from mssgw.store import audit, schema
from mssgw.store.engine import Reader, Transaction
from mssgw.store.keys import not_ours
from mssgw.store.seal import MasterKey, SealBroken

ACT = "seal"
_table = schema.domain_key.c
_ROWS = sa.select(_table.id, _table.domain, _table.wrapped).order_by(_table.id)
_LOCKED = _ROWS.with_for_update()  # a key is not made meanwhile (`keys.ensure`)
_REWRAP = sa.update(schema.domain_key).where(_table.id == sa.bindparam("number")).values(wrapped=sa.bindparam("again"))


def rotate(tx: Transaction, who: str) -> int:
    """Wrap by the current master key what the former one wrapped; how many keys. Raises ConfigError: one opens under neither."""
    masters = tx.context.master
    changed = 0
    for number, domain, wrapped in tx.raw(_LOCKED):
        try:
            key = masters.that_wrapped(domain, wrapped)
        except SealBroken:
            raise not_ours("former_key") from None
        if key is not masters.current:
            tx.run(_REWRAP, {"number": number, "again": masters.current.wrap(domain, key.unwrap(domain, wrapped))})
            changed += 1
            crash_point("seal.rewrapped")
    if changed:
        audit.add(tx, who, ACT, "rotated", keys=changed)
    return changed


def retire(tx: Transaction, who: str) -> int:
    """Prove that the current master key alone opens every domain key; how many. Raises ConfigError: some still need the former one."""
    left = under_another(tx, tx.context.master.current)
    if left:
        raise ConfigError([("seal.former_key", message("seal.still-under", number=len(left), domains=tuple(left[:3])))])
    count = len(tx.raw(_ROWS))
    audit.add(tx, who, ACT, "retired", keys=count)
    return count


def under_another(rx: Reader, master: MasterKey) -> list[str | Message]:
    """The domains whose key this one does not open; the probe is the store's own."""
    left: list[str | Message] = []
    for _, domain, wrapped in rx.raw(_ROWS):
        try:
            master.unwrap(domain, wrapped)
        except SealBroken:
            left.append(domain or message("seal.own"))
    return left
