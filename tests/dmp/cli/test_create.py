"""`mssgw dmp create` when something intervenes: another patient's card, a DMP that does not answer, options, Ctrl-C."""

from __future__ import annotations

import errno
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dmp_connector.client import Dmp
from dmp_connector.errors import Refused, Unavailable
from dmp_connector.model import Code, DossierState
from dmp_connector.simulator.world import closed
from mssgw.cli.dmp import creation as creation_verb
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
    refused = mssgw("create", "--no-account", "--vitale", card, "-o", str(letter))
    assert refused.document["error"] == "ConsentMissing"
    return refused.document["sentence"].partition("--resume ")[2].rstrip(".")


def test_a_creation_is_not_resumed_with_another_patient_s_card(mssgw, card, tmp_path):
    letter = tmp_path / "lettre.pdf"
    creation = begun(mssgw, card("SANSDOSSIER"), letter)
    command = ("create", "--no-account", "--resume", creation, "--consent", "oral", "--yes", "-o", str(letter))
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
    first = mssgw("create", "--no-account", "--vitale", card("SANSDOSSIER"), *letter)
    for step in ("1/5", "2/5"):
        assert any(line.startswith(step) and who in line for line in first.notices.splitlines()), step
    creation = first.document["sentence"].partition("--resume ")[2].rstrip(".")
    rest = mssgw("create", "--no-account", "--resume", creation, "--consent", "oral", "--yes", *letter, text=True)
    for step in ("Reprise", "3/5", "4/5", "5/5"):
        assert any(line.startswith(step) and who in line for line in (rest.notices + rest.text).splitlines()), step


