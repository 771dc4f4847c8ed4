"""The connector's own store: what must outlive a process, and as little clinical data as possible.

    dossiers        which patients have a DMP here, as TD0.2 last answered (REC_0.4-1010)
    consents        agreements collected: by whom, how, until when
    consultations   opened and closed, with mode and reason
    deposits        documents on their way to the DMP; the content leaves the row once the DMP has it
    creations       creations between two of their five steps
    audit           every act, never changed, never deleted here

What concerns a patient is sealed at rest under a key of the embedding program (`sealing`, `rows`); rows of a
patient are found by a keyed hash. SQLAlchemy Core on SQLite or PostgreSQL, synchronous: callers in an event
loop use `asyncio.to_thread`. Each method is one transaction; what it returns is on disk. The only package
that imports sqlalchemy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dmp_connector.errors import BadDocument, BadSettings, Unavailable
from dmp_connector.model.audit import AuditRecord
from dmp_connector.model.creation import Creation, consent_plain, consent_value, from_plain, to_plain
from dmp_connector.model.dossier import Consent, Dossier
from dmp_connector.model.people import Ins
from dmp_connector.store import rows
from dmp_connector.store import tables as t
from dmp_connector.store.rewrite import from_version_1, rewrite, rotated, streamed
from dmp_connector.store.rows import ConsultationRow, Deposit, DepositState, text
from dmp_connector.store.sealing import SealBroken, StoreKeys, Vault, Wrapped, new_vault, open_vault
from dmp_connector.texts import message

VERSION = 2


class DmpStore:
    """Opened by `open`; safe for threads."""

    def __init__(self, engine: sa.Engine, keys: StoreKeys, vault: Vault) -> None:
        self._engine, self._keys, self._vault = engine, keys, vault

    @classmethod
    def open(cls, url: str, keys: StoreKeys) -> DmpStore:
        """`sqlite:/path`, `sqlite:///path` or `postgresql+psycopg://...`. Makes the tables, seals a store of version 1.

        Raises BadSettings (another version, another key: nothing is changed), Unavailable.
        """
        engine = t.open_engine(url)
        try:
            with engine.begin() as connection:
                t.exclusively(connection)
                vault, sealed_now = _opened(connection, keys)
            if sealed_now:
                t.forget_free_pages(engine)
        except sa.exc.SQLAlchemyError as error:
            engine.dispose()
            raise Unavailable(f"store: {type(error).__name__}", sent=False) from error
        except BadSettings:
            engine.dispose()
            raise
        return cls(engine, keys, vault)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def rotate(self) -> None:
        """New keys for values and tokens, and every row rewritten under them; all or nothing. Raises SealBroken.

        Other processes that have the store open wait, and take the new keys at their next transaction.
        """
        with self._begin(alone=True) as (connection, old):
            vault, wrapped = new_vault(self._keys, old.number + 1)
            rewrite(connection, rotated(old, vault))
            connection.execute(t.keys.delete())
            connection.execute(t.keys.insert(), [row._asdict() for row in wrapped])
        t.forget_free_pages(self._engine)

    @contextmanager
    def _begin(self, *, alone: bool = False) -> Iterator[tuple[sa.Connection, Vault]]:
        """A transaction, and the vault of the keys that hold in it."""
        try:
            with self._engine.begin() as connection:
                (t.exclusively if alone else t.among_others)(connection)
                number = connection.scalar(sa.select(sa.func.max(t.keys.c.number)))
                if number != self._vault.number:  # another process rotated
                    self._vault, _ = open_vault(self._keys, _wrapped(connection))
                yield connection, self._vault
        except sa.exc.OperationalError as error:
            raise Unavailable(f"store: {type(error).__name__}", sent=False) from error

    # -- dossiers

    def note_dossier(self, dossier: Dossier, at: datetime) -> None:
        """Store the answer of TD0.2."""
        with self._begin() as (connection, vault):
            _upsert(connection, t.dossiers, rows.dossier_row(vault, dossier, at), key="patient")

    def dossiers(self) -> tuple[tuple[Dossier, datetime], ...]:
        """By INS."""
        with self._begin() as (connection, vault):
            found = connection.execute(t.dossiers.select()).all()
        return tuple(sorted((rows.dossier_value(vault, row) for row in found), key=lambda known: known[0].ins.cx))

    # -- consents

    def add_consent(self, consent: Consent, *, structure: str) -> None:
        """A consent as it was collected. `structure`: where."""
        with self._begin() as (connection, vault):
            row = rows.consent_row(vault, consent_plain(consent), consent.ins.cx, structure)
            connection.execute(t.consents.insert().values(**row))

    def latest_consent(self, ins: Ins, *, practitioner: str) -> Consent | None:
        """The newest agreement collected by this professional and not withdrawn, also when it has run out."""
        with self._begin() as (connection, vault):
            query = t.consents.select().where(_standing(vault, ins, practitioner)).order_by(t.consents.c.id.desc()).limit(1)
            found = connection.execute(query).one_or_none()
        return consent_value(rows.consent_plain_of(vault, found)) if found else None

    def withdraw_consents(self, ins: Ins, *, practitioner: str, at: datetime) -> int:
        """Withdraw the consents of this patient that this professional collected; returns how many."""
        with self._begin() as (connection, vault):
            change = t.consents.update().where(_standing(vault, ins, practitioner)).values(withdrawn=text(at))
            return connection.execute(change).rowcount

    # -- consultations

    def add_consultation(self, row: ConsultationRow, record: AuditRecord) -> None:
        """A consultation, open until it is closed, and its row of the audit: both or neither."""
        with self._begin() as (connection, vault):
            connection.execute(t.consultations.insert().values(**rows.consultation_row(vault, row)))
            connection.execute(t.audit.insert().values(**rows.audit_row(vault, record)))

    def open_consultations(self, *, practitioner: str | None = None, patient: str | None = None) -> tuple[ConsultationRow, ...]:
        """Those not closed, oldest first."""
        query = t.consultations.select().where(t.consultations.c.closed.is_(None)).order_by(t.consultations.c.opened)
        if practitioner is not None:
            query = query.where(t.consultations.c.practitioner == practitioner)
        with self._begin() as (connection, vault):
            if patient is not None:
                query = query.where(t.consultations.c.patient == vault.token(patient))
            return tuple(rows.consultation_value(vault, row) for row in connection.execute(query))

    def note_listed(self, identity: str, unique_ids: Sequence[str]) -> None:
        """What the last search of this consultation showed, in its order; nothing when there is no such consultation."""
        with self._begin() as (connection, vault):
            found = connection.execute(t.consultations.select().where(t.consultations.c.id == identity)).one_or_none()
            if found is not None:
                row = replace(rows.consultation_value(vault, found), listed=tuple(unique_ids))
                sealed = rows.consultation_row(vault, row)["sealed"]
                connection.execute(t.consultations.update().where(t.consultations.c.id == identity).values(sealed=sealed))

    def close_consultation(self, record: AuditRecord, *, by: str) -> bool:
        """Close `record.consultation` at `record.at`, and leave this row of it, both or neither.

        Returns True when this call did; a second close changes nothing.
        """
        wanted = (t.consultations.c.id == record.consultation) & t.consultations.c.closed.is_(None)
        with self._begin() as (connection, vault):
            closed = connection.execute(t.consultations.update().where(wanted).values(closed=text(record.at), closed_by=by)).rowcount == 1
            if closed:
                connection.execute(t.audit.insert().values(**rows.audit_row(vault, record)))
            return closed

    # -- deposits

    def accept_deposit(self, deposit: Deposit) -> Deposit:
        """Store it as pending, or return the one already there. Raises BadDocument: same id, other content."""
        fresh_deposit = replace(deposit, state=DepositState.PENDING, attempts=0, last_error="", finished=None)
        with self._begin() as (connection, vault):
            fresh = rows.deposit_row(vault, fresh_deposit)
            inserted = connection.execute(_insert(connection, t.deposits).values(**fresh).on_conflict_do_nothing()).rowcount
            known = rows.deposit_value(vault, connection.execute(_of_id(deposit.unique_id)).one())
            if inserted != 1 and known.hash != deposit.hash:
                raise BadDocument(message("store.another-document-already-deposited-under"))
            if known.state is DepositState.REFUSED:  # asked for again: pending again
                self._change(connection, deposit.unique_id, state=DepositState.PENDING.value, content=fresh["content"], finished=None)
                known = replace(known, state=DepositState.PENDING, content=deposit.content, finished=None)
        return known

    def pending_deposits(self) -> tuple[Deposit, ...]:
        """Deposits without an answer, oldest first, with their content."""
        query = t.deposits.select().where(t.deposits.c.state == DepositState.PENDING.value).order_by(t.deposits.c.accepted)
        with self._begin() as (connection, vault):
            return tuple(rows.deposit_value(vault, row) for row in connection.execute(query))

    def deposits_since(self, since: datetime, *, practitioner: str) -> tuple[Deposit, ...]:
        """Those a professional made since then, oldest first."""
        wanted = (t.deposits.c.accepted >= text(since)) & (t.deposits.c.practitioner == practitioner)
        query = t.deposits.select().where(wanted).order_by(t.deposits.c.accepted)
        with self._begin() as (connection, vault):
            return tuple(rows.deposit_value(vault, row) for row in connection.execute(query))

    def deposit(self, unique_id: str) -> Deposit | None:
        """The deposit of this uniqueId, None without."""
        with self._begin() as (connection, vault):
            row = connection.execute(_of_id(unique_id)).one_or_none()
        return rows.deposit_value(vault, row) if row else None

    def note_attempt(self, unique_id: str, error: str) -> None:
        """Count one more attempt, with the error that came instead of an answer."""
        with self._begin() as (connection, vault):
            said = rows.error_of(vault, unique_id, error)
            self._change(connection, unique_id, attempts=t.deposits.c.attempts + 1, error=said)

    def finish_deposit(self, unique_id: str, state: DepositState, *, at: datetime, error: str = "") -> None:
        """Final. The content is removed from the row: the DMP has it, or the caller still does."""
        with self._begin() as (connection, vault):
            said = rows.error_of(vault, unique_id, error)
            self._change(connection, unique_id, state=state.value, content=None, finished=text(at), error=said)

    @staticmethod
    def _change(connection: sa.Connection, unique_id: str, **values: Any) -> None:
        connection.execute(t.deposits.update().where(t.deposits.c.unique_id == unique_id).values(**values))

    # -- creations

    def save_creation(self, creation: Creation, at: datetime) -> None:
        """A creation where it stands now, over what was stored of it."""
        with self._begin() as (connection, vault):
            _upsert(connection, t.creations, rows.creation_row(vault, to_plain(creation), at), key="id")

    def creation(self, identity: str) -> Creation | None:
        """The creation of this id, None without."""
        with self._begin() as (connection, vault):
            found = connection.execute(t.creations.select().where(t.creations.c.id == identity)).one_or_none()
        return from_plain(rows.creation_plain_of(vault, found)) if found else None

    # -- audit

    def record(self, record: AuditRecord) -> None:
        """Append. There is no method to change or delete."""
        with self._begin() as (connection, vault):
            connection.execute(t.audit.insert().values(**rows.audit_row(vault, record)))

    def audit(self, *, patient: str | None = None, consultation: str | None = None, limit: int = 1000) -> tuple[AuditRecord, ...]:
        """Oldest first."""
        query = t.audit.select().order_by(t.audit.c.id.desc()).limit(limit)
        if consultation is not None:
            query = query.where(t.audit.c.consultation == consultation)
        with self._begin() as (connection, vault):
            if patient is not None:
                query = query.where(t.audit.c.patient == vault.token(patient))
            found = connection.execute(query).all()
        return tuple(rows.audit_value(vault, row) for row in reversed(found))

    def check(self) -> Sequence[str]:
        """Every invariant re-derived, every sealed value opened; each sentence is a violation."""
        with self._begin() as (connection, vault):
            return [*_unreadable(connection, vault), *_impossible(connection)]


def _opened(connection: sa.Connection, keys: StoreKeys) -> tuple[Vault, bool]:
    """The vault, and whether a store in clear was sealed just now."""
    found = connection.scalar(sa.select(t.version.c.version)) if sa.inspect(connection).has_table(t.version.name) else None
    if found not in {None, 1, VERSION}:
        raise BadSettings(message("store.store-version-program-knows-version", found=found, version=VERSION))
    if found == VERSION:
        wrapped = _wrapped(connection)
        if not wrapped:
            raise BadSettings(message("store.store-lost-own-keys-restore"))
        vault, again = open_vault(keys, wrapped)
        for row in again:
            where = (t.keys.c.number == row.number) & (t.keys.c.kind == row.kind)
            connection.execute(t.keys.update().where(where).values(wrapped=row.wrapped))
        return vault, False
    vault, fresh = new_vault(keys, 1)
    if found == 1:
        rewrite(connection, from_version_1(vault))
        connection.execute(t.version.update().values(version=VERSION))
    t.meta.create_all(connection)
    if found is None:
        connection.execute(t.version.insert().values(version=VERSION))
    connection.execute(t.keys.insert(), [row._asdict() for row in fresh])
    return vault, found == 1


def _wrapped(connection: sa.Connection) -> list[Wrapped]:
    return [Wrapped(*row) for row in connection.execute(t.keys.select())]


def _standing(vault: Vault, ins: Ins, practitioner: str) -> sa.ColumnElement[bool]:
    column = t.consents.c
    return (column.patient == vault.token(ins.cx)) & (column.practitioner == practitioner) & column.withdrawn.is_(None)


def _unreadable(connection: sa.Connection, vault: Vault) -> Iterator[str]:
    for table, again in rotated(vault, vault).items():
        with streamed(connection, table.select()) as found:
            for row in found:
                try:
                    renewed = again(row)
                except SealBroken as error:
                    yield f"{table.name}: {error}"
                    continue
                if renewed.get("patient", "") != getattr(row, "patient", ""):
                    yield f"{table.name}: a row of one patient is filed under another"


def _impossible(connection: sa.Connection) -> Iterator[str]:
    for row in connection.execute(t.deposits.select()):
        if row.state == DepositState.PENDING.value and row.content is None:
            yield f"deposit {row.unique_id}: pending without content"
        if row.state != DepositState.PENDING.value and row.content is not None:
            yield f"deposit {row.unique_id}: content kept after the end"
    for row in connection.execute(t.consultations.select()):
        if row.closed is not None and row.closed < row.opened:
            yield f"consultation {row.id}: closed before it opened"
        if not connection.scalar(sa.select(sa.func.count()).where(t.audit.c.consultation == row.id)):
            yield f"consultation {row.id}: not in the audit"


def _of_id(unique_id: str) -> sa.Select[Any]:
    return t.deposits.select().where(t.deposits.c.unique_id == unique_id)


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _upsert(connection: sa.Connection, table: sa.Table, values: dict[str, Any], *, key: str) -> None:
    rest = {name: value for name, value in values.items() if name != key}
    connection.execute(_insert(connection, table).values(**values).on_conflict_do_update(index_elements=[key], set_=rest))


__all__ = ["ConsultationRow", "Deposit", "DepositState", "DmpStore", "SealBroken", "StoreKeys"]
