"""One demo for all the programs by others; a missing program skips its tests, or fails them with MSSGW_REQUIRE_PEERS=1."""

import os
import shutil
from pathlib import Path

import pytest

from tests.world import World, free_base


@pytest.fixture(autouse=True)
def _program_is_there(request):
    for marker in request.node.iter_markers("peer"):
        for program in marker.args:
            if not (shutil.which(program) or shutil.which(program, path="/usr/sbin") or Path(program).exists()):
                if os.environ.get("MSSGW_REQUIRE_PEERS"):
                    pytest.fail(f"{program} is missing; `tests/peers/install` as root installs it")
                pytest.skip(f"without {program}")


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world") / "demo", free_base()).start()
    yield world
    world.stop()
