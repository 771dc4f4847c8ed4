"""The letter Dr Martin sends: a PDF and the same as an IHE_XDM.ZIP. The patient is invented (test INS)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime

from dmp_connector import codes, xdm
from dmp_connector.cda import Level1
from dmp_connector.model import Code, Ins, InsKind, Patient, Practitioner, Sex, Structure
from dmp_connector.paper.letters import letter as pdf_letter

ROOT = "1.2.250.1.213.1.1.9"  # the root of the identifiers in the guide's own examples
TEXT = (
    "Cher confrère,",
    "j'ai reçu ce jour notre patiente, qui se plaint d'une dyspnée d'effort. L'auscultation est normale.",
    "Je vous remercie de bien vouloir la revoir pour une épreuve d'effort.",
)


@dataclass(frozen=True, slots=True)
class Letter:
    subject: str
    attachments: tuple[tuple[str, str, bytes], ...]  # name, subtype of application/, content


def letter() -> Letter:
    """A new letter with identifiers of its own."""
    at = datetime.now(UTC)
    pdf = pdf_letter("Lettre de liaison", list(TEXT), at=at, author="Dr Jeanne Martin")
    ins = Ins.typed("279035121518989", InsKind.NIR_TEST)
    patient = Patient(ins, "PAT-TROIS", "DOMINIQUE MARIE-LOUISE", date(1979, 3, 28), Sex.F, "51215")
    profession, speciality = Code("10", "1.2.250.1.71.1.2.7", "Médecin"), Code("SM26", "1.2.250.1.71.4.2.5")
    doctor = Practitioner("801234567894", "MARTIN", "Jeanne", profession, speciality)
    office = Structure("318751275100020", "Clinique Alpha", Code("SA07", "1.2.250.1.71.4.2.4", "Cabinet individuel"))
    tables, number = codes.load(), secrets.randbelow(10**12)
    wrapped = xdm.wrap(
        Level1(
            unique_id=f"{ROOT}.1.{number}",
            patient=patient,
            author=doctor,
            structure=office,
            type=tables.type_code.require("11490-0"),
            title="Lettre de liaison",
            created=at,
            pdf=pdf,
            practice=tables.practice.require("AMBULATOIRE"),
            service_start=at,
        ),
        submission_id=f"{ROOT}.2.{number}",
        source_id=f"{ROOT}.1",
    )
    return Letter(wrapped.subject, (("IHE_XDM.ZIP", "zip", wrapped.archive), ("lettre.pdf", "pdf", wrapped.pdf)))