def test_the_question_of_consent_names_the_patient(mssgw, card, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(Session, "confirmed", lambda self, key, **values: asked.append(say(key, **values).fr) or True)
    mssgw.done("create", "--no-account", "--vitale", card("SANSDOSSIER"), "--consent", "oral", "-o", str(tmp_path / "l.pdf"))
    assert "SANSDOSSIER LUC" in asked[0]
    assert "né(e) le 14/02/2001" in asked[0]


def silent(monkeypatch, method: str, *, delivers: bool = True) -> None:
    """Makes the DMP leave the next call of the method without an answer; with `delivers` it has acted on it."""
    real = getattr(Dmp, method)

    async def lost(self, *arguments, **options):
        monkeypatch.setattr(Dmp, method, real)
        if delivers:
            await real(self, *arguments, **options)
        raise Unavailable("no answer", sent=True)

    monkeypatch.setattr(Dmp, method, lost)


def outcomes(mssgw: Mssgw, what: str = "creation") -> list[str]:
    return [r["outcome"] for r in mssgw.done("audit")["audit"] if r["what"] == what]


def resumable(refused) -> str:
    assert refused.document["error"] == "CreationUnanswered"
    sentence = refused.document["sentence"]
    return sentence.partition("--resume ")[2].partition(" ")[0].rstrip(".")


@pytest.mark.parametrize("delivers", [True, False])
def test_a_creation_whose_answer_was_lost_is_settled_by_asking(mssgw, card, tmp_path, monkeypatch, delivers):
    letter = tmp_path / "lettre.pdf"
    silent(monkeypatch, "td11_create", delivers=delivers)
    command = ("--consent", "oral", "--email", "luc@example.test", "--yes", "-o", str(letter))
    creation = resumable(mssgw("create", "--vitale", card("SANSDOSSIER"), *command))
    assert not letter.exists()
    made = mssgw.done("create", "--resume", creation, *command)
    assert made["outcome"] == "confirmed"
    assert letter.read_bytes().startswith(b"%PDF")
    assert outcomes(mssgw)[-3:] == ["no answer", "created", "confirmed"]
    settled = next(r["facts"].get("settled") for r in mssgw.done("audit")["audit"] if r["outcome"] == "created")
    assert settled == ("TD0.2" if delivers else None)
    assert outcomes(mssgw, "TD1.5a") == ["made"]
    assert mssgw.running.record("SANSDOSSIER").access is not None


def consents(mssgw: Mssgw) -> list[str]:
    """What the trail says of agreements collected."""
    return [r["outcome"] for r in mssgw.done("audit")["audit"] if r["what"] == "creation" and r["outcome"] == "consented"]


def test_that_a_dossier_exists_is_said_before_the_patient_is_asked_and_nothing_is_kept(mssgw, card, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(Session, "confirmed", lambda self, key, **values: asked.append(key) or True)
    command = ("--consent", "oral", "-o", str(tmp_path / "lettre.pdf"))
    refused = mssgw("create", "--no-account", "--vitale", card("NOUVEAU"), *command)
    assert refused.document["error"] == "DossierExists"
    assert "mssgw dmp authorise" in refused.document["sentence"]
    assert "2/5" not in refused.notices
    assert asked == []
    assert consents(mssgw) == []
    assert outcomes(mssgw) == ["started", "identified", "refused"]
    creation = next(r["facts"]["creation"] for r in mssgw.done("audit")["audit"] if r["outcome"] == "identified")
    assert mssgw("create", "--no-account", "--resume", creation, *command).document["error"] == "BadInput"


def test_a_closed_dossier_is_to_be_reopened_not_created(mssgw, card, tmp_path):
    closed(mssgw.running.record("NOUVEAU"), datetime(2026, 1, 5, tzinfo=UTC), Code("DEMANDE", "1.2.3"), "Demande du patient")
    refused = mssgw("create", "--no-account", "--vitale", card("NOUVEAU"), "--consent", "oral", "--yes", "-o", str(tmp_path / "l.pdf"))
    assert refused.document["error"] == "DossierClosed"
    assert "mssgw dmp reopen" in refused.document["sentence"]


def test_a_dossier_that_somebody_creates_meanwhile_is_never_taken_for_ours_and_leaves_no_agreement(mssgw, card, tmp_path, monkeypatch):
    real = Dmp.td02_existence
    monkeypatch.setattr(Dmp, "td02_existence", lambda self, call: _absent(real, self, call))
    command = ("--consent", "oral", "--yes", "-o", str(tmp_path / "lettre.pdf"))
    assert mssgw("create", "--no-account", "--vitale", card("NOUVEAU"), *command).document["error"] == "DossierExists"
    monkeypatch.setattr(Dmp, "td02_existence", real)
    assert "created" not in outcomes(mssgw)
    creation = next(r["facts"]["creation"] for r in mssgw.done("audit")["audit"] if r["outcome"] == "ready")
    assert mssgw("create", "--no-account", "--resume", creation, *command).document["error"] == "BadInput"
    assert mssgw("find", patient="NOUVEAU").document["error"] in {"ConsentMissing", "NotAllowed"}


async def _absent(real, dmp, call):
    return replace(await real(dmp, call), state=DossierState.NO_DMP)


def test_whether_the_patient_wants_an_account_is_asked_and_refused_without_an_answer(mssgw, card, tmp_path):
    refused = mssgw("create", "--vitale", card("SANSDOSSIER"), "--consent", "oral", "--yes", "-o", str(tmp_path / "l.pdf"))
    assert refused.document["error"] == "AccountNotAsked"
    assert all(option in refused.document["sentence"] for option in ("--email", "--sms", "--no-account"))
    assert outcomes(mssgw) == []
    both = mssgw("create", "--no-account", "--sms", "06 12 34 56 78", "-o", str(tmp_path / "l.pdf"))
    assert both.status == 2


@pytest.mark.parametrize(
    ("typed", "channel"),
    [
        (["non"], "declined"),
        (["oui", "luc@example.test"], "email"),
        (["oui", "12", "06 12 34 56 78"], "sms"),
        (["oui", ""], "declined"),
    ],
)
def test_both_answers_about_the_account_are_recorded(mssgw, card, tmp_path, monkeypatch, typed, channel):
    lines = iter(typed)
    monkeypatch.setattr(Session, "asks", True)
    monkeypatch.setattr(Session, "confirmed", lambda self, key, **values: True)
    monkeypatch.setattr("mssgw.cli.dmp.creation.answered", lambda question: next(lines) == "oui")
    monkeypatch.setattr("mssgw.cli.dmp.creation.typed_line", lambda question: next(lines))
    made = mssgw("create", "--vitale", card("SANSDOSSIER"), "--consent", "oral", "-o", str(tmp_path / "l.pdf"))
    assert made.status == 0, made
    ready = next(r["facts"] for r in mssgw.done("audit")["audit"] if r["outcome"] == "ready")
    assert ready["channel"] == channel
    assert ("ne veut pas de compte" in made.notices) is (channel == "declined")
    assert list(lines) == []


@pytest.mark.parametrize("delivers", [True, False])
def test_a_web_account_whose_answer_was_lost_is_settled_by_asking(mssgw, card, tmp_path, monkeypatch, delivers):
    silent(monkeypatch, "td15a_create_access", delivers=delivers)
    command = ("--consent", "oral", "--email", "luc@example.test", "--yes", "-o", str(tmp_path / "lettre.pdf"))
    creation = resumable(mssgw("create", "--vitale", card("SANSDOSSIER"), *command))
    assert mssgw.done("create", "--resume", creation, *command)["outcome"] == "confirmed"
    assert outcomes(mssgw)[-2:] == ["created", "confirmed"]
    assert outcomes(mssgw, "TD1.5a") == ["no answer", "made"]


def test_a_refused_web_account_does_not_hold_up_the_confirmation(mssgw, card, tmp_path, monkeypatch):
    async def no(self, *arguments, **options):
        raise Refused("DMPPatientAccessAlreadyExists", "")

    monkeypatch.setattr(Dmp, "td15a_create_access", no)
    command = ("--consent", "oral", "--sms", "0600000000", "--yes", "-o", str(tmp_path / "lettre.pdf"))
    made = mssgw("create", "--vitale", card("SANSDOSSIER"), *command)
    assert made.document["outcome"] == "confirmed"
    assert "refusé l'accès web" in made.notices
    assert outcomes(mssgw, "TD1.5a") == ["refused"]


def test_a_process_that_dies_while_the_dmp_creates_is_settled_by_asking(mssgw, card, tmp_path, monkeypatch):
    """The store has neither an answer nor a note that none came: what was stored before sending is enough."""
    real = Dmp.td11_create

    async def killed(self, *arguments, **options):
        monkeypatch.setattr(Dmp, "td11_create", real)
        await real(self, *arguments, **options)
        raise SystemExit(137)

    monkeypatch.setattr(Dmp, "td11_create", killed)
    command = ("--consent", "oral", "--yes", "-o", str(tmp_path / "lettre.pdf"))
    assert mssgw("create", "--no-account", "--vitale", card("SANSDOSSIER"), *command).status == 137
    creation = next(r["facts"]["creation"] for r in mssgw.done("audit")["audit"] if r["outcome"] == "ready")
    assert mssgw.done("create", "--no-account", "--resume", creation, *command)["outcome"] == "confirmed"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "-o FICHIER est nécessaire"),
        (("-o", "{tmp}/absent/l.pdf"), "n'existe pas"),
        (("-o", "{tmp}"), "est un répertoire"),
        (("-o", "{tmp}/there.pdf"), "existe déjà"),
        (("-o", "{tmp}/l.pdf", "--confirm", "sms"), "pas de SMS"),
        (("-o", "{tmp}/l.pdf", "--confirm", "email"), "--email"),
        (("--confirm", "email", "--email", "luc@example.test"), "-o FICHIER est nécessaire"),
    ],
)
def test_the_end_of_a_creation_is_checked_before_its_first_step(mssgw, card, tmp_path, more, words):
    (tmp_path / "there.pdf").write_text("another patient's")
    options = [word.replace("{tmp}", str(tmp_path)) for word in more]
    refused = mssgw("create", "--no-account", "--vitale", card("SANSDOSSIER"), "--consent", "oral", "--yes", *options)
    assert refused.status == 1
    assert words in refused.document["sentence"]
    assert outcomes(mssgw) == []
    assert mssgw("exists", patient="SANSDOSSIER").document["state"] == "NO_DMP"
    assert (tmp_path / "there.pdf").read_text() == "another patient's"


