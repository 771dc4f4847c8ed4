"""One demo for all the programs by others; a card daemon for each file that has a card in it."""

from collections.abc import Iterator

import pytest

from tests.needs import peer, root
from tests.peers.readers import DRIVER, Readers
from tests.world import World, free_base


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world") / "demo", free_base()).start()
    yield world
    world.stop()


@pytest.fixture(scope="module")
@peer("pcscd", DRIVER, "opensc-tool", "unshare")
@root("a card daemon of one's own")
def readers() -> Iterator[Readers]:
    found = Readers()
    try:
        found.start()
        yield found
    finally:
        found.stop()
