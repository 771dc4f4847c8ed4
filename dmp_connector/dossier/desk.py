"""The desk of one professional: the client, the store, the clock and the rules that every act of the service shares.

`decided` is the one place where an act is decided, audited and, when refused, raised. The audit is written
before the act: what was not recorded is not done. `asked` is the one place where the DMP is asked: an error or
silence instead of an answer leaves a row too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from dmp_connector.client import Call, Dmp
from dmp_connector.dossier.access import AccessRequest, Decision, decide
from dmp_connector.dossier.rights import Action
from dmp_connector.errors import BadAnswer, DmpError, LegacyDisabled, ManagedByMes, Unavailable
from dmp_connector.model.audit import AuditRecord
from dmp_connector.model.dossier import Dossier
from dmp_connector.model.people import AccessMode
from dmp_connector.store import DmpStore

T = TypeVar("T")

MANAGED = "managed by Mon espace santé"


@dataclass(frozen=True, slots=True)
class DeskRules:
    """Policy as data. Durations are the longest of a consultation, by mode."""

    consultation: timedelta = timedelta(minutes=30)
    emergency: timedelta = timedelta(minutes=15)
    consent: timedelta = timedelta(days=365)
    same_deposit: timedelta = timedelta(days=30)  # the same PDF under the same title within it is the same document
    first_search: timedelta = timedelta(days=730)  # PDSM4DMP, exemples_usage: two years by serviceStartTime
    regulation_structures: frozenset[str] = frozenset()
    production: bool = False
    letter_address: tuple[str, ...] = ()

    def lasting(self, mode: AccessMode) -> timedelta:
        """How long a consultation in this mode lasts at most."""
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
        dossier = await self.asked(call, Action.EXISTS.value, self.dmp.td02_existence(call))
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
        facts: Mapping[str, str] | None = None,
    ) -> Decision:
        """Judge, audit, and raise the refusal. Returns the decision when it is granted."""
        decision = await self.judged(call, dossier, action, reason=reason, confirmed=confirmed, own=own)
        record = replace(decision.audit, consultation=consultation, facts=tuple(sorted((facts or {}).items())))
        await asyncio.to_thread(self.store.record, record)
        try:
            decision.require()
        except DmpError as error:
            error.audited = True
            raise
        return decision

    async def judged(
        self, call: Call, dossier: Dossier, action: Action, *, reason: str = "", confirmed: bool = False, own: bool = False
    ) -> Decision:
        """The decision alone: nothing is recorded, nothing raised. Used before a person is asked a question."""
        consent = await asyncio.to_thread(self.store.latest_consent, dossier.ins, practitioner=call.actor.practitioner.id)
        return decide(
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

    async def asked(self, call: Call, what: str, answer: Awaitable[T], *, consultation: str = "", **facts: str) -> T:
        """The DMP's answer; a refusal, silence or nonsense is audited before it is raised."""
        try:
            return await answer
        except DmpError as error:
            await self.refused(call, what, error, consultation=consultation, **facts)
            raise

    async def note(self, call: Call, what: str, outcome: str, *, consultation: str = "", reason: str = "", **facts: str) -> None:
        """An audit record of something done or tried."""
        record = self.row(call, what, outcome, consultation=consultation, reason=reason, **facts)
        await asyncio.to_thread(self.store.record, record)

    def row(self, call: Call, what: str, outcome: str, *, consultation: str = "", reason: str = "", **facts: str) -> AuditRecord:
        """The same, for what writes it together with something else."""
        return AuditRecord(
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

    async def refused(self, call: Call, what: str, error: DmpError, *, consultation: str = "", **facts: str) -> None:
        """The audit of an act that failed, once for each error. The server's own text is not kept, because it may name content."""
        if error.audited:
            return
        error.audited = True
        facts |= {"error": type(error).__name__, "text": str(error)[:200]}
        await self.note(call, what, outcome_of(error), consultation=consultation, **facts)


def outcome_of(error: DmpError) -> str:
    """The outcome that the audit gives to an error."""
    if isinstance(error, ManagedByMes | LegacyDisabled):
        return MANAGED
    if isinstance(error, Unavailable):
        return "no answer" if error.sent else "unreachable"
    return "unreadable answer" if isinstance(error, BadAnswer) else "refused"
