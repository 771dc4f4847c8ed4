"""Use cases on a dossier: authorisations, lists, administrative data, closing and reopening."""

from __future__ import annotations

from datetime import date
from typing import NoReturn

from bilingual import local
from dmp_connector.client import Call, IdentityQuery, ListMode
from dmp_connector.dossier.contacts import require_contacts
from dmp_connector.dossier.recognition import Gesture, given
from dmp_connector.dossier.service import AdministrativeChange, Changed, DossierService
from dmp_connector.model import AdministrativeData, Authorisation, Candidate, ConsentMeans, Dossier, DossierSummary
from mssgw.dossier.session import Session
from mssgw.dossier.values import Access, Existence


class Dossiers:
    """The methods raise the errors of `dmp_connector.dossier.service`, BadIns, and Unavailable when the DMP does not answer."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._service = DossierService(session.desk)

    async def exists(self, access: Access) -> Existence:
        """TD0.2. A patient without a DMP is an answer, not an error."""
        async with self._session.attempt("exists", access):
            call = self._session.call(access)
            dossier = await self._service.existence(call)
            return Existence(dossier, self._service.possible(call, dossier))

    async def authorise(
        self, access: Access, *, agreed: Gesture, means: ConsentMeans = ConsentMeans.ORAL, treating_doctor: bool = False
    ) -> Changed[Dossier]:
        """TD0.3: declare that the patient, informed, agreed."""
        async with self._session.attempt("authorise", access):
            call = self._session.call(access)
            confirmed = await self._answer(call, agreed)
            return await self._service.authorise(call, confirmed=confirmed, means=means, treating_doctor=treating_doctor)

    async def give_back(self, access: Access, *, treating_doctor: bool = False) -> Changed[Dossier]:
        """TD0.3: end one's own authorisation, or the role of treating doctor only."""
        async with self._session.attempt("authorise", access):
            return await self._service.remove(self._session.call(access), treating_doctor=treating_doctor)

    async def mine(self, access: Access, since: date | None = None) -> tuple[DossierSummary, ...]:
        """TD0.4: the dossiers the actor or the structure is authorised for, since 1 January of last year or a given day."""
        async with self._session.attempt("list_dossiers", access):
            first = since or date(local(self._session.desk.now()).year - 1, 1, 1)
            return await self._service.authorised_dossiers(self._session.anyone(access), first)

    async def search(self, access: Access, query: IdentityQuery) -> tuple[Candidate, ...]:
        """TD0.5: find a patient without INS; medical regulation only."""
        async with self._session.attempt("search", access):
            return await self._service.search(self._session.anyone(access), query)

    async def professionals(self, access: Access, which: ListMode = ListMode.ALL) -> tuple[Authorisation, ...]:
        """TD1.6: whom the patient authorised or blocked."""
        async with self._session.attempt("professionals", access):
            return await self._service.professionals(self._session.call(access), which)

    async def block(self, access: Access, professional: str = "") -> NoReturn:
        """Raises PatientsAct: the patient blocks, on the page that the error names. `professional`: PS_IdNat, for the audit."""
        async with self._session.attempt("block", access):
            await self._service.block(self._session.call(access), self._session.setup.table.web_url, professional)

    async def read(self, access: Access) -> AdministrativeData:
        """TD1.3a."""
        async with self._session.attempt("read", access):
            known = await self._session.recognised(access)
            return await self._service.read(known.call, reason=access.reason, confirmed=known.confirmed)

    async def modify(self, access: Access, wanted: AdministrativeChange, *, agreed: Gesture) -> Changed[AdministrativeData]:
        """TD1.3b; what is so already is not sent. `agreed` is asked for oppositions only: they are the patient's decision."""
        async with self._session.attempt("modify", access):
            require_contacts(email=wanted.email or "", mobile=wanted.mobile or "", phone=wanted.phone or "")
            call = self._session.call(access)
            return await self._service.modify(call, wanted, confirmed=lambda data: given(agreed, data.patient))

    async def close(self, access: Access, *, agreed: Gesture) -> Dossier:
        """TD1.4 at the patient's request, for `access.reason`. Raises ManagedByMes for today's dossiers, LegacyDisabled."""
        async with self._session.attempt("close", access):
            call = self._session.call(access)
            confirmed = bool(access.reason.strip()) and await self._answer(call, agreed)
            return await self._service.close(call, reason=access.reason, confirmed=confirmed)

    async def reopen(self, access: Access, *, agreed: Gesture) -> Dossier:
        """TD1.2 with the patient's consent, given now. Raises what `close` does."""
        async with self._session.attempt("reopen", access):
            call = self._session.call(access)
            confirmed = await self._answer(call, agreed)
            at = local(self._session.desk.now())
            return await self._service.reopen(call, confirmed=confirmed, consent_at=at)

    async def _answer(self, call: Call, gesture: Gesture) -> bool:
        """A question is put to a person who sees the name and birth date that the DMP knows."""
        return gesture if isinstance(gesture, bool) else gesture((await self._service.read(call)).patient)
