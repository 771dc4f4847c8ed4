"""Persons: patients by INS and traits, practitioners, structures, and the actor of a call.

INS = 13 characters + key of 2 digits. The key is checked when a person typed it (`Ins.typed`), and only
noted when a register sent it (`Ins.received`): official test data contain wrong keys (docs/reference/dmp.md 3.3).
"""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

from dmp_connector.errors import BadIns, TraitsDiffer
from dmp_connector.model.code import Code
from dmp_connector.texts import message


class InsKind(enum.StrEnum):
    """OIDs under which an identifier of the INS family is issued (docs/reference/dmp.md 3.3)."""

    INS_A = "1.2.250.1.213.1.4.1"
    INS_C = "1.2.250.1.213.1.4.2"
    NIR = "1.2.250.1.213.1.4.8"
    NIA = "1.2.250.1.213.1.4.9"
    NIR_TEST = "1.2.250.1.213.1.4.10"
    NIR_DEMO = "1.2.250.1.213.1.4.11"


INS_OIDS: tuple[str, ...] = (InsKind.NIR, InsKind.NIA, InsKind.NIR_TEST, InsKind.NIR_DEMO)
"""The OIDs of an INS; INS-A and INS-C are older identifiers, and none."""
PROFESSIONS = "1.2.250.1.71.1.2.7"
"""Code system G15."""
AUTHOR_SPECIALTIES = "1.2.250.1.213.1.1.4.5"
"""Profession and speciality in one code, G15_10/SM26 (JDV_J01)."""
_NIR_OIDS = frozenset(INS_OIDS) - {InsKind.NIA}


class KeyPolicy(enum.StrEnum):
    """What a wrong key means, settable per OID."""

    REFUSE = "refuse"
    ACCEPT = "accept"


_INS = re.compile(r"[0-9]{5}(?:[0-9]{2}|2[AB])[0-9]{6}[0-9]{2}")
_CX_INS = re.compile(r"([0-9AB]{15})\^\^\^&([0-9.]+)&ISO\^(?:NH|PI)")


def ins_key(body: str) -> str:
    """The two key digits of a 13-character INS body: 97 - (n mod 97), Corsica 2A -> 19, 2B -> 18."""
    number = int(body.replace("2A", "19").replace("2B", "18"))
    return f"{97 - number % 97:02d}"


@dataclass(frozen=True, slots=True)
class Ins:
    """A matricule INS. `value` has 15 characters (13 + key), `oid` names its issuer."""

    value: str
    oid: str = InsKind.NIR

    @classmethod
    def received(cls, value: str, oid: str = InsKind.NIR) -> Ins:
        """From INSi, the DMP or a document: shape checked, key not. Raises BadIns."""
        if not _INS.fullmatch(value):
            raise BadIns(message("model.15-characters-expected-13-number"))
        return cls(value, oid)

    @classmethod
    def typed(cls, text: str, oid: str = InsKind.NIR, *, policy: Mapping[str, KeyPolicy] | None = None) -> Ins:
        """From a keyboard: blanks dropped, shape and key checked. Raises BadIns."""
        ins = cls.received(re.sub(r"[\s.\u00a0-]", "", text).upper(), oid)
        if not ins.key_holds and (policy or {}).get(oid, KeyPolicy.REFUSE) is KeyPolicy.REFUSE:
            raise BadIns(message("model.key-does-not-match-number"))
        return ins

    @classmethod
    def among(cls, identifiers: Iterable[tuple[str, str]], *, oids: Collection[str] = INS_OIDS) -> Ins:
        """The patient's INS among her identifiers, (value, OID) in any order: the OID decides, never the place.

        `oids`: those that count as an INS. A NIR stands before a NIA. Raises BadIns: none, a wrong shape, or two numbers of one kind.
        """
        found = [cls.received(value, oid) for value, oid in identifiers if oid in oids]
        if not found:
            raise BadIns(message("model.no-ins-among"))
        best = [ins for ins in found if ins.oid != InsKind.NIA] or found
        if len({ins.value for ins in best}) > 1:
            raise BadIns(message("model.several-ins-among"))
        return best[0]

    def same_as(self, other: Ins) -> bool:
        """Whether both are one number. The OID may differ: on the test platform INSi names a NIR by .8 where the DMP has .10."""
        return self.value == other.value and (self.oid == other.oid or {self.oid, other.oid} <= _NIR_OIDS)

    @classmethod
    def from_cx(cls, cx: str) -> Ins:
        """Read `INS^^^&OID&ISO^NH` (IHE CX). Raises BadIns."""
        found = _CX_INS.fullmatch(cx)
        if not found:
            raise BadIns(message("model.not-ins-cx-form-ins"))
        return cls.received(found[1], found[2])

    @classmethod
    def read_cx(cls, cx: str) -> Ins:
        """Read the patientId of a received registry object as it is: whatever identifier another maker put there.

        Blanks around a component count for nothing.
        """
        value, _, rest = "^".join(part.strip() for part in cx.split("^")).partition("^^^")
        return cls(value, rest.partition("^")[0].strip("& ").partition("&")[0].strip())

    @property
    def cx(self) -> str:
        """As HL7 CX with the type NH, which the DMP wants in documents and requests."""
        return f"{self.value}^^^&{self.oid}&ISO^NH"

    @property
    def body(self) -> str:
        """The 13 characters without the key."""
        return self.value[:13]

    @property
    def key(self) -> str:
        """The two digits of the key, "" when the number came without."""
        return self.value[13:]

    @property
    def key_holds(self) -> bool:
        """Whether the key is right, for display or a warning; `typed` refuses a wrong one."""
        return self.key == ins_key(self.body)

    def __repr__(self) -> str:  # patient data never reach a log by accident
        return f"Ins(…{self.oid.rpartition('.')[2]})"


