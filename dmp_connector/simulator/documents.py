"""Documents: ITI-41 (feed), ITI-18 (find), ITI-43 (retrieve), ITI-57 (change), with the checks of a strict registry.

Order of every call: active dossier -> right of the matrix -> authorisation, opposition, block -> metadata -> effect.
A submission is all or nothing: everything is checked before anything is stored.
"""

from __future__ import annotations

from dataclasses import replace

from lxml import etree

from dmp_connector.codes import load
from dmp_connector.ebxml import names, write
from dmp_connector.ebxml.query import StoredQuery, read_query
from dmp_connector.ebxml.read import read_registry
from dmp_connector.errors import BadAnswer, BadDocument
from dmp_connector.model.code import Code
from dmp_connector.model.documents import Association, AvailabilityStatus, Document, DocumentEntry, Dtm, SubmissionSet, Visibility
from dmp_connector.model.dossier import AuthorisationStatus
from dmp_connector.model.people import AccessMode
from dmp_connector.simulator.gate import Gate, GateRefused, Visitor
from dmp_connector.simulator.metadata import is_signature, require_complete
from dmp_connector.simulator.registry import Stored, refuse
from dmp_connector.simulator.rights import Column, Reach, Right, deny, reach
from dmp_connector.simulator.rights_service import require_active
from dmp_connector.simulator.signature import verify_submission
from dmp_connector.simulator.world import Record, World
from dmp_connector.wire import mtom


