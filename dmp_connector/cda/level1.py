"""Build a level 1 CDA around a PDF/A-1: the CI-SIS header, complete, and the PDF in base64.

The type `Level1` asks the caller for what the header must hold; what types cannot express is checked here
and refused as BadDocument or BadCode before anything is written. Same input, same bytes.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime

from lxml import etree

from dmp_connector.cda.read import V3
from dmp_connector.codes import CodeTables, load
from dmp_connector.errors import BadDocument
from dmp_connector.model.code import Code
from dmp_connector.model.documents import NORMAL, PS_AUTHORITY, STRUCTURE_AUTHORITY
from dmp_connector.model.people import INS_OIDS, Patient, Practitioner, Sex, Structure
from dmp_connector.paper.pdf import MAX_PDF, require_pdfa1
from dmp_connector.texts import message

_NSMAP: dict[str | None, str] = {None: V3}
_TEMPLATES = (
    "2.16.840.1.113883.2.8.2.1",  # HL7 France
    "1.2.250.1.213.1.1.1.1",  # CI-SIS
    "1.3.6.1.4.1.19376.1.2.20",  # IHE XDS-SD
)
_GENDER_LABELS = {Sex.M: "Masculin", Sex.F: "Féminin", Sex.UNKNOWN: "Inconnu"}


@dataclass(frozen=True, slots=True)
class Level1:
    """Everything the header of a level 1 document needs. Moments are aware; OIDs without `^`.

    `replaces`: uniqueId of the version this one replaces; then `version` is higher than that one's.
    """

    unique_id: str
    patient: Patient
    author: Practitioner
    structure: Structure
    type: Code
    title: str
    created: datetime
    pdf: bytes = field(repr=False)
    practice: Code
    service_start: datetime
    service_stop: datetime | None = None
    facility: Code | None = None  # JDV_J61; the structure's sector when None
    act: Code | None = None
    set_id: str = ""
    version: int = 1
    replaces: str = ""
    confidentiality: Code = NORMAL
    language: str = "fr-FR"


def build_level1(wanted: Level1, *, tables: CodeTables | None = None, max_pdf: int = MAX_PDF) -> bytes:
    """The document as UTF-8 XML. Raises BadDocument (PDF, header) or BadCode (type, practice, facility)."""
    codes = tables or load()
    require_pdfa1(wanted.pdf, max_bytes=max_pdf)
    _check(wanted, codes)
    root = etree.Element(f"{{{V3}}}ClinicalDocument", nsmap=_NSMAP)  # type: ignore[arg-type]  # the stubs forget the default namespace
    _put(root, "realmCode", code="FR")
    _put(root, "typeId", root="2.16.840.1.113883.1.3", extension="POCD_HD000040")
    for template in _TEMPLATES:
        _put(root, "templateId", root=template)
    _put(root, "id", root=wanted.unique_id)
    _coded(root, "code", codes.type_code_cisis.find(wanted.type.code) or wanted.type)
    _put(root, "title").text = wanted.title
    _put(root, "effectiveTime", value=_ts(wanted.created))
    _coded(root, "confidentialityCode", wanted.confidentiality)
    _put(root, "languageCode", code=wanted.language)
    _put(root, "setId", root=wanted.set_id or wanted.unique_id)
    _put(root, "versionNumber", value=str(wanted.version))
    _record_target(root, wanted.patient)
    _author(root, wanted, codes)
    _custodian(root, wanted.structure)
    _legal_authenticator(root, wanted)
    _documentation_of(root, wanted)
    if wanted.replaces:
        related = _put(root, "relatedDocument", typeCode="RPLC")
        _put(_put(related, "parentDocument"), "id", root=wanted.replaces)
    _component_of(root, wanted)
    text = _put(_put(_put(root, "component"), "nonXMLBody"), "text", mediaType="application/pdf", representation="B64")
    text.text = base64.b64encode(wanted.pdf).decode("ascii")
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _check(wanted: Level1, codes: CodeTables) -> None:
    codes.type_code.require(wanted.type.code, wanted.type.system or None)
    codes.practice.require(wanted.practice.code, wanted.practice.system or None)
    codes.facility.require((wanted.facility or wanted.structure.sector).code)
    codes.confidentiality.require(wanted.confidentiality.code, wanted.confidentiality.system or None)
    if not wanted.title.strip():
        raise BadDocument(message("cda.title-empty"))
    for name in ("created", "service_start", "service_stop"):
        moment = getattr(wanted, name)
        if moment is not None and moment.tzinfo is None:
            raise BadDocument(message("cda.moment-offset-needed", name=name))
    if wanted.service_stop and wanted.service_stop < wanted.service_start:
        raise BadDocument(message("cda.act-ends-before-starts"))
    if wanted.replaces and wanted.replaces == wanted.unique_id:
        raise BadDocument(message("cda.document-cannot-replace-itself"))
    patient = wanted.patient
    if not patient.first_given or not patient.birth_name:
        raise BadDocument(message("cda.patient-needs-birth-name-given"))
    # CI-SIS: with an INS the five traits are obligatory, the birth place as COG code (docs/reference/dmp.md 4.3).
    if patient.ins.oid in INS_OIDS and not patient.birth_place:
        raise BadDocument(message("cda.ins-birth-place-cog-code"))


def _put(parent: etree._Element, name: str, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{V3}}}{name}", attributes)


def _coded(parent: etree._Element, name: str, code: Code) -> etree._Element:
    label = {"displayName": code.label} if code.label else {}
    return _put(parent, name, code=code.code, codeSystem=code.system, **label)


def _ts(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S%z")


def _record_target(root: etree._Element, patient: Patient) -> None:
    role = _put(_put(root, "recordTarget"), "patientRole")
    _put(role, "id", root=patient.ins.oid, extension=patient.ins.value)
    if patient.local_id:
        _put(role, "id", root=patient.local_id.oid, extension=patient.local_id.value)
    _put(role, "addr", nullFlavor="NASK")
    _put(role, "telecom", nullFlavor="NASK")
    person = _put(role, "patient", classCode="PSN")
    name = _put(person, "name")
    _put(name, "family", qualifier="BR").text = patient.birth_name  # RNIV
    _put(name, "given").text = patient.given_names
    _put(name, "given", qualifier="BR").text = patient.first_given
    if patient.used_name:
        _put(name, "family", qualifier="CL").text = patient.used_name
    if patient.used_given:
        _put(name, "given", qualifier="CL").text = patient.used_given
    gender = Code(patient.sex.value, "2.16.840.1.113883.5.1", _GENDER_LABELS[patient.sex])
    _coded(person, "administrativeGenderCode", gender)
    _put(person, "birthTime", value=patient.birth_date.strftime("%Y%m%d"))
    if patient.birth_place:
        _put(_put(_put(_put(person, "birthplace"), "place"), "addr"), "county").text = patient.birth_place


def _person(parent: etree._Element, practitioner: Practitioner) -> None:
    name = _put(_put(parent, "assignedPerson"), "name")
    if practitioner.given:
        _put(name, "given").text = practitioner.given
    _put(name, "family").text = practitioner.family


def _organization(parent: etree._Element, name: str, structure: Structure) -> etree._Element:
    found = _put(parent, name)
    _put(found, "id", root=STRUCTURE_AUTHORITY, extension=structure.id)
    _put(found, "name").text = structure.name
    return found


def _author(root: etree._Element, wanted: Level1, codes: CodeTables) -> None:
    author = _put(root, "author")
    _put(author, "time", value=_ts(wanted.created))
    assigned = _put(author, "assignedAuthor")
    _put(assigned, "id", root=PS_AUTHORITY, extension=wanted.author.id)
    specialty = codes.specialty_of(wanted.author)
    if specialty is None:
        raise BadDocument(message("cda.author-s-profession-not", code=wanted.author.profession.code, name=codes.specialty.name))
    _coded(assigned, "code", specialty)
    _put(assigned, "addr", nullFlavor="NASK")
    _put(assigned, "telecom", nullFlavor="NASK")
    _person(assigned, wanted.author)
    organization = _organization(assigned, "representedOrganization", wanted.structure)
    _put(organization, "telecom", nullFlavor="NASK")
    _put(organization, "addr", nullFlavor="NASK")


def _custodian(root: etree._Element, structure: Structure) -> None:
    assigned = _put(_put(root, "custodian"), "assignedCustodian")
    found = _organization(assigned, "representedCustodianOrganization", structure)
    _put(found, "telecom", nullFlavor="NASK")
    _put(found, "addr", nullFlavor="NASK")


def _legal_authenticator(root: etree._Element, wanted: Level1) -> None:
    legal = _put(root, "legalAuthenticator")
    _put(legal, "time", value=_ts(wanted.created))
    _put(legal, "signatureCode", code="S")
    assigned = _put(legal, "assignedEntity")
    _put(assigned, "id", root=PS_AUTHORITY, extension=wanted.author.id)
    _put(assigned, "addr", nullFlavor="NASK")
    _put(assigned, "telecom", nullFlavor="NASK")
    _person(assigned, wanted.author)


def _documentation_of(root: etree._Element, wanted: Level1) -> None:
    event = _put(_put(root, "documentationOf"), "serviceEvent")
    if wanted.act:
        _coded(event, "code", wanted.act)
    span = _put(event, "effectiveTime")
    _put(span, "low", value=_ts(wanted.service_start))
    if wanted.service_stop:
        _put(span, "high", value=_ts(wanted.service_stop))
    assigned = _put(_put(event, "performer", typeCode="PRF"), "assignedEntity")
    _put(assigned, "id", root=PS_AUTHORITY, extension=wanted.author.id)
    _put(assigned, "addr", nullFlavor="NASK")
    _put(assigned, "telecom", nullFlavor="NASK")
    _person(assigned, wanted.author)
    organization = _organization(assigned, "representedOrganization", wanted.structure)
    _put(organization, "telecom", nullFlavor="NASK")
    _put(organization, "addr", nullFlavor="NASK")
    _coded(organization, "standardIndustryClassCode", wanted.practice)


def _component_of(root: etree._Element, wanted: Level1) -> None:
    encounter = _put(_put(root, "componentOf"), "encompassingEncounter")
    span = _put(encounter, "effectiveTime")
    _put(span, "low", value=_ts(wanted.service_start))
    facility = _put(_put(encounter, "location"), "healthCareFacility")
    _put(facility, "id", root=STRUCTURE_AUTHORITY, extension=wanted.structure.id)
    _coded(facility, "code", wanted.facility or wanted.structure.sector)
