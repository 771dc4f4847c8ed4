"""Documents and their metadata, as IHE XDS.b names them, French profile (docs/reference/dmp.md 3).

Values as on the wire where the wire is the contract (codes, XCN, XON, CX are composed and read here, in
one place), Python types where we compute with them. `entry_uuid`, `logical_id`, `version`, `status` and
`repository_id` belong to the registry and are empty until it has assigned them.
"""

from __future__ import annotations

import enum
import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone

from dmp_connector.errors import BadDocument
from dmp_connector.model.code import Code
from dmp_connector.model.people import Ins, Practitioner, Structure
from dmp_connector.texts import message

_DTM = re.compile(r"(\d{4}(?:\d{2}){0,5})(?:\.\d{1,4})?(Z|[+-]\d{2}:?\d{2})?")


@dataclass(frozen=True, slots=True, order=True)
class Dtm:
    """An HL7 DTM in UTC: a moment and how many digits of it are known (4, 6, 8, 10, 12 or 14)."""

    at: datetime
    digits: int = 14

    @classmethod
    def of(cls, moment: datetime, digits: int = 14) -> Dtm:
        """An aware moment, in UTC, as precise as so many digits of YYYYMMDDhhmmss."""
        return cls(moment.astimezone(UTC).replace(microsecond=0), digits)

    @classmethod
    def parse(cls, text: str) -> Dtm:
        """Read a DTM, with or without offset; without one it is UTC (ITI TF-3 4.2.3.1.7). Raises BadDocument."""
        found = _DTM.fullmatch(text.strip())
        if not found:
            raise BadDocument(message("model.not-date-time-hl7-form", text=repr(text[:40])))
        digits, zone = found[1], found[2]
        fields = [int(digits[:4]), *(int(digits[i : i + 2]) for i in range(4, len(digits), 2))]
        fields += [1] * (3 - len(fields)) if len(fields) < 3 else []
        try:
            moment = datetime(*fields, tzinfo=_zone(zone) if len(digits) > 8 else UTC)  # type: ignore[misc, arg-type]
            return cls(moment.astimezone(UTC), len(digits))
        except (ValueError, OverflowError) as error:
            raise BadDocument(message("model.not-date", text=repr(text[:40]))) from error

    def __str__(self) -> str:
        return self.at.strftime("%Y%m%d%H%M%S").rjust(14, "0")[: self.digits]


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


NO_MOMENT = Dtm.parse("1900")
"""Where a moment must stand and the sender wrote none that can be read."""


class AvailabilityStatus(enum.StrEnum):
    """JDV_J52."""

    APPROVED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"
    DEPRECATED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated"
    ARCHIVED = "urn:asip:ci-sis:2010:StatusType:Archived"
    DELETED = "urn:asip:ci-sis:2010:StatusType:Deleted"


class Visibility(enum.StrEnum):
    """TRE_A07, 1.2.250.1.213.1.1.4.13: codes beside N/R/V in confidentialityCode."""

    MASKED = "MASQUE_PS"
    HIDDEN_FROM_PATIENT = "INVISIBLE_PATIENT"
    HIDDEN_FROM_REPRESENTATIVES = "INVISIBLE_REPRESENTANTS_LEGAUX"

    @property
    def as_code(self) -> Code:
        """As a confidentialityCode."""
        return Code(self.value, VISIBILITY_SYSTEM, _VISIBILITY_LABELS[self.value])


VISIBILITY_SYSTEM = "1.2.250.1.213.1.1.4.13"
_VISIBILITY_LABELS = {
    "MASQUE_PS": "Masqué aux professionnels de santé",
    "INVISIBLE_PATIENT": "Non visible par le patient",
    "INVISIBLE_REPRESENTANTS_LEGAUX": "Non visible par les représentants légaux",
}
NORMAL = Code("N", "2.16.840.1.113883.5.25", "Normal")

PS_AUTHORITY = "1.2.250.1.71.4.2.1"  # issues PS_IdNat
STRUCTURE_AUTHORITY = "1.2.250.1.71.4.2.2"  # issues Struct_IdNat


@dataclass(frozen=True, slots=True)
class Person:
    """XCN: an author or legal authenticator. `name_type` D person, U device or unknown; `id_type` IDNPS, EI, NH, RI."""

    id: str
    family: str
    given: str = ""
    authority: str = PS_AUTHORITY
    name_type: str = "D"
    id_type: str = "IDNPS"

    @classmethod
    def of(cls, practitioner: Practitioner) -> Person:
        """A professional as an author of documents."""
        return cls(practitioner.id, practitioner.family, practitioner.given)

    @classmethod
    def parse(cls, xcn: str) -> Person:
        """Read any XCN, also poor ones of other makers (`Gerald Smitty`); never fails."""
        parts = xcn.split("^")
        if len(parts) == 1:
            return cls("", parts[0], authority="", name_type="", id_type="")
        at = parts + [""] * (13 - len(parts))
        return cls(at[0], at[1], at[2], at[8].split("&")[1] if at[8].count("&") else at[8], at[9], at[12])

    @property
    def xcn(self) -> str:
        """As HL7 XCN; a name alone when nothing else is known."""
        if not (self.id or self.authority or self.name_type or self.id_type):
            return self.family
        authority = f"&{self.authority}&ISO" if self.authority else ""
        return f"{_hl7(self.id)}^{_hl7(self.family)}^{_hl7(self.given)}^^^^^^{authority}^{self.name_type}^^^{self.id_type}".rstrip("^")


