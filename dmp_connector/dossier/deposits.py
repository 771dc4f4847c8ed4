"""Feeding the DMP so that nothing is lost and nothing arrives twice.

    validate -> whose is it (INSi) -> row in the store (pending, our uniqueId, committed) -> ITI-41 -> row finished, content dropped

Crash before the row: nothing was accepted. Crash after it: `resume` asks the registry for the uniqueId and
sends again only when it is not there. A repeated call with the same document is the same deposit; a server's
"duplicate" counts as success when it holds the same hash. Refused for good: the row has the reason, the content is dropped.

A PDF has no id of its own: it gets one that follows from what makes it this document (patient, octets, title, type,
author and structure, day of the act, document replaced). So the same PDF again within `DeskRules.same_deposit`, also
from another process at the same moment or after a crash, is the same deposit; `PdfRequest.again` asks for a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bilingual import local
from dmp_connector.cda.level1 import build_level1
from dmp_connector.cda.metadata import describe
from dmp_connector.cda.read import read
from dmp_connector.client import Call
from dmp_connector.codes import CodeTables, load
from dmp_connector.dossier.desk import Desk
from dmp_connector.dossier.identity import NOTHING_TYPED, Identities, Qualified, Typed, require_identity
from dmp_connector.dossier.pdf_document import PdfRequest, document_id, level1_of, require_day, require_title
from dmp_connector.dossier.rights import Action
from dmp_connector.errors import (
    AccessDenied,
    BadCode,
    BadDocument,
    DocumentUnknown,
    DuplicateDocument,
    NotConfirmed,
    Refused,
    TraitsDiffer,
    Unavailable,
)
from dmp_connector.model.code import Code
from dmp_connector.model.documents import (
    Author,
    AvailabilityStatus,
    Document,
    DocumentEntry,
    Dtm,
    Institution,
    Person,
    SubmissionSet,
    Visibility,
)
from dmp_connector.model.people import AccessMode, Ins, Patient
from dmp_connector.paper.pdf import MAX_PDF, require_pdfa1
from dmp_connector.store import Deposit, DepositState
from dmp_connector.texts import Message, message
from dmp_connector.validate import Validator

Progress = Callable[[int, int], None]
Ask = Callable[[Patient], bool]

_GENERATIONS = 1000  # of one PDF sent anew each time


@dataclass(frozen=True, slots=True)
class DepositRequest:
    """A CDA to file. `visibility` is the user's choice for this document (EX_2.1-1050). `replaces`: uniqueId."""

    content: bytes = field(repr=False)
    visibility: frozenset[Visibility] = frozenset()
    replaces: str = ""
    content_type: Code | None = None
    title: str = ""
    reason: str = ""  # bris de glace
    confirmed: bool = False
    typed: Typed = NOTHING_TYPED


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is in the DMP now, and of whom: the register's traits.

    `filed_before`: when it was filed, for what had been filed already; nothing was sent then. `remarks`: what the validator warns of.
    """

    unique_id: str
    title: str
    type: Code
    visibility: frozenset[Visibility]
    entry: DocumentEntry | None = None  # None: filed before, from a PDF
    filed_before: datetime | None = None
    patient: Patient | None = field(default=None, repr=False)
    remarks: tuple[Message, ...] = ()


class Deposits:
    """Feeding for one desk. `max_pdf`: octets of the largest PDF that is taken."""

    def __init__(
        self,
        desk: Desk,
        *,
        validator: Validator | None = None,
        tables: CodeTables | None = None,
        identities: Identities | None = None,
        max_pdf: int = MAX_PDF,
    ) -> None:
        self._desk, self._validator, self._codes = desk, validator or Validator(), tables or load()
        self._identities, self._max_pdf = identities or Identities(desk.dmp), max_pdf

    async def deposit(self, call: Call, request: DepositRequest, *, progress: Progress | None = None, ask: Ask | None = None) -> Receipt:
        """File one document; its receipt once the DMP has it. `ask`: is this the patient? Called before anything is kept or sent.

        Raises BadDocument, BadCode, TraitsDiffer, NotConfirmed (nothing was sent), Unavailable (kept, `resume` goes on), Refused.
        """
        warnings = await asyncio.to_thread(self._validator.require, request.content)
        entry = self._entry(request)
        if call.ins is None or entry.patient != call.ins:
            raise BadDocument(message("dossier.document-about-another-patient-than"))
        if "^" in entry.unique_id:  # docs/reference/mssante.md 5.6
            raise BadDocument(message("dossier.dmp-takes-no-document-id"))
        known = await self._admitted(call, request.typed, reason=request.reason, confirmed=request.confirmed)
        await self._identical(call, known, request)
        await self._agreed(call, known, ask)
        receipt = await self._filed(call, request, entry, progress)
        return replace(receipt, patient=known.patient, remarks=tuple(w.message for w in warnings))

    async def deposit_pdf(self, call: Call, request: PdfRequest, *, progress: Progress | None = None, ask: Ask | None = None) -> Receipt:
        """File a PDF as the document it is: once, whatever happens, unless `again`. Raises what `deposit` does."""
        require_title(request.title)
        await asyncio.to_thread(require_pdfa1, request.pdf, max_bytes=self._max_pdf)
        known = await self._admitted(call, request.typed, reason=request.reason, confirmed=request.confirmed)
        require_day(request.act, born=known.patient.birth_date, today=local(self._desk.now()).date())
        await self._agreed(call, known, ask)
        return replace(await self._filed_pdf(call, request, known, progress), patient=known.patient)

    async def _filed_pdf(self, call: Call, request: PdfRequest, known: Qualified, progress: Progress | None) -> Receipt:
        unique_id, before = await self._identifier(call, request)
        if before is not None:
            return await self._known(call, before, request, progress)
        level1 = level1_of(call, request, known, unique_id, await self._lineage_of(request), local(self._desk.now()))
        content = await asyncio.to_thread(build_level1, level1, tables=self._codes, max_pdf=self._max_pdf)
        wanted = DepositRequest(content, request.visibility, request.replaces, title=request.title)
        await asyncio.to_thread(self._validator.require, content)
        try:
            return await self._filed(call, wanted, self._entry(wanted), progress)
        except BadDocument:  # another process took the same id meanwhile, with the same PDF
            taken = await asyncio.to_thread(self._desk.store.deposit, unique_id)
            if taken is None:
                raise
            return await self._known(call, taken, request, progress)

    async def _admitted(self, call: Call, typed: Typed, *, reason: str, confirmed: bool) -> Qualified:
        """The dossier may be fed by this actor, and who the patient is. The typed traits must be the register's."""
        dossier = await self._desk.existence(call)
        await self._desk.decided(call, dossier, Action.FEED, reason=reason, confirmed=confirmed)
        known = await self._desk.asked(call, "identité", self._identities.qualified(call))
        try:
            typed.require(known)
        except TraitsDiffer as error:
            await self._desk.refused(call, "identité", error, register=known.register)
            raise
        return known

    async def _agreed(self, call: Call, known: Qualified, ask: Ask | None) -> None:
        """Raise NotConfirmed, audited, when the person who files answers that this is not the patient."""
        if ask is not None and not ask(known.patient):
            error = NotConfirmed(message("dossier.patient-not-confirmed"))
            await self._desk.refused(call, Action.FEED.value, error)
            raise error

    async def _identical(self, call: Call, known: Qualified, request: DepositRequest) -> None:
        """recordTarget is the person of the register (docs/reference/dmp.md 8.2). Raises TraitsDiffer, audited."""
        try:
            require_identity(read(request.content), known)
        except TraitsDiffer as error:
            await self._desk.refused(call, "identité", error, register=known.register)
            raise

    async def _filed(self, call: Call, request: DepositRequest, entry: DocumentEntry, progress: Progress | None) -> Receipt:
        """Store it as pending, then send it."""
        desk = self._desk
        replaces = await self._locate_replaced(call, request)
        accepted = await asyncio.to_thread(desk.store.accept_deposit, self._row(call, request, entry, replaces))
        receipt = Receipt(entry.unique_id, entry.title, entry.type, entry.visibility, entry)
        if accepted.state is DepositState.SENT:
            _require_seen_alike(accepted, request.visibility)
            await desk.note(call, Action.FEED.value, "already done", document=entry.unique_id)
            return replace(receipt, filed_before=accepted.finished or accepted.accepted)
        await self._send(call, accepted, progress)
        return receipt

    # -- a PDF is the same document when everything that makes it is the same

    async def _identifier(self, call: Call, request: PdfRequest) -> tuple[str, Deposit | None]:
        """The id of this PDF, and its deposit when it was filed before within the window and is still in the DMP."""
        oldest = self._desk.now() - self._desk.rules.same_deposit
        for generation in range(_GENERATIONS):
            unique_id = document_id(self._desk.dmp.settings.system_oid, call, request, generation)
            row = await asyncio.to_thread(self._desk.store.deposit, unique_id)
            if row is None:
                return unique_id, None
            if row.state is DepositState.PENDING and not request.again:
                return unique_id, row
            if row.state is DepositState.SENT and not request.again and row.accepted >= oldest and await self._still_there(call, row):
                return unique_id, row
        raise BadDocument(message("dossier.pdf-filed-too-often"))

    async def _still_there(self, call: Call, row: Deposit) -> bool:
        """Deleted in the DMP meanwhile, it is not filed any more."""
        try:
            entries = await self._desk.dmp.td31a_by_unique_id(call, [row.unique_id])
        except AccessDenied:  # a caller that may not read metadata only learns whether the id is there
            return await self._is_known(call, row.unique_id)
        return any(entry.status is not AvailabilityStatus.DELETED for entry in entries)

    async def _known(self, call: Call, row: Deposit, request: PdfRequest, progress: Progress | None) -> Receipt:
        """The document of an earlier deposit: finished now when it was on its way. Raises BadDocument: seen otherwise."""
        _require_seen_alike(row, request.visibility)
        receipt = Receipt(row.unique_id, row.submission["title"], request.type, request.visibility)
        if row.state is DepositState.PENDING:
            await self._finished(call, row, progress)
            return receipt
        await self._desk.note(call, Action.FEED.value, "already done", document=row.unique_id)
        return replace(receipt, filed_before=row.finished or row.accepted)

    async def _lineage_of(self, request: PdfRequest) -> tuple[str, int]:
        return await self.lineage(request.replaces) if request.replaces else ("", 1)

    async def lineage(self, replaced: str) -> tuple[str, int]:
        """(setId, version) for the document that replaces `replaced`: from our own deposit, else begun anew at 2."""
        known = await asyncio.to_thread(self._desk.store.deposit, replaced)
        if known is None or not known.submission.get("set_id"):
            return replaced, 2
        return str(known.submission["set_id"]), int(known.submission["version"]) + 1

    async def resume(self, call_for: Callable[[Ins], Call]) -> tuple[tuple[str, str], ...]:
        """Finish every pending deposit: (uniqueId, outcome). `call_for` gives the call for a patient."""
        done = []
        for row in await asyncio.to_thread(self._desk.store.pending_deposits):
            call = call_for(Ins.read_cx(row.patient))
            if row.practitioner != call.actor.practitioner.id:
                continue
            try:
                await self._finished(call, row, None)
                done.append((row.unique_id, "sent"))
            except (Refused, Unavailable, BadDocument) as error:
                done.append((row.unique_id, error.message.fr))
        return tuple(done)

    async def _finished(self, call: Call, row: Deposit, progress: Progress | None) -> None:
        """Finish a pending deposit: the DMP is asked for it first, and it is sent when it is not there."""
        if await self._is_ours(call, row):
            await self._finish(call, row, "found in the registry")
        else:
            await self._send(call, row, progress)

    def _entry(self, request: DepositRequest) -> DocumentEntry:
        entry = describe(request.content, tables=self._codes)
        require_title(entry.title)
        if request.title:
            require_title(request.title)
        if entry.type not in self._codes.type_code:
            known = self._codes.type_code
            raise BadCode(message("dossier.typecode-not", code=entry.type.code, name=known.name, version=known.version))
        return entry.with_visibility(request.visibility)

    async def _locate_replaced(self, call: Call, request: DepositRequest) -> str:
        """The entryUUID of the replaced document: the registry assigned it (docs/reference/dmp.md 3.6). Raises DocumentUnknown."""
        if not request.replaces:
            return ""
        normal = replace(call, mode=AccessMode.NORMAL)
        return await self._desk.asked(call, Action.LOCATE, self._desk.dmp.td31b_locate(normal, request.replaces))

    def _row(self, call: Call, request: DepositRequest, entry: DocumentEntry, replaces: str) -> Deposit:
        kind = request.content_type or self._codes.content_type.require("07")
        submission: dict[str, Any] = {
            "unique_id": self._desk.dmp.new_oid(),
            "content_type": [kind.code, kind.system, kind.label],
            "visibility": sorted(v.value for v in request.visibility),
            "replaces": replaces,
            "title": request.title or entry.title,
            "set_id": read(request.content).set_id,
            "version": read(request.content).version,
        }
        return Deposit(
            entry.unique_id, entry.patient.cx, call.actor.practitioner.id, entry.hash, submission, request.content, self._desk.now()
        )

    async def _send(self, call: Call, row: Deposit, progress: Progress | None) -> None:
        desk = self._desk
        if row.content is None:
            raise BadDocument(message("dossier.content-deposit-gone"))
        submission, document = self._compose(call, row)
        await asyncio.to_thread(desk.store.note_attempt, row.unique_id, "")
        send = desk.dmp.td22_submit if call.actor.staff_card else desk.dmp.td21_submit
        try:
            await send(call, submission, [document], progress=progress)
        except DuplicateDocument as error:
            if not await self._is_ours(call, row):
                await self._refuse(call, row, error)
                raise
        except Unavailable as error:
            await asyncio.to_thread(desk.store.note_attempt, row.unique_id, str(error))
            await desk.note(call, Action.FEED.value, "pending", document=row.unique_id)
            error.audited = True
            raise
        except Refused as error:
            await self._refuse(call, row, error)
            raise
        await self._finish(call, row, "sent")

    def _compose(self, call: Call, row: Deposit) -> tuple[SubmissionSet, Document]:
        content, kept = row.content or b"", row.submission
        visibility = frozenset(Visibility(v) for v in kept["visibility"])
        entry = describe(content, tables=self._codes).with_visibility(visibility)
        actor = call.actor
        author = Author(Person.of(actor.practitioner), Institution.of(actor.structure), specialties=entry.authors[0].specialties)
        submission = SubmissionSet(
            unique_id=kept["unique_id"],
            source_id=self._desk.dmp.settings.system_oid,
            patient=entry.patient,
            content_type=Code(*kept["content_type"]),
            author=author,
            submitted=Dtm.of(self._desk.now()),
            title=kept["title"],
        )
        return submission, Document(entry, content, kept["replaces"])

    async def _is_ours(self, call: Call, row: Deposit) -> bool:
        """Whether the DMP holds this very document: its uniqueId with its hash.

        A caller that may not read metadata (CPE, structure) learns only that the id is there (TD3.1b); it counts as
        ours when we tried before, and as another's when we did not.
        """
        try:
            entries = await self._desk.dmp.td31a_by_unique_id(call, [row.unique_id])
        except AccessDenied:
            return row.attempts > 0 and await self._is_known(call, row.unique_id)
        return any(entry.hash == row.hash for entry in entries)

    async def _is_known(self, call: Call, unique_id: str) -> bool:
        try:
            await self._desk.dmp.td31b_locate(call, unique_id)
        except DocumentUnknown:
            return False
        return True

    async def _finish(self, call: Call, row: Deposit, outcome: str) -> None:
        await asyncio.to_thread(self._desk.store.finish_deposit, row.unique_id, DepositState.SENT, at=self._desk.now())
        await self._desk.note(call, Action.FEED.value, outcome, document=row.unique_id)

    async def _refuse(self, call: Call, row: Deposit, error: Refused) -> None:
        await asyncio.to_thread(
            self._desk.store.finish_deposit, row.unique_id, DepositState.REFUSED, at=self._desk.now(), error=str(error)[:500]
        )
        await self._desk.refused(call, Action.FEED.value, error)


def _require_seen_alike(row: Deposit, wanted: frozenset[Visibility]) -> None:
    """Raise BadDocument: it is in the DMP already, but seen otherwise than is asked now."""
    if frozenset(Visibility(v) for v in row.submission["visibility"]) != wanted:
        raise BadDocument(message("dossier.filed-already-another-visibility-use", unique_id=row.unique_id))
