"""One consistent moment of a database as a file, and back. SQLite by its online backup, PostgreSQL by pg_dump and pg_restore.

Writers go on meanwhile: SQLite's copy reads under one read transaction (WAL lets others write beside it), pg_dump reads
the snapshot that our own transaction has exported, so what `look` sees is exactly what the file holds.

`tables` are those of one store; other tables of the database are left out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from mssgw.store import bond, database, migration, schema

T = TypeVar("T")
Tell = Callable[[int, int], None]  # (done, total), in units that the caller knows

PAGES = 2048  # copied between two reports
TABLES = (*schema.metadata.tables, "alembic_version")
_MIB = 1 << 20


class SnapshotFailed(Exception):
    """The database can't be copied or put back; the text is that of its program. Nothing was changed."""


class ProgramMissing(SnapshotFailed):
    """pg_dump or pg_restore is not installed."""


class Occupied(SnapshotFailed):
    """There are tables of a store already where one is to be put back."""


@dataclass(frozen=True, slots=True)
class Inside:
    """The facts about the mail store that its backup records."""

    revision: str
    files: tuple[str, ...]  # below the directory of blobs
    probe: bytes  # wrapped under the master key, by which that key is recognised; b"" before the first start
    messages: int


def look(connection: sa.Connection) -> Inside:
    """For `take`: reads the facts of the mail store. Raises ConfigError when it has not this program's schema."""
    migration.require_current(connection)
    files = connection.execute(sa.select(schema.content.c.file).where(schema.content.c.file.is_not(None)).order_by(schema.content.c.file))
    probe = connection.execute(sa.select(schema.domain_key.c.wrapped).where(schema.domain_key.c.domain == "")).scalar()
    messages = connection.execute(sa.select(sa.func.count()).select_from(schema.message)).scalar()
    return Inside(migration.head(), tuple(files.scalars()), probe or b"", int(messages or 0))


def is_sqlite(url: sa.URL) -> bool:
    return url.get_backend_name() == "sqlite"


def schema_of(url: sa.URL) -> str:
    """The PostgreSQL schema a store lives in; "" for SQLite. Raises ConfigError."""
    if is_sqlite(url):
        return ""
    with _connected(url) as connection:
        return str(connection.execute(sa.text("SELECT current_schema()")).scalar() or "")


def take(url: sa.URL, target: Path, tables: Sequence[str], tell: Tell, look: Callable[[sa.Connection], T]) -> T:
    """Copy to `target`, which must not be there, and fsync it. `look` sees the moment that was copied.

    Raises SnapshotFailed, ConfigError (the database can't be opened), OSError.
    """
    seen = _take_sqlite(url, target, tell, look) if is_sqlite(url) else _take_postgresql(url, target, tables, tell, look)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return seen


def require_ours(url: sa.URL, data: Path) -> None:
    """The mail store is there, and is that of this data directory. Raises ConfigError."""
    if absent := migration.missing(url):
        bond.require_there(absent, data)
    with _connected(url) as connection:
        migration.require_ours(connection, data)


def require_empty(url: sa.URL, tables: Sequence[str]) -> None:
    """Raises Occupied when a PostgreSQL database has tables of that store, ConfigError."""
    with _connected(url) as connection:
        if there := sorted(set(sa.inspect(connection).get_table_names()) & set(tables)):
            raise Occupied(", ".join(there[:3]))


def put_back(file: Path, url: sa.URL, *, replace: bool) -> None:
    """Load a PostgreSQL snapshot, all or nothing; its tables are dropped first with `replace`.

    SQLite's is a file that the caller puts in its place. Raises SnapshotFailed.
    """
    options = ["--clean", "--if-exists"] if replace else []
    _run(url, "pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", *options, str(file))


@contextlib.contextmanager
def opened(file: Path) -> Iterator[sa.Connection]:
    """A SQLite snapshot, read in place: nothing is written beside it, so its medium may be read-only."""
    name = file.absolute().as_uri() + "?mode=ro&immutable=1"
    engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(name, uri=True, check_same_thread=False), poolclass=NullPool)
    try:
        with database.opening(), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


# -- SQLite ----------------------------------------------------------------------------------------------


def _take_sqlite(url: sa.URL, target: Path, tell: Tell, look: Callable[[sa.Connection], T]) -> T:
    source_path = Path(url.database or "")
    if not source_path.is_file():  # connecting would make one
        raise FileNotFoundError(2, os.strerror(2), str(source_path))
    try:
        with (
            contextlib.closing(sqlite3.connect(source_path, isolation_level=None, timeout=database.BUSY_SECONDS)) as source,
            contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            target.chmod(0o600)
            source.execute("BEGIN")  # held until the end: otherwise each commit of others starts the copy again
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(copy, pages=PAGES, progress=lambda _, left, total: tell(total - left, total))
            source.execute("ROLLBACK")
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
            (said,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise SnapshotFailed(f"{source_path}: {error}") from error
    if said != "ok":
        raise SnapshotFailed(f"{source_path}: {said}")
    with opened(target) as connection:
        return look(connection)


# -- PostgreSQL ------------------------------------------------------------------------------------------


def _take_postgresql(url: sa.URL, target: Path, tables: Sequence[str], tell: Tell, look: Callable[[sa.Connection], T]) -> T:
    with _connected(url) as connection:
        seen = look(connection)
        place = connection.execute(sa.text("SELECT quote_ident(current_schema())")).scalar()
        moment = connection.execute(sa.text("SELECT pg_export_snapshot()")).scalar()
        wanted = [f"--table={place}.{name}" for name in tables]
        _run(url, "pg_dump", "--format=custom", f"--snapshot={moment}", "--no-owner", "--no-privileges", *wanted, f"--file={target}")
    size = target.stat().st_size
    target.chmod(0o600)
    tell(size, size)
    return seen


@contextlib.contextmanager
def _connected(url: sa.URL) -> Iterator[sa.Connection]:
    """One moment of a PostgreSQL database, REPEATABLE READ."""
    engine = database.connect_reader(url)
    try:
        with database.opening(), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _run(url: sa.URL, program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL's on the database of `url`. The password goes by the environment: argv is for everyone to read."""
    path = shutil.which(program)
    if path is None:
        raise ProgramMissing(program)
    secret = {"PGPASSWORD": str(url.password)} if url.password else {}
    plain = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    done = subprocess.run(  # noqa: S603 - a list of arguments, no shell
        [path, "--no-password", f"--dbname={plain}", *arguments], env=os.environ | secret, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SnapshotFailed(f"{program}: {done.stderr.strip()[-2000:] or f'status {done.returncode}'}")
