"""One writer thread with group commit, and a few readers.

`Writer` takes functions from the event loop and runs those that wait together in one transaction, each
in its own savepoint, so that one failing doesn't hurt its neighbours. Their futures end after the
commit is durable, never before; the doorbell rings after that.

* A function may run more than once (a lock or serialization error runs it again): it must use nothing
  but its transaction, and be short.
* A cancelled caller does not stop its function: what was handed over is committed.
* Disk full is Deferred 452 4.3.1; a commit whose outcome is unknown is Deferred: the sender tries
  again, and the duplicate is dropped by `mailboxes.deliver`.
"""

from __future__ import annotations

import asyncio
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from mssgw.core.clock import Clock
from mssgw.core.config.node import Limits
from mssgw.core.errors import Deferred
from mssgw.observe import COMMIT_CALLERS, COMMIT_SECONDS, Event, crash_point, log
from mssgw.store.database import Turn
from mssgw.store.doorbell import Doorbell
from mssgw.store.faults import Fault, classify, deferred
from mssgw.store.seal import MasterKeys, Seal
from mssgw.store.statements import ready

T = TypeVar("T")

BATCH = 256  # functions that share one commit at most
RETRIES = 10
PATIENCE = 20.0  # seconds after which nothing is tried again
READERS = 4


@dataclass(frozen=True, slots=True)
class Context:
    """What transactions need beside their connection."""

    clock: Clock
    master: MasterKeys
    seal: Seal
    limits: Limits
    worker: str


