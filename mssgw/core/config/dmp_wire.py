"""[dmp.protocol] and [dmp.vihf]: what the guide SEL-MP-037 decides and no public source does. Defaults follow the official samples.

The connector has the same defaults for those who use it alone (`dmp_connector/settings.py`); a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import Meta, field

from bilingual.localtime import zone_named
from mssgw.core.config.base import Mistakes, Settings
from mssgw.core.errors import Problem
from mssgw.core.texts import message

_OID = r"^[0-2](\.\d+)+$"
_SMARTCARD = "urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI"
SERVICES = ("patients", "patientsSpecific", "patientsPDQ", "habilitations", "registry", "repository")
TRANSACTIONS = (
    "TD0.2", "TD0.3", "TD0.4", "TD0.5", "TD1.1", "TD1.2", "TD1.3a", "TD1.3b", "TD1.4", "TD1.5a", "TD1.5b", "TD1.5d", "TD1.6",
    "TD2.1", "TD2.2", "TD3.1a", "TD3.1b", "TD3.2", "TD3.3a", "TD3.3b", "TD3.3c", "TD3.3d",
)  # fmt: skip
ATTRIBUTES = (
    "Identifiant_Structure", "Secteur_Activite", "urn:oasis:names:tc:xspa:1.0:subject:subject-id",
    "urn:oasis:names:tc:xacml:2.0:subject:role", "VIHF_Version", "Authentification_mode",
    "urn:oasis:names:tc:xacml:2.0:resource:resource-id", "Ressource_URN", "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse",
    "urn:oasis:names:tc:xspa:1.0:resource:patient:hl7:confidentiality-code",
    "LPS_ID", "LPS_Nom", "LPS_Version", "LPS_ID_HOMOLOGATION_DMP",
)  # fmt: skip
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
    answer_zone: Annotated[str, Meta(description="Time zone of those that name none, as Europe/Paris.")] = "UTC"
    documents_per_query: Annotated[
        int, Meta(description="How many documents are asked for at once (GetDocumentsAndAssociations).", ge=1, le=1000)
    ] = 20
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
        wrong = [*_unknown("service_urls", self.service_urls, SERVICES), *_unknown("actions", self.actions, TRANSACTIONS)]
        addresses = self.service_urls.items()
        wrong += [(f"service_urls.{name}", message("config.dmp-https")) for name, url in addresses if not url.startswith("https://")]
        forms = [("start_date_format", self.start_date_format), *(("answer_dates", form) for form in self.answer_dates)]
        wrong += [(name, message("config.dmp-date", form=repr(form))) for name, form in forms if not _is_date(form)]
        try:
            zone_named(self.answer_zone)
        except ValueError:
            wrong.append(("answer_zone", message("config.timezone", name=repr(self.answer_zone))))
        if wrong:
            raise Mistakes(wrong)


def _unknown(setting: str, given: Iterable[str], known: tuple[str, ...]) -> list[Problem]:
    return [(setting, message("config.dmp-unknown", name=repr(name), known=", ".join(known))) for name in given if name not in known]


def _is_date(form: str) -> bool:
    """A day that is written in this form is read from it again."""
    day = date(2021, 3, 28)
    try:
        return datetime.strptime(day.strftime(form), form).date() == day
    except ValueError:
        return False


class DmpVihf(Settings, frozen=True):
    version: Annotated[str, Meta(description="VIHF_Version: 3.0, or 4.0 in the mapping of 2026.")] = "3.0"
    name_in_direct_mode: Annotated[bool, Meta(description="Send the name of who asks beside a card too; the samples do not.")] = True
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
        wrong = [*_unknown("access_mode_names", self.access_mode_names, _MODES), *_unknown("attributes", self.attributes, ATTRIBUTES)]
        if wrong:
            raise Mistakes(wrong)