class DocumentService:
    """TD2 and TD3 as the simulated DMP answers them, with the errors that ebXML RS names."""

    def __init__(self, world: World, gate: Gate, repository: str) -> None:
        self._world, self._gate, self._repository, self._codes = world, gate, repository, load()

    # ---- ITI-41

    def submit(self, payload: etree._Element, parts: dict[str, mtom.Part], visitor: Visitor) -> etree._Element:
        """TD2.1, TD2.2."""
        record = require_active(self._world, visitor)
        column = visitor.column(record, self._world.now())
        if reach(Right.FEED, column, air=visitor.air) is Reach.NONE:
            raise deny(Right.FEED, "alimentation fermée à l'authentification indirecte renforcée" if visitor.air else "")
        self._require_unblocked(record, visitor, Right.FEED)
        if not parts:
            raise GateRefused("SIMMtomRequired", "MTOM/XOP est obligatoire (EX_2.1-1260)")
        found = read_registry(payload)
        if len(found.submission_sets) != 1:
            raise refuse("XDSRepositoryMetadataError", "un lot de soumission et un seul")
        submission = found.submission_sets[0]
        if submission.patient != visitor.ins:
            raise refuse("XDSPatientIdDoesNotMatch", "le lot et le VIHF ne désignent pas le même patient")
        contents = self._contents(payload, parts, found.entries)
        for entry in found.entries:
            require_complete(entry, contents[entry.entry_uuid], visitor, self._codes)
            record.documents.require_new(entry.unique_id, entry.hash)
        self._require_members(found.associations, submission, found.entries)
        self._require_signed(submission, found.entries, contents, found.associations)
        self._store(record, submission, found.entries, contents, found.associations, visitor)
        return response()

    def _contents(self, payload: etree._Element, parts: dict[str, mtom.Part], entries: tuple[DocumentEntry, ...]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for element in payload.findall(f"{{{names.XDSB}}}Document"):
            try:
                found[element.get("id", "")] = mtom.content_of(element, parts)[0]
            except BadAnswer as error:
                raise refuse("XDSMissingDocument", str(error)) from error
        symbols = {entry.entry_uuid for entry in entries}
        if missing := symbols - found.keys():
            raise refuse("XDSMissingDocument", ", ".join(sorted(missing)))
        if unknown := found.keys() - symbols:
            raise refuse("XDSMissingDocumentMetadata", ", ".join(sorted(unknown)))
        return found

    @staticmethod
    def _require_members(arrows: tuple[Association, ...], submission: SubmissionSet, entries: tuple[DocumentEntry, ...]) -> None:
        members = {a.target for a in arrows if a.type == Association.HAS_MEMBER and a.source == submission.entry_uuid}
        if lost := {entry.entry_uuid for entry in entries} - members:
            raise refuse("XDSRegistryMetadataError", f"sans association HasMember : {', '.join(sorted(lost))}")

    def _require_signed(
        self,
        submission: SubmissionSet,
        entries: tuple[DocumentEntry, ...],
        contents: dict[str, bytes],
        arrows: tuple[Association, ...],
    ) -> None:
        signatures = [entry for entry in entries if is_signature(entry)]
        signs = [a for a in arrows if a.type == Association.SIGNS and a.target == submission.entry_uuid]
        if len(signatures) != 1 or [a.source for a in signs] != [signatures[0].entry_uuid]:
            raise refuse("XDSRepositoryMetadataError", "le lot doit porter une signature et une seule (Signature01)")
        documents = [Document(entry, contents[entry.entry_uuid]) for entry in entries if not is_signature(entry)]
        if not documents:
            raise refuse("XDSRepositoryMetadataError", "un lot sans document")
        try:
            certificate = verify_submission(contents[signatures[0].entry_uuid], submission.unique_id, documents)
        except BadDocument as error:
            raise refuse("XDSRepositoryMetadataError", f"signature du lot : {error}") from error
        self._gate.require_trusted(certificate)

    def _store(
        self,
        record: Record,
        submission: SubmissionSet,
        entries: tuple[DocumentEntry, ...],
        contents: dict[str, bytes],
        arrows: tuple[Association, ...],
        visitor: Visitor,
    ) -> None:
        replacements = [a for a in arrows if a.type == Association.REPLACES]
        for arrow in replacements:
            target = record.documents.by_uuid(arrow.target)
            if target is None or target.current.entry_uuid != arrow.target or target.current.status is not AvailabilityStatus.APPROVED:
                raise refuse("XDSReplaceFailed", f"{arrow.target} n'est pas une fiche en vigueur")
            if not self._owns(target, visitor, Column.STRUCTURE if visitor.staff else visitor.column(record, self._world.now())):
                raise deny(Right.FEED, "remplacement du document d'un autre auteur")
        set_uuid = record.documents.add_set(submission)
        stored: dict[str, DocumentEntry] = {}
        for entry in entries:
            stored[entry.entry_uuid] = record.documents.add(
                entry, contents[entry.entry_uuid], set_uuid,
                structure=visitor.structure, repository=self._repository, now=self._world.now(),
            )  # fmt: skip
        for arrow in replacements:
            record.documents.replace(arrow.target, stored[arrow.source])

    # ---- ITI-18

    def query(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD3.1a, TD3.1b."""
        record = require_active(self._world, visitor)
        asked = read_query(payload)
        if asked.return_type == "ObjectRef":
            self._require(Right.LOCATE, record, visitor)
            self._require_unblocked(record, visitor, Right.LOCATE)
        else:
            self._require(Right.FIND, record, visitor)
            self._require_may_consult(record, visitor, Right.FIND)
        root = etree.Element(f"{{{names.QUERY}}}AdhocQueryResponse", {"status": f"{names.STATUS}Success"}, nsmap=names.NSMAP)
        objects = write.rim(root, "RegistryObjectList")
        for element in self._answer(asked, record, visitor):
            objects.append(element)
        return root

    def _answer(self, asked: StoredQuery, record: Record, visitor: Visitor) -> list[etree._Element]:
        documents = record.documents
        if asked.id in (names.FIND_DOCUMENTS, names.FIND_BY_REFERENCE):
            self._require_patient(asked.one("$XDSDocumentEntryPatientId"), visitor)
            found = [s.current for s in documents.current() if self._fits(s, asked, record, visitor)]
            return self._entries(found, asked.return_type)
        if asked.id == names.GET_DOCUMENTS:
            wanted = {*asked.parameters.get("$XDSDocumentEntryUniqueId", ()), *asked.parameters.get("$XDSDocumentEntryEntryUUID", ())}
            if not wanted:
                raise refuse("XDSStoredQueryParamNumber", "uniqueId ou entryUUID attendu")
            found = [s.current for s in documents.current() if {s.current.unique_id, s.current.entry_uuid} & wanted]
            found = [e for e in found if e.status is not AvailabilityStatus.DELETED]
            if asked.return_type != "ObjectRef":
                found = [e for e in found if self._sees(e, record, visitor)]
            return self._entries(found, asked.return_type)
        if asked.id == names.FIND_SUBMISSION_SETS:
            self._require_patient(asked.one("$XDSSubmissionSetPatientId"), visitor)
            since = asked.one("$XDSSubmissionSetSubmissionTimeFrom")
            sets = [s for s in documents.sets if not since or str(s.submitted) >= str(Dtm.parse(since))]
            return [write.registry_package(s, s.entry_uuid) for s in sets]
        if asked.id == names.GET_ASSOCIATIONS:
            uuids = set(asked.parameters.get("$uuid", ()))
            return [write.association_element(a, a.id) for a in documents.associations if {a.source, a.target} & uuids]
        if asked.id == names.GET_DOCUMENTS_AND_ASSOCIATIONS:
            uuids = set(asked.parameters.get("$XDSDocumentEntryEntryUUID", ()))
            versions = [v for s in documents.current() for v in s.versions if v.entry_uuid in uuids and self._sees(v, record, visitor)]
            arrows = [write.association_element(a, a.id) for a in documents.associations if {a.source, a.target} & uuids]
            return self._entries(versions, asked.return_type) + arrows
        raise refuse("XDSUnknownStoredQuery", asked.id)

    @staticmethod
    def _entries(entries: list[DocumentEntry], return_type: str) -> list[etree._Element]:
        if return_type == "ObjectRef":
            return [write.rim(None, "ObjectRef", id=entry.entry_uuid) for entry in entries]
        return [write.extrinsic_object(entry, entry.entry_uuid) for entry in entries]

    @staticmethod
    def _require_patient(cx: str, visitor: Visitor) -> None:
        if visitor.ins is None or cx != visitor.ins.cx:
            raise refuse("XDSUnknownPatientId", "le patient de la requête n'est pas celui du VIHF")

    def _fits(self, stored: Stored, asked: StoredQuery, record: Record, visitor: Visitor) -> bool:
        entry = stored.current
        if is_signature(entry) or entry.status is AvailabilityStatus.DELETED or not self._sees(entry, record, visitor):
            return False
        statuses = asked.parameters.get("$XDSDocumentEntryStatus", [])
        if not statuses:
            raise refuse("XDSStoredQueryMissingParam", "$XDSDocumentEntryStatus")
        if entry.status is None or entry.status.value not in statuses:
            return False
        codes = {
            "TypeCode": (entry.type,),
            "ClassCode": (entry.class_code,),
            "PracticeSettingCode": (entry.practice,),
            "HealthcareFacilityTypeCode": (entry.facility,),
            "FormatCode": (entry.format,),
            "ConfidentialityCode": entry.confidentiality,
            "EventCodeList": entry.events,
        }
        times = {"CreationTime": entry.created, "ServiceStartTime": entry.service_start, "ServiceStopTime": entry.service_stop}
        references = asked.parameters.get("$XDSDocumentEntryReferenceIdList")
        return (
            all(_any_code(values, asked.parameters.get(f"$XDSDocumentEntry{name}")) for name, values in codes.items())
            and all(_within(moment, asked, name) for name, moment in times.items())
            and (not references or bool({*references} & {*entry.references}))
        )

    # ---- ITI-43

    def retrieve(self, payload: etree._Element, visitor: Visitor) -> tuple[etree._Element, list[mtom.Part]]:
        """TD3.2. All or nothing."""
        record = require_active(self._world, visitor)
        self._require(Right.RETRIEVE, record, visitor)
        self._require_may_consult(record, visitor, Right.RETRIEVE)
        root = etree.Element(f"{{{names.XDSB}}}RetrieveDocumentSetResponse", nsmap=names.NSMAP)
        root.append(response())
        parts: list[mtom.Part] = []
        for request in payload.findall(f"{{{names.XDSB}}}DocumentRequest"):
            repository = (request.findtext(f"{{{names.XDSB}}}RepositoryUniqueId") or "").strip()
            unique_id = (request.findtext(f"{{{names.XDSB}}}DocumentUniqueId") or "").strip()
            if repository != self._repository:
                raise refuse("XDSUnknownRepositoryId", repository)
            stored = record.documents.documents.get(unique_id)
            if stored is None or stored.current.status is AvailabilityStatus.DELETED:
                raise refuse("XDSDocumentUniqueIdError", f"pas de document {unique_id}")
            if not self._sees(stored.current, record, visitor):
                raise deny(Right.RETRIEVE_MASKED, "document masqué")
            cid = f"0.{len(parts) + 2}"
            parts.append(mtom.Part(cid, stored.current.mime_type or "application/octet-stream", stored.content))
            answer = etree.SubElement(root, f"{{{names.XDSB}}}DocumentResponse")
            for name, text in (("RepositoryUniqueId", repository), ("DocumentUniqueId", unique_id), ("mimeType", stored.current.mime_type)):
                etree.SubElement(answer, f"{{{names.XDSB}}}{name}").text = text
            etree.SubElement(answer, f"{{{names.XDSB}}}Document").append(mtom.include(cid))
        if not parts:
            raise refuse("XDSDocumentUniqueIdError", "aucun document demandé")
        return root, parts

    # ---- ITI-57

    def update(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD3.3a to d: which right is needed follows from what would change."""
        record = require_active(self._world, visitor)
        found = read_registry(payload)
        if len(found.submission_sets) != 1 or found.submission_sets[0].patient != visitor.ins:
            raise refuse("XDSPatientIdDoesNotMatch", "un lot du patient du VIHF est attendu")
        submission = found.submission_sets[0]
        arrows = [a for a in found.associations if a.source == submission.entry_uuid]
        entries = {entry.entry_uuid: entry for entry in found.entries}
        if not arrows:
            raise refuse("XDSMetadataUpdateError", "aucune modification demandée")
        for arrow in arrows:
            if arrow.type == Association.UPDATE_STATUS:
                self._update_status(record, arrow, submission, visitor)
            elif arrow.type == Association.HAS_MEMBER and arrow.target in entries:
                self._update_entry(record, arrow, entries[arrow.target], submission, visitor)
            else:
                raise refuse("XDSMetadataUpdateError", f"association {arrow.type}")
        return response()

    def _update_status(self, record: Record, arrow: Association, submission: SubmissionSet, visitor: Visitor) -> None:
        stored = record.documents.require_current(arrow.target)
        slots = dict(arrow.slots)
        try:
            old, new = (AvailabilityStatus(slots[name][0]) for name in ("OriginalStatus", "NewStatus"))
        except (KeyError, IndexError, ValueError) as error:
            raise refuse("XDSMetadataUpdateError", "OriginalStatus et NewStatus attendus") from error
        if new is AvailabilityStatus.DELETED:
            self._require_unblocked(record, visitor, Right.DELETE)
            self._require(Right.DELETE, record, visitor, stored)
        else:
            self._require_may_consult(record, visitor, Right.ARCHIVE)
            self._require(Right.ARCHIVE_DOCTOR if visitor.is_doctor else Right.ARCHIVE, record, visitor, stored)
        record.documents.update_status(arrow.target, old, new, record.documents.add_set(submission))

    def _update_entry(self, record: Record, arrow: Association, entry: DocumentEntry, submission: SubmissionSet, visitor: Visitor) -> None:
        stored = next((s for s in record.documents.current() if s.current.logical_id == entry.logical_id), None)
        if stored is None:
            raise refuse("XDSMetadataUpdateError", "logicalId inconnu")
        before, after = stored.current.visibility, entry.visibility
        self._require_may_consult(record, visitor, Right.MASK)
        if Visibility.MASKED in after - before:
            self._require(Right.MASK, record, visitor, stored)
        if Visibility.MASKED in before - after:
            self._require(Right.UNMASK, record, visitor, stored)
        if (before - after) - {Visibility.MASKED}:
            self._require(Right.MAKE_VISIBLE, record, visitor, stored)
        previous = dict(arrow.slots).get("PreviousVersion", ("",))[0]
        record.documents.update_entry(replace(entry, status=stored.current.status), previous, record.documents.add_set(submission))

    # ---- rights

    def _require(self, right: Right, record: Record, visitor: Visitor, stored: Stored | None = None) -> None:
        column = visitor.column(record, self._world.now())
        limit = reach(right, column, air=visitor.air)
        if limit is Reach.ALL:
            return
        if limit in (Reach.OWN, Reach.STRUCTURE) and stored is not None and self._owns(stored, visitor, column):
            return
        raise deny(right)

    @staticmethod
    def _owns(stored: Stored, visitor: Visitor, column: Column) -> bool:
        if column in (Column.STAFF_CARD, Column.STRUCTURE):
            return stored.structure == visitor.structure
        if stored.by_patient:
            return column in (Column.TREATING, Column.TREATING_BRIS_DE_GLACE)
        return any(author.person and author.person.id == visitor.id for author in stored.current.authors)

    def _require_unblocked(self, record: Record, visitor: Visitor, right: Right) -> None:
        """A professional whom the patient blocked has no access in any mode (PDSM4DMP, TD0.2)."""
        if record.authorisation(visitor.id, visitor.structure, now=self._world.now()) is AuthorisationStatus.FORBIDDEN:
            raise deny(right, "professionnel bloqué par le patient")

    def _require_may_consult(self, record: Record, visitor: Visitor, right: Right) -> None:
        """Authorisation in normal mode, no opposition in the two others, no block in any."""
        now = self._world.now()
        self._require_unblocked(record, visitor, right)
        status = record.authorisation(visitor.id, visitor.structure, now=now)
        if visitor.mode is AccessMode.BRIS_DE_GLACE:
            if record.oppositions.bris_de_glace:
                raise deny(right, "le patient s'oppose au bris de glace")
            record.notices.append(f"{now:%Y-%m-%dT%H:%M:%SZ} bris de glace {visitor.id}")
        elif visitor.mode is AccessMode.CENTRE_15:
            if record.oppositions.centre_15:
                raise deny(right, "le patient s'oppose à l'accès en régulation")
        elif status is not AuthorisationStatus.VALID:
            raise deny(right, "autorisation absente ou expirée")
        grant = record.grants.get(visitor.id) or record.grants.get(visitor.structure)
        if grant:
            grant.last_access = now

    def _sees(self, entry: DocumentEntry, record: Record, visitor: Visitor) -> bool:
        if Visibility.MASKED not in entry.visibility:
            return True
        now = self._world.now()
        match reach(Right.RETRIEVE_MASKED, visitor.column(record, now), air=visitor.air):
            case Reach.ALL:
                return True
            case Reach.OWN:
                return any(author.person and author.person.id == visitor.id for author in entry.authors)
            case Reach.AUTHORISED:
                return record.authorisation(visitor.id, visitor.structure, now=now) is AuthorisationStatus.VALID
            case _:
                return False


def response() -> etree._Element:
    """RegistryResponse of success."""
    return etree.Element(f"{{{names.RS}}}RegistryResponse", {"status": f"{names.STATUS}Success"}, nsmap={"rs": names.RS})


def _any_code(codes: tuple[Code, ...], wanted: list[str] | None) -> bool:
    return not wanted or any(f"{code.code}^^{code.system}" in wanted for code in codes)


def _within(moment: Dtm | None, asked: StoredQuery, name: str) -> bool:
    start, stop = (asked.one(f"$XDSDocumentEntry{name}{end}") for end in ("From", "To"))
    if not start and not stop:
        return True
    if moment is None:
        return False
    try:
        return (not start or moment.at >= Dtm.parse(start).at) and (not stop or moment.at < Dtm.parse(stop).at)
    except BadDocument as error:
        raise refuse("XDSRegistryError", f"{name}: {error}") from error
