"""The command line with a card in the reader: actor, keys and TLS come from the card."""

from __future__ import annotations

import json
import os
from datetime import date

import pytest
from typer.testing import CliRunner

from dmp_connector.model import Sex
from dmp_connector.simulator import Simulator
from dmp_connector.simulator.server import in_thread
from mssgw.cli.dmp import app
from mssgw.cli.dmp.session import ask_pin
from mssgw.core.config import load
from mssgw.dossier import DmpService
from tests.dmp.cli.conftest import table
from tests.needs import peer

from .conftest import SOFTHSM


@pytest.fixture
@peer("stunnel4")
def config(simulator, cps, tmp_path):
    _, port = simulator
    text = '[node]\nhostname = "mx.alpha.test"\ndata = "data"\n[seal]\nmaster_key = "file:master"\n[trust]\nanchors = "anchors"\n'
    text += '[[domain]]\nname = "alpha.test"\n'
    dmp = {"url": f"https://localhost:{port}/si-dmp-server/v2/services", "anchors": "ca.pem", "card_module": str(SOFTHSM)}
    actor = {
        "address": "jeanne@alpha.test",
        "id": "0",
        "family": "AUTRE",
        "given": "NOM",
        "structure_id": "1750000001",
        "structure_name": "x",
    }
    (tmp_path / "master").write_bytes(b"m" * 32)
    path = tmp_path / "mssgw.toml"
    path.write_text(text + table("dmp", dmp) + table("[dmp_actor]", {**actor, "authentication": "card"}))
    return path


def run(config, *command: str, pin: str = "") -> tuple[int, dict]:
    reading, writing = os.pipe()
    os.write(writing, pin.encode() + b"\n")
    os.close(writing)
    ran = CliRunner().invoke(app, [*command, "--config", str(config), "--json"], env={"MSSGW_PIN_FD": str(reading)})
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran.exit_code, json.loads(ran.stdout.splitlines()[-1].replace("\N{NO-BREAK SPACE}", " "))


def test_the_cards_data_and_keys_replace_those_of_the_configuration(config, cps, simulator):
    running, _ = simulator
    patient = next(p for p in running.config.patients if p.name == "PATIENT")
    status, found = run(config, "exists", "--as", "jeanne@alpha.test", "--patient", patient.ins, pin=cps.pin)
    assert (status, found["state"], found["authorisation"]) == (0, "ACTIVE", "VALIDE")
    _, trail = run(config, "audit", "--as", "jeanne@alpha.test", pin=cps.pin)
    last = trail["audit"][-1]
    assert last["who"] == "899700367909"  # the card's, not the configuration's (EX_2.1-1140)
    assert last["structure"] == "1750000001"  # the place of work the configuration chose among the card's


def test_a_wrong_pin_is_a_sentence(config, cps):
    status, refused = run(config, "exists", "--as", "jeanne@alpha.test", "--patient", "279035121518989", pin="0000")
    assert status == 1
    assert refused["error"] == "WrongPin"
    assert "Essais restants" in refused["sentence"]


def test_the_card_shows_itself_and_the_doctor_sees_it(config, cps):
    status, shown = run(config, "card")
    assert (status, shown["family"], shown["speciality"], shown["staff_card"]) == (0, "MARTIN", "SM26", False)
    _, report = run(config, "doctor")
    checks = {c["name"]: c for c in report["checks"]}
    assert checks["carte professionnelle"]["holds"]
    assert "essais restants : 3" in checks["carte professionnelle"]["seen"]
    assert checks["stunnel"]["holds"]


async def test_insi_has_a_relay_of_its_own_with_the_cards_key(config, cps, simulator, tmp_path, monkeypatch):
    """Regression: through the DMP's relay a question to INSi went to the DMP's host."""
    running, _ = simulator
    with in_thread(Simulator(running.config)) as other:
        added = f'[dmp]\ninsi_url = "https://localhost:{other}/insi"\ninsi_authorisation = "I"\n'
        config.write_text(config.read_text().replace("[dmp]\n", added) + 'billing_id = "991130972"\n')
        reading, writing = os.pipe()
        os.write(writing, cps.pin.encode() + b"\n")
        os.close(writing)
        monkeypatch.setenv("MSSGW_PIN_FD", str(reading))
        service = DmpService(load(config), config)
        traces = tmp_path / "traces"
        async with service.session("jeanne@alpha.test", pin=ask_pin, trace=traces) as opened, opened.core.insi() as insi:
            found = await insi.by_traits("Patient", "Marie", Sex.F, date(1979, 3, 28))
            assert found.require_found().ins.value == next(p for p in running.config.patients if p.name == "PATIENT").ins
            assert opened.core.relay.running
            (asked,) = traces.glob("*INSi*request*")
            holder = opened.core.actor.practitioner.id.encode()
    assert b'<saml2:NameID NameQualifier="CPS">' + holder in asked.read_bytes()  # signed by the card: the simulator has verified it
