"""The printed audit trail: whose dossier, every attempt and its outcome."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dmp_connector.paper.letters import letter

from .conftest import DOCTOR, OTHER, SAMU

WHY = "Patient inconscient aux urgences"
DOWN = "https://127.0.0.1:9/si-dmp-server/v2/services"  # discard: nobody listens


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    path = tmp_path / "lettre.pdf"
    path.write_bytes(letter("Lettre", ["x"], at=datetime(2026, 1, 2, tzinfo=UTC)))
    return path


def trail(mssgw, *arguments: str, who: str = DOCTOR, patient: str | None = None) -> list[str]:
    return mssgw("audit", *arguments, who=who, patient=patient, text=True).text.splitlines()


def test_one_sees_whose_dossier_one_s_own_acts_were_in(mssgw):
    mssgw.done("exists", patient="PATIENT")
    mssgw.done("exists", patient="TRAITANTE")
    ins = [mssgw.running.ins(name) for name in ("PATIENT", "TRAITANTE")]
    rows = mssgw.done("audit")["audit"]
    assert [r["patient"] for r in rows] == [{"ins": i.value, "oid": i.oid, "masked": False} for i in ins]
    assert [i.value in line for i, line in zip(ins, trail(mssgw), strict=True)] == [True, True]


def test_another_s_acts_show_the_end_of_the_number_unless_one_asks_for_the_patient(mssgw):
    mssgw.done("exists", patient="PATIENT")
    ins = mssgw.running.ins("PATIENT").value
    (row,) = mssgw.done("audit", who=OTHER)["audit"]
    assert row["patient"]["masked"] is True
    assert row["patient"]["ins"] == "•" * 11 + ins[-4:]
    assert not any(ins in line for line in trail(mssgw, who=OTHER))
    assert ins in trail(mssgw, who=OTHER, patient="PATIENT")[0]


def test_an_attempt_while_the_dmp_is_down_leaves_its_row(write_config, mssgw, pdf):
    mssgw.config = write_config(url=DOWN)
    attempts = [
        ("exists", (), "TD0.2"),
        ("find", (), "TD1.3a"),
        ("find", ("--mode", "bris_de_glace", "--reason", WHY, "--yes"), "TD1.3a"),
        ("authorise", ("--yes",), "TD0.2"),
        ("submit", (str(pdf), "--title", "T", "--type", "11490-0"), "TD0.2"),
        ("hide", ("1.2.3",), "TD1.3a"),
        ("read", (), "TD1.3a"),
        ("professionals", (), "TD0.2"),
    ]
    for verb, more, _ in attempts:
        refused = mssgw(verb, *more, patient="PATIENT")
        assert refused.document["error"] == "Unavailable", verb
    rows = mssgw.done("audit")["audit"]
    assert [(r["what"], r["outcome"]) for r in rows] == [(what, "unreachable") for _, _, what in attempts]
    assert {r["patient"]["ins"] for r in rows} == {mssgw.running.ins("PATIENT").value}
    assert mssgw("list").document["error"] == "Unavailable"
    assert [(r["what"], r["outcome"], r["patient"]) for r in mssgw.done("audit")["audit"]][-1] == ("TD0.4", "unreachable", None)


def test_what_was_refused_before_anything_was_asked_leaves_its_row_too(mssgw, pdf):
    assert mssgw("exists", "--patient", "279035121518900").document["error"] == "BadIns"
    assert mssgw("close", "--yes", patient="NOUVEAU").document["error"] == "ReasonMissing"
    assert mssgw("search", "--family", "NOUVEAU").document["error"] == "NotEntitled"
    rows = mssgw.done("audit")["audit"]
    assert [(r["what"], r["outcome"], r["facts"]["error"]) for r in rows] == [
        ("exists", "refused", "BadIns"),
        ("close", "refused", "ReasonMissing"),
        ("TD0.5", "refused", "NotEntitled"),
    ]


def test_a_key_that_cannot_sign_leaves_its_row(write_config, mssgw):
    mssgw.config = write_config(key=f"file:{mssgw.running.settings.key.parent / 'server.key'}")
    assert mssgw("exists", patient="PATIENT").document["error"] == "BadCertificate"
    mssgw.config = write_config()
    (row,) = mssgw.done("audit")["audit"]
    assert (row["what"], row["outcome"], row["facts"]["error"]) == ("exists", "refused", "BadCertificate")


def test_the_printed_trail_of_a_blocked_professional(mssgw):
    for more in ((), ("--mode", "bris_de_glace", "--reason", WHY, "--yes")):
        assert mssgw("find", *more, patient="BLOQUANT").document["error"] == "ProfessionalBlocked"
    lines = trail(mssgw, patient="BLOQUANT")
    refused = [line for line in lines if line.endswith("refused") or f"refused  motif : {WHY}" in line]
    assert len(refused) == 2
    assert "normal" in refused[0]
    assert "bris_de_glace" in refused[1]
    assert WHY in refused[1]
    assert any("✘ habilitation : Le patient a bloqué l'accès" in line for line in lines)
    assert any("✘ consentement : Le patient a bloqué l'accès" in line for line in lines)
    assert not any("opened" in line for line in lines)


def test_the_printed_trail_of_a_centre_15_granted_opposed_and_not_ours(mssgw):
    assert mssgw("find", "--mode", "centre_15", "--yes", patient="NOUVEAU", who=SAMU).ok
    assert mssgw("find", "--mode", "centre_15", "--yes", patient="OPPOSANTE", who=SAMU).document["error"] == "AccessOpposed"
    assert mssgw("find", "--mode", "centre_15", "--yes", patient="NOUVEAU").document["error"] == "NotEntitled"
    granted = "\n".join(trail(mssgw, who=SAMU, patient="NOUVEAU"))
    assert "Régulation médicale : accès permis" in granted
    assert "opened" in granted
    assert "NotEntitled" in granted  # the attempt of somebody else
    opposed = "\n".join(trail(mssgw, who=SAMU, patient="OPPOSANTE"))
    assert "✘ consentement : Le patient s'est opposé à cet accès en urgence." in opposed
    assert "opened" not in opposed


def test_the_printed_trail_of_an_emergency_granted_and_opposed(mssgw):
    urgent = ("--mode", "bris_de_glace", "--reason", WHY, "--yes")
    assert mssgw("find", *urgent, patient="NOUVEAU").ok
    mssgw.done("end")
    granted = trail(mssgw, patient="NOUVEAU")
    assert any("opened" in line and WHY in line for line in granted)
    assert any("closed" in line for line in granted)
    assert any("by=hand" in line for line in granted)
    assert mssgw("find", *urgent, patient="OPPOSANTE").status == 1
    opposed = trail(mssgw, patient="OPPOSANTE")
    assert any("✘ consentement" in line for line in opposed)
    assert not any("opened" in line for line in opposed)


def test_the_printed_trail_of_closing_and_reopening(mssgw):
    mssgw.done("close", "--reason", "Le patient le demande", "--yes", patient="NOUVEAU")
    mssgw.done("reopen", "--yes", patient="NOUVEAU")
    lines = trail(mssgw, patient="NOUVEAU")
    assert any("TD1.4" in line and "done" in line and "Le patient le demande" in line for line in lines)
    assert any("TD1.2" in line and "done" in line for line in lines)