class Reader:
    """One consistent moment of the store, for the functions of the aggregates."""

    __slots__ = ("connection", "context", "dialect", "driver", "now")

    def __init__(self, connection: sa.Connection, context: Context) -> None:
        self.connection = connection
        self.context = context
        self.dialect = connection.dialect.name
        self.driver: Any = connection.connection.driver_connection
        self.now: datetime = context.clock.now()

    def run(self, statement: sa.Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None) -> sa.CursorResult[Any]:
        return self.connection.execute(statement, values)

    def raw(self, statement: sa.Executable, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows as the driver gives them, without type conversion: for frequent queries and long lists.

        Instants are microseconds (`schema.from_microseconds`). The statement should be a constant of its module.
        """
        given = values or {}
        dialect = self.connection.dialect
        prepared = ready(statement, dialect, tuple(given))
        if prepared is None:
            cursor = self.run(statement, values).cursor
        else:
            try:
                cursor = self.driver.execute(prepared.sql, prepared.values(given))
            except dialect.loaded_dbapi.Error as error:
                raise sa.exc.DBAPIError.instance(prepared.sql, None, error, dialect.loaded_dbapi.Error, dialect=dialect) from error
        return list(cursor.fetchall()) if cursor is not None and cursor.description else []

    def pairs(self, statement: sa.Executable, values: Mapping[str, Any] | None = None) -> list[tuple[Any, Any]]:
        """`raw` for two columns."""
        return [(first, second) for first, second in self.raw(statement, values)]


class Transaction(Reader):
    """A Reader that may write, and ring when it is committed."""

    __slots__ = ("topics",)

    def __init__(self, connection: sa.Connection, context: Context) -> None:
        super().__init__(connection, context)
        self.topics: set[str] = set()

    def ring(self, topic: str) -> None:
        """Ring for `topic` in every process, once this is committed."""
        self.topics.add(topic)


class _Job:
    __slots__ = ("error", "function", "future", "result", "topics")

    def __init__(self, function: Callable[[Transaction], Any], future: asyncio.Future[Any]) -> None:
        self.function, self.future = function, future
        self.result: Any = None
        self.error: BaseException | None = None
        self.topics: set[str] = set()

    def settle(self) -> None:
        if self.future.done():  # the caller was cancelled; its function is committed all the same
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class _Again(Exception):
    """The whole transaction has to run again, on a new connection when the old one is gone."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause
        self.gone = classify(cause) is Fault.GONE


class Writer:
    def __init__(self, engine: sa.Engine, context: Context, doorbell: Doorbell, loop: asyncio.AbstractEventLoop) -> None:
        self._engine, self._context, self._doorbell, self._loop = engine, context, doorbell, loop
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connection: sa.Connection | None = None
        self._turn = Turn(engine.url)
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    async def write(self, function: Callable[[Transaction], T]) -> T:
        if self._closed:
            raise Deferred("Mail store unavailable, try again later", detail="the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(function, future))
        return await future

    async def close(self) -> None:
        """Commit what was handed over, then stop."""
        self._closed = True
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    # -- the thread ----------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (first := self._jobs.get()) is not None:
                with self._turn:
                    batch, last = self._gather(first)  # with those who came while we waited
                    with COMMIT_SECONDS.time():
                        self._commit(batch)
                COMMIT_CALLERS.observe(len(batch))
                self._tell(batch)
                if last:
                    break
        finally:
            self._disconnect()
            self._turn.close()

    def _gather(self, first: _Job) -> tuple[list[_Job], bool]:
        batch = [first]
        while len(batch) < BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _tell(self, batch: list[_Job]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, batch)
        except RuntimeError:  # the loop is closed, and nobody waits any more
            return

    def _settle(self, batch: list[_Job]) -> None:
        for job in batch:
            job.settle()
        self._doorbell.ring(set().union(*(job.topics for job in batch)))

    def _commit(self, batch: list[_Job]) -> None:
        until = time.monotonic() + PATIENCE
        for attempt in range(RETRIES):
            try:
                self._attempt(batch)
                return
            except _Again as again:
                log(Event.STORE_RETRY, "debug", attempt=attempt, reason=again.cause)
                cause = again.cause
                if again.gone:
                    self._disconnect(broken=True)
                    if attempt:  # the new connection is gone as well: the server is away
                        break
                elif len(batch) > 1:  # one by one, so that they don't block each other again
                    for job in batch:
                        self._commit([job])
                    return
                if time.monotonic() > until:
                    break
                time.sleep(random.random() * 0.01 * 2**attempt)  # noqa: S311
        log(Event.STORE_COMMIT_FAILED, "error", reason=cause, unknown_outcome=False)
        self._fail(batch, deferred(cause))

    def _attempt(self, batch: list[_Job]) -> None:
        committing = False
        try:
            connection = self._connected()
            with connection.begin() as shared:
                for job in batch:
                    self._run(connection, job)
                if topics := set().union(*(job.topics for job in batch)):
                    self._doorbell.write(connection, topics)
                crash_point("store.before_commit")
                committing = True
                shared.commit()
            crash_point("store.after_commit")
        except _Again:
            raise
        except Exception as error:
            fault = classify(error)
            if fault is not Fault.RETRY:
                self._disconnect(broken=True)
            if fault is Fault.RETRY or (not committing and (fault is Fault.GONE or len(batch) > 1)):
                raise _Again(error) from error
            log(Event.STORE_COMMIT_FAILED, "error", reason=getattr(error, "orig", error), unknown_outcome=committing)
            self._fail(batch, deferred(error))

    def _run(self, connection: sa.Connection, job: _Job) -> None:
        """Run one function in its savepoint; keep its outcome."""
        tx = Transaction(connection, self._context)
        driver = tx.driver
        job.result, job.error, job.topics = None, None, set()
        driver.execute("SAVEPOINT caller")
        try:
            job.result = job.function(tx)
        except Exception as error:
            fault = classify(error)
            if fault in (Fault.RETRY, Fault.GONE):
                raise _Again(error) from error
            if connection.dialect.name == "sqlite" and not driver.in_transaction:
                raise  # disk trouble: SQLite has rolled back everybody
            job.error = error if fault is Fault.BUG else deferred(error)
            driver.execute("ROLLBACK TO SAVEPOINT caller")
        else:
            job.topics = tx.topics
        driver.execute("RELEASE SAVEPOINT caller")

    def _fail(self, batch: list[_Job], error: BaseException) -> None:
        for job in batch:
            job.topics = set()
            job.error = job.error or error

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _disconnect(self, *, broken: bool = False) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if broken:  # nothing more is executed on it
                connection.invalidate()
            connection.close()


class Readers:
    """A few threads with a connection each."""

    def __init__(self, engine: sa.Engine, context: Context) -> None:
        self._engine, self._context = engine, context
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._idle: queue.SimpleQueue[sa.Connection] = queue.SimpleQueue()

    async def read(self, function: Callable[[Reader], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.run, function)

    def run(self, function: Callable[[Reader], T]) -> T:
        for last in (False, True):
            try:
                return self._once(function)
            except sa.exc.DBAPIError as error:
                fault = classify(error)
                if fault is Fault.BUG:
                    raise
                if last or fault not in (Fault.GONE, Fault.RETRY):
                    log(Event.STORE_READ_FAILED, "error", reason=error.orig)
                    raise deferred(error) from error
        raise AssertionError("unreachable")

    def _once(self, function: Callable[[Reader], T]) -> T:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._engine.connect()
        try:
            with connection.begin():
                result = function(Reader(connection, self._context))
        except sa.exc.DBAPIError:
            connection.invalidate()
            connection.close()
            raise
        except BaseException:
            self._idle.put(connection)
            raise
        self._idle.put(connection)
        return result

    def close(self) -> None:
        self._pool.shutdown()
        while not self._idle.empty():
            self._idle.get_nowait().close()
