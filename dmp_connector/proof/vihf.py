"""VIHF: a SAML 2.0 assertion, signed for one call, of who asks about whom, how that was proved, and in which mode.

`build` is pure: (actor, patient, mode, software, settings, issuer, now) -> unsigned assertion. `sign` adds
an enveloped XML-DSig over exclusive canonical XML. A fresh one per call, never used twice (EX_AIR-040).
`read` is the other direction, for the simulator; the signature must be verified before.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lxml import etree

from dmp_connector.errors import BadAnswer
from dmp_connector.model.code import Code
from dmp_connector.model.people import AccessMode, Actor, AuthenticationMode, Ins
from dmp_connector.proof import dsig
from dmp_connector.settings import Software, VihfSettings
from dmp_connector.signer import Signer, subject_text
from dmp_connector.texts import message
from dmp_connector.wire.xml import serialise

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
HL7 = "urn:hl7-org:v3"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
XS = "http://www.w3.org/2001/XMLSchema"
MODE = "Authentification_mode"  # Authentification_Mode in the mapping table
ROLE = "urn:oasis:names:tc:xacml:2.0:subject:role"
RESOURCE_ID = "urn:oasis:names:tc:xacml:2.0:resource:resource-id"
SUBJECT_ID = "urn:oasis:names:tc:xspa:1.0:subject:subject-id"
PURPOSE = "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse"
CONFIDENTIALITY = "urn:oasis:names:tc:xspa:1.0:resource:patient:hl7:confidentiality-code"
SECRET_CONNECTION = Code("INVISIBLE_REPRESENTANTS_LEGAUX", "1.2.250.1.213.1.1.4.13", "Non visible par les représentants légaux")

_DEFAULT_HL7: Any = {None: HL7}  # the type stubs have no default namespace
_MODE_LABELS = {
    AccessMode.NORMAL: "Accès normal",
    AccessMode.BRIS_DE_GLACE: "Accès en bris de glace",
    AccessMode.CENTRE_15: "Accès par un centre de régulation médicale",
}


@dataclass(frozen=True, slots=True)
class Call:
    """The context every transaction needs. `ins` is None only for TD0.4 and TD0.5.

    `secret`: connexion secrète of a minor (EX_2.1-1050).
    """

    actor: Actor
    ins: Ins | None = None
    mode: AccessMode = AccessMode.NORMAL
    secret: bool = False


def assertion(call: Call, signer: Signer, software: Software, settings: VihfSettings, now: datetime) -> bytes:
    """A signed VIHF, ready to be put into wsse:Security as it is. Blocks while the key signs."""
    element = build(call, software, settings, issuer=subject_text(signer.certificate), now=now)
    dsig.sign_enveloped(element, settings.algorithm, signer)
    return serialise(element)


def build(call: Call, software: Software, settings: VihfSettings, *, issuer: str, now: datetime) -> etree._Element:
    """The unsigned assertion (docs/reference/dmp.md 2)."""
    actor = call.actor
    root = etree.Element(
        f"{{{SAML}}}Assertion",
        {"ID": f"_{uuid.uuid4()}", "IssueInstant": instant(now), "Version": "2.0"},
        nsmap={"saml2": SAML, "xsi": XSI},
    )
    _add(root, "Issuer", issuer, Format=settings.issuer_format)
    _add(_add(root, "Subject"), "NameID", actor.practitioner.id)
    if settings.conditions:
        until = now + timedelta(seconds=settings.lifetime_seconds)
        _add(root, "Conditions", NotBefore=instant(now), **{settings.not_after_name: instant(until)})
    context = _add(_add(root, "AuthnStatement", AuthnInstant=instant(actor.authenticated_at)), "AuthnContext")
    _add(context, "AuthnContextClassRef", _context_class(actor.authentication, settings))
    if actor.authentication is AuthenticationMode.AIR and settings.air_declaration:
        _add(context, "AuthnContextDecl", settings.air_declaration)
    statement = _add(root, "AttributeStatement")
    for name, value in _attributes(call, software, settings):
        sent = settings.attributes.get(name, name)
        if value and sent:
            _attribute(statement, sent, value, settings.value_type)
    return root


def mode_label(settings: VihfSettings, mode: AccessMode) -> str:
    """displayName of an access mode."""
    return settings.access_mode_names.get(mode.value, _MODE_LABELS[mode])


_Coded = tuple[str, tuple[tuple[Code, str], ...]]  # element, and codes with the name of their system


def _attributes(call: Call, software: Software, settings: VihfSettings) -> list[tuple[str, str | _Coded]]:
    """In the order of the samples. "" for one that is absent."""
    actor, sector = call.actor, call.actor.structure.sector
    who = actor.practitioner
    named = settings.name_in_direct_mode or actor.authentication is not AuthenticationMode.DIRECT
    roles = [(who.profession, settings.profession_system_name)]
    roles += [(who.speciality, settings.speciality_system_name)] if who.speciality else []
    mode = Code(call.mode.value, settings.access_mode_system, mode_label(settings, call.mode))
    return [
        ("Identifiant_Structure", actor.structure.id),
        ("Secteur_Activite", f"{sector.code}^{sector.system}"),
        (SUBJECT_ID, f"{who.given} {who.family}".strip() if named else ""),
        (ROLE, ("Role", tuple(roles))),
        ("VIHF_Version", settings.version),
        (MODE, actor.authentication.value),
        (RESOURCE_ID, call.ins.cx if call.ins else ""),
        ("Ressource_URN", "urn:dmp"),
        (PURPOSE, ("PurposeOfUse", ((mode, settings.access_mode_system_name),))),
        (CONFIDENTIALITY, ("Confidentiality", ((SECRET_CONNECTION, ""),)) if call.secret else ""),
        ("LPS_ID", software.id),
        ("LPS_Nom", software.name),
        ("LPS_Version", software.version),
        ("LPS_ID_HOMOLOGATION_DMP", software.homologation),
    ]


def _context_class(mode: AuthenticationMode, settings: VihfSettings) -> str:
    match mode:
        case AuthenticationMode.DIRECT:
            return settings.direct_class
        case AuthenticationMode.INDIRECT:
            return settings.indirect_class
        case AuthenticationMode.AIR:
            return settings.air_class


def _add(parent: etree._Element, name: str, text: str | None = None, **attributes: str) -> etree._Element:
    child = etree.SubElement(parent, f"{{{SAML}}}{name}", attributes)
    child.text = text
    return child


def _attribute(statement: etree._Element, name: str, value: str | _Coded, value_type: str) -> None:
    attribute = _add(statement, "Attribute", Name=name)
    if isinstance(value, str):
        typed = {f"{{{XSI}}}type": value_type} if value_type else {}
        etree.SubElement(attribute, f"{{{SAML}}}AttributeValue", typed, nsmap={"xs": XS} if value_type else None).text = value
        return
    tag, codes = value
    for code, system_name in codes:
        facts = {"code": code.code, "codeSystem": code.system, "codeSystemName": system_name, "displayName": code.label}
        said = {f"{{{XSI}}}type": "CE"} | {fact: text for fact, text in facts.items() if text}
        etree.SubElement(_add(attribute, "AttributeValue"), f"{{{HL7}}}{tag}", said, nsmap=_DEFAULT_HL7)


def instant(moment: datetime) -> str:
    """xs:dateTime in UTC, to the millisecond."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


