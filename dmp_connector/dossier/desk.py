"""The desk of one professional: the client, the store, the clock and the rules that every act of the service shares.

`decided` is the one place where an act is judged, audited and, when refused, raised. The audit is written
before the act: what was not recorded did not happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from dmp_connector.client import Call, Dmp
from dmp_connector.dossier.access import AccessRequest, AuditRecord, Decision, decide
from dmp_connector.dossier.rights import Action
from dmp_connector.errors import DmpError
from dmp_connector.model.dossier import Dossier
from dmp_connector.model.people import AccessMode
from dmp_connector.store import DmpStore


@dataclass(frozen=True, slots=True)
class DeskRules:
    """Policy as data. Durations say how long a consultation lasts at most, by mode."""

    consultation: timedelta = timedelta(minutes=30)
    emergency: timedelta = timedelta(minutes=15)
    consent: timedelta = timedelta(days=365)
    first_search: timedelta = timedelta(days=730)  # PDSM4DMP, exemples_usage: two years by serviceStartTime
    regulation_structures: frozenset[str] = frozenset()
    production: bool = False
    letter_address: tuple[str, ...] = ()

    def lasting(self, mode: AccessMode) -> timedelta:
        return self.consultation if mode is AccessMode.NORMAL else self.emergency


@dataclass(frozen=True)
class Desk:
    """Built once per professional and session."""

    dmp: Dmp
    store: DmpStore
    rules: DeskRules = field(default_factory=DeskRules)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def existence(self, call: Call) -> Dossier:
        """TD0.2, remembered and audited."""
        dossier = await self.dmp.td02_existence(call)
        await asyncio.to_thread(self.store.note_dossier, dossier, self.now())
        await self.note(call, Action.EXISTS.value, dossier.state.value)
        return dossier

    async def decided(
        self,
        call: Call,
        dossier: Dossier,
        action: Action,
        *,
        reason: str = "",
        confirmed: bool = False,
        own: bool = False,
        consultation: str = "",
    ) -> Decision:
        """Judge, audit, and raise the refusal. Returns the decision when it is granted."""
        consent = await asyncio.to_thread(self.store.latest_consent, dossier.ins, practitioner=call.actor.practitioner.id)
        decision = decide(
            AccessRequest(
                actor=call.actor,
                dossier=dossier,
                mode=call.mode,
                action=action,
                now=self.now(),
                known_consent=consent,
                reason=reason,
                confirmed=confirmed,
                own=own,
                regulation_structures=self.rules.regulation_structures,
                production=self.rules.production,
            )
        )
        await asyncio.to_thread(self.store.record, replace(decision.audit, consultation=consultation))
        decision.require()
        return decision

    async def note(self, call: Call, what: str, outcome: str, *, consultation: str = "", reason: str = "", **facts: str) -> None:
        """An audit record of something done or tried."""
        record = AuditRecord(
            at=self.now(),
            who=call.actor.practitioner.id,
            structure=call.actor.structure.id,
            evidence=call.actor.evidence,
            patient=call.ins.cx if call.ins else "",
            mode=call.mode.value,
            what=what,
            outcome=outcome,
            reason=reason,
            consultation=consultation,
            facts=tuple(sorted(facts.items())),
        )
        await asyncio.to_thread(self.store.record, record)

    async def refused(self, call: Call, what: str, error: DmpError, *, consultation: str = "") -> None:
        """The audit of a refusal by the server. The text is the server's; it names no content."""
        await self.note(call, what, "refused", consultation=consultation, error=type(error).__name__, text=str(error)[:200])
