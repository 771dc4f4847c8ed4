"""Emergency access: a gesture for each command, and nothing stays open that was refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dmp_connector.client import Dmp
from dmp_connector.model import Oppositions

from .conftest import DOCTOR, SAMU

WHY = "Patient inconscient aux urgences"
GLASS = ("--mode", "bris_de_glace")
URGENT = (*GLASS, "--reason", WHY, "--yes")


def test_an_emergency_left_open_is_not_inherited_without_a_gesture(mssgw):
    """The process that opened it may have been killed: the next user has confirmed nothing yet."""
    first = mssgw.done("find", *URGENT, patient="NOUVEAU")
    assert mssgw("find", *GLASS, patient="NOUVEAU").document["error"] == "ReasonMissing"
    assert mssgw("find", *GLASS, "--reason", WHY, patient="NOUVEAU").document["error"] == "NotConfirmed"
    assert mssgw.done("find", *URGENT, patient="NOUVEAU")["consultation"] == first["consultation"]


@pytest.mark.parametrize(("who", "mode"), [(DOCTOR, URGENT), (SAMU, ("--mode", "centre_15", "--yes"))], ids=["bris", "centre 15"])
def test_nobody_opens_an_emergency_without_knowing_whose(mssgw, who, mode):
    """A mistyped INS whose key holds is somebody else's: that dossier would be opened, traced and notified."""
    blind = mssgw("find", *mode, patient="NOUVEAU", who=who, blind=True)
    assert blind.document["error"] == "Blind"
    assert "--birth-date" in blind.document["sentence"]
    other = mssgw("find", *mode, *mssgw.birth_date("PATIENT"), patient="NOUVEAU", who=who, blind=True)
    assert (other.document["error"], "date de naissance" in other.document["sentence"]) == ("TraitsDiffer", True)
    assert not [row for row in mssgw.audit("NOUVEAU", who=who) if row[1] in {"granted", "opened"}]
    by_name = mssgw("find", *mode, "--family", "nouveau", patient="NOUVEAU", who=who, blind=True)
    assert by_name.ok
    assert by_name.document["patient"]["birth_name"] == "NOUVEAU"
    assert "Patient: NOUVEAU" in by_name.notices


@pytest.mark.parametrize("verb", ["find", "hide", "archive", "delete", "show", "get", "read"])
def test_every_act_on_documents_compares_what_was_typed_first(mssgw, tmp_path, verb):
    more = {"find": (), "read": (), "get": ("1", "-o", str(tmp_path / "x"))}.get(verb, ("1.2.3",))
    refused = mssgw(verb, *more, "--family", "DURAND", patient="PATIENT")
    assert refused.document["error"] == "TraitsDiffer"
    assert not [row for row in mssgw.audit("PATIENT") if row[1] in {"granted", "opened", "done"}]


def test_centre_15_needs_a_gesture(mssgw):
    refused = mssgw("find", "--mode", "centre_15", patient="NOUVEAU", who=SAMU)
    assert refused.document["error"] == "NotConfirmed"
    assert not [r for r in mssgw.audit("NOUVEAU", who=SAMU) if r[1] == "opened"]


def test_an_access_that_the_dmp_refuses_leaves_nothing_open(mssgw):
    """In régulation the server alone enforces the patient's block: it refuses what our rules granted."""
    record = mssgw.running.record("BLOQUANT")
    record.blocked["899700000025"] = "REGULATEUR"
    assert mssgw("find", "--mode", "centre_15", "--yes", patient="BLOQUANT", who=SAMU).document["error"] == "AccessDenied"
    rows = mssgw.audit("BLOQUANT", who=SAMU)
    assert rows[-4:] == [("TD3.1", "granted"), ("consultation", "opened"), ("TD3.1", "refused"), ("consultation", "closed")]
    assert mssgw.done("end", who=SAMU)["closed"] == 0


def test_a_refused_get_is_a_refusal_to_read_a_document(mssgw, tmp_path):
    refused = mssgw("get", "1.2.3", "-o", str(tmp_path / "x"), patient="NOUVEAU")
    assert refused.document["error"] == "ConsentMissing"
    assert "mssgw dmp authorise --patient" in refused.document["sentence"]
    assert mssgw.audit("NOUVEAU")[-1] == ("TD3.2", "refused")


@pytest.mark.parametrize(("seconds", "words"), [(59, "moins d'une minute"), (61, "dans 1 min")])
def test_the_banner_never_shows_0_minutes(seconds, words):
    from datetime import UTC, date, datetime, timedelta
    from types import SimpleNamespace

    from dmp_connector.dossier.consultation import OpenConsultation
    from dmp_connector.model import AccessMode

    now = datetime(2026, 11, 23, tzinfo=UTC)
    value = SimpleNamespace(mode=AccessMode.BRIS_DE_GLACE, closes=now + timedelta(seconds=seconds))
    patient = SimpleNamespace(birth_name="NOUVEAU", given_names="LEA", birth_date=date(1990, 1, 2))
    assert words in OpenConsultation("x", value, patient).banner(now)


def test_what_a_search_without_ins_found_is_in_the_trail_and_what_was_typed_is_not(mssgw):
    mssgw.done("search", "--family", "Nouveau", "--given", "Lea", who=SAMU)
    rows = [r for r in mssgw.done("audit", who=SAMU)["audit"] if r["what"] == "TD0.5"]
    assert [(r["outcome"], r["patient"] and r["patient"]["ins"]) for r in rows] == [
        ("done", None),
        ("found", mssgw.running.ins("NOUVEAU").value),
    ]
    assert rows[0]["facts"] == {"criteria": "family,given", "found": "1"}
    assert "Lea" not in str(rows)
    assert [r["patient"]["masked"] for r in mssgw.done("audit", who=DOCTOR)["audit"] if r["outcome"] == "found"] == [True]


def test_an_opposition_that_only_the_administrative_data_carry_refuses(mssgw, monkeypatch):
    """The official answer of TD0.2 carries no oppositions: those of TD1.3a count as well."""
    real = Dmp.td02_existence

    async def without(self, call):
        return replace(await real(self, call), oppositions=Oppositions(None, None))

    monkeypatch.setattr(Dmp, "td02_existence", without)
    record = mssgw.running.record("NOUVEAU")
    record.data = replace(record.data, oppositions=Oppositions(True, False))
    assert mssgw("find", *URGENT, patient="NOUVEAU").document["error"] == "AccessOpposed"
    assert ("consultation", "opened") not in mssgw.audit("NOUVEAU")
