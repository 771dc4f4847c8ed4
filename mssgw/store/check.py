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
from mssgw.core.texts import Message, message, of_system
from mssgw.pki.certificates import Certificate
from mssgw.store import audit, queue, schema, usable
from mssgw.store.blobs import Blobs, ContentId, open_sealed, purpose
from mssgw.store.engine import Reader
from mssgw.store.mailboxes.model import INBOX, SEEN, canonical, flag_set, read_flags, write_flags
from mssgw.store.seal import CHUNK as SEALED_CHUNK
from mssgw.store.seal import FILE_HEADER, TAG

_DIFFERENT = ("check.part-open", "check.all-done")


@dataclass(frozen=True, slots=True)
class Problem:
    invariant: str  # which rule, in two words
    where: str  # the row
    sentence: Message

    def __str__(self) -> str:
        return f"{self.invariant}: {self.where}: {self.sentence}"

    @property
    def message(self) -> Message:
        return message("check.problem", invariant=self.invariant, where=self.where, what=self.sentence)


def _of(invariant: str, where: str, sentence: str, /, **values: object) -> Problem:
    return Problem(invariant, where, message(sentence, **values))


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
            yield _of("database", "integrity_check", "words", words=said)
    for table, row, parent, _ in rx.connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield _of("reference", f"{table} {row}", "check.reference", table=parent)


def _accounts(rx: Reader) -> Iterator[Problem]:
    boxes = set(rx.run(sa.select(_mailbox.account_id).where(_mailbox.name == INBOX)).scalars())
    for row in rx.run(sa.select(schema.account)):
        try:
            address = Address.parse(row.address)
        except AddressError as error:
            yield Problem("account address", f"account {row.id}", error.message)
            continue
        if address.key != row.key:
            yield _of("account address", f"account {row.id}", "check.account-key", key=row.key, address=address)
        if row.id not in boxes:
            yield _of("account folders", f"account {row.id}", "check.no-inbox")
    kinds = dict(rx.pairs(sa.select(_account.id, _account.kind)))
    for organisation, person in rx.raw(sa.select(schema.member)):
        if kinds.get(organisation) != "ORG" or kinds.get(person) != "PER":
            yield _of("members", f"account {organisation}", "check.members", person=person)


def _tree(rx: Reader) -> Iterator[Problem]:
    last = dict(rx.pairs(sa.select(_account.id, _account.uidvalidity)))
    seen: set[tuple[int, object]] = set()
    for row in rx.run(sa.select(schema.mailbox)):
        where = f"mailbox {row.id}"
        try:
            if canonical(row.name) != row.name:
                yield _of("mailbox name", where, "check.name-written", name=repr(canonical(row.name)))
        except MailError as error:
            yield _of("mailbox name", where, "check.name", detail=error.detail)
        for what, value in (("uidvalidity", row.uidvalidity), ("special use", row.special_use)):
            if value is not None and (row.account_id, value) in seen:
                yield _of(what, where, "check.twice", value=value)
            seen.add((row.account_id, value))
        if row.uidvalidity > last.get(row.account_id, 0):
            yield _of("uidvalidity", where, "check.uidvalidity")


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
            yield _of("flags", f"mailbox {box}", "check.flags", flags=repr(text))
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
                yield _of("counter", where, "check.counter", name=name, kept=kept, counted=derived)
        if row.uidnext <= max(uid, gone_uid):
            yield _of("uidnext", where, "check.uidnext", next=row.uidnext, last=max(uid, gone_uid))
        if row.modseq < max(modseq, added, gone_modseq):
            yield _of("modseq", where, "check.modseq", kept=row.modseq, last=max(modseq, added, gone_modseq))
        if row.expunged_from > row.modseq:
            yield _of("expunged", where, "check.trimmed", trimmed=row.expunged_from, modseq=row.modseq)
        if not 1 <= row.recent_from <= row.uidnext:
            yield _of("recent", where, "check.recent", kept=row.recent_from, next=row.uidnext)


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
        yield _of("expunged", f"mailbox {box} UID {uid}", "check.expunged")
    for box, uid in rx.raw(sa.select(_message.mailbox_id, _message.uid).where(_message.added > _message.modseq)):
        yield _of("modseq", f"mailbox {box} UID {uid}", "check.changed-before")
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
            yield _of("content", where, "check.no-content")
        elif content_size != size:
            yield _of("content", where, "check.size", size=size, content=content_size)
        if described is None:
            yield _of("content", where, "check.no-summary")
        if header_size > size:
            yield _of("content", where, "check.header-size", header=header_size, size=size)


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
            yield _of("delivery", where, "check.no-recipients")
        elif done != (row.finished is not None):
            yield _of("delivery", where, _DIFFERENT[row.finished is None])
        for one in recipients:
            if queue.State(one.state).final and (one.changed is None or one.reply is None):
                yield _of("recipient", f"recipient {one.id}", "check.recipient", state=one.state)
        if (row.lease_until is None) != (row.lease_owner is None) or (row.lease_until and (row.finished or row.lease_until != row.due)):
            yield _of("lease", where, "check.lease")
    for row in rx.run(sa.select(_queued.id, _queued.finished, _queued.content_id)):
        done = all(finished.get(row.id, [False]))
        if done != (row.finished is not None):
            yield _of("queue", f"message {row.id}", _DIFFERENT[row.finished is None])
        if row.finished is None and row.content_id is None:
            yield _of("queue", f"message {row.id}", "check.waits-empty")


