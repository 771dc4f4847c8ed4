"""The schemas of HL7, OASIS and IHE as validators. A test that asks them is marked `needs_schemas`.

NE2008 lacks PRPA_IN201307, 311 and 314: their wrapper is that of a sister interaction in the set, their
payload is the MT schema that belongs to them, so the driver is the sister's file with the names changed. Whoever has NE2009, in which the
DMP answers (201308, 312, 315), puts it beside NE2008: then these are validated too.
"""

from __future__ import annotations

import base64
import functools

import pytest
from lxml import etree

from dmp_connector.wire import mtom
from tests.material import BESIDE

SCHEMAS = BESIDE / "schemas"
needs_schemas = pytest.mark.material("schemas/hl7v3", "schemas/xds")
_HL7 = SCHEMAS / "hl7v3" / "NE2008" / "multicacheschemas"
_NE2009 = SCHEMAS / "hl7v3" / "NE2009" / "multicacheschemas"


@functools.cache
def ihe() -> etree.XMLSchema:
    """ebRS 3.0 and IHE XDS.b in one: libxml2 imports a namespace once, so xcf's Document is put into XDSB's file."""
    folder = SCHEMAS / "xds" / "schema" / "IHE"
    base = etree.parse(folder / "IHEXDSB.xsd")
    base.getroot().extend(list(etree.parse(folder / "xcf.xsd").getroot()))
    return etree.XMLSchema(base)


@functools.cache
def hl7(interaction: str) -> etree.XMLSchema:
    changes: dict[str, tuple[str, list[tuple[str, str]]]] = {
        "PRPA_IN201305UV02": ("PRPA_IN201305UV02", []),
        "PRPA_IN201306UV02": ("PRPA_IN201306UV02", []),
        "PRPA_IN201307UV02": ("PRPA_IN201305UV02", [("PRPA_MT201306UV02", "PRPA_MT201307UV02")]),
        "PRPA_IN201311UV02": ("PRPA_IN201301UV02", _REQUEST),
        "PRPA_IN201314UV02": ("PRPA_IN201302UV02", _REQUEST),
    }
    own = _NE2009 / f"{interaction}.xsd"
    if own.exists() and interaction not in ("PRPA_IN201305UV02", "PRPA_IN201306UV02"):  # ITI-47 is NE2008
        return etree.XMLSchema(etree.parse(own))
    sister, replacements = changes[interaction]
    text = (_HL7 / f"{sister}.xsd").read_text("utf-8")
    for old, new in [(sister, interaction), *replacements]:
        assert old in text, old
        text = text.replace(old, new)
    return etree.XMLSchema(etree.fromstring(text.encode(), base_url=str(_HL7 / f"{interaction}.xsd")))


# a request is ordered (RQO) where the event has happened, and names no custodian yet (MFMI_MT700721)
_REQUEST = [
    ("registrationEvent", "registrationRequest"),
    ("RegistrationEvent", "RegistrationRequest"),
    (
        '<xs:attribute name="moodCode" type="ActMood" use="required" fixed="EVN"/>',
        '<xs:attribute name="moodCode" use="required" fixed="RQO"/>',
    ),
    (
        'type="MFMI_MT700701UV01.Custodian" nillable="true"\n                     minOccurs="1"',
        'type="MFMI_MT700701UV01.Custodian" minOccurs="0"',
    ),
]


