"""The connector's own store: what must outlive a process, and nothing clinical beyond need.

    dossiers        which patients have a DMP here, as TD0.2 last said (REC_0.4-1010)
    consents        agreements collected: by whom, how, until when
    consultations   opened and closed, with mode and reason
    deposits        documents on their way to the DMP; the content leaves the row once the DMP has it
    creations       creations between two of their five steps
    audit           every act, never changed, never deleted here

SQLAlchemy Core on SQLite or PostgreSQL, synchronous: callers in an event loop use `asyncio.to_thread`. Each
method is one transaction; what it returns is on disk. The only module of the package that imports sqlalchemy.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dmp_connector.dossier.access import AuditRecord
from dmp_connector.dossier.creation import Creation, consent_plain, consent_value, from_plain, to_plain
from dmp_connector.errors import BadDocument, BadSettings, Unavailable
from dmp_connector.model.dossier import AuthorisationStatus, Consent, Dossier, DossierState
from dmp_connector.model.people import AccessMode, Ins
from dmp_connector.store import tables as t

VERSION = 1


class DepositState(enum.StrEnum):
    PENDING = "pending"
    SENT = "sent"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Deposit:
    """A document on its way. `submission`: JSON of what is needed to send it again. `content` is gone once sent."""

    unique_id: str
    patient: str
    practitioner: str
    hash: str
    submission: dict[str, Any] = field(repr=False)
    content: bytes | None = field(repr=False)
    accepted: datetime
    state: DepositState = DepositState.PENDING
    attempts: int = 0
    last_error: str = ""
    finished: datetime | None = None


@dataclass(frozen=True, slots=True)
class ConsultationRow:
    """A consultation as stored; `closed` None while it is open (also past `closes`, until someone looks)."""

    id: str
    patient: str
    practitioner: str
    structure: str
    evidence: str
    mode: AccessMode
    reason: str
    opened: datetime
    closes: datetime
    closed: datetime | None = None
    closed_by: str = ""


class DmpStore:
    """Opened by `open`; safe for threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> DmpStore:
        """`sqlite:/path`, `sqlite:///path` or `postgresql+psycopg://...`. Creates the tables. Raises BadSettings, Unavailable."""
        engine = t.open_engine(url)
        try:
            t.meta.create_all(engine)
            with engine.begin() as connection:
                found = connection.scalar(sa.select(t.version.c.version))
                if found is None:
                    connection.execute(t.version.insert().values(version=VERSION))
        except sa.exc.SQLAlchemyError as error:
            raise Unavailable(f"store: {type(error).__name__}", sent=False) from error
        if found not in {None, VERSION}:
            raise BadSettings(f"the store has version {found}, this program knows version {VERSION}")
        return cls(engine)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.OperationalError as error:
            raise Unavailable(f"store: {type(error).__name__}", sent=False) from error

    # -- dossiers

    def note_dossier(self, dossier: Dossier, at: datetime) -> None:
        """Remember what TD0.2 said."""
        values = {
            "patient": dossier.ins.cx,
            "state": dossier.state.value,
            "authorisation": dossier.authorisation.value if dossier.authorisation else None,
            "treating_doctor": dossier.treating_doctor,
            "attached_to_mes": dossier.attached_to_mes,
            "seen": _text(at),
        }
        with self._begin() as connection:
            _upsert(connection, t.dossiers, values, key="patient")

    def dossiers(self) -> tuple[tuple[Dossier, datetime], ...]:
        with self._begin() as connection:
            rows = connection.execute(t.dossiers.select().order_by(t.dossiers.c.patient)).all()
        return tuple((_dossier(row), _time(row.seen)) for row in rows)

    # -- consents

    def add_consent(self, consent: Consent, *, structure: str) -> None:
        with self._begin() as connection:
            connection.execute(
                t.consents.insert().values(
                    patient=consent.ins.cx,
                    practitioner=consent.collected_by.id,
                    structure=structure,
                    consent=json.dumps(consent_plain(consent)),
                    at=_text(consent.at),
                    until=_text(consent.until),
                )
            )

    def latest_consent(self, ins: Ins, *, practitioner: str) -> Consent | None:
        """The newest agreement collected by this professional and not withdrawn, also when it has run out."""
        wanted = (t.consents.c.patient == ins.cx) & (t.consents.c.practitioner == practitioner) & t.consents.c.withdrawn.is_(None)
        with self._begin() as connection:
            found = connection.scalar(sa.select(t.consents.c.consent).where(wanted).order_by(t.consents.c.id.desc()).limit(1))
        return consent_value(json.loads(found)) if found else None

    def withdraw_consents(self, ins: Ins, *, practitioner: str, at: datetime) -> int:
        wanted = (t.consents.c.patient == ins.cx) & (t.consents.c.practitioner == practitioner) & t.consents.c.withdrawn.is_(None)
        with self._begin() as connection:
            return connection.execute(t.consents.update().where(wanted).values(withdrawn=_text(at))).rowcount

    # -- consultations

    def add_consultation(self, row: ConsultationRow) -> None:
        with self._begin() as connection:
            connection.execute(
                t.consultations.insert().values(
                    id=row.id,
                    patient=row.patient,
                    practitioner=row.practitioner,
                    structure=row.structure,
                    evidence=row.evidence,
                    mode=row.mode.value,
                    reason=row.reason,
                    opened=_text(row.opened),
                    closes=_text(row.closes),
                )
            )

    def open_consultations(self, *, practitioner: str | None = None, patient: str | None = None) -> tuple[ConsultationRow, ...]:
        """Those not closed, oldest first."""
        query = t.consultations.select().where(t.consultations.c.closed.is_(None)).order_by(t.consultations.c.opened)
        if practitioner is not None:
            query = query.where(t.consultations.c.practitioner == practitioner)
        if patient is not None:
            query = query.where(t.consultations.c.patient == patient)
        with self._begin() as connection:
            return tuple(_consultation(row) for row in connection.execute(query))

    def close_consultation(self, identity: str, *, at: datetime, by: str) -> bool:
        """True when this call closed it; a second close changes nothing."""
        wanted = (t.consultations.c.id == identity) & t.consultations.c.closed.is_(None)
        with self._begin() as connection:
            return connection.execute(t.consultations.update().where(wanted).values(closed=_text(at), closed_by=by)).rowcount == 1

    # -- deposits

    def accept_deposit(self, deposit: Deposit) -> Deposit:
        """Keep it as pending, or give back the one already there. Raises BadDocument: same id, other content."""
        with self._begin() as connection:
            inserted = connection.execute(_insert(connection, t.deposits).values(**_deposit_row(deposit)).on_conflict_do_nothing()).rowcount
            row = connection.execute(t.deposits.select().where(t.deposits.c.unique_id == deposit.unique_id)).one()
            known = _deposit(row)
            if inserted != 1 and known.hash != deposit.hash:
                raise BadDocument("another document was already deposited under this uniqueId")
            if known.state is DepositState.REFUSED:  # asked for again: a new chance
                connection.execute(
                    t.deposits.update()
                    .where(t.deposits.c.unique_id == deposit.unique_id)
                    .values(state=DepositState.PENDING.value, content=deposit.content, finished=None)
                )
                known = replace(known, state=DepositState.PENDING, content=deposit.content, finished=None)
        return known

    def pending_deposits(self) -> tuple[Deposit, ...]:
        with self._begin() as connection:
            rows = connection.execute(
                t.deposits.select().where(t.deposits.c.state == DepositState.PENDING.value).order_by(t.deposits.c.accepted)
            ).all()
        return tuple(_deposit(row) for row in rows)

    def deposit(self, unique_id: str) -> Deposit | None:
        with self._begin() as connection:
            row = connection.execute(t.deposits.select().where(t.deposits.c.unique_id == unique_id)).one_or_none()
        return _deposit(row) if row else None

    def note_attempt(self, unique_id: str, error: str) -> None:
        with self._begin() as connection:
            connection.execute(
                t.deposits.update().where(t.deposits.c.unique_id == unique_id).values(attempts=t.deposits.c.attempts + 1, last_error=error)
            )

    def finish_deposit(self, unique_id: str, state: DepositState, *, at: datetime, error: str = "") -> None:
        """Terminal. The content leaves the row: the DMP has it, or the caller still does."""
        with self._begin() as connection:
            connection.execute(
                t.deposits.update()
                .where(t.deposits.c.unique_id == unique_id)
                .values(state=state.value, content=None, finished=_text(at), last_error=error)
            )

    # -- creations

    def save_creation(self, creation: Creation, at: datetime) -> None:
        values = {
            "id": creation.id,
            "practitioner": creation.practitioner,
            "step": creation.step.value,
            "creation": json.dumps(to_plain(creation)),
            "changed": _text(at),
        }
        with self._begin() as connection:
            _upsert(connection, t.creations, values, key="id")

    def creation(self, identity: str) -> Creation | None:
        with self._begin() as connection:
            found = connection.scalar(sa.select(t.creations.c.creation).where(t.creations.c.id == identity))
        return from_plain(json.loads(found)) if found else None

    # -- audit

    def record(self, record: AuditRecord) -> None:
        """Append. There is no method to change or delete."""
        with self._begin() as connection:
            connection.execute(
                t.audit.insert().values(
                    at=_text(record.at),
                    who=record.who,
                    structure=record.structure,
                    patient=record.patient,
                    mode=record.mode,
                    what=record.what,
                    outcome=record.outcome,
                    consultation=record.consultation,
                    record=json.dumps(
                        {
                            "evidence": record.evidence,
                            "conditions": record.conditions,
                            "reason": record.reason,
                            "facts": record.facts,
                        },
                        ensure_ascii=False,
                    ),
                )
            )

    def audit(self, *, patient: str | None = None, consultation: str | None = None, limit: int = 1000) -> tuple[AuditRecord, ...]:
        """Oldest first."""
        query = t.audit.select().order_by(t.audit.c.id.desc()).limit(limit)
        if patient is not None:
            query = query.where(t.audit.c.patient == patient)
        if consultation is not None:
            query = query.where(t.audit.c.consultation == consultation)
        with self._begin() as connection:
            rows = connection.execute(query).all()
        return tuple(_audit_record(row) for row in reversed(rows))

    def check(self) -> Sequence[str]:
        """Every invariant re-derived; each sentence is a violation."""
        problems = []
        with self._begin() as connection:
            for row in connection.execute(t.deposits.select()):
                if row.state == DepositState.PENDING.value and row.content is None:
                    problems.append(f"deposit {row.unique_id}: pending without content")
                if row.state != DepositState.PENDING.value and row.content is not None:
                    problems.append(f"deposit {row.unique_id}: content kept after the end")
            for row in connection.execute(t.consultations.select()):
                if row.closed is not None and row.closed < row.opened:
                    problems.append(f"consultation {row.id}: closed before it opened")
                audited = sa.select(sa.func.count()).where(t.audit.c.consultation == row.id)
                if not connection.scalar(audited):
                    problems.append(f"consultation {row.id}: not in the audit")
        return problems


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _upsert(connection: sa.Connection, table: sa.Table, values: dict[str, Any], *, key: str) -> None:
    rest = {name: value for name, value in values.items() if name != key}
    connection.execute(_insert(connection, table).values(**values).on_conflict_do_update(index_elements=[key], set_=rest))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _dossier(row: Any) -> Dossier:
    return Dossier(
        Ins.read_cx(row.patient),
        DossierState(row.state),
        AuthorisationStatus(row.authorisation) if row.authorisation else None,
        row.treating_doctor,
        row.attached_to_mes,
    )


