"""The tables, as SQLAlchemy Core, the same on SQLite and PostgreSQL.

Instants are whole microseconds since 1970 UTC, addresses are text as printed by `Address`, hashes and
everything sealed are octets. Constraint names follow one convention so that migrations can name them.
Wide, rarely read columns (`content.sealed`, `summary`) stand apart from `message`, so that a folder of
100,000 messages is listed from 6 MB of pages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(instant: datetime) -> int:
    return (instant - EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    return EPOCH + timedelta(microseconds=value)


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware datetime, exact and comparable on every engine."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else from_microseconds(value)


class Integers(sa.types.TypeDecorator[Sequence[int]]):
    """A list of integers as one parameter: an array on PostgreSQL, JSON text on SQLite."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(sa.BigInteger()) if dialect.name == "postgresql" else sa.Text())

    def process_bind_param(self, value: Sequence[int] | None, dialect: sa.Dialect) -> Any:
        return list(value or ()) if dialect.name == "postgresql" else json.dumps(list(value or ()))


class Among(FunctionElement[Any]):
    """`column IN (a list of any length)` as one cached statement. The list is the parameter `name`."""

    inherit_cache = True
    type = sa.types.NullType()  # Boolean would add "= 1" on SQLite, and that hides the IN from every index


def among(column: sa.ColumnElement[int], name: str) -> Among:
    return Among(column, sa.bindparam(name, type_=Integers()))


