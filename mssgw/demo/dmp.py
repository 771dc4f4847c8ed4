"""The demo's DMP: the simulator of `dmp_connector` with invented patients, one for each state the national platform knows."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from dmp_connector.paper.letters import letter
from dmp_connector.simulator.config import Person

OID = "1.2.250.1.213.1.4.10"  # the authority of test INS


def _ins(number: int) -> str:
    """Thirteen digits and their key."""
    return f"{number:013d}{97 - number % 97:02d}"


def _person(number: int, name: str, given: str, birth: str, sex: str, **state: Any) -> Person:
    return Person(
        ins=_ins(number),
        oid=OID,
        name=name,
        given=given,
        birth_date=date.fromisoformat(birth),
        sex=sex,
        birth_place=f"{number:013d}"[5:10],
        **state,
    )


PATIENTS = (
    _person(
        2790351215189, "PAT-TROIS", "DOMINIQUE", "1979-03-28", "F", authorisation="VALIDE", mt=True, rattachement_ens=True, documents=5
    ),
    _person(1460263220001, "PAT-QUATRE", "ALAIN", "1946-02-14", "M", authorisation="NON_EXISTE", rattachement_ens=True, documents=3),
    _person(2550699999114, "PAT-CINQ", "RUTH", "1955-06-11", "F", authorisation="EXPIRE", documents=2),
    _person(1810363220752, "PAT-SIX", "CLEMENT", "1981-03-02", "M", authorisation="INTERDIT", documents=2),
    _person(2880912345678, "PAT-SEPT", "OLGA", "1988-09-30", "F", state="CLOSED"),
    _person(1990675115123, "PAT-HUIT", "NOAM", "1999-06-17", "M", state="NO_DMP"),
    _person(2630533063012, "PAT-NEUF", "IRENE", "1963-05-08", "F", opposition_bris_de_glace=True, documents=1),
    _person(1720869123045, "PAT-DIX", "MARC", "1972-08-21", "M", opposition_acces_urgence=True, documents=1),
)
REGULATION = "1750712184"  # beta's structure is a SAMU-Centre 15
FIELDS = (
    "ins",
    "oid",
    "name",
    "given",
    "sex",
    "state",
    "authorisation",
    "mt",
    "opposition_bris_de_glace",
    "opposition_acces_urgence",
    "rattachement_ens",
    "documents",
    "birth_place",
)


def write_config(directory: Path, port: int) -> Path:
    """The simulator's configuration: it shows beta's relay certificate and trusts the demo's authorities."""
    home = directory / "dmp"
    home.mkdir(mode=0o700, exist_ok=True)
    lines = [
        f"port = {port}",
        'certificate = "../pki/dmp.pem"',
        'key = "../pki/dmp.key"',
        'client_anchors = "../pki/igc.pem"',
        f'regulation_structures = ["{REGULATION}"]',
        'state = "state.bin"',
    ]
    for patient in PATIENTS:
        lines += ["", "[[patients]]", f"birth_date = {patient.birth_date.isoformat()}"]
        lines += [f"{name} = {json.dumps(getattr(patient, name))}" for name in FIELDS]
    _write_props(home)
    path = home / "simulator.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def describe(port: int) -> dict[str, Any]:
    """The `dmp` part of demo.json."""
    patients = [{name: getattr(patient, name) for name in FIELDS} | {"birth_date": patient.birth_date.isoformat()} for patient in PATIENTS]
    return {"url": f"https://127.0.0.1:{port}/si-dmp-server/v2/services", "patients": patients}


def _write_props(home: Path) -> None:
    """The files that the printed commands use: a letter in PDF/A-1, and the Vitale of PAT-HUIT, who has no DMP yet."""
    written = datetime.now(UTC)
    pdf = letter("Lettre de liaison", ["Cher confrère,", "l'évolution est favorable."], at=written, author="Dr Jeanne Martin")
    (home / "lettre.pdf").write_bytes(pdf)
    who = next(p for p in PATIENTS if p.name == "PAT-HUIT")
    person = {"nir": who.ins, "rank": 1, "birth_name": who.name, "given": who.given, "birth_date": str(who.birth_date), "sex": who.sex}
    card = {"kind": "test", "serial": "DEMO0008", "beneficiaries": [person]}
    (home / "vitale.json").write_text(json.dumps(card, indent=2) + "\n", "utf-8")


def commands(directory: Path, actor: str) -> list[str]:
    """Five commands to be copied into a shell: does the DMP exist, what is in it, read one document, file one, create a DMP."""
    beside = Path(sys.executable).with_name("mssgw")
    program, patient = shlex.quote(str(beside)) if beside.is_file() else "mssgw", PATIENTS[0].ins
    home = shlex.quote(str(directory / "dmp"))
    who = f"-c {shlex.quote(str(directory / 'alpha' / 'mssgw.toml'))} --as {actor}"
    of = f"{who} --patient {patient}"
    first = f"1.2.250.1.213.4.1.1.9.{patient[:13]}.1"
    return [
        f"{program} dmp exists {of}",
        f"{program} dmp find {of} --all",
        f"{program} dmp get {of} {first} --as-form html --overwrite -o {home}/document.html",
        f"{program} dmp submit {of} {home}/lettre.pdf --title 'Lettre de liaison' --type 11490-0 --yes",
        f"{program} dmp create {who} --vitale {home}/vitale.json --consent oral --no-account --yes --overwrite -o {home}/confirmation.pdf",
    ]
