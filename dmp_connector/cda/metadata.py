"""XDS metadata from a CDA header, attribute by attribute (docs/reference/dmp.md 3.2).

Values are carried as the document has them; only what XDS requires is required, and its absence is a
BadDocument naming the attribute and the element it comes from. Unknown codes pass: whoever builds or deposits
a document refuses them.
"""

from __future__ import annotations

from typing import TypeVar

from lxml import etree

from dmp_connector.cda.read import NS, Cda, code_of, moment, read, text_of
from dmp_connector.codes import CodeTables, load
from dmp_connector.errors import BadDocument
from dmp_connector.model.code import Code
from dmp_connector.model.documents import PS_AUTHORITY, STRUCTURE_AUTHORITY, Author, DocumentEntry, Institution, Person
from dmp_connector.model.people import INS_OIDS
from dmp_connector.texts import message

T = TypeVar("T")

_STRUCTURE_ID_TYPES = {STRUCTURE_AUTHORITY: "IDNST", "1.3.2": "SIREN"}  # XON.7


def describe(content: bytes, *, tables: CodeTables | None = None) -> DocumentEntry:
    """The DocumentEntry of a CDA, with hash and size of `content`. Raises BadDocument, BadIns, BadCode."""
    return entry_of(read(content), tables=tables).describing(content)


def entry_of(document: Cda, *, tables: CodeTables | None = None) -> DocumentEntry:
    """The DocumentEntry of a parsed CDA, hash and size not set."""
    codes = tables or load()
    ins = document.ins
    if ins is None:
        raise BadDocument(message("cda.patientid-cda-no-ins-recordtarget"))
    kind = _required(document.type, "typeCode", "code")
    act = _main_act(document)
    return DocumentEntry(
        unique_id=_required(document.unique_id or None, "uniqueId", "id"),
        patient=ins,
        title=_required(document.title or None, "title", "title"),
        type=kind,
        class_code=codes.class_for(kind.code),
        format=codes.format_for(document.templates, document.media_type),
        created=_required(document.created, "creationTime", "effectiveTime"),
        authors=tuple(_author(a) for a in document.all("author")),
        facility=_required(
            code_of(document.find("componentOf/encompassingEncounter/location/healthCareFacility/code")),
            "healthcareFacilityTypeCode",
            "componentOf/encompassingEncounter/location/healthCareFacility/code",
        ),
        practice=_required(_practice(document), "practiceSettingCode", "documentationOf//standardIndustryClassCode"),
        service_start=moment(act.find("v:effectiveTime", NS)) if act is not None else None,
        service_stop=moment(act.find("v:effectiveTime/v:high", NS)) if act is not None else None,
        confidentiality=(_required(code_of(document.find("confidentialityCode")), "confidentialityCode", "confidentialityCode"),),
        mime_type="application/xslt+xml" if document.self_presenting else "text/xml",
        language=_language(document),
        legal_authenticator=person_of(document.find("legalAuthenticator/assignedEntity")),
        source_patient_id=_source_patient_id(document) or ins.cx,
        source_patient_info=_source_patient_info(document),
        events=tuple(c for e in document.all("documentationOf/serviceEvent/code") if (c := code_of(e)) is not None),
    )


def _required(value: T | None, attribute: str, element: str) -> T:
    if value is None:
        raise BadDocument(message("cda.cda-does-not-say", attribute=attribute, element=element))
    return value


def _main_act(document: Cda) -> etree._Element | None:
    """The documented act: the serviceEvent whose performer has the practice setting, else the first."""
    acts = document.all("documentationOf/serviceEvent")
    for act in acts:
        if act.find(".//v:standardIndustryClassCode", NS) is not None:
            return act
    return acts[0] if acts else None


def _practice(document: Cda) -> Code | None:
    path = "documentationOf/serviceEvent/performer/assignedEntity/representedOrganization/standardIndustryClassCode"
    return next((c for e in document.all(path) if (c := code_of(e)) is not None), None)


