"""A PC/SC daemon with two virtual readers, of one test alone: nothing of it stands where another daemon would.

pcscd's socket has a fixed place, so it runs in a mount namespace in which that place is a directory of ours; clients find it there by
PCSCLITE_CSOCK_NAME. vpcd listens for cards on ports that the reader's configuration names.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from dmp_connector.card.simulated import Applet, VirtualCard

DRIVER = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"
MODULE = Path("/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so")
PATIENCE = 20.0  # seconds; the deadline only ends a hang
T = TypeVar("T")


def until(condition: Callable[[], T], what: str) -> T:
    """Ask again until the answer is yes."""
    end, pause = time.monotonic() + PATIENCE, threading.Event()
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        pause.wait(0.02)
    raise AssertionError(f"{what}: not within {PATIENCE:.0f} s")


class Readers:
    """The daemon and its two readers, 0 and 1."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pcsc-"))  # short: a socket's path has 107 octets at most
        self.socket = self.directory / "run" / "pcscd.comm"
        self.socket.parent.mkdir()
        self.port = _two_ports()
        (self.directory / "reader.conf").write_text(
            f'FRIENDLYNAME "Virtual PCD"\nDEVICENAME /dev/null:{self.port:#x}\nLIBPATH {DRIVER}\nCHANNELID {self.port:#x}\n'
        )
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a client of the daemon needs."""
        return {"PCSCLITE_CSOCK_NAME": str(self.socket)}

    def start(self) -> None:
        place, config = self.socket.parent, self.directory / "reader.conf"
        script = 'mkdir -p /run/pcscd; mount --bind "$0" /run/pcscd; exec pcscd --foreground --error --config "$1"'
        self.socket.unlink(missing_ok=True)
        self._daemon = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", script, str(place), str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._answers, "pcscd")

    def _answers(self) -> bool:
        assert self._daemon
        assert self._daemon.poll() is None, f"pcscd ended with {self._daemon.returncode}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port + 1), timeout=1):
            return self.socket.exists()
        return False

    def kill(self) -> None:
        """As a crash would."""
        assert self._daemon
        self._daemon.kill()
        self._daemon.wait(10)

    def stop(self) -> None:
        if self._daemon and self._daemon.poll() is None:
            self._daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._daemon.wait(10)
            if self._daemon.poll() is None:
                self._daemon.kill()
                self._daemon.wait(10)
        shutil.rmtree(self.directory)

    def insert(self, applet: Applet, reader: int = 0) -> VirtualCard:
        """Returns when the daemon has seen it, and what was there before is gone."""
        until(lambda: self._state(reader) == "No", "an empty reader")
        card = VirtualCard(applet, port=self.port + reader)
        try:
            until(lambda: self._state(reader) == "Yes", "the card in its reader")
        except BaseException:
            card.pull()
            raise
        return card

    def _state(self, reader: int) -> str:
        """As OpenSC's list of readers shows it: whether there is a card in it."""
        lines = run("opensc-tool", "--list-readers", environment=self.environment).splitlines()
        return next((line.split()[1] for line in lines if line.split()[:1] == [str(reader)]), "")


@dataclass(frozen=True)
class Shown:
    """What an administrator reads of the token in a reader."""

    label: str
    serial: str

    @property
    def reference(self) -> str:
        """The start of its URI (RFC 7512)."""
        return f"pkcs11:token={quote(self.label)};serial={self.serial}"


def shown(readers: Readers) -> Shown:
    """By OpenSC's tool, of the one card that is in."""
    listed = run("pkcs11-tool", "--module", str(MODULE), "--list-token-slots", environment=readers.environment)
    facts = dict(re.findall(r"^ *(token label|serial num) *: (.*?) *$", listed, re.MULTILINE))
    return Shown(facts["token label"], facts["serial num"])


def _two_ports() -> int:
    """A free port with a free one behind it: vpcd takes one for each of its two readers."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


def run(*command: str, environment: dict[str, str]) -> str:
    """What a program prints. Raises AssertionError when it fails."""
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment})
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran.stdout
