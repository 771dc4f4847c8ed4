"""Elements that requests and answers share: the transmission wrapper, persons, addresses, observations."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from lxml import etree

from dmp_connector.errors import BadAnswer
from dmp_connector.hl7v3 import names
from dmp_connector.model.dossier import AdministrativeData, DossierState, Oppositions, Representative
from dmp_connector.model.people import AUTHOR_SPECIALTIES, Actor, Ins, Patient, Sex
from dmp_connector.texts import message

NIL = {f"{{{names.XSI}}}nil": "true"}
_TYPE = f"{{{names.XSI}}}type"
_NSMAP: Any = {None: names.HL7, "xsi": names.XSI}


@dataclass(frozen=True, slots=True)
class Frame:
    """The facts of the transmission wrapper. `processing`: P, T or D."""

    sender_oid: str
    sender_name: str
    receiver_oid: str
    receiver_name: str
    processing: str
    now: datetime


def add(parent: etree._Element, local: str, text: str | None = None, /, **attributes: str) -> etree._Element:
    """A new element of HL7 v3 below `parent`."""
    element = etree.SubElement(parent, f"{{{names.HL7}}}{local}", attributes)
    element.text = text
    return element


def nil(parent: etree._Element, local: str, **attributes: str) -> etree._Element:
    """The same, marked as without value (xsi:nil)."""
    element = add(parent, local, **attributes)
    element.set(f"{{{names.XSI}}}nil", "true")
    return element


def hl7(path: str) -> str:
    """`a/b` with every step in the HL7 namespace."""
    return "/".join(step if step in (".", "..", "*") else f"{{{names.HL7}}}{step}" for step in path.split("/"))


def find(element: etree._Element | None, path: str) -> etree._Element | None:
    """The first element at a path of local names; None without, or when there is nothing to look in."""
    return element.find(hl7(path)) if element is not None else None


def text(element: etree._Element | None, path: str) -> str:
    """The text at a path, white space made single; "" without."""
    found = find(element, path)
    return " ".join("".join(str(t) for t in found.itertext()).split()) if found is not None else ""


def value(element: etree._Element | None, path: str, attribute: str = "value") -> str:
    """An attribute of the element at a path; "" without."""
    found = find(element, path)
    return found.get(attribute, "") if found is not None else ""


def new_interaction(interaction: str, frame: Frame, *, accept: str = "AL") -> etree._Element:
    """An empty interaction: MCCI_MT000100UV01 up to the sender. The caller adds what follows."""
    root = etree.Element(f"{{{names.HL7}}}{interaction}", {"ITSVersion": "XML_1.0"}, nsmap=_NSMAP)
    add(root, "id", root=f"{frame.sender_oid}.3", extension=str(uuid.uuid4()))
    add(root, "creationTime", value=stamp(frame.now))
    add(root, "interactionId", root=names.INTERACTIONS, extension=interaction)
    add(root, "processingCode", code=frame.processing)
    add(root, "processingModeCode", code="T")
    add(root, "acceptAckCode", code=accept)
    for local, kind, oid, software in (
        ("receiver", "RCV", frame.receiver_oid, frame.receiver_name),
        ("sender", "SND", frame.sender_oid, frame.sender_name),
    ):
        device = add(add(root, local, typeCode=kind), "device", classCode="DEV", determinerCode="INSTANCE")
        add(device, "id", root=oid)
        add(device, "softwareName", software)
    return root


def control_act(root: etree._Element, reason: names.Reason | None) -> etree._Element:
    """controlActProcess, with the reason when there is one; the payload is added to it."""
    act = add(root, "controlActProcess", classCode="CACT", moodCode="EVN")
    if reason:
        add(act, "reasonCode", code=reason.value, codeSystem=names.REASONS, displayName=reason.label)
    return act


def person_name(parent: etree._Element, patient: Patient, civility: str = "") -> None:
    """name: family BR is the birth name, SP the used one; given holds the first given name."""
    name = add(parent, "name")
    if civility:
        add(name, "prefix", civility)
    if patient.used_name:
        add(name, "family", patient.used_name, qualifier="SP")
    if patient.birth_name:
        add(name, "family", patient.birth_name, qualifier="BR")
    for given in patient.given_names.split():
        add(name, "given", given)


def person(parent: etree._Element, data: AdministrativeData, *, vitale: Patient | None = None) -> etree._Element:
    """patientPerson with everything the DMP administers, in the schema's order (PRPA_MT201301UV02)."""
    patient = data.patient
    element = add(parent, "patientPerson", classCode="PSN", determinerCode="INSTANCE")
    person_name(element, patient, data.civility)
    for use, address in (("HP", data.phone and f"tel:{data.phone}"), ("MC", data.mobile and f"tel:{data.mobile}")):
        if address:
            add(element, "telecom", value=address, use=use)
    if data.email:
        add(element, "telecom", value=f"mailto:{data.email}")
    add(element, "administrativeGenderCode", code=_gender(patient.sex), codeSystem=names.GENDERS)
    add(element, "birthTime", value=f"{patient.birth_date:%Y%m%d}")
    if data.street or data.postal_code or data.city:
        address_element = add(element, "addr")
        for line in data.street:
            add(address_element, "streetAddressLine", line)
        for local, content in (("postalCode", data.postal_code), ("city", data.city), ("country", data.country)):
            if content:
                add(address_element, local, content)
    if vitale is not None:
        _vitale(element, vitale)
    for representative in data.representatives:
        _relationship(element, representative)
    if patient.birth_place:
        add(add(add(element, "birthPlace", classCode="BIRTHPL"), "addr"), "county", patient.birth_place)
    return element


