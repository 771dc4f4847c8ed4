"""The groups of tests that several processes share: what there is one of is used by one process."""

from __future__ import annotations

import subprocess
import sys

from tests.groups import ROOT, group


def test_files_that_share_a_daemon_are_one_group() -> None:
    assert group("tests/dmp/cards/test_vitale.py") == group("tests/dmp/cards/test_consultation_by_card.py") == "pcscd"
    assert group("tests/peers/test_raw_relay.py") == group("tests/peers/test_swaks_submission.py") == "world"
    assert group("tests/trust/test_service.py") == "tests/trust/test_service.py"


def test_a_file_runs_in_one_process(tmp_path) -> None:
    """Marks `xdist_group` were lost in silence under a newer pytest."""
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text(
            "import os, pathlib, pytest\n"
            "@pytest.mark.parametrize('n', range(6))\n"
            "def test(n, worker_id):\n"
            f"    with open({str(tmp_path)!r} + '/{name}.log', 'a') as log: log.write(worker_id + '\\n')\n"
        )
    (tmp_path / "conftest.py").write_text(
        "import tests.groups\ntests.groups.ROOT = __import__('pathlib').Path('/')\n\n"
        "def pytest_configure(config): config.pluginmanager.register(tests.groups)\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadscope", "-p", "no:cacheprovider", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "12 passed" in done.stdout, done.stdout + done.stderr
    for name in ("test_a.py", "test_b.py"):
        assert len(set((tmp_path / f"{name}.log").read_text().split())) == 1
