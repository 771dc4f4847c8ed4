"""ebRIM -> values, and registry responses -> errors. Reads what other makers write.

One pass over the children of each object, no XPath: a 1,000-entry answer is 100,000 elements.
Unknown slots and classifications are skipped; a missing code is an empty Code, a missing date None: the caller
decides what is acceptable. What is not ebRIM at all is BadAnswer.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from dmp_connector.ebxml import names
from dmp_connector.errors import BadAnswer, BadDocument, Refused, RegistryError, RegistryRefused, refusal
from dmp_connector.model.code import Code
from dmp_connector.model.documents import (
    NO_MOMENT,
    Association,
    Author,
    AvailabilityStatus,
    DocumentEntry,
    Dtm,
    Institution,
    Person,
    SubmissionSet,
)
from dmp_connector.model.people import Ins
from dmp_connector.texts import Message, message
from dmp_connector.wire import mtom

_RIM = f"{{{names.RIM}}}"
_SLOT, _CLASSIFICATION, _IDENTIFIER = f"{_RIM}Slot", f"{_RIM}Classification", f"{_RIM}ExternalIdentifier"
_NAME, _DESCRIPTION, _VERSION = f"{_RIM}Name", f"{_RIM}Description", f"{_RIM}VersionInfo"
_NOTHING = Code("", "")


@dataclass(frozen=True, slots=True)
class Registry:
    """The objects of one message, in document order; `references` are rim:ObjectRef ids."""

    entries: tuple[DocumentEntry, ...] = ()
    submission_sets: tuple[SubmissionSet, ...] = ()
    associations: tuple[Association, ...] = ()
    references: tuple[str, ...] = ()


def read_registry(element: etree._Element, remarks: list[Message] | None = None) -> Registry:
    """From a SubmitObjectsRequest, an AdhocQueryResponse, an ITI-41 request or a RegistryObjectList.

    A moment that cannot be read is missing, and a remark is added to `remarks`; without that list it raises BadAnswer.
    """
    tag = f"{_RIM}RegistryObjectList"
    objects = element if element.tag == tag else next(element.iter(tag), None)
    if objects is None:
        return Registry()
    by_tag: dict[str, list[etree._Element]] = {}
    for child in objects:
        by_tag.setdefault(str(child.tag), []).append(child)
    return Registry(
        tuple(_entry(child, remarks) for child in by_tag.get(f"{_RIM}ExtrinsicObject", ())),
        tuple(_set(child, remarks) for child in by_tag.get(f"{_RIM}RegistryPackage", ())),
        tuple(_association(child) for child in by_tag.get(f"{_RIM}Association", ())),
        tuple(child.get("id", "") for child in by_tag.get(f"{_RIM}ObjectRef", ())),
    )


@dataclass(slots=True)
class _Object:
    """The children of one registry object, sorted."""

    slots: dict[str, list[str]]
    codes: dict[str, list[Code]]
    authors: list[Author]
    identifiers: dict[str, str]
    name: str
    description: str
    version: str


def _collect(element: etree._Element) -> _Object:
    found = _Object({}, {}, [], {}, "", "", "")
    for child in element:
        tag = child.tag
        if tag == _SLOT:
            found.slots[child.get("name", "")] = _values(child)
        elif tag == _CLASSIFICATION:
            scheme = "".join(child.get("classificationScheme", "").split())  # one public sample has a blank inside
            if scheme in (names.ENTRY_AUTHOR, names.SET_AUTHOR):
                found.authors.append(_author(child))
            elif scheme:
                found.codes.setdefault(scheme, []).append(_code(child))
        elif tag == _IDENTIFIER:
            found.identifiers["".join(child.get("identificationScheme", "").split())] = child.get("value", "")
        elif tag == _NAME:
            found.name = _localized(child)
        elif tag == _DESCRIPTION:
            found.description = _localized(child)
        elif tag == _VERSION:
            found.version = child.get("versionName", "")
    return found


def _values(slot: etree._Element) -> list[str]:
    return [(value.text or "").strip() for holder in slot for value in holder]


def _localized(element: etree._Element) -> str:
    return element[0].get("value", "") if len(element) else ""


def _code(element: etree._Element) -> Code:
    system, label = "", ""
    for child in element:
        if child.tag == _SLOT and child.get("name") == "codingScheme":
            system = next(iter(_values(child)), "")
        elif child.tag == _NAME:
            label = _localized(child)
    return Code(element.get("nodeRepresentation", ""), system, label)


def _author(element: etree._Element) -> Author:
    slots = {child.get("name", ""): _values(child) for child in element if child.tag == _SLOT}
    person, institution = slots.get("authorPerson"), slots.get("authorInstitution")
    return Author(
        Person.parse(person[0]) if person else None,
        Institution.parse(institution[0]) if institution else None,
        tuple(slots.get("authorRole", ())),
        tuple(slots.get("authorSpecialty") or slots.get("authorSpeciality") or ()),
    )


def _entry(element: etree._Element, remarks: list[Message] | None) -> DocumentEntry:
    found = _collect(element)
    slots, codes = found.slots, found.codes

    def one(name: str) -> str:
        values = slots.get(name)
        return values[0] if values else ""

    def code(scheme: str) -> Code:
        values = codes.get(scheme)
        return values[0] if values else _NOTHING

    authenticator = one("legalAuthenticator")
    return DocumentEntry(
        unique_id=found.identifiers.get(names.ENTRY_UNIQUE_ID, ""),
        patient=Ins.read_cx(found.identifiers.get(names.ENTRY_PATIENT, "")),
        title=found.name,
        type=code(names.ENTRY_TYPE),
        class_code=code(names.ENTRY_CLASS),
        format=code(names.ENTRY_FORMAT),
        created=_time(one("creationTime"), "creationTime", remarks) or NO_MOMENT,
        authors=tuple(found.authors),
        facility=code(names.ENTRY_FACILITY),
        practice=code(names.ENTRY_PRACTICE),
        service_start=_time(one("serviceStartTime"), "serviceStartTime", remarks),
        service_stop=_time(one("serviceStopTime"), "serviceStopTime", remarks),
        confidentiality=tuple(codes.get(names.ENTRY_CONFIDENTIALITY, ())),
        mime_type=element.get("mimeType", ""),
        language=one("languageCode"),
        legal_authenticator=Person.parse(authenticator) if authenticator else None,
        source_patient_id=one("sourcePatientId"),
        source_patient_info=tuple(slots.get("sourcePatientInfo", ())),
        events=tuple(codes.get(names.ENTRY_EVENT, ())),
        references=tuple(slots.get(names.REFERENCE_LIST, ())),
        comments=found.description,
        hash=one("hash").lower(),
        size=_number(one("size")),
        uri=one("URI"),
        status=_status(element.get("status", "")),
        entry_uuid=element.get("id", ""),
        logical_id=element.get("lid", ""),
        version=found.version,
        repository_id=one(names.REPOSITORY_ID),
        submitted=_time(one("submissionTime"), "submissionTime", remarks),
        stable=element.get("objectType") != names.ON_DEMAND_ENTRY,
    )


def _set(element: etree._Element, remarks: list[Message] | None) -> SubmissionSet:
    found = _collect(element)
    submitted = found.slots.get("submissionTime") or [""]
    return SubmissionSet(
        unique_id=found.identifiers.get(names.SET_UNIQUE_ID, ""),
        source_id=found.identifiers.get(names.SET_SOURCE, ""),
        patient=Ins.read_cx(found.identifiers.get(names.SET_PATIENT, "")),
        content_type=next(iter(found.codes.get(names.SET_CONTENT_TYPE, ())), _NOTHING),
        author=found.authors[0] if found.authors else Author(None),
        submitted=_time(submitted[0], "submissionTime", remarks) or NO_MOMENT,
        title=found.name,
        comments=found.description,
        entry_uuid=element.get("id", ""),
        status=_status(element.get("status", "")),
    )


def _association(element: etree._Element) -> Association:
    slots = tuple((child.get("name", ""), tuple(_values(child))) for child in element if child.tag == _SLOT)
    return Association(
        element.get("associationType", ""), element.get("sourceObject", ""), element.get("targetObject", ""), element.get("id", ""), slots
    )


def _time(text: str, slot: str, remarks: list[Message] | None) -> Dtm | None:
    if not text:
        return None
    try:
        return Dtm.parse(text)
    except BadDocument as error:
        if remarks is None:
            raise BadAnswer(error.detail) from error
        remarks.append(message("ebxml.moment-left-out", slot=slot, error=error.detail))
        return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def _status(text: str) -> AvailabilityStatus | None:
    try:
        return AvailabilityStatus(text)
    except ValueError:
        return None


def read_errors(element: etree._Element) -> tuple[RegistryError, ...]:
    """Every RegistryError below the element, warnings too."""
    return tuple(
        RegistryError(e.get("errorCode", ""), e.get("codeContext", ""), e.get("severity", names.SEVERITY_ERROR), e.get("location", ""))
        for e in element.iter(f"{{{names.RS}}}RegistryError")
    )


def require_success(element: etree._Element) -> None:
    """Raise the errors of a registry response unless its status is Success: a single one by its own class, several
    as RegistryRefused with all of them. Warnings are no failure (ITI TF-3 4.2.4)."""
    response = element if element.get("status") else next(element.iter(f"{{{names.RS}}}RegistryResponse"), element)
    status = response.get("status", "")
    if status == f"{names.STATUS}Success":
        return
    if not status:
        raise BadAnswer(message("ebxml.registry-response-without-status"))
    errors = tuple(e for e in read_errors(response) if not e.warning)
    if len(errors) == 1 and status == f"{names.STATUS}Failure":
        known = refusal(errors[0].code, errors[0].context, context=errors[0].location)
        if type(known) is not Refused:
            raise known
    raise RegistryRefused(errors, partial=status == f"{names.STATUS}PartialSuccess")


@dataclass(frozen=True, slots=True)
class RetrievedPart:
    """A document as received by ITI-43, before anything of it is checked."""

    repository_id: str
    unique_id: str
    mime_type: str
    content: bytes


def read_retrieved(element: etree._Element, parts: dict[str, mtom.Part]) -> tuple[RetrievedPart, ...]:
    """The documents of an ITI-43 response."""
    ns = f"{{{names.XDSB}}}"
    found = []
    for response in element.iter(f"{ns}DocumentResponse"):
        document = response.find(f"{ns}Document")
        if document is None:
            raise BadAnswer(message("ebxml.documentresponse-without-document"))
        content, _ = mtom.content_of(document, parts)
        texts = [(response.findtext(f"{ns}{name}") or "").strip() for name in ("RepositoryUniqueId", "DocumentUniqueId", "mimeType")]
        found.append(RetrievedPart(texts[0], texts[1], texts[2], content))
    return tuple(found)