def _gender(sex: Sex) -> str:
    return "UN" if sex is Sex.UNKNOWN else sex.value


def _vitale(parent: etree._Element, card: Patient) -> None:
    """Traits of the card, unmodified even when wrong (docs/reference/dmp.md 1.5)."""
    contact = add(parent, "contactParty", classCode="CON")
    add(contact, "code", code=names.VITALE_CARD, codeSystem=names.CONTACT_KINDS)
    add(contact, "telecom", nullFlavor="NI")  # NE2008 wants one
    element = add(contact, "contactPerson", classCode="PSN", determinerCode="INSTANCE")
    name = add(element, "name")
    for qualifier, family in (("BR", card.birth_name), ("SP", card.used_name)):
        if family:
            add(name, "family", family, qualifier=qualifier)
    add(name, "given", card.given_names)
    add(element, "birthTime", value=f"{card.birth_date:%Y%m%d}")


def _relationship(parent: etree._Element, representative: Representative) -> None:
    relation = add(parent, "personalRelationship", classCode="PRS")
    add(relation, "code", code=representative.relation, codeSystem=names.RELATIONS)
    if representative.phone:
        add(relation, "telecom", value=f"tel:{representative.phone}")
    if representative.email:
        add(relation, "telecom", value=f"mailto:{representative.email}")
    holder = add(relation, "relationshipHolder1", classCode="PSN", determinerCode="INSTANCE")
    name = add(holder, "name")
    add(name, "family", representative.family)
    add(name, "given", representative.given)


def observation(
    patient: etree._Element,
    code: str,
    answer: bool,
    *,
    at: datetime | None = None,
    system: str = names.OBSERVATIONS,
    local: str = "subjectOf",
) -> None:
    """subjectOf/administrativeObservation with a boolean."""
    element = add(add(patient, local, typeCode="SBJ"), "administrativeObservation", classCode="OBS", moodCode="EVN")
    add(element, "code", code=code, codeSystem=system, displayName=names.LABELS.get(code, code))
    if at:
        add(element, "effectiveTime", value=stamp(at))
    add(element, "value", value="true" if answer else "false").set(_TYPE, "BL")


def author(parent: etree._Element, actor: Actor) -> None:
    """registrationRequest/author: the professional and the structure (COCT_MT090003UV01)."""
    entity = add(add(parent, "author", typeCode="AUT"), "assignedEntity", classCode="ASSIGNED")
    practitioner, structure = actor.practitioner, actor.structure
    add(entity, "id", root="1.2.250.1.71.4.2.1", extension=practitioner.id)
    role = practitioner.profession.code + (f"/{practitioner.speciality.code}" if practitioner.speciality else "")
    add(entity, "code", code=f"G15_{role}", codeSystem=AUTHOR_SPECIALTIES, displayName=practitioner.profession.label)
    assigned = add(entity, "assignedPerson", classCode="PSN", determinerCode="INSTANCE")
    name = add(assigned, "name")
    name.set(_TYPE, "PN")
    add(name, "family", practitioner.family)
    add(name, "given", practitioner.given)
    organisation = add(entity, "representedOrganization", classCode="ORG", determinerCode="INSTANCE")
    add(organisation, "id", root="1.2.250.1.71.4.2.2", extension=structure.id)
    add(organisation, "name", structure.name)
    nil(organisation, "contactParty", classCode="CON")