def _consultation(row: Any) -> ConsultationRow:
    return ConsultationRow(
        row.id,
        row.patient,
        row.practitioner,
        row.structure,
        row.evidence,
        AccessMode(row.mode),
        row.reason,
        _time(row.opened),
        _time(row.closes),
        _time(row.closed) if row.closed else None,
        row.closed_by or "",
    )


def _deposit_row(deposit: Deposit) -> dict[str, Any]:
    return {
        "unique_id": deposit.unique_id,
        "patient": deposit.patient,
        "practitioner": deposit.practitioner,
        "hash": deposit.hash,
        "submission": json.dumps(deposit.submission),
        "content": deposit.content,
        "state": deposit.state.value,
        "attempts": 0,
        "last_error": "",
        "accepted": _text(deposit.accepted),
    }


def _deposit(row: Any) -> Deposit:
    return Deposit(
        row.unique_id,
        row.patient,
        row.practitioner,
        row.hash,
        json.loads(row.submission),
        row.content,
        _time(row.accepted),
        DepositState(row.state),
        row.attempts,
        row.last_error,
        _time(row.finished) if row.finished else None,
    )


def _audit_record(row: Any) -> AuditRecord:
    rest = json.loads(row.record)
    return AuditRecord(
        _time(row.at),
        row.who,
        row.structure,
        rest["evidence"],
        row.patient,
        row.mode,
        row.what,
        row.outcome,
        tuple((name, bool(holds), text) for name, holds, text in rest["conditions"]),
        rest["reason"],
        row.consultation,
        tuple((name, value) for name, value in rest["facts"]),
    )
