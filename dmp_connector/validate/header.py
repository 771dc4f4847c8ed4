"""Header rules of the CI-SIS (structuration minimale), as our own synchronous gate (docs/reference/dmp.md 4.3).

"Mandatory" is present without nullFlavor, "required" is present. The schematron checks the same and more, but
needs a process of its own; what it cannot check is here too: shape and key of the INS, PDF/A-1, one patient.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lxml import etree

from dmp_connector.cda.read import INS_OIDS, NS, Cda, tag, text_of
from dmp_connector.errors import BadDocument, BadIns
from dmp_connector.model.people import Ins
from dmp_connector.paper.pdf import MAX_PDF, require_pdfa1
from dmp_connector.validate.active import active_content
from dmp_connector.validate.findings import Finding, Severity

Rule = Callable[[Cda], Iterator[tuple[str, str]]]  # (where, message)

_HL7_FRANCE, _CI_SIS, _XDS_SD = "2.16.840.1.113883.2.8.2.1", "1.2.250.1.213.1.1.1.1", "1.3.6.1.4.1.19376.1.2.20"
_CUSTODIANS = {"1.2.250.1.71.4.2.2", "1.2.250.1.213.4.1"}
_MANDATORY = (
    "id",
    "code",
    "title",
    "effectiveTime",
    "confidentialityCode",
    "languageCode",
    "setId",
    "versionNumber",
    "recordTarget",
    "author",
    "custodian",
    "documentationOf",
    "componentOf",
)
_USES = {"H", "HP", "HV", "WP", "DIR", "PUB", "EC", "MC", "PG"}
_RELATED_CLASSES = {"ECON", "NOK", "CON", "CAREGIVER", "PAT"}


def check_header(document: Cda, *, max_pdf: int = MAX_PDF) -> tuple[Finding, ...]:
    """Every finding, in the order of the header. Empty: the header holds."""
    found = [_finding("error", where, message) for rule in _RULES for where, message in rule(document)]
    found += _embedded_pdf(document, max_pdf)
    found += [_finding("warning", where, message) for where, message in _ins_key(document)]
    return tuple(found)


def _finding(severity: Severity, where: str, message: str) -> Finding:
    return Finding("header", severity, where, message)


def _null(element: etree._Element) -> bool:
    return element.get("nullFlavor") is not None


def _mandatory(parent: etree._Element, path: str, where: str) -> Iterator[tuple[str, str]]:
    found = parent.find("/".join(f"v:{step}" for step in path.split("/")), NS)
    if found is None:
        yield where, f"{path} is missing"
    elif _null(found):
        yield where, f"{path} must not be a nullFlavor"


def _top(document: Cda) -> Iterator[tuple[str, str]]:
    root = document.root
    for attribute, value in (("classCode", "DOCCLIN"), ("moodCode", "EVN")):
        if root.get(attribute, value) != value:
            yield "ClinicalDocument", f"{attribute} must be {value}"
    realm = document.find("realmCode")
    if realm is None or realm.get("code") != "FR":
        yield "realmCode", "must be FR"
    kind = document.find("typeId")
    if kind is None or (kind.get("root"), kind.get("extension")) != ("2.16.840.1.113883.1.3", "POCD_HD000040"):
        yield "typeId", "must be 2.16.840.1.113883.1.3 / POCD_HD000040"
    for name in _MANDATORY:
        yield from _mandatory(root, name, name)


def _templates(document: Cda) -> Iterator[tuple[str, str]]:
    templates = set(document.templates)
    for wanted, who in ((_HL7_FRANCE, "HL7 France"), (_CI_SIS, "CI-SIS")):
        if wanted not in templates:
            yield "templateId", f"{wanted} ({who}) is missing"
    if not templates - {_HL7_FRANCE, _CI_SIS}:
        yield "templateId", "the template of the document model is missing"
    if document.unstructured is not None and _XDS_SD not in templates:
        yield "templateId", f"{_XDS_SD} is obligatory for an unstructured body"


def _codes(document: Cda) -> Iterator[tuple[str, str]]:
    confidentiality = document.find("confidentialityCode")
    if confidentiality is not None and confidentiality.get("code") not in {"N", "R", "V"}:
        yield "confidentialityCode", "must be N, R or V; masking belongs in the XDS metadata"
    language = document.find("languageCode")
    if language is not None and not re.fullmatch(r"[a-z]{2}-[A-Z]{2}", language.get("code", "")):
        yield "languageCode", "must have the form ll-CC, e.g. fr-FR"
    version = document.find("versionNumber")
    if version is not None and not re.fullmatch(r"[1-9][0-9]*", version.get("value", "")):
        yield "versionNumber", "must be a positive integer"
    for related in document.all("relatedDocument"):
        if related.get("typeCode") != "RPLC":
            yield "relatedDocument", "typeCode must be RPLC"
        yield from _mandatory(related, "parentDocument/id", "relatedDocument")


def _patient(document: Cda) -> Iterator[tuple[str, str]]:
    role = document.find("recordTarget/patientRole")
    if role is None:
        return
    where = "recordTarget/patientRole"
    yield from _mandatory(role, "id", where)
    yield from _mandatory(role, "patient/name/family", where)
    yield from _mandatory(role, "patient/name/given", where)
    for required in ("administrativeGenderCode", "birthTime"):
        if role.find(f"v:patient/v:{required}", NS) is None:
            yield where, f"patient/{required} is missing"
    birthplace = role.find("v:patient/v:birthplace", NS)
    if birthplace is not None and birthplace.find("v:place", NS) is None:
        yield where, "patient/birthplace has no place"
    for part in role.iterfind("v:patient/v:name/*", NS):
        if part.tag in {tag("family"), tag("given")} and part.get("qualifier") not in {None, "BR", "CL"}:
            yield f"{where}/patient/name", "only the qualifiers BR and CL are allowed (RNIV)"
    if len(document.all("recordTarget")) > 1:
        yield "recordTarget", "a document is about one patient"


def _ins(document: Cda) -> Iterator[tuple[str, str]]:
    """With an INS the five traits are obligatory."""
    role = document.find("recordTarget/patientRole")
    if role is None:
        return
    where = "recordTarget/patientRole (INS)"
    ids = [i for i in role.findall("v:id", NS) if i.get("root") in INS_OIDS]
    if not ids:
        return
    for found in ids:
        try:
            Ins.received(found.get("extension", ""), found.get("root", ""))
        except BadIns as error:
            yield where, str(error)
    if len({i.get("extension") for i in ids}) > 1:
        yield where, "two INS in one document"
    name = role.find("v:patient/v:name", NS)
    parts = {(p.tag, p.get("qualifier")) for p in name} if name is not None else set()
    for kind, qualifier, what in (
        ("family", "BR", "birth name"),
        ("given", "BR", "first given name"),
        ("given", None, "list of given names"),
    ):
        if (tag(kind), qualifier) not in parts:
            yield where, f"{what} is missing ({kind}{f'@qualifier={qualifier}' if qualifier else ''})"
    county = role.find("v:patient/v:birthplace/v:place/v:addr/v:county", NS)
    if not text_of(county):
        yield where, "birth place (COG code in birthplace/place/addr/county) is missing"
    for required in ("birthTime", "administrativeGenderCode"):
        found_trait = role.find(f"v:patient/v:{required}", NS)
        if found_trait is not None and _null(found_trait):
            yield where, f"{required} must not be a nullFlavor"


def _authors(document: Cda) -> Iterator[tuple[str, str]]:
    for author in document.all("author"):
        if author.find("v:time", NS) is None:
            yield "author", "time is missing"
        yield from _mandatory(author, "assignedAuthor", "author")
        assigned = author.find("v:assignedAuthor", NS)
        if assigned is None or _null(assigned):
            continue
        if assigned.find("v:id", NS) is None:
            yield "author", "id is missing"
        device = assigned.find("v:assignedAuthoringDevice", NS)
        if device is not None:
            for part in ("manufacturerModelName", "softwareName"):
                if device.find(f"v:{part}", NS) is None:
                    yield "author", f"the device's {part} is missing"
        elif assigned.find("v:assignedPerson/v:name/v:family", NS) is None:
            yield "author", "assignedPerson/name/family is missing"


def _custodian(document: Cda) -> Iterator[tuple[str, str]]:
    custodian = document.find("custodian")
    if custodian is None:
        return
    path = "assignedCustodian/representedCustodianOrganization/id"
    yield from _mandatory(custodian, path, "custodian")
    found = document.find(f"custodian/{path}")
    if found is not None and found.get("root") not in _CUSTODIANS:
        yield "custodian", f"id@root must be one of {', '.join(sorted(_CUSTODIANS))}"


def _authenticators(document: Cda) -> Iterator[tuple[str, str]]:
    if document.find("legalAuthenticator") is None:
        yield "legalAuthenticator", "is missing"
    for name in ("legalAuthenticator", "authenticator"):
        for element in document.all(name):
            if element.find("v:time", NS) is None:
                yield name, "time is missing"
            signed = element.find("v:signatureCode", NS)
            if signed is None or signed.get("code") != "S":
                yield name, "signatureCode must be S"
            yield from _mandatory(element, "assignedEntity/id", name)
            if name == "legalAuthenticator":
                yield from _mandatory(element, "assignedEntity/assignedPerson/name/family", name)
            entity = element.find("v:assignedEntity/v:id", NS)
            if name == "authenticator" and entity is not None and entity.get("root") != "1.2.250.1.71.4.2.1":
                yield name, "assignedEntity/id@root must be 1.2.250.1.71.4.2.1"


def _context(document: Cda) -> Iterator[tuple[str, str]]:
    acts = document.all("documentationOf/serviceEvent")
    if document.find("documentationOf") is not None and not acts:
        yield "documentationOf", "serviceEvent is missing"
    if acts and all(a.find("v:effectiveTime/v:low", NS) is None for a in acts):
        yield "documentationOf/serviceEvent", "effectiveTime/low is missing"
    practice = "v:performer/v:assignedEntity/v:representedOrganization/v:standardIndustryClassCode"
    if acts and all(a.find(practice, NS) is None for a in acts):
        yield "documentationOf/serviceEvent/performer", "standardIndustryClassCode is missing"
    for act in acts:
        for performer in act.findall("v:performer", NS):
            if performer.find("v:assignedEntity/v:id", NS) is None:
                yield "documentationOf/serviceEvent/performer", "assignedEntity/id is missing"
    encounter = document.find("componentOf/encompassingEncounter")
    if encounter is None:
        if document.find("componentOf") is not None:
            yield "componentOf", "encompassingEncounter is missing"
        return
    if encounter.find("v:effectiveTime", NS) is None:
        yield "componentOf/encompassingEncounter", "effectiveTime is missing"
    yield from _mandatory(encounter, "location/healthCareFacility/code", "componentOf/encompassingEncounter")


def _others(document: Cda) -> Iterator[tuple[str, str]]:
    for participant in document.all("participant"):
        if participant.find("v:time", NS) is None:
            yield "participant", "time is missing"
        entity = participant.find("v:associatedEntity", NS)
        if entity is not None and entity.get("classCode") not in {"PROV", "AGNT"}:
            yield "participant", "associatedEntity@classCode must be PROV or AGNT"
    for consent in document.all("authorization/consent"):
        yield from _mandatory(consent, "code", "authorization/consent")
        status = consent.find("v:statusCode", NS)
        if status is None or status.get("code") != "completed":
            yield "authorization/consent", "statusCode must be completed"
    for informant in document.all("informant/relatedEntity"):
        if informant.get("classCode") not in _RELATED_CLASSES:
            yield "informant/relatedEntity", f"classCode must be one of {', '.join(sorted(_RELATED_CLASSES))}"
    header = [e for e in document.root if e.tag != tag("component")]
    for telecom in (t for e in header for t in e.iter(tag("telecom"))):
        if (telecom.get("value") is None) == (telecom.get("nullFlavor") is None):
            yield "telecom", "exactly one of value and nullFlavor is needed"
        if telecom.get("use") is not None and not set(telecom.get("use", "").split()) <= _USES:
            yield "telecom", "unknown use"


def _body(document: Cda) -> Iterator[tuple[str, str]]:
    if document.find("component/structuredBody") is None and document.unstructured is None:
        yield "component", "the document has no body"


def _embedded_pdf(document: Cda, max_pdf: int) -> Iterator[Finding]:
    """A level 1 body announced as PDF must be a PDF/A-1; copies inside a structured body are not checked."""
    if document.media_type != "application/pdf":
        return
    try:
        require_pdfa1(document.embedded(), max_bytes=max_pdf)
    except BadDocument as error:
        yield Finding("header", "error", "component/nonXMLBody", str(error), error.detail_fr)


def _ins_key(document: Cda) -> Iterator[tuple[str, str]]:
    """A wrong key in a received document is a warning, never an error (docs/reference/dmp.md 3.3)."""
    try:
        ins = document.ins
    except BadIns:
        return
    if ins is not None and not ins.key_holds:
        yield "recordTarget/patientRole (INS)", "the key does not match the number"


_RULES: tuple[Rule, ...] = (
    _top,
    _templates,
    _codes,
    _patient,
    _ins,
    _authors,
    _custodian,
    _authenticators,
    _context,
    _others,
    _body,
    active_content,
)
