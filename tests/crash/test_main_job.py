"""kill -9 at random moments and at every named point: what got 250 is in the mailbox after restart.

A run is smaller here than by hand; `make crash` (MSSGW_CRASH=long) does 2,000 messages.
"""

import contextlib
import imaplib
import os
import random
import signal
import smtplib
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.crash import points
from tests.world import World, free_base, until

pytestmark = pytest.mark.slow

LONG = os.environ.get("MSSGW_CRASH") == "long"
MESSAGES = 2000 if LONG else 160
KILLS = 40 if LONG else 6
ARRIVAL = 1200 if LONG else 120  # seconds: after several retries the next one comes late


class Sender(threading.Thread):
    """Submits until stopped, over and over; remembers which Message-IDs got their 250."""

    def __init__(self, world: World, count: int, size: int = 500) -> None:
        super().__init__(daemon=True)
        self.world, self.count, self.size = world, count, size
        self.accepted: list[str] = []
        self.given_up = threading.Event()

    def run(self) -> None:
        while len(self.accepted) < self.count and not self.given_up.is_set():
            with contextlib.suppress(OSError, smtplib.SMTPException), self.world.submission() as client:
                while len(self.accepted) < self.count and not self.given_up.is_set():
                    message = self.world.message(len(self.accepted), self.size)
                    client.send_message(message)
                    self.accepted.append(message["Message-ID"])
            self.given_up.wait(0.02)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("crash")
    crash_file = directory / "crash-at"
    world = World(directory / "demo", free_base(), ("--workers", "2"), {"MSSGW_CRASH_FILE": str(crash_file)}).start()
    yield world
    stores_are_sound(world)  # after all that was done to them
    world.stop()


def everything_arrived(world: World, accepted: list[str]) -> Counter[str]:
    def missing() -> bool:
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            nonlocal received
            received = Counter(world.received())
            return not set(accepted) - set(received)
        return False

    received: Counter[str] = Counter()
    until(f"{len(accepted)} accepted messages at beta", missing, ARRIVAL)
    return received


def stores_are_sound(world: World) -> None:
    for operator in ("alpha", "beta"):
        check = world.verb("check", operator=operator)
        assert check.returncode == 0, check.stdout + check.stderr


def test_any_worker_killed_at_random_moments(world):
    chance = random.Random(20261122)
    senders = [Sender(world, MESSAGES // 2), Sender(world, MESSAGES // 2, 300_000)]
    for sender in senders:
        sender.start()
    for kill in range(1, KILLS + 1):
        until("progress", lambda goal=kill * MESSAGES // (KILLS + 1): sum(len(one.accepted) for one in senders) >= goal, 120)
        victims = world.workers("alpha") + world.workers("beta")
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(victims), signal.SIGKILL)
    for sender in senders:
        sender.join(120)
    accepted = [one for sender in senders for one in sender.accepted]
    assert len(accepted) >= MESSAGES
    received = everything_arrived(world, accepted)
    print(f"{len(accepted)} accepted, 0 lost, {sum(received.values()) - len(received)} twice")


@pytest.mark.parametrize("point", points.of_mail(points.ROOT / "mssgw"))
def test_killed_at_each_named_point(world, point):
    crash_file = Path(world.environment["MSSGW_CRASH_FILE"])
    crash_file.write_text(point)
    senders = [Sender(world, 3), Sender(world, 3, 300_000)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(60)
    accepted = [one for sender in senders for one in sender.accepted]
    until(f"a process killed at {point}", lambda: not crash_file.exists())
    assert len(accepted) == 6
    everything_arrived(world, accepted)


def test_whole_tree_killed_and_started_again(world):
    sender = Sender(world, MESSAGES)
    sender.start()
    until("half of them", lambda: len(sender.accepted) >= MESSAGES // 4, 120)
    sender.given_up.set()
    world.kill_tree()
    sender.join(30)
    world.start()
    received = everything_arrived(world, sender.accepted)
    print(f"{len(sender.accepted)} accepted, 0 lost, {sum(received.values()) - len(received)} twice")
    stores_are_sound(world)
