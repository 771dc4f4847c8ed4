"""Doorbell: the signal "something changed", sent to every process after the commit.

Truth is in the tables; a ring only means that it is time to look. A lost ring costs time, never a message.

Topics: "queue", "mailbox:ID", "account:ID". In the same process those who wait are woken at once; other
processes notice it

* on SQLite by `PRAGMA data_version`, read every 200 ms, and the table `bell`, which holds for each topic
  the number of its last ring;
* on PostgreSQL by LISTEN/NOTIFY, sent inside the transaction. After a lost connection everybody is woken,
  and every 5 s the modseqs of the mailboxes somebody waits for are compared with those seen before.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from mssgw.core.failures import log_failure
from mssgw.observe import Event, log
from mssgw.store import schema
from mssgw.store.faults import Fault, classify

POLL_SECONDS = 0.2
SAFETY_SECONDS = 5.0
_CHANNEL = "mssgw"
EVERYTHING = "*"  # the topic that rings when others may have been lost


class Bell:
    """One waiter. Remembers what rang until it is read; belongs to one task of the loop."""

    def __init__(self, doorbell: Doorbell, topics: Iterable[str]) -> None:
        self._doorbell, self._rung, self._event = doorbell, set[str](), asyncio.Event()
        self.topics: set[str] = set()
        for topic in topics:
            self.add(topic)

    def add(self, topic: str) -> None:
        """Add a topic: an exact one, or all that begin with it when it ends with a colon."""
        self.topics.add(topic)
        self._doorbell.enlist(self, topic)

    def remove(self, topic: str) -> None:
        self.topics.discard(topic)
        self._doorbell.dismiss(self, topic)

    def strike(self, topic: str) -> None:
        self._rung.add(topic)
        self._event.set()

    async def wait(self, timeout: float | None = None) -> frozenset[str]:  # noqa: ASYNC109
        """What rang since the last call; waits for it. Empty after `timeout` seconds of silence.

        `"*"` in the result means that rings may have been lost: look at everything.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return frozenset()
        return self.take()

    def take(self) -> frozenset[str]:
        """What rang since the last call, without waiting."""
        rung = frozenset(self._rung)
        self._rung.clear()
        self._event.clear()
        return rung

    async def __aiter__(self) -> AsyncIterator[frozenset[str]]:
        while True:
            yield await self.wait()

    def close(self) -> None:
        for topic in list(self.topics):
            self.remove(topic)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Doorbell:
    """The waiters of this process. The engines add how rings reach other processes and come from them."""

    def __init__(self, engine: sa.Engine, worker: str, loop: asyncio.AbstractEventLoop) -> None:
        self._engine, self._loop = engine, loop
        self._worker = f"{worker}/{os.getpid()}/{os.urandom(4).hex()}"
        self._exact: defaultdict[str, set[Bell]] = defaultdict(set)
        self._prefix: defaultdict[str, set[Bell]] = defaultdict(set)
        self._stop_read, self._stop_write = os.pipe()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="store-doorbell", daemon=True)

    def subscribe(self, *topics: str) -> Bell:
        """Wait for topics: `with doorbell.subscribe("queue") as bell: await bell.wait(30)`."""
        return Bell(self, topics)

    def enlist(self, bell: Bell, topic: str) -> None:
        (self._prefix if topic.endswith(":") else self._exact)[topic].add(bell)

    def dismiss(self, bell: Bell, topic: str) -> None:
        kept = self._prefix if topic.endswith(":") else self._exact
        kept[topic].discard(bell)
        if not kept[topic]:
            del kept[topic]

    def ring(self, topics: Iterable[str]) -> None:
        """Wake the waiters of this process. On the loop."""
        for topic in topics:
            for bell in tuple(self._exact.get(topic, ())):
                bell.strike(topic)
            for start, bells in tuple(self._prefix.items()):
                if topic.startswith(start):
                    for bell in tuple(bells):
                        bell.strike(topic)
            if topic == EVERYTHING:
                for bell in {bell for kept in (self._exact, self._prefix) for bells in kept.values() for bell in bells}:
                    bell.strike(topic)

    def write(self, connection: sa.Connection, topics: Iterable[str]) -> None:
        """Ring in the other processes, as part of the transaction. In the writer's thread."""
        raise NotImplementedError

    async def start(self) -> None:
        """From here on rings of other processes arrive."""
        self._thread.start()
        await self._loop.run_in_executor(None, self._listening.wait, SAFETY_SECONDS)

    async def close(self) -> None:
        os.write(self._stop_write, b".")
        if self._thread.ident is not None:
            await self._loop.run_in_executor(None, self._thread.join)
        os.close(self._stop_read)
        os.close(self._stop_write)

    # -- the thread ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Watch until stopped; after any error begin again and wake everybody."""
        while True:
            try:
                with self._engine.connect() as connection:
                    if self._watch(connection):
                        return
            except Exception as error:
                if classify(error) is Fault.BUG:
                    log_failure(error)
                else:
                    log(Event.STORE_DOORBELL_LOST, "warning", reason=getattr(error, "orig", error))
            if self._pause(1.0):
                return
            self._strike({EVERYTHING})

    def _watch(self, connection: sa.Connection) -> bool:
        """Returns True when stopped."""
        raise NotImplementedError

    def _pause(self, seconds: float, *others: int) -> bool:
        """Wait for a time or for one of the descriptors. Returns True when stopped."""
        ready, _, _ = select.select([self._stop_read, *others], [], [], seconds)
        return self._stop_read in ready

    def _strike(self, topics: set[str]) -> None:
        if topics:
            try:
                self._loop.call_soon_threadsafe(self.ring, topics)
            except RuntimeError:  # the loop is gone
                return


