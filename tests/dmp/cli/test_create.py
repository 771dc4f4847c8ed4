"""`mssgw dmp create`, when it does not go straight on: another patient's card, silence of the DMP, options, Ctrl-C."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssgw.cli.dmp.session import Session
from mssgw.cli.frame import say

from .conftest import Mssgw
from .test_scenarios import vitale


@pytest.fixture
def card(mssgw: Mssgw, tmp_path: Path):
    """card("NAME") -> the file of that patient's card."""

    def of(name: str) -> str:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return vitale(mssgw, folder, name)

    return of


def begun(mssgw: Mssgw, card: str, letter: Path) -> str:
    """A creation that waits for the consent."""
    refused = mssgw("create", "--vitale", card, "-o", str(letter))
    assert refused.document["error"] == "ConsentMissing"
    return refused.document["sentence"].partition("--resume ")[2].rstrip(".")


def test_a_creation_is_not_resumed_with_another_patient_s_card(mssgw, card, tmp_path):
    letter = tmp_path / "lettre.pdf"
    creation = begun(mssgw, card("SANSDOSSIER"), letter)
    command = ("create", "--resume", creation, "--consent", "oral", "--yes", "-o", str(letter))
    refused = mssgw(*command, "--vitale", card("NOUVEAU"))
    assert refused.status == 1
    assert refused.document["error"] == "OtherPatient"
    assert "matricule INS" in refused.document["sentence"]
    assert "nom de naissance" in refused.document["sentence"]
    assert mssgw("exists", patient="SANSDOSSIER").document["state"] == "NO_DMP"
    assert not letter.exists()
    assert ("OtherPatient", "refused") in [(r["facts"].get("error"), r["outcome"]) for r in mssgw.done("audit")["audit"]]
    assert mssgw.done(*command, "--vitale", card("SANSDOSSIER"))["outcome"] == "confirmed"


def test_each_step_of_a_creation_names_the_patient(mssgw, card, tmp_path):
    person = next(p for p in mssgw.running.simulator.config.patients if p.name == "SANSDOSSIER")
    who = f"SANSDOSSIER {person.given}, né(e) le {person.birth_date:%d/%m/%Y}"
    letter = ("-o", str(tmp_path / "lettre.pdf"))
    first = mssgw("create", "--vitale", card("SANSDOSSIER"), *letter)
    for step in ("1/5", "2/5"):
        assert any(line.startswith(step) and who in line for line in first.notices.splitlines()), step
    creation = first.document["sentence"].partition("--resume ")[2].rstrip(".")
    rest = mssgw("create", "--resume", creation, "--consent", "oral", "--yes", *letter, text=True)
    for step in ("Reprise", "3/5", "4/5", "5/5"):
        assert any(line.startswith(step) and who in line for line in (rest.notices + rest.text).splitlines()), step


def test_the_question_of_consent_names_the_patient(mssgw, card, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(Session, "confirmed", lambda self, key, **values: asked.append(say(key, **values).fr) or True)
    mssgw.done("create", "--vitale", card("SANSDOSSIER"), "--consent", "oral", "-o", str(tmp_path / "l.pdf"))
    assert "SANSDOSSIER LUC" in asked[0]
    assert "né(e) le 14/02/2001" in asked[0]