_SERVICES = {
    "urn:si-dmp-habilitations": """
        listAuthorizationByPatient: mode? =ACTIVE|INTERDITE|TOUTE
        listAuthorizationByPatientResponse: output? AuthorizationByPatientResponse
        setAuthorization: action? =AJOUT|SUPPRESSION; role? =MEDECIN_TRAITANT
        setAuthorizationResponse: output? WebServiceResponse
        AuthorizationByPatientResponse: listOfAuthorizationByPatient* AuthorizationByPatient; status?; context?
        AuthorizationByPatient: nationalId?; nationalIdType?; firstName?; lastName?; codeSpeciality*; libSpeciality*; startOfAuthorization?; \
            lastActionDate?; mode? =ACTIVE|INTERDITE|TOUTE; specificRight* =MEDECIN_TRAITANT
        WebServiceResponse: status?; context?""",
    "urn:si-dmp-patients": """
        patientList: startDate?; dateType? =LASTAUTORIZATION|LASTDOC; psOwnerId?
        patientListResponse: output? PatientListDataResponse
        PatientListDataResponse: patientlistData* PatientListData; status?; context?
        PatientListData: patientIdentifier* PatientIdentifierListData; lastName?; patronymicalName?; firstName?; civility?; dateOfBirth?; \
            MT xs:boolean; message xs:boolean; lastAccessDate?; lastUpdateDate?; lastAddDate?
        PatientIdentifierListData: nationalId?; nationalIdType?""",
}
"""The types of the WSDL of PatientsSpecific 1.0.2 (2024-06-11) and Habilitations 1.0.0, element by element: ? once at most, * any number
of times, "=" the values that are allowed. The first letter tells a message (small) from a type. TD1.5 is in it no more."""


@functools.cache
def service(namespace: str) -> etree.XMLSchema:
    """The types of one of the proprietary services as a validator."""
    lines = [line.strip().partition(": ") for line in _SERVICES[namespace].replace("\\\n", "").strip().splitlines()]
    types = "".join(
        f'<xs:complexType name="{name}"><xs:sequence>{"".join(map(_declared, fields.split(";")))}</xs:sequence></xs:complexType>'
        for name, _, fields in lines
    )
    messages = "".join(f'<xs:element name="{name}" type="s:{name}"/>' for name, _, _ in lines if name[0].islower())
    return etree.XMLSchema(
        etree.fromstring(
            f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:s="{namespace}" targetNamespace="{namespace}" '
            f'elementFormDefault="qualified">{messages}{types}</xs:schema>'
        )
    )


def _declared(field: str) -> str:
    name, _, kind = field.strip().partition(" ")
    occurs = {"?": ' minOccurs="0"', "*": ' minOccurs="0" maxOccurs="unbounded"'}.get(name[-1], "")
    name = name.rstrip("?*")
    if kind.startswith("="):
        values = "".join(f'<xs:enumeration value="{value}"/>' for value in kind[1:].split("|"))
        restricted = f'<xs:simpleType><xs:restriction base="xs:string">{values}</xs:restriction></xs:simpleType>'
        return f'<xs:element name="{name}"{occurs}>{restricted}</xs:element>'
    return f'<xs:element name="{name}" type="{kind if ":" in kind else f"s:{kind}" if kind else "xs:string"}"{occurs}/>'


def require_valid_answer(payload: etree._Element, parts: dict[str, mtom.Part]) -> str:
    """The same for an answer; "" also for one of NE2009, where that is not there."""
    inner = payload[0] if str(etree.QName(payload).namespace).startswith("asip:ci-sis:gdp") else payload
    name = etree.QName(inner)
    known = name.localname == "PRPA_IN201306UV02" or (_NE2009 / f"{name.localname}.xsd").exists()
    return "" if name.namespace == "urn:hl7-org:v3" and not known else require_valid(inner, parts)


REMOVED = ("createPatientAccess", "patientOTPUpdate", "updatePatientAccess")
"""TD1.5: in no current WSDL."""


def require_valid(payload: etree._Element, parts: dict[str, mtom.Part]) -> str:
    """Validate a SOAP payload against its schema; its name, or "" when no schema covers it (INSi, TD1.5)."""
    name = etree.QName(payload)
    standalone = etree.fromstring(etree.tostring(payload))
    for holder in standalone.iter("{urn:ihe:iti:xds-b:2007}Document"):
        content, _ = mtom.content_of(holder, parts)
        for child in list(holder):
            holder.remove(child)
        holder.text = base64.b64encode(content).decode()
    if name.namespace == "urn:hl7-org:v3":
        hl7(name.localname).assertValid(standalone)
    elif str(name.namespace).startswith(("urn:oasis:names:tc:ebxml-regrep", "urn:ihe:iti:xds-b")):
        ihe().assertValid(standalone)
    elif name.namespace in _SERVICES and name.localname.removesuffix("Response") not in REMOVED:
        service(str(name.namespace)).assertValid(standalone)
    else:
        return ""
    return name.localname
