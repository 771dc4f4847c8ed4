"""Answers of the dossier transactions. Reads NE2008 and NE2009 alike, by names and not by position.

An acknowledgement other than AA or CA is raised as its error class with the server's code untouched.
An answer about another patient than the one asked for is BadAnswer: it is never shown.
"""

from __future__ import annotations

from collections.abc import Collection

from lxml import etree

from dmp_connector.errors import BadAnswer, BadIns, NoDossier, refusal
from dmp_connector.hl7v3 import names
from dmp_connector.hl7v3.common import find, hl7, read_day, read_observations, read_oppositions, read_person, text, truth, value
from dmp_connector.model.code import Code
from dmp_connector.model.dossier import AdministrativeData, AuthorisationStatus, Candidate, Closure, Dossier, DossierState
from dmp_connector.model.people import INS_OIDS, Ins
from dmp_connector.texts import message


def read_dossier(root: etree._Element, ins: Ins, oids: Collection[str] = INS_OIDS) -> Dossier:
    """TD0.2: PRPA_IN201308UV02. An unknown INS is a Dossier in state NO_DMP, not an error. `oids`: those that count as an INS."""
    try:
        require_accepted(root)
    except NoDossier:
        return Dossier(ins, DossierState.NO_DMP)
    if _query_response(root) == "NF":
        return Dossier(ins, DossierState.NO_DMP)
    patient = _the_patient(root, ins, oids)
    attention = _attention_lines(root)
    said = read_observations(patient)
    closed = value(patient, "statusCode", "code") == "terminated"
    return Dossier(
        ins=ins,
        state=DossierState.CLOSED if closed else DossierState.ACTIVE,
        authorisation=_authorisation(attention.get("AUTORISATION", "")),
        treating_doctor=bool(truth(attention.get("STATUT_MT"))),
        attached_to_mes=truth(said.get(names.ATTACHED_TO_MES)),
        internet_account=truth(said.get(names.INTERNET_ACCOUNT)),
        closure=_closure(root, patient) if closed else None,
        oppositions=read_oppositions(patient),
    )


def read_administrative(root: etree._Element, ins: Ins, oids: Collection[str] = INS_OIDS) -> AdministrativeData:
    """TD1.3a: the same answer, read for the person. Raises NoDossier."""
    require_accepted(root)
    if _query_response(root) == "NF":
        raise NoDossier("NF", "no dossier for this INS")
    return read_person(_the_patient(root, ins, oids), ins)


def read_candidates(root: etree._Element, oids: Collection[str] = INS_OIDS) -> tuple[Candidate, ...]:
    """TD0.5: PRPA_IN201306UV02, best match first. Empty when nobody matches."""
    require_accepted(root)
    found = []
    for patient in root.iter(f"{{{names.HL7}}}patient"):
        ins = _ins(patient, oids)
        percent = read_observations(patient).get(names.MATCH, "")
        found.append(Candidate(read_person(patient, ins).patient, int(percent) if percent.isdigit() else None, read_oppositions(patient)))
    return tuple(sorted(found, key=lambda candidate: -(candidate.match or 0)))


def read_acceptance(root: etree._Element, oids: Collection[str] = INS_OIDS) -> Ins | None:
    """TD1.1 to TD1.4: 201312/201315 inside their wrapper. Returns the INS that the server repeats; raises the error of 201313/201316."""
    require_accepted(root)
    patient = next(root.iter(f"{{{names.HL7}}}patient"), None)
    return None if patient is None or find(patient, "id") is None else _ins(patient, oids)


def require_accepted(root: etree._Element) -> None:
    """Raise unless the acknowledgement accepts. `typeCode` is an attribute in NE2009, an element in NE2008."""
    acknowledgement = next(root.iter(f"{{{names.HL7}}}acknowledgement"), None)
    if acknowledgement is None:
        raise BadAnswer(message("hl7v3.answer-without-acknowledgement"))
    kind = acknowledgement.get("typeCode") or value(acknowledgement, "typeCode", "code")
    if kind in ("AA", "CA"):
        return
    detail = find(acknowledgement, "acknowledgementDetail")
    code = value(detail, "code", "code")
    raise refusal(code or kind or "AE", text(detail, "text"), context=text(detail, "location"))


def _query_response(root: etree._Element) -> str:
    return next((e.get("code", "") for e in root.iter(f"{{{names.HL7}}}queryResponseCode")), "")


def _ins(patient: etree._Element, oids: Collection[str]) -> Ins:
    """The INS of a patient, among her identifiers."""
    try:
        return Ins.among([(i.get("extension", ""), i.get("root", "")) for i in patient.findall(hl7("id"))], oids=oids)
    except BadIns as error:
        raise BadAnswer(message("hl7v3.answer-names-ins-cannot-read")) from error


def _the_patient(root: etree._Element, ins: Ins, oids: Collection[str]) -> etree._Element:
    patients = list(root.iter(f"{{{names.HL7}}}patient"))
    if len(patients) != 1:
        raise BadAnswer(message("hl7v3.patients-answer-question-about-one", count=len(patients)))
    if not _ins(patients[0], oids).same_as(ins):
        raise BadAnswer(message("hl7v3.answer-about-another-patient"))
    return patients[0]


def _attention_lines(root: etree._Element) -> dict[str, str]:
    found = {}
    for line in root.iter(f"{{{names.HL7}}}attentionLine"):
        content = find(line, "value")
        if content is not None:
            found[value(line, "keyWordText", "code")] = content.get("code") or content.get("value") or (content.text or "").strip()
    return found


def _authorisation(word: str) -> AuthorisationStatus | None:
    if not word:
        return None
    try:
        return AuthorisationStatus(word)
    except ValueError as error:
        raise BadAnswer(message("hl7v3.unknown-authorisation-status", word=repr(word[:40]))) from error


def _closure(root: etree._Element, patient: etree._Element) -> Closure:
    issue = next(root.iter(f"{{{names.HL7}}}detectedIssueEvent"), None)
    code = value(issue, "code", "code")
    when = value(patient, "effectiveTime/high") or value(patient, "effectiveTime")
    reason = Code(code, value(issue, "code", "codeSystem"), value(issue, "code", "displayName")) if code else None
    return Closure(read_day(when), reason, text(issue, "text"))
