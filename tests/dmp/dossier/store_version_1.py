"""The tables of the connector's store as version 1 had them: everything in clear. Frozen, for the migration's tests."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

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
