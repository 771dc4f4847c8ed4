"""`config/mssgw.toml` is generated from the settings; it may not lag behind them."""

import tomllib
from pathlib import Path

from mssgw.core.config.reference import reference

FILE = Path(__file__).parents[2] / "config" / "mssgw.toml"


def test_file_is_what_the_settings_say():
    assert FILE.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_every_setting_has_a_sentence():
    lines = reference().splitlines()
    for number, line in enumerate(lines):
        if " = " in line and line.removeprefix("# ").split(" = ")[0].isidentifier():
            assert lines[number - 1].startswith("# "), line


def test_reference_is_toml():
    assert "node" in tomllib.loads(reference())
