"""Use cases on documents: the consultation they are read in, and what others see of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime, time
from typing import Final

from bilingual import local
from dmp_connector.card.guard import CardGuard
from dmp_connector.card.readers import Slot, pair, slots
from dmp_connector.client import FindDocuments
from dmp_connector.dossier.consultation import BY_CARD, BY_HAND, BY_TIME, Consultations, OpenConsultation
from dmp_connector.dossier.recognition import Gesture
from dmp_connector.dossier.rights import Action
from dmp_connector.dossier.service import Acted, DossierService
from dmp_connector.errors import NoReader
from dmp_connector.model import AvailabilityStatus, DocumentEntry, Dtm, Visibility
from mssgw.core.texts import message
from mssgw.dossier.forms import in_form
from mssgw.dossier.session import Session
from mssgw.dossier.values import Access, Audience, Copy, Form, Progress, Search

_CURRENT: Final = (AvailabilityStatus.APPROVED,)
_EVERY: Final = (*_CURRENT, AvailabilityStatus.ARCHIVED, AvailabilityStatus.DEPRECATED)
_HIDDEN_FROM: Final = {
    Audience.PATIENT: Visibility.HIDDEN_FROM_PATIENT,
    Audience.REPRESENTATIVES: Visibility.HIDDEN_FROM_REPRESENTATIVES,
}


class Documents:
    """The methods raise the errors of `dmp_connector.dossier`, BadIns, and Unavailable when the DMP does not answer."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._consultations = Consultations(session.desk)
        self._service = DossierService(session.desk)

    # -- a consultation

    async def consult(self, access: Access, action: Action = Action.FIND) -> OpenConsultation:
        """Open a consultation for `action`, or go on with the one that is open. The emergency modes need reason and gesture."""
        async with self._session.attempt("consultation", access):
            return await self._consultations.open(await self._session.recognised(access), reason=access.reason, action=action)

    def banner(self, consultation: OpenConsultation) -> str:
        """To be shown as long as the consultation is (EX_0.3-1050); "" in normal mode."""
        return consultation.banner(self._session.desk.now())

    async def find(
        self, consultation: OpenConsultation, search: Search | None = None, *, progress: Progress | None = None
    ) -> tuple[DocumentEntry, ...]:  # fmt: skip
        """TD3.1, newest first. Raises BadCode for an unknown type."""
        async with self._session.attempt("find", consultation.call):
            criteria = self._criteria(search) if search and search != Search() else None
            with self._session.receiving(progress):
                return await self._consultations.find(consultation, criteria)

    async def get(self, consultation: OpenConsultation, unique_id: str, form: Form = Form.CDA, *, progress: Progress | None = None) -> Copy:
        """TD3.2. `unique_id`: or the number of a line of the last `find`. Nothing of the document is kept here.

        Raises DocumentUnknown; BadDocument when it has no such form or there is no such line; NotPrinted.
        """
        async with self._session.attempt("get", consultation.call):
            wanted = await self._consultations.named(consultation.call, unique_id)
            with self._session.receiving(progress):
                (found,) = await self._consultations.retrieve(consultation, [wanted])
            return Copy(found.entry, await asyncio.to_thread(in_form, found.content, form, found.entry))

    async def watch(self, consultation: OpenConsultation, *, presence: str = "", until: Awaitable[None]) -> str:
        """Keep it open until `until` ends, its time is over or the card leaves its reader; then close it. Returns a BY_ word.

        `presence`: part of the name of the reader that holds the card, when it is not the card that signs. Raises NoReader.
        """
        session = self._session
        async with (
            session.attempt("open_consultation", consultation.call, watched=True),
            CardGuard(self._consultations, session.actor, relay=session.relay, card=session.card) as guard,
        ):
            if presence or session.card is not None:
                guard.watch(await asyncio.to_thread(slot_of, presence or (session.card.card.reader if session.card else "")))
            left = (consultation.value.closes - session.desk.now()).total_seconds()
            ended = await _first(until, guard, max(left, 0.0))
            if ended != BY_CARD:
                await self._consultations.close(consultation, by=ended)
            return ended

    async def end(self) -> int:
        """Close every consultation of the actor that is still open. Returns their number."""
        async with self._session.attempt("end"):
            await self._consultations.sweep()
            return await self._consultations.close_all(self._session.actor, by=BY_HAND)

    def _criteria(self, search: Search) -> FindDocuments:
        first = Dtm.of(datetime.combine(search.since, time(), local(self._session.desk.now()).tzinfo), 8) if search.since else None
        types = (self._session.tables.type_code.require(search.type_code),) if search.type_code else ()
        return FindDocuments(_EVERY if search.everything else _CURRENT, service_from=first, types=types)

    # -- what others see of a document, which is named as for `get`. What is so already is not sent again.

    async def hide(self, access: Access, unique_id: str, *, hidden: bool = True) -> Acted:
        """TD3.3a: mask to professionals, or unmask."""
        async with self._session.attempt("hide", access):
            known = await self._session.recognised(access)
            named = await self._consultations.named(known.call, unique_id)
            return await self._service.mask(known, named, masked=hidden, reason=access.reason)

    async def archive(self, access: Access, unique_id: str, *, archived: bool = True) -> Acted:
        """TD3.3d: archive, or bring back."""
        async with self._session.attempt("archive", access):
            known = await self._session.recognised(access)
            named = await self._consultations.named(known.call, unique_id)
            return await self._service.archive(known, named, archived=archived, reason=access.reason)

    async def delete(self, access: Access, unique_id: str) -> Acted:
        """TD3.3c: one's own document."""
        async with self._session.attempt("delete", access):
            known = await self._session.recognised(access)
            named = await self._consultations.named(known.call, unique_id)
            return await self._service.delete(known, named, reason=access.reason)

    async def show(self, access: Access, unique_id: str, *, to: Audience, agreed: Gesture) -> Acted:
        """TD3.3a, TD3.3b: make visible again. To the patient and to representatives it cannot be undone: `agreed`."""
        async with self._session.attempt("show", access):
            known = await self._session.recognised(access if to is Audience.PROFESSIONALS else replace(access, confirmed=agreed))
            named = await self._consultations.named(known.call, unique_id)
            if to is Audience.PROFESSIONALS:
                return await self._service.mask(known, named, masked=False)
            return await self._service.make_visible(known, named, to=_HIDDEN_FROM[to])


def slot_of(part: str) -> Slot:
    """The reader with this in its name. Raises NoReader."""
    found = pair(slots(), professional=part).professional
    if found is None:
        raise NoReader(message("dmp.no-reader-connected"))
    return found


async def _first(until: Awaitable[None], guard: CardGuard, seconds: float) -> str:
    """The caller, the clock, or the card: whichever comes first."""
    waits = {asyncio.ensure_future(until): BY_HAND, asyncio.ensure_future(guard.closed()): BY_CARD}
    try:
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
    for task in done:
        task.result()
    return waits[next(iter(done))] if done else BY_TIME
