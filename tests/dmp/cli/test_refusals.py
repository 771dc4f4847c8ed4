"""Each refusal names all of its causes, in French first; nothing is done without confirmation."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from dmp_connector.paper.letters import letter

from .conftest import DOCTOR, HOSPITAL, PSC, SAMU

AT = datetime(2026, 1, 2, tzinfo=UTC)
WHY = "Patient inconscient aux urgences"


@pytest.fixture
def hidden(mssgw, tmp_path) -> str:
    """A document of ours that the patient does not see."""
    path = tmp_path / "annonce.pdf"
    path.write_bytes(letter("Annonce", ["x"], at=AT))
    return mssgw.done("submit", str(path), "--title", "Annonce", "--type", "11488-4", "--hide-from-patient", patient="PATIENT")["unique_id"]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("--yes",), "ReasonMissing", "au moins 10 caractères ; aucun n'est donné"),
        (("--reason", "urgent", "--yes"), "ReasonMissing", "au moins 10 caractères ; celui-ci en compte 6"),
        (("--reason", WHY), "NotConfirmed", "n'a pas été confirmé"),
    ],
)
def test_bris_de_glace_names_what_is_missing(mssgw, arguments, error, words):
    refused = mssgw("find", "--mode", "bris_de_glace", *arguments, patient="NOUVEAU")
    assert refused.document["error"] == error
    assert words in refused.document["sentence"]


def test_each_verb_is_refused_without_confirmation(mssgw):
    for verb, patient, more in (("authorise", "NOUVEAU", ()), ("close", "NOUVEAU", ("--reason", "Demande")), ("reopen", "FERMEE", ())):
        refused = mssgw(verb, *more, patient=patient)
        assert refused.document["error"] == "NotConfirmed", verb
        assert "--yes" in refused.document["sentence"]
        assert "Aucun consentement" not in refused.document["sentence"]
        assert "yes" in refused.document["sentence_en"]
    refused = mssgw("close", "--yes", patient="NOUVEAU")
    assert refused.document["error"] == "ReasonMissing"
    assert "fermeture" in refused.document["sentence"]


def answered(mssgw, words: str, *arguments: str) -> tuple[int, str]:
    """Runs the verb at a terminal where a person types. Returns (status, what was printed)."""
    command = [sys.executable, "-m", "mssgw", "dmp", *arguments, "--config", str(mssgw.config), "--as", DOCTOR]
    person, terminal = pty.openpty()
    with subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as ran:
        os.close(terminal)
        os.write(person, words.encode())
        shown, _ = ran.communicate(timeout=60)
        os.close(person)
    return ran.returncode, shown.replace("\N{NO-BREAK SPACE}", " ")


def test_yes_is_typed_at_a_terminal_and_any_other_word_is_asked_about_again(mssgw):
    status, shown = answered(mssgw, "peut-être\noui\n", "authorise", "--patient", mssgw.running.ins("NOUVEAU").value)
    assert status == 0, shown
    assert "donné son accord" in shown
    assert "has the patient, informed, agreed" in shown
    assert "NOUVEAU LEA, né(e) le 09/06/1991 : le patient" in shown
    assert "[oui/non]" in shown
    assert "Répondez oui ou non." in shown


def test_no_changes_nothing(mssgw):
    status, shown = answered(mssgw, "non\n", "authorise", "--patient", mssgw.running.ins("NOUVEAU").value)
    assert status == 1, shown
    assert "Rien n'a été déclaré" in shown
    assert mssgw.done("exists", patient="NOUVEAU")["authorisation"] == "NON_EXISTE"


@pytest.mark.parametrize(
    ("typed", "yes"),
    [("o", True), ("oui", True), ("OUI", True), (" Oui ", True), ("y", True), ("yes", True), ("n", False), ("non", False), ("no", False),
     ("", False), ("bof\nn", False), ("bof\no", True), (None, False)],
)  # fmt: skip
def test_the_words_of_an_answer(monkeypatch, typed, yes):
    from mssgw.cli import terminal
    from mssgw.cli.dmp import session
    from mssgw.core.texts import message

    monkeypatch.setattr(terminal.sys, "stdin", io.StringIO("" if typed is None else typed + "\n"))
    assert session.answered(message("dmp.answer")) is yes


def test_every_reason_of_a_refusal_is_shown(mssgw):
    """Two reasons at once, blocked by the patient and no strong login: both are shown, not one after the other."""
    refused = mssgw("find", patient="BLOQUANT", who=HOSPITAL)
    names = [name for name, holds, _ in refused.document["reasons"] if not holds]
    assert {"consentement", "authentification", "habilitation"} <= set(names)
    shown = mssgw("find", patient="BLOQUANT", who=HOSPITAL, text=True).notices
    assert "✘ consentement" in shown
    assert "✘ authentification" in shown
    assert "✘ habilitation" in shown
    alone = mssgw("find", patient="NOUVEAU", text=True).notices
    assert "✘" not in alone  # one reason is the sentence itself


def test_show_on_a_document_hidden_from_the_patient_only_names_what_to_do(mssgw, hidden):
    refused = mssgw("show", hidden, patient="PATIENT")
    assert refused.status == 1
    assert "--to patient" in refused.document["sentence"]
    assert mssgw("show", hidden, "--to", "tout-le-monde", patient="PATIENT").status == 2
    assert mssgw("show", hidden, "--to", "patient", patient="PATIENT").document["error"] == "NotConfirmed"
    assert mssgw.done("show", hidden, "--to", "patient", "--yes", patient="PATIENT")["changed"] is True
    assert mssgw.done("show", hidden, "--to", "patient", patient="PATIENT")["changed"] is False


def test_what_is_so_already_is_shown_and_not_sent(mssgw, hidden):
    assert mssgw.done("hide", hidden, patient="PATIENT")["changed"] is True
    assert mssgw.done("hide", hidden, patient="PATIENT")["changed"] is False
    assert mssgw.audit("PATIENT").count(("TD3.3a masquer", "done")) == 1
    assert mssgw.done("hide", hidden, "--undo", patient="PATIENT")["changed"] is True
    assert "Archivé" in mssgw("archive", hidden, patient="PATIENT", text=True).text
    assert "Déjà archivé" in mssgw("archive", hidden, patient="PATIENT", text=True).text
    assert "Désarchivé" in mssgw("archive", hidden, "--undo", patient="PATIENT", text=True).text
    assert "N'est pas archivé" in mssgw("archive", hidden, "--undo", patient="PATIENT", text=True).text
    assert "Supprimé" in mssgw("delete", hidden, patient="PATIENT", text=True).text
    assert mssgw("delete", hidden, "--undo", patient="PATIENT").status == 2


@pytest.mark.parametrize("address", ["pas-une-adresse", "a@b", "a b@c.fr", "@c.fr", "a@c..fr", "a@" + "c" * 250 + ".fr", "é@c.fr"])
def test_modify_refuses_what_is_no_address(mssgw, address):
    refused = mssgw("modify", "--email", address, patient="NOUVEAU")
    assert refused.status == 1
    assert "courriel" in refused.document["sentence"]
    assert ("TD1.3b", "done") not in mssgw.audit("NOUVEAU")


def test_modify_with_nothing_is_wrong_use_and_with_something_is_done(mssgw):
    assert mssgw("modify", patient="NOUVEAU").status == 2
    assert not any(w == "TD1.3b" for w, _ in mssgw.audit("NOUVEAU"))
    assert "téléphone" in mssgw("modify", "--phone", "allô", patient="NOUVEAU").document["sentence"]
    mssgw.done("modify", "--email", "lea@example.test", "--mobile", "06 12 34 56 78", patient="NOUVEAU")
    assert mssgw.done("read", patient="NOUVEAU")["email"] == "lea@example.test"
    mssgw.done("modify", "--email", "", patient="NOUVEAU")
    assert mssgw.done("read", patient="NOUVEAU")["email"] == ""
    shown = mssgw("read", patient="NOUVEAU", text=True).text
    assert re.search(r"nom de naissance / birth name +NOUVEAU", shown)
    assert "postal_code" not in shown


def test_no_dossier_does_not_hold(mssgw):
    outcome = mssgw("exists", patient="SANSDOSSIER")
    assert (outcome.status, outcome.document["ok"], outcome.document["state"]) == (1, False, "NO_DMP")
    assert mssgw("exists", patient="FERMEE").status == 0


def test_block_is_the_patient_s_act(write_config, mssgw):
    refused = mssgw("block", "899700000017", patient="PATIENT")
    assert refused.status == 1
    assert "acte du patient" in refused.document["sentence"]
    assert "--remove" in refused.document["sentence"]
    mssgw.config = write_config(web_url="https://web.dmp.test/web/")
    refused = mssgw("block", patient="PATIENT", text=True)
    ins = mssgw.running.ins("PATIENT").value
    assert f"https://web.dmp.test/web/AccesDirect/VolontesEtDroits/{ins}" in refused.notices
    rows = [r for r in mssgw.done("audit", patient="PATIENT")["audit"] if r["what"] == "block"]
    assert [r["outcome"] for r in rows] == ["refused", "refused"]
    assert rows[0]["facts"]["professional"] == "899700000017"
    assert not mssgw.done("professionals", "--which", "INTERDITE", patient="PATIENT")["professionals"]


def test_professionals_list_the_one_for_whom_td02_answers_valide(reconfigured, mssgw):
    """A dossier that is open to whoever asks, like those of the demo."""
    from dmp_connector.model import AuthorisationStatus

    record = mssgw.running.record("NOUVEAU")
    record.everybody, record.everybody_treats = AuthorisationStatus.VALID, True
    assert mssgw.done("exists", patient="NOUVEAU")["authorisation"] == "VALIDE"
    (row,) = mssgw.done("professionals", patient="NOUVEAU")["professionals"]
    assert (row["id"], row["status"], row["mt"]) == ("899700367909", "VALIDE", True)


def test_a_vitale_file_that_lacks_a_field_is_refused_by_its_name(mssgw, tmp_path):
    path = tmp_path / "vitale.json"
    card = {"kind": "test", "serial": "V", "beneficiaries": [{"nir": "", "rank": 1, "birth_name": "X", "given": "Y", "sex": "F"}]}
    path.write_text(json.dumps(card))
    refused = mssgw("create", "--no-account", "-o", str(tmp_path / "lettre.pdf"), "--vitale", str(path), "--consent", "oral", "--yes")
    assert "beneficiaries[0].birth_date" in refused.document["sentence"]
    card["beneficiaries"][0]["birth_date"] = "hier"
    path.write_text(json.dumps(card))
    assert (
        "beneficiaries[0].birth_date de la carte est illisible"
        in mssgw("create", "--no-account", "-o", str(tmp_path / "lettre.pdf"), "--vitale", str(path)).document["sentence"]
    )
    del card["kind"]
    card["beneficiaries"] = []
    path.write_text(json.dumps(card))
    assert (
        "le champ kind" in mssgw("create", "--no-account", "-o", str(tmp_path / "lettre.pdf"), "--vitale", str(path)).document["sentence"]
    )
    path.write_text("pas du JSON")
    assert "JSON" in mssgw("create", "--no-account", "-o", str(tmp_path / "lettre.pdf"), "--vitale", str(path)).document["sentence"]
    assert mssgw("create", "--no-account", "-o", str(tmp_path / "lettre.pdf"), "--vitale", str(tmp_path / "absent.json")).status == 1


def test_create_checks_where_the_patient_is_reached_before_it_begins(mssgw):
    assert "courriel" in mssgw("create", "--email", "luc").document["sentence"]
    assert "mobile" in mssgw("create", "--sms", "12").document["sentence"]
    assert "--email" in mssgw("create", "--no-account", "--confirm", "email").document["sentence"]
    assert not any(r["what"] == "creation" for r in mssgw.done("audit")["audit"])


def test_get_looks_for_its_place_before_it_reads(mssgw, tmp_path):
    before = len(mssgw.audit("PATIENT"))
    unique_id = mssgw.done("find", patient="PATIENT")["documents"][0]["unique_id"]
    after = len(mssgw.audit("PATIENT"))
    refused = mssgw("get", unique_id, "-o", str(tmp_path / "absent" / "x.xml"), patient="PATIENT", text=True)
    assert refused.status == 1
    assert "n'existe pas" in refused.notices
    assert mssgw("get", unique_id, "-o", str(tmp_path), patient="PATIENT", text=True).status == 1
    assert len(mssgw.audit("PATIENT")) == after > before
    assert mssgw("get", unique_id, "-o", str(tmp_path / "x"), "--as-form", "docx", patient="PATIENT").status == 2


def test_the_doctor_s_status_is_that_of_what_is_needed(write_config, mssgw, tmp_path):
    from typer.testing import CliRunner

    from mssgw.cli.dmp import app

    def doctor(*arguments: str):
        ran = CliRunner().invoke(app, ["doctor", "--config", str(mssgw.config), *arguments])
        return ran.exit_code, ran.output

    mssgw.config = write_config(card_module=str(tmp_path / "absent.so"))
    status, shown = doctor("--as", DOCTOR)
    assert status == 1  # a module that was configured is needed
    assert "✘ module PKCS#11" in shown
    assert doctor("--as", "nobody@alpha.test")[0] == 1
    mssgw.config = write_config()
    status, shown = doctor("--as", PSC)
    assert status == 0, shown  # nobody uses a card in a reader here
    assert "✘" not in shown
    assert doctor()[0] == 0


def test_card_takes_as(mssgw):
    from typer.testing import CliRunner

    from mssgw.cli.dmp import app

    ran = CliRunner().invoke(app, ["card", "--config", str(mssgw.config), "--as", SAMU])
    assert ran.exit_code == 1
    assert "lecteur" in ran.stderr


def test_every_refusal_is_printed_in_french_then_english(mssgw):
    patient, *refused = mssgw("find", patient="NOUVEAU", text=True).notices.splitlines()
    assert patient.startswith("Patient: NOUVEAU")
    assert refused[0].startswith("mssgw dmp : Aucun consentement")
    assert refused[1].startswith("mssgw dmp: No consent")


def test_an_oid_under_which_no_ins_is_issued_is_refused(mssgw):
    refused = mssgw("exists", "--oid", "1.2.3", patient="PATIENT")
    assert (refused.status, refused.document["error"]) == (1, "BadIns")
    assert "--oid" in refused.document["sentence"]


def test_a_secretary_files_and_consults_nothing(write_config, mssgw, tmp_path):  # TD2.2
    """A staff card (CPE) whose role is of A00, not a profession of G15."""
    from tests.dmp.conftest import STRUCTURE

    secretary = "secretariat@alpha.test"
    mssgw.config = write_config(
        {secretary: {"id": f"{STRUCTURE}/0001", "family": "PETIT", "given": "ANNE", "structure_id": STRUCTURE, "speciality": "",
                     "profession": "SECRETARIAT_MEDICAL", "authentication": "card", "staff_card": True}}
    )  # fmt: skip
    path = tmp_path / "lettre.pdf"
    path.write_bytes(letter("Lettre", ["x"], at=AT))
    command = ("submit", str(path), "--title", "Lettre", "--type", "11490-0")
    assert mssgw.done(*command, patient="PATIENT", who=secretary)["already"] is False
    assert mssgw.done(*command, patient="PATIENT", who=secretary)["already"] is True
    assert mssgw("find", patient="PATIENT", who=secretary).document["error"] == "NotEntitled"
    urgent = mssgw("find", "--mode", "bris_de_glace", "--reason", WHY, "--yes", patient="PATIENT", who=secretary)
    assert "CPE" in urgent.document["sentence"]
    assert "consulter la liste des documents" in mssgw("find", patient="PATIENT", who=secretary).document["sentence"]


def test_who_feeds_without_reading_deletes_what_was_filed(mssgw, tmp_path):  # EX_3.3-1060
    path = tmp_path / "lettre.pdf"
    path.write_bytes(letter("Lettre", ["x"], at=AT))
    command = ("submit", str(path), "--title", "Lettre", "--type", "11490-0")
    unique_id = mssgw.done(*command, patient="PATIENT", who=HOSPITAL)["unique_id"]
    mssgw.done("delete", unique_id, patient="PATIENT", who=HOSPITAL)
    assert unique_id not in {d["unique_id"] for d in mssgw.done("find", "--all", patient="PATIENT")["documents"]}
    assert ("TD3.3c", "done") in mssgw.audit("PATIENT", who=HOSPITAL)
    other = mssgw.done("find", patient="PATIENT")["documents"][0]["unique_id"]
    assert mssgw("delete", other, patient="PATIENT", who=HOSPITAL).document["error"] == "AccessDenied"
    assert mssgw("delete", "1.2.3", patient="PATIENT", who=HOSPITAL).document["error"] == "DocumentUnknown"


def test_a_creation_left_before_consent_names_the_command_to_resume(mssgw, tmp_path):
    from .test_scenarios import vitale

    card = vitale(mssgw, tmp_path, "SANSDOSSIER")
    for more, error in (((), "ConsentMissing"), (("--consent", "oral"), "NotConfirmed")):
        refused = mssgw("create", "--no-account", "-o", str(tmp_path / "lettre.pdf"), "--vitale", card, *more)
        assert refused.document["error"] == error
        begun = refused.document["sentence"].partition("--resume ")[2].rstrip(".")
        assert begun in refused.document["sentence_en"]
        assert mssgw("exists", patient="SANSDOSSIER").status == 1
    assert (
        mssgw.done("create", "--no-account", "-o", str(tmp_path / "lettre.pdf"), "--resume", begun, "--consent", "oral", "--yes")[
            "creation"
        ]
        == begun
    )
