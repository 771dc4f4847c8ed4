"""Rewriting a whole store in one transaction: from version 1, which sealed nothing, and at `rotate`.

    copy the table as it is -> make it anew -> write every row under the vault -> drop the copy

Either everything is under the new keys or nothing changed. The largest row is held in memory, never the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from dmp_connector.errors import BadSettings
from dmp_connector.model.audit import AuditRecord
from dmp_connector.model.dossier import AuthorisationStatus, Dossier, DossierState
from dmp_connector.model.people import AccessMode, Ins
from dmp_connector.store import rows
from dmp_connector.store import tables as t
from dmp_connector.store.rows import ConsultationRow, Deposit, DepositState, time
from dmp_connector.store.sealing import Vault
from dmp_connector.texts import message

Again = Callable[[Any], dict[str, Any]]
"""A row as it was -> the columns to insert (an automatic `id` is left to the database)."""


def rewrite(connection: sa.Connection, again: Mapping[sa.Table, Again]) -> None:
    """Raises SealBroken, BadSettings; the caller's transaction ends without effect then."""
    for table, renewed in again.items():
        copy = f"{table.name}_before"
        order = ", ".join(column.name for column in table.primary_key)
        connection.execute(sa.text(f'CREATE TABLE "{copy}" AS SELECT * FROM "{table.name}"'))  # noqa: S608 - names of ours
        connection.execute(sa.text(f'DROP TABLE "{table.name}"'))
        table.create(connection)
        with streamed(connection, sa.text(f'SELECT * FROM "{copy}" ORDER BY {order}')) as before:  # noqa: S608
            for row in before:
                connection.execute(table.insert().values(**_readable(table, renewed, row)))
        connection.execute(sa.text(f'DROP TABLE "{copy}"'))


def _readable(table: sa.Table, renewed: Again, row: Any) -> dict[str, Any]:
    try:
        return renewed(row)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadSettings(message("store.row-store-cannot-read-nothing", name=table.name, error=type(error).__name__)) from error


def streamed(connection: sa.Connection, query: sa.Executable) -> sa.Result[Any]:
    """Row by row: contents are large, a trail is long."""
    return connection.execute(query, execution_options={"stream_results": True, "yield_per": 10})


def rotated(old: Vault, new: Vault) -> dict[sa.Table, Again]:
    """Every table of this version under other keys."""

    def consent(row: Any) -> dict[str, Any]:
        plain = rows.consent_plain_of(old, row)
        return rows.consent_row(new, plain, Ins(*plain["ins"]).cx, row.structure) | {"withdrawn": row.withdrawn}

    return {
        t.dossiers: lambda row: rows.dossier_row(new, *rows.dossier_value(old, row)),
        t.consents: consent,
        t.consultations: lambda row: rows.consultation_row(new, rows.consultation_value(old, row)),
        t.deposits: lambda row: rows.deposit_row(new, rows.deposit_value(old, row)),
        t.creations: lambda row: rows.creation_row(new, rows.creation_plain_of(old, row), time(row.changed)),
        t.audit: lambda row: rows.audit_row(new, rows.audit_value(old, row)),
    }


def from_version_1(vault: Vault) -> dict[sa.Table, Again]:
    """Version 1 kept everything in clear: the same facts in other columns."""

    def dossier(row: Any) -> dict[str, Any]:
        status = AuthorisationStatus(row.authorisation) if row.authorisation else None
        attached = None if row.attached_to_mes is None else bool(row.attached_to_mes)
        known = Dossier(Ins.read_cx(row.patient), DossierState(row.state), status, bool(row.treating_doctor), attached)
        return rows.dossier_row(vault, known, time(row.seen))

    def consultation(row: Any) -> dict[str, Any]:
        closed = time(row.closed) if row.closed else None
        was = (row.id, row.patient, row.practitioner, row.structure, row.evidence, AccessMode(row.mode), row.reason)
        return rows.consultation_row(vault, ConsultationRow(*was, time(row.opened), time(row.closes), closed, row.closed_by or ""))

    def deposit(row: Any) -> dict[str, Any]:
        content = None if row.content is None else bytes(row.content)
        was = (row.unique_id, row.patient, row.practitioner, row.hash, json.loads(row.submission), content, time(row.accepted))
        finished = time(row.finished) if row.finished else None
        return rows.deposit_row(vault, Deposit(*was, DepositState(row.state), row.attempts, row.last_error, finished))

    def audit(row: Any) -> dict[str, Any]:
        rest = json.loads(row.record)
        conditions = tuple((name, bool(holds), said) for name, holds, said in rest["conditions"])
        facts = tuple((name, value) for name, value in rest["facts"])
        was = (time(row.at), row.who, row.structure, rest["evidence"], row.patient, row.mode, row.what, row.outcome)
        return rows.audit_row(vault, AuditRecord(*was, conditions, rest["reason"], row.consultation, facts))

    return {
        t.dossiers: dossier,
        t.consents: lambda row: rows.consent_row(vault, json.loads(row.consent), row.patient, row.structure) | {"withdrawn": row.withdrawn},
        t.consultations: consultation,
        t.deposits: deposit,
        t.creations: lambda row: rows.creation_row(vault, json.loads(row.creation), time(row.changed)),
        t.audit: audit,
    }
