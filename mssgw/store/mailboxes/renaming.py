"""RENAME (RFC 3501 6.3.5): a mailbox and what lies below it get new names."""

from __future__ import annotations

import sqlalchemy as sa

from mssgw.core.envelope import AccountId
from mssgw.core.errors import NotFound, Refused
from mssgw.store import schema
from mssgw.store.engine import Transaction
from mssgw.store.mailboxes.changes import move
from mssgw.store.mailboxes.model import INBOX, SEPARATOR, Mailbox, canonical
from mssgw.store.mailboxes.tree import by_name, create, list_all, lock_tree, next_uidvalidity, subscribe, unsubscribe


def rename(tx: Transaction, account: AccountId, old: str, new: str) -> None:
    """Rename a mailbox and its inferiors. INBOX instead gives its messages to the new name and stays (RFC 3501 6.3.5).

    Raises NotFound, Refused when the new name is taken or lies below the old one.
    """
    lock_tree(tx, account)
    source, target = by_name(tx, account, old), canonical(new.removesuffix(SEPARATOR))
    if source is None:
        raise NotFound("No such mailbox", detail=old)
    if by_name(tx, account, target) is not None:
        raise Refused("Mailbox already exists", detail=target)
    if target.startswith(source.name + SEPARATOR):
        raise Refused("A mailbox can't be moved below itself", detail=target)
    if source.name == INBOX:
        made = create(tx, account, target)
        move(tx, source.id, None, made.id)
        return
    if SEPARATOR in target:
        superior = target.rpartition(SEPARATOR)[0]
        if by_name(tx, account, superior) is None:
            create(tx, account, superior)
    below = source.name + SEPARATOR
    for box in list_all(tx, account):
        if box.id == source.id or box.name.startswith(below):
            _rename_one(tx, box, canonical(target + box.name[len(source.name) :]))
    tx.ring(f"account:{account}")


def _rename_one(tx: Transaction, box: Mailbox, name: str) -> None:
    # A new UIDVALIDITY: the new name may have belonged to another mailbox (RFC 3501 6.3.5 leaves it open, clients cache by name).
    tx.run(sa.update(schema.mailbox).where(schema.mailbox.c.id == box.id), {"name": name, "uidvalidity": next_uidvalidity(tx, box.account)})
    if box.subscribed:
        unsubscribe(tx, box.account, box.name)
        subscribe(tx, box.account, name)
    tx.ring(f"mailbox:{box.id}")
