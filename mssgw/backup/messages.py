"""Copy single mailboxes and messages from a backup into the running store, as new messages in folders of their own.

Nothing that is there is changed: `INBOX` of the backup comes into `Restauré/INBOX`. What that folder has already is not
added again, so an interrupted call is simply repeated. The backup itself is only read.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mssgw.backup import files, manifest
from mssgw.backup.errors import BackupError
from mssgw.backup.files import Tell
from mssgw.backup.manifest import Manifest
from mssgw.core.address import Address
from mssgw.core.changes import MailboxId
from mssgw.core.clock import SystemClock
from mssgw.core.config import Config
from mssgw.observe import crash_point
from mssgw.protocol import mime
from mssgw.store import Reader, Store, Transaction, accounts, audit, blobs, dump, keys, mailboxes, snapshot
from mssgw.store.accounts import Account
from mssgw.store.blobs import ContentId
from mssgw.store.engine import Context
from mssgw.store.mailboxes import MessageRow, NewMessage, Want
from mssgw.store.seal import MasterKeys, Seal

_BATCH = 32  # messages in one transaction
RESTORED = "restored"  # the audit's word


@dataclass(frozen=True, slots=True)
class Source:
    """The store in a backup, open for reading."""

    rx: Reader
    blobs: Path


@dataclass(frozen=True, slots=True)
class Chosen:
    folder: str  # its name in the backup
    mailbox: MailboxId  # in the backup
    uids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Put:
    folder: str  # where the messages are now
    added: int
    present: int  # that this folder had already


def where(text: str) -> tuple[str, str]:
    """`ADDRESS[/FOLDER]` apart. A slash before the @ belongs to the address."""
    local, at, rest = text.rpartition("@")
    domain, _, folder = rest.partition("/")
    return f"{local}{at}{domain}", folder.strip("/")


@contextlib.contextmanager
def source(found: Manifest, backup: Path, config: Config, master: MasterKeys, tell: Tell) -> Iterator[Source]:
    """Raises BackupError (the store in the backup was changed), SnapshotFailed, ConfigError (the master key is another)."""
    manifest.require(found, backup, [found.mail.path], tell)
    with _store(found, backup, config.node.data) as file, snapshot.opened(file) as connection:
        rx = Reader(connection, Context(SystemClock(), master, Seal(), config.limits, "backup"))
        keys.load(rx)
        yield Source(rx, backup / "blobs")


@contextlib.contextmanager
def _store(found: Manifest, backup: Path, data: Path) -> Iterator[Path]:
    """The mail store of the backup as a SQLite file; one of PostgreSQL is read into a file for the time being."""
    if found.mail.engine == "sqlite":
        yield backup / found.mail.path
        return
    with tempfile.TemporaryDirectory(prefix="mssgw-restore-", ignore_cleanup_errors=True) as name:
        file = Path(name) / "mail.sqlite"
        dump.as_sqlite(backup / found.mail.path, file)
        if data.exists():
            files.give(file, data)  # root gives itself away before the end, and the owner of the data removes it
            files.give(Path(name), data)
        yield file


def require_intact(source: Source, chosen: Sequence[Chosen], found: Manifest, backup: Path, tell: Tell) -> None:
    """The bodies of what was chosen are those that were backed up. Raises BackupError. Bodies lost before are told when they are read."""
    known = {one.path for one in found.files}
    paths = [f"blobs/{file}" for file in blobs.files_of(source.rx, _contents(source, chosen))]
    manifest.require(found, backup, [path for path in paths if path in known], tell)


def _contents(source: Source, chosen: Sequence[Chosen]) -> list[ContentId]:
    return [
        ContentId(content)
        for one in chosen
        for row in mailboxes.rows(source.rx, one.mailbox, one.uids)
        for content in (row.content, row.original)
        if content is not None
    ]


def choose(source: Source, address: Address, folder: str, message_id: str | None) -> list[Chosen]:
    """A folder and those below it, or all; all messages, or those of one Message-ID. Raises BackupError when there is nothing."""
    account = accounts.by_address(source.rx, address)
    if account is None:
        raise BackupError("no-account", address=address)
    named = mailboxes.by_name(source.rx, account.id, folder) if folder else None
    if folder and named is None:
        raise BackupError("no-folder", address=address, folder=folder)
    boxes = [
        box
        for box in mailboxes.list_all(source.rx, account.id)
        if named is None or box.name == named.name or box.name.startswith(f"{named.name}/")
    ]
    chosen = [Chosen(box.name, box.id, _uids(source, box.id, message_id)) for box in boxes]
    chosen = [one for one in chosen if one.uids]
    if not chosen:
        raise BackupError("no-message" if message_id else "no-messages", address=address, message_id=message_id)
    return chosen


def _uids(source: Source, mailbox: MailboxId, message_id: str | None) -> list[int]:
    rows = mailboxes.rows(source.rx, mailbox, None)
    if message_id is None:
        return [row.uid for row in rows]
    wanted = f"<{message_id.strip().strip('<>')}>".encode()
    return [row.uid for row in rows if _message_id(source, row) == wanted]


def _message_id(source: Source, row: MessageRow) -> bytes:
    with blobs.bodies(source.rx, source.blobs, [row.content])[row.content] as body:
        return (mime.Fields(body.read(0, row.header_size)).get(b"message-id") or b"").strip()


@contextlib.contextmanager
def readable_by(source: Source, chosen: Sequence[Chosen], data: Path) -> Iterator[Source]:
    """The backup for the owner of `data`, as whom root writes there: a copy of the files that this user may not read."""
    if os.geteuid() != 0 or data.stat().st_uid == 0:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="mssgw-restore-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        for file in blobs.files_of(source.rx, _contents(source, chosen)):
            files.folder((directory / file).parent)
            files.copy(source.blobs / file, directory / file)
            files.give((directory / file).parent, data)
            files.give(directory / file, data)
        files.give(directory, data)
        yield replace(source, blobs=directory)


async def put(store: Store, source: Source, chosen: Sequence[Chosen], address: Address, top: str, who: str, tell: Tell) -> list[Put]:
    """Add the chosen messages to the account in `store`, below the folder `top`. Raises BackupError, OverQuota, Deferred."""
    account = await store.read(lambda rx: accounts.by_address(rx, address))
    if account is None:
        raise BackupError("no-account-here", address=address)
    result: list[Put] = []
    done, total = 0, sum(len(one.uids) for one in chosen)
    for one in chosen:
        folder = f"{top}/{one.folder}"
        target = await store.write(lambda tx, folder=folder: _folder(tx, account, folder))  # type: ignore[misc]
        there = await store.read(lambda rx, target=target: {row.blob for row in mailboxes.rows(rx, target, None)})  # type: ignore[misc]
        added = 0
        for start in range(0, len(one.uids), _BATCH):
            rows = mailboxes.rows(source.rx, one.mailbox, one.uids[start : start + _BATCH], Want.ALL)
            news = [await _prepared(store, source, account, row) for row in rows if row.blob not in there]
            if news:
                await store.write(lambda tx, target=target, news=news, folder=folder: _add(tx, target, news, who, account, folder))  # type: ignore[misc]
                crash_point("restore.messages")
                await store.blobs.drop_unused(content for new in news for content in (new.content, new.original) if content)
            added += len(news)
            done += len(rows)
            tell("messages", done, total)
        result.append(Put(folder, added, len(one.uids) - added))
    return result


def _folder(tx: Transaction, account: Account, name: str) -> MailboxId:
    found = mailboxes.by_name(tx, account.id, name)
    if found is None:
        found = mailboxes.create(tx, account.id, name)
        mailboxes.subscribe(tx, account.id, name)
    return found.id


def _add(tx: Transaction, target: MailboxId, news: list[NewMessage], who: str, account: Account, folder: str) -> None:
    mailboxes.append_many(tx, target, news)
    audit.add(tx, who, RESTORED, "ok", recipient=account.address, folder=folder, messages=len(news))


async def _prepared(store: Store, source: Source, account: Account, row: MessageRow) -> NewMessage:
    domain = account.address.domain
    bodies = blobs.bodies(source.rx, source.blobs, [one for one in (row.content, row.original) if one is not None])
    with contextlib.ExitStack() as stack:
        for body in bodies.values():
            stack.enter_context(body)
        content = await store.blobs.prepare(bodies[row.content], domain, row)
        original = await store.blobs.prepare(bodies[ContentId(row.original)], domain) if row.original is not None else None
    return NewMessage(content, row.flags, row.internal_date, original)
