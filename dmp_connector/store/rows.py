"""What the store takes and gives back, and how each value becomes the clear and the sealed half of a row.

In clear: whose act (a professional, a structure), when, in which mode, the outcome, and the ids of documents
and consultations. Sealed: the INS, names, reasons, addresses, titles, the CDA, hashes, and the texts of servers.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dmp_connector.model.audit import AuditRecord
from dmp_connector.model.dossier import AuthorisationStatus, Dossier, DossierState
from dmp_connector.model.people import AccessMode, Ins
from dmp_connector.store.sealing import Vault


class DepositState(enum.StrEnum):
    """PENDING: no answer yet, the content is kept. The others are final and keep no content."""

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
    """A consultation as stored; `closed` None while it is open (also past `closes`, until someone looks).

    `listed`: uniqueIds in the order in which its last search was shown, so that a person can name one by its number.
    """

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
    listed: tuple[str, ...] = ()


def text(moment: datetime) -> str:
    """A moment as the column holds it: UTC, ISO 8601, so that order is order in time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def time(text: str) -> datetime:
    """The inverse of `text`."""
    return datetime.fromisoformat(text)


def dossier_row(vault: Vault, dossier: Dossier, at: datetime) -> dict[str, Any]:
    """A dossier as a row; what concerns the patient is sealed."""
    token = vault.token(dossier.ins.cx)
    known = {
        "patient": dossier.ins.cx,
        "state": dossier.state.value,
        "authorisation": dossier.authorisation.value if dossier.authorisation else None,
        "treating_doctor": dossier.treating_doctor,
        "attached_to_mes": dossier.attached_to_mes,
    }
    return {"patient": token, "sealed": _sealed(vault, known, "dmp_dossiers", token), "seen": text(at)}


def dossier_value(vault: Vault, row: Any) -> tuple[Dossier, datetime]:
    """The dossier of such a row, and when it was seen."""
    known = _opened(vault, row.sealed, "dmp_dossiers", row.patient)
    status = known["authorisation"]
    return (
        Dossier(
            Ins.read_cx(known["patient"]),
            DossierState(known["state"]),
            AuthorisationStatus(status) if status else None,
            known["treating_doctor"],
            known["attached_to_mes"],
        ),
        time(row.seen),
    )


def consent_row(vault: Vault, plain: dict[str, Any], patient: str, structure: str) -> dict[str, Any]:
    """`plain`: the consent as JSON values. The row's number is the database's: it is bound to patient and moment."""
    token, at = vault.token(patient), text(time(plain["at"]))
    return {
        "patient": token,
        "practitioner": plain["by"][0],
        "structure": structure,
        "sealed": _sealed(vault, plain, "dmp_consents", token, at),
        "at": at,
        "until": text(time(plain["until"])),
    }


def consent_plain_of(vault: Vault, row: Any) -> dict[str, Any]:
    """The plain values of a consent's row."""
    return _opened(vault, row.sealed, "dmp_consents", row.patient, row.at)


def consultation_row(vault: Vault, row: ConsultationRow) -> dict[str, Any]:
    """A consultation as a row."""
    known = {"patient": row.patient, "reason": row.reason, "listed": row.listed}
    return {
        "id": row.id,
        "patient": vault.token(row.patient),
        "practitioner": row.practitioner,
        "structure": row.structure,
        "evidence": row.evidence,
        "mode": row.mode.value,
        "sealed": _sealed(vault, known, "dmp_consultations", row.id),
        "opened": text(row.opened),
        "closes": text(row.closes),
        "closed": text(row.closed) if row.closed else None,
        "closed_by": row.closed_by or None,
    }


def consultation_value(vault: Vault, row: Any) -> ConsultationRow:
    """The inverse of `consultation_row`."""
    known = _opened(vault, row.sealed, "dmp_consultations", row.id)
    return ConsultationRow(
        row.id,
        known["patient"],
        row.practitioner,
        row.structure,
        row.evidence,
        AccessMode(row.mode),
        known["reason"],
        time(row.opened),
        time(row.closes),
        time(row.closed) if row.closed else None,
        row.closed_by or "",
        tuple(known.get("listed", ())),
    )