@compiles(Among, "sqlite")
def _among_sqlite(element: Among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608


@compiles(Among, "postgresql")
def _among_postgresql(element: Among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY({values})"


def insert_new(dialect: str, table: sa.Table, *returning: sa.Column[Any]) -> Any:
    """INSERT that does nothing when the row is already there, and then returns no row."""
    made: Any = postgresql_insert(table) if dialect == "postgresql" else sqlite_insert(table)
    made = made.on_conflict_do_nothing()
    return made.returning(*returning) if returning else made


def upsert(dialect: str, table: sa.Table, *changed: str) -> Any:
    """INSERT that overwrites the `changed` columns of a row that is already there."""
    made: Any = postgresql_insert(table) if dialect == "postgresql" else sqlite_insert(table)
    return made.on_conflict_do_update(index_elements=list(table.primary_key), set_={name: made.excluded[name] for name in changed})


Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite numbers rows by itself only for INTEGER

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _column(name: str, kind: Any, *rest: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *rest, nullable=options.pop("nullable", False), **options)


def _points_to(name: str, target: str, **options: Any) -> sa.Column[Any]:
    return _column(name, Id, sa.ForeignKey(target), **options)


# -- accounts --------------------------------------------------------------------------------------------

account = sa.Table(
    "account",
    metadata,
    _column("id", Id, primary_key=True),
    _column("address", sa.Text),
    _column("key", sa.Text, unique=True),  # Address.key
    _column("kind", sa.Text),
    _column("role", sa.Text),
    _column("status", sa.Text),
    _column("display_name", sa.Text),
    _column("rpps", sa.Text, nullable=True),
    _column("password_hash", sa.Text, nullable=True),
    _column("uidvalidity", sa.BigInteger),  # the last one given to a mailbox: never given twice (RFC 3501 2.3.1.1)
    _column("created", Instant),
)

alias = sa.Table(
    "alias",
    metadata,
    _column("key", sa.Text, primary_key=True),
    _column("address", sa.Text),
    _points_to("account_id", "account.id", index=True),
)

member = sa.Table(
    "member",
    metadata,
    _points_to("organisation_id", "account.id", primary_key=True),
    _points_to("person_id", "account.id", primary_key=True, index=True),
    sqlite_with_rowid=False,
)

# -- mail ------------------------------------------------------------------------------------------------

mailbox = sa.Table(
    "mailbox",
    metadata,
    _column("id", Id, primary_key=True),
    _points_to("account_id", "account.id"),
    _column("name", sa.Text),
    _column("kind", sa.Text),
    _column("uidvalidity", sa.BigInteger),
    _column("uidnext", sa.BigInteger),
    _column("modseq", sa.BigInteger),
    _column("messages", sa.BigInteger),
    _column("unseen", sa.BigInteger),
    _column("size", sa.BigInteger),
    _column("special_use", sa.Text, nullable=True),
    _column("recent_from", sa.BigInteger),
    _column("expunged_from", sa.BigInteger),  # the log `expunged` is complete for modseqs above this one
    sa.UniqueConstraint("account_id", "name"),
)

subscription = sa.Table(  # outlives the mailbox, RFC 3501 6.3.6
    "subscription",
    metadata,
    _points_to("account_id", "account.id", primary_key=True),
    _column("name", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)

content = sa.Table(
    "content",
    metadata,
    _column("id", Id, primary_key=True),
    _column("domain", sa.Text),
    _column("hash", sa.LargeBinary),  # SHA-256 of the plain octets
    _column("size", sa.BigInteger),  # of the plain octets
    _column("sealed", sa.LargeBinary, nullable=True),
    _column("file", sa.Text, nullable=True),  # below the blob directory
    _column("created", Instant),
    sa.UniqueConstraint("domain", "hash"),
    sa.CheckConstraint("(sealed IS NULL) <> (file IS NULL)", name="one_place"),
)

summary = sa.Table(
    "summary",
    metadata,
    _points_to("content_id", "content.id", primary_key=True),
    _column("envelope", sa.LargeBinary),
    _column("bodystructure", sa.LargeBinary),
    _column("body", sa.LargeBinary),
)

message = sa.Table(
    "message",
    metadata,
    _points_to("mailbox_id", "mailbox.id", primary_key=True),
    _column("uid", sa.BigInteger, primary_key=True, autoincrement=False),
    _column("added", sa.BigInteger),  # the modseq that brought it
    _column("modseq", sa.BigInteger),
    _column("flags", sa.Text),  # sorted, separated by one blank
    _column("internal_date", Instant),
    _column("size", sa.BigInteger),
    _column("header_size", sa.BigInteger),
    _points_to("content_id", "content.id", index=True),
    _points_to("original_id", "content.id", nullable=True),  # evidence: as it came, before decryption
    sa.Index("ix_message_mailbox_id_modseq", "mailbox_id", "modseq"),
    sqlite_with_rowid=False,
)
sa.Index(
    "ix_message_original_id",
    message.c.original_id,
    sqlite_where=message.c.original_id.is_not(None),
    postgresql_where=message.c.original_id.is_not(None),
)

expunged = sa.Table(
    "expunged",
    metadata,
    _points_to("mailbox_id", "mailbox.id", primary_key=True),
    _column("modseq", sa.BigInteger, primary_key=True, autoincrement=False),
    _column("uid", sa.BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

delivered = sa.Table(
    "delivered",
    metadata,
    _points_to("mailbox_id", "mailbox.id", primary_key=True),
    _column("key", sa.LargeBinary, primary_key=True),
    _column("at", Instant, index=True),
    sqlite_with_rowid=False,
)

# -- queue -----------------------------------------------------------------------------------------------

queued = sa.Table(
    "queued",
    metadata,
    _column("id", Id, primary_key=True),
    _column("trace", sa.Text, unique=True),
    _points_to("content_id", "content.id", nullable=True, index=True),  # gone with the content once finished
    _column("size", sa.BigInteger),
    _column("sender", sa.Text, nullable=True),  # NULL is the null reverse-path
    _column("message_id", sa.Text, nullable=True),
    _column("ret", sa.Text, nullable=True),
    _column("envid", sa.Text, nullable=True),
    _column("utf8", sa.Boolean),
    _column("body_8bit", sa.Boolean),
    _column("origin", sa.Text),  # JSON of Origin
    _column("received", Instant),
    _column("finished", Instant, nullable=True, index=True),
)

delivery = sa.Table(
    "delivery",
    metadata,
    _column("id", Id, primary_key=True),
    _points_to("queued_id", "queued.id", index=True),
    _column("domain", sa.Text),
    _column("due", Instant),  # when a worker may take it; while leased, the end of the lease
    _column("attempts", sa.BigInteger),
    _column("lease_until", Instant, nullable=True),
    _column("lease_owner", sa.Text, nullable=True),
    _column("fence", sa.BigInteger),
    _column("held", sa.Boolean),
    _column("delay_told", Instant, nullable=True),
    _column("finished", Instant, nullable=True),
)
_CLAIMABLE = sa.and_(delivery.c.finished.is_(None), sa.not_(delivery.c.held))
sa.Index("ix_delivery_due", delivery.c.due, sqlite_where=_CLAIMABLE, postgresql_where=_CLAIMABLE)

recipient = sa.Table(
    "recipient",
    metadata,
    _column("id", Id, primary_key=True),
    _points_to("delivery_id", "delivery.id", index=True),
    _column("address", sa.Text),
    _column("notify", sa.Text),
    _column("notify_given", sa.Boolean),
    _column("original", sa.Text, nullable=True),
    _column("state", sa.Text),
    _column("reply", sa.Text, nullable=True),
    _column("changed", Instant, nullable=True),
)

# -- evidence --------------------------------------------------------------------------------------------

audit = sa.Table(
    "audit",
    metadata,
    _column("id", Id, primary_key=True),
    _column("at", Instant, index=True),
    _column("who", sa.Text),
    _column("what", sa.Text),
    _column("outcome", sa.Text),
    _column("trace", sa.Text, nullable=True),
    _column("sender", sa.Text, nullable=True),
    _column("recipient", sa.Text, nullable=True),
    _column("message_id", sa.Text, nullable=True),
    _column("facts", sa.Text),  # JSON
)
for _name in ("trace", "sender", "recipient", "message_id"):
    sa.Index(f"ix_audit_{_name}", audit.c[_name], sqlite_where=audit.c[_name].is_not(None), postgresql_where=audit.c[_name].is_not(None))

# -- keys and facts --------------------------------------------------------------------------------------

domain_key = sa.Table(
    "domain_key",
    metadata,
    _column("id", Id, primary_key=True),
    _column("domain", sa.Text, unique=True),  # "" is the probe that recognises the master key
    _column("wrapped", sa.LargeBinary),
    _column("created", Instant),
)

certificate = sa.Table(
    "certificate",
    metadata,
    _column("key", sa.Text, primary_key=True),  # Address.key
    _column("fingerprint", sa.LargeBinary, primary_key=True),  # SHA-256
    _column("der", sa.LargeBinary),
    _column("source", sa.Text),
    _column("first_seen", Instant),
    _column("seen", Instant),
)

capability = sa.Table(
    "capability",
    metadata,
    _column("key", sa.Text, primary_key=True),
    _column("der", sa.LargeBinary),  # SMIMECapabilities, RFC 8551 2.5.2
    _column("seen", Instant),
)

identity = sa.Table(  # keys and certificates of accounts
    "identity",
    metadata,
    _column("id", Id, primary_key=True),
    _points_to("account_id", "account.id", index=True),
    _column("state", sa.Text),
    _column("kind", sa.Text),
    _column("public", sa.LargeBinary, index=True),  # SHA-256 of the SubjectPublicKeyInfo
    _column("fingerprint", sa.LargeBinary, nullable=True, unique=True),  # SHA-256 of the certificate; none while it is requested
    _column("der", sa.LargeBinary, nullable=True),
    _column("chain", sa.LargeBinary),  # certificates, one behind the other
    _column("not_before", Instant, nullable=True),
    _column("not_after", Instant, nullable=True, index=True),
    _column("sealed", sa.LargeBinary, nullable=True),  # PKCS#8 under the domain's key
    _column("token", sa.Text, nullable=True),  # where the key is otherwise (RFC 7512)
    _column("csr", sa.LargeBinary, nullable=True),
    _column("added_by", sa.Text),
    _column("added", Instant),
    _column("changed", Instant),
    sa.CheckConstraint("(sealed IS NULL) <> (token IS NULL)", name="one_key"),
)

notice = sa.Table(  # what was told once about a certificate of ours
    "notice",
    metadata,
    _column("fingerprint", sa.LargeBinary, primary_key=True),
    _column("word", sa.Text, primary_key=True),
    _column("at", Instant),
)

fact = sa.Table(
    "fact",
    metadata,
    _column("name", sa.Text, primary_key=True),
    _column("value", sa.Text),  # JSON
    _column("at", Instant),
)

bell = sa.Table(  # SQLite only: which topic changed last, for the other processes
    "bell",
    metadata,
    _column("topic", sa.Text, primary_key=True),
    _column("number", sa.BigInteger, index=True),
    _column("worker", sa.Text),
)