class SqliteDoorbell(Doorbell):
    _WRITE = sa.text(
        "INSERT INTO bell (topic, number, worker) VALUES (:topic, (SELECT coalesce(max(number), 0) + 1 FROM bell), :worker)"
        " ON CONFLICT (topic) DO UPDATE SET number = excluded.number, worker = excluded.worker"
    )
    _LAST = sa.select(sa.func.coalesce(sa.func.max(schema.bell.c.number), 0))
    _SINCE = sa.select(schema.bell.c.topic, schema.bell.c.number, schema.bell.c.worker).where(schema.bell.c.number > sa.bindparam("seen"))

    def write(self, connection: sa.Connection, topics: Iterable[str]) -> None:
        connection.execute(self._WRITE, [{"topic": topic, "worker": self._worker} for topic in sorted(topics)])

    def _watch(self, connection: sa.Connection) -> bool:
        driver: Any = connection.connection.driver_connection
        version = -1
        seen = connection.execute(self._LAST).scalar_one()
        connection.rollback()
        self._listening.set()
        while True:
            now = driver.execute("PRAGMA data_version").fetchone()[0]
            if now != version:
                version = now
                rows = connection.execute(self._SINCE, {"seen": seen}).all()
                connection.rollback()
                seen = max([seen, *(row.number for row in rows)])
                self._strike({row.topic for row in rows if row.worker != self._worker})
            if self._pause(POLL_SECONDS):
                return True


class PgDoorbell(Doorbell):
    _WRITE = sa.text("SELECT pg_notify(:channel, :payload)")
    _MODSEQS = sa.select(schema.mailbox.c.id, schema.mailbox.c.modseq).where(schema.among(schema.mailbox.c.id, "ids"))

    def write(self, connection: sa.Connection, topics: Iterable[str]) -> None:
        for topic in sorted(topics):
            connection.execute(self._WRITE, {"channel": _CHANNEL, "payload": f"{self._worker} {topic}"})

    def _watch(self, connection: sa.Connection) -> bool:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        driver: Any = connection.connection.driver_connection
        driver.execute(f"LISTEN {_CHANNEL}")
        self._listening.set()
        seen: dict[int, int] = {}
        while True:
            stop = self._pause(SAFETY_SECONDS, driver.fileno())
            if stop:
                return True
            rung: set[str] = set()
            for notice in driver.notifies(timeout=0):
                worker, _, topic = notice.payload.partition(" ")
                if worker != self._worker:
                    rung.add(topic)
            self._strike(rung or self._missed(connection, seen))

    def _missed(self, connection: sa.Connection, seen: dict[int, int]) -> set[str]:
        """Topics of mailboxes whose modseq rose without a ring; the queue and the accounts always, because they are cheap to read."""
        topics = set(self._exact)
        boxes = [int(topic.removeprefix("mailbox:")) for topic in topics if topic.startswith("mailbox:")]
        now = {row.id: row.modseq for row in connection.execute(self._MODSEQS, {"ids": boxes})} if boxes else {}
        changed = {f"mailbox:{box}" for box, modseq in now.items() if seen.get(box, modseq) != modseq}
        seen.clear()
        seen.update(now)
        return changed | {topic for topic in topics if not topic.startswith("mailbox:")}