def _language(document: Cda) -> str:
    found = document.find("languageCode")
    return (found.get("code") if found is not None else None) or "fr-FR"


def _author(element: etree._Element) -> Author:
    assigned = element.find("v:assignedAuthor", NS)
    if assigned is None:
        raise BadDocument(message("cda.author-assignedauthor-missing"))
    role = element.find("v:functionCode", NS)
    specialty = code_of(assigned.find("v:code", NS))
    return Author(
        person=person_of(assigned),
        institution=_institution(assigned.find("v:representedOrganization", NS)),
        roles=(role.get("displayName", ""),) if role is not None and role.get("displayName") else (),
        specialties=(f"{specialty.code}^{specialty.label}^{specialty.system}",) if specialty else (),
    )


def person_of(entity: etree._Element | None) -> Person | None:
    """XCN of an assignedAuthor or assignedEntity (docs/reference/dmp.md 3.3)."""
    if entity is None:
        return None
    found = entity.find("v:id", NS)
    root = found.get("root", "") if found is not None else ""
    extension = (found.get("extension") if found is not None else None) or ""
    device = entity.find("v:assignedAuthoringDevice", NS)
    if device is not None:
        model = text_of(device.find("v:manufacturerModelName", NS))
        return Person(extension or root, text_of(device.find("v:softwareName", NS)), model, root, "U", "RI")
    family, given = _name(entity.find("v:assignedPerson/v:name", NS))
    kind = "IDNPS" if root == PS_AUTHORITY else "NH" if root in INS_OIDS else "PI"
    return Person(extension, family, given, root, "D", kind)


def _name(name: etree._Element | None) -> tuple[str, str]:
    """Family and given: the names in use (CL), else the birth names (BR), else the unqualified ones."""
    if name is None:
        return "", ""
    return _part(name, "family", ("CL", "BR", None)), _part(name, "given", ("CL", None, "BR"))


def _part(name: etree._Element, kind: str, order: tuple[str | None, ...]) -> str:
    parts = {p.get("qualifier"): text_of(p) for p in reversed(name.findall(f"v:{kind}", NS))}
    return next((parts[q] for q in order if parts.get(q)), "")


def _institution(organization: etree._Element | None) -> Institution | None:
    """nullFlavor on the name or the id leaves that component empty (docs/reference/dmp.md 3.2)."""
    if organization is None:
        return None
    found = organization.find("v:id", NS)
    extension = (found.get("extension") if found is not None else None) or ""
    root = found.get("root", "") if found is not None and extension else ""
    name = text_of(organization.find("v:name", NS))
    if not name and not extension:
        return None
    return Institution(name, extension, root, _STRUCTURE_ID_TYPES.get(root, "IDNST") if extension else "")


def _source_patient_id(document: Cda) -> str | None:
    for found in document.all("recordTarget/patientRole/id"):
        if found.get("root") and found.get("extension") and found.get("root") not in INS_OIDS:
            return f"{found.get('extension')}^^^&{found.get('root')}&ISO^PI"
    return None


def _source_patient_info(document: Cda) -> tuple[str, ...]:
    patient = document.find("recordTarget/patientRole/patient")
    if patient is None:
        return ()
    name = patient.find("v:name", NS)
    lines: list[str] = []
    if name is not None:
        birth = _part(name, "family", ("BR", None)), _part(name, "given", ("BR", None))
        used = _part(name, "family", ("CL",)), _part(name, "given", ("CL",))
        lines += [f"PID-5|{family}^{given}^^^^^{kind}" for (family, given), kind in ((birth, "L"), (used, "D")) if family or given]
    born = patient.find("v:birthTime", NS)
    if born is not None and born.get("value"):
        lines.append(f"PID-7|{born.get('value', '')[:8]}")
    sex = code_of(patient.find("v:administrativeGenderCode", NS))
    lines.append(f"PID-8|{ {'M': 'M', 'F': 'F'}.get(sex.code if sex else '', 'U') }".replace(" ", ""))
    return tuple(lines)
