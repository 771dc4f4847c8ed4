"""[dmp.protocol] and [dmp.vihf]: what the guide SEL-MP-037 decides and no public source does. Defaults follow the official samples.

The connector has the same defaults for those who use it alone (`dmp_connector/settings.py`); a test compares the two.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from mssgw.core.config.base import Mistakes, Settings
from mssgw.core.texts import message

_OID = r"^[0-2](\.\d+)+$"
_SMARTCARD = "urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI"
SERVICES = ("patients", "patientsSpecific", "patientsPDQ", "habilitations", "registry", "repository")
_MODES = ("normal", "bris_de_glace", "centre_15")

Oid = Annotated[str, Meta(pattern=_OID)]
Algorithm = Literal["rsa-sha256", "rsa-sha1"]


class DmpProtocol(Settings, frozen=True):
    service_urls: Annotated[
        dict[str, str],
        Meta(
            description="Addresses of services that do not lie below `[dmp] url`: patients, patientsSpecific, patientsPDQ, habilitations, registry, repository."
        ),
    ] = field(default_factory=dict)
    receiver_oid: Annotated[str, Meta(description="OID of the DMP as receiver of HL7 V3 messages.", pattern=_OID)] = "1.2.250.1.213.4.1.1.1"
    receiver_name: Annotated[str, Meta(description="Its softwareName.")] = "DMP"
    repository_oid: Annotated[str, Meta(description="repositoryUniqueId of a document whose metadata name none.", pattern=_OID)] = (
        "1.2.250.1.213.4.1.1.1.2"
    )
    processing_code: Annotated[
        Literal["auto", "P", "T", "D"],
        Meta(description="HL7 processingCode: production, training, debugging; auto: P in production, else D."),
    ] = "auto"
    ins_oid: Annotated[
        str,
        Meta(
            description="OID of an INS that was typed, or that INSi named by .8; empty: ....4.8 in production, else ....4.10.",
            pattern=r"^([0-2](\.\d+)+)?$",
        ),
    ] = ""
    ins_oids: Annotated[
        tuple[Oid, ...],
        Meta(description="OIDs that count as an INS; empty: ....4.8 and ....4.9 in production, else also ....4.10 and ....4.11."),
    ] = ()
    ins_keys: Annotated[
        dict[str, Literal["refuse", "accept"]],
        Meta(description="By OID: whether a typed INS whose key is wrong is refused or accepted."),
    ] = field(default_factory=dict)
    start_date_format: Annotated[str, Meta(description="startDate of TD0.4, as strftime writes it.")] = "%Y%m%d%H%M%S"
    answer_dates: Annotated[
        tuple[str, ...], Meta(description="Forms of the dates in answers of TD0.4 and TD1.6, as strptime reads them.")
    ] = (
        "%Y%m%d%H%M%S",
        "%Y%m%d",
    )
    action_td0_2: Annotated[str, Meta(description="SOAP action of TD0.2 and TD1.3a.")] = "urn:hl7-org:v3:PRPA_IN201307UV02"
    action_td0_5: Annotated[str, Meta(description="SOAP action of TD0.5.")] = "urn:hl7-org:v3:PRPA_IN201305UV02"
    actions: Annotated[dict[str, str], Meta(description='SOAP actions of other transactions, as { "TD1.6" = "urn:..." }.')] = field(
        default_factory=dict
    )
    signature: Annotated[Algorithm, Meta(description="Algorithm of the signature of a submission (XAdES).")] = "rsa-sha256"
    signature_canonical: Annotated[bool, Meta(description="That signature digests XML documents in canonical form, not as octets.")] = True
    update_content_type: Annotated[str, Meta(description="contentTypeCode (JDV_J59) of a change of a document (TD3.3).")] = "07"
    mask_and_hide_together: Annotated[
        bool,
        Meta(description="A document may be masked and invisible to the patient at once (cumul-invisible_patient-masque_ps of param-lps)."),
    ] = True

    def __post_init__(self) -> None:
        wrong = [
            ("service_urls", message("config.dmp-service", name=name, services=", ".join(SERVICES)))
            for name in self.service_urls
            if name not in SERVICES
        ]
        wrong += [
            (f"service_urls.{name}", message("config.dmp-https"))
            for name, url in self.service_urls.items()
            if not url.startswith("https://")
        ]
        if wrong:
            raise Mistakes(wrong)


class DmpVihf(Settings, frozen=True):
    version: Annotated[str, Meta(description="VIHF_Version: 3.0, or 4.0 in the mapping of 2026.")] = "3.0"
    attributes: Annotated[
        dict[str, str],
        Meta(
            description='Spellings of attribute names, as { "Authentification_mode" = "Authentification_Mode" }; empty: the attribute is not sent.'
        ),
    ] = field(default_factory=dict)
    value_type: Annotated[str, Meta(description="xsi:type of plain attribute values; empty for none.")] = "xs:string"
    lps_id: Annotated[str, Meta(description="LPS_ID; empty: `[dmp] system_oid`.")] = ""
    lps_name: Annotated[str, Meta(description="LPS_Nom.")] = "mssgw"
    lps_version: Annotated[str, Meta(description="LPS_Version; empty: the version of the program.")] = ""
    access_mode_system: Annotated[str, Meta(description="Code system of the access modes.", pattern=_OID)] = "1.2.250.1.213.1.1.4.248"
    access_mode_system_name: Annotated[str, Meta(description="Its codeSystemName.")] = "mode acces VIHF 2.0"
    access_mode_names: Annotated[
        dict[str, str],
        Meta(description='Other display names of the modes normal, bris_de_glace and centre_15, as { normal = "Acces normal" }.'),
    ] = field(default_factory=dict)
    profession_system_name: Annotated[str, Meta(description="codeSystemName of the profession; empty: none.")] = ""
    speciality_system_name: Annotated[str, Meta(description="codeSystemName of the speciality; empty: none.")] = ""
    algorithm: Annotated[Algorithm, Meta(description="Algorithm of its signature.")] = "rsa-sha256"
    issuer_format: Annotated[str, Meta(description="Format of Issuer.")] = "urn:oasis:names:tc:SAML:1.1:nameid-format:X509SubjectName"
    conditions: Annotated[bool, Meta(description="Send Conditions with both ends of its life.")] = False
    not_after_name: Annotated[Literal["NotOnOrAfter", "NotAfter"], Meta(description="Name of the end of its life in Conditions.")] = (
        "NotOnOrAfter"
    )
    lifetime_seconds: Annotated[int, Meta(description="That life, where it is sent.", ge=1, le=28800)] = 30
    direct_class: Annotated[str, Meta(description="AuthnContextClassRef of a card.")] = _SMARTCARD
    indirect_class: Annotated[str, Meta(description="AuthnContextClassRef of the structure's certificate.")] = _SMARTCARD
    air_class: Annotated[str, Meta(description="AuthnContextClassRef in AIR (Pro Santé Connect).")] = _SMARTCARD
    air_declaration: Annotated[str, Meta(description="AuthnContextDecl in AIR; empty: none.")] = _SMARTCARD

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.access_mode_names) - set(_MODES)):
            raise Mistakes([("access_mode_names", message("config.dmp-mode", name=unknown[0], modes=", ".join(_MODES)))])