def stamp(moment: datetime) -> str:
    """A moment as TS in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")


def read_day(digits: str) -> date | None:
    """The date of a TS; None when absent. Raises BadAnswer."""
    if not digits:
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError as error:
        raise BadAnswer(message("hl7v3.date-cannot-read")) from error


def read_person(patient: etree._Element, ins: Ins) -> AdministrativeData:
    """Everything administrative of a patient element, from either side."""
    element = find(patient, "patientPerson")
    name = find(element, "name")
    families = (
        {family.get("qualifier", ""): (family.text or "").strip() for family in name.findall(hl7("family"))} if name is not None else {}
    )
    givens = [(given.text or "").strip() for given in name.findall(hl7("given"))] if name is not None else []
    used = families.get("SP") or families.get("CL") or ""
    traits = Patient(
        ins=ins,
        birth_name=families.get("BR") or families.get("") or used,
        given_names=" ".join(g for g in givens if g),
        birth_date=_birth_date(element),
        sex=_sex(value(element, "administrativeGenderCode", "code")),
        birth_place=text(element, "birthPlace/addr/county") or None,
        used_name=used if used and used != names.NO_USED_NAME else None,
    )
    telecoms = [(t.get("use", ""), t.get("value", "")) for t in element.findall(hl7("telecom"))] if element is not None else []
    address = find(element, "addr")
    lines = [(line.text or "").strip() for line in address.findall(hl7("streetAddressLine"))] if address is not None else []
    return AdministrativeData(
        patient=traits,
        civility=text(name, "prefix"),
        street=tuple(lines),
        postal_code=text(address, "postalCode"),
        city=text(address, "city"),
        country=text(address, "country"),
        phone=_telecom(telecoms, "tel:", mobile=False),
        mobile=_telecom(telecoms, "tel:", mobile=True),
        email=_telecom(telecoms, "mailto:", mobile=False),
        oppositions=read_oppositions(patient),
        representatives=_representatives(element),
        state=DossierState.CLOSED if value(patient, "statusCode", "code") == "terminated" else DossierState.ACTIVE,
    )


def _birth_date(element: etree._Element | None) -> date:
    day = read_day(value(element, "birthTime"))
    if day is None:
        raise BadAnswer(message("hl7v3.person-without-birth-date"))
    return day


def _sex(code: str) -> Sex:
    return Sex(code) if code in ("M", "F") else Sex.UNKNOWN


def _telecom(telecoms: list[tuple[str, str]], scheme: str, *, mobile: bool) -> str:
    return next((v.removeprefix(scheme) for use, v in telecoms if v.startswith(scheme) and (use == "MC") == mobile), "")


def _representatives(element: etree._Element | None) -> tuple[Representative, ...]:
    found = []
    for relation in element.findall(hl7("personalRelationship")) if element is not None else ():
        telecoms = [("", t.get("value", "")) for t in relation.findall(hl7("telecom"))]
        found.append(
            Representative(
                family=text(relation, "relationshipHolder1/name/family"),
                given=text(relation, "relationshipHolder1/name/given"),
                relation=value(relation, "code", "code"),
                phone=_telecom(telecoms, "tel:", mobile=False),
                email=_telecom(telecoms, "mailto:", mobile=False),
            )
        )
    return tuple(found)


def read_observations(patient: etree._Element) -> dict[str, str]:
    """code -> value of every administrative or match observation."""
    found = {}
    for local in ("administrativeObservation", "queryMatchObservation"):
        for element in patient.iter(f"{{{names.HL7}}}{local}"):
            found[value(element, "code", "code")] = value(element, "value")
    return found


def read_oppositions(patient: etree._Element) -> Oppositions:
    """The two oppositions of a patient; None for one that is absent."""
    found = read_observations(patient)
    return Oppositions(truth(found.get(names.OPPOSES_BRIS_DE_GLACE)), truth(found.get(names.OPPOSES_CENTRE_15)))


def truth(word: str | None) -> bool | None:
    """A boolean of XML Schema; None for anything else."""
    return {"true": True, "1": True, "false": False, "0": False}.get((word or "").lower())
