"""Requests of the dossier transactions. Each function returns the payload of the SOAP body."""

from __future__ import annotations

import uuid
from datetime import datetime

from lxml import etree

from dmp_connector.hl7v3 import names
from dmp_connector.hl7v3.common import Frame, add, author, control_act, new_interaction, nil, observation, person
from dmp_connector.model.code import Code
from dmp_connector.model.dossier import AdministrativeData, DossierState, IdentityQuery
from dmp_connector.model.people import Actor, Ins, Patient, Sex

CLOSING_REQUESTED = Code("FERMETURE_DEMANDE_PATIENT", names.CLOSING_REASONS, "Fermeture à la demande du patient")


def demographics_query(ins: Ins, reason: names.Reason, frame: Frame) -> etree._Element:
    """TD0.2 (TEST_EXST) and TD1.3a (CNSLT_DATA): PRPA_IN201307UV02."""
    root = new_interaction("PRPA_IN201307UV02", frame)
    nil(root, "attentionLine")
    query = add(control_act(root, reason), "queryByParameter")
    add(query, "queryId", root=f"{frame.sender_oid}.4", extension=str(uuid.uuid4()))
    add(query, "statusCode", code="new")
    parameters = add(query, "parameterList")
    nil(parameters, "dataSource")
    identifier = add(parameters, "patientIdentifier")
    add(identifier, "value", root=ins.oid, extension=ins.value)
    add(identifier, "semanticsText", "Patient.id")
    return root


def candidates_query(query: IdentityQuery, frame: Frame) -> etree._Element:
    """TD0.5: PRPA_IN201305UV02 (IHE ITI-47)."""
    root = new_interaction("PRPA_IN201305UV02", frame)
    act = add(root, "controlActProcess", classCode="CACT", moodCode="EVN")
    add(act, "code", code="PRPA_TE201305UV02", codeSystem=names.INTERACTIONS)
    body = add(act, "queryByParameter")
    add(body, "queryId", root=f"{frame.sender_oid}.4", extension=str(uuid.uuid4()))
    add(body, "statusCode", code="new")
    parameters = add(body, "parameterList")
    if query.sex:
        code = "UN" if query.sex is Sex.UNKNOWN else query.sex.value
        gender = add(parameters, "livingSubjectAdministrativeGender")
        add(gender, "value", code=code, codeSystem=names.GENDERS)
        add(gender, "semanticsText", "LivingSubject.administrativeGender")
    if query.birth_date:
        birth = add(parameters, "livingSubjectBirthTime")
        add(birth, "value", value=f"{query.birth_date:%Y%m%d}")
        add(birth, "semanticsText", "LivingSubject.birthTime")
    subject = add(parameters, "livingSubjectName")
    name = add(subject, "value")
    add(name, "family", query.family)
    if query.given:
        add(name, "given", query.given)
    add(subject, "semanticsText", "LivingSubject.name")
    if query.postal_code or query.city:
        address = add(parameters, "patientAddress")
        holder = add(address, "value")
        for local, content in (("postalCode", query.postal_code), ("city", query.city)):
            if content:
                add(holder, local, content)
        add(address, "semanticsText", "Patient.addr")
    return root


def add_request(data: AdministrativeData, actor: Actor, frame: Frame, *, consent_at: datetime, vitale: Patient | None) -> etree._Element:
    """TD1.1: PRPA_IN201311UV02 with consent, both oppositions, and the untouched traits of the Vitale card."""
    root = new_interaction("PRPA_IN201311UV02", frame)
    request = _registration(control_act(root, names.Reason.CREATE))
    patient = _patient(request, data.patient.ins, DossierState.ACTIVE)
    person(patient, data, vitale=vitale)
    _provider(patient)
    observation(patient, names.CONSENT_OPENING, True, at=consent_at)
    _oppositions(patient, data)
    author(request, actor)
    return root


def reactivate_request(data: AdministrativeData, actor: Actor, frame: Frame, *, consent_at: datetime) -> etree._Element:
    """TD1.2: PRPA_IN201314UV02, REAC, with the consent to reactivation."""
    root = new_interaction("PRPA_IN201314UV02", frame)
    request = _registration(control_act(root, names.Reason.REACTIVATE))
    patient = _patient(request, data.patient.ins, DossierState.ACTIVE)
    person(patient, data)
    _provider(patient)
    observation(patient, names.CONSENT_REACTIVATION, True, at=consent_at)
    author(request, actor)
    return root


def modify_request(data: AdministrativeData, actor: Actor, frame: Frame) -> etree._Element:
    """TD1.3b: PRPA_IN201314UV02, MODIF_DATA."""
    root = new_interaction("PRPA_IN201314UV02", frame)
    request = _registration(control_act(root, names.Reason.MODIFY))
    patient = _patient(request, data.patient.ins, data.state)
    person(patient, data)
    _provider(patient)
    _oppositions(patient, data)
    author(request, actor)
    return root


def close_request(data: AdministrativeData, actor: Actor, frame: Frame, *, reason: Code, explanation: str) -> etree._Element:
    """TD1.4: PRPA_IN201314UV02, FERM, patient terminated, the reason as a detected issue."""
    root = new_interaction("PRPA_IN201314UV02", frame)
    act = control_act(root, names.Reason.CLOSE)
    request = _registration(act)
    patient = _patient(request, data.patient.ins, DossierState.CLOSED)
    person(patient, data)
    _provider(patient)
    author(request, actor)
    issue = add(add(act, "reasonOf", typeCode="RSON"), "detectedIssueEvent", classCode="ALRT", moodCode="EVN")
    add(issue, "code", code=reason.code, codeSystem=reason.system)
    add(issue, "text", explanation)
    return root


def _registration(act: etree._Element) -> etree._Element:
    subject = add(act, "subject", typeCode="SUBJ", contextConductionInd="false")
    request = add(subject, "registrationRequest", classCode="REG", moodCode="RQO")
    add(request, "statusCode", code="active")
    return request


def _patient(request: etree._Element, ins: Ins, state: DossierState) -> etree._Element:
    patient = add(add(request, "subject1", typeCode="SBJ"), "patient", classCode="PAT")
    add(patient, "id", root=ins.oid, extension=ins.value)
    add(patient, "statusCode", code="terminated" if state is DossierState.CLOSED else "active")
    return patient


def _provider(patient: etree._Element) -> None:
    nil(patient, "providerOrganization", classCode="ORG", determinerCode="INSTANCE")


def _oppositions(patient: etree._Element, data: AdministrativeData) -> None:
    """Always both, never one for the other (CSP L1111-17); absent means not opposed."""
    observation(patient, names.OPPOSES_BRIS_DE_GLACE, bool(data.oppositions.bris_de_glace))
    observation(patient, names.OPPOSES_CENTRE_15, bool(data.oppositions.centre_15))


__all__ = [
    "CLOSING_REQUESTED",
    "add_request",
    "candidates_query",
    "close_request",
    "demographics_query",
    "modify_request",
    "reactivate_request",
]
