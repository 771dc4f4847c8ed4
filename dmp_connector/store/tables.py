"""Tables and engines of the connector's store: SQLite and PostgreSQL.

`sealed`, `content`, `error` and `wrapped` hold what `sealing` makes; a `patient` column holds a token, never an INS.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from dmp_connector.errors import BadSettings
from dmp_connector.texts import message

BUSY_SECONDS = 10  # how long another writer is waited for

meta = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)


def _moment(name: str, *, null: bool = False) -> sa.Column[Any]:
    """ISO 8601 in UTC: sorts as text, the same on both engines."""
    return sa.Column(name, sa.String(32), nullable=null)


version = sa.Table("dmp_version", meta, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))
keys = sa.Table(
    "dmp_keys",
    meta,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(8), primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)
dossiers = sa.Table(
    "dmp_dossiers",
    meta,
    sa.Column("patient", sa.String(64), primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    _moment("seen"),
)
consents = sa.Table(
    "dmp_consents",
    meta,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("patient", sa.String(64), nullable=False, index=True),
    sa.Column("practitioner", sa.String(64), nullable=False),
    sa.Column("structure", sa.String(64), nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    _moment("at"),
    _moment("until"),
    _moment("withdrawn", null=True),
)
consultations = sa.Table(
    "dmp_consultations",
    meta,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("patient", sa.String(64), nullable=False, index=True),
    sa.Column("practitioner", sa.String(64), nullable=False),
    sa.Column("structure", sa.String(64), nullable=False),
    sa.Column("evidence", sa.String(200), nullable=False),
    sa.Column("mode", sa.String(20), nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    _moment("opened"),
    _moment("closes"),
    _moment("closed", null=True),
    sa.Column("closed_by", sa.String(40)),
)
deposits = sa.Table(
    "dmp_deposits",
    meta,
    sa.Column("unique_id", sa.String(200), primary_key=True),
    sa.Column("patient", sa.String(64), nullable=False),
    sa.Column("practitioner", sa.String(64), nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("content", sa.LargeBinary),
    sa.Column("error", sa.LargeBinary),
    sa.Column("state", sa.String(12), nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    _moment("accepted"),
    _moment("finished", null=True),
)
creations = sa.Table(
    "dmp_creations",
    meta,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("practitioner", sa.String(64), nullable=False, index=True),
    sa.Column("step", sa.String(20), nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    _moment("changed"),
)
audit = sa.Table(
    "dmp_audit",
    meta,
    sa.Column("id", sa.Integer, primary_key=True),
    _moment("at"),
    sa.Column("who", sa.String(64), nullable=False),
    sa.Column("structure", sa.String(64), nullable=False),
    sa.Column("patient", sa.String(64), nullable=False, index=True),
    sa.Column("mode", sa.String(20), nullable=False),
    sa.Column("what", sa.String(60), nullable=False),
    sa.Column("outcome", sa.String(40), nullable=False),
    sa.Column("consultation", sa.String(36), nullable=False, index=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)


def open_engine(url: str) -> sa.Engine:
    """The database at `sqlite:PATH` or `postgresql://…`. Raises BadSettings for anything else."""
    if url.startswith("sqlite:") and not url.startswith("sqlite:///"):
        url = "sqlite:///" + url.removeprefix("sqlite:")
    if url.startswith("postgresql:"):
        url = "postgresql+psycopg:" + url.removeprefix("postgresql:")
    try:
        engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        raise BadSettings(message("store.store", error=str(error))) from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_connect)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    elif engine.dialect.name != "postgresql":
        raise BadSettings(message("store.store-sqlite-postgresql"))
    return engine


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we send BEGIN IMMEDIATE ourselves
    connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    _switch_to_wal(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """When two processes open a new store at once, both switch its journal mode, and SQLite has no waiting for that: so we wait."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def exclusively(connection: sa.Connection) -> None:
    """Nobody else makes, migrates, rotates or writes meanwhile. On SQLite BEGIN IMMEDIATE has ensured that already."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('dmp_connector store'))"))


def among_others(connection: sa.Connection) -> None:
    """Nobody migrates or rotates meanwhile."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock_shared(hashtext('dmp_connector store'))"))


def forget_free_pages(engine: sa.Engine) -> None:
    """Removes values in clear, or under former keys, from the files too, as far as a database can.

    SQLite's secure_delete has overwritten the rows already; another process at work only keeps the size of the file.
    """
    if engine.dialect.name != "sqlite":
        return
    raw = engine.raw_connection()
    try:
        driver: Any = raw.driver_connection
        with suppress(sqlite3.OperationalError):
            driver.execute("VACUUM")
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        raw.close()
