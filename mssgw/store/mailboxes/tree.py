"""The tree of mailboxes of an account: get, list, create, delete, subscribe."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from mssgw.core.changes import MailboxId
from mssgw.core.envelope import AccountId
from mssgw.core.errors import NotAllowed, NotFound, Refused
from mssgw.store import schema
from mssgw.store.engine import Reader, Transaction
from mssgw.store.mailboxes.model import INBOX, SEPARATOR, Kind, Mailbox, SpecialUse, canonical

DEFAULTS: tuple[tuple[str, SpecialUse | None], ...] = (
    (INBOX, None),
    ("Sent", SpecialUse.SENT),
    ("Drafts", SpecialUse.DRAFTS),
    ("Trash", SpecialUse.TRASH),
    ("Junk", SpecialUse.JUNK),
    ("Archive", SpecialUse.ARCHIVE),
)

_mailbox, _subscription, _account = schema.mailbox.c, schema.subscription.c, schema.account.c
_ALL = sa.select(schema.mailbox, _subscription.name.is_not(None).label("subscribed")).outerjoin(
    schema.subscription, sa.and_(_subscription.account_id == _mailbox.account_id, _subscription.name == _mailbox.name)
)
_GET = _ALL.where(_mailbox.id == sa.bindparam("wanted"))
# FOR NO KEY UPDATE: references from other tables may be checked meanwhile, which PostgreSQL does even for unchanged ones.
_LOCK = sa.select(_mailbox.modseq).where(_mailbox.id == sa.bindparam("wanted")).with_for_update(key_share=True)
_LOCK_ACCOUNT = sa.select(_account.id).where(_account.id == sa.bindparam("owner")).with_for_update(key_share=True)
_BY_NAME = _ALL.where(_mailbox.account_id == sa.bindparam("owner"), _mailbox.name == sa.bindparam("called"))
_LIST = _ALL.where(_mailbox.account_id == sa.bindparam("owner")).order_by(_mailbox.name)
_NEXT_UIDVALIDITY = (
    sa.update(schema.account)
    .where(_account.id == sa.bindparam("owner"))
    .values(uidvalidity=sa.case((_account.uidvalidity >= sa.bindparam("time"), _account.uidvalidity + 1), else_=sa.bindparam("time")))
    .returning(_account.uidvalidity)
)
_QUOTA = sa.select(sa.func.coalesce(sa.func.sum(_mailbox.size), 0)).where(_mailbox.account_id == sa.bindparam("owner"))


def get(rx: Reader, mailbox: MailboxId) -> Mailbox:
    """Raises NotFound."""
    row = rx.run(_GET, {"wanted": mailbox}).first()
    if row is None:
        raise NotFound("No such mailbox", detail=f"mailbox {mailbox}")
    return _of(row)


def by_name(rx: Reader, account: AccountId, name: str) -> Mailbox | None:
    """A mailbox by its name, or None; a name that can't be is None too."""
    try:
        called = canonical(name)
    except Refused:
        return None
    row = rx.run(_BY_NAME, {"owner": account, "called": called}).first()
    return None if row is None else _of(row)


def lock(tx: Transaction, mailbox: MailboxId) -> int:
    """The mailbox's modseq; nobody else changes the mailbox until we commit. Raises NotFound."""
    found = tx.raw(_LOCK, {"wanted": mailbox})
    if not found:
        raise NotFound("No such mailbox", detail=f"mailbox {mailbox}")
    return int(found[0][0])


def list_all(rx: Reader, account: AccountId) -> list[Mailbox]:
    """Every mailbox with its counters, by name. One query: LIST, LSUB and all STATUS of a client's round."""
    return [_of(row) for row in rx.run(_LIST, {"owner": account})]


def create(tx: Transaction, account: AccountId, name: str, *, kind: Kind = Kind.MAIL, special_use: SpecialUse | None = None) -> Mailbox:
    """Make a mailbox, and its superiors (RFC 3501 6.3.3). Raises Refused when it is there."""
    called = canonical(name.removesuffix(SEPARATOR))
    lock_tree(tx, account)
    if by_name(tx, account, called) is not None:
        raise Refused("Mailbox already exists", detail=called)
    levels = called.split(SEPARATOR)
    for depth in range(1, len(levels)):
        superior = SEPARATOR.join(levels[:depth])
        if by_name(tx, account, superior) is None:
            _insert(tx, account, superior, kind, None)
    made = _insert(tx, account, called, kind, special_use)
    tx.ring(f"account:{account}")
    return get(tx, made)


