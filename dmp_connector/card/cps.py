"""A CPS or CPE as values: certificates, identity, activities; the content of the card's PKCS#11 objects (docs/reference/dmp.md 8.1).

Two key pairs: the last byte of CKA_ID is 0x20 for authentication (TLS) and 0x10 for signature (VIHF, XAdES).
CPS_INFO_PS (public) ends with the speciality; CPS_ACTIVITY_nn_PS (after the PIN) holds one place of work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import x509 as asn1_x509
from cryptography import x509

from dmp_connector.errors import CardExpired, CardUnreadable
from dmp_connector.model.code import Code
from dmp_connector.model.people import Actor, AuthenticationMode, Practitioner, Structure
from dmp_connector.texts import message

AUTHENTICATION_ID, SIGNATURE_ID = 0x20, 0x10
_PROFESSION = "1.2.250.1.71.1.2.7"  # certificate extension and code system G15
_R01 = "1.2.250.1.71.4.2.5"
_SECTOR = "1.2.250.1.71.4.2.4"
_ACTIVITY_TAG, _COMPANY, _STRUCTURE, _SECTOR_TAG = 0xEE, 0x84, 0x85, 0x86
MAX_TRIES = 3


@dataclass(frozen=True, slots=True)
class Activity:
    """One place of work: `structure` is Struct_IdNat, `sector` SA07 and the like."""

    company: str
    structure: str
    sector: str

    def as_structure(self) -> Structure:
        """The place of work as the structure of an actor; its sector is coded in JDV_J61's system."""
        return Structure(self.structure, self.company, Code(self.sector, _SECTOR))


@dataclass(frozen=True, slots=True)
class Card:
    """A card as read. `activities` are empty before the PIN. `tries_left`: None when the module does not show it."""

    serial: str
    reader: str
    authentication: bytes  # DER
    signature: bytes  # DER
    info: bytes
    activities: tuple[Activity, ...]
    tries_left: int | None
    authentication_id: str = ""  # CKA_ID of the authentication key, hex: the TLS relay asks for it

    @property
    def is_staff_card(self) -> bool:
        """A CPE of the IGC-Santé names no person: its subject has neither SN nor GN (docs/reference/dmp.md 8.1)."""
        return not subject_of(self.signature).get("surname")

    @property
    def speciality(self) -> str:
        """Last four characters of CPS_INFO_PS (docs/reference/dmp.md 8.1); "" when they are no speciality code."""
        tail = self.info[-4:].decode("ascii", "replace")
        return tail if re.fullmatch(r"S[MCI]\d\d|C\d{3}|[A-Z]{2}\d\d", tail) else ""

    def practitioner(self) -> Practitioner:
        """The holder. A CPE gives its organisation's label as family name. Raises CardUnreadable."""
        subject = subject_of(self.signature)
        identity = subject.get("common_name", "")
        if not identity:
            raise CardUnreadable(message("card.card-s-certificate-no-identifier"))
        family = subject.get("surname") or subject.get("organization_name", identity)
        profession = profession_of(self.signature)
        speciality = Code(self.speciality, _R01) if self.speciality else None
        return Practitioner(identity, family, subject.get("given_name", ""), profession, speciality)

    def require_valid(self, now: datetime) -> None:
        """Raise CardExpired before any call is made with an expired card (REC_0.X-1050)."""
        for certificate in (self.authentication, self.signature):
            loaded = _load(certificate)
            if now > loaded.not_valid_after_utc:
                raise CardExpired(message("card.certificate-valid-until", day=loaded.not_valid_after_utc.date()))
            if now < loaded.not_valid_before_utc:
                raise CardExpired(message("card.certificate-valid-from", day=loaded.not_valid_before_utc.date()))

    @property
    def valid_until(self) -> datetime:
        """The earlier end of the two certificates, UTC. Raises CardUnreadable for octets that are no certificate."""
        return min(_load(c).not_valid_after_utc for c in (self.authentication, self.signature))

    def actor(self, activity: int, at: datetime) -> Actor:
        """Who calls the DMP with this card at one of its places of work. Raises CardUnreadable: no such activity."""
        if not 0 <= activity < len(self.activities):
            raise CardUnreadable(message("card.card-activities-number-asked", count=len(self.activities), activity=activity + 1))
        return Actor(
            self.practitioner(),
            self.activities[activity].as_structure(),
            AuthenticationMode.DIRECT,
            at,
            staff_card=self.is_staff_card,
            evidence=f"card {self.serial}",
        )


