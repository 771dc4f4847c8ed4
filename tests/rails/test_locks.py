"""What is installed: locks with hashes and no index, a runtime lock without the tools that build it, floors at released versions."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted(ROOT.glob("requirements*.lock"))


def locked(name):
    """Lower-case names in a lock."""
    return set(re.findall(r"(?m)^([A-Za-z0-9._-]+)==", (ROOT / name).read_text()))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_hashes_and_no_index(lock):
    text = lock.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        assert re.match(r"[a-z0-9._-]+==\S+ ", line), line
        assert "--hash=sha256:" in line, line
        assert "://" not in line
        assert "-index" not in line


def test_the_runtime_lock_has_nothing_that_only_builds_or_tests():
    groups = PROJECT["dependency-groups"]
    extras = {Requirement(one).name for extra in PROJECT["project"]["optional-dependencies"].values() for one in extra}
    tools = {Requirement(one).name for one in [*groups["build"], *groups["dev"]]} - extras
    assert tools & locked("requirements.lock") == set()
    assert {Requirement(one).name for one in groups["build"]} <= locked("requirements-build.lock")


def test_floors_are_released_versions():
    project = PROJECT["project"]
    everything = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    everything += [one for group in PROJECT["dependency-groups"].values() for one in group]
    for requirement in map(Requirement, everything):
        for specifier in requirement.specifier:
            assert not Version(specifier.version).is_prerelease, requirement


def test_asn1crypto_reads_the_card_and_nothing_else():  # docs/adr/0018
    users = {
        str(path.relative_to(ROOT))
        for package in ("mssgw", "dmp_connector", "bilingual")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"(?m)^\s*(from|import) asn1crypto", path.read_text())
    }
    assert users == {"dmp_connector/card/cps.py"}
