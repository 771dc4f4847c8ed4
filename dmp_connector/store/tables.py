"""Tables and engines of the connector's store: SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from dmp_connector.errors import BadSettings

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
dossiers = sa.Table(
    "dmp_dossiers",
    meta,
    sa.Column("patient", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("authorisation", sa.String(16)),
    sa.Column("treating_doctor", sa.Boolean, nullable=False),
    sa.Column("attached_to_mes", sa.Boolean),
    _moment("seen"),
)
consents = sa.Table(
    "dmp_consents",
    meta,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("patient", sa.String(64), nullable=False, index=True),
    sa.Column("practitioner", sa.String(64), nullable=False),
    sa.Column("structure", sa.String(64), nullable=False),
    sa.Column("consent", sa.Text, nullable=False),
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
    sa.Column("reason", sa.Text, nullable=False),
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
    sa.Column("hash", sa.String(40), nullable=False),
    sa.Column("submission", sa.Text, nullable=False),
    sa.Column("content", sa.LargeBinary),
    sa.Column("state", sa.String(12), nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("last_error", sa.Text, nullable=False),
    _moment("accepted"),
    _moment("finished", null=True),
)
creations = sa.Table(
    "dmp_creations",
    meta,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("practitioner", sa.String(64), nullable=False, index=True),
    sa.Column("step", sa.String(20), nullable=False),
    sa.Column("creation", sa.Text, nullable=False),
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
    sa.Column("record", sa.Text, nullable=False),
)


def open_engine(url: str) -> sa.Engine:
    if url.startswith("sqlite:") and not url.startswith("sqlite:///"):
        url = "sqlite:///" + url.removeprefix("sqlite:")
    if url.startswith("postgresql:"):
        url = "postgresql+psycopg:" + url.removeprefix("postgresql:")
    try:
        engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        raise BadSettings(f"store: {error}") from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_connect)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    elif engine.dialect.name != "postgresql":
        raise BadSettings("store: sqlite or postgresql")
    return engine


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN IMMEDIATE ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
