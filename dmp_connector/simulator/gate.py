"""Proves who is calling. Order: certificate of the assertion -> signature -> age -> single use -> form -> content -> profile.

Everything after the signature is read from what the verifier returned, not from the message. Refusals are
SOAP faults with the codes of WS-Security, or the DMP's own where they are public (docs/reference/dmp.md 1.6).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidInput
from signxml.exceptions import InvalidSignature as SignatureRefused
from signxml.verifier import SignatureConfiguration, XMLVerifier

from dmp_connector.codes import load
from dmp_connector.errors import BadAnswer, BadIns
from dmp_connector.model.code import Code
from dmp_connector.model.people import AccessMode, AuthenticationMode, Ins
from dmp_connector.proof import vihf
from dmp_connector.proof.dsig import DS
from dmp_connector.simulator.config import SimulatorConfig
from dmp_connector.simulator.rights import Column
from dmp_connector.simulator.world import Record
from dmp_connector.wire.xml import parse, serialise

DOCTOR, PHARMACIST = "10", "21"
PROFESSIONS = "1.2.250.1.71.1.2.7"
OCCUPATIONAL_MEDICINE = "SM25"
STAFF_SYSTEM = "1.2.250.1.213.1.1.4.6"
ISSUER_FORMATS = tuple(f"urn:oasis:names:tc:SAML:1.1:{name}:X509SubjectName" for name in ("nameid-format", "nameidformat"))
MODE_SYSTEMS = ("1.2.250.1.213.1.1.4.248", "1.2.250.1.213.1.1.4.336")


class GateRefused(Exception):
    """A SOAP fault: subcode (wsse: prefix for WS-Security's own) and text."""

    def __init__(self, subcode: str, text: str) -> None:
        super().__init__(f"{subcode}: {text}")
        self.subcode, self.text = subcode, text


@dataclass(frozen=True, slots=True)
class Visitor:
    """The verified caller of one message."""

    id: str
    name: str
    structure: str
    authentication: AuthenticationMode
    mode: AccessMode
    profession: Code
    speciality: Code | None
    ins: Ins | None
    staff: bool
    secret: bool

    @property
    def air(self) -> bool:
        """Did the person log in by Pro Santé Connect (AIR)?"""
        return self.authentication is AuthenticationMode.AIR

    @property
    def is_doctor(self) -> bool:
        """Profession 10 of G15."""
        return self.profession.code == DOCTOR and self.profession.system == PROFESSIONS

    @property
    def imputed_to(self) -> str:
        """Who gets an authorisation: the structure for staff, else the professional (docs/reference/dmp.md 7.4)."""
        return self.structure if self.staff else self.id

    def column(self, record: Record | None, now: datetime) -> Column:
        """The column of the rights matrix for this caller on this dossier."""
        if self.authentication is AuthenticationMode.INDIRECT:
            return Column.STRUCTURE
        if self.staff:
            return Column.STAFF_CARD
        if self.mode is AccessMode.CENTRE_15:
            return Column.CARD_REGULATION
        treating = record is not None and record.treats(self.id, now)
        if self.mode is AccessMode.BRIS_DE_GLACE:
            return Column.TREATING_BRIS_DE_GLACE if treating else Column.CARD_BRIS_DE_GLACE
        if self.is_doctor and self.speciality and self.speciality.code == OCCUPATIONAL_MEDICINE:
            return Column.OCCUPATIONAL
        return Column.TREATING if treating else Column.CARD


class Gate:
    """Verifies assertions; remembers their ids until they would be too old anyway."""

    def __init__(self, config: SimulatorConfig, now: Callable[[], datetime]) -> None:
        self._config, self._now = config, now
        self._skew, self._codes = timedelta(seconds=config.skew_seconds), load()
        self._anchors = x509.load_pem_x509_certificates(config.client_anchors.read_bytes())
        self._seen: dict[str, datetime] = {}
        self._lock = threading.Lock()
        methods = frozenset({SignatureMethod.RSA_SHA256} | ({SignatureMethod.RSA_SHA1} if config.sha1 else set()))
        digests = frozenset({DigestAlgorithm.SHA256} | ({DigestAlgorithm.SHA1} if config.sha1 else set()))
        self._rules = SignatureConfiguration(
            require_x509=True, expect_references=1, signature_methods=methods, digest_algorithms=digests, location="./"
        )

    def admit(self, security: etree._Element | None, peer: bytes | None) -> Visitor:
        """The visitor behind a wsse:Security header and a TLS certificate (DER). Raises GateRefused."""
        if peer is None:
            raise GateRefused("DMPInvalidCertificate", "TLS client certificate missing")
        assertions = security.findall(f"{{{vihf.SAML}}}Assertion") if security is not None else []
        if len(assertions) != 1:
            raise GateRefused("wsse:InvalidSecurity", "exactly one VIHF is needed")
        signing = self._certificate(assertions[0])
        verified = self._verified(assertions[0], signing)
        try:
            claims = vihf.read(verified)
        except BadAnswer as error:
            raise GateRefused("wsse:InvalidSecurityToken", str(error)) from error
        self._require_issuer(claims, signing, peer)
        self._require_fresh(claims)
        self._require_form(claims)
        return self._visitor(claims)

    def signed(self, assertion: etree._Element) -> etree._Element:
        """An assertion for another service (INSi), as its verified signature covers it. Raises GateRefused."""
        return self._verified(assertion, self._certificate(assertion))

    def _certificate(self, assertion: etree._Element) -> x509.Certificate:
        text = assertion.findtext(f"{{{DS}}}Signature/{{{DS}}}KeyInfo/{{{DS}}}X509Data/{{{DS}}}X509Certificate") or ""
        pem = "-----BEGIN CERTIFICATE-----\n" + "".join(text.split()) + "\n-----END CERTIFICATE-----\n"
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode("ascii", "replace"))
        except ValueError as error:
            raise GateRefused("DMPInvalidCertificate", "Not a valid signature certificate") from error
        self.require_trusted(certificate)
        return certificate

    def require_trusted(self, certificate: x509.Certificate) -> None:
        """Path to an anchor, dates, usage, revocation. Raises GateRefused."""
        now = self._now()
        bad = GateRefused("DMPInvalidCertificate", "Not a valid signature certificate")
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise bad
        if str(certificate.serial_number) in self._config.revoked_serials:
            raise bad
        try:
            usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
            if not (usage.digital_signature or usage.content_commitment):
                raise bad
        except x509.ExtensionNotFound:
            pass
        current = certificate
        for _ in range(4):
            issuer = next((anchor for anchor in self._anchors if _issued(current, anchor)), None)
            if issuer is None:
                raise bad
            if issuer.issuer == issuer.subject:
                return
            current = issuer
        raise bad

    def _verified(self, assertion: etree._Element, certificate: x509.Certificate) -> etree._Element:
        """The assertion as the verifier returned it. A signature over anything but the whole assertion is refused (wrapping)."""
        try:
            result = XMLVerifier().verify(serialise(assertion), x509_cert=certificate, id_attribute="ID", expect_config=self._rules)
        except (SignatureRefused, InvalidInput, InvalidSignature, ValueError, etree.LxmlError) as error:
            raise GateRefused("wsse:FailedCheck", "The VIHF signature does not hold") from error
        single = result[0] if isinstance(result, list) else result
        signed = single.signed_xml
        if signed is None or signed.tag != f"{{{vihf.SAML}}}Assertion" or signed.get("ID") != assertion.get("ID"):
            raise GateRefused("wsse:FailedCheck", "The signature does not cover the assertion")
        return parse(serialise(signed))

    def _require_issuer(self, claims: vihf.Claims, signing: x509.Certificate, peer: bytes) -> None:
        if _names(claims.issuer) != _names(signing.subject.rfc4514_string()):  # cryptography's writing, not the client's
            raise GateRefused("wsse:InvalidSecurityToken", "Issuer is not the subject of the signing certificate")
        tls = x509.load_der_x509_certificate(peer)
        self.require_trusted(tls)
        for oid in (NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME):
            ours = [a.value for a in signing.subject.get_attributes_for_oid(oid)]
            theirs = [a.value for a in tls.subject.get_attributes_for_oid(oid)]
            if ours and theirs and ours != theirs:
                raise GateRefused("DMPInvalidCertificate", "TLS and signature certificates belong to different structures")

    def _require_fresh(self, claims: vihf.Claims) -> None:
        now, skew = self._now(), self._skew
        life = timedelta(seconds=self._config.vihf_seconds)
        if claims.issued is None or not claims.id:
            raise GateRefused("wsse:InvalidSecurityToken", "IssueInstant and ID are needed")
        until = min(filter(None, (claims.issued + life, claims.not_after)))
        if claims.issued > now + skew or (claims.not_before and claims.not_before > now + skew) or now > until + skew:
            raise GateRefused("wsse:MessageExpired", "The VIHF is too old or not yet valid")
        with self._lock:
            self._seen = {known: end for known, end in self._seen.items() if end > now}
            if claims.id in self._seen:
                raise GateRefused("wsse:FailedAuthentication", "This VIHF was already used")
            self._seen[claims.id] = until + 2 * skew

    def _require_form(self, claims: vihf.Claims) -> None:
        """What the mapping table asks of every VIHF, whoever sends it (docs/reference/dmp.md 2)."""
        code, _, system = claims.sector.partition("^")
        secret = [c for c in claims.confidentiality if (c.code, c.system) != (vihf.SECRET_CONNECTION.code, vihf.SECRET_CONNECTION.system)]
        for holds, text in (
            (claims.saml_version == "2.0", "Assertion/@Version 2.0"),
            (claims.issuer_format in ISSUER_FORMATS, "Issuer/@Format X509SubjectName"),
            (claims.context_class, "AuthnContextClassRef"),
            (not claims.audience, "AudienceRestriction must not be filled"),
            (claims.resource == "urn:dmp", "Ressource_URN urn:dmp"),
            (self._codes.facility.find(code, system), "Secteur_Activite of JDV_J61"),
            (all(claims.software), "LPS_Nom and LPS_Version"),
            (not claims.roles or claims.roles[0] in self._codes.subject_role, "subject:role of JDV_J65"),
            (not secret, "confidentiality-code: INVISIBLE_REPRESENTANTS_LEGAUX only"),
            (claims.authenticated is None or claims.authenticated <= self._now() + self._skew, "AuthnInstant in the future"),
        ):
            if not holds:
                raise GateRefused("wsse:InvalidSecurityToken", f"VIHF: {text}")

    def _visitor(self, claims: vihf.Claims) -> Visitor:
        try:
            mode, authentication = AccessMode(claims.mode), AuthenticationMode(claims.authentication)
        except ValueError as error:
            raise GateRefused("wsse:InvalidSecurityToken", "unknown access or authentication mode") from error
        if claims.mode_system not in MODE_SYSTEMS or claims.version not in ("3.0", "4.0"):
            raise GateRefused("wsse:InvalidSecurityToken", "unknown VIHF version or access mode system")
        if not claims.subject or not claims.roles or claims.authenticated is None:
            raise GateRefused("wsse:InvalidSecurityToken", "NameID, role and AuthnInstant are needed")
        if self._config.homologations and claims.homologation not in self._config.homologations:
            raise GateRefused("wsse:InvalidSecurityToken", "Numéro d'homologation inconnu")
        if not claims.structure or claims.structure in self._config.inactive_structures:
            raise GateRefused("wsse:FailedAuthentication", "Structure introuvable ou Inactive")
        profession = claims.roles[0]
        speciality = claims.roles[1] if len(claims.roles) > 1 else None
        if profession.system == PROFESSIONS and profession.code in (DOCTOR, PHARMACIST) and speciality is None:
            raise GateRefused("wsse:InvalidSecurityToken", "Aucune spécialité dans le vihf")
        if authentication is not AuthenticationMode.DIRECT and not claims.name:
            raise GateRefused("wsse:InvalidSecurityToken", "subject-id is needed in indirect mode")
        if mode is AccessMode.CENTRE_15 and claims.structure not in self._config.regulation_structures:
            raise GateRefused("DMPAccessDeniedByRightsService", "La structure n'est pas un centre de régulation")
        if mode is AccessMode.BRIS_DE_GLACE and authentication is AuthenticationMode.INDIRECT:
            raise GateRefused("DMPAccessDeniedByRightsService", "Bris de glace impossible en authentification indirecte")
        return Visitor(
            id=claims.subject,
            name=claims.name,
            structure=claims.structure,
            authentication=authentication,
            mode=mode,
            profession=profession,
            speciality=speciality,
            ins=_ins(claims.patient),
            staff=profession.system == STAFF_SYSTEM,
            secret=claims.secret,
        )


def _ins(cx: str) -> Ins | None:
    if not cx:
        return None
    try:
        return Ins.from_cx(cx)
    except BadIns as error:
        raise GateRefused("wsse:InvalidSecurityToken", "resource-id is not an INS") from error


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _names(text: str) -> frozenset[str]:
    """A DN as a set of its parts: order, spacing and grouping differ between writers, and whether a dotted type's value is in hex."""
    return frozenset(_unhexed(part.strip()) for part in re.split(r"(?<!\\)[,+]", text) if part.strip())


def _unhexed(part: str) -> str:
    kind, _, value = part.partition("=")
    if not value.startswith("#"):
        return part
    try:
        return f"{kind}={bytes.fromhex(value[5:]).decode()}"  # after tag and a length of one octet
    except ValueError:
        return part