def test_a_creation_is_confirmed_only_when_its_letter_is_on_the_disk(mssgw, card, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "", "lettre.pdf")

    letter = tmp_path / "lettre.pdf"
    with monkeypatch.context() as patched:
        patched.setattr(creation_verb, "write_file", full)
        lost = mssgw("create", "--no-account", "--vitale", card("SANSDOSSIER"), "--consent", "oral", "--yes", "-o", str(letter))
    assert lost.document["error"] == "LetterNotWritten"
    assert "le disque est plein" in lost.document["sentence"]
    assert outcomes(mssgw)[-1] == "created"
    creation = lost.document["sentence"].partition("--resume ")[2].partition(" ")[0].rstrip(".")
    assert mssgw.done("create", "--no-account", "--resume", creation, "-o", str(letter))["letter"] == str(letter)
    assert letter.read_bytes().startswith(b"%PDF")
    assert outcomes(mssgw)[-1] == "confirmed"


def test_a_confirmation_by_e_mail_names_who_sends_it(mssgw, card, tmp_path):
    letter = tmp_path / "lettre.pdf"
    command = ("--consent", "oral", "--yes", "--email", "luc@example.test", "--confirm", "email", "-o", str(letter))
    made = mssgw.done("create", "--vitale", card("SANSDOSSIER"), *command)
    assert made["email"]["to"] == "luc@example.test"
    assert made["email"]["text"].startswith("Bonjour")
    again = mssgw("create", "--resume", made["creation"], "--confirm", "email", "-o", str(letter), "--overwrite", text=True)
    assert "à envoyer par vos soins à luc@example.test" in again.text
    assert "n'envoie pas de courriel" in again.text


def test_a_confirmation_by_e_mail_never_goes_to_a_telephone(mssgw, card, tmp_path):
    letter = tmp_path / "lettre.pdf"
    command = ("--consent", "oral", "--yes", "--sms", "0600000000", "-o", str(letter))
    made = mssgw.done("create", "--vitale", card("SANSDOSSIER"), *command)
    resume = ("create", "--resume", made["creation"], "--confirm", "email", "--overwrite", "-o", str(letter))
    assert "--email" in mssgw(*resume).document["sentence"]
    assert mssgw.done(*resume, "--email", "luc@example.test")["email"]["to"] == "luc@example.test"
