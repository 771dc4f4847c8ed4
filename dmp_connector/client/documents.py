"""TD2.1 to TD3.3: feed, find, retrieve, and change what others see of a document."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lxml import etree

from dmp_connector import codes
from dmp_connector.client.caller import Caller, ins_of, payload_of
from dmp_connector.ebxml import query, write
from dmp_connector.ebxml.names import ASSOCIATION
from dmp_connector.ebxml.read import Registry, read_registry, read_retrieved, require_success
from dmp_connector.errors import BadAnswer, BadDocument, BadInput, DocumentUnknown, NotAllowed, Unavailable
from dmp_connector.model.documents import (
    Association,
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
from dmp_connector.proof import xades
from dmp_connector.proof.vihf import Call
from dmp_connector.texts import message
from dmp_connector.wire import mtom
from dmp_connector.wire.transport import Progress

_SUBMIT = "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b"
_QUERY = "urn:ihe:iti:2007:RegistryStoredQuery"
_RETRIEVE = "urn:ihe:iti:2007:RetrieveDocumentSet"
_UPDATE = "urn:ihe:iti:2010:UpdateDocumentSet"
_LABELS = {"TD3.3c": "Suppression d'un document", "TD3.3d": "Archivage d'un document"}
"""The Name of the package of a change, where the document's title is not known."""
Slots = tuple[tuple[str, tuple[str, ...]], ...]
_SET, _SIGNATURE = "SubmissionSet01", "Signature01"


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A document as retrieved: size and hash were checked against `entry`."""

    unique_id: str
    mime_type: str
    content: bytes = field(repr=False)
    entry: DocumentEntry


class Documents(Caller):
    """TD2 and TD3 (IHE ITI-41, ITI-18, ITI-43, ITI-57), on what every call has in common."""

    # ---- TD2: feed

    async def td21_submit(
        self, call: Call, submission: SubmissionSet, documents: Sequence[Document], *, progress: Progress | None = None
    ) -> None:
        """TD2.1 - alimentation en documents du DMP (ITI-41, MTOM), with Signature01 made here.

        `Document.replaces` is the entryUUID of the document it replaces (TD2.1b). Sent once: when no answer
        comes, the registry is asked by uniqueId whether the documents arrived, and if so that is success.
        Raises DuplicateDocument, RegistryRefused, BadDocument (size, hash, another patient), Unavailable.
        """
        await self._submit("TD2.1", call, submission, documents, progress)

    async def td22_submit(
        self, call: Call, submission: SubmissionSet, documents: Sequence[Document], *, progress: Progress | None = None
    ) -> None:
        """TD2.2 - the same by the staff card (CPE) of a structure."""
        if not call.actor.staff_card:
            raise NotAllowed(message("client.td2-2-staff-cards-cpe"))
        await self._submit("TD2.2", call, submission, documents, progress)

    async def _submit(
        self, td: str, call: Call, submission: SubmissionSet, documents: Sequence[Document], progress: Progress | None
    ) -> None:
        self._check_submission(td, call, submission, documents)
        payload, parts = await asyncio.to_thread(self.submission_payload, submission, documents)
        try:
            answer = await self._ask(td, "repository", _SUBMIT, call, payload, parts=parts, idempotent=False, progress=progress)
        except Unavailable as error:
            if not error.sent or not await self._arrived(call, documents):
                raise
            return
        require_success(payload_of(td, answer))

    def _check_submission(self, td: str, call: Call, submission: SubmissionSet, documents: Sequence[Document]) -> None:
        ins, limit = ins_of(td, call), self.settings.limits.document_bytes
        if not documents:
            raise BadInput(message("client.without-document", td=td))
        for document in documents:
            if len(document.content) > limit:
                raise BadDocument(
                    message("client.bytes-where-allowed", unique_id=document.entry.unique_id, size=len(document.content), limit=limit)
                )
            if document.entry.patient != ins or submission.patient != ins:
                raise BadDocument(message("client.about-another-patient-than-call", unique_id=document.entry.unique_id))
            visibility = document.entry.visibility
            if not self.settings.mask_and_hide_together and {Visibility.MASKED, Visibility.HIDDEN_FROM_PATIENT} <= visibility:
                raise BadDocument(message("client.masked-hidden-from-patient-once-2", unique_id=document.entry.unique_id))

    def submission_payload(self, submission: SubmissionSet, documents: Sequence[Document]) -> tuple[etree._Element, list[mtom.Part]]:
        """The ITI-41 payload and its binary parts; signs the submission. Blocks while the key signs."""
        described = [Document(d.entry.describing(d.content), d.content, d.replaces) for d in documents]
        signature = xades.signature_document(
            submission,
            described,
            self._signer,
            self.settings.xades_algorithm,
            self._now(),
            unique_id=self.new_oid(),
            canonical=self.settings.xades_canonical,
        )
        symbols = [f"Document{number:02d}" for number in range(1, len(described) + 1)]
        entries = [(symbol, d.entry) for symbol, d in zip(symbols, described, strict=True)] + [(_SIGNATURE, signature.entry)]
        arrows = write.members(_SET, [symbol for symbol, _ in entries])
        arrows.append(Association(Association.SIGNS, _SIGNATURE, _SET, slots=(("SubmissionSetStatus", ("Original",)),)))
        arrows += [Association(Association.REPLACES, s, d.replaces) for s, d in zip(symbols, described, strict=True) if d.replaces]
        metadata = write.submit_objects(submission, entries, arrows, set_id=_SET)
        contents = [*described, signature]
        cids = [f"0.{number}" for number in range(2, len(contents) + 2)]
        payload = write.provide_and_register(metadata, [(symbol, cid) for (symbol, _), cid in zip(entries, cids, strict=True)])
        return payload, [mtom.Part(cid, "application/octet-stream", d.content) for cid, d in zip(cids, contents, strict=True)]

    async def _arrived(self, call: Call, documents: Sequence[Document]) -> bool:
        """After a lost answer: whether all documents are there. Raises Unavailable when that is not answered either."""
        try:
            for document in documents:
                await self.td31b_locate(call, document.entry.unique_id)
        except DocumentUnknown:
            return False
        return True

    # ---- TD3.1: find

    async def td31a_find(self, call: Call, criteria: query.FindDocuments | None = None) -> tuple[DocumentEntry, ...]:
        """TD3.1a - recherche de documents (ITI-18 FindDocuments). Every entry is about the patient of the call."""
        payload = query.find_documents(ins_of("TD3.1a", call), criteria or query.FindDocuments())
        return (await self._query("TD3.1a", call, payload)).entries

    async def td31a_by_unique_id(self, call: Call, unique_ids: Sequence[str]) -> tuple[DocumentEntry, ...]:
        """TD3.1a by uniqueId (GetDocuments, LeafClass)."""
        return (await self._query("TD3.1a", call, query.get_documents(unique_ids=unique_ids))).entries

    async def td31a_submission_sets(self, call: Call, since: Dtm | None) -> tuple[SubmissionSet, ...]:
        """TD3.1a, later searches: what was submitted since (FindSubmissionSets)."""
        return (await self._query("TD3.1a", call, query.find_submission_sets(ins_of("TD3.1a", call), since))).submission_sets

    async def td31a_associations(self, call: Call, uuids: Sequence[str]) -> tuple[Association, ...]:
        """TD3.1a: GetAssociations."""
        return (await self._query("TD3.1a", call, query.get_associations(uuids))).associations

    async def td31a_documents_and_associations(self, call: Call, uuids: Sequence[str]) -> Registry:
        """TD3.1a: GetDocumentsAndAssociations, in batches of settings.limits.documents_per_query."""
        size = self.settings.limits.documents_per_query
        entries: list[DocumentEntry] = []
        arrows: list[Association] = []
        for start in range(0, len(uuids), size):
            found = await self._query("TD3.1a", call, query.get_documents_and_associations(uuids[start : start + size]))
            entries += found.entries
            arrows += found.associations
        return Registry(entries=tuple(entries), associations=tuple(arrows))

    async def td31b_locate(self, call: Call, unique_id: str) -> str:
        """TD3.1b - recherche de l'identifiant technique: the entryUUID of a uniqueId. Raises DocumentUnknown."""
        payload = query.get_documents(unique_ids=[unique_id], return_type="ObjectRef")
        found = await self._query("TD3.1b", call, payload)
        if not found.references:
            raise DocumentUnknown("XDSDocumentUniqueIdError", f"no document {unique_id}")
        return found.references[-1]

    async def _query(self, td: str, call: Call, payload: etree._Element) -> Registry:
        ins = ins_of(td, call)
        answer = payload_of(td, await self._ask(td, "registry", _QUERY, call, payload))
        require_success(answer)
        found = await asyncio.to_thread(read_registry, answer)
        if any(entry.patient.value != ins.value for entry in found.entries):
            raise BadAnswer(message("client.answer-holds-documents-another-patient", td=td))
        return found

    # ---- TD3.2: retrieve

    async def td32_retrieve(self, call: Call, entries: Sequence[DocumentEntry]) -> tuple[Retrieved, ...]:
        """TD3.2 - consultation de documents (ITI-43): in the order asked for, size and hash checked.

        Raises DocumentUnknown, AccessDenied, RegistryRefused, BadAnswer (missing, or not as in the metadata).
        """
        ins_of("TD3.2", call)
        wanted = [(e.repository_id or self.settings.repository_oid, e.unique_id) for e in entries]
        answer = await self._ask("TD3.2", "repository", _RETRIEVE, call, write.retrieve_request(wanted))
        payload = payload_of("TD3.2", answer)
        require_success(payload)
        received = {part.unique_id: part for part in read_retrieved(payload, answer.parts)}
        found = []
        for entry in entries:
            part = received.get(entry.unique_id)
            if part is None:
                raise BadAnswer(message("client.td3-2-missing-answer", unique_id=entry.unique_id))
            try:
                entry.require_matches(part.content)
            except BadDocument as error:
                raise BadAnswer(message("client.td3-2", unique_id=entry.unique_id, error=error.detail)) from error
            found.append(Retrieved(entry.unique_id, part.mime_type, part.content, entry))
        return tuple(found)

    # ---- TD3.3: change

    async def td33a_mask(self, call: Call, entry: DocumentEntry, masked: bool) -> None:
        """TD3.3a - masquer / démasquer aux professionnels. The registry gives the entry a new entryUUID."""
        wanted = entry.visibility | {Visibility.MASKED} if masked else entry.visibility - {Visibility.MASKED}
        await self._resubmit("TD3.3a", call, entry, wanted)

    async def td33b_make_visible(
        self, call: Call, entry: DocumentEntry, *, to: Visibility = Visibility.HIDDEN_FROM_PATIENT, confirmed: bool
    ) -> None:
        """TD3.3b - rendre visible au patient ou aux représentants légaux. Irreversible: `confirmed` means that a person
        was asked (EX_3.3-1045). `to` is the visibility code that is removed."""
        if not confirmed:
            raise NotAllowed(message("client.making-document-visible-cannot-undone"))
        if to is Visibility.MASKED or to not in entry.visibility:
            raise BadInput(message("client.document-not", value=to.value))
        await self._resubmit("TD3.3b", call, entry, entry.visibility - {to})

    async def td33c_delete(self, call: Call, entry: DocumentEntry) -> None:
        """TD3.3c - suppression. `entry` needs entry_uuid; its status is taken as Approved when unknown."""
        await self._status("TD3.3c", call, entry, AvailabilityStatus.DELETED)

    async def td33c_delete_located(self, call: Call, entry_uuid: str) -> None:
        """TD3.3c for a caller that may not read metadata and has the entryUUID from TD3.1b (EX_3.3-1060); the entry is Approved."""
        slots = (("OriginalStatus", (AvailabilityStatus.APPROVED.value,)), ("NewStatus", (AvailabilityStatus.DELETED.value,)))
        await self._update_status("TD3.3c", call, entry_uuid, slots, "")

    async def td33d_archive(self, call: Call, entry: DocumentEntry, archived: bool) -> None:
        """TD3.3d - archivage / désarchivage."""
        await self._status("TD3.3d", call, entry, AvailabilityStatus.ARCHIVED if archived else AvailabilityStatus.APPROVED)

    async def _status(self, td: str, call: Call, entry: DocumentEntry, new: AvailabilityStatus) -> None:
        if not entry.entry_uuid:
            raise BadInput(message("client.needs-entryuuid-document-find-first", td=td))
        old = entry.status or AvailabilityStatus.APPROVED
        slots = (("OriginalStatus", (old.value,)), ("NewStatus", (new.value,)))
        await self._update_status(td, call, entry.entry_uuid, slots, entry.title)

    async def _update_status(self, td: str, call: Call, entry_uuid: str, slots: Slots, title: str) -> None:
        arrow = Association(Association.UPDATE_STATUS, _SET, entry_uuid, slots=slots, object_type=ASSOCIATION)
        await self._update(td, call, write.submit_objects(self._update_set(td, call, title), (), [arrow], set_id=_SET))

    async def _resubmit(self, td: str, call: Call, entry: DocumentEntry, wanted: frozenset[Visibility]) -> None:
        """ITI-57 Update DocumentEntry Metadata: the whole entry again, as successor of its version."""
        if not entry.entry_uuid:
            raise BadInput(message("client.needs-entryuuid-document-find-first", td=td))
        if not self.settings.mask_and_hide_together and {Visibility.MASKED, Visibility.HIDDEN_FROM_PATIENT} <= wanted:
            raise BadInput(message("client.masked-hidden-from-patient-once"))
        successor = replace(entry.with_visibility(wanted), status=None, logical_id=entry.logical_id or entry.entry_uuid)
        slots = (("SubmissionSetStatus", ("Original",)), ("PreviousVersion", (entry.version or "1",)))
        arrow = Association(Association.HAS_MEMBER, _SET, "Document01", slots=slots, object_type=ASSOCIATION)
        metadata = write.submit_objects(self._update_set(td, call, entry.title), [("Document01", successor)], [arrow], set_id=_SET)
        await self._update(td, call, metadata)

    def _update_set(self, td: str, call: Call, title: str) -> SubmissionSet:
        """The package of a change, named after the document, by the same author as TD2.1 would name."""
        actor, settings = call.actor, self.settings
        specialty = codes.load().specialty_of(actor.practitioner)
        texts = (f"{specialty.code}^{specialty.label}^{specialty.system}",) if specialty else ()
        author = Author(Person.of(actor.practitioner), Institution.of(actor.structure), specialties=texts)
        kind, moment = settings.update_content_type, Dtm.of(self._now())
        return SubmissionSet(
            self.new_oid(),
            settings.system_oid,
            ins_of(td, call),
            kind,
            author,
            moment,
            title or _LABELS.get(td, td),
        )

    async def _update(self, td: str, call: Call, metadata: etree._Element) -> None:
        answer = await self._ask(td, "registry", _UPDATE, call, metadata, idempotent=False)
        require_success(payload_of(td, answer))
