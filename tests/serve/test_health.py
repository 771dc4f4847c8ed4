"""/health of a running node, with its database stopped and started again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.world import World, free_base, until

pytestmark = [pytest.mark.slow, pytest.mark.peer("/usr/lib/postgresql/15/bin/initdb")]


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    with postgres.cluster() as one:
        yield one


@pytest.fixture
def world(tmp_path: Path, cluster: postgres.Cluster) -> Iterator[World]:
    one = World(tmp_path / "world", free_base(), options=("--store", cluster.url(cluster.create()))).start()
    yield one
    one.stop()


def asked(world: World, path: str) -> tuple[int, dict[str, str]]:
    url = f"http://127.0.0.1:{world.base + 16}{path}"  # alpha's metrics
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except urllib.error.URLError:  # nobody listens yet
        return 0, {}


def test_503_while_the_database_is_stopped_and_200_after(world: World, cluster: postgres.Cluster) -> None:
    well = (200, {"status": "ready", "store": "ok", "list": "ok", "disk": "ok"})
    until("200", lambda: asked(world, "/health") == well)
    cluster.down()
    try:
        until("503", lambda: asked(world, "/health") == (503, {"status": "not-ready", "store": "unavailable", "list": "ok", "disk": "ok"}))
        assert asked(world, "/health/live") == (200, {"status": "live"})
        assert asked(world, "/health/ready")[0] == 503
        config = str(world.path("alpha/mssgw.toml"))
        checked = subprocess.run(
            [sys.executable, "-m", "mssgw", "config", "check", config], capture_output=True, text=True, check=False, env=os.environ
        )
        assert checked.returncode == 1
        assert "node.store: the database does not answer" in checked.stderr
    finally:
        cluster.up()
    until("200", lambda: asked(world, "/health") == well)
