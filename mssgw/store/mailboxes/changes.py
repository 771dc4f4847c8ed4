"""Messages change and go: snapshot, changes since, flags, copy, move, expunge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from mssgw.core.changes import FlagsChanged, MailboxId, MessageAdded
from mssgw.store import schema
from mssgw.store.engine import Reader, Transaction
from mssgw.store.mailboxes.content import insert_rows
from mssgw.store.mailboxes.model import (
    DELETED,
    SEEN,
    Changes,
    Copied,
    FlagOp,
    LogTooShort,
    Snapshot,
    Stored,
    flag_set,
    read_flags,
    with_flags,
    without_flags,
    write_flags,
)
from mssgw.store.mailboxes.tree import get, lock

_mailbox, _message, _expunged = schema.mailbox.c, schema.message.c, schema.expunged.c
_IN_BOX = _message.mailbox_id == sa.bindparam("box")
_AMONG = schema.among(_message.uid, "uids")
_SNAPSHOT = sa.select(_message.uid, _message.flags, _message.modseq).where(_IN_BOX).order_by(_message.uid)
_SOME = _SNAPSHOT.where(_AMONG)
_ONE = _SNAPSHOT.where(_message.uid == sa.bindparam("uid"))
_SINCE = sa.select(_message.uid, _message.flags, _message.modseq, _message.added).where(
    _IN_BOX, _message.modseq > sa.bindparam("since")
)  # sorted afterwards: ORDER BY uid would take the wrong index
_GONE_SINCE = sa.select(_expunged.uid).where(_expunged.mailbox_id == sa.bindparam("box"), _expunged.modseq > sa.bindparam("since"))
_TAKE_RECENT = sa.update(schema.mailbox).where(_mailbox.id == sa.bindparam("wanted")).values(recent_from=_mailbox.uidnext)
_TOUCH = (
    sa.update(schema.mailbox)
    .where(_mailbox.id == sa.bindparam("wanted"))
    .values(modseq=_mailbox.modseq + 1, unseen=_mailbox.unseen + sa.bindparam("more_unseen"))
    .returning(_mailbox.modseq)
)
_SHRINK = (
    sa.update(schema.mailbox)
    .where(_mailbox.id == sa.bindparam("wanted"))
    .values(
        modseq=_mailbox.modseq + 1,
        unseen=_mailbox.unseen - sa.bindparam("less_unseen"),
        messages=_mailbox.messages - sa.bindparam("less"),
        size=_mailbox.size - sa.bindparam("less_size"),
    )
    .returning(_mailbox.modseq)
)
_FLAG = sa.update(schema.message).where(_IN_BOX, _AMONG).values(flags=sa.bindparam("new_flags"), modseq=sa.bindparam("new_modseq"))
_FLAG_ONE = (
    sa.update(schema.message)
    .where(_IN_BOX, _message.uid == sa.bindparam("only"))
    .values(flags=sa.bindparam("new_flags"), modseq=sa.bindparam("new_modseq"))
)
_MEASURE = sa.select(_message.uid, _message.flags, _message.size).where(_IN_BOX, _AMONG).order_by(_message.uid)
_DELETE = sa.delete(schema.message).where(_IN_BOX, _AMONG)
_LOG = sa.insert(schema.expunged)
_COPIED = ("flags", "internal_date", "size", "header_size", "content_id", "original_id")
_COPY = sa.select(_message.uid, *(_message[name] for name in _COPIED)).where(_IN_BOX).order_by(_message.uid)


def snapshot(rx: Reader, mailbox: MailboxId) -> Snapshot:
    """UIDs, flags and modseqs of the whole mailbox. Raises NotFound. 100,000 messages: about 0.1 s."""
    box = get(rx, mailbox)
    found = rx.raw(_SNAPSHOT, {"box": mailbox})
    if not found:
        return Snapshot(box, [], [], [])
    uids, flags, modseqs = zip(*found, strict=True)
    return Snapshot(box, list(uids), list(map(read_flags, flags)), list(modseqs))


def changes_since(rx: Reader, mailbox: MailboxId, modseq: int) -> Changes:
    """What happened to the mailbox after `modseq`. Raises NotFound when the mailbox itself is gone, LogTooShort."""
    box = get(rx, mailbox)
    now = box.modseq
    if now == modseq:
        return Changes(now, [], [], [])
    if modseq < box.expunged_from:
        raise LogTooShort(detail=f"mailbox {mailbox}: the log begins at {box.expunged_from}, asked for {modseq}")
    values = {"box": mailbox, "since": modseq}
    added: list[MessageAdded] = []
    flags: list[FlagsChanged] = []
    for uid, text, changed, came in sorted(rx.raw(_SINCE, values)):
        if came > modseq:
            added.append(MessageAdded(mailbox, uid, changed, read_flags(text)))
        else:
            flags.append(FlagsChanged(mailbox, uid, changed, read_flags(text)))
    return Changes(now, added, flags, sorted(uid for (uid,) in rx.raw(_GONE_SINCE, values)))


def claim_recent(tx: Transaction, mailbox: MailboxId) -> int:
    """From which UID on messages are \\Recent for this session; later sessions get a later one (RFC 3501 2.3.2)."""
    lock(tx, mailbox)
    box = get(tx, mailbox)
    if box.recent_from != box.uidnext:
        tx.run(_TAKE_RECENT, {"wanted": mailbox})
    return box.recent_from


def store_flags(
    tx: Transaction, mailbox: MailboxId, uids: Sequence[int], op: FlagOp, flags: Iterable[str], unchangedsince: int | None = None,
    *, kept: frozenset[str] = frozenset(),
) -> Stored:  # fmt: skip
    """Change flags; unknown UIDs are left out. `changed` names only messages whose flags are different now.

    `kept`: flags that stay as they are, whatever is asked for.
    With `unchangedsince`, messages with a later modseq are left alone and listed in `modified` (RFC 7162 3.1.3).
    """
    given = without_flags(flag_set(flags), kept)
    fixed = {flag.lower() for flag in kept}
    now = lock(tx, mailbox)
    groups: defaultdict[frozenset[str], list[int]] = defaultdict(list)
    modified: list[int] = []
    more_unseen = 0
    for uid, text, modseq in _some(tx, mailbox, uids):
        if unchangedsince is not None and modseq > unchangedsince:
            modified.append(uid)
            continue
        old = read_flags(text)
        own = frozenset(flag for flag in old if flag.lower() in fixed)
        new = with_flags(own, given) if op is FlagOp.SET else with_flags(old, given) if op is FlagOp.ADD else without_flags(old, given)
        if new != old:
            groups[new].append(uid)
            more_unseen += (SEEN in old) - (SEEN in new)
    if not groups:
        return Stored(now, [], modified)
    now = tx.run(_TOUCH, {"wanted": mailbox, "more_unseen": more_unseen}).scalar_one()
    changed: list[FlagsChanged] = []
    for new, members in groups.items():
        values = {"box": mailbox, "new_flags": write_flags(new), "new_modseq": now}
        tx.run(*((_FLAG_ONE, {**values, "only": members[0]}) if len(members) == 1 else (_FLAG, {**values, "uids": members})))
        changed += [FlagsChanged(mailbox, uid, now, new) for uid in members]
    changed.sort(key=lambda change: change.uid)
    tx.ring(f"mailbox:{mailbox}")
    return Stored(now, changed, modified)


def copy(tx: Transaction, source: MailboxId, uids: Sequence[int] | None, target: MailboxId) -> Copied:
    """Copy messages with flags and dates, all or none (RFC 3501 6.4.7); None is all. Raises NotFound, OverQuota."""
    statement, values = (_COPY, {"box": source}) if uids is None else (_COPY.where(_AMONG), {"box": source, "uids": uids})
    found = tx.run(statement, values).mappings().all()
    fresh = [{"mailbox_id": target, **{name: row[name] for name in _COPIED}} for row in found]
    new = insert_rows(tx, target, fresh)
    return Copied(get(tx, target).uidvalidity, list(zip((row["uid"] for row in found), new, strict=True)))


def move(tx: Transaction, source: MailboxId, uids: Sequence[int] | None, target: MailboxId) -> Copied:
    """Copy, then remove from the source (RFC 6851). Raises NotFound, OverQuota."""
    lock(tx, source)  # nobody else moves or expunges them between our two steps
    moved = copy(tx, source, uids, target)
    remove(tx, source, [old for old, _ in moved.uids])
    return moved


def expunge(tx: Transaction, mailbox: MailboxId, uids: Sequence[int] | None = None) -> list[int]:
    """Remove the messages with \\Deleted, of `uids` only when given (RFC 4315); the UIDs removed, ascending."""
    lock(tx, mailbox)
    found = tx.raw(_SNAPSHOT, {"box": mailbox}) if uids is None else _some(tx, mailbox, uids)
    return remove(tx, mailbox, [uid for uid, text, _ in found if DELETED in read_flags(text)])


def remove(tx: Transaction, mailbox: MailboxId, uids: Sequence[int]) -> list[int]:
    """Remove messages whatever their flags; the UIDs removed, ascending. Content is swept later."""
    if not uids:
        return []
    lock(tx, mailbox)
    found = tx.raw(_MEASURE, {"box": mailbox, "uids": uids})
    if not found:
        return []
    gone = [uid for uid, _, _ in found]
    modseq = tx.run(
        _SHRINK,
        {
            "wanted": mailbox,
            "less": len(gone),
            "less_size": sum(size for _, _, size in found),
            "less_unseen": sum(SEEN not in read_flags(text) for _, text, _ in found),
        },
    ).scalar_one()
    tx.run(_DELETE, {"box": mailbox, "uids": gone})
    tx.run(_LOG, [{"mailbox_id": mailbox, "modseq": modseq, "uid": uid} for uid in gone])
    tx.ring(f"mailbox:{mailbox}")
    return gone


def trim_log(tx: Transaction, mailbox: MailboxId, keep: int) -> int:
    """Forget all but the last `keep` rows of the log of expunged UIDs, whole modseqs at a time; how many were forgotten."""
    lock(tx, mailbox)
    edge = tx.run(
        sa.select(_expunged.modseq).where(_expunged.mailbox_id == mailbox).order_by(_expunged.modseq.desc()).offset(keep).limit(1)
    ).scalar()
    if edge is None:
        return 0
    tx.run(sa.update(schema.mailbox).where(_mailbox.id == mailbox), {"expunged_from": edge})
    return tx.run(sa.delete(schema.expunged).where(_expunged.mailbox_id == mailbox, _expunged.modseq <= edge)).rowcount


def _some(rx: Reader, mailbox: MailboxId, uids: Sequence[int]) -> list[tuple[Any, ...]]:
    if len(uids) == 1:
        return rx.raw(_ONE, {"box": mailbox, "uid": uids[0]})
    return rx.raw(_SOME, {"box": mailbox, "uids": uids})