class Sex(enum.StrEnum):
    """Administrative sex, as the register writes it."""

    M = "M"
    F = "F"
    UNKNOWN = "U"


@dataclass(frozen=True, slots=True)
class LocalId:
    """An identifier in a local system (IPP): XDS sourcePatientId."""

    value: str
    oid: str

    @property
    def cx(self) -> str:
        """As HL7 CX with the type PI."""
        return f"{self.value}^^^&{self.oid}&ISO^PI"


@dataclass(frozen=True, slots=True, repr=False)
class Patient:
    """A person by INS and the five strict traits of the RNIV.

    `given_names`: all given names of the birth record, separated by blanks, in order.
    `birth_place`: COG code, 5 characters (99xxx abroad), or None when the source has none.
    """

    ins: Ins
    birth_name: str
    given_names: str
    birth_date: date
    sex: Sex
    birth_place: str | None = None
    used_name: str | None = None
    used_given: str | None = None
    local_id: LocalId | None = None

    @property
    def first_given(self) -> str:
        """The first of the given names, "" when there is none."""
        return self.given_names.split()[0] if self.given_names.split() else ""

    def require_same_traits(self, register: Patient) -> None:
        """Raise TraitsDiffer when the register (INSi, DMP) knows this INS under other strict traits.

        Names compare without case, accents, hyphens and apostrophes (RNIV); an unknown birth place on
        either side is not a difference.
        """
        differing = []
        if not self.ins.same_as(register.ins):
            differing.append("INS")
        if plain_name(self.birth_name) != plain_name(register.birth_name):
            differing.append("birth name")
        if plain_name(self.given_names).split()[:1] != plain_name(register.given_names).split()[:1]:
            differing.append("given names")
        if self.birth_date != register.birth_date:
            differing.append("birth date")
        if self.sex is not register.sex:
            differing.append("sex")
        if self.birth_place and register.birth_place and self.birth_place != register.birth_place:
            differing.append("birth place")
        if differing:
            raise TraitsDiffer(tuple(differing))

    def __repr__(self) -> str:
        return f"Patient({self.ins!r})"


_LIGATURES = str.maketrans({"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "’": "'", "‐": "-", "‑": "-"})


def plain_name(name: str) -> str:
    """A name for comparison, and for nothing else: upper case, no accents, hyphen and apostrophe as blank."""
    return " ".join(re.sub(r"[^A-Z0-9]+", " ", _capitals(name)).split())


def register_name(name: str) -> str:
    """A name as the national register writes it and INSi takes it: A to Z, blank, hyphen, apostrophe (SEL-MP-043 3.4.1)."""
    words = re.sub(r"[^A-Z'-]+", " ", _capitals(name))
    return re.sub(r"''+", "'", re.sub(r" *' *", "'", words)).strip(" -")


def _capitals(name: str) -> str:
    bare = unicodedata.normalize("NFKD", name.translate(_LIGATURES))
    return "".join(c for c in bare if not unicodedata.combining(c)).upper()


@dataclass(frozen=True, slots=True)
class Practitioner:
    """A health professional, from the card or from Pro Santé Connect.

    `id`: PS_IdNat (prefix 8 + RPPS, 0 + ADELI, 3 FINESS/internal ...; docs/reference/dmp.md 3.3).
    `profession`: G15 (or A00, R94, R95, R291); `speciality`: R01 for doctors, G05 for pharmacists.
    """

    id: str
    family: str
    given: str
    profession: Code
    speciality: Code | None = None

    @property
    def is_doctor(self) -> bool:
        """Profession 10 of G15."""
        return self.profession.code == "10" and self.profession.system == PROFESSIONS


@dataclass(frozen=True, slots=True)
class Structure:
    """Where care is given. `id`: Struct_IdNat (1 FINESS, 3 SIRET, 4 RPPS-rang ...); `sector`: JDV_J61."""

    id: str
    name: str
    sector: Code


class AuthenticationMode(enum.StrEnum):
    """How the professional was authenticated; values of the VIHF attribute Authentification_Mode (docs/reference/dmp.md 2)."""

    DIRECT = "DIRECTE"
    INDIRECT = "INDIRECTE"
    AIR = "INDIRECTE_RENFORCEE"


class AccessMode(enum.StrEnum):
    """TRE_R248-ModeAcces v1.1.0."""

    NORMAL = "normal"
    BRIS_DE_GLACE = "bris_de_glace"
    CENTRE_15 = "centre_15"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who calls the DMP, from where, and how that was proved.

    `authenticated_at`: when the user logged in (VIHF AuthnInstant), aware. `staff_card`: a CPE, which
    may feed (TD2.2) but not consult. `evidence`: card serial or Pro Santé Connect subject, for the audit.
    """

    practitioner: Practitioner
    structure: Structure
    authentication: AuthenticationMode
    authenticated_at: datetime
    staff_card: bool = False
    evidence: str = ""

    def at(self, moment: datetime) -> Actor:
        """The same actor, authenticated at this moment (aware)."""
        return replace(self, authenticated_at=moment)