@dataclass(frozen=True, slots=True)
class Claims:
    """The content of an assertion. Strings as sent; empty when absent."""

    id: str
    issuer: str
    issued: datetime | None
    not_before: datetime | None
    not_after: datetime | None
    subject: str
    authenticated: datetime | None
    roles: tuple[Code, ...]
    mode: str
    mode_system: str
    patient: str
    structure: str
    sector: str
    name: str
    authentication: str
    version: str
    homologation: str
    secret: bool
    saml_version: str = ""
    issuer_format: str = ""
    context_class: str = ""
    audience: bool = False
    resource: str = ""  # Ressource_URN
    software: tuple[str, str] = ("", "")  # LPS_Nom, LPS_Version
    software_id: str = ""  # LPS_ID
    confidentiality: tuple[Code, ...] = ()


def read(element: etree._Element) -> Claims:
    """Read an assertion of any maker. Raises BadAnswer on an unreadable instant."""
    plain: dict[str, str] = {}
    coded: dict[str, list[Code]] = {}
    # only the assertion's own statements: one inside SubjectConfirmationData is about somebody else
    for attribute in element.findall(f"{{{SAML}}}AttributeStatement/{{{SAML}}}Attribute"):
        name = attribute.get("Name", "")
        for value in attribute.findall(f"{{{SAML}}}AttributeValue"):
            tag = "PurposeOfUse" if name == PURPOSE else "Role" if name == ROLE else "*"
            codes = [_code(child) for child in value.findall(f"{{{HL7}}}{tag}")]
            coded.setdefault(name, []).extend(codes)
            if not codes and value.text:
                plain.setdefault(name, value.text.strip())
    conditions = element.find(f"{{{SAML}}}Conditions")
    purpose = coded.get(PURPOSE) or [Code("", "")]
    return Claims(
        id=element.get("ID", ""),
        issuer=_text(element, "Issuer"),
        issued=_moment(element.get("IssueInstant")),
        not_before=_moment(conditions.get("NotBefore")) if conditions is not None else None,
        not_after=_moment(conditions.get("NotOnOrAfter") or conditions.get("NotAfter")) if conditions is not None else None,
        subject=_text(element, "Subject", "NameID"),
        authenticated=_moment(statement.get("AuthnInstant"))
        if (statement := element.find(f"{{{SAML}}}AuthnStatement")) is not None
        else None,
        roles=tuple(coded.get(ROLE, ())),
        mode=purpose[0].code,
        mode_system=purpose[0].system,
        patient=plain.get(RESOURCE_ID, ""),
        structure=plain.get("Identifiant_Structure", ""),
        sector=plain.get("Secteur_Activite", ""),
        name=plain.get(SUBJECT_ID, ""),
        authentication=plain.get(MODE) or plain.get("Authentification_Mode", ""),
        version=plain.get("VIHF_Version", ""),
        homologation=plain.get("LPS_ID_HOMOLOGATION_DMP", ""),
        secret=bool(coded.get(CONFIDENTIALITY)),
        saml_version=element.get("Version", ""),
        issuer_format=issuer.get("Format", "") if (issuer := element.find(f"{{{SAML}}}Issuer")) is not None else "",
        context_class=_text(element, "AuthnStatement", "AuthnContext", "AuthnContextClassRef"),
        audience=next(element.iter(f"{{{SAML}}}AudienceRestriction"), None) is not None,
        resource=plain.get("Ressource_URN", ""),
        software=(plain.get("LPS_Nom", ""), plain.get("LPS_Version", "")),
        software_id=plain.get("LPS_ID", ""),
        confidentiality=tuple(coded.get(CONFIDENTIALITY, ())),
    )


def _text(element: etree._Element, *path: str) -> str:
    return (element.findtext("/".join(f"{{{SAML}}}{name}" for name in path)) or "").strip()


def _code(element: etree._Element) -> Code:
    return Code(element.get("code", ""), element.get("codeSystem", ""), element.get("displayName", ""))


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadAnswer(message("proof.instant-assertion-cannot-read")) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
