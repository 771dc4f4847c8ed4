"""Read an IHE_XDM.ZIP of any sender into submission sets and documents (docs/reference/mssante.md 5.3).

Survived, each with a remark in `notes`: everything under one extra folder, lower or mixed case, the separator between
folder and file lost (`SUBSET01METADATA.xml`), no IHE_XDM folder, documents named only by their base name or
not at all by URI, no hash or size. Refused: what `members` refuses; a document that is not there or has
another hash or size than announced; documents of two patients; a CDA whose INS or id is not its metadata's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dmp_connector.cda.read import INS_OIDS
from dmp_connector.cda.read import read as read_cda
from dmp_connector.ebxml import read_registry
from dmp_connector.errors import BadAnswer, BadArchive, BadDocument, BadInput
from dmp_connector.model.documents import Association, DocumentEntry, SubmissionSet
from dmp_connector.model.people import Ins
from dmp_connector.texts import Message, message
from dmp_connector.wire.xml import parse
from dmp_connector.xdm.members import XdmLimits, members
from dmp_connector.xdm.write import SIGNATURE_CLASS


@dataclass(frozen=True, slots=True)
class XdmDocument:
    """One document with its metadata as the sender wrote them; poor metadata have empty codes and no dates."""

    path: str
    entry: DocumentEntry
    content: bytes = field(repr=False)

    @property
    def is_signature(self) -> bool:
        """The XAdES document that signs the others (Signature01)."""
        return self.entry.class_code.code == SIGNATURE_CLASS


@dataclass(frozen=True, slots=True)
class XdmSet:
    """One METADATA.XML. `submission` is None when the sender described none."""

    folder: str
    submission: SubmissionSet | None
    documents: tuple[XdmDocument, ...]
    associations: tuple[Association, ...] = ()


@dataclass(frozen=True, slots=True)
class XdmArchive:
    """What was in the archive. `patient`: the one INS of all documents, None when they carry none."""

    sets: tuple[XdmSet, ...]
    patient: Ins | None
    notes: tuple[Message, ...]

    @property
    def documents(self) -> tuple[XdmDocument, ...]:
        """The documents of every submission set, in order."""
        return tuple(d for s in self.sets for d in s.documents)


def read(data: bytes, *, limits: XdmLimits | None = None) -> XdmArchive:
    """The archive, checked. Raises BadArchive."""
    bounds = limits or XdmLimits()
    files = members(data, bounds)
    notes: list[Message] = []
    described = sorted(path for path in files if path.casefold().endswith("metadata.xml"))
    if not described:
        raise BadArchive(message("xdm.no-metadata-xml"))
    sets = tuple(_read_set(path, files, bounds, notes) for path in described)
    if not any(s.documents for s in sets):
        raise BadArchive(message("xdm.no-document-described-metadata-xml"))
    return XdmArchive(sets, _one_patient(sets), tuple(dict.fromkeys(notes)))


def _read_set(path: str, files: Mapping[str, bytes], limits: XdmLimits, notes: list[Message]) -> XdmSet:
    folder = _folder(path, notes)
    try:
        registry = read_registry(parse(files[path], max_bytes=limits.metadata_bytes))
    except BadAnswer as error:
        raise BadArchive(message("xdm.metadata-xml", error=error.detail)) from error
    if len(registry.submission_sets) != 1:
        notes.append(message("xdm.submission-sets-one-metadata-xml", count=len(registry.submission_sets)))
    documents = tuple(_read_document(entry, path, folder, files, notes) for entry in registry.entries)
    return XdmSet(folder, next(iter(registry.submission_sets), None), documents, registry.associations)


def _folder(path: str, notes: list[Message]) -> str:
    """The prefix of document URIs: a path that ends in `/` or, when the separator was lost, without it."""
    base = re.split(r"(?i)metadata\.xml$", path)[0]
    if not path.endswith("METADATA.XML"):
        notes.append(message("xdm.names-not-upper-case"))
    if base and not base.endswith("/"):
        notes.append(message("xdm.separator-between-folder-file-lost"))
    steps = path.split("/")
    upper = [s.upper() for s in steps]
    if "IHE_XDM" not in upper:
        notes.append(message("xdm.no-ihe-xdm-folder"))
    elif upper.index("IHE_XDM") > 0:
        notes.append(message("xdm.tree-lies-under-extra-folder"))
    return base


def _read_document(entry: DocumentEntry, metadata: str, folder: str, files: Mapping[str, bytes], notes: list[Message]) -> XdmDocument:
    path = _locate(entry, metadata, folder, files, notes)
    content = files[path]
    if not entry.hash or entry.size is None:
        notes.append(message("xdm.document-no-hash-no-size"))
    try:
        entry.require_matches(content)
    except BadDocument as error:
        raise BadArchive(message("xdm.document-not-one-metadata-xml", error=error.detail)) from error
    document = XdmDocument(path, entry, content)
    _check_against_cda(document)
    return document


def _locate(entry: DocumentEntry, metadata: str, folder: str, files: Mapping[str, bytes], notes: list[Message]) -> str:
    """The member a URI means. Tried in order: beside METADATA.XML, below IHE_XDM, from the top, by base name or object id."""
    uri = entry.uri.replace("\\", "/")
    if not uri:
        notes.append(message("xdm.document-no-uri"))
        uri = entry.entry_uuid
    if uri.startswith("/") or ".." in uri.split("/") or ":" in uri:
        raise BadArchive(message("xdm.document-s-uri-leaves-archive"))
    by_name = {path.casefold(): path for path in files if path != metadata}
    above = folder.rstrip("/").rpartition("/")[0]
    candidates = (folder + uri, f"{above}/{uri}" if above else uri, uri)
    for candidate in candidates:
        found = by_name.get(candidate.casefold())
        if found:
            if found not in candidates:
                notes.append(message("xdm.document-s-name-differs-case"))
            return found
    base = uri.rpartition("/")[2].casefold()
    near = [p for p in by_name.values() if base and base in {_base(p, folder), _base(p, folder).rpartition(".")[0]}]
    if len(near) == 1:
        notes.append(message("xdm.document-found-name-only"))
        return near[0]
    raise BadArchive(message("xdm.document-named-metadata-xml-not"))


def _base(path: str, folder: str) -> str:
    bare = path.removeprefix(folder)
    return bare.rpartition("/")[2].casefold()


def _check_against_cda(document: XdmDocument) -> None:
    """uniqueId = CDA id and patientId = CDA INS (docs/reference/dmp.md 5). Required of CI-SIS documents: those that carry an INS."""
    entry = document.entry
    if entry.mime_type not in {"text/xml", "application/xslt+xml"} or document.is_signature:
        return
    try:
        cda = read_cda(document.content)
        ins = cda.ins
    except BadDocument as error:
        if entry.class_code.code:
            raise BadArchive(message("xdm.document-announced-cda-cannot-read", error=error.detail)) from error
        return
    except BadInput as error:
        raise BadArchive(message("xdm.ins-document-malformed", error=error.detail)) from error
    if ins is None:
        return
    if ins != entry.patient:
        raise BadArchive(message("xdm.document-metadata-name-two-patients"))
    if cda.unique_id != entry.unique_id:
        raise BadArchive(message("xdm.document-metadata-two-ids"))


def _one_patient(sets: tuple[XdmSet, ...]) -> Ins | None:
    """One patient per archive (docs/reference/mssante.md 5.1). Raises BadArchive for two."""
    known = {d.entry.patient for s in sets for d in s.documents} | {s.submission.patient for s in sets if s.submission}
    known = {ins for ins in known if ins.value and ins.oid}  # a malformed CX identifies nobody
    if len(known) > 1:
        raise BadArchive(message("xdm.archive-holds-documents-two-patients"))
    found = next(iter(known), None)
    return found if found is not None and found.oid in INS_OIDS else None
