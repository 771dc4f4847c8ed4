"""Store: the interface of this package for the rest of the program.

`migrate` once per start, by the parent; `open` in each worker. `write` and `read` take a function of the
aggregates' functions, and run it in a transaction:

    uid = await store.write(lambda tx: mailboxes.append(tx, inbox, new))
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import sqlalchemy as sa

from mssgw.core.address import Domain
from mssgw.core.clock import Clock
from mssgw.core.config import Config
from mssgw.core.errors import Deferred
from mssgw.core.texts import message
from mssgw.observe import Event, log
from mssgw.store import accounts, bond, database, keys, mailboxes, queue, schema
from mssgw.store.blobs import Blobs
from mssgw.store.check import Problem, check
from mssgw.store.doorbell import Doorbell, PgDoorbell, SqliteDoorbell
from mssgw.store.engine import Context, Reader, Readers, Transaction, Writer
from mssgw.store.migration import missing, require_ours, require_restored
from mssgw.store.seal import MasterKeys, Seal
from mssgw.store.sweep import (
    EXPUNGED_KEPT,
    SWEEP_ROWS,
    Swept,
    files_held,
    forget,
    has_contents,
    leftovers,
    long_logs,
    names_of_files,
    remove,
    strays,
    sweep_is_due,
)

T = TypeVar("T")

_LOOK_SECONDS = 3600.0  # seconds between two checks whether sweeping is due


class Store:
    """Made by `open`. Belongs to one event loop."""

    def __init__(self, config: Config, clock: Clock, worker: str, master: MasterKeys, url: sa.URL) -> None:
        self.config, self.clock, self.worker = config, clock, worker
        loop = asyncio.get_running_loop()
        self._context = Context(clock, master, Seal(), config.limits, worker)
        self._read_engine = database.connect_reader(url)
        self._write_engine = database.connect_writer(url)
        kind = SqliteDoorbell if url.get_backend_name() == "sqlite" else PgDoorbell
        self.doorbell: Doorbell = kind(self._read_engine, worker, loop)
        self._readers = Readers(self._read_engine, self._context)
        self._writer = Writer(self._write_engine, self._context, self.doorbell, loop)
        self.blobs = Blobs(self._writer, self._readers, self._context.seal, Path(config.node.data) / "blobs", config.limits.free_disk)

    async def write(self, function: Callable[[Transaction], T]) -> T:
        """Run `function(tx)`; returns its result once the commit is durable. See `engine` for the rules.

        Raises what the function raises, and Deferred when the store can't commit.
        """
        return await self._writer.write(function)

    async def read(self, function: Callable[[Reader], T]) -> T:
        """Run `function(rx)` on one consistent moment of the store. Raises Deferred when the store can't be read."""
        return await self._readers.read(function)

    def read_now(self, function: Callable[[Reader], T]) -> T:
        """`read` for other threads, which may wait: the loop never calls it. Raises Deferred."""
        return self._readers.run(function)

    async def require_key(self, domain: Domain) -> None:
        """Make sure that values can be sealed for a domain. Raises Deferred."""
        if not self._context.seal.knows(domain):
            await keys.make(self._writer, self._readers, domain)

    async def recognise(self) -> None:
        """Open the domain keys with the master key. Raises ConfigError: it is not the one that seals this store."""
        await keys.recognise(self._writer, self._readers, self._context.seal)

    async def keys_of(self, config: Config) -> MasterKeys:
        """The master keys of another configuration, for `take_keys`. Raises ConfigError: they can't be read, or are not the store's."""
        masters = await asyncio.to_thread(keys.read_masters, config.seal, config.node.data, in_use=True)
        await self.read(partial(keys.require_ours, masters=masters))
        return masters

    def take_keys(self, masters: MasterKeys) -> None:
        self._context.master.replace(masters)

    async def has_accounts(self) -> bool:
        """Whether there is any account; a small query, which shows that the database answers. Raises Deferred."""
        return await self.read(accounts.exist)

    async def check(self, *, deep: bool = True) -> list[Problem]:
        """Every invariant, derived again from the rows; `deep` also opens every content and compares its hash."""
        return await self.read(lambda rx: check(rx, self.blobs, deep=deep))

    async def sweep(self, older_than_hours: float = 24, *, force: bool = False) -> Swept:
        """Remove contents without a reference, files without a row, leftovers of writes, and old finished queue messages.

        When files without a row are too many to be a crash's, they stay without `force`: Swept.stayed.
        """
        before = self.clock.now() - timedelta(hours=older_than_hours)
        kept = self.clock.now() - timedelta(days=self.config.queue.keep_days)
        messages = 0
        while found := await self.write(lambda tx: queue.purge(tx, kept, SWEEP_ROWS)):
            messages += found
        await self.write(mailboxes.forget_deliveries)
        for box in await self.read(long_logs):
            await self.write(partial(mailboxes.trim_log, mailbox=box, keep=EXPUNGED_KEPT))
        swept = Swept(messages=messages)
        with files_held(self.config.node.data, removing=True) as ours:
            if ours:  # otherwise a backup is under way, and contents and files wait for the next time
                swept = await self._sweep_contents(before, older_than_hours * 3600, messages, force=force)
        level: Literal["info", "error"] = "error" if swept.stayed else "info"
        reason = message("store.too-many-strays", count=swept.stayed) if swept.stayed else None
        log(Event.STORE_SWEPT, level, contents=swept.contents, files=swept.files, octets=swept.octets, messages=messages, reason=reason)
        return swept

    async def _sweep_contents(self, before: datetime, seconds: float, messages: int, *, force: bool) -> Swept:
        """What nothing refers to, and files that lie about. The files must be held."""
        directory = self.blobs.directory
        gone: list[tuple[int, str | None]] = []
        while rows := await self.write(lambda tx: forget(tx, before)):
            gone += rows
        files, _ = await asyncio.to_thread(remove, [directory / file for _, file in gone if file])
        names, has_some = await self.read(lambda rx: (names_of_files(rx), has_contents(rx)))
        found = await asyncio.to_thread(strays, directory, names, seconds)
        stay = not force and found.files and (found.are_too_many or not has_some)
        unused = [*await asyncio.to_thread(leftovers, directory, seconds), *(() if stay else found.files)]
        removed, octets = await asyncio.to_thread(remove, unused)
        octets += sum(size for size, _ in gone)
        return Swept(len(gone), files + removed, octets, messages, len(found.files) if stay else 0)

    async def keep_swept(self) -> None:
        """Sweep once a day, whichever worker comes first, until cancelled."""
        while True:
            try:
                if await self.write(sweep_is_due):
                    await self.sweep()
            except Deferred as error:
                log(Event.STORE_SWEPT, "warning", reason=error)
            await self.clock.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        """Commit what was handed over, then stop."""
        await self._writer.close()
        await self.doorbell.close()
        await asyncio.to_thread(self._readers.close)
        self._read_engine.dispose()
        self._write_engine.dispose()


async def open(config: Config, clock: Clock, *, worker: str) -> Store:
    """Open the store that `migrate` has made. Raises ConfigError: wrong master key, other schema, not there."""
    url = database.url_of(config)
    require_restored(config.node.data)
    in_use = await asyncio.to_thread(_require_usable, url, config.node.data)
    store = Store(config, clock, worker, keys.read_masters(config.seal, config.node.data, in_use=in_use), url)
    try:
        await store.recognise()
        await store.doorbell.start()
    except BaseException:
        await store.close()
        raise
    log(Event.STORE_OPENED, engine=url.get_backend_name(), worker=worker)
    return store


def _require_usable(url: sa.URL, data: Path) -> bool:
    """Raises ConfigError unless there is a store of ours, of this directory. Whether a master key has sealed something in it."""
    if absent := missing(url):  # connecting would make one
        bond.require_there(absent, data)
    engine = database.connect_reader(url)
    try:
        with database.opening(), engine.connect() as connection:
            require_ours(connection, data)
            return connection.execute(sa.select(schema.domain_key.c.id).limit(1)).first() is not None
    finally:
        engine.dispose()
