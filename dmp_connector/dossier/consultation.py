"""Consultations: opened by a decision, visible while they last, ended by time, hand or the card.

    open -> (find | retrieve)* -> close

A consultation is a row in the store before the first document is asked for. It ends by itself at `closes`:
the next access to it closes it as of that moment, and `sweep` does so in a long-running process. Nothing of what
was read is kept here. In bris de glace the banner is shown during the whole access (EX_0.3-1050), the reason
is in the audit, and the holder and the treating doctor are informed by the DMP (CSP R1111-48).
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from dmp_connector.client import Call, FindDocuments, Retrieved
from dmp_connector.dossier.access import require_mode
from dmp_connector.dossier.desk import Desk
from dmp_connector.dossier.recognition import Recognised
from dmp_connector.dossier.rights import Action
from dmp_connector.errors import BadDocument, ConsultationClosed, DocumentUnknown, NotAllowed, Refused
from dmp_connector.model.audit import AuditRecord
from dmp_connector.model.documents import AvailabilityStatus, DocumentEntry, Dtm, Visibility
from dmp_connector.model.dossier import Consultation, Dossier
from dmp_connector.model.people import AccessMode, Actor, Ins, Patient
from dmp_connector.store import ConsultationRow
from dmp_connector.texts import message

T = TypeVar("T")

_NUMBER = re.compile(r"[0-9]{1,4}", re.ASCII)
BY_HAND, BY_TIME, BY_CARD, BY_DMP, BY_SIGNAL = "hand", "time", "card removed", "refused", "signal"


@dataclass(frozen=True, slots=True)
class OpenConsultation:
    """An id for store and audit, the consultation itself, and the person whose dossier it is."""

    id: str
    value: Consultation
    patient: Patient

    @property
    def call(self) -> Call:
        """Who asks about whom and in which mode, for each request of this consultation."""
        return Call(self.value.actor, self.value.dossier.ins, self.value.mode)

    def banner(self, now: datetime, language: str = "fr") -> str:
        """One line to be shown as long as the consultation is open, which names the patient; "" in normal mode."""
        who, born = f"{self.patient.birth_name} {self.patient.given_names}".strip(), f"{self.patient.birth_date:%d/%m/%Y}"
        minutes = int((self.value.closes - now).total_seconds() // 60)
        left, left_en = (
            (f"dans {minutes} min", f"in {minutes} min") if minutes > 0 else ("dans moins d'une minute", "in less than a minute")
        )
        texts = {
            AccessMode.BRIS_DE_GLACE: (
                f"BRIS DE GLACE — {who}, né(e) le {born} — accès d'urgence sans consentement, tracé et signalé au patient. Fin {left}.",
                f"BRIS DE GLACE - {who}, born {born} - emergency access without consent, traced and told to the patient. Ends {left_en}.",
            ),
            AccessMode.CENTRE_15: (
                f"CENTRE 15 — {who}, né(e) le {born} — accès de régulation médicale, tracé. Fin {left}.",
                f"CENTRE 15 - {who}, born {born} - medical regulation access, traced. Ends {left_en}.",
            ),
        }
        pair = texts.get(self.value.mode)
        return "" if pair is None else pair[0 if language == "fr" else 1]


class Consultations:
    """Open, use and close."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def open(self, known: Recognised, *, reason: str = "", action: Action = Action.FIND) -> OpenConsultation:
        """Decide and open for `action`; an open consultation of the same person, patient and mode goes on instead.

        `known` has the user's explicit gesture. In an emergency mode it is asked for each time, with the reason: who
        finds a consultation open (its process may have been killed) has made no gesture yet. Raises what `decide`
        says, and the DMP's own refusals.
        """
        desk, call = self._desk, known.call
        await self.sweep()
        try:
            require_mode(call.actor, call.mode, desk.rules.regulation_structures)
            dossier = await desk.existence(call)
        except NotAllowed as error:
            await desk.refused(call, "consultation", error)
            raise
        going_on = await self._resumed(known, dossier, action, reason)
        if going_on is not None:
            return going_on
        identity = str(uuid.uuid4())
        await desk.decided(call, dossier, action, reason=reason, confirmed=known.confirmed, consultation=identity)
        now = desk.now()
        value = Consultation(dossier, call.actor, call.mode, now, now + desk.rules.lasting(call.mode), reason)
        row = ConsultationRow(
            identity,
            dossier.ins.cx,
            call.actor.practitioner.id,
            call.actor.structure.id,
            call.actor.evidence,
            call.mode,
            reason,
            value.opened,
            value.closes,
        )
        until = value.closes.isoformat(timespec="seconds")
        opened = desk.row(call, "consultation", "opened", consultation=identity, reason=reason, until=until)
        await asyncio.to_thread(desk.store.add_consultation, row, opened)
        return OpenConsultation(identity, value, known.patient)

    async def _resumed(self, known: Recognised, dossier: Dossier, action: Action, reason: str) -> OpenConsultation | None:
        call = known.call
        row = await self._row(call)
        if row is None:
            return None
        # The patient may have decided otherwise meanwhile: the access is decided again, in an emergency with a new confirmation.
        await self._desk.decided(call, dossier, action, reason=reason, confirmed=known.confirmed, consultation=row.id)
        value = Consultation(dossier, call.actor, row.mode, row.opened, row.closes, row.reason)
        return OpenConsultation(row.id, value, known.patient)

    async def _row(self, call: Call) -> ConsultationRow | None:
        """The consultation that is open of this person, patient and mode."""
        patient = call.ins.cx if call.ins else ""
        rows = await asyncio.to_thread(self._desk.store.open_consultations, practitioner=call.actor.practitioner.id, patient=patient)
        return next((r for r in rows if r.mode is call.mode and r.evidence == call.actor.evidence), None)

    async def require_open(self, consultation: OpenConsultation) -> None:
        """Raise ConsultationClosed: time is up, or it was closed, also by another process."""
        await self.sweep()
        rows = await asyncio.to_thread(self._desk.store.open_consultations, patient=consultation.value.dossier.ins.cx)
        if consultation.id not in {r.id for r in rows}:
            raise ConsultationClosed(log="closed meanwhile")
        consultation.value.require_open(self._desk.now())

    async def close(self, consultation: OpenConsultation, *, by: str = BY_HAND) -> None:
        """Close it and leave a row; nothing when it is closed already. `by`: one of the BY_ words."""
        await self._close(consultation.id, consultation.call, self._desk.now(), by)

    async def close_all(self, actor: Actor, *, by: str) -> int:
        """Close every open consultation of this person: the card was pulled, the session ended. Their number."""
        rows = await asyncio.to_thread(self._desk.store.open_consultations, practitioner=actor.practitioner.id)
        for row in rows:
            await self._close(row.id, self._call(row, actor), self._desk.now(), by)
        return len(rows)

    async def close_of(self, call: Call, *, by: str) -> int:
        """Close what is open of this person on this patient in this mode. Their number."""
        patient = call.ins.cx if call.ins else ""
        rows = await asyncio.to_thread(self._desk.store.open_consultations, practitioner=call.actor.practitioner.id, patient=patient)
        mine = [r for r in rows if r.mode is call.mode]
        for row in mine:
            await self._close(row.id, call, self._desk.now(), by)
        return len(mine)

    async def sweep(self) -> int:
        """Close what ran out, as of the moment it did. Their number."""
        now = self._desk.now()
        over = [r for r in await asyncio.to_thread(self._desk.store.open_consultations) if r.closes < now]
        for row in over:
            await asyncio.to_thread(self._desk.store.close_consultation, _ended(row, row.closes, BY_TIME), by=BY_TIME)
        return len(over)

    async def _close(self, identity: str, call: Call, at: datetime, by: str) -> None:
        row = self._desk.row(call, "consultation", "closed", consultation=identity, by=by)
        await asyncio.to_thread(self._desk.store.close_consultation, replace(row, at=at), by=by)

    @staticmethod
    def _call(row: ConsultationRow, actor: Actor) -> Call:
        return Call(actor, Ins.read_cx(row.patient), row.mode)

    # -- what a consultation is for

    async def find(
        self, consultation: OpenConsultation, criteria: FindDocuments | None = None, *, visibilities: frozenset[Visibility] | None = None
    ) -> tuple[DocumentEntry, ...]:
        """TD3.1a. Without criteria: the last two years, Approved. Newest first, one entry per uniqueId.

        `visibilities`: only entries that carry one of these (the filters of EX_3.1-1030).
        """
        await self.require_open(consultation)
        since = Dtm.of(self._desk.now() - self._desk.rules.first_search)
        wanted = criteria or FindDocuments(statuses=(AvailabilityStatus.APPROVED,), service_from=since)
        found = await self._asked(consultation, Action.FIND, self._desk.dmp.td31a_find(consultation.call, wanted))
        unique = {entry.unique_id: entry for entry in sorted(found, key=lambda e: (e.created, e.version))}
        entries = [e for e in unique.values() if visibilities is None or e.visibility & visibilities]
        await self._desk.note(consultation.call, Action.FIND.value, "done", consultation=consultation.id, found=str(len(entries)))
        shown = tuple(sorted(entries, key=lambda e: e.created, reverse=True))
        await asyncio.to_thread(self._desk.store.note_listed, consultation.id, [e.unique_id for e in shown])
        return shown

    async def named(self, call: Call, name: str) -> str:
        """The uniqueId that a person means: itself, or the number of a line of the last `find`, from 1.

        The `find` of this person about this patient in this mode, while its consultation is open. Raises BadDocument for a
        number that it did not show. A uniqueId is an OID or a UUID, so that it is never a small number.
        """
        if not _NUMBER.fullmatch(name):
            return name
        await self.sweep()
        row = await self._row(call)
        listed = row.listed if row else ()
        if not 1 <= int(name) <= len(listed):
            raise BadDocument(message("dossier.no-document-of-number", number=name, shown=len(listed)))
        return listed[int(name) - 1]

    async def retrieve(self, consultation: OpenConsultation, unique_ids: Sequence[str]) -> tuple[Retrieved, ...]:
        """TD3.1a by uniqueId, then TD3.2. Raises DocumentUnknown, and the server's refusals."""
        await self.require_open(consultation)
        entries = await self._asked(consultation, Action.RETRIEVE, self._desk.dmp.td31a_by_unique_id(consultation.call, list(unique_ids)))
        missing = set(unique_ids) - {e.unique_id for e in entries}
        if missing or not entries:
            raise DocumentUnknown("XDSDocumentUniqueIdError", ", ".join(sorted(missing)))
        newest = {e.unique_id: e for e in sorted(entries, key=lambda e: e.status is AvailabilityStatus.APPROVED)}
        for entry in newest.values():
            action = Action.RETRIEVE_MASKED if Visibility.MASKED in entry.visibility else Action.RETRIEVE
            await self._desk.note(consultation.call, action.value, "asked", consultation=consultation.id, document=entry.unique_id)
        answer = await self._asked(consultation, Action.RETRIEVE, self._desk.dmp.td32_retrieve(consultation.call, list(newest.values())))
        await self._desk.note(consultation.call, Action.RETRIEVE.value, "done", consultation=consultation.id, documents=str(len(answer)))
        return answer

    async def _asked(self, consultation: OpenConsultation, action: Action, answer: Awaitable[T]) -> T:
        """The answer. An access that the DMP refuses is over, whatever we had granted."""
        try:
            return await self._desk.asked(consultation.call, action.value, answer, consultation=consultation.id)
        except DocumentUnknown:
            raise
        except Refused:
            await self.close(consultation, by=BY_DMP)
            raise


def _ended(row: ConsultationRow, at: datetime, by: str) -> AuditRecord:
    return AuditRecord(
        at=at,
        who=row.practitioner,
        structure=row.structure,
        evidence=row.evidence,
        patient=row.patient,
        mode=row.mode.value,
        what="consultation",
        outcome="closed",
        consultation=row.id,
        facts=(("by", by),),
    )
