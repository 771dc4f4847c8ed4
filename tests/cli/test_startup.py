"""What a verb loads before it does anything: the time of a verb is the time of its imports."""

import subprocess
import sys

import pytest

from mssgw import store
from mssgw.core.config import load

UNNEEDED = {
    "alembic": "nothing is to be migrated",
    "structlog": "a verb writes no log",
    "rich": "nothing is drawn but help",
    "lxml": "no XML is read",
    "aiosmtpd": "nobody is served",
}


@pytest.mark.parametrize("verb", [("account", "list"), ("check",), ("queue", "list")])
def test_a_verb_on_the_store_loads_only_what_it_needs(node, verb):
    store.migrate(load(node.config))
    command = [sys.executable, "-X", "importtime", "-m", "mssgw", *verb, "--config", node.config]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines() if line.startswith("import time:")}
    assert {"sqlalchemy", "mssgw"} <= loaded
    assert not loaded & UNNEEDED.keys()
