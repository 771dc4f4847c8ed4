"""For whom a document is filed is shown before it is sent, confirmed at a terminal, and named in the result."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dmp_connector.client import Dmp
from dmp_connector.errors import Unavailable
from dmp_connector.paper.letters import letter
from mssgw.cli.dmp import filing

from .conftest import Mssgw
from .test_identity import cda, register

AT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    path = tmp_path / "lettre-de-huit.pdf"
    path.write_bytes(letter("Lettre", ["Tout va bien."], at=AT))
    return path


def submit(mssgw: Mssgw, pdf: Path, *more: str, text: bool = False):
    return mssgw("submit", str(pdf), "--title", "Lettre", "--type", "11490-0", *more, patient="PATIENT", text=text)


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: bool) -> list[str]:
    asked: list[str] = []
    monkeypatch.setattr(filing, "at_terminal", lambda: True)
    monkeypatch.setattr(filing, "answered", lambda question: asked.append(str(question)) or answer)
    return asked


def test_the_result_names_the_patient_and_the_birth_date(mssgw, pdf):
    register = mssgw.running.record("PATIENT").data.patient
    told = submit(mssgw, pdf)
    assert told.document["patient"]["birth_name"] == register.birth_name
    assert told.document["patient"]["birth_date"] == register.birth_date.isoformat()
    again = submit(mssgw, pdf, text=True)
    for text in (told.notices, again.text):
        assert register.birth_name in text
        assert f"{register.birth_date:%d/%m/%Y}" in text


def test_no_at_the_terminal_sends_and_keeps_nothing(mssgw, pdf, monkeypatch):
    asked = at_a_terminal(monkeypatch, answer=False)
    register = mssgw.running.record("PATIENT").data.patient
    refused = submit(mssgw, pdf)
    assert refused.status == 1
    assert refused.document["error"] == "NotConfirmed"
    assert register.birth_name in asked[0]
    assert "lettre-de-huit.pdf" in asked[0]
    assert "TD2.1" not in [what for what, outcome in mssgw.audit("PATIENT") if outcome == "sent"]
    assert mssgw.done("resume")["deposits"] == []


def test_yes_given_in_advance_is_not_asked(mssgw, pdf, monkeypatch):
    asked = at_a_terminal(monkeypatch, answer=False)
    assert submit(mssgw, pdf, "--yes").document["ok"] is True
    assert asked == []


def level_3(tmp_path, mssgw, text):
    """A document of PATIENT whose body is this text."""
    path = cda(tmp_path, register(mssgw))
    structured = f"<structuredBody><component><section><text>{text}</text></section></component></structuredBody>".encode()
    content = re.sub(rb"<nonXMLBody>.*</nonXMLBody>", structured, path.read_bytes(), flags=re.DOTALL)
    assert structured in content
    path.write_bytes(content)
    return path


def test_a_cda_with_a_web_address_is_filed_and_the_address_reported(mssgw, tmp_path):
    """Regression: the imaging report of the ANS and every cardiology prescription were refused for one."""
    filed = mssgw(
        "submit", str(level_3(tmp_path, mssgw, '<linkHtml href="https://suivi.example/">a</linkHtml>')), "--yes", patient="PATIENT"
    )
    assert filed.ok, filed.notices
    assert any("web address" in remark for remark in filed.document["remarks"])
    assert "Remarque : [header] …/structuredBody/component/section/text/linkHtml" in filed.notices


@pytest.mark.parametrize(
    ("active", "said"),
    [("<script>alert(1)</script>", "script"), ('<linkHtml href="javascript:alert(1)">a</linkHtml>', "script"),
     ('<linkHtml href="file:///etc/passwd">a</linkHtml>', "lien vers l'extérieur")],
)  # fmt: skip
def test_a_cda_with_script_or_external_link_is_refused_before_it_is_sent(mssgw, tmp_path, active, said):
    path = level_3(tmp_path, mssgw, active)
    refused = mssgw("submit", str(path), patient="PATIENT")
    assert refused.status == 1
    assert said in refused.document["sentence"]
    assert "section/text" in refused.document["sentence"]
    assert [row for row in mssgw.audit("PATIENT") if row[1] == "sent"] == []


def test_a_deposit_without_an_answer_is_shown_as_kept_and_resume_names_it(mssgw, pdf, monkeypatch):
    async def silent(self, *given, **options):
        raise Unavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(Dmp, "td21_submit", silent)
        lost = submit(mssgw, pdf, text=True)
    assert lost.status == 1
    assert "mssgw dmp resume" in lost.notices
    done = mssgw("resume", text=True)
    assert done.status == 0
    assert "Lettre" in done.text
    assert mssgw.running.ins("PATIENT").value in done.text
    assert "Aucun dépôt" in mssgw("resume", text=True).text
