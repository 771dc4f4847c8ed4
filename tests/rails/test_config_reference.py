"""`config/mssgw.toml` is generated from the settings; it may not lag behind them."""

import tomllib
from pathlib import Path

from mssgw.core.config import parse
from mssgw.core.config.reference import reference

FILE = Path(__file__).parents[2] / "config" / "mssgw.toml"


def test_file_is_what_the_settings_say():
    assert FILE.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_every_setting_has_a_sentence():
    lines = reference().splitlines()
    for number, line in enumerate(lines):
        if " = " in line and line.removeprefix("#").split(" = ")[0].isidentifier():
            assert lines[number - 1].startswith("# "), line


def test_nothing_in_it_is_in_force():
    assert tomllib.loads(reference()) == {}


def test_without_its_marks_it_is_a_configuration_that_loads(tmp_path):
    shown = "\n".join(line.removeprefix("#") for line in reference().splitlines() if not line.startswith("# ") and not line.endswith("="))
    for empty, given in (("networks = []", 'networks = ["10.0.0.0/8"]'), ('tion = "structure"', 'tion = "card"')):
        shown = shown.replace(empty, given)
    found = parse(shown, tmp_path)
    assert found.domain[0].name == "hospital.example"
