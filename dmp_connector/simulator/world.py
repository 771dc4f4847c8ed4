"""What the simulated national system knows: persons, dossiers, consents, authorisations, and who did what.

Every access is journaled with date, identity and mode (CSP R1111-43); bris de glace leaves a notice to the
holder and the treating doctor (R1111-48). State starts from the configuration, or from the file that kept it (`memory`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from dmp_connector.model.code import Code
from dmp_connector.model.dossier import AdministrativeData, AuthorisationStatus, Closure, DossierState, Oppositions
from dmp_connector.model.people import Ins, Patient, Sex
from dmp_connector.simulator.config import Person
from dmp_connector.simulator.registry import DocumentStore


@dataclass(slots=True)
class Grant:
    """An authorisation of one professional or structure."""

    name: str
    speciality: Code | None
    since: datetime
    until: datetime
    treating_doctor: bool = False
    last_access: datetime | None = None

    def status(self, now: datetime) -> AuthorisationStatus:
        """Valid until its end, then expired."""
        return AuthorisationStatus.VALID if now < self.until else AuthorisationStatus.EXPIRED


@dataclass(frozen=True, slots=True)
class Trace:
    """One line of a dossier's history."""

    at: datetime
    who: str
    structure: str
    mode: str
    what: str
    outcome: str


@dataclass(slots=True)
class Record:
    """One person: always in the national register, perhaps with a dossier."""

    data: AdministrativeData
    exists: bool
    attached_to_mes: bool
    closure: Closure | None = None
    grants: dict[str, Grant] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    everybody: AuthorisationStatus | None = None  # a state the configuration gives to whoever asks
    everybody_treats: bool = False
    documents: DocumentStore = field(default_factory=DocumentStore)
    journal: list[Trace] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    access: dict[str, str] | None = None  # web account: login, password, channels

    @property
    def state(self) -> DossierState:
        """In the form of TD0.2."""
        return DossierState.NO_DMP if not self.exists else DossierState.CLOSED if self.closure else DossierState.ACTIVE

    @property
    def oppositions(self) -> Oppositions:
        """The patient's two oppositions."""
        return self.data.oppositions

    def authorisation(self, *ids: str, now: datetime) -> AuthorisationStatus:
        """The better of the professional's and the structure's authorisation, except that a block outranks both."""
        if any(i in self.blocked for i in ids) or self.everybody is AuthorisationStatus.FORBIDDEN:
            return AuthorisationStatus.FORBIDDEN
        found = [self.grants[i].status(now) for i in ids if i in self.grants]
        if AuthorisationStatus.VALID in found:
            return AuthorisationStatus.VALID
        return found[0] if found else self.everybody or AuthorisationStatus.NONE

    def treats(self, who: str, now: datetime) -> bool:
        """Is this professional the treating doctor now?"""
        grant = self.grants.get(who)
        if grant is None:
            return self.everybody_treats and who not in self.blocked
        return grant.treating_doctor and grant.status(now) is AuthorisationStatus.VALID


def old_identifier(ins: Ins) -> str:
    """The INS-C of a person: 22 digits that follow from her number, for nobody real."""
    return f"{int.from_bytes(hashlib.sha256(ins.value.encode()).digest()[:12]) % 10**22:022d}"


class World:
    """All persons by INS value. Not thread-safe: the server serialises."""

    def __init__(self, persons: tuple[Person, ...], now: Callable[[], datetime]) -> None:
        self.now = now
        self.records: dict[str, Record] = {}
        for person in persons:
            self.add(person)

    def add(self, person: Person) -> Record:
        """A new person with her record."""
        record = _record(person, self.now())
        self.records[person.ins] = record
        return record

    def find(self, ins: Ins) -> Record | None:
        """The record of this INS, value and OID; None without."""
        record = self.records.get(ins.value)
        return record if record and record.data.patient.ins.oid == ins.oid else None


_DECADE = timedelta(days=3650)


def _record(person: Person, now: datetime) -> Record:
    patient = Patient(
        ins=Ins(person.ins, person.oid),
        birth_name=person.name,
        given_names=person.given,
        birth_date=person.birth_date,
        sex=Sex(person.sex),
        birth_place=person.birth_place or None,
        used_name=person.used_name or None,
    )
    data = AdministrativeData(
        patient=patient,
        postal_code=person.postal_code,
        city=person.city,
        country="FRANCE",
        oppositions=Oppositions(person.opposition_bris_de_glace, person.opposition_acces_urgence),
        state=DossierState.CLOSED if person.state == "CLOSED" else DossierState.ACTIVE,
    )
    closing = Code("FERMETURE_DEMANDE_PATIENT", "1.2.250.1.213.4.1.2.4", "Fermeture à la demande du patient")
    record = Record(
        data=data,
        exists=person.state != "NO_DMP",
        attached_to_mes=person.rattachement_ens,
        closure=Closure((now - timedelta(days=100)).date(), closing, "Demande du patient") if person.state == "CLOSED" else None,
    )
    status = AuthorisationStatus(person.authorisation)
    if not person.authorised:
        record.everybody = status if status is not AuthorisationStatus.NONE else None
        record.everybody_treats = person.mt
    for who in person.authorised:
        if status is AuthorisationStatus.FORBIDDEN:
            record.blocked[who] = "PROFESSIONNEL"
        elif status is not AuthorisationStatus.NONE:
            until = now + _DECADE if status is AuthorisationStatus.VALID else now - timedelta(days=1)
            record.grants[who] = Grant("PROFESSIONNEL", None, now - timedelta(days=400), until, person.mt)
    return record


def closed(record: Record, now: datetime, reason: Code, text: str) -> None:
    """Close a dossier."""
    record.closure = Closure(now.astimezone(UTC).date(), reason, text)
    record.data = replace(record.data, state=DossierState.CLOSED)


def reopened(record: Record, data: AdministrativeData) -> None:
    """Open it, or create it, with these data."""
    record.closure = None
    record.exists = True
    record.data = replace(data, state=DossierState.ACTIVE)