def _journal(rx: Reader) -> Iterator[Problem]:
    entered = sa.select(_audit.trace).where(_audit.what == audit.Act.QUEUED)
    for (trace,) in rx.raw(sa.select(_queued.trace).where(_queued.trace.not_in(entered))):
        yield _of("journal", f"trace {trace}", "check.not-audited")
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
            yield _of("journal", f"trace {trace}", "check.outcome-not-audited", state=state)


def _identities(rx: Reader) -> Iterator[Problem]:
    for row in rx.run(sa.select(schema.identity)):
        where, faults = f"identity {row.id}", frozenset(usable.faults(rx, row))
        for fault in sorted(faults):
            yield Problem(f"identity {fault}", where, fault.message)
        if row.sealed is not None and usable.Fault.SEAL not in faults and not usable.is_key_of(usable.opened(rx, row), row.public):
            yield _of("identity key", where, "check.identity-key")
        if row.der is not None and usable.Fault.CERTIFICATE not in faults:
            yield from _certified(row, where)


def _certified(row: Any, where: str) -> Iterator[Problem]:
    """What stands beside the certificate is taken from it: it is looked for, listed and watched by that."""
    own = Certificate(row.der)
    if own.sha256 != row.fingerprint:
        yield _of("identity fingerprint", where, "check.identity-fingerprint")
    if (own.not_before, own.not_after) != (row.not_before, row.not_after):
        yield _of("identity dates", where, "check.identity-dates", start=own.not_before.date(), end=own.not_after.date())


_CHECKS: tuple[Callable[[Reader], Iterator[Problem]], ...] = (
    _engine,
    _accounts,
    _tree,
    _counters,
    _messages,
    _queue,
    _journal,
    _identities,
)


def _places(rx: Reader, blobs: Blobs) -> Iterator[Problem]:
    """The files that rows name exist and are whole."""
    for number, size, file in rx.raw(sa.select(_content.id, _content.size, _content.file).where(_content.file.is_not(None))):
        try:
            found = (blobs.directory / file).stat().st_size
        except OSError as error:
            yield Problem("blob file", f"content {number}", message("at", place=file, what=of_system(error)))
            continue
        expected = FILE_HEADER + size + TAG * -(-size // SEALED_CHUNK)
        if found != expected:
            yield _of("blob file", f"content {number}", "check.file-size", file=file, found=found, expected=expected)


def _contents(rx: Reader, blobs: Blobs) -> Iterator[Problem]:
    """Everything sealed opens and has its hash."""
    for number, digest, size in rx.raw(sa.select(_content.id, _content.hash, _content.size)):
        try:
            with blobs.bodies(rx, [ContentId(number)])[ContentId(number)] as body:
                found = hashlib.sha256()
                for chunk in body.chunks():
                    found.update(chunk)
            if found.digest() != digest or body.size != size:
                yield _of("content", f"content {number}", "check.hash")
        except MailError as error:
            yield _of("content", f"content {number}", "check.unopened", detail=error.detail)
    statement = sa.select(_content.id, _content.hash, _summary.envelope, _summary.bodystructure, _summary.body).join(schema.summary)
    for number, digest, *parts in rx.raw(statement):
        for name, sealed in zip((b"envelope", b"bodystructure", b"body"), parts, strict=True):
            try:
                open_sealed(rx, sealed, purpose(name, digest))
            except MailError as error:
                yield _of("summary", f"content {number}", "check.part-unopened", part=name.decode(), detail=error.detail)
