"""Settings of the connector: one frozen value, with a setting for every open point of the guide.

SEL-MP-037 is not public (docs/reference/dmp.md 9): where public sources disagree there is a setting here, with
the value of the official samples as default. `config/dmp/settings.md` explains each.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from bilingual.localtime import zone_named
from dmp_connector.errors import BadSettings
from dmp_connector.model.code import Code
from dmp_connector.model.people import INS_OIDS, Ins, InsKind, KeyPolicy
from dmp_connector.signer import Algorithm
from dmp_connector.texts import message

SMARTCARD_PKI = "urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI"
_CONSULTATION = Code("07", "1.2.250.1.213.2.2", "Consultation")
SERVICES = ("patients", "patientsSpecific", "patientsPDQ", "habilitations", "registry", "repository")


@dataclass(frozen=True, slots=True)
class Software:
    """Identity of the product in each VIHF. `id`: LPS_ID, of the installation. The homologation number is a secret (EX_GEN-1490)."""

    name: str = "mssgw"
    version: str = "1"
    id: str = ""
    homologation: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class VihfSettings:
    """What versions of the VIHF differ in (config/dmp/settings.md)."""

    version: str = "3.0"  # 4.0 in the 2026 mapping
    name_in_direct_mode: bool = True  # subject-id beside a card: in no sample, needed in the other modes
    attributes: Mapping[str, str] = field(default_factory=dict)  # name in the samples -> name to send, "" for not sent
    value_type: str = "xs:string"  # xsi:type of plain values, "" for none
    access_mode_system: str = "1.2.250.1.213.1.1.4.248"  # the NOS publish ....336
    access_mode_system_name: str = "mode acces VIHF 2.0"  # 1.0 in messages of the DRIMbox
    access_mode_names: Mapping[str, str] = field(default_factory=dict)  # mode -> displayName, where another is wanted
    profession_system_name: str = ""  # "professions" in the sample of AIR, absent in the others
    speciality_system_name: str = ""  # "specialites RPPS" there
    algorithm: Algorithm = Algorithm.RSA_SHA256
    issuer_format: str = "urn:oasis:names:tc:SAML:1.1:nameid-format:X509SubjectName"  # one table prints nameidformat
    lifetime_seconds: int = 30  # EX_AIR-040 for AIR; used in every mode
    conditions: bool = False  # NotBefore and NotOnOrAfter: in no sample, optional in the mapping
    not_after_name: Literal["NotOnOrAfter", "NotAfter"] = "NotOnOrAfter"  # the mapping table prints NotAfter
    direct_class: str = SMARTCARD_PKI
    indirect_class: str = SMARTCARD_PKI  # TLSClient in messages of the DRIMbox
    air_class: str = SMARTCARD_PKI
    air_declaration: str = SMARTCARD_PKI  # AuthnContextDecl, AIR only; APP_BROWSER_AUTH in the DRIMbox


@dataclass(frozen=True, slots=True)
class Actions:
    """SOAP actions that the sources spell differently."""

    td0_2: str = "urn:hl7-org:v3:PRPA_IN201307UV02"  # an editor kit sends ...201308UV02
    td0_5: str = "urn:hl7-org:v3:PRPA_IN201305UV02"  # a kit: urn:ihe:iti:pdqv3:2007:PDQSupplier_Service:findCandidatesQuery
    others: Mapping[str, str] = field(default_factory=dict)  # transaction ("TD1.6") -> action, where a server wants another


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what is sent and accepted. Bytes, counts, seconds."""

    document_bytes: int = 20 * 1024 * 1024  # a CDA: twice the largest PDF, for base64 and its header
    answer_bytes: int = 80 * 1024 * 1024
    xml_bytes: int = 16 * 1024 * 1024
    xml_depth: int = 100
    parts: int = 200
    connect_seconds: float = 10.0
    answer_seconds: float = 60.0  # silence of the other side
    exchange_seconds: float = 900.0  # a whole exchange, however slowly it trickles
    documents_per_query: int = 20  # GetDocumentsAndAssociations batch (PDSM4DMP, exemples_usage)


