"""Consultation d'annonce: a document not visible to the patient yet, and when that ends (CSP R1111-53, docs/reference/dmp.md 7.1).

    filed, hidden --14 days--> the patient is informed that it exists --1 month--> visible by itself

The professional should announce it before and make it visible (TD3.3b). The reminder is shown from three days before
the patient is informed until the document is visible. It knows our own deposits and the audit of what followed.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from dmp_connector.dossier.rights import Action
from dmp_connector.model.documents import Visibility
from dmp_connector.model.people import Ins
from dmp_connector.store import DepositState, DmpStore

TOLD_AFTER = timedelta(days=14)
REMINDED = timedelta(days=3)
_ENDS = frozenset({Action.MAKE_VISIBLE.value, Action.DELETE.value})


@dataclass(frozen=True, slots=True)
class Announcement:
    """A document of ours that its patient does not see yet. Moments are aware."""

    unique_id: str
    patient: Ins
    title: str
    hidden: datetime

    @property
    def told(self) -> datetime:
        """When the patient is informed that it exists."""
        return self.hidden + TOLD_AFTER

    @property
    def visible(self) -> datetime:
        """The same day of the next month, or its last day."""
        year, month = (self.hidden.year + 1, 1) if self.hidden.month == 12 else (self.hidden.year, self.hidden.month + 1)
        return self.hidden.replace(year=year, month=month, day=min(self.hidden.day, calendar.monthrange(year, month)[1]))

    def due(self, now: datetime) -> bool:
        """Whether the reminder is due."""
        return self.told - REMINDED <= now < self.visible


def announcements(store: DmpStore, practitioner: str, now: datetime) -> tuple[Announcement, ...]:
    """What this professional filed hidden and has neither shown nor deleted from here, oldest first. Reads the store."""
    return tuple(found for found in _hidden(store, practitioner, now) if found.unique_id not in _ended(store, found.patient))


def _hidden(store: DmpStore, practitioner: str, now: datetime) -> Iterator[Announcement]:
    for row in store.deposits_since(now - timedelta(days=32), practitioner=practitioner):
        if row.state is DepositState.SENT and Visibility.HIDDEN_FROM_PATIENT.value in row.submission["visibility"]:
            found = Announcement(row.unique_id, Ins.read_cx(row.patient), row.submission["title"], row.finished or row.accepted)
            if now < found.visible:
                yield found


def _ended(store: DmpStore, patient: Ins) -> set[str]:
    rows = store.audit(patient=patient.cx, limit=10_000)
    return {value for r in rows if r.what in _ENDS and r.outcome == "done" for name, value in r.facts if name == "document"}
