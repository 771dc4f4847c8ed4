"""A signal ends a verb in order: a sentence, an audit row, status 128 + signal, and no consultation left open."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .conftest import DOCTOR
from .test_scenarios import vitale

WHY = "Patient inconscient aux urgences"


def command(mssgw, name: str, *more: str, patient: str = "NOUVEAU") -> list[str]:
    whose = ["--patient", mssgw.running.ins(patient).value] if patient else []
    return [sys.executable, "-m", "mssgw", "dmp", name, "--config", str(mssgw.config), "--as", DOCTOR, *whose, *more]


@contextmanager
def started(words: list[str], stdin: int) -> Iterator[subprocess.Popen]:
    """A verb as a terminal starts it: `nohup` around the tests made it ignore SIGHUP, which it inherits. Killed when the block ends."""
    with subprocess.Popen(
        words,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGHUP, signal.SIGINT)],
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def interrupted(ran: subprocess.Popen, until: str, number: int) -> str:
    """Read until the words appear, then send the signal once. Returns everything that was printed."""
    shown = b""
    while until.encode() not in shown:
        read = os.read(ran.stderr.fileno(), 4096)
        assert read, shown.decode()
        shown += read
    ran.send_signal(number)
    try:
        out, err = ran.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        ran.kill()  # else leaving the block would wait for it without end
        raise
    return (shown + err + out).decode().replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("mode", ["bris_de_glace", "normal"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_watched_consultation_is_closed_by_a_signal(mssgw, number, mode):
    patient = "NOUVEAU" if mode == "bris_de_glace" else "PATIENT"
    more = ("--mode", mode, "--reason", WHY, "--yes", *mssgw.birth_date(patient))
    with started(command(mssgw, "open", *more, patient=patient), subprocess.PIPE) as ran:
        shown = interrupted(ran, "Entrée pour fermer", number)
    assert ran.returncode == 128 + number, shown
    assert "Interrompu" in shown
    assert "Traceback" not in shown
    assert mssgw.done("end")["closed"] == 0
    rows = mssgw.done("audit", patient=patient)["audit"]
    assert [(r["what"], r["outcome"]) for r in rows[-2:]] == [("consultation", "closed"), ("open_consultation", "interrupted")]
    assert rows[-2]["facts"]["by"] == "signal"


def test_one_ctrl_c_at_a_question_ends_the_verb(mssgw):
    person, terminal = pty.openpty()
    with started(command(mssgw, "authorise"), terminal) as ran:
        os.close(terminal)
        shown = interrupted(ran, "[oui/non]", signal.SIGINT)
        os.close(person)
    assert ran.returncode == 130, shown
    assert "Interrompu ; rien n'a été envoyé." in shown
    assert mssgw.audit("NOUVEAU")[-1] == ("authorise", "interrupted")
    assert mssgw.done("exists", patient="NOUVEAU")["authorisation"] == "NON_EXISTE"


def test_a_creation_interrupted_at_its_question_names_the_command_to_resume(mssgw, tmp_path):
    person, terminal = pty.openpty()
    more = ("--vitale", vitale(mssgw, tmp_path, "SANSDOSSIER"), "--consent", "oral", "-o", str(tmp_path / "lettre.pdf"))
    with started(command(mssgw, "create", "--no-account", *more, patient=""), terminal) as ran:
        os.close(terminal)
        shown = interrupted(ran, "[oui/non]", signal.SIGINT)
        os.close(person)
    assert ran.returncode == 130, shown
    begun = next(r for r in mssgw.done("audit")["audit"] if (r["what"], r["outcome"]) == ("creation", "started"))
    assert f"--resume {begun['facts']['creation']}" in shown
    assert ("create", "interrupted") in [(r["what"], r["outcome"]) for r in mssgw.done("audit")["audit"]]
