"""Everyone whom the demo lets act in the DMP can sign there, and a key of another kind is named by `config check`."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dmp_connector.card.vitale import parse_card
from dmp_connector.signer import Algorithm, FileSigner
from mssgw.core.config import load
from mssgw.demo import cast, stage
from mssgw.demo.dmp import PATIENTS, commands, write_config
from mssgw.node.remarks import remarks
from tests.problems import english

BASE = 24_200


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo")
    cast.make(directory, BASE)
    for operator in cast.OPERATORS:
        stage.write_config(directory, operator, BASE, 1, None)
    return directory


@pytest.mark.parametrize("operator", [operator.name for operator in cast.OPERATORS])
def test_every_actor_of_the_demo_can_sign_for_the_dmp(demo, operator):
    config = load(demo / operator / "mssgw.toml")
    assert config.dmp_actor
    for actor in config.dmp_actor:
        assert actor.certificate is not None
        assert actor.key is not None
        assert FileSigner.load(actor.certificate, actor.key.path).sign(b"x", Algorithm.RSA_SHA256)
    assert not [path for path, _ in english(remarks(config, datetime.now(UTC))) if path.startswith("dmp_actor")]


def test_config_check_names_an_actor_whose_key_cannot_sign(demo):
    path = demo / "beta" / "mssgw.toml"
    other = path.with_name("elliptic.toml")
    other.write_text(path.read_text().replace("anne.leroy-dmp", "anne.leroy"))
    (said,) = [sentence for where, sentence in english(remarks(load(other), datetime.now(UTC))) if where.startswith("dmp_actor")]
    assert said.startswith("anne.leroy@beta.mssante.test")
    assert "RSA" in said


ROOT = Path(__file__).parents[2]
MARTIN = "jeanne.martin@alpha.mssante.test"


def test_readme_shows_the_commands_that_the_demo_prints():
    """The commands themselves are run elsewhere; here README and demo must print the same ones."""
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    shown = [line.split()[1:] for line in lines if line.startswith("    .venv/bin/mssgw dmp")]
    assert shown == [line.split()[1:] for line in commands(Path(".demo"), MARTIN)]


def test_what_the_printed_commands_take_in_hand_is_there(tmp_path):
    write_config(tmp_path, BASE)
    words = [word for line in commands(tmp_path, MARTIN) for word in shlex.split(line)]
    taken = [Path(word) for word in words if word.endswith(("/lettre.pdf", "/vitale.json"))]
    assert len(taken) == 2
    for path in taken:
        assert path.is_file()
    example = (ROOT / "config" / "dmp" / "vitale-example.json").read_bytes()
    for content in (example, (tmp_path / "dmp" / "vitale.json").read_bytes()):
        patient = parse_card(content).beneficiary(1).as_patient(PATIENTS[0].oid)
        assert patient.ins.value in {p.ins for p in PATIENTS if p.state == "NO_DMP"}
