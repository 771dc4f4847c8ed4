"""Messages come in and are read: append, deliver once, rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from mssgw.core.address import Address
from mssgw.core.body import BlobId
from mssgw.core.changes import MailboxId
from mssgw.core.errors import NotFound
from mssgw.observe import crash_point
from mssgw.store import audit, blobs, schema
from mssgw.store.blobs import ContentId, purpose
from mssgw.store.engine import Reader, Transaction
from mssgw.store.mailboxes.model import SEEN, MessageRow, NewMessage, OverQuota, Want, flag_set, read_flags, write_flags
from mssgw.store.mailboxes.tree import lock, quota_used
from mssgw.store.schema import from_microseconds

DUPLICATE_DAYS = 7  # how long an operator may take to repeat a message that we had already committed

_mailbox, _message, _content, _summary, _delivered = (
    schema.mailbox.c,
    schema.message.c,
    schema.content.c,
    schema.summary.c,
    schema.delivered.c,
)
_GROW = (
    sa.update(schema.mailbox)
    .where(_mailbox.id == sa.bindparam("wanted"))
    .values(
        uidnext=_mailbox.uidnext + sa.bindparam("count"),
        modseq=_mailbox.modseq + 1,
        messages=_mailbox.messages + sa.bindparam("count"),
        unseen=_mailbox.unseen + sa.bindparam("more_unseen"),
        size=_mailbox.size + sa.bindparam("more_size"),
    )
    .returning(_mailbox.account_id, _mailbox.uidnext, _mailbox.modseq)
)
_INSERT = sa.insert(schema.message)
_ONCE = {dialect: schema.insert_new(dialect, schema.delivered, _delivered.mailbox_id) for dialect in ("sqlite", "postgresql")}
_RENEW_ONCE = (
    sa.update(schema.delivered)
    .where(_delivered.mailbox_id == sa.bindparam("box"), _delivered.key == sa.bindparam("what"), _delivered.at < sa.bindparam("before"))
    .values(at=sa.bindparam("time"))
)


def append(tx: Transaction, mailbox: MailboxId, new: NewMessage) -> int:
    """Add a message; its UID. Raises NotFound, OverQuota."""
    return append_many(tx, mailbox, (new,))[0]


def append_many(tx: Transaction, mailbox: MailboxId, news: Sequence[NewMessage]) -> list[int]:
    """Add messages, all or none; their UIDs, ascending. Raises NotFound, OverQuota."""
    rows: list[dict[str, Any]] = []
    for new in news:
        if new.content.summary is None:
            raise ValueError("a message needs content prepared with its summary")
        flags = flag_set(new.flags)
        rows.append(
            {
                "mailbox_id": mailbox,
                "flags": write_flags(flags),
                "internal_date": new.internal_date or tx.now,
                "size": new.content.size,
                "header_size": new.content.summary.header_size,
                "content_id": blobs.add(tx, new.content),
                "original_id": blobs.add(tx, new.original) if new.original else None,
            }
        )
    return insert_rows(tx, mailbox, rows)


def insert_rows(tx: Transaction, mailbox: MailboxId, rows: list[dict[str, Any]]) -> list[int]:
    """Give UIDs and a modseq to message rows and keep the counters."""
    if not rows:
        return []
    size = sum(row["size"] for row in rows)
    unseen = sum(SEEN not in read_flags(row["flags"]) for row in rows)
    grown = tx.raw(_GROW, {"wanted": mailbox, "count": len(rows), "more_unseen": unseen, "more_size": size})
    if not grown:
        raise NotFound("No such mailbox", detail=f"mailbox {mailbox}")
    ((account, uidnext, modseq),) = grown
    limit = tx.context.limits.quota
    if limit and quota_used(tx, account) > limit:
        raise OverQuota(detail=f"account {account}: more than {limit} octets")
    uids = list(range(uidnext - len(rows), uidnext))
    for uid, row in zip(uids, rows, strict=True):
        row.update(uid=uid, added=modseq, modseq=modseq)
    if len(rows) > 1:
        tx.run(_INSERT, rows)
    else:
        tx.raw(_INSERT, rows[0])
    tx.ring(f"mailbox:{mailbox}")
    crash_point("mailbox.appended")
    return uids


def duplicate_key(sender: Address | None, message_id: str | None, blob: BlobId) -> bytes:
    """What makes two receipts of one message equal: sender, Message-ID and the hash of its octets as they came."""
    return hashlib.sha256("\0".join((str(sender or ""), message_id or "", blob)).encode("utf-8", "surrogateescape")).digest()


def deliver(
    tx: Transaction,
    mailbox: MailboxId,
    new: NewMessage,
    *,
    key: bytes,
    trace: str,
    sender: Address | None = None,
    recipient: Address | None = None,
    message_id: str | None = None,
) -> int | None:
    """Append unless the same `key` came into this mailbox within seven days; the UID, or None for a duplicate.

    Either way an audit row is written. Raises NotFound, OverQuota.
    """
    lock(tx, mailbox)
    fresh = bool(tx.raw(_ONCE[tx.dialect], {"mailbox_id": mailbox, "key": key, "at": tx.now}))
    if not fresh:  # an old key doesn't count
        fresh = (
            tx.run(_RENEW_ONCE, {"box": mailbox, "what": key, "before": tx.now - timedelta(days=DUPLICATE_DAYS), "time": tx.now}).rowcount
            > 0
        )
    uid = append(tx, mailbox, new) if fresh else None
    what = audit.Act.DELIVERED if fresh else audit.Act.DUPLICATE
    audit.add(tx, "store", what, "ok", trace, sender=sender, recipient=recipient, message_id=message_id, mailbox=mailbox, uid=uid)
    return uid


def forget_deliveries(tx: Transaction) -> int:
    """Drop the keys of `deliver` that are too old to count; returns how many."""
    return tx.run(sa.delete(schema.delivered).where(_delivered.at < tx.now - timedelta(days=DUPLICATE_DAYS))).rowcount


# -- reading ---------------------------------------------------------------------------------------------

_LIGHT = (
    _message.uid,
    _message.flags,
    _message.modseq,
    _message.internal_date,
    _message.size,
    _message.header_size,
    _message.content_id,
    _message.original_id,
    _content.hash,
)
_FROM = schema.message.join(schema.content, _content.id == _message.content_id)
_IN_BOX = _message.mailbox_id == sa.bindparam("box")


def _reading(want: Want, everything: bool) -> Any:
    statement = sa.select(
        *_LIGHT,
        *(
            column
            for part, column in (
                (Want.ENVELOPE, _summary.envelope),
                (Want.BODYSTRUCTURE, _summary.bodystructure),
                (Want.BODY, _summary.body),
            )
            if part in want
        ),
    )
    joined = _FROM.outerjoin(schema.summary, _summary.content_id == _message.content_id) if want else _FROM
    statement = statement.select_from(joined).where(_IN_BOX).order_by(_message.uid)
    return statement if everything else statement.where(schema.among(_message.uid, "uids"))


_READING = {(want, everything): _reading(Want(want), everything) for want in range(Want.ALL + 1) for everything in (False, True)}


def rows(rx: Reader, mailbox: MailboxId, uids: Sequence[int] | None, want: Want = Want.NONE) -> list[MessageRow]:
    """Messages by UID (None is all), ascending; those that are gone are left out. Only the parts in `want` are opened.

    About 5 µs a row with one part; ask for a few thousand at a time, so that clients see progress.
    Raises SealBroken.
    """
    values: dict[str, Any] = {"box": mailbox}
    if uids is not None:
        values["uids"] = uids
    found = rx.raw(_READING[want, uids is None], values)
    names = [name for part, name in ((Want.ENVELOPE, b"envelope"), (Want.BODYSTRUCTURE, b"bodystructure"), (Want.BODY, b"body"))]
    wanted = [part in want for part in (Want.ENVELOPE, Want.BODYSTRUCTURE, Want.BODY)]
    result: list[MessageRow] = []
    for uid, flags, modseq, date, size, header_size, content, original, digest, *sealed in found:
        parts = iter(sealed)
        opened = [
            blobs.open_sealed(rx, next(parts), purpose(name, digest)) if asked else b"" for name, asked in zip(names, wanted, strict=True)
        ]
        result.append(
            MessageRow(
                uid,
                read_flags(flags),
                modseq,
                from_microseconds(date),
                size,
                header_size,
                ContentId(content),
                original,
                BlobId(digest.hex()),
                *opened,
            )
        )
    return result
