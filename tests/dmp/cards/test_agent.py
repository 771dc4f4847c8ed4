"""The agent with a card: the PIN is typed once, and the card pulled ends the session."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from dmp_connector.card.readers import slots
from dmp_connector.card.simulated import SimulatedCard
from mssgw.dossier import documents
from tests.dmp.cli.agents import command, running

from .conftest import VITALE, until
from .test_cli import config

__all__ = ["config"]
ADDRESS = "jeanne@alpha.test"


def run(config, name: str, *more: str, pin: str = "") -> tuple[int, str]:
    """Status and what was printed; without a PIN there is nobody to type one."""
    variables, passed = dict(os.environ), []
    if pin:
        reading, writing = os.pipe()
        os.write(writing, pin.encode() + b"\n")
        os.close(writing)
        variables["MSSGW_PIN_FD"], passed = str(reading), [reading]
    ran = subprocess.run(
        command(config, name, "--as", ADDRESS, *more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=variables,
        pass_fds=passed,
    )
    for one in passed:
        os.close(one)
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.peer("stunnel4")
def test_the_pin_is_typed_once_and_again_when_the_card_was_pulled(config, cps, simulator, pcscd, monkeypatch):
    until(lambda: not next(s for s in slots() if "Virtual PCD" in s.name).atr, "an empty reader")
    physical = SimulatedCard(VITALE)  # the virtual reader sees a card come and go; SoftHSM does its cryptography
    slot = until(lambda: next((s for s in slots() if s.atr), None), "the card in its reader")
    monkeypatch.setattr(documents, "slot_of", lambda part: slot)
    whose = ("--patient", next(p.ins for p in simulator[0].config.patients if p.name == "PATIENT"))
    with running(config) as agent:
        status, said = run(config, "exists", *whose)
        assert (status, "MSSGW_PIN_FD" in said) == (2, True), said
        status, said = run(config, "exists", *whose, pin="0000")
        assert status == 1
        assert "PIN" in said
        status, said = run(config, "find", *whose, pin=cps.pin)
        assert status == 0, said
        status, said = run(config, "exists", *whose, "--json")
        assert (status, json.loads(said)["state"]) == (0, "ACTIVE")
        physical.pull()
        until(lambda: not agent._status()["sessions"], "the end of the session")
        status, said = run(config, "exists", *whose)
        assert (status, "MSSGW_PIN_FD" in said) == (2, True), said
        assert agent.acts == 5
        status, said = run(config, "audit", "--json", pin=cps.pin)
        rows = json.loads(said)["audit"]
    closed = next(r for r in rows if (r["what"], r["outcome"]) == ("consultation", "closed"))
    assert closed["facts"]["by"] == "card removed"


def test_a_card_that_cannot_be_watched_is_asked_for_its_pin_by_each_verb(config, cps, simulator):
    whose = ("--patient", next(p.ins for p in simulator[0].config.patients if p.name == "PATIENT"))
    with running(config) as agent:
        assert run(config, "exists", *whose, pin=cps.pin)[0] == 0
        assert run(config, "exists", *whose)[0] == 2
        assert run(config, "exists", *whose, pin=cps.pin)[0] == 0
        assert agent.acts == 3