def parse_activity(data: bytes) -> Activity:
    """A CPS_ACTIVITY_nn_PS object: tag 0xEE with 0x84 company, 0x85 Struct_IdNat, 0x86 sector. Raises CardUnreadable."""
    tag, value, rest = _tlv(data)
    if tag != _ACTIVITY_TAG or rest.strip(b"\0"):
        raise CardUnreadable(message("card.activity-card-not-known-form"))
    fields: dict[int, str] = {}
    while value:
        inner, content, value = _tlv(value)
        fields[inner] = content.decode("utf-8", "replace").strip()
    if not fields.get(_STRUCTURE):
        raise CardUnreadable(message("card.activity-card-no-structure"))
    return Activity(fields.get(_COMPANY, ""), fields[_STRUCTURE], fields.get(_SECTOR_TAG, ""))


def activity_object(activity: Activity) -> bytes:
    """The same the other way, for a simulated card."""
    pairs = ((_COMPANY, activity.company), (_STRUCTURE, activity.structure), (_SECTOR_TAG, activity.sector))
    return _encoded(_ACTIVITY_TAG, b"".join(_encoded(tag, text.encode()) for tag, text in pairs))


def _encoded(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes((tag, size)) + value
    octets = 1 if size < 0x100 else 2
    return bytes((tag, 0x80 | octets)) + size.to_bytes(octets, "big") + value


def _tlv(data: bytes) -> tuple[int, bytes, bytes]:
    """One BER TLV with a one-byte tag and a definite length of at most two octets: (tag, value, rest)."""
    if len(data) < 2:
        raise CardUnreadable(message("card.cut-data-object-card"))
    tag, length, at = data[0], data[1], 2
    if length & 0x80:
        octets = length & 0x7F
        if octets not in {1, 2} or len(data) < 2 + octets:
            raise CardUnreadable(message("card.cut-data-object-card"))
        length, at = int.from_bytes(data[2 : 2 + octets], "big"), 2 + octets
    if len(data) < at + length:
        raise CardUnreadable(message("card.cut-data-object-card"))
    return tag, data[at : at + length], data[at + length :]


def subject_of(certificate: bytes) -> Mapping[str, str]:
    """Subject attributes by name. asn1crypto reads also what older cards encode as TeletexString (docs/reference/crypto.md 1.2)."""
    try:
        native = asn1_x509.Certificate.load(certificate).subject.native
    except ValueError as error:
        raise CardUnreadable(message("card.card-s-certificate-cannot-read")) from error
    return {name: " ".join(value) if isinstance(value, list) else str(value).strip() for name, value in native.items()}


def profession_of(certificate: bytes) -> Code:
    """G15 code of the extension 1.2.250.1.71.1.2.7; SECRETARIAT_MEDICAL for a card without one (CPE)."""
    try:
        extensions = asn1_x509.Certificate.load(certificate)["tbs_certificate"]["extensions"]
        for extension in extensions:
            if extension["extn_id"].dotted == _PROFESSION:
                raw = extension["extn_value"].native
                tag, value, _ = _tlv(raw if isinstance(raw, bytes) else bytes(raw))
                if tag == 0x02:
                    return Code(str(int.from_bytes(value, "big")), _PROFESSION)
    except (ValueError, TypeError, KeyError) as error:
        raise CardUnreadable(message("card.profession-card-s-certificate-cannot")) from error
    return Code("SECRETARIAT_MEDICAL", "1.2.250.1.213.1.1.4.6")


def _load(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(certificate)
    except ValueError as error:
        raise CardUnreadable(message("card.card-s-certificate-cannot-read")) from error
