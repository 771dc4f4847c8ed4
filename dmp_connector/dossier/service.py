"""The dossier service: what a professional does with a patient's DMP, each act decided and audited.

Existence and authorisation, professionals, lists, the state of documents, closing and reopening. Consulting is
in `consultation`, feeding in `deposits`, creating in `workflow`; they share one `Desk`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Generic, Literal, NoReturn, TypeVar

from dmp_connector.client import Call, IdentityQuery, ListBy, ListMode
from dmp_connector.dossier.access import NotEntitled
from dmp_connector.dossier.desk import Desk
from dmp_connector.dossier.recognition import Recognised
from dmp_connector.dossier.rights import Action, Right, column_of, possible, right
from dmp_connector.errors import (
    BadInput,
    DocumentUnknown,
    ManagedByMes,
    NotAllowed,
    NotConfirmed,
    ReasonMissing,
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
    DossierSummary,
    Oppositions,
)
from dmp_connector.model.people import AccessMode
from dmp_connector.texts import Message, message

T = TypeVar("T")

_PAGES = frozenset(
    {"TableauDeBord", "DossierPatient", "GestionDMPPatient", "Documents", "ParcoursDeSoins", "HistoriqueAcces", "Parametrages",
     "VolontesEtDroits", "CarnetVaccination"}
)  # fmt: skip


class HiddenOtherwise(BadInput):
    """The document is not masked to professionals, but hidden from somebody else. `to`: from whom."""

    def __init__(self, to: Literal["patient", "representatives"]) -> None:
        super().__init__(message(f"dossier.hidden-from-{to}"))
        self.to = to


class PatientsAct(NotAllowed):
    """Only the patient can do this. `address`: the contextual page where it is done, "" when none is configured."""

    key = "error.patients-act"

    def __init__(self, address: str) -> None:
        super().__init__(log="to block a professional is the patient's act (CSP L1111-19)")
        self.address = address

    @property
    def message(self) -> Message:
        """The sentence, with the page where the patient does it when one is configured."""
        return message("error.patients-act-page", address=self.address) if self.address else message(self.key)


@dataclass(frozen=True, slots=True)
class AdministrativeChange:
    """What TD1.3b is to change; None leaves a value as it is, "" removes it."""

    email: str | None = None
    mobile: str | None = None
    phone: str | None = None
    bris_de_glace: bool | None = None
    centre_15: bool | None = None

    def applied(self, to: AdministrativeData) -> AdministrativeData:
        """The data as they would be after the change."""
        given: dict[str, Any] = {"email": self.email, "mobile": self.mobile, "phone": self.phone}
        old = to.oppositions
        oppositions = Oppositions(
            old.bris_de_glace if self.bris_de_glace is None else self.bris_de_glace,
            old.centre_15 if self.centre_15 is None else self.centre_15,
        )
        return replace(to, oppositions=oppositions, **{k: v for k, v in given.items() if v is not None})


@dataclass(frozen=True, slots=True)
class Changed(Generic[T]):
    """What an act found and what it left; equal when it was so already and nothing was sent."""

    before: T
    after: T


@dataclass(frozen=True, slots=True)
class Acted:
    """What was done to a document. `changed`: False when it was so already; `title`: "" when it may not be read."""

    unique_id: str
    title: str
    changed: bool


Gesture = Callable[[AdministrativeData], bool]
"""Asks the person in front of the screen, who sees whose dossier it is: an explicit yes, never a default."""

_OPPOSED = {True: "opposed", False: "not opposed", None: "not said"}


def _oppositions_changed(old: AdministrativeData, new: AdministrativeData) -> list[tuple[str, bool | None, bool | None]]:
    pairs = [(name, getattr(old.oppositions, name), getattr(new.oppositions, name)) for name in ("bris_de_glace", "centre_15")]
    return [(name, was, now) for name, was, now in pairs if was is not now]


class DossierService:
    """The acts of one desk on dossiers and on the state of documents. Every method raises Unavailable when the DMP is silent."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # -- existence and authorisation

    async def existence(self, call: Call) -> Dossier:
        """TD0.2: the dossier as it is now, remembered and audited. No DMP is a state, not an error."""
        return await self._desk.existence(call)

    async def authorise(
        self, call: Call, *, confirmed: bool, means: ConsentMeans = ConsentMeans.ORAL, basis: ConsentBasis = ConsentBasis.EXPLICIT,
        treating_doctor: bool = False,
    ) -> Changed[Dossier]:  # fmt: skip
        """TD0.3 after an explicit gesture, never by itself (EX_0.3-1010): the consent is stored, then declared.

        Raises ConsentMissing unless confirmed; the errors of `decide`; the DMP's refusal.
        """
        desk = self._desk
        if not confirmed:
            raise NotConfirmed(message("dossier.nothing-declared-confirm-patient-informed"))
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
        return Changed(dossier, await desk.existence(call))

    async def remove(self, call: Call, *, treating_doctor: bool = False) -> Changed[Dossier]:
        """TD0.3 suppression: give back one's own authorisation, or the role of treating doctor only."""
        desk = self._desk
        dossier = await desk.existence(call)
        action = Action.REMOVE_TREATING if treating_doctor else Action.REMOVE
        await desk.decided(call, dossier, action)
        await self._done(call, action, desk.dmp.td03_authorise(call, remove=True, treating_doctor=treating_doctor))
        if not treating_doctor:
            await asyncio.to_thread(desk.store.withdraw_consents, dossier.ins, practitioner=call.actor.practitioner.id, at=desk.now())
        return Changed(dossier, await desk.existence(call))

    async def professionals(self, call: Call, which: ListMode = ListMode.ALL) -> tuple[Authorisation, ...]:
        """TD1.6."""
        dossier = await self._desk.existence(call)
        await self._desk.decided(call, dossier, Action.PROFESSIONALS)
        found = await self._done(call, Action.PROFESSIONALS, self._desk.dmp.td16_professionals(call, which))
        return tuple(found)

    async def block(self, call: Call, base: str, professional: str = "") -> NoReturn:
        """Blocking is the patient's act (CSP L1111-19): TD0.3 only gives or takes back the caller's own authorisation.

        Leaves its row and raises PatientsAct with the contextual page where it is done. `base`: of the web access, or "".
        """
        error = PatientsAct(self.web_address(base, "VolontesEtDroits", call) if base else "")
        await self._desk.refused(call, "block", error, **({"professional": professional} if professional else {}))
        raise error

    def web_address(self, base: str, page: str, call: Call) -> str:
        """Contextual web access (docs/reference/dmp.md 1.7): where the patient's decisions are set. Raises BadInput for an unknown page."""
        if page not in _PAGES:
            raise BadInput(message("dossier.no-page", page=page))
        return f"{base.rstrip('/')}/AccesDirect/{page}/{call.ins.value if call.ins else ''}"

    # -- lists and search

    async def authorised_dossiers(self, call: Call, since: date, by: ListBy = ListBy.LAST_AUTHORISATION) -> tuple[DossierSummary, ...]:
        """TD0.4."""
        return tuple(await self._done(call, Action.LIST, self._desk.dmp.td04_list(call, since, by)))

    async def search(self, call: Call, query: IdentityQuery) -> tuple[Candidate, ...]:
        """TD0.5, regulation only. The audit names the kinds of criteria and, one row each, the patients who were shown."""
        if call.mode is not AccessMode.CENTRE_15 or call.actor.structure.id not in self._desk.rules.regulation_structures:
            error = NotEntitled(message("dossier.search-without-ins-td0-5"))
            await self._desk.refused(call, Action.SEARCH, error)
            raise error
        given = {"family": query.family, "given": query.given, "birth_date": query.birth_date, "sex": query.sex,
                 "postal_code": query.postal_code, "city": query.city}  # fmt: skip
        criteria = ",".join(name for name, typed in given.items() if typed)  # never what was typed
        found = tuple(await self._desk.asked(call, Action.SEARCH, self._desk.dmp.td05_search(call, query), criteria=criteria))
        await self._desk.note(call, Action.SEARCH, "done", criteria=criteria, found=str(len(found)))
        for candidate in found:  # each patient whose identity was shown has it in the audit
            await self._desk.note(replace(call, ins=candidate.patient.ins), Action.SEARCH, "found")
        return found

    def possible(self, call: Call, dossier: Dossier) -> frozenset[Action]:
        """The actions worth showing: all others would be refused (docs/reference/dmp.md 7.4)."""
        return possible(call.actor, call.mode, treating_doctor=dossier.treating_doctor)

    # -- documents: what others see of them. What is so already is not sent again.

    async def mask(self, known: Recognised, unique_id: str, *, masked: bool, reason: str = "") -> Acted:
        """TD3.3a. Raises BadInput for unmasking what is hidden from the patient only: that is `make_visible`."""
        call = known.call
        action = Action.MASK if masked else Action.UNMASK
        await self._require_possible(call, action, reason=reason, confirmed=known.confirmed)
        entry = await self._entry(call, unique_id)
        if (Visibility.MASKED in entry.visibility) is masked:
            if not masked and entry.visibility:
                _require_masked(entry)
            return _acted(entry, changed=False)
        await self._judged(call, action, entry, reason=reason, confirmed=known.confirmed)
        await self._done(call, action, self._desk.dmp.td33a_mask(call, entry, masked), document=unique_id)
        return _acted(entry)

    async def make_visible(self, known: Recognised, unique_id: str, *, to: Visibility) -> Acted:
        """TD3.3b: irreversible, so it must be confirmed (EX_3.3-1045)."""
        call = known.call
        await self._require_possible(call, Action.MAKE_VISIBLE, reason="", confirmed=known.confirmed)
        entry = await self._entry(call, unique_id)
        if to not in entry.visibility:
            return _acted(entry, changed=False)
        await self._judged(call, Action.MAKE_VISIBLE, entry)
        if not known.confirmed:
            raise NotConfirmed(message("dossier.making-document-visible-cannot-undone"))
        await self._done(
            call, Action.MAKE_VISIBLE, self._desk.dmp.td33b_make_visible(call, entry, to=to, confirmed=known.confirmed), document=unique_id
        )
        return _acted(entry)

    async def archive(self, known: Recognised, unique_id: str, *, archived: bool, reason: str = "") -> Acted:
        """TD3.3d."""
        call = known.call
        await self._require_possible(call, Action.ARCHIVE, reason=reason, confirmed=known.confirmed)
        statuses = AvailabilityStatus.APPROVED if archived else AvailabilityStatus.ARCHIVED
        entry = await self._entry(call, unique_id, status=statuses)
        if entry.status is (AvailabilityStatus.ARCHIVED if archived else AvailabilityStatus.APPROVED):
            return _acted(entry, changed=False)
        await self._judged(call, Action.ARCHIVE, entry, reason=reason, confirmed=known.confirmed)
        await self._done(call, Action.ARCHIVE, self._desk.dmp.td33d_archive(call, entry, archived), document=unique_id)
        return _acted(entry)

    async def delete(self, known: Recognised, unique_id: str, *, reason: str = "") -> Acted:
        """TD3.3c. What is deleted already is unknown. Who feeds but may not read metadata deletes too (EX_3.3-1060)."""
        call = known.call
        if right(Action.FIND, column_of(call.actor, call.mode, treating_doctor=False)) is Right.NO:
            await self._desk.decided(call, await self._desk.existence(call), Action.DELETE, reason=reason, confirmed=known.confirmed)
            uuid = await self._desk.asked(call, Action.LOCATE, self._desk.dmp.td31b_locate(call, unique_id))
            await self._done(call, Action.DELETE, self._desk.dmp.td33c_delete_located(call, uuid), document=unique_id)
            return Acted(unique_id, "", True)
        await self._require_possible(call, Action.DELETE, reason=reason, confirmed=known.confirmed)
        entry = await self._entry(call, unique_id)
        await self._judged(call, Action.DELETE, entry, reason=reason, confirmed=known.confirmed)
        await self._done(call, Action.DELETE, self._desk.dmp.td33c_delete(call, entry), document=unique_id)
        return _acted(entry)

    async def _entry(self, call: Call, unique_id: str, *, status: AvailabilityStatus | None = None) -> DocumentEntry:
        asked = self._desk.dmp.td31a_by_unique_id(call, [unique_id])
        found = [e for e in await self._desk.asked(call, Action.FIND, asked) if e.status is not AvailabilityStatus.DELETED]
        if not found:
            raise DocumentUnknown("XDSDocumentUniqueIdError", unique_id)
        return next((e for e in found if e.status is status), found[0])

    async def _require_possible(self, call: Call, action: Action, *, reason: str, confirmed: bool) -> None:
        """Before anything is asked about a document: raises when not even its author might do this to it."""
        dossier = await self._desk.existence(call)
        if not (await self._desk.judged(call, dossier, action, own=True, reason=reason, confirmed=confirmed)).granted:
            await self._desk.decided(call, dossier, action, own=True, reason=reason, confirmed=confirmed)

    async def _judged(self, call: Call, action: Action, entry: DocumentEntry, *, reason: str = "", confirmed: bool = False) -> None:
        own = any(a.person is not None and a.person.id == call.actor.practitioner.id for a in entry.authors)
        await self._desk.decided(call, await self._desk.existence(call), action, own=own, reason=reason, confirmed=confirmed)

    # -- administrative

    async def read(self, call: Call, *, reason: str = "", confirmed: bool = False) -> AdministrativeData:
        """TD1.3a. Not for whom the patient has blocked; in the emergency modes with their gesture."""
        dossier = await self._desk.existence(call)
        await self._desk.decided(call, dossier, Action.READ_ADMINISTRATIVE, reason=reason, confirmed=confirmed)
        return await self._done(call, Action.READ_ADMINISTRATIVE, self._desk.dmp.td13a_read(call))

    async def modify(self, call: Call, wanted: AdministrativeChange, *, confirmed: Gesture) -> Changed[AdministrativeData]:
        """TD1.3b. What is so already is not sent again.

        An opposition, made or lifted, is the patient's word: `confirmed` is called for it, once nothing else stands
        against the act. The audit names the oppositions with their old and new value, and of the rest the fields only.
        """
        desk, old = self._desk, await self.read(call)
        new = wanted.applied(old)
        if new == old:
            return Changed(old, old)
        facts = {name: f"{_OPPOSED[was]} -> {_OPPOSED[now]}" for name, was, now in _oppositions_changed(old, new)}
        action = Action.OPPOSE if facts else Action.MODIFY
        if fields := [name for name in ("email", "mobile", "phone") if getattr(old, name) != getattr(new, name)]:
            facts["fields"] = ",".join(fields)
        dossier = await desk.existence(call)
        worth_asking = (await desk.judged(call, dossier, action, confirmed=True)).granted
        agreed = confirmed(old) if action is Action.OPPOSE and worth_asking else True
        await desk.decided(call, dossier, action, confirmed=agreed, facts=facts)
        await self._done(call, action, desk.dmp.td13b_modify(call, new), **facts)
        return Changed(old, new)

    async def close(self, call: Call, *, reason: str, confirmed: bool) -> Dossier:
        """TD1.4 at the patient's request. Raises ManagedByMes for today's dossiers, LegacyDisabled when not configured."""
        if not reason.strip():
            raise ReasonMissing(message("dossier.closing-dmp-needs-patient-s"))
        if not confirmed:
            raise NotConfirmed(message("dossier.dmp-not-closed-confirm-patient"))
        await self._managed(call, "TD1.4")
        data = await self._desk.asked(call, Action.READ_ADMINISTRATIVE, self._desk.dmp.td13a_read(call))
        await self._done(call, "TD1.4", self._desk.dmp.td14_close(call, data, reason), reason=reason)
        return await self._desk.existence(call)

    async def reopen(self, call: Call, *, confirmed: bool, consent_at: datetime | None = None) -> Dossier:
        """TD1.2 with the patient's consent (CONSENTEMENT_REACTIVATION_DMP, docs/reference/dmp.md 1.5)."""
        if not confirmed:
            raise NotConfirmed(message("dossier.dmp-not-reopened-confirm-patient"))
        await self._managed(call, "TD1.2")
        data = await self._desk.asked(call, Action.READ_ADMINISTRATIVE, self._desk.dmp.td13a_read(call))
        at = consent_at or self._desk.now()
        await self._done(call, "TD1.2", self._desk.dmp.td12_reactivate(call, data, consent_at=at))
        return await self._desk.existence(call)

    async def _managed(self, call: Call, td: str) -> Dossier:
        """TD0.2 decides which case applies: a dossier of Mon espace santé can't be closed or reopened here."""
        dossier = await self._desk.existence(call)
        if dossier.attached_to_mes:
            error = ManagedByMes("RATTACHEMENT_ENS", "TD0.2")
            await self._desk.refused(call, td, error)
            raise error
        await self._desk.decided(call, dossier, Action.ADMINISTER, facts={"transaction": td})
        return dossier

    async def _done(self, call: Call, td: str, act: Awaitable[T], *, reason: str = "", **facts: object) -> T:
        """The act, and its row: done, or what came instead; what the server remarked (TD0.3) stands in it."""
        said = {k: str(v) for k, v in facts.items() if v}
        answer = await self._desk.asked(call, td, act, reason=reason, **said)
        remark = {"remark": answer} if isinstance(answer, str) and answer else {}
        await self._desk.note(call, td, "done", reason=reason, **said, **remark)
        return answer


def _acted(entry: DocumentEntry, *, changed: bool = True) -> Acted:
    return Acted(entry.unique_id, entry.title, changed)


def _require_masked(entry: DocumentEntry) -> None:
    """Raise BadInput: not masked to professionals, but hidden from somebody else."""
    patient = Visibility.HIDDEN_FROM_PATIENT in entry.visibility
    raise HiddenOtherwise("patient" if patient else "representatives")
