"""Documents: the 24 examples of the ANS, and one of ours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from dmp_connector import codes
from dmp_connector.cda import Level1
from dmp_connector.model import Code, Ins, InsKind, Patient, Practitioner, Sex, Structure
from dmp_connector.paper.letters import letter
from tests.material import files, place
from tests.needs import shared

KIT = place("dmp/testcontenucda-3.0")
EXAMPLES = files("dmp/testcontenucda-3.0/ExemplesCDA", "*.xml")
needs_examples = pytest.mark.material("dmp/testcontenucda-3.0")
PARIS = timezone(timedelta(hours=1))

PATIENT = Patient(Ins.typed("279035121518989", InsKind.NIR_TEST), "PAT-TROIS", "DOMINIQUE MARIE-LOUISE", date(1979, 3, 28), Sex.F, "51215")
DOCTOR = Practitioner("899700367909", "MARTIN", "Jeanne", Code("10", "1.2.250.1.71.1.2.7", "Médecin"), Code("SM26", "1.2.250.1.71.4.2.5"))
CABINET = Structure("499700367909006", "Cabinet Martin", Code("SA07", "1.2.250.1.71.4.2.4", "Cabinet individuel"))


@pytest.fixture(scope="session")
@shared("dmp/testcontenucda-3.0")
def kit() -> Path:
    return KIT


@pytest.fixture(scope="session")
def pdf() -> bytes:
    return letter(
        "Lettre de liaison", ["Cher confrère,", "L'œdème a régressé ; l'évolution est favorable."], at=datetime(2026, 1, 2, tzinfo=UTC)
    )


@pytest.fixture
def wanted(pdf: bytes) -> Level1:
    tables = codes.load()
    at = datetime(2026, 1, 2, 10, tzinfo=PARIS)
    return Level1(
        unique_id="1.2.250.1.213.1.1.9.1.7",
        patient=PATIENT,
        author=DOCTOR,
        structure=CABINET,
        type=tables.type_code.require("11490-0"),
        title="Lettre de liaison à la sortie",
        created=at,
        pdf=pdf,
        practice=tables.practice.require("AMBULATOIRE"),
        service_start=at - timedelta(hours=1),
        service_stop=at,
    )
