"""sweep: removes what nothing refers to any more, and what was kept long enough.

Contents without a message, files without a row (a crash between file and commit leaves one), leftovers of
writes, finished queue messages after `queue.keep_days`, delivery keys after a week, and the far end of the
logs of expunged UIDs. Safe beside running workers: whoever wants a content again takes a share of its row,
and a file gets a new name at each writing, so that an old one without a row will never have one.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mssgw.core.changes import MailboxId
from mssgw.observe import Event, log
from mssgw.store import facts, mailboxes, queue, schema
from mssgw.store.engine import Reader, Transaction

if TYPE_CHECKING:
    from mssgw.store.service import Store

EXPUNGED_KEPT = 50_000  # rows of the log of expunged UIDs that a mailbox keeps
_SWEEP_ROWS = 500  # in one transaction
_FACT = "store.swept"
_EVERY = timedelta(days=1)

_message, _content, _summary, _expunged, _queued = (
    table.c for table in (schema.message, schema.content, schema.summary, schema.expunged, schema.queued))


@dataclass(frozen=True, slots=True)
class Swept:
    contents: int = 0
    files: int = 0
    octets: int = 0
    messages: int = 0  # finished queue messages older than `queue.keep_days`

_UNUSED = sa.select(_content.id).where(*(
    ~sa.exists().where(column == _content.id) for column in (_message.content_id, _message.original_id, _queued.content_id)))


def sweep_is_due(tx: Transaction) -> bool:
    """Whether a day has passed since the last time this said yes. The first time is a day after the first look."""
    last = facts.get(tx, _FACT)
    if last is not None and tx.now < datetime.fromisoformat(last) + _EVERY:
        return False
    facts.put(tx, _FACT, tx.now.isoformat())
    return last is not None


async def sweep(store: Store, older_than_hours: float) -> Swept:
    """Remove contents without a reference, files without a row, leftovers of writes, and old finished queue messages."""
    before = store.clock.now() - timedelta(hours=older_than_hours)
    kept = store.clock.now() - timedelta(days=store.config.queue.keep_days)
    messages = contents = octets = 0
    while found := await store.write(lambda tx: queue.purge(tx, kept, _SWEEP_ROWS)):
        messages += found
    await store.write(mailboxes.forget_deliveries)
    for box in await store.read(_long_logs):
        await store.write(partial(mailboxes.trim_log, mailbox=box, keep=EXPUNGED_KEPT))
    while rows := await store.write(lambda tx: _forget(tx, before)):
        contents += len(rows)
        octets += sum(rows)
    names = await store.read(lambda rx: set(rx.run(sa.select(_content.file).where(_content.file.is_not(None))).scalars()))
    files, freed = await asyncio.to_thread(_remove_files, store.blobs.directory, names, older_than_hours * 3600)
    swept = Swept(contents, files, octets + freed, messages)
    log(Event.STORE_SWEPT, contents=contents, files=files, octets=swept.octets, messages=messages)
    return swept


def _long_logs(rx: Reader) -> list[MailboxId]:
    return list(rx.run(sa.select(_expunged.mailbox_id).group_by(_expunged.mailbox_id).having(sa.func.count() > EXPUNGED_KEPT)).scalars())


def _forget(tx: Transaction, before: Any) -> list[int]:
    """Delete some contents that nothing points to; their sizes. Their files are without a row then."""
    locked = list(tx.run(_UNUSED.where(_content.created < before).limit(_SWEEP_ROWS).with_for_update(skip_locked=True)).scalars())
    # Looked at again under the lock: on PostgreSQL somebody may have taken one between our look and our lock.
    ids = list(tx.run(_UNUSED.where(schema.among(_content.id, "ids")), {"ids": locked}).scalars())
    tx.run(sa.delete(schema.summary).where(schema.among(_summary.content_id, "ids")), {"ids": ids})
    return list(tx.run(sa.delete(schema.content).where(schema.among(_content.id, "ids")).returning(_content.size), {"ids": ids}).scalars())


def _remove_files(directory: Path, known: set[str | None], older_than: float) -> tuple[int, int]:
    limit = time.time() - older_than
    count = octets = 0
    for path in directory.glob("*/*"):
        if str(path.relative_to(directory)) in known:
            continue
        try:
            found = path.stat()
            if found.st_mtime < limit:
                path.unlink()
                count, octets = count + 1, octets + found.st_size
        except FileNotFoundError:
            continue
    return count, octets
