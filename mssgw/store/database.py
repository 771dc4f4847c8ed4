"""Where the store is, and engines for it. The two engines differ here, in `faults`, `doorbell` and `schema`'s dialects."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from mssgw.core.config import Config
from mssgw.core.config.base import sqlite_file
from mssgw.core.errors import ConfigError
from mssgw.core.texts import message
from mssgw.store.faults import Fault, classify

BUSY_SECONDS = 10
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # NORMAL may lose the last commits when the power fails
    "PRAGMA foreign_keys=ON",
    "PRAGMA cache_size=-65536",
    "PRAGMA wal_autocheckpoint=4000",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA trusted_schema=OFF",
)


StoreUrl = sa.URL


def file_of(url: StoreUrl) -> Path | None:
    """The file of a SQLite store, absolute; None for PostgreSQL."""
    return Path(os.path.abspath(url.database)) if url.get_backend_name() == "sqlite" and url.database else None


def url_of(config: Config) -> sa.URL:
    """The SQLAlchemy URL of `node.store`; a relative SQLite path starts at `node.data`. Raises ConfigError."""
    return address("node.store", config.node.store, config.node.data)


def address(setting: str, store: str, data: Path) -> sa.URL:
    """The same for the store that any setting names. Raises ConfigError."""
    if file := sqlite_file(store, data):
        return sa.URL.create("sqlite", database=str(file))
    try:
        return sa.make_url(f"postgresql:{store.partition(':')[2]}").set(drivername="postgresql+psycopg")
    except (sa.exc.ArgumentError, ValueError) as error:
        raise ConfigError([(setting, message("store.address"))]) from error


@contextmanager
def opening() -> Iterator[None]:
    """Turns what keeps the store from being opened into a ConfigError."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        if classify(error) is Fault.BUG and not isinstance(error, sa.exc.OperationalError):
            raise
        said = str(error.orig).strip().partition("\n")[0]
        raise ConfigError([("node.store", message("store.not-opened", why=said))]) from error


def connect_writer(url: sa.URL) -> sa.Engine:
    """An engine whose transactions take the write lock at once."""
    return _sqlite(url, "BEGIN IMMEDIATE") if url.get_backend_name() == "sqlite" else _postgresql(url, "READ COMMITTED")


def connect_reader(url: sa.URL) -> sa.Engine:
    """An engine whose transactions see one moment of the store."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, "BEGIN")
    return _postgresql(url, "REPEATABLE READ").execution_options(postgresql_readonly=True)


class Turn:
    """The writers of several processes on one SQLite file wait for their turn in the kernel, which wakes them at once.

    SQLite's own waiting sleeps up to 100 ms between two tries, and with two busy workers one of them starves. This lock
    is only for fairness; SQLite's own lock keeps the data right, also with programs that don't know this one.
    """

    def __init__(self, url: sa.URL) -> None:
        sqlite = url.get_backend_name() == "sqlite" and url.database
        self._fd = os.open(f"{url.database}-turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) if sqlite else None

    def __enter__(self) -> None:
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _sqlite(url: sa.URL, begin: str) -> sa.Engine:
    engine = sa.create_engine(
        url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False, "cached_statements": 512}
    )

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where our code begins them
        for pragma in _PRAGMAS:
            connection.execute(pragma).close()

    def _begin(connection: Any) -> None:
        connection.execute(begin)

    engine.dialect.do_begin = _begin  # type: ignore[method-assign, assignment]  # an event would be looked for at every statement
    return engine


def _postgresql(url: sa.URL, isolation: Any) -> sa.Engine:
    options = f"{url.query.get('options', '')} -c lock_timeout={BUSY_SECONDS * 1000}"
    arguments = {
        "connect_timeout": BUSY_SECONDS,
        "application_name": "mssgw",
        "options": options,
        "keepalives_idle": 30,
        "tcp_user_timeout": 30_000,
    }  # a server that vanished is noticed in half a minute
    try:
        engine = sa.create_engine(url, poolclass=NullPool, isolation_level=isolation, connect_args=arguments)
    except ModuleNotFoundError as error:
        raise ConfigError([("node.store", message("store.no-psycopg"))]) from error

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        # A commit is durable when it returns, even where the server is configured for speed; stricter settings stay.
        connection.execute("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
        connection.commit()

    return engine
