"""The state of a dossier, the patient's decisions, and what a professional may do because of them.

Feeding and consulting are two decisions (docs/reference/dmp.md 7.1); bris de glace and regulation are two
oppositions, never one (CSP L1111-17).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import date, datetime

from dmp_connector.errors import ConsentExpired, ConsultationClosed
from dmp_connector.model.code import Code
from dmp_connector.model.people import AccessMode, Actor, Ins, Patient, Practitioner, Sex


class DossierState(enum.StrEnum):
    """Whether a patient has a DMP, as TD0.2 answers."""

    NO_DMP = "NO_DMP"
    ACTIVE = "ACTIVE"
    CLOSED = "CLOSED"


class AuthorisationStatus(enum.StrEnum):
    """TD0.2 AUTORISATION (1.2.250.1.213.4.1.2.6.2)."""

    VALID = "VALIDE"
    EXPIRED = "EXPIRE"
    FORBIDDEN = "INTERDIT"
    NONE = "NON_EXISTE"


@dataclass(frozen=True, slots=True)
class Oppositions:
    """True: the patient opposes. None: the server sent nothing. Default of the law: not opposed."""

    bris_de_glace: bool | None = None
    centre_15: bool | None = None

    def against(self, mode: AccessMode) -> bool:
        """Whether the patient opposes this way of access (CSP L1111-17)."""
        opposed = {AccessMode.BRIS_DE_GLACE: self.bris_de_glace, AccessMode.CENTRE_15: self.centre_15}
        return opposed.get(mode) is True


@dataclass(frozen=True, slots=True)
class Closure:
    """Since when and why a dossier is closed; None where the DMP sends none."""

    at: date | None
    reason: Code | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Dossier:
    """The answer of TD0.2: whether the dossier exists, and whether this actor may consult it.

    `attached_to_mes`: RATTACHEMENT_ENS, the dossier is managed by Mon espace santé.
    `authorisation` is None when there is no dossier. No identity traits: TD0.2's must not be shown (RG_0320).
    """

    ins: Ins
    state: DossierState
    authorisation: AuthorisationStatus | None = None
    treating_doctor: bool = False
    attached_to_mes: bool | None = None
    internet_account: bool | None = None
    closure: Closure | None = None
    oppositions: Oppositions = Oppositions()


class ConsentBasis(enum.StrEnum):
    """CSP R1111-46."""

    CARE_TEAM_PRESUMED = "care_team_presumed"
    EXPLICIT = "explicit"


class ConsentMeans(enum.StrEnum):
    """How the agreement was collected."""

    ORAL = "oral"
    WRITTEN = "written"
    ELECTRONIC = "electronic"
    REPRESENTATIVE = "representative"  # by the legal representative or trusted person


@dataclass(frozen=True, slots=True)
class Consent:
    """The patient's agreement to a consultation. `until` is exclusive, aware."""

    ins: Ins
    basis: ConsentBasis
    collected_by: Practitioner
    means: ConsentMeans
    at: datetime
    until: datetime

    def require(self, now: datetime) -> None:
        """Raise ConsentExpired unless `now` lies in [at, until)."""
        if not self.at <= now < self.until:
            raise ConsentExpired(log=f"consent of {self.at:%Y-%m-%d} until {self.until:%Y-%m-%dT%H:%MZ}")


@dataclass(frozen=True, slots=True)
class Authorisation:
    """One row of TD1.6: a professional or structure the patient authorised or blocked.

    `id_type`: OID of who issued `id` (PS_IdNat, Struct_IdNat); `specialities`: as G15_10/SM26; `last_action`: in this dossier.
    """

    id: str
    name: str
    specialities: tuple[Code, ...]
    status: AuthorisationStatus
    since: datetime | None = None
    last_action: datetime | None = None
    id_type: str = ""
    treating_doctor: bool = False
    mode: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class DossierSummary:
    """One row of TD0.4: a dossier this actor or its structure is authorised for.

    `ins`: None when the DMP names none, only an older identifier (INS-C). `message`: something there waits to be read.
    """

    ins: Ins | None
    family: str
    given: str
    birth_date: date | None
    treating_doctor: bool = False
    last_access: datetime | None = None
    last_update: datetime | None = None
    last_document: datetime | None = None
    message: bool = False
    birth_name: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class IdentityQuery:
    """What TD0.5 searches by. Regulation only; the family name is the birth or the used one."""

    family: str
    given: str = ""
    birth_date: date | None = None
    sex: Sex | None = None
    postal_code: str = ""
    city: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Candidate:
    """One row of TD0.5: a person who may be the one looked for, with the match in per cent."""

    patient: Patient
    match: int | None  # per cent; None when the server sent none
    oppositions: Oppositions = Oppositions()


@dataclass(frozen=True, slots=True, repr=False)
class Representative:
    """A legal representative. `relation`: HL7 role code (FTH, MTH, GRMTH, RESPRSN ...)."""

    family: str
    given: str
    relation: str
    phone: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class AdministrativeData:
    """TD1.1 and TD1.3: what the DMP keeps about the person beside the documents."""

    patient: Patient
    civility: str = ""
    street: tuple[str, ...] = ()  # address lines above postal code and city
    postal_code: str = ""
    city: str = ""
    country: str = ""
    phone: str = ""
    mobile: str = ""
    email: str = ""
    oppositions: Oppositions = Oppositions()
    representatives: tuple[Representative, ...] = ()
    state: DossierState = DossierState.ACTIVE


@dataclass(frozen=True, slots=True)
class Consultation:
    """An opened dossier: strong login, short life. `closes` is the last moment at which it may be used."""

    dossier: Dossier
    actor: Actor
    mode: AccessMode
    opened: datetime
    closes: datetime
    reason: str = ""  # bris de glace only
    closed: datetime | None = None

    def require_open(self, now: datetime) -> None:
        """Raise ConsultationClosed when its time is over or it was closed."""
        if self.closed is not None or not self.opened <= now <= self.closes:
            raise ConsultationClosed(log=f"opened {self.opened:%H:%M:%S}, ended {min(self.closed or self.closes, self.closes):%H:%M:%S}")

    def close(self, now: datetime) -> Consultation:
        """Closed at `now`, or when it was already."""
        return replace(self, closed=self.closed or now)
