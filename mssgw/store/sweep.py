"""sweep: removes what nothing refers to any more, and what was kept long enough.

Contents without a message and their files, files without a row (a crash between file and commit leaves one), leftovers of
writes, finished queue messages after `queue.keep_days`, delivery keys after a week, and the oldest rows of the
logs of expunged UIDs. Safe beside running workers: a worker that uses a content again takes a shared lock of its row,
and a file gets a new name at each writing, so that an old one without a row will never have one. While a backup
holds the files (`files_held`), no content and no file is removed; the sweep of the next day finds them again.

A crash leaves few files without a row. Where most have none, or no content is left, the store is not the one that these files
belong to, and they stay (`Strays`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from mssgw.core.changes import MailboxId
from mssgw.store import facts, schema
from mssgw.store.engine import Reader, Transaction

EXPUNGED_KEPT = 50_000  # rows of the log of expunged UIDs that a mailbox keeps
SWEEP_ROWS = 500  # in one transaction
_FACT = "store.swept"
_EVERY = timedelta(days=1)

_message, _content, _summary, _expunged, _queued = (
    table.c for table in (schema.message, schema.content, schema.summary, schema.expunged, schema.queued)
)


@dataclass(frozen=True, slots=True)
class Swept:
    contents: int = 0
    files: int = 0
    octets: int = 0
    messages: int = 0  # finished queue messages older than `queue.keep_days`
    stayed: int = 0  # files without a row that were too many to be a crash's


@dataclass(frozen=True, slots=True)
class Strays:
    """Old files without a row, and how many files there are."""

    files: tuple[Path, ...]
    of: int

    @property
    def are_too_many(self) -> bool:
        return 2 * len(self.files) > self.of


_UNUSED = sa.select(_content.id).where(
    *(~sa.exists().where(column == _content.id) for column in (_message.content_id, _message.original_id, _queued.content_id))
)


def sweep_is_due(tx: Transaction) -> bool:
    """Whether a day has passed since this last returned True; first a day after the first call."""
    last = facts.get(tx, _FACT)
    if last is not None and tx.now < datetime.fromisoformat(last) + _EVERY:
        return False
    facts.put(tx, _FACT, tx.now.isoformat())
    return last is not None


def names_of_files(rx: Reader) -> set[str]:
    """Names of the files that a row refers to, below the directory of blobs."""
    return {str(name) for name in rx.run(sa.select(_content.file).where(_content.file.is_not(None))).scalars()}


def long_logs(rx: Reader) -> list[MailboxId]:
    """Mailboxes whose log of expunged UIDs is longer than EXPUNGED_KEPT."""
    return list(rx.run(sa.select(_expunged.mailbox_id).group_by(_expunged.mailbox_id).having(sa.func.count() > EXPUNGED_KEPT)).scalars())


def has_contents(rx: Reader) -> bool:
    return rx.run(sa.select(_content.id).limit(1)).first() is not None


def forget(tx: Transaction, before: datetime) -> list[tuple[int, str | None]]:
    """Delete some contents that nothing points to; the size and the file of each, which is without a row then."""
    locked = list(tx.run(_UNUSED.where(_content.created < before).limit(SWEEP_ROWS).with_for_update(skip_locked=True)).scalars())
    # Checked again under the lock: on PostgreSQL another worker may have used one between our query and our lock.
    ids = list(tx.run(_UNUSED.where(schema.among(_content.id, "ids")), {"ids": locked}).scalars())
    tx.run(sa.delete(schema.summary).where(schema.among(_summary.content_id, "ids")), {"ids": ids})
    gone = sa.delete(schema.content).where(schema.among(_content.id, "ids")).returning(_content.size, _content.file)
    return [(row.size, row.file) for row in tx.run(gone, {"ids": ids})]


@contextlib.contextmanager
def files_held(data: Path, *, removing: bool = False) -> Iterator[bool]:
    """Nobody removes files of contents below `data` meanwhile. Several may hold them; one alone may be `removing`,
    and yields False when somebody holds them. Ends with the process, however that ends."""
    fd = os.open(data / "sweep.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.geteuid() == 0:  # a backup runs as root; the node, which is not, takes this lock too
            os.fchown(fd, data.stat().st_uid, data.stat().st_gid)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB if removing else fcntl.LOCK_SH)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def strays(directory: Path, known: set[str], older_than: float) -> Strays:
    """Files below the directory of blobs that no row knows and that are older than `older_than` seconds, leftovers of writes aside."""
    limit, found, count = time.time() - older_than, [], 0
    for path in directory.glob("??/*"):
        count += 1
        if str(path.relative_to(directory)) not in known:
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < limit:
                    found.append(path)
    return Strays(tuple(found), count)


def leftovers(directory: Path, older_than: float) -> list[Path]:
    """Files of writes that never ended."""
    limit = time.time() - older_than
    found = []
    for path in (directory / "tmp").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < limit:
                found.append(path)
    return found


def remove(files: Iterable[Path]) -> tuple[int, int]:
    """Unlink files. Returns (files, octets)."""
    count = octets = 0
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            count, octets = count + 1, octets + size
    return count, octets
