"""`mssgw dmp` as a user meets it: a configuration file, the running simulator, the verbs through typer."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main
import typer.testing
from typer.testing import CliRunner

from mssgw.cli.dmp import app
from tests.dmp.conftest import Running
from tests.dmp.nodes import DOCTOR, HOSPITAL, OTHER, PSC, SAMU, table

__all__ = ["DOCTOR", "HOSPITAL", "OTHER", "PSC", "SAMU", "Mssgw", "table"]


@pytest.fixture(scope="session", autouse=True)
def commands_made_once() -> Iterator[None]:
    """The runner makes every command of the family anew for each call, as a process does once: 25 ms each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(typer.main.get_command))
        yield


EMERGENCIES = {"bris_de_glace", "centre_15"}


@dataclass
class Outcome:
    status: int
    document: Any
    notices: str
    text: str

    @property
    def ok(self) -> bool:
        return self.status == 0


@dataclass
class Mssgw:
    """The command, with what every call shares."""

    config: Path
    running: Running

    def __call__(
        self,
        name: str,
        *arguments: str,
        who: str = DOCTOR,
        patient: str | None = None,
        text: bool = False,
        stdin: str = "",
        blind: bool = False,
    ) -> Outcome:
        """`blind`: without the birth date, which whoever opens an emergency with --yes has to know."""
        words = self.words(name, *arguments, who=who, patient=patient, text=text, blind=blind)
        ran = CliRunner().invoke(app, words, input=stdin)
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        stdout, stderr = (output.replace("\N{NO-BREAK SPACE}", " ") for output in (ran.stdout, ran.stderr))  # easier to compare with
        lines = [line for line in stdout.splitlines() if line]
        return Outcome(ran.exit_code, None if text else json.loads(lines[-1]) if lines else None, stderr, stdout)

    def words(self, name: str, *arguments: str, who: str, patient: str | None, text: bool, blind: bool) -> list[str]:
        command = [name, "--config", str(self.config), "--as", who]
        if patient is not None:
            command += ["--patient", self.running.ins(patient).value]
        if patient is not None and "--yes" in arguments and EMERGENCIES & set(arguments) and not blind:
            command += self.birth_date(patient)
        return [*command, *([] if text else ["--json"]), *arguments]

    def birth_date(self, patient: str) -> tuple[str, str]:
        return "--birth-date", next(p.birth_date for p in self.running.simulator.config.patients if p.name == patient).isoformat()

    def done(self, name: str, *arguments: str, **options: Any) -> Any:
        outcome = self(name, *arguments, **options)
        assert outcome.ok, (outcome.document, outcome.notices)
        return outcome.document

    def audit(self, patient: str, who: str = DOCTOR) -> list[tuple[str, str]]:
        return [(r["what"], r["outcome"]) for r in self.done("audit", patient=patient, who=who)["audit"]]


@pytest.fixture
def mssgw(write_config, dmp_running: Running) -> Mssgw:
    return Mssgw(write_config(), dmp_running)