@dataclass(frozen=True, slots=True)
class Institution:
    """XON: the author's structure. Name or id may be empty where the CDA has nullFlavor (docs/reference/dmp.md 3.2)."""

    name: str
    id: str = ""
    authority: str = STRUCTURE_AUTHORITY
    id_type: str = "IDNST"

    @classmethod
    def of(cls, structure: Structure) -> Institution:
        """A structure as an author's institution."""
        return cls(structure.name, structure.id)

    @classmethod
    def parse(cls, xon: str) -> Institution:
        """Of an HL7 XON; what is missing in it is ""."""
        parts = xon.split("^")
        at = parts + [""] * (10 - len(parts))
        return cls(at[0], at[9], at[5].split("&")[1] if at[5].count("&") else at[5], at[6])

    @property
    def xon(self) -> str:
        """As HL7 XON; a name alone when there is no id."""
        if not self.id:
            return _hl7(self.name)
        return f"{_hl7(self.name)}^^^^^&{self.authority}&ISO^{self.id_type}^^^{self.id}"


def _hl7(text: str) -> str:
    """HL7 delimiters cannot stand in a component; XDS knows no escape for them."""
    return re.sub(r"[\^&~|\r\n]", " ", text)


@dataclass(frozen=True, slots=True)
class Author:
    """XDS author. `institution` is absent for documents of the patient; `specialty` is a CE text (G15_10/SM26^…)."""

    person: Person | None
    institution: Institution | None = None
    roles: tuple[str, ...] = ()
    specialties: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class DocumentEntry:
    """Metadata of one document. `unique_id` is the producer's (OID or OID^ext), `hash` SHA-1 in 40 hex, lower case."""

    unique_id: str
    patient: Ins
    title: str
    type: Code
    class_code: Code
    format: Code
    created: Dtm
    authors: tuple[Author, ...]
    facility: Code
    practice: Code
    service_start: Dtm | None
    service_stop: Dtm | None = None
    confidentiality: tuple[Code, ...] = (NORMAL,)
    mime_type: str = "text/xml"
    language: str = "fr-FR"
    legal_authenticator: Person | None = None
    source_patient_id: str = ""  # CX: local id (PI) or the INS
    source_patient_info: tuple[str, ...] = ()  # "PID-5|NAME^GIVEN^^^^^L", "PID-7|19700101", "PID-8|F"
    events: tuple[Code, ...] = ()
    references: tuple[str, ...] = ()  # referenceIdList, CXi
    comments: str = ""
    hash: str = ""
    size: int | None = None
    uri: str = ""  # XDM only (ITI-32)
    status: AvailabilityStatus | None = None
    entry_uuid: str = ""
    logical_id: str = ""
    version: str = ""
    repository_id: str = ""
    submitted: Dtm | None = None  # non-standard slot of real messages (docs/reference/dmp.md 3.2)
    stable: bool = True

    @property
    def visibility(self) -> frozenset[Visibility]:
        """The visibility codes among its confidentiality codes."""
        known = {v.value for v in Visibility}
        return frozenset(Visibility(c.code) for c in self.confidentiality if c.system == VISIBILITY_SYSTEM and c.code in known)

    def with_visibility(self, wanted: frozenset[Visibility]) -> DocumentEntry:
        """The same entry, N/R/V and foreign codes kept, visibility codes as wanted."""
        others = tuple(c for c in self.confidentiality if c.system != VISIBILITY_SYSTEM)
        return replace(self, confidentiality=others + tuple(v.as_code for v in Visibility if v in wanted))

    def describing(self, content: bytes) -> DocumentEntry:
        """The same entry with hash and size of `content`."""
        return replace(self, hash=content_hash(content), size=len(content))

    def require_matches(self, content: bytes) -> None:
        """Raise BadDocument unless `content` has the hash and size announced."""
        if self.size is not None and self.size != len(content):
            raise BadDocument(message("model.bytes-where-metadata-say", size=len(content), size2=self.size))
        if self.hash and self.hash.lower() != content_hash(content):
            raise BadDocument(message("model.content-does-not-hash-metadata"))

    def __repr__(self) -> str:
        return f"DocumentEntry({self.unique_id}, {self.type.code})"


def content_hash(content: bytes) -> str:
    """XDS hash: SHA-1, 40 hex (docs/reference/dmp.md 3.2). An identifier, not a protection."""
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Document:
    """An entry with its bytes. `replaces`: entryUUID of the document this one replaces (RPLC)."""

    entry: DocumentEntry
    content: bytes = field(repr=False)
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class SubmissionSet:
    """What is submitted together. `source_id`: OID of our system; `content_type`: JDV_J59."""

    unique_id: str
    source_id: str
    patient: Ins
    content_type: Code
    author: Author
    submitted: Dtm
    title: str = ""
    comments: str = ""
    entry_uuid: str = ""
    status: AvailabilityStatus | None = None


@dataclass(frozen=True, slots=True)
class Association:
    """A typed arrow between two registry objects; `type` is the full URN, `object_type` what it is itself (TD3.3), "" for unsaid."""

    type: str
    source: str
    target: str
    id: str = ""
    slots: tuple[tuple[str, tuple[str, ...]], ...] = ()
    object_type: str = ""

    HAS_MEMBER = "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember"
    REPLACES = "urn:ihe:iti:2007:AssociationType:RPLC"
    SIGNS = "urn:ihe:iti:2007:AssociationType:signs"
    UPDATE_STATUS = "urn:ihe:iti:2010:AssociationType:UpdateAvailabilityStatus"
