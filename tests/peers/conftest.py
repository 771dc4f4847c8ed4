"""One demo for all the programs by others."""

import pytest

from tests.world import World, free_base


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world") / "demo", free_base()).start()
    yield world
    world.stop()
