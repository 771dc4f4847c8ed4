"""Header rules of the CI-SIS (structuration minimale), as our own synchronous gate (docs/reference/dmp.md 4.3).

"Mandatory" is present without nullFlavor, "required" is present. The schematron checks the same and more, but
needs a process of its own; what it cannot check is here too: shape and key of the INS, PDF/A-1, one patient.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lxml import etree

from dmp_connector.cda.read import NS, Cda, tag, text_of
from dmp_connector.errors import BadDocument, BadIns
from dmp_connector.model.people import INS_OIDS, Ins
from dmp_connector.paper.pdf import MAX_PDF, require_pdfa1
from dmp_connector.texts import Message, message
from dmp_connector.validate.active import active_content, web_links
from dmp_connector.validate.findings import Finding, Severity

Rule = Callable[[Cda], Iterator[tuple[str, Message]]]  # (where, message)

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
    found = [_finding("error", where, said) for rule in _RULES for where, said in rule(document)]
    found += _embedded_pdf(document, max_pdf)
    found += [_finding("warning", where, said) for rule in _REMARKS for where, said in rule(document)]
    return tuple(found)


def _finding(severity: Severity, where: str, said: Message) -> Finding:
    return Finding("header", severity, where, said)


def _null(element: etree._Element) -> bool:
    return element.get("nullFlavor") is not None


def _mandatory(parent: etree._Element, path: str, where: str) -> Iterator[tuple[str, Message]]:
    found = parent.find("/".join(f"v:{step}" for step in path.split("/")), NS)
    if found is None:
        yield where, message("validate.missing", path=path)
    elif _null(found):
        yield where, message("validate.must-not-nullflavor", path=path)


def _top(document: Cda) -> Iterator[tuple[str, Message]]:
    root = document.root
    for attribute, value in (("classCode", "DOCCLIN"), ("moodCode", "EVN")):
        if root.get(attribute, value) != value:
            yield "ClinicalDocument", message("validate.must", attribute=attribute, value=value)
    realm = document.find("realmCode")
    if realm is None or realm.get("code") != "FR":
        yield "realmCode", message("validate.must-fr")
    kind = document.find("typeId")
    if kind is None or (kind.get("root"), kind.get("extension")) != ("2.16.840.1.113883.1.3", "POCD_HD000040"):
        yield "typeId", message("validate.must-2-16-840-1")
    for name in _MANDATORY:
        yield from _mandatory(root, name, name)


def _templates(document: Cda) -> Iterator[tuple[str, Message]]:
    templates = set(document.templates)
    for wanted, who in ((_HL7_FRANCE, "HL7 France"), (_CI_SIS, "CI-SIS")):
        if wanted not in templates:
            yield "templateId", message("validate.missing-3", wanted=wanted, who=who)
    if not templates - {_HL7_FRANCE, _CI_SIS}:
        yield "templateId", message("validate.template-document-model-missing")
    if document.unstructured is not None and _XDS_SD not in templates:
        yield "templateId", message("validate.obligatory-unstructured-body", xds_sd=_XDS_SD)


def _codes(document: Cda) -> Iterator[tuple[str, Message]]:
    confidentiality = document.find("confidentialityCode")
    if confidentiality is not None and confidentiality.get("code") not in {"N", "R", "V"}:
        yield "confidentialityCode", message("validate.must-n-r-v-masking")
    language = document.find("languageCode")
    if language is not None and not re.fullmatch(r"[a-z]{2}-[A-Z]{2}", language.get("code", "")):
        yield "languageCode", message("validate.must-form-ll-cc-e")
    version = document.find("versionNumber")
    if version is not None and not re.fullmatch(r"[1-9][0-9]*", version.get("value", "")):
        yield "versionNumber", message("validate.must-positive-integer")
    for related in document.all("relatedDocument"):
        if related.get("typeCode") != "RPLC":
            yield "relatedDocument", message("validate.typecode-must-rplc")
        yield from _mandatory(related, "parentDocument/id", "relatedDocument")


def _patient(document: Cda) -> Iterator[tuple[str, Message]]:
    role = document.find("recordTarget/patientRole")
    if role is None:
        return
    where = "recordTarget/patientRole"
    yield from _mandatory(role, "id", where)
    yield from _mandatory(role, "patient/name/family", where)
    yield from _mandatory(role, "patient/name/given", where)
    for required in ("administrativeGenderCode", "birthTime"):
        if role.find(f"v:patient/v:{required}", NS) is None:
            yield where, message("validate.patient-missing", required=required)
    birthplace = role.find("v:patient/v:birthplace", NS)
    if birthplace is not None and birthplace.find("v:place", NS) is None:
        yield where, message("validate.patient-birthplace-no-place")
    for part in role.iterfind("v:patient/v:name/*", NS):
        if part.tag in {tag("family"), tag("given")} and part.get("qualifier") not in {None, "BR", "CL"}:
            yield f"{where}/patient/name", message("validate.only-qualifiers-br-cl-allowed")
    if len(document.all("recordTarget")) > 1:
        yield "recordTarget", message("validate.document-about-one-patient")


def _ins(document: Cda) -> Iterator[tuple[str, Message]]:
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
            yield where, error.detail
    if len({i.get("extension") for i in ids}) > 1:
        yield where, message("validate.two-ins-one-document")
    name = role.find("v:patient/v:name", NS)
    parts = {(p.tag, p.get("qualifier")) for p in name} if name is not None else set()
    for kind, qualifier, what in (
        ("family", "BR", "trait.birth name"),
        ("given", "BR", "trait.first given name"),
        ("given", None, "trait.list of given names"),
    ):
        if (tag(kind), qualifier) not in parts:
            yield where, message("validate.missing-4", what=what, kind=kind, what2=f"@qualifier={qualifier}" if qualifier else "")
    county = role.find("v:patient/v:birthplace/v:place/v:addr/v:county", NS)
    if not text_of(county):
        yield where, message("validate.birth-place-cog-code-birthplace")
    for required in ("birthTime", "administrativeGenderCode"):
        found_trait = role.find(f"v:patient/v:{required}", NS)
        if found_trait is not None and _null(found_trait):
            yield where, message("validate.must-not-nullflavor-2", required=required)


def _authors(document: Cda) -> Iterator[tuple[str, Message]]:
    for author in document.all("author"):
        if author.find("v:time", NS) is None:
            yield "author", message("validate.time-missing")
        yield from _mandatory(author, "assignedAuthor", "author")
        assigned = author.find("v:assignedAuthor", NS)
        if assigned is None or _null(assigned):
            continue
        if assigned.find("v:id", NS) is None:
            yield "author", message("validate.id-missing")
        device = assigned.find("v:assignedAuthoringDevice", NS)
        if device is not None:
            for part in ("manufacturerModelName", "softwareName"):
                if device.find(f"v:{part}", NS) is None:
                    yield "author", message("validate.device-s-missing", part=part)
        elif assigned.find("v:assignedPerson/v:name/v:family", NS) is None:
            yield "author", message("validate.assignedperson-name-family-missing")


def _custodian(document: Cda) -> Iterator[tuple[str, Message]]:
    custodian = document.find("custodian")
    if custodian is None:
        return
    path = "assignedCustodian/representedCustodianOrganization/id"
    yield from _mandatory(custodian, path, "custodian")
    found = document.find(f"custodian/{path}")
    if found is not None and found.get("root") not in _CUSTODIANS:
        yield "custodian", message("validate.id-root-must-one", custodians=", ".join(sorted(_CUSTODIANS)))


def _authenticators(document: Cda) -> Iterator[tuple[str, Message]]:
    if document.find("legalAuthenticator") is None:
        yield "legalAuthenticator", message("validate.missing-2")
    for name in ("legalAuthenticator", "authenticator"):
        for element in document.all(name):
            if element.find("v:time", NS) is None:
                yield name, message("validate.time-missing")
            signed = element.find("v:signatureCode", NS)
            if signed is None or signed.get("code") != "S":
                yield name, message("validate.signaturecode-must-s")
            yield from _mandatory(element, "assignedEntity/id", name)
            if name == "legalAuthenticator":
                yield from _mandatory(element, "assignedEntity/assignedPerson/name/family", name)
            entity = element.find("v:assignedEntity/v:id", NS)
            if name == "authenticator" and entity is not None and entity.get("root") != "1.2.250.1.71.4.2.1":
                yield name, message("validate.assignedentity-id-root-must-1")


def _context(document: Cda) -> Iterator[tuple[str, Message]]:
    acts = document.all("documentationOf/serviceEvent")
    if document.find("documentationOf") is not None and not acts:
        yield "documentationOf", message("validate.serviceevent-missing")
    if acts and all(a.find("v:effectiveTime/v:low", NS) is None for a in acts):
        yield "documentationOf/serviceEvent", message("validate.effectivetime-low-missing")
    practice = "v:performer/v:assignedEntity/v:representedOrganization/v:standardIndustryClassCode"
    if acts and all(a.find(practice, NS) is None for a in acts):
        yield "documentationOf/serviceEvent/performer", message("validate.standardindustryclasscode-missing")
    for act in acts:
        for performer in act.findall("v:performer", NS):
            if performer.find("v:assignedEntity/v:id", NS) is None:
                yield "documentationOf/serviceEvent/performer", message("validate.assignedentity-id-missing")
    encounter = document.find("componentOf/encompassingEncounter")
    if encounter is None:
        if document.find("componentOf") is not None:
            yield "componentOf", message("validate.encompassingencounter-missing")
        return
    if encounter.find("v:effectiveTime", NS) is None:
        yield "componentOf/encompassingEncounter", message("validate.effectivetime-missing")
    yield from _mandatory(encounter, "location/healthCareFacility/code", "componentOf/encompassingEncounter")


def _others(document: Cda) -> Iterator[tuple[str, Message]]:
    for participant in document.all("participant"):
        if participant.find("v:time", NS) is None:
            yield "participant", message("validate.time-missing")
        entity = participant.find("v:associatedEntity", NS)
        if entity is not None and entity.get("classCode") not in {"PROV", "AGNT"}:
            yield "participant", message("validate.associatedentity-classcode-must-prov-agnt")
    for consent in document.all("authorization/consent"):
        yield from _mandatory(consent, "code", "authorization/consent")
        status = consent.find("v:statusCode", NS)
        if status is None or status.get("code") != "completed":
            yield "authorization/consent", message("validate.statuscode-must-completed")
    for informant in document.all("informant/relatedEntity"):
        if informant.get("classCode") not in _RELATED_CLASSES:
            yield "informant/relatedEntity", message("validate.classcode-must-one", related_classes=", ".join(sorted(_RELATED_CLASSES)))
    header = [e for e in document.root if e.tag != tag("component")]
    for telecom in (t for e in header for t in e.iter(tag("telecom"))):
        if (telecom.get("value") is None) == (telecom.get("nullFlavor") is None):
            yield "telecom", message("validate.exactly-one-value-nullflavor-needed")
        if telecom.get("use") is not None and not set(telecom.get("use", "").split()) <= _USES:
            yield "telecom", message("validate.unknown-use")


def _body(document: Cda) -> Iterator[tuple[str, Message]]:
    if document.find("component/structuredBody") is None and document.unstructured is None:
        yield "component", message("validate.document-no-body")


def _embedded_pdf(document: Cda, max_pdf: int) -> Iterator[Finding]:
    """A level 1 body announced as PDF must be a PDF/A-1; copies inside a structured body are not checked."""
    if document.media_type != "application/pdf":
        return
    try:
        require_pdfa1(document.embedded(), max_bytes=max_pdf)
    except BadDocument as error:
        yield Finding("header", "error", "component/nonXMLBody", error.detail)


def _ins_key(document: Cda) -> Iterator[tuple[str, Message]]:
    """A wrong key in a received document is a warning, never an error (docs/reference/dmp.md 3.3)."""
    try:
        ins = document.ins
    except BadIns:
        return
    if ins is not None and not ins.key_holds:
        yield "recordTarget/patientRole (INS)", message("validate.key-does-not-match-number")


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
_REMARKS: tuple[Rule, ...] = (_ins_key, web_links)
