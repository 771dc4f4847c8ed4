"""`mssgw dmp` as a user meets it: a configuration file, the running simulator, the verbs through typer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mssgw.cli.dmp import app
from tests.dmp.conftest import RPPS, STRUCTURE, Running

DOCTOR, OTHER, SAMU, HOSPITAL, PSC = "jeanne@alpha.test", "paul@alpha.test", "samu@alpha.test", "hopital@alpha.test", "psc@alpha.test"
_ACTORS = {
    DOCTOR: {"id": RPPS, "family": "MARTIN", "given": "JEANNE", "structure_id": STRUCTURE, "authentication": "card"},
    OTHER: {"id": "899700000017", "family": "PETIT", "given": "PAUL", "structure_id": "10B0000077", "authentication": "card"},
    SAMU: {
        "id": "899700000025",
        "family": "REGULATEUR",
        "given": "ANNE",
        "structure_id": "10B0000015",
        "authentication": "card",
        "sector": "SA01",
    },
    HOSPITAL: {"id": "899700000033", "family": "AUTOMATE", "given": "X", "structure_id": STRUCTURE, "authentication": "structure"},
    PSC: {"id": RPPS, "family": "MARTIN", "given": "JEANNE", "structure_id": STRUCTURE, "authentication": "psc"},
}


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
        self, name: str, *arguments: str, who: str = DOCTOR, patient: str | None = None, text: bool = False, stdin: str = ""
    ) -> Outcome:
        command = [name, "--config", str(self.config), "--as", who]
        if patient is not None:
            command += ["--patient", self.running.ins(patient).value]
        if not text:
            command.append("--json")
        ran = CliRunner().invoke(app, [*command, *arguments], input=stdin)
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        lines = [line for line in ran.stdout.splitlines() if line]
        return Outcome(ran.exit_code, None if text else json.loads(lines[-1]) if lines else None, ran.stderr, ran.stdout)

    def done(self, name: str, *arguments: str, **options: Any) -> Any:
        outcome = self(name, *arguments, **options)
        assert outcome.ok, (outcome.document, outcome.notices)
        return outcome.document

    def audit(self, patient: str, who: str = DOCTOR) -> list[tuple[str, str]]:
        return [(r["what"], r["outcome"]) for r in self.done("audit", patient=patient, who=who)["audit"]]


def table(name: str, values: dict[str, Any]) -> str:
    return f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items())


@pytest.fixture
def write_config(tmp_path: Path, dmp_running: Running):
    """write_config(legacy_dossier_management=False, ...) -> the file."""

    def write(actors: dict[str, dict[str, str]] | None = None, **changes: Any) -> Path:
        settings, keys = dmp_running.settings, dmp_running.settings.certificate.parent
        dmp = {
            "url": settings.url,
            "anchors": str(settings.anchors),
            "certificate": str(settings.certificate),
            "key": f"file:{settings.key}",
            "insi_url": settings.url.split("/si-dmp-server")[0] + "/insi",
            "insi_authorisation": "IDAM",
            "legacy_dossier_management": True,
            "regulation_structures": ["10B0000015"],
            **changes,
        }
        dmp = {k: v for k, v in dmp.items() if v is not None}
        text = '[node]\nhostname = "mx.alpha.test"\ndata = "data"\n[seal]\nmaster_key = "file:master"\n[trust]\nanchors = "anchors"\n'
        text += '[[domain]]\nname = "alpha.test"\n' + table("dmp", dmp)
        for address, values in (actors or _ACTORS).items():
            signing = {} if values.get("key") == "" else {"certificate": str(keys / "seal.pem"), "key": f"file:{keys / 'seal.key'}"}
            actor = {k: v for k, v in values.items() if v != ""}
            text += table("[dmp_actor]", {"address": address, "structure_name": "HOPITAL TEST", "speciality": "SM26"} | actor | signing)
        (tmp_path / "master").write_bytes(b"m" * 32)
        path = tmp_path / "mssgw.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def mssgw(write_config, dmp_running: Running) -> Mssgw:
    return Mssgw(write_config(), dmp_running)
