"""Feeding the DMP so that nothing is lost and nothing arrives twice.

    validate -> row in the store (pending, our uniqueId, committed) -> ITI-41 -> row finished, content dropped

Crash before the row: nothing was promised. Crash after it: `resume` asks the registry for the uniqueId and
sends again only when it is not there. A repeated call with the same document is the same deposit; a server's
"duplicate" counts as success when it holds the same hash. Refused for good: the row says why, the content goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dmp_connector.cda.metadata import describe
from dmp_connector.cda.read import read
from dmp_connector.client import Call
from dmp_connector.codes import CodeTables, load
from dmp_connector.dossier.desk import Desk
from dmp_connector.dossier.rights import Action
from dmp_connector.errors import AccessDenied, BadCode, BadDocument, DocumentUnknown, DuplicateDocument, Refused, Unavailable
from dmp_connector.model.documents import Author, Code, Document, DocumentEntry, Dtm, Institution, Person, SubmissionSet, Visibility
from dmp_connector.model.people import AccessMode, Ins
from dmp_connector.store import Deposit, DepositState
from dmp_connector.validate import Validator

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class DepositRequest:
    """A CDA to file. `visibility` is the user's choice for this document (EX_2.1-1050). `replaces`: uniqueId."""

    content: bytes = field(repr=False)
    visibility: frozenset[Visibility] = frozenset()
    replaces: str = ""
    content_type: Code | None = None
    title: str = ""


class Deposits:
    def __init__(self, desk: Desk, *, validator: Validator | None = None, tables: CodeTables | None = None) -> None:
        self._desk, self._validator, self._codes = desk, validator or Validator(), tables or load()

    async def deposit(self, call: Call, request: DepositRequest, *, progress: Progress | None = None) -> DocumentEntry:
        """File one document; its entry once the DMP has it.

        Raises BadDocument, BadCode (nothing was sent), Unavailable (kept, `resume` goes on), Refused.
        """
        desk = self._desk
        await asyncio.to_thread(self._validator.require, request.content)
        entry = self._entry(request)
        if call.ins is None or entry.patient != call.ins:
            raise BadDocument(
                "the document is about another patient than the dossier", fr="le document concerne un autre patient que le dossier"
            )
        if "^" in entry.unique_id:
            raise BadDocument(
                "the DMP takes no document id of the form OID^extension (mssante.md 5.6)",
                fr="le DMP n'accepte pas un identifiant de document de la forme OID^extension",
            )
        dossier = await desk.existence(call)
        await desk.decided(call, dossier, Action.FEED)
        replaces = await self._locate_replaced(call, request)
        accepted = await asyncio.to_thread(desk.store.accept_deposit, self._row(call, request, entry, replaces))
        if accepted.state is DepositState.SENT:
            await desk.note(call, Action.FEED.value, "already done", document=entry.unique_id)
            return entry
        await self._send(call, accepted, progress)
        return entry

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
                if await self._is_ours(call, row):
                    await self._finish(call, row, "found in the registry")
                else:
                    await self._send(call, row, None)
                done.append((row.unique_id, "sent"))
            except (Refused, Unavailable, BadDocument) as error:
                done.append((row.unique_id, error.sentence()))
        return tuple(done)

    def _entry(self, request: DepositRequest) -> DocumentEntry:
        entry = describe(request.content, tables=self._codes)
        if entry.type not in self._codes.type_code:
            raise BadCode(
                f"typeCode {entry.type.code} is not in {self._codes.type_code.name} {self._codes.type_code.version}",
                fr=f"le typeCode {entry.type.code} n'est pas dans {self._codes.type_code.name} {self._codes.type_code.version}",
            )
        return entry.with_visibility(request.visibility)

    async def _locate_replaced(self, call: Call, request: DepositRequest) -> str:
        """The entryUUID of the replaced document: the registry assigned it (dmp.md 3.6). Raises DocumentUnknown."""
        if not request.replaces:
            return ""
        return await self._desk.dmp.td31b_locate(replace(call, mode=AccessMode.NORMAL), request.replaces)

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
            raise BadDocument("the content of this deposit is gone", fr="le contenu de ce dépôt n'est plus là")
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
        """Does the DMP hold this very document: its uniqueId with its hash?

        Who may not read metadata (CPE, structure) learns only that the id is there (TD3.1b); it is ours when we
        tried before, and another's when we did not.
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