def deposit_row(vault: Vault, deposit: Deposit) -> dict[str, Any]:
    """A deposit as a row, without its content."""
    known = {"patient": deposit.patient, "hash": deposit.hash, "submission": deposit.submission}
    return {
        "unique_id": deposit.unique_id,
        "patient": vault.token(deposit.patient),
        "practitioner": deposit.practitioner,
        "sealed": _sealed(vault, known, "dmp_deposits", deposit.unique_id),
        "content": content_of(vault, deposit),
        "error": error_of(vault, deposit.unique_id, deposit.last_error),
        "state": deposit.state.value,
        "attempts": deposit.attempts,
        "accepted": text(deposit.accepted),
        "finished": text(deposit.finished) if deposit.finished else None,
    }


def content_of(vault: Vault, deposit: Deposit) -> bytes | None:
    """The content of a deposit, sealed; None when it has none any more."""
    return None if deposit.content is None else vault.seal(deposit.content, "dmp_deposits", "content", deposit.unique_id)


def error_of(vault: Vault, unique_id: str, error: str) -> bytes | None:
    """The text of an error, sealed; None for none."""
    return vault.seal(error.encode(), "dmp_deposits", "error", unique_id) if error else None


def deposit_value(vault: Vault, row: Any) -> Deposit:
    """The deposit of such a row, its content opened."""
    known = _opened(vault, row.sealed, "dmp_deposits", row.unique_id)
    return Deposit(
        row.unique_id,
        known["patient"],
        row.practitioner,
        known["hash"],
        known["submission"],
        None if row.content is None else vault.open(row.content, "dmp_deposits", "content", row.unique_id),
        time(row.accepted),
        DepositState(row.state),
        row.attempts,
        vault.open(row.error, "dmp_deposits", "error", row.unique_id).decode() if row.error else "",
        time(row.finished) if row.finished else None,
    )


def creation_row(vault: Vault, plain: dict[str, Any], changed: datetime) -> dict[str, Any]:
    """`plain`: the creation as JSON values."""
    return {
        "id": plain["id"],
        "practitioner": plain["practitioner"],
        "step": plain["step"],
        "sealed": _sealed(vault, plain, "dmp_creations", plain["id"]),
        "changed": text(changed),
    }


def creation_plain_of(vault: Vault, row: Any) -> dict[str, Any]:
    """The plain values of a creation's row."""
    return _opened(vault, row.sealed, "dmp_creations", row.id)


def audit_row(vault: Vault, record: AuditRecord) -> dict[str, Any]:
    """A record of the audit as a row: what concerns the patient is sealed, bound to the columns in clear."""
    clear = {
        "at": text(record.at),
        "who": record.who,
        "structure": record.structure,
        "patient": vault.token(record.patient),
        "mode": record.mode,
        "what": record.what,
        "outcome": record.outcome,
        "consultation": record.consultation,
    }
    rest = {
        "patient": record.patient,
        "evidence": record.evidence,
        "conditions": record.conditions,
        "reason": record.reason,
        "facts": record.facts,
    }
    return clear | {"sealed": _sealed(vault, rest, "dmp_audit", *clear.values())}


def audit_value(vault: Vault, row: Any) -> AuditRecord:
    """Bound to everything in clear: an altered row of the audit does not open. Raises SealBroken."""
    clear = (row.at, row.who, row.structure, row.patient, row.mode, row.what, row.outcome, row.consultation)
    rest = _opened(vault, row.sealed, "dmp_audit", *clear)
    return AuditRecord(
        time(row.at),
        row.who,
        row.structure,
        rest["evidence"],
        rest["patient"],
        row.mode,
        row.what,
        row.outcome,
        tuple((name, bool(holds), text) for name, holds, text in rest["conditions"]),
        rest["reason"],
        row.consultation,
        tuple((name, value) for name, value in rest["facts"]),
    )


def _sealed(vault: Vault, plain: dict[str, Any], table: str, *row: str) -> bytes:
    return vault.seal(json.dumps(plain, ensure_ascii=False).encode(), table, "sealed", *row)


def _opened(vault: Vault, sealed: bytes, table: str, *row: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(vault.open(sealed, table, "sealed", *row))
    return found
