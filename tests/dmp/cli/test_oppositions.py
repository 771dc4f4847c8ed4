"""An opposition is the patient's decision: set or lifted only after a confirmation, and never by a professional whom the patient blocked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dmp_connector.model import Oppositions

from .conftest import HOSPITAL

WHY = "Patient inconscient aux urgences"
URGENT = ("--mode", "bris_de_glace", "--reason", WHY, "--yes")


@pytest.fixture
def opposed(mssgw):
    """NOUVEAU, opposed to bris de glace."""
    record = mssgw.running.record("NOUVEAU")
    record.data = replace(record.data, oppositions=Oppositions(True, False))
    return record


def test_no_opposition_is_lifted_without_a_gesture(mssgw, opposed):
    refused = mssgw("modify", "--accept-bris-de-glace", patient="NOUVEAU")
    assert (refused.status, refused.document["error"]) == (1, "NotConfirmed")
    assert opposed.oppositions.bris_de_glace is True
    assert mssgw("find", *URGENT, patient="NOUVEAU").document["error"] == "AccessOpposed"
    last = [r for r in mssgw.done("audit", patient="NOUVEAU")["audit"] if r["what"] == "TD1.3b opposition"]
    assert [(r["outcome"], r["facts"]["bris_de_glace"]) for r in last] == [("refused", "opposed -> not opposed")]


def test_no_opposition_is_made_without_a_gesture_either(mssgw):
    assert mssgw("modify", "--oppose-centre-15", patient="NOUVEAU").document["error"] == "NotConfirmed"
    assert mssgw.running.record("NOUVEAU").oppositions.centre_15 is False


def test_a_lifted_opposition_leaves_its_row_with_both_values(mssgw, opposed):
    mssgw.done("modify", "--accept-bris-de-glace", "--email", "lea@example.test", "--yes", patient="NOUVEAU")
    assert opposed.oppositions == Oppositions(False, False)
    rows = [r for r in mssgw.done("audit", patient="NOUVEAU")["audit"] if r["what"] == "TD1.3b opposition"]
    said = {"bris_de_glace": "opposed -> not opposed", "fields": "email"}
    assert [(r["outcome"], r["facts"]) for r in rows] == [("granted", said), ("done", said)]
    assert "lea@example.test" not in str(rows)


def test_the_structure_alone_changes_no_opposition(mssgw, opposed):
    refused = mssgw("modify", "--accept-bris-de-glace", "--yes", patient="NOUVEAU", who=HOSPITAL)
    assert refused.document["error"] == "NotAuthenticated"
    assert opposed.oppositions.bris_de_glace is True


@pytest.mark.parametrize(
    "asked",
    [("read",), ("modify", "--oppose-centre-15", "--yes"), ("modify", "--email", "h@example.test"),
     ("read", "--mode", "bris_de_glace", "--reason", WHY, "--yes")],
)  # fmt: skip
def test_whom_the_patient_blocked_neither_reads_nor_changes_administrative_data(mssgw, asked):
    mssgw.running.record("BLOQUANT").attached_to_mes = False
    assert mssgw(*asked, patient="BLOQUANT").document["error"] == "ProfessionalBlocked"
    assert not [r for r in mssgw.audit("BLOQUANT") if r[0].startswith("TD1.3") and r[1] == "done"]


def test_whom_the_patient_blocked_does_not_close_the_dossier(mssgw):
    mssgw.running.record("BLOQUANT").attached_to_mes = False
    assert mssgw("close", "--reason", "Demande", "--yes", patient="BLOQUANT").document["error"] == "ProfessionalBlocked"


def test_a_contact_is_changed_without_a_question_and_audited_by_its_name_only(mssgw):
    mssgw.done("modify", "--email", "lea@example.test", patient="NOUVEAU")
    rows = [r for r in mssgw.done("audit", patient="NOUVEAU")["audit"] if r["what"] == "TD1.3b"]
    assert [(r["outcome"], r["facts"]) for r in rows] == [("granted", {"fields": "email"}), ("done", {"fields": "email"})]
    assert mssgw.done("modify", "--email", "lea@example.test", patient="NOUVEAU")["changed"] is False


def test_what_changed_is_told_as_it_was_and_as_it_is(mssgw):
    told = mssgw("modify", "--oppose-bris-de-glace", "--mobile", "06 12 34 56 78", "--yes", patient="NOUVEAU", text=True)
    assert told.status == 0
    assert "opposition au bris de glace : non → oui" in told.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "opposition to bris de glace: no → yes" in told.text
    assert "mobile: — → 06 12 34 56 78" in told.text
    lifted = mssgw.done("modify", "--accept-bris-de-glace", "--yes", patient="NOUVEAU")
    assert lifted["changes"] == {"opposition_bris_de_glace": {"before": True, "after": False}}


def test_an_authorisation_is_told_as_it_was_and_as_it_is(mssgw):
    given = mssgw("authorise", "--mt", "--yes", patient="NOUVEAU", text=True)
    assert "autorisation : aucune → valide" in given.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "treating doctor: no → yes" in given.text
    role = mssgw.done("authorise", "--remove", "--mt", patient="NOUVEAU")
    assert role["changes"] == {"mt": {"before": True, "after": False}}
    assert mssgw.done("authorise", "--remove", patient="NOUVEAU")["changes"]["authorisation"] == {"before": "VALIDE", "after": "NON_EXISTE"}
