"""The dossier service: what a professional does with a patient's DMP, each act judged and audited.

Existence and authorisation, professionals, lists, the state of documents, closing and reopening. Consulting is
in `consultation`, feeding in `deposits`, creating in `workflow`; they share one `Desk`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import date, datetime
from typing import TypeVar

from dmp_connector.client import Call, IdentityQuery, ListBy, ListMode
from dmp_connector.dossier.access import NotEntitled
from dmp_connector.dossier.desk import Desk
from dmp_connector.dossier.rights import Action, possible
from dmp_connector.errors import (
    AccessDenied,
    ConsentMissing,
    DmpError,
    DocumentUnknown,
    LegacyDisabled,
    ManagedByMes,
    NoDossier,
    Refused,
)
from dmp_connector.model.documents import AvailabilityStatus, DocumentEntry, Visibility
from dmp_connector.model.dossier import (
    AdministrativeData,
    Authorisation,
    Candidate,
    Consent,
    ConsentBasis,
    ConsentMeans,
    Dossier,
    DossierState,
    DossierSummary,
)
from dmp_connector.model.people import AccessMode

T = TypeVar("T")


class DossierService:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # -- may I

    async def existence(self, call: Call) -> Dossier:
        return await self._desk.existence(call)

    async def authorise(
        self, call: Call, *, confirmed: bool, means: ConsentMeans = ConsentMeans.ORAL, basis: ConsentBasis = ConsentBasis.EXPLICIT,
        treating_doctor: bool = False,
    ) -> Dossier:  # fmt: skip
        """TD0.3 after an explicit gesture, never by itself (EX_0.3-1010): the consent is stored, then declared.

        Raises ConsentMissing unless confirmed; what `decide` says; the DMP's refusal. The dossier as it is then.
        """
        desk = self._desk
        if not confirmed:
            raise ConsentMissing("declaring an authorisation needs the user's explicit gesture (EX_0.3-1010)")
        dossier = await desk.existence(call)
        await desk.decided(call, dossier, Action.DECLARE, confirmed=True)
        now = desk.now()
        consent = Consent(dossier.ins, basis, call.actor.practitioner, means, now, now + desk.rules.consent)
        await asyncio.to_thread(desk.store.add_consent, consent, structure=call.actor.structure.id)
        await desk.note(
            call, "consent", "collected", basis=basis.value, means=means.value, until=consent.until.isoformat(timespec="seconds")
        )
        await self._done(
            call, Action.DECLARE, desk.dmp.td03_authorise(call, treating_doctor=treating_doctor), treating_doctor=treating_doctor
        )
        return await desk.existence(call)

    async def remove(self, call: Call, *, treating_doctor: bool = False) -> Dossier:
        """TD0.3 suppression: give back one's own authorisation, or the role of treating doctor only."""
        desk = self._desk
        dossier = await desk.existence(call)
        action = Action.REMOVE_TREATING if treating_doctor else Action.REMOVE
        await desk.decided(call, dossier, action)
        await self._done(call, action, desk.dmp.td03_authorise(call, remove=True, treating_doctor=treating_doctor))
        if not treating_doctor:
            await asyncio.to_thread(desk.store.withdraw_consents, dossier.ins, practitioner=call.actor.practitioner.id, at=desk.now())
        return await desk.existence(call)

    async def professionals(self, call: Call, which: ListMode = ListMode.ALL) -> tuple[Authorisation, ...]:
        """TD1.6. To block somebody is the patient's act, in Mon espace santé (`web_address`)."""
        dossier = await self._desk.existence(call)
        await self._desk.decided(call, dossier, Action.PROFESSIONALS)
        found = await self._done(call, Action.PROFESSIONALS, self._desk.dmp.td16_professionals(call, which))
        return tuple(found)

    def web_address(self, base: str, page: str, call: Call) -> str:
        """Contextual web access (dmp.md 1.7): where a person blocks a professional or sets the oppositions."""
        if page not in {"TableauDeBord", "DossierPatient", "GestionDMPPatient", "Documents", "ParcoursDeSoins", "HistoriqueAcces",
                        "Parametrages", "VolontesEtDroits", "CarnetVaccination"}:  # fmt: skip
            raise NotEntitled(f"no page {page}")
        return f"{base.rstrip('/')}/AccesDirect/{page}/{call.ins.value if call.ins else ''}"

    # -- lists and search

    async def authorised_dossiers(self, call: Call, since: date, by: ListBy = ListBy.LAST_AUTHORISATION) -> tuple[DossierSummary, ...]:
        """TD0.4."""
        return tuple(await self._done(call, Action.LIST, self._desk.dmp.td04_list(call, since, by)))

    async def search(self, call: Call, query: IdentityQuery) -> tuple[Candidate, ...]:
        """TD0.5, regulation only."""
        if call.mode is not AccessMode.CENTRE_15 or call.actor.structure.id not in self._desk.rules.regulation_structures:
            await self._desk.note(call, Action.SEARCH.value, "refused")
            raise NotEntitled("TD0.5 is for regulation structures in mode centre_15")
        return tuple(await self._done(call, Action.SEARCH, self._desk.dmp.td05_search(call, query)))

    def possible(self, call: Call, dossier: Dossier) -> frozenset[Action]:
        """What is worth offering: the rest would be refused (dmp.md 7.4)."""
        return possible(call.actor, call.mode, treating_doctor=dossier.treating_doctor)

    # -- documents: what others see of them

    async def mask(self, call: Call, unique_id: str, *, masked: bool) -> None:
        """TD3.3a."""
        entry = await self._entry(call, unique_id)
        action = Action.MASK if masked else Action.UNMASK
        await self._judged(call, action, entry)
        await self._done(call, action, self._desk.dmp.td33a_mask(call, entry, masked), document=unique_id)

    async def make_visible(self, call: Call, unique_id: str, *, to: Visibility, confirmed: bool) -> None:
        """TD3.3b: irreversible, so it must be confirmed (EX_3.3-1045)."""
        entry = await self._entry(call, unique_id)
        await self._judged(call, Action.MAKE_VISIBLE, entry)
        await self._done(
            call, Action.MAKE_VISIBLE, self._desk.dmp.td33b_make_visible(call, entry, to=to, confirmed=confirmed), document=unique_id
        )

    async def archive(self, call: Call, unique_id: str, *, archived: bool) -> None:
        """TD3.3d."""
        statuses = AvailabilityStatus.APPROVED if archived else AvailabilityStatus.ARCHIVED
        entry = await self._entry(call, unique_id, status=statuses)
        await self._judged(call, Action.ARCHIVE, entry)
        await self._done(call, Action.ARCHIVE, self._desk.dmp.td33d_archive(call, entry, archived), document=unique_id)

    async def delete(self, call: Call, unique_id: str) -> None:
        """TD3.3c."""
        entry = await self._entry(call, unique_id)
        await self._judged(call, Action.DELETE, entry)
        await self._done(call, Action.DELETE, self._desk.dmp.td33c_delete(call, entry), document=unique_id)

    async def _entry(self, call: Call, unique_id: str, *, status: AvailabilityStatus | None = None) -> DocumentEntry:
        found = [e for e in await self._desk.dmp.td31a_by_unique_id(call, [unique_id]) if e.status is not AvailabilityStatus.DELETED]
        if not found:
            raise DocumentUnknown("XDSDocumentUniqueIdError", unique_id)
        return next((e for e in found if e.status is status), found[0])

    async def _judged(self, call: Call, action: Action, entry: DocumentEntry) -> None:
        own = any(a.person is not None and a.person.id == call.actor.practitioner.id for a in entry.authors)
        await self._desk.decided(call, await self._desk.existence(call), action, own=own)

    # -- administrative

    async def read(self, call: Call) -> AdministrativeData:
        """TD1.3a."""
        return await self._done(call, Action.READ_ADMINISTRATIVE, self._desk.dmp.td13a_read(call))

    async def modify(self, call: Call, data: AdministrativeData) -> None:
        """TD1.3b."""
        await self._managing(call, "TD1.3b", self._desk.dmp.td13b_modify(call, data))

    async def close(self, call: Call, *, reason: str, confirmed: bool) -> Dossier:
        """TD1.4 at the patient's request. Raises ManagedByMes for today's dossiers, LegacyDisabled when not configured."""
        if not confirmed or not reason.strip():
            raise ConsentMissing("closing needs the patient's request, its reason and a confirmation")
        dossier = await self._managed(call, "TD1.4")
        if dossier.state is DossierState.NO_DMP:
            raise NoDossier("NF", "TD0.2")
        data = await self._desk.dmp.td13a_read(call)
        await self._managing(call, "TD1.4", self._desk.dmp.td14_close(call, data, reason), reason=reason)
        return await self._desk.existence(call)

    async def reopen(self, call: Call, *, confirmed: bool, consent_at: datetime | None = None) -> Dossier:
        """TD1.2 with the patient's consent (CONSENTEMENT_REACTIVATION_DMP, BB-123)."""
        if not confirmed:
            raise ConsentMissing("reopening needs the patient's consent")
        await self._managed(call, "TD1.2")
        data = await self._desk.dmp.td13a_read(call)
        at = consent_at or self._desk.now()
        await self._managing(call, "TD1.2", self._desk.dmp.td12_reactivate(call, data, consent_at=at))
        return await self._desk.existence(call)

    async def _managed(self, call: Call, td: str) -> Dossier:
        """TD0.2 tells which case applies: a dossier of Mon espace santé is not ours to close or reopen."""
        dossier = await self._desk.existence(call)
        if dossier.attached_to_mes:
            await self._desk.note(call, td, "managed by Mon espace santé")
            raise ManagedByMes("RATTACHEMENT_ENS", "TD0.2")
        return dossier

    async def _managing(self, call: Call, td: str, act: Awaitable[T], **facts: str) -> T:
        try:
            answer = await act
        except (ManagedByMes, LegacyDisabled):
            await self._desk.note(call, td, "managed by Mon espace santé", **facts)
            raise
        except DmpError as error:
            await self._desk.refused(call, td, error)
            raise
        await self._desk.note(call, td, "done", **facts)
        return answer

    async def _done(self, call: Call, action: Action, act: Awaitable[T], **facts: object) -> T:
        try:
            answer = await act
        except (Refused, AccessDenied) as error:
            await self._desk.refused(call, action.value, error)
            raise
        await self._desk.note(call, action.value, "done", **{k: str(v) for k, v in facts.items() if v})
        return answer
