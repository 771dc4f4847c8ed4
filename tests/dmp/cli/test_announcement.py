"""Consultation d'annonce (CSP R1111-53): a reminder before two weeks and before a month, none once the document is shown or deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dmp_connector.dossier import announcement
from dmp_connector.dossier.announcement import Announcement, announcements
from dmp_connector.model import Ins
from dmp_connector.paper.letters import letter
from mssgw.cli.config import loaded
from mssgw.dossier.setup import open_store
from tests.dmp.conftest import RPPS

from .conftest import DOCTOR, OTHER

HIDDEN = datetime(2026, 1, 31, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def test_two_weeks_and_a_month():
    found = Announcement("1.2.3", Ins("279035121518989"), "Annonce", HIDDEN)
    assert found.told == datetime(2026, 2, 14, 9, tzinfo=UTC)
    assert found.visible == datetime(2026, 2, 28, 9, tzinfo=UTC)
    december = Announcement("1.2.3", found.patient, "Annonce", datetime(2026, 12, 15, tzinfo=UTC))
    assert december.visible == datetime(2027, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize(("days", "due"), [(0, False), (10, False), (11, True), (14, True), (27, True), (28, False), (40, False)])
def test_the_reminder_is_due_from_three_days_before_the_patient_is_informed(days, due):
    assert Announcement("1.2.3", Ins("279035121518989"), "Annonce", HIDDEN).due(HIDDEN + days * DAY) is due


@pytest.fixture
def hidden(mssgw, tmp_path: Path) -> str:
    path = tmp_path / "annonce.pdf"
    path.write_bytes(letter("Annonce", ["x"], at=HIDDEN))
    outcome = mssgw("submit", str(path), "--title", "Annonce", "--type", "11488-4", "--hide-from-patient", patient="PATIENT")
    assert outcome.ok, outcome.document
    assert "R1111-53" in outcome.notices
    return outcome.document["unique_id"]


def later(mssgw, days: int, who: str = RPPS):
    store = open_store(loaded(mssgw.config), mssgw.config)
    try:
        return announcements(store, who, datetime.now(UTC) + days * DAY)
    finally:
        store.close()


def test_what_was_filed_hidden_is_listed_until_it_is_shown(mssgw, hidden):
    (row,) = mssgw.done("announcements")["announcements"]
    assert (row["unique_id"], row["ins"], row["due"]) == (hidden, mssgw.running.ins("PATIENT").value, False)
    assert mssgw.done("announcements", who=OTHER)["announcements"] == []
    assert [a.unique_id for a in later(mssgw, 20)] == [hidden]
    assert later(mssgw, 32) == ()
    mssgw.done("show", hidden, "--to", "patient", "--yes", patient="PATIENT")
    assert mssgw.done("announcements")["announcements"] == []


def test_what_was_deleted_is_not_listed(mssgw, hidden):
    mssgw.done("delete", hidden, patient="PATIENT")
    assert mssgw.done("announcements")["announcements"] == []


def test_every_verb_reminds_when_it_is_time(mssgw, hidden, monkeypatch):
    assert "Rappel" not in mssgw("exists", patient="PATIENT").notices
    monkeypatch.setattr(announcement, "REMINDED", timedelta(days=14))
    reminded = mssgw("exists", patient="PATIENT")
    assert "Rappel (CSP R1111-53) : 1 document" in reminded.notices
    assert "!" in mssgw("announcements", text=True).text
    assert "Rappel" not in mssgw("exists", patient="PATIENT", who=OTHER).notices
    assert DOCTOR != OTHER
