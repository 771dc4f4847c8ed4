"""Values -> ebRIM. The order of children is the schema's (rim.xsd); ids inside one message are symbolic.

`numbers` gives out cla1, cla2, ei1 …: deterministic, so that a METADATA.XML of the same input is the same file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count

from lxml import etree

from dmp_connector.ebxml import names
from dmp_connector.model.code import Code
from dmp_connector.model.documents import Association, Author, AvailabilityStatus, DocumentEntry, Dtm, SubmissionSet
from dmp_connector.wire import mtom

_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def rim(parent: etree._Element | None, local: str, /, **attributes: str) -> etree._Element:
    """An element of ebXML RIM below `parent`, or a new root."""
    tag = f"{{{names.RIM}}}{local}"
    return etree.Element(tag, attributes, nsmap=names.NSMAP) if parent is None else etree.SubElement(parent, tag, attributes)


def submit_objects(
    submission: SubmissionSet | None,
    entries: Sequence[tuple[str, DocumentEntry]],
    associations: Iterable[Association] = (),
    *,
    set_id: str = "SubmissionSet01",
) -> etree._Element:
    """lcm:SubmitObjectsRequest: `entries` as (symbolic id, entry). Also the root of METADATA.XML (ITI-32)."""
    root = etree.Element(f"{{{names.LCM}}}SubmitObjectsRequest", nsmap=names.NSMAP)
    objects = rim(root, "RegistryObjectList")
    numbers = _Numbers()
    if submission is not None:
        objects.append(registry_package(submission, set_id, numbers))
    objects.extend([extrinsic_object(entry, symbol, numbers) for symbol, entry in entries])
    objects.extend([association_element(arrow, f"as{number}") for number, arrow in enumerate(associations, 1)])
    return root


def members(set_id: str, symbols: Iterable[str], *, status: str = "Original") -> list[Association]:
    """HasMember associations of a submission set with these symbols. `status`: SubmissionSetStatus, Original or Reference."""
    return [Association(Association.HAS_MEMBER, set_id, s, slots=(("SubmissionSetStatus", (status,)),)) for s in symbols]


def provide_and_register(metadata: etree._Element, documents: Iterable[tuple[str, str]]) -> etree._Element:
    """ITI-41 payload. `documents`: (symbolic id of the entry, Content-ID of its part)."""
    root = etree.Element(f"{{{names.XDSB}}}ProvideAndRegisterDocumentSetRequest", nsmap=names.NSMAP)
    root.append(metadata)
    for symbol, cid in documents:
        etree.SubElement(root, f"{{{names.XDSB}}}Document", {"id": symbol}).append(mtom.include(cid))
    return root


def retrieve_request(wanted: Iterable[tuple[str, str]]) -> etree._Element:
    """ITI-43 payload from (repositoryUniqueId, uniqueId) pairs."""
    root = etree.Element(f"{{{names.XDSB}}}RetrieveDocumentSetRequest", nsmap={"xdsb": names.XDSB})
    for repository, unique_id in wanted:
        request = etree.SubElement(root, f"{{{names.XDSB}}}DocumentRequest")
        etree.SubElement(request, f"{{{names.XDSB}}}RepositoryUniqueId").text = repository
        etree.SubElement(request, f"{{{names.XDSB}}}DocumentUniqueId").text = unique_id
    return root


class _Numbers:
    """Symbolic ids of classifications and identifiers within one message."""

    def __init__(self) -> None:
        self._classifications: Iterator[int] = count(1)
        self._identifiers: Iterator[int] = count(1)

    def classification(self) -> str:
        return f"cla{next(self._classifications)}"

    def identifier(self) -> str:
        return f"ei{next(self._identifiers)}"


def extrinsic_object(entry: DocumentEntry, symbol: str, numbers: _Numbers | None = None) -> etree._Element:
    """rim:ExtrinsicObject of an entry (docs/reference/dmp.md 3.2). Registry-side attributes are written when present."""
    numbers = numbers or _Numbers()
    kind = names.STABLE_ENTRY if entry.stable else names.ON_DEMAND_ENTRY
    root = rim(
        None, "ExtrinsicObject", id=symbol, mimeType=entry.mime_type, objectType=kind, **_registry_side(entry.status, entry.logical_id)
    )
    for name, values in _entry_slots(entry):
        slot(root, name, values)
    _localized(root, "Name", entry.title)
    _localized(root, "Description", entry.comments)
    if entry.version:
        rim(root, "VersionInfo", versionName=entry.version)
    for author in entry.authors:
        _author(root, names.ENTRY_AUTHOR, author, symbol, numbers.classification())
    for scheme, codes in (
        (names.ENTRY_CLASS, (entry.class_code,)),
        (names.ENTRY_TYPE, (entry.type,)),
        (names.ENTRY_CONFIDENTIALITY, entry.confidentiality),
        (names.ENTRY_FORMAT, (entry.format,)),
        (names.ENTRY_FACILITY, (entry.facility,)),
        (names.ENTRY_PRACTICE, (entry.practice,)),
        (names.ENTRY_EVENT, entry.events),
    ):
        for code in codes:
            _classification(root, scheme, code, symbol, numbers.classification())
    _identifier(root, names.ENTRY_PATIENT, entry.patient.cx, "XDSDocumentEntry.patientId", symbol, numbers.identifier())
    _identifier(root, names.ENTRY_UNIQUE_ID, entry.unique_id, "XDSDocumentEntry.uniqueId", symbol, numbers.identifier())
    return root


def _entry_slots(entry: DocumentEntry) -> list[tuple[str, Sequence[str]]]:
    slots: list[tuple[str, Sequence[str]]] = [
        ("creationTime", _time(entry.created)),
        ("submissionTime", _time(entry.submitted)),
        ("languageCode", (entry.language,) if entry.language else ()),
        ("legalAuthenticator", (entry.legal_authenticator.xcn,) if entry.legal_authenticator else ()),
        ("serviceStartTime", _time(entry.service_start)),
        ("serviceStopTime", _time(entry.service_stop)),
        ("sourcePatientId", (entry.source_patient_id,) if entry.source_patient_id else ()),
        ("sourcePatientInfo", entry.source_patient_info),
        ("hash", (entry.hash,) if entry.hash else ()),
        ("size", (str(entry.size),) if entry.size is not None else ()),
        ("URI", (entry.uri,) if entry.uri else ()),
        (names.REPOSITORY_ID, (entry.repository_id,) if entry.repository_id else ()),
        (names.REFERENCE_LIST, entry.references),
    ]
    return [(name, values) for name, values in slots if values]


def registry_package(submission: SubmissionSet, symbol: str, numbers: _Numbers | None = None) -> etree._Element:
    """rim:RegistryPackage of a submission set (docs/reference/dmp.md 3.1)."""
    numbers = numbers or _Numbers()
    root = rim(None, "RegistryPackage", id=symbol, **_registry_side(submission.status, ""))
    slot(root, "submissionTime", (str(submission.submitted),))
    _localized(root, "Name", submission.title)
    _localized(root, "Description", submission.comments)
    _author(root, names.SET_AUTHOR, submission.author, symbol, numbers.classification())
    _classification(root, names.SET_CONTENT_TYPE, submission.content_type, symbol, numbers.classification())
    rim(root, "Classification", id=numbers.classification(), classificationNode=names.SET_NODE, classifiedObject=symbol)
    for scheme, value, name in (
        (names.SET_PATIENT, submission.patient.cx, "patientId"),
        (names.SET_SOURCE, submission.source_id, "sourceId"),
        (names.SET_UNIQUE_ID, submission.unique_id, "uniqueId"),
    ):
        _identifier(root, scheme, value, f"XDSSubmissionSet.{name}", symbol, numbers.identifier())
    return root


def association_element(arrow: Association, symbol: str) -> etree._Element:
    """An association as RIM; `symbol` is its id when it has none."""
    kind = {"objectType": arrow.object_type} if arrow.object_type else {}
    ends = {"sourceObject": arrow.source, "targetObject": arrow.target}
    root = rim(None, "Association", id=arrow.id or symbol, associationType=arrow.type, **ends, **kind)
    for name, values in arrow.slots:
        slot(root, name, values)
    return root


def slot(parent: etree._Element, name: str, values: Iterable[str]) -> None:
    """A slot with its values below `parent`."""
    holder = rim(rim(parent, "Slot", name=name), "ValueList")
    for value in values:
        rim(holder, "Value").text = value


def _registry_side(status: AvailabilityStatus | None, logical_id: str) -> dict[str, str]:
    return ({"status": status.value} if status else {}) | ({"lid": logical_id} if logical_id else {})


def _time(moment: Dtm | None) -> tuple[str, ...]:
    return (str(moment),) if moment else ()


def _localized(parent: etree._Element, name: str, text: str) -> None:
    if text:
        rim(rim(parent, name), "LocalizedString", value=text, charset="UTF-8").set(_XML_LANG, "FR")


def _classification(parent: etree._Element, scheme: str, code: Code, symbol: str, number: str) -> None:
    element = rim(parent, "Classification", id=number, classificationScheme=scheme, classifiedObject=symbol, nodeRepresentation=code.code)
    slot(element, "codingScheme", (code.system,))
    _localized(element, "Name", code.label)


def _author(parent: etree._Element, scheme: str, author: Author, symbol: str, number: str) -> None:
    element = rim(parent, "Classification", id=number, classificationScheme=scheme, classifiedObject=symbol, nodeRepresentation="")
    for name, values in (
        ("authorPerson", (author.person.xcn,) if author.person else ()),
        ("authorInstitution", (author.institution.xon,) if author.institution else ()),
        ("authorRole", author.roles),
        ("authorSpecialty", author.specialties),
    ):
        if values:
            slot(element, name, values)


def _identifier(parent: etree._Element, scheme: str, value: str, name: str, symbol: str, number: str) -> None:
    element = rim(parent, "ExternalIdentifier", id=number, identificationScheme=scheme, registryObject=symbol, value=value)
    rim(rim(element, "Name"), "LocalizedString", value=name)
