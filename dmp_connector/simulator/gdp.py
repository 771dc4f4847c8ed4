"""HL7 V3 answers: 201307 -> 201308, 201305 -> 201306, 201311 and 201314 -> their wrapped acceptances and rejections."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from lxml import etree

from dmp_connector.errors import Refused, refusal
from dmp_connector.hl7v3 import names
from dmp_connector.hl7v3.common import (
    Frame,
    add,
    control_act,
    find,
    new_interaction,
    nil,
    observation,
    person,
    person_name,
    read_day,
    read_observations,
    read_person,
    text,
    truth,
    value,
)
from dmp_connector.model.code import Code
from dmp_connector.model.dossier import AdministrativeData, DossierState
from dmp_connector.model.people import Ins, InsKind, plain_name
from dmp_connector.simulator.gate import GateRefused, Visitor
from dmp_connector.simulator.rights import Reach, Right, deny, reach
from dmp_connector.simulator.world import Grant, Record, World, closed, old_identifier, reopened

GDP = "asip:ci-sis:gdp:2010"
_TYPE = f"{{{names.XSI}}}type"
_MATCH_FLOOR = 60


class Traits(enum.Enum):
    """How much of a person an answer shows."""

    ALL = "everything administrative"
    STRICT = "the strict traits, and no name of use (TD0.2)"
    NAMES = "names only (TD1.1)"


class Gdp:
    """The services `patients` and `patientsPDQ`."""

    def __init__(self, world: World, *, legacy: bool, authorisation_days: int) -> None:
        self._world, self._legacy, self._days = world, legacy, authorisation_days

    def demographics(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD0.2 and TD1.3a."""
        identifier = find(payload, "controlActProcess/queryByParameter/parameterList/patientIdentifier/value")
        asked = _ins(identifier)
        _same_patient(visitor, asked)
        reason = value(payload, "controlActProcess/reasonCode", "code")
        record = self._world.find(asked)
        root, frame_id = self._answer("PRPA_IN201308UV02", payload)
        if reason not in (names.Reason.EXISTENCE, names.Reason.READ):
            return self._rejected(root, frame_id, refusal("SIMUnknownReason", f"reasonCode {reason}"))
        if record is None or not record.exists:
            self._acknowledge(root, frame_id)
            self._query_ack(self._act(root, names.Reason(reason)), payload, "NF")
            return root
        full = reason == names.Reason.READ
        if not full:
            self._attention(root, record, visitor)
        self._acknowledge(root, frame_id)
        act = self._act(root, names.Reason(reason))
        patient = self._event(act, record, Traits.ALL if full else Traits.STRICT, status="completed")
        observation(patient, names.INTERNET_ACCOUNT, record.access is not None, system=names.INTERNET_ACCOUNT_SYSTEM)
        observation(patient, names.ATTACHED_TO_MES, record.attached_to_mes)
        for code, opposed in (
            (names.OPPOSES_BRIS_DE_GLACE, record.oppositions.bris_de_glace),
            (names.OPPOSES_CENTRE_15, record.oppositions.centre_15),
        ):
            observation(patient, code, bool(opposed))
        self._closing_reason(act, record)
        self._query_ack(act, payload, "OK")
        return root

    def _attention(self, root: etree._Element, record: Record, visitor: Visitor) -> None:
        now = self._world.now()
        status = record.authorisation(visitor.id, visitor.structure, now=now)
        line = add(root, "attentionLine")
        add(line, "keyWordText", code="AUTORISATION", codeSystem=names.ATTENTION_KEYS)
        add(line, "value", code=status.value, codeSystem=names.AUTHORISATION_VALUES).set(_TYPE, "CV")
        line = add(root, "attentionLine")
        add(line, "keyWordText", code="STATUT_MT", codeSystem=names.TREATING_DOCTOR_VALUES)
        add(line, "value", value="true" if record.treats(visitor.id, now) else "false").set(_TYPE, "BL")

    def _closing_reason(self, act: etree._Element, record: Record) -> None:
        if record.closure is None or record.closure.reason is None:
            return
        issue = add(add(act, "reasonOf", typeCode="RSON"), "detectedIssueEvent", classCode="ALRT", moodCode="EVN")
        add(issue, "code", code=record.closure.reason.code, codeSystem=record.closure.reason.system)
        add(issue, "text", record.closure.text)

    def candidates(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD0.5: name without accents, first given name, birth date, sex; oppositions and a percentage."""
        regulation = visitor.mode.value == "centre_15"
        if reach(Right.SEARCH, visitor.column(None, self._world.now()), regulation=regulation) is Reach.NONE or not regulation:
            raise deny(Right.SEARCH)
        parameters = find(payload, "controlActProcess/queryByParameter/parameterList")
        found = [(p, r) for r in self._world.records.values() if r.exists and (p := _match(r, parameters)) >= _MATCH_FLOOR]
        root, frame_id = self._answer("PRPA_IN201306UV02", payload)
        acknowledgement = add(root, "acknowledgement")
        add(acknowledgement, "typeCode", code="AA")
        add(add(acknowledgement, "targetMessage"), "id", root=frame_id[0], extension=frame_id[1])
        act = self._act(root)
        for percent, record in sorted(found, key=lambda pair: -pair[0]):
            patient = self._event(act, record, Traits.ALL, ins_first=True)
            match = add(add(patient, "subjectOf1", typeCode="SBJ"), "queryMatchObservation", classCode="OBS", moodCode="EVN")
            add(match, "code", code=names.MATCH, codeSystem=names.OBSERVATIONS)
            add(match, "value", value=str(percent)).set(_TYPE, "INT")
            observation(patient, names.OPPOSES_CENTRE_15, bool(record.oppositions.centre_15), local="subjectOf2")
        self._query_ack(act, payload, "OK" if found else "NF")
        return root

    def create(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD1.1."""
        return self._managed(payload, visitor, "PRPA_IN201312UV02", "PRPA_IN201313UV02", self._create)

    def revise(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD1.2, TD1.3b, TD1.4, by reasonCode."""
        return self._managed(payload, visitor, "PRPA_IN201315UV02", "PRPA_IN201316UV02", self._revise)

    def _managed(
        self, payload: etree._Element, visitor: Visitor, accepted: str, rejected: str, change: Callable[[etree._Element, Visitor], Record]
    ) -> etree._Element:
        wrapper = etree.Element(f"{{{GDP}}}{etree.QName(payload).localname}_Response", nsmap={"gdp": GDP})
        try:
            record = change(payload, visitor)
        except Refused as refused:
            root, frame_id = self._answer(rejected, payload)
            wrapper.append(self._rejected(root, frame_id, refused))
            return wrapper
        root, frame_id = self._answer(accepted, payload)
        self._acknowledge(root, frame_id)
        brief = accepted == "PRPA_IN201312UV02"  # identifiers and names are all that PRPA_MT201304UV02 has place for
        patient = self._event(self._act(root), record, Traits.NAMES if brief else Traits.ALL)
        for code, opposed in (
            (names.OPPOSES_BRIS_DE_GLACE, record.oppositions.bris_de_glace),
            (names.OPPOSES_CENTRE_15, record.oppositions.centre_15),
        ):
            if not brief:
                observation(patient, code, bool(opposed))
        wrapper.append(root)
        return wrapper

    def _create(self, payload: etree._Element, visitor: Visitor) -> Record:
        patient, data = _administered(payload, visitor)
        record = self._world.find(data.patient.ins)
        if record is None:
            raise refusal("SIMUnknownIns", "INS inconnu du référentiel national")
        if record.exists and not record.closure:
            raise refusal("DMPFound", "Le DMP existe déjà")
        if not self._legacy or record.attached_to_mes:
            raise deny(Right.MANAGE, "le dossier relève de Mon espace santé")
        if record.closure:
            raise refusal("DMPClosed", "Le DMP est fermé : le réactiver")
        _require_consent(patient, names.CONSENT_OPENING)
        if plain_name(data.patient.birth_name or data.patient.used_name or "") not in _family_names(record):
            raise refusal("SIMTraitsDiffer", "Les traits ne correspondent pas à l'INS")
        reopened(record, replace(data, patient=replace(data.patient, birth_place=record.data.patient.birth_place)))
        now = self._world.now()
        record.grants[visitor.imputed_to] = Grant(visitor.name, visitor.speciality, now, now + timedelta(days=self._days))
        return record

    def _revise(self, payload: etree._Element, visitor: Visitor) -> Record:
        patient, data = _administered(payload, visitor)
        record = self._world.find(data.patient.ins)
        if record is None or not record.exists:
            raise refusal("NF", "Pas de DMP pour cet INS")
        if reach(Right.MANAGE, visitor.column(record, self._world.now())) is Reach.NONE:
            raise deny(Right.MANAGE)
        if record.attached_to_mes or not self._legacy:
            raise deny(Right.MANAGE, "le dossier relève de Mon espace santé")
        match value(payload, "controlActProcess/reasonCode", "code"):
            case names.Reason.REACTIVATE:
                if not record.closure:
                    raise refusal("DMPFound", "Le DMP est déjà actif")
                _require_consent(patient, names.CONSENT_REACTIVATION)
                reopened(record, replace(data, oppositions=record.oppositions))
            case names.Reason.CLOSE:
                if record.closure:
                    raise refusal("DMPClosed", "Le DMP est déjà fermé")
                issue = find(payload, "controlActProcess/reasonOf/detectedIssueEvent")
                code = Code(value(issue, "code", "code"), value(issue, "code", "codeSystem"))
                if code.code != "FERMETURE_DEMANDE_PATIENT" or not text(issue, "text"):
                    raise refusal("SIMReasonMissing", "Motif de fermeture absent")
                closed(record, self._world.now(), code, text(issue, "text"))
            case names.Reason.MODIFY:
                if record.closure:
                    raise refusal("DMPClosed", "Le DMP est fermé")
                record.data = replace(data, state=DossierState.ACTIVE)
            case other:
                raise refusal("SIMUnknownReason", f"reasonCode {other}")
        return record

    def _answer(self, interaction: str, request: etree._Element) -> tuple[etree._Element, tuple[str, str]]:
        frame = Frame(
            sender_oid="1.2.250.1.213.4.1.1.1",
            sender_name="DMP",
            receiver_oid=value(request, "sender/device/id", "root") or "1.2.3",
            receiver_name=text(request, "sender/device/softwareName") or "LPS",
            processing=value(request, "processingCode", "code") or "P",
            now=self._world.now(),
        )
        return new_interaction(interaction, frame, accept="NE"), (value(request, "id", "root"), value(request, "id", "extension"))

    def _acknowledge(self, root: etree._Element, target: tuple[str, str]) -> None:
        acknowledgement = add(root, "acknowledgement", typeCode="AA")
        add(add(acknowledgement, "targetMessage"), "id", root=target[0], extension=target[1])

    def _rejected(self, root: etree._Element, target: tuple[str, str], refused: Refused) -> etree._Element:
        acknowledgement = add(root, "acknowledgement", typeCode="AE")
        add(add(acknowledgement, "targetMessage"), "id", root=target[0], extension=target[1])
        detail = add(acknowledgement, "acknowledgementDetail", typeCode="E")
        add(detail, "code", code=refused.code)
        add(detail, "text", refused.text)
        self._act(root)
        return root

    def _act(self, root: etree._Element, reason: names.Reason | None = None) -> etree._Element:
        return control_act(root, reason)

    def _event(
        self, act: etree._Element, record: Record, traits: Traits, *, ins_first: bool = False, status: str = "active"
    ) -> etree._Element:
        subject = add(act, "subject", typeCode="SUBJ", contextConductionInd="false")
        event = add(subject, "registrationEvent", classCode="REG", moodCode="EVN")
        add(event, "statusCode", code=status)
        patient = add(add(event, "subject1", typeCode="SBJ"), "patient", classCode="PAT")
        ins = record.data.patient.ins
        identifiers = [(InsKind.INS_C.value, old_identifier(ins)), (ins.oid, ins.value)]  # the DMP sends the older one too, mostly first
        for oid, number in reversed(identifiers) if ins_first else identifiers:
            add(patient, "id", root=oid, extension=number)
        add(patient, "statusCode", code="terminated" if record.closure else "active")
        if record.closure and record.closure.at:
            add(add(patient, "effectiveTime"), "high", value=f"{record.closure.at:%Y%m%d}")
        if traits is Traits.NAMES:
            element = add(patient, "patientPerson", classCode="PSN", determinerCode="INSTANCE")
            person_name(element, record.data.patient, record.data.civility)
        else:
            strict = AdministrativeData(replace(record.data.patient, used_name=names.NO_USED_NAME))
            person(patient, record.data if traits is Traits.ALL else strict)
        nil(patient, "providerOrganization", classCode="ORG", determinerCode="INSTANCE")
        entity = add(add(event, "custodian", typeCode="CST"), "assignedEntity", classCode="ASSIGNED")
        add(entity, "id", root="1.2.250.1.213.4.1.1.1")
        return patient

    def _query_ack(self, act: etree._Element, request: etree._Element, code: str) -> None:
        query = find(request, "controlActProcess/queryByParameter/queryId")
        acknowledgement = add(act, "queryAck")
        if query is not None:
            add(acknowledgement, "queryId", root=query.get("root", ""), extension=query.get("extension", str(uuid.uuid4())))
        add(acknowledgement, "queryResponseCode", code=code)


def _ins(identifier: etree._Element | None) -> Ins:
    if identifier is None:
        raise refusal("SIMBadMessage", "patientIdentifier absent")
    return Ins(identifier.get("extension", ""), identifier.get("root", ""))


def _same_patient(visitor: Visitor, ins: Ins) -> None:
    if visitor.ins != ins:
        raise GateRefused("wsse:InvalidSecurityToken", "Le patient du message n'est pas celui du VIHF")


def _administered(payload: etree._Element, visitor: Visitor) -> tuple[etree._Element, AdministrativeData]:
    patient = find(payload, "controlActProcess/subject/registrationRequest/subject1/patient")
    if patient is None:
        raise refusal("SIMBadMessage", "patient absent")
    ins = _ins(find(patient, "id"))
    _same_patient(visitor, ins)
    return patient, read_person(patient, ins)


def _require_consent(patient: etree._Element, code: str) -> None:
    if truth(read_observations(patient).get(code)) is not True:
        raise refusal("SIMConsentMissing", f"{code} absent : pas de création ni de réactivation sans consentement")


def _family_names(record: Record) -> set[str]:
    traits = record.data.patient
    return {plain_name(traits.birth_name)} | ({plain_name(traits.used_name)} if traits.used_name else set())


def _match(record: Record, parameters: etree._Element | None) -> int:
    """Per cent: the family name must match (60); given name 20, birth date 15, sex 5. A mismatch subtracts as much."""
    traits = record.data.patient
    if plain_name(text(parameters, "livingSubjectName/value/family")) not in _family_names(record):
        return 0
    score = 60
    given = plain_name(text(parameters, "livingSubjectName/value/given"))
    birth = read_day(value(parameters, "livingSubjectBirthTime/value"))
    sex = value(parameters, "livingSubjectAdministrativeGender/value", "code")
    for said, fits, weight in (
        (given, given in plain_name(traits.given_names).split(), 20),
        (birth, birth == traits.birth_date, 15),
        (sex, sex == traits.sex.value, 5),
    ):
        if said:
            score += weight if fits else -weight
    return score
