"""The library without the program: the example runs where `mssgw` cannot be imported, and a wheel of its own holds all it needs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import dmp_connector
from dmp_connector.model import AvailabilityStatus, Visibility

ROOT = Path(dmp_connector.__file__).parents[1]
EXAMPLE = ROOT / "docs" / "examples" / "dmp_alone.py"
ALONE = "import runpy, sys; sys.modules['mssgw'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"


def run(*arguments: object, code: str = ALONE, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, str(EXAMPLE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_the_example_asks_the_dmp_without_mssgw(dmp_running, dmp_keys):
    ran = run(dmp_running.settings.url, dmp_keys.directory, dmp_running.ins("PATIENT").value)
    assert ran.returncode == 0, ran.stderr
    state, *titles = ran.stdout.splitlines()
    assert state == "ACTIVE"
    current = [s.current for s in dmp_running.record("PATIENT").documents.current()]
    visible = {e.title for e in current if e.status is AvailabilityStatus.APPROVED and Visibility.MASKED not in e.visibility}
    assert {title.partition(" ")[2] for title in titles} == visible


def test_a_refusal_is_a_sentence_there_too(dmp_running, dmp_keys):
    ran = run(dmp_running.settings.url, dmp_keys.directory, "279035121518900")
    assert ran.returncode == 1
    assert "INS" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.package("hatchling")
def test_the_wheel_of_the_library_holds_all_that_the_example_needs(dmp_running, dmp_keys, tmp_path):
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        ROOT / "dmp_connector",
    ]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = tmp_path.glob("dmp_connector-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert not [name for name in packed.namelist() if name.startswith("mssgw/") or "__pycache__" in name]
        packed.extractall(tmp_path / "site")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); {ALONE}; import dmp_connector, bilingual, dmp_connector.codes as codes; "
    code += "codes.load(); print(dmp_connector.__file__); print(bilingual.__file__)"
    ran = run(dmp_running.settings.url, dmp_keys.directory, dmp_running.ins("PATIENT").value, code=code, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert [Path(line).relative_to(tmp_path / "site").parts[0] for line in ran.stdout.splitlines()[-2:]] == ["dmp_connector", "bilingual"]


def test_the_library_asks_for_nothing_that_mssgw_does_not_ask_for():
    """Two lists of requirements: the floors are the same in both."""
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    its = tomllib.loads((ROOT / "dmp_connector" / "pyproject.toml").read_text("utf-8"))["project"]
    known = set(ours["dependencies"]).union(*ours["optional-dependencies"].values())
    assert set(its["dependencies"]).union(*its["optional-dependencies"].values()) - known == set()