@dataclass(frozen=True, slots=True)
class DmpSettings:
    """Everything the client needs to know but the keys' owner.

    `url`: .../si-dmp-server/v2/services, https. `service_urls` overrides single services.
    `certificate`, `key`: PEM files of the TLS client (ORG_AUTH_CLI); both None when a local TLS relay holds
    the card's key, then `relay` is its unix:/path of a socket, or http://127.0.0.1:port. `anchors`: CA certificates, one PEM file.
    """

    url: str
    anchors: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    relay: str = ""
    service_urls: Mapping[str, str] = field(default_factory=dict)
    system_oid: str = "1.2.250.1.213.1.1.9.1"  # our OID: sender device, sourceId, root of new ids
    receiver_oid: str = "1.2.250.1.213.4.1.1.1"
    receiver_name: str = "DMP"
    repository_oid: str = "1.2.250.1.213.4.1.1.1.2"
    software: Software = Software()
    vihf: VihfSettings = VihfSettings()
    actions: Actions = Actions()
    limits: Limits = Limits()
    xades_algorithm: Algorithm = Algorithm.RSA_SHA256
    xades_canonical: bool = True  # digest XML documents in canonical form, as real messages do
    update_content_type: Code = _CONSULTATION  # contentTypeCode of TD3.3 submissions (JDV_J59)
    start_date_format: str = "%Y%m%d%H%M%S"  # TD0.4 startDate (strftime)
    answer_dates: tuple[str, ...] = ("%Y%m%d%H%M%S", "%Y%m%d")  # of TD0.4 and TD1.6 (strptime)
    answer_zone: str = "UTC"  # of those that name none
    ins_oids: tuple[str, ...] = ()  # those that count as an INS; empty: by environment, in production without those of tests
    ins_oid: str = ""  # of a number that was typed, or that INSi named by .8; empty: by environment, .8 or .10
    processing_code: Literal["", "P", "T", "D"] = ""  # HL7: production, training, debugging; empty: by environment, P or D
    legacy_dossier_management: bool = False  # TD1.1, TD1.2, TD1.4, TD1.5 (docs/reference/dmp.md 1.5)
    mask_and_hide_together: bool = True  # param-lps cumul-invisible_patient-masque_ps
    ins_keys: Mapping[str, KeyPolicy] = field(default_factory=dict)  # OID -> what a wrong key of a typed INS means; refused where unsaid
    production: bool = False
    trace: Path | None = None  # each SOAP exchange as files
    trace_in_production: bool = False  # the audited switch: patient data leave the connector

    def __post_init__(self) -> None:
        for name, value in self._by_environment().items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)
        _require_https(self.url, "url")
        for name, address in self.service_urls.items():
            if name not in SERVICES:
                raise BadSettings(message("settings.service-urls-no-service-known", name=repr(name), services=", ".join(SERVICES)))
            _require_https(address, f"service_urls.{name}")
        if (self.certificate is None) != (self.key is None):
            raise BadSettings(message("settings.certificate-key-given-together"))
        if bool(self.relay) == bool(self.certificate):
            raise BadSettings(message("settings.either-certificate-key-relay-holds"))
        if self.relay:
            _require_loopback(self.relay)
        if self.trace and self.production and not self.trace_in_production:
            raise BadSettings(message("settings.trace-writes-patient-data-production"))
        try:
            zone_named(self.answer_zone)
        except ValueError as error:
            raise BadSettings(message("settings.unknown-zone", name=repr(self.answer_zone))) from error
        if not 1 <= self.vihf.lifetime_seconds <= 8 * 3600:
            raise BadSettings(message("settings.vihf-lifetime-seconds-1-28800"))

    def _by_environment(self) -> dict[str, object]:
        if self.production:
            return {"processing_code": "P", "ins_oid": InsKind.NIR.value, "ins_oids": (InsKind.NIR.value, InsKind.NIA.value)}
        return {"processing_code": "D", "ins_oid": InsKind.NIR_TEST.value, "ins_oids": INS_OIDS}

    def in_dmp(self, ins: Ins) -> Ins:
        """The number as this DMP has it: INSi names a NIR by the OID of production on the test platform too."""
        return Ins(ins.value, self.ins_oid) if ins.oid == InsKind.NIR else ins

    def service_url(self, service: str) -> str:
        """The address of one service below `url`, or the one set for it."""
        return self.service_urls.get(service) or f"{self.url.rstrip('/')}/{service}"


def _require_https(address: str, name: str) -> None:
    if urlsplit(address).scheme != "https" or not urlsplit(address).hostname:
        raise BadSettings(message("settings.https-address-needed", name=name))


def _require_loopback(address: str) -> None:
    """The connection to the relay is clear text: it must not leave the machine (docs/reference/dmp.md 8.3)."""
    if address.startswith("unix:/"):
        return
    parts = urlsplit(address)
    try:
        local = parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        local = False
    if not local:
        raise BadSettings(message("settings.relay-unix-path-http-127"))
