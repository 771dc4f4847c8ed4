"""The scenarios of the guide, each through the command line against the simulated DMP, each with its audit trail."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dmp_connector.cda import read as read_cda
from dmp_connector.paper.letters import letter
from dmp_connector.paper.pdf import require_pdfa1

from .agents import Agents, ByAgent
from .conftest import DOCTOR, HOSPITAL, OTHER, PSC, SAMU, Mssgw

WHY = "Patient inconscient aux urgences, bilan immédiat"


@pytest.fixture(params=["alone", "by the agent"])
def mssgw(request, write_config, dmp_running) -> Iterator[Mssgw]:
    """Each scenario is played twice: what is printed and what is audited is the same with the agent."""
    if request.param == "alone":
        yield Mssgw(write_config(), dmp_running)
        return
    agents = Agents()
    try:
        yield ByAgent(write_config(), dmp_running, agents)
    finally:
        agents.close()


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    path = tmp_path / "lettre.pdf"
    path.write_bytes(letter("Lettre de liaison", ["Cher confrère,", "Tout va bien."], at=datetime(2026, 1, 2, tzinfo=UTC)))
    return path


def vitale(mssgw: Mssgw, tmp_path: Path, name: str) -> str:
    """The card of a test patient, as a file of the simulation."""
    person = next(p for p in mssgw.running.simulator.config.patients if p.name == name)
    card = {
        "kind": "test",
        "serial": "VT1",
        "beneficiaries": [
            {
                "nir": person.ins,
                "rank": 1,
                "birth_name": person.name,
                "given": person.given.split()[0],
                "birth_date": str(person.birth_date),
                "sex": person.sex,
            }
        ],
    }
    path = tmp_path / "vitale.json"
    path.write_text(json.dumps(card))
    return str(path)


def test_creation_dmp_complet_par_es(mssgw, tmp_path):  # TD1.1
    """1.1-070: the patient opposes the regulation access and does not oppose bris de glace (docs/reference/dmp.md 1.5)."""
    assert mssgw("exists", patient="SANSDOSSIER").document["state"] == "NO_DMP"
    target = tmp_path / "lettre.pdf"
    made = mssgw.done(
        "create",
        "--vitale",
        vitale(mssgw, tmp_path, "SANSDOSSIER"),
        "--consent",
        "oral",
        "--oppose-centre-15",
        "--email",
        "luc@example.test",
        "--confirm",
        "letter",
        "--address-line",
        "1 rue des Lilas",
        "--address-line",
        "35000 RENNES",
        "-o",
        str(target),
        "--yes",
    )
    assert made["outcome"] == "confirmed"
    assert made["ins"] == mssgw.running.ins("SANSDOSSIER").value
    assert require_pdfa1(target.read_bytes()).pages == 1
    found = mssgw.done("read", patient="SANSDOSSIER")
    assert found["opposition_acces_urgence"] is True
    assert found["opposition_bris_de_glace"] is False
    assert mssgw.done("exists", patient="SANSDOSSIER")["state"] == "ACTIVE"
    trail = [r for r in mssgw.done("audit")["audit"] if r["what"] == "creation"]
    assert [r["outcome"] for r in trail] == ["started", "identified", "informed", "consented", "ready", "created", "confirmed"]
    consented = next(r for r in trail if r["outcome"] == "consented")
    assert consented["facts"]["centre_15"] == "opposed"
    assert consented["facts"]["bris_de_glace"] == "not opposed"


def test_creation_without_consent_sends_nothing(mssgw, tmp_path):  # EX_1.1-1010
    refused = mssgw("create", "--no-account", "-o", str(tmp_path / "lettre.pdf"), "--vitale", vitale(mssgw, tmp_path, "SANSDOSSIER"))
    assert refused.status == 1
    assert refused.document["error"] == "ConsentMissing"
    assert mssgw("exists", patient="SANSDOSSIER").document["state"] == "NO_DMP"


def test_a_creation_goes_on_where_it_stopped(mssgw, tmp_path):
    mssgw("create", "--no-account", "-o", str(tmp_path / "lettre.pdf"), "--vitale", vitale(mssgw, tmp_path, "SANSDOSSIER"))
    begun = next(r["facts"]["creation"] for r in mssgw.done("audit")["audit"] if r["outcome"] == "informed")
    made = mssgw.done("create", "--no-account", "-o", str(tmp_path / "lettre.pdf"), "--resume", begun, "--consent", "written", "--yes")
    assert made["creation"] == begun
    assert made["outcome"] == "confirmed"


def test_creating_an_existing_dossier_is_refused(mssgw, tmp_path):
    refused = mssgw(
        "create",
        "--no-account",
        "-o",
        str(tmp_path / "lettre.pdf"),
        "--vitale",
        vitale(mssgw, tmp_path, "NOUVEAU"),
        "--consent",
        "oral",
        "--yes",
    )
    assert refused.document["error"] == "DossierExists"


def test_today_creation_is_managed_by_mon_espace_sante(write_config, mssgw, tmp_path):
    mssgw.config = write_config(legacy_dossier_management=False)
    outcome = mssgw(
        "create",
        "--no-account",
        "-o",
        str(tmp_path / "lettre.pdf"),
        "--vitale",
        vitale(mssgw, tmp_path, "SANSDOSSIER"),
        "--consent",
        "oral",
        "--yes",
    )
    assert outcome.status == 1
    assert outcome.document["outcome"] == "managed_by_mes"
    assert "Mon espace santé" in outcome.document["sentence"]


def test_normal_consultation_after_an_explicit_gesture(mssgw, tmp_path):  # EX_0.3-1010
    refused = mssgw("find", patient="NOUVEAU")
    assert refused.document["error"] == "ConsentMissing"
    assert mssgw("authorise", patient="NOUVEAU").document["error"] == "NotConfirmed"  # no gesture, no TD0.3
    assert mssgw.done("authorise", "--yes", patient="NOUVEAU")["authorisation"] == "VALIDE"
    listed = mssgw.done("find", patient="NOUVEAU")["documents"]
    assert len(listed) == 2
    target = tmp_path / "document.xml"
    got = mssgw.done("get", listed[0]["unique_id"], "-o", str(target), patient="NOUVEAU")
    assert read_cda(target.read_bytes()).unique_id == listed[0]["unique_id"]
    assert got["entry"]["hash"] == listed[0]["hash"]
    assert mssgw.done("end")["closed"] == 1
    trail = mssgw.audit("NOUVEAU")
    assert ("TD3.1", "refused") in trail
    assert ("consent", "collected") in trail
    assert trail.index(("consent", "collected")) < trail.index(("TD0.3 ajout", "done"))
    assert [o for w, o in trail if w == "consultation"] == ["opened", "closed"]
    conditions = next(r["conditions"] for r in mssgw.done("audit", patient="NOUVEAU")["audit"] if r["outcome"] == "refused")
    assert [name for name, _, _ in conditions] == ["disponibilité", "INS", "consentement", "authentification", "habilitation"]
    assert [name for name, holds, _ in conditions if not holds] == ["consentement"]


def test_an_expired_consent_is_asked_for_again(mssgw):
    assert mssgw("find", patient="ANCIEN").document["error"] == "ConsentExpired"
    mssgw.done("authorise", "--yes", patient="ANCIEN")
    assert mssgw.done("find", patient="ANCIEN")["documents"]


def test_a_recorded_consent_that_ran_out_is_refused_here(write_config, mssgw):
    mssgw.config = write_config(consent_days=1)
    mssgw.done("authorise", "--yes", patient="NOUVEAU")
    from dmp_connector.model import Consent, ConsentBasis, ConsentMeans
    from mssgw.cli.config import loaded
    from mssgw.dossier.setup import open_store
    from tests.dmp.conftest import practitioner

    store = open_store(loaded(mssgw.config), mssgw.config)
    old = datetime.now(UTC) - timedelta(days=10)
    store.add_consent(
        Consent(mssgw.running.ins("NOUVEAU"), ConsentBasis.EXPLICIT, practitioner(), ConsentMeans.ORAL, old, old + timedelta(days=1)),
        structure="x",
    )
    store.close()
    refused = mssgw("find", patient="NOUVEAU")
    assert refused.document["error"] == "ConsentExpired"
    assert "expiré" in refused.document["sentence"]


def test_bris_de_glace_needs_a_reason_and_a_confirmation(mssgw):
    assert mssgw("find", "--mode", "bris_de_glace", patient="NOUVEAU").document["error"] == "ReasonMissing"
    assert mssgw("find", "--mode", "bris_de_glace", "--reason", "urgent", "--yes", patient="NOUVEAU").document["error"] == "ReasonMissing"
    assert mssgw("find", "--mode", "bris_de_glace", "--reason", WHY, patient="NOUVEAU").document["error"] == "NotConfirmed"


def test_bris_de_glace_granted_is_shown_audited_and_leaves_no_authorisation(mssgw):  # EX_0.3-1050
    granted = mssgw("find", "--mode", "bris_de_glace", "--reason", WHY, "--yes", patient="NOUVEAU")
    assert granted.ok
    assert "BRIS DE GLACE" in granted.notices
    assert "BRIS DE GLACE" in granted.document["banner"]
    assert granted.document["documents"]
    unique_id = granted.document["documents"][0]["unique_id"]
    again = mssgw(
        "get", unique_id, "-o", str(mssgw.config.parent / "x.xml"), "--mode", "bris_de_glace", "--reason", WHY, "--yes", patient="NOUVEAU"
    )
    assert again.ok, again.document
    assert again.document["consultation"] == granted.document["consultation"]
    assert "BRIS DE GLACE" in again.notices
    opened = next(r for r in mssgw.done("audit", patient="NOUVEAU")["audit"] if (r["what"], r["outcome"]) == ("consultation", "opened"))
    assert opened["reason"] == WHY
    assert opened["mode"] == "bris_de_glace"
    assert mssgw.done("exists", patient="NOUVEAU")["authorisation"] == "NON_EXISTE"


def test_bris_de_glace_refused_by_opposition(mssgw):
    refused = mssgw("find", "--mode", "bris_de_glace", "--reason", WHY, "--yes", patient="OPPOSANTE")
    assert refused.status == 1
    assert refused.document["error"] == "AccessOpposed"
    assert any(outcome == "refused" for _, outcome in mssgw.audit("OPPOSANTE"))


def test_bris_de_glace_by_the_structure_alone_is_refused(mssgw):
    refused = mssgw("find", "--mode", "bris_de_glace", "--reason", WHY, "--yes", patient="NOUVEAU", who=HOSPITAL)
    assert refused.document["error"] == "NotAuthenticated"


def test_centre_15_finds_the_patient_without_ins(mssgw):  # TD0.5, ITI-47
    found = mssgw.done("search", "--family", "NOUVEAU", "--given", "LEA", who=SAMU)["candidates"]
    assert found[0]["ins"] == mssgw.running.ins("NOUVEAU").value
    listed = mssgw("find", "--mode", "centre_15", "--yes", patient="NOUVEAU", who=SAMU)
    assert listed.ok, listed.document
    assert "CENTRE 15" in listed.notices
    assert listed.document["documents"]
    assert ("TD0.5", "done") in [(r["what"], r["outcome"]) for r in mssgw.done("audit", who=SAMU)["audit"]]


def test_centre_15_is_refused_by_opposition_and_to_others(mssgw):
    opposed = mssgw("find", "--mode", "centre_15", "--yes", patient="OPPOSANTE", who=SAMU)
    assert opposed.document["error"] == "AccessOpposed"
    assert mssgw("find", "--mode", "centre_15", "--yes", patient="NOUVEAU").document["error"] == "NotEntitled"
    assert mssgw("search", "--family", "NOUVEAU").document["error"] == "NotEntitled"


def test_a_blocked_professional_has_no_access_in_any_mode(mssgw):
    assert mssgw.done("exists", patient="BLOQUANT")["authorisation"] == "INTERDIT"
    assert mssgw("find", patient="BLOQUANT").document["error"] == "ProfessionalBlocked"
    urgent = mssgw("find", "--mode", "bris_de_glace", "--reason", WHY, "--yes", patient="BLOQUANT")
    assert urgent.document["error"] == "ProfessionalBlocked"
    assert mssgw("authorise", "--yes", patient="BLOQUANT").document["error"] == "ProfessionalBlocked"


def test_the_treating_doctor_reads_a_masked_document_and_another_does_not(mssgw, tmp_path, pdf):
    done = mssgw.done("submit", str(pdf), "--title", "Avis", "--type", "11488-4", "--mask", patient="TRAITANTE", who=OTHER)
    masked = done["unique_id"]
    seen = {d["unique_id"]: d for d in mssgw.done("find", patient="TRAITANTE")["documents"]}
    assert seen[masked]["visibility"] == ["MASQUE_PS"]
    mssgw.done("get", masked, "-o", str(tmp_path / "masked.xml"), patient="TRAITANTE")
    assert ("TD3.2 masqué", "asked") in mssgw.audit("TRAITANTE")
    done = mssgw.done("submit", str(pdf), "--title", "Avis", "--type", "11488-4", "--mask", patient="PATIENT", who=OTHER)
    refused = mssgw("get", done["unique_id"], "-o", str(tmp_path / "no.xml"), patient="PATIENT")
    assert refused.status == 1
    assert not (tmp_path / "no.xml").exists()


def test_closing_and_reopening(mssgw):  # TD1.2, TD1.4
    closed = mssgw.done("close", "--reason", "Le patient le demande", "--yes", patient="NOUVEAU")
    assert closed["state"] == "CLOSED"
    assert mssgw("find", patient="NOUVEAU").document["error"] == "DossierClosed"
    assert mssgw("close", "--reason", "Encore une fois", "--yes", patient="NOUVEAU").document["error"] == "DossierClosed"
    assert mssgw.done("reopen", "--yes", patient="NOUVEAU")["state"] == "ACTIVE"
    assert [(w, o) for w, o in mssgw.audit("NOUVEAU") if w in {"TD1.4", "TD1.2"} and o == "done"] == [("TD1.4", "done"), ("TD1.2", "done")]


def test_closing_a_dossier_of_mon_espace_sante_is_not_ours(mssgw):
    refused = mssgw("close", "--reason", "Le patient le demande", "--yes", patient="PATIENT")
    assert refused.document["error"] == "ManagedByMes"
    assert "Mon espace santé" in refused.notices
    assert ("TD1.4", "managed by Mon espace santé") in mssgw.audit("PATIENT")


def test_feeding_from_a_pdf_replacing_hiding_showing_archiving_deleting(mssgw, pdf):  # TD2.1, TD3.3a, TD3.3c, TD3.3d; EX_2.1-1050
    first = mssgw.done("submit", str(pdf), "--title", "Lettre", "--type", "11490-0", patient="PATIENT")["unique_id"]
    second = mssgw.done("submit", str(pdf), "--title", "Lettre corrigée", "--type", "11490-0", "--replace", first, patient="PATIENT")[
        "unique_id"
    ]
    third = mssgw.done("submit", str(pdf), "--title", "Encore", "--type", "11490-0", "--replace", second, patient="PATIENT")["unique_id"]
    mssgw.done("get", third, "-o", str(pdf.with_suffix(".xml")), patient="PATIENT")
    chain = read_cda(pdf.with_suffix(".xml").read_bytes())
    assert (chain.set_id, chain.version, chain.replaces) == (first, 3, (second,))
    second = third
    current = {d["unique_id"] for d in mssgw.done("find", patient="PATIENT")["documents"]}
    assert second in current
    assert first not in current
    every = {d["unique_id"]: d["status"] for d in mssgw.done("find", "--all", patient="PATIENT")["documents"]}
    assert every[first] == "Deprecated"
    mssgw.done("hide", second, patient="PATIENT")
    assert next(d for d in mssgw.done("find", patient="PATIENT")["documents"] if d["unique_id"] == second)["visibility"] == ["MASQUE_PS"]
    mssgw.done("show", second, patient="PATIENT")
    mssgw.done("archive", second, patient="PATIENT")
    assert second not in {d["unique_id"] for d in mssgw.done("find", patient="PATIENT")["documents"]}
    mssgw.done("archive", second, "--undo", patient="PATIENT")
    mssgw.done("delete", second, patient="PATIENT")
    assert second not in {d["unique_id"] for d in mssgw.done("find", "--all", patient="PATIENT")["documents"]}


def test_what_is_hidden_from_the_patient_becomes_visible_once_and_for_all(mssgw, pdf):  # TD3.3b
    hidden = mssgw.done("submit", str(pdf), "--title", "Annonce", "--type", "11488-4", "--hide-from-patient", patient="PATIENT")[
        "unique_id"
    ]
    assert mssgw("show", hidden, "--to", "patient", patient="PATIENT").status == 1  # irreversible: not without a gesture
    mssgw.done("show", hidden, "--to", "patient", "--yes", patient="PATIENT")
    assert next(d for d in mssgw.done("find", patient="PATIENT")["documents"] if d["unique_id"] == hidden)["visibility"] == []


def test_lists_of_dossiers_and_professionals(mssgw):  # TD0.4, TD1.6
    mine = {d["ins"] for d in mssgw.done("list", "--since", "2020-01-01")["dossiers"]}
    assert mssgw.running.ins("TRAITANTE").value in mine
    rows = mssgw.done("professionals", patient="TRAITANTE")["professionals"]
    assert any(r["mt"] for r in rows)


def test_pro_sante_connect_consults_but_does_not_feed(mssgw, pdf):
    assert mssgw("find", patient="PATIENT", who=PSC).ok
    assert mssgw("submit", str(pdf), "--title", "T", "--type", "11490-0", patient="PATIENT", who=PSC).document["error"] == "NotEntitled"


def test_the_structure_feeds_but_does_not_consult(mssgw, pdf):
    assert mssgw("find", patient="PATIENT", who=HOSPITAL).document["error"] == "NotAuthenticated"
    assert mssgw("submit", str(pdf), "--title", "T", "--type", "11490-0", patient="PATIENT", who=HOSPITAL).ok


def test_trace_writes_every_exchange_and_production_refuses_it(mssgw, tmp_path, write_config):
    mssgw.done("exists", "--trace", str(tmp_path / "trace"), patient="PATIENT")
    names = sorted(p.name for p in (tmp_path / "trace").iterdir())
    assert any("request" in n for n in names)
    assert any("response" in n for n in names)
    mssgw.config = write_config(production=True)
    refused = mssgw("exists", "--trace", str(tmp_path / "no"), "--oid", "1.2.250.1.213.1.4.10", patient="PATIENT")
    assert refused.document["error"] == "BadSettings"


def test_for_people_the_verbs_speak_french(mssgw):
    shown = mssgw("exists", patient="TRAITANTE", text=True)
    assert "médecin traitant" in shown.text
    refused = mssgw("find", patient="NOUVEAU", text=True)
    assert refused.status == 1
    assert "Recueillez" in refused.notices
    trail = mssgw("audit", patient="NOUVEAU", text=True).text
    assert "✘ consentement" in trail


def test_an_unknown_address_is_named(mssgw):
    assert "dmp_actor" in mssgw("exists", patient="PATIENT", who="nobody@alpha.test", text=True).notices


def test_a_consultation_on_screen_ends_by_hand(mssgw):
    """The banner stands while it is open; Enter closes it."""
    command = [
        sys.executable,
        "-m",
        "mssgw",
        "dmp",
        "open",
        "--config",
        str(mssgw.config),
        "--as",
        DOCTOR,
        "--patient",
        mssgw.running.ins("NOUVEAU").value,
    ]
    command += ["--mode", "bris_de_glace", "--reason", WHY, "--yes", "--json", *mssgw.birth_date("NOUVEAU")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as shown:
        assert "Patient: NOUVEAU" in shown.stderr.readline()
        assert "BRIS DE GLACE" in shown.stderr.readline()
        assert "1.2.250.1.213.4.1.1.9." in shown.stderr.readline()  # the list follows: it is open now
        said, _ = shown.communicate("\n", timeout=60)
    ended = json.loads(said)
    assert (shown.returncode, ended["ended_by"]) == (0, "hand")
    assert mssgw.done("end")["closed"] == 0
