"""check: every invariant of the store, derived again from the rows.

`mssgw check` prints the problems; every test ends with it. An orphan (content or file that nothing refers to)
is no problem: a crash between file and commit leaves one, and `sweep` removes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mssgw.core.address import Address, AddressError
from mssgw.core.errors import MailError
from mssgw.store import audit, queue, schema
from mssgw.store.blobs import Blobs, ContentId, open_sealed, purpose
from mssgw.store.engine import Reader
from mssgw.store.mailboxes.model import INBOX, SEEN, canonical, flag_set, read_flags, write_flags
from mssgw.store.seal import CHUNK as SEALED_CHUNK
from mssgw.store.seal import FILE_HEADER, TAG

_DIFFERENT = ("is finished, but a part of it is not", "is not finished, but all its parts are")


@dataclass(frozen=True, slots=True)
class Problem:
    invariant: str  # which rule, in two words
    where: str  # the row
    sentence: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.where}: {self.sentence}"


_account, _mailbox, _message, _content, _summary, _expunged, _queued, _delivery, _recipient, _audit = (
    table.c
    for table in (
        schema.account,
        schema.mailbox,
        schema.message,
        schema.content,
        schema.summary,
        schema.expunged,
        schema.queued,
        schema.delivery,
        schema.recipient,
        schema.audit,
    )
)


def check(rx: Reader, blobs: Blobs, *, deep: bool) -> list[Problem]:
    """All problems found, in one consistent moment of the store."""
    problems: list[Problem] = []
    for one in _CHECKS:
        problems.extend(one(rx))
    problems.extend(_places(rx, blobs))
    if deep:
        problems.extend(_contents(rx, blobs))
    return problems


def _engine(rx: Reader) -> Iterator[Problem]:
    if rx.dialect != "sqlite":
        return
    for (said,) in rx.connection.exec_driver_sql("PRAGMA integrity_check"):
        if said != "ok":
            yield Problem("database", "integrity_check", said)
    for table, row, parent, _ in rx.connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield Problem("reference", f"{table} {row}", f"points to a row of {parent} that isn't there")


def _accounts(rx: Reader) -> Iterator[Problem]:
    boxes = set(rx.run(sa.select(_mailbox.account_id).where(_mailbox.name == INBOX)).scalars())
    for row in rx.run(sa.select(schema.account)):
        try:
            address = Address.parse(row.address)
        except AddressError as error:
            yield Problem("account address", f"account {row.id}", str(error))
            continue
        if address.key != row.key:
            yield Problem("account address", f"account {row.id}", f"key {row.key} is not that of {address}")
        if row.id not in boxes:
            yield Problem("account folders", f"account {row.id}", "has no INBOX")
    kinds = dict(rx.pairs(sa.select(_account.id, _account.kind)))
    for organisation, person in rx.raw(sa.select(schema.member)):
        if kinds.get(organisation) != "ORG" or kinds.get(person) != "PER":
            yield Problem("members", f"account {organisation}", f"{person} is not a person in an organisation")


def _tree(rx: Reader) -> Iterator[Problem]:
    last = dict(rx.pairs(sa.select(_account.id, _account.uidvalidity)))
    seen: set[tuple[int, object]] = set()
    for row in rx.run(sa.select(schema.mailbox)):
        where = f"mailbox {row.id}"
        try:
            if canonical(row.name) != row.name:
                yield Problem("mailbox name", where, f"is not written as {canonical(row.name)!r}")
        except MailError as error:
            yield Problem("mailbox name", where, error.detail)
        for what, value in (("uidvalidity", row.uidvalidity), ("special use", row.special_use)):
            if value is not None and (row.account_id, value) in seen:
                yield Problem(what, where, f"{value} is also that of another mailbox")
            seen.add((row.account_id, value))
        if row.uidvalidity > last.get(row.account_id, 0):
            yield Problem("uidvalidity", where, "is later than the last one the account gave")


def _counters(rx: Reader) -> Iterator[Problem]:
    counted: dict[int, tuple[Any, ...]] = {}
    unseen: dict[int, int] = {}
    statement = sa.select(
        _message.mailbox_id,
        sa.func.count(),
        sa.func.sum(_message.size),
        sa.func.max(_message.uid),
        sa.func.max(_message.modseq),
        sa.func.max(_message.added),
    ).group_by(_message.mailbox_id)
    for box, *values in rx.raw(statement):
        counted[box] = tuple(values)
    by_flags = sa.select(_message.mailbox_id, _message.flags, sa.func.count()).group_by(_message.mailbox_id, _message.flags)
    for box, text, number in rx.raw(by_flags):
        flags = read_flags(text)
        if not _well_written(flags, text):
            yield Problem("flags", f"mailbox {box}", f"{text!r} is not written as it should be")
        unseen[box] = unseen.get(box, 0) + (0 if SEEN in flags else number)
    gone = {
        box: (uid, modseq)
        for box, uid, modseq in rx.raw(
            sa.select(_expunged.mailbox_id, sa.func.max(_expunged.uid), sa.func.max(_expunged.modseq)).group_by(_expunged.mailbox_id)
        )
    }
    for row in rx.run(sa.select(schema.mailbox)):
        where = f"mailbox {row.id}"
        messages, size, uid, modseq, added = counted.get(row.id, (0, 0, 0, 0, 0))
        gone_uid, gone_modseq = gone.get(row.id, (0, 0))
        for name, kept, derived in (
            ("messages", row.messages, messages),
            ("size", row.size, int(size)),
            ("unseen", row.unseen, unseen.get(row.id, 0)),
        ):
            if kept != derived:
                yield Problem("counter", where, f"{name} is {kept}, counted {derived}")
        if row.uidnext <= max(uid, gone_uid):
            yield Problem("uidnext", where, f"{row.uidnext} was given already: there is UID {max(uid, gone_uid)}")
        if row.modseq < max(modseq, added, gone_modseq):
            yield Problem("modseq", where, f"{row.modseq} is behind {max(modseq, added, gone_modseq)} of its messages")
        if row.expunged_from > row.modseq:
            yield Problem("expunged", where, f"log trimmed to {row.expunged_from}, beyond modseq {row.modseq}")
        if not 1 <= row.recent_from <= row.uidnext:
            yield Problem("recent", where, f"{row.recent_from} is not between 1 and {row.uidnext}")


def _well_written(flags: frozenset[str], text: str) -> bool:
    try:
        return write_flags(flag_set(flags)) == text
    except MailError:
        return False


def _messages(rx: Reader) -> Iterator[Problem]:
    for box, uid in rx.raw(
        sa.select(_message.mailbox_id, _message.uid).join(
            schema.expunged, sa.and_(_expunged.mailbox_id == _message.mailbox_id, _expunged.uid == _message.uid)
        )
    ):
        yield Problem("expunged", f"mailbox {box} UID {uid}", "is there although it was expunged")
    for box, uid in rx.raw(sa.select(_message.mailbox_id, _message.uid).where(_message.added > _message.modseq)):
        yield Problem("modseq", f"mailbox {box} UID {uid}", "changed before it came")
    joined = schema.message.outerjoin(schema.content, _content.id == _message.content_id).outerjoin(
        schema.summary, _summary.content_id == _message.content_id
    )
    statement = sa.select(_message.mailbox_id, _message.uid, _message.size, _message.header_size, _content.size, _summary.content_id)
    wrong = sa.or_(
        _content.id.is_(None), _summary.content_id.is_(None), _content.size != _message.size, _message.header_size > _message.size
    )
    for box, uid, size, header_size, content_size, described in rx.raw(statement.select_from(joined).where(wrong)):
        where = f"mailbox {box} UID {uid}"
        if content_size is None:
            yield Problem("content", where, "its content is not there")
        elif content_size != size:
            yield Problem("content", where, f"size {size}, but its content has {content_size}")
        if described is None:
            yield Problem("content", where, "ENVELOPE and BODYSTRUCTURE are not there")
        if header_size > size:
            yield Problem("content", where, f"header of {header_size} octets in {size}")


def _queue(rx: Reader) -> Iterator[Problem]:
    states: dict[int, list[Any]] = {}
    for row in rx.run(sa.select(schema.recipient)):
        states.setdefault(row.delivery_id, []).append(row)
    finished: dict[int, list[bool]] = {}
    for row in rx.run(sa.select(schema.delivery)):
        where = f"delivery {row.id}"
        finished.setdefault(row.queued_id, []).append(row.finished is not None)
        recipients = states.get(row.id, [])
        done = all(queue.State(one.state).final for one in recipients)
        if not recipients:
            yield Problem("delivery", where, "has no recipients")
        elif done != (row.finished is not None):
            yield Problem("delivery", where, _DIFFERENT[row.finished is None])
        for one in recipients:
            if queue.State(one.state).final and (one.changed is None or one.reply is None):
                yield Problem("recipient", f"recipient {one.id}", f"is {one.state} without saying when and why")
        if (row.lease_until is None) != (row.lease_owner is None) or (row.lease_until and (row.finished or row.lease_until != row.due)):
            yield Problem("lease", where, "owner, end and due time don't belong together")
    for row in rx.run(sa.select(_queued.id, _queued.finished, _queued.content_id)):
        done = all(finished.get(row.id, [False]))
        if done != (row.finished is not None):
            yield Problem("queue", f"message {row.id}", _DIFFERENT[row.finished is None])
        if row.finished is None and row.content_id is None:
            yield Problem("queue", f"message {row.id}", "waits without its content")


def _journal(rx: Reader) -> Iterator[Problem]:
    entered = sa.select(_audit.trace).where(_audit.what == audit.Act.QUEUED)
    for (trace,) in rx.raw(sa.select(_queued.trace).where(_queued.trace.not_in(entered))):
        yield Problem("journal", f"trace {trace}", "entered the queue without an audit row")
    told = {
        (trace, recipient, outcome)
        for trace, recipient, outcome in rx.raw(
            sa.select(_audit.trace, _audit.recipient, _audit.outcome).where(_audit.what == audit.Act.RECIPIENT)
        )
    }
    statement = (
        sa.select(_queued.trace, _recipient.address, _recipient.state)
        .select_from(schema.recipient.join(schema.delivery).join(schema.queued))
        .where(_recipient.state != queue.State.QUEUED)
    )
    for trace, address, state in rx.raw(statement):
        if (trace, audit.written(address), state.lower()) not in told:
            yield Problem("journal", f"trace {trace}", f"a recipient is {state} without an audit row")


_CHECKS: tuple[Callable[[Reader], Iterator[Problem]], ...] = (_engine, _accounts, _tree, _counters, _messages, _queue, _journal)


def _places(rx: Reader, blobs: Blobs) -> Iterator[Problem]:
    """The files that rows name exist and are whole."""
    for number, size, file in rx.raw(sa.select(_content.id, _content.size, _content.file).where(_content.file.is_not(None))):
        try:
            found = (blobs.directory / file).stat().st_size
        except OSError as error:
            yield Problem("blob file", f"content {number}", f"{file}: {error.strerror}")
            continue
        expected = FILE_HEADER + size + TAG * -(-size // SEALED_CHUNK)
        if found != expected:
            yield Problem("blob file", f"content {number}", f"{file} has {found} octets instead of {expected}")


def _contents(rx: Reader, blobs: Blobs) -> Iterator[Problem]:
    """Everything sealed opens and has its hash."""
    for number, digest, size in rx.raw(sa.select(_content.id, _content.hash, _content.size)):
        try:
            with blobs.bodies(rx, [ContentId(number)])[ContentId(number)] as body:
                found = hashlib.sha256()
                for chunk in body.chunks():
                    found.update(chunk)
            if found.digest() != digest or body.size != size:
                yield Problem("content", f"content {number}", "opens, but is not what its hash says")
        except MailError as error:
            yield Problem("content", f"content {number}", error.detail)
    statement = sa.select(_content.id, _content.hash, _summary.envelope, _summary.bodystructure, _summary.body).join(schema.summary)
    for number, digest, *parts in rx.raw(statement):
        for name, sealed in zip((b"envelope", b"bodystructure", b"body"), parts, strict=True):
            try:
                open_sealed(rx, sealed, purpose(name, digest))
            except MailError as error:
                yield Problem("summary", f"content {number}", f"{name.decode()}: {error.detail}")
