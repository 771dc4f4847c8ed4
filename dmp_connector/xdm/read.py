"""Read an IHE_XDM.ZIP of any sender into submission sets and documents (docs/reference/mssante.md 5.3).

Survived, each with a remark in `notes`: everything under one extra folder, lower or mixed case, the separator between
folder and file lost (`SUBSET01METADATA.xml`), no IHE_XDM folder, what macOS adds, metadata in UTF-16, a moment that cannot
be read, no hash or size, and documents that are not where their URI says or have none (`Locator`). Refused: what `members`
refuses; a document that is not there or has another hash or size than announced; documents of two patients; a CDA whose
INS or id is not its metadata's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dmp_connector.cda.read import read as read_cda
from dmp_connector.ebxml import read_registry
from dmp_connector.errors import BadAnswer, BadArchive, BadDocument, BadInput
from dmp_connector.model.documents import Association, DocumentEntry, SubmissionSet
from dmp_connector.model.people import INS_OIDS, Ins
from dmp_connector.texts import Message, message
from dmp_connector.wire.xml import parse
from dmp_connector.xdm.locate import Locator
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
    notes: list[Message] = []
    files = _without_macos(members(data, bounds), notes)
    described = sorted(path for path in files if path.casefold().endswith("metadata.xml"))
    if not described:
        raise BadArchive(message("xdm.no-metadata-xml"))
    locator = Locator(files, notes)
    sets = tuple(_read_set(path, files, locator, bounds, notes) for path in described)
    if not any(s.documents for s in sets):
        raise BadArchive(message("xdm.no-document-described-metadata-xml"))
    return XdmArchive(sets, _one_patient(sets), tuple(dict.fromkeys(notes)))


def _without_macos(files: Mapping[str, bytes], notes: list[Message]) -> Mapping[str, bytes]:
    """Without the Finder's resource forks and folder views, which have the names of the files they accompany."""
    kept = {path: content for path, content in files.items() if not _of_macos(path)}
    if len(kept) < len(files):
        notes.append(message("xdm.macos-files-ignored"))
    return kept


def _of_macos(path: str) -> bool:
    top, base = path.partition("/")[0], path.rpartition("/")[2]
    return top == "__MACOSX" or base.startswith("._") or base == ".DS_Store"


def _read_set(path: str, files: Mapping[str, bytes], locator: Locator, limits: XdmLimits, notes: list[Message]) -> XdmSet:
    folder = _folder(path, notes)
    try:
        registry = read_registry(parse(_utf_8(files[path], limits, notes), max_bytes=limits.metadata_bytes), notes)
    except BadAnswer as error:
        raise BadArchive(message("xdm.metadata-xml", error=error.detail)) from error
    if len(registry.submission_sets) != 1:
        notes.append(message("xdm.submission-sets-one-metadata-xml", count=len(registry.submission_sets)))
    documents = tuple(_read_document(entry, locator.locate(entry, path, folder), files, notes) for entry in registry.entries)
    return XdmSet(folder, next(iter(registry.submission_sets), None), documents, registry.associations)


def _utf_8(metadata: bytes, limits: XdmLimits, notes: list[Message]) -> bytes:
    """UTF-16 as UTF-8, so that there is one parser with one search for a DTD. Raises BadArchive."""
    encoding = next((name for mark, name in _UTF_16 if metadata.startswith(mark)), None)
    if encoding is None or len(metadata) > 2 * limits.metadata_bytes:
        return metadata
    try:
        text = metadata.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadArchive(message("xdm.metadata-not-utf-16")) from error
    notes.append(message("xdm.metadata-utf-16"))
    return _DECLARED.sub(r"\1", text, count=1).encode()


_UTF_16 = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"<\0?\0", "utf-16-le"), (b"\0<\0?", "utf-16-be"))
_DECLARED = re.compile(r"""\A(<\?xml[^>]{0,200}?)\s+encoding\s*=\s*(?:"[^"]*"|'[^']*')""")


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


def _read_document(entry: DocumentEntry, path: str, files: Mapping[str, bytes], notes: list[Message]) -> XdmDocument:
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
