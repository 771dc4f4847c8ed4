"""One row of the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What the audit keeps of an act: who, when, on whom, in which mode, why, and the outcome. No clinical content."""

    at: datetime
    who: str
    structure: str
    evidence: str
    patient: str  # CX
    mode: str
    what: str
    outcome: str
    conditions: tuple[tuple[str, bool, str], ...] = ()
    reason: str = ""
    consultation: str = ""
    facts: tuple[tuple[str, str], ...] = ()
