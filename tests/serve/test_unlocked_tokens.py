"""A professional's card (SoftHSM) in a node with two workers: unlocked once, it outlives a worker; a wrong PIN costs one try and nothing else."""

from __future__ import annotations

import datetime
import json
import os
import signal
import smtplib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.smime.people import Authority
from tests.smime.test_tokens import MODULE
from tests.world import World, descendants, free_base, until

pytestmark = [pytest.mark.slow, pytest.mark.peer("softhsm2-util", "/usr/lib/softhsm/libsofthsm2.so" if MODULE is None else str(MODULE))]
WORKERS = 2
PIN, WRONG = "90417263", "31620795"
REFERENCE = f"pkcs11:token=card;object=sign?module-path={MODULE}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("unlocked")
    (home / "tokens").mkdir()
    config = home / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {home / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    environment = {"SOFTHSM2_CONF": str(config)}
    one = World(home / "world", free_base(), ("--workers", str(WORKERS)), environment).start()
    who = Authority().issue(
        "rsa",
        one.martin["address"],
        start=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        end=datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC),
    )
    pem, key = who.write(home, "her")
    for arguments in (
        ("--init-token", "--free", "--label", "card", "--pin", PIN, "--so-pin", "12345678"),
        ("--import", str(key), "--token", "card", "--label", "sign", "--id", "01", "--pin", PIN),
    ):
        subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True, env=os.environ | environment)
    added = identity(one, "add", one.martin["address"], str(pem), "--token", REFERENCE, "--pin-stdin", given=PIN)
    assert added["state"] == "active"
    yield one
    one.stop()


def identity(world: World, *arguments: str, given: str = "", status: int = 0) -> dict[str, Any]:
    command = [sys.executable, "-m", "mssgw", "identity", *arguments, "--json", "--config", str(world.path("alpha/mssgw.toml"))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, input=given + "\n", env=os.environ | world.environment
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert PIN not in done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def unlock(world: World, given: str, status: int = 0) -> dict[str, Any]:
    return identity(world, "unlock", world.martin["address"], "--pin-stdin", given=given, status=status)


def logged(world: World) -> list[dict[str, Any]]:
    lines = world.path("log/alpha.log").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]


def refused_pins(world: World) -> int:
    """How often a token refused a PIN: what a card counts."""
    return sum(one["event"] == "smime.token_gone" and one["reason"].startswith("pin,") for one in logged(world))


def holders(world: World) -> dict[int, int]:
    """The process of each worker that holds the token, by worker."""
    return {
        worker: int(child)
        for worker in world.workers("alpha")
        for thread in Path(f"/proc/{worker}/task").glob("*/children")  # a thread of the worker started it
        for child in thread.read_text().split()
        if b"token_worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    }


def send(world: World, count: int = 8) -> None:
    """Each on a connection of its own, so that each worker gets some."""
    for _ in range(count):
        with world.submission() as client:
            client.send_message(world.message())


def test_nobody_gave_the_pin_yet(world: World) -> None:
    with world.submission() as client, pytest.raises(smtplib.SMTPDataError) as refusal:
        client.send_message(world.message())
    assert refusal.value.smtp_code == 451
    assert b"mssgw identity unlock" in refusal.value.smtp_error


def test_unlocked_in_each_worker_once_and_asked_for_no_more(world: World) -> None:
    found = unlock(world, PIN)
    assert found["workers"] == WORKERS
    assert found["tokens"] == [{"token": "card", "workers": WORKERS, "unlocked": WORKERS, "refused": "", "lock": None}]
    send(world)
    before = holders(world)
    assert len(before) == WORKERS
    assert unlock(world, WRONG)["workers"] == WORKERS  # nothing is locked: no PIN is asked for
    assert holders(world) == before
    assert refused_pins(world) == 0


def test_a_worker_started_later_has_the_session_of_the_one_before(world: World) -> None:
    """Regression: a worker restarted after `unlock` had no PIN, and its share of the mail was refused."""
    for victim in world.workers("alpha"):
        before = holders(world)
        os.kill(victim, signal.SIGKILL)
        until("another worker with the token", lambda before=before: len(holders(world)) == WORKERS and holders(world) != before)
    send(world)
    assert unlock(world, WRONG)["workers"] == WORKERS
    assert refused_pins(world) == 0


def test_half_unlocked_is_said_and_a_wrong_pin_costs_one_try_and_no_session(world: World) -> None:
    """Regression: a mistyped PIN ended the session that worked."""
    unlock(world, PIN)
    before, tries = holders(world), refused_pins(world)
    first, second = sorted(before)
    os.kill(before[first], signal.SIGKILL)  # the module crashed: this worker's session is over
    answer = unlock(world, WRONG, status=1)
    assert answer["fault"] == "half-unlocked"
    assert answer["tokens"][0]["unlocked"] == 1
    assert answer["reason"] != answer["reason_fr"]
    assert refused_pins(world) == tries + 1
    assert holders(world) == {second: before[second]}
    assert unlock(world, PIN)["workers"] == WORKERS
    assert holders(world)[second] == before[second]
    send(world)


def test_when_all_are_locked_a_wrong_pin_is_tried_in_one_worker_alone(world: World) -> None:
    unlock(world, PIN)
    for holder in holders(world).values():
        os.kill(holder, signal.SIGKILL)
    tries = refused_pins(world)
    assert unlock(world, WRONG, status=1)["fault"] == "token"
    assert refused_pins(world) == tries + 1
    assert holders(world) == {}
    assert unlock(world, PIN)["workers"] == WORKERS


def test_what_was_pulled_is_not_unlocked_again_by_a_restart(world: World) -> None:
    """The PIN is good for one session: who pulls the card ends it, in the memory of the node too."""
    unlock(world, PIN)
    (place,) = (world.directory.parent / "tokens").iterdir()
    place.rename(place.parent.parent / "pulled")
    for _ in range(WORKERS * 6):
        with world.submission() as client, pytest.raises(smtplib.SMTPDataError):
            client.send_message(world.message())
    (place.parent.parent / "pulled").rename(place)
    victims = world.workers("alpha")
    started = sum(one["event"] == "node.started" for one in logged(world))
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    until("new workers", lambda: sum(one["event"] == "node.started" for one in logged(world)) == started + WORKERS)
    assert holders(world) == {}
    assert unlock(world, PIN)["workers"] == WORKERS


def test_no_pin_on_disk_in_the_log_or_in_an_argument(world: World) -> None:
    unlock(world, PIN)
    for secret in (PIN.encode(), WRONG.encode()):
        for path in world.directory.rglob("*"):
            if path.is_file():
                assert secret not in path.read_bytes(), path
        for pid in descendants(world.operator("alpha")["pid"]):
            for name in ("cmdline", "environ"):
                assert secret not in Path(f"/proc/{pid}/{name}").read_bytes()
