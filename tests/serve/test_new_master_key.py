"""A new master key for a node that runs with several processes, as docs/operations.md writes it: no mail is refused or lost."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from tests.world import World, free_base, until

pytestmark = pytest.mark.slow
WORKERS = 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    one = World(tmp_path_factory.mktemp("master-key") / "world", free_base(), ("--workers", str(WORKERS))).start()
    yield one
    one.stop()


@pytest.fixture(autouse=True)
def _one_key(world: World):
    """Each test begins with one master key, which it calls `master.key`; the next one is made."""
    made = world.verb("seal", "new-key", str(world.path("alpha/next.key")))
    assert made.returncode == 0, made.stderr
    yield
    shutil.move(world.path("alpha/next.key"), world.path("alpha/master.key"))
    keys(world, "master.key")
    reload(world)


def keys(world: World, master: str, former: str | None = None) -> None:
    """Write into the configuration which keys there are."""
    path = world.path("alpha/mssgw.toml")
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("master_key", "former_key"))]
    at = lines.index("[seal]") + 1
    lines[at:at] = [f'master_key = "file:{master}"', *([f'former_key = "file:{former}"'] if former else [])]
    path.write_text("\n".join(lines) + "\n")


def events(world: World, read: int) -> list[str]:
    lines = world.path("log/alpha.log").read_bytes()[read:].decode().splitlines(keepends=True)
    return [json.loads(line)["event"] for line in lines if line.startswith("{") and line.endswith("\n")]


def logged(world: World) -> int:
    return world.path("log/alpha.log").stat().st_size


def reload(world: World) -> None:
    """Every worker has taken up the configuration."""
    read = logged(world)
    os.kill(world.operator("alpha")["pid"], signal.SIGHUP)
    until("each worker's reload", lambda: events(world, read).count("node.config_reloaded") == WORKERS)
    assert "queue.stopped" not in events(world, read)


def restarted(world: World) -> None:
    """Each worker is killed, and another one is ready in its place: it reads keys and configuration as they are now."""
    read = logged(world)
    for pid in world.workers("alpha"):
        os.kill(pid, signal.SIGKILL)
    until("new workers", lambda: events(world, read).count("node.started") == WORKERS)


def verb(world: World, *arguments: str) -> str:
    done = world.verb(*arguments, operator="alpha")
    assert done.returncode == 0, done.stderr
    return done.stdout


def works(world: World) -> None:
    """Mail is taken, carried, and read again at both ends; what was kept before is read too."""
    there, here = len(world.received()), len(world.received("alpha", "jeanne.martin"))
    with world.submission() as client:
        client.send_message(world.message())
        client.send_message(world.message(to=world.martin["address"]))
    until("the mail at beta", lambda: len(world.received()) == there + 1)
    until("the mail at alpha", lambda: len(world.received("alpha", "jeanne.martin")) == here + 1)
    with world.reader("alpha", "jeanne.martin") as client:
        bodies = client.fetch("1:*", "(BODY.PEEK[TEXT])")[1]
    assert len([one for one in bodies if isinstance(one, tuple) and one[1]]) == here + 1


def test_by_the_page(world: World) -> None:
    works(world)
    keys(world, "next.key", "master.key")
    reload(world)
    works(world)
    assert "under the new master key" in verb(world, "seal", "rotate")
    works(world)
    assert "remove former_key" in verb(world, "seal", "rotate", "--retire")
    keys(world, "next.key")
    reload(world)
    works(world)
    restarted(world)
    works(world)
    verb(world, "check")


def test_rotated_before_the_node_was_reloaded(world: World) -> None:
    """Workers that know the old key alone read and take mail; one that is started meanwhile finds both keys."""
    works(world)
    keys(world, "next.key", "master.key")
    verb(world, "seal", "rotate")
    works(world)
    restarted(world)
    works(world)
    verb(world, "seal", "rotate", "--retire")
    verb(world, "check")


def test_the_former_key_taken_out_too_early_stops_nothing_that_runs(world: World) -> None:
    """Not rotated yet: the reload is refused in each worker, and the old stays in force."""
    keys(world, "next.key")
    read = logged(world)
    os.kill(world.operator("alpha")["pid"], signal.SIGHUP)
    until("each worker's refusal", lambda: events(world, read).count("node.config_refused") == WORKERS)
    works(world)
    keys(world, "next.key", "master.key")
    reload(world)
    verb(world, "seal", "rotate")
    works(world)