def create_defaults(tx: Transaction, account: AccountId) -> None:
    """The folders of a new account, subscribed."""
    for name, use in DEFAULTS:
        _insert(tx, account, name, Kind.MAIL, use)
        subscribe(tx, account, name)


def delete(tx: Transaction, account: AccountId, name: str) -> None:
    """Remove a mailbox with its messages; inferiors stay. Raises NotFound, NotAllowed for INBOX."""
    lock_tree(tx, account)
    box = by_name(tx, account, name)
    if box is None:
        raise NotFound("No such mailbox", detail=name)
    if box.name == INBOX:
        raise NotAllowed("INBOX can't be deleted")
    lock(tx, box.id)  # mail on its way into it arrives before this, or not at all
    for table in (schema.message, schema.expunged, schema.delivered):
        tx.run(sa.delete(table).where(table.c.mailbox_id == box.id))
    tx.run(sa.delete(schema.mailbox).where(_mailbox.id == box.id))
    tx.ring(f"mailbox:{box.id}")
    tx.ring(f"account:{account}")


def subscribe(tx: Transaction, account: AccountId, name: str) -> None:
    """Subscribe a name, whether or not the mailbox exists."""
    tx.run(schema.insert_new(tx.dialect, schema.subscription), {"account_id": account, "name": canonical(name)})
    tx.ring(f"account:{account}")


def unsubscribe(tx: Transaction, account: AccountId, name: str) -> None:
    tx.run(sa.delete(schema.subscription).where(_subscription.account_id == account, _subscription.name == canonical(name)))
    tx.ring(f"account:{account}")


def subscribed_names(rx: Reader, account: AccountId) -> list[str]:
    """Subscribed names, those of deleted mailboxes included (RFC 3501 6.3.9)."""
    return list(rx.run(sa.select(_subscription.name).where(_subscription.account_id == account).order_by(_subscription.name)).scalars())


def quota_used(rx: Reader, account: AccountId) -> int:
    """Octets the account keeps; the limit is `limits.quota`."""
    return int(rx.raw(_QUOTA, {"owner": account})[0][0])


def lock_tree(tx: Transaction, account: AccountId) -> None:
    """Nobody else changes the account's tree until we commit."""
    tx.run(_LOCK_ACCOUNT, {"owner": account})


def _insert(tx: Transaction, account: AccountId, name: str, kind: Kind, special_use: SpecialUse | None) -> MailboxId:
    row = {
        "account_id": account,
        "name": name,
        "kind": kind,
        "uidvalidity": next_uidvalidity(tx, account),
        "uidnext": 1,
        "modseq": 1,
        "messages": 0,
        "unseen": 0,
        "size": 0,
        "special_use": special_use,
        "recent_from": 1,
        "expunged_from": 0,
    }
    number = tx.run(schema.insert_new(tx.dialect, schema.mailbox, _mailbox.id), row).scalar()
    if number is None:
        raise Refused("Mailbox already exists", detail=name)
    return MailboxId(number)


def next_uidvalidity(tx: Transaction, account: AccountId) -> int:
    found = tx.run(_NEXT_UIDVALIDITY, {"owner": account, "time": int(tx.now.timestamp())}).scalar()
    if found is None:
        raise NotFound(detail=f"account {account}")
    return int(found)


def _of(row: Any) -> Mailbox:
    return Mailbox(
        MailboxId(row.id),
        AccountId(row.account_id),
        row.name,
        Kind(row.kind),
        row.uidvalidity,
        row.uidnext,
        row.modseq,
        row.messages,
        row.unseen,
        row.size,
        SpecialUse(row.special_use) if row.special_use else None,
        bool(row.subscribed),
        row.recent_from,
        row.expunged_from,
    )
