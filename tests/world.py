"""The demo as a complete test environment: real processes, read through demo.json, driven through public interfaces."""

from __future__ import annotations

import contextlib
import imaplib
import json
import os
import random
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds until a test gives up; nothing is asserted about how fast the demo is


def free_base() -> int:
    """A base port from which all of the demo's ports are free right now."""
    for _ in range(50):
        base = random.randrange(20_000, 32_000, 100)
        with contextlib.ExitStack() as held:
            try:
                for port in (base, *range(base + 10, base + 18), *range(base + 20, base + 28), base + 30, base + 40):
                    one = held.enter_context(socket.socket())
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise RuntimeError("no free ports")


def until(what: str, probe: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """The first true answer of `probe`. Fails with `what` when there is none."""
    deadline = time.monotonic() + patience
    while True:
        if answer := probe():
            return answer
        assert time.monotonic() < deadline, f"still waiting for: {what}"
        threading.Event().wait(0.05)


@dataclass
class World:
    directory: Path
    base: int
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    description: dict[str, Any] = field(default_factory=dict)

    def start(self) -> World:
        self.description = {}
        (self.directory / "demo.json").unlink(missing_ok=True)
        self.directory.mkdir(exist_ok=True)
        with (self.directory / "demo.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mssgw", "demo", "--dir", str(self.directory), "--port-base", str(self.base), *self.options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | self.environment,
            )
        until("demo.json", self._described)
        return self

    def _described(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "demo.log").read_text(errors="replace")[-3000:]
        with contextlib.suppress(FileNotFoundError):
            self.description = json.loads((self.directory / "demo.json").read_text())
        return bool(self.description)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def kill_tree(self) -> None:
        """SIGKILL to every process of the demo at once, as when the machine loses its power."""
        assert self.process is not None
        for pid in descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    # -- places and people ---------------------------------------------------------------------------------------

    def operator(self, name: str) -> dict[str, Any]:
        return next(one for one in self.description["operators"] if one["name"] == name)

    def account(self, operator: str, local: str) -> dict[str, Any]:
        return next(one for one in self.operator(operator)["accounts"] if one["address"].startswith(local))

    @property
    def martin(self) -> dict[str, Any]:
        return self.account("alpha", "jeanne.martin")

    @property
    def durand(self) -> dict[str, Any]:
        return self.account("beta", "paul.durand")

    def path(self, relative: str) -> Path:
        return self.directory / relative

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.path(self.description["ca"])))

    # -- what people do ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def submission(self) -> Iterator[smtplib.SMTP]:
        place = self.operator("alpha")["submission"]
        with smtplib.SMTP(place["host"], place["port"], timeout=20) as client:
            client.starttls(context=self.tls())
            client.login(self.martin["address"], self.martin["password"])
            yield client

    def message(self, number: int = 0, size: int = 500, to: str | None = None) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"] = self.martin["address"], to or self.durand["address"]
        message["Subject"] = f"Message {number}"
        message["Message-ID"] = make_msgid(domain="alpha.mssante.test")
        message.set_content("Lettre de liaison.\n" * (size // 20 + 1))
        return message

    @contextlib.contextmanager
    def reader(self, operator: str = "beta", local: str = "paul.durand") -> Iterator[imaplib.IMAP4_SSL]:
        place, who = self.operator(operator)["imaps"], self.account(operator, local)
        client = imaplib.IMAP4_SSL(place["host"], place["port"], ssl_context=self.tls(), timeout=20)
        try:
            client.login(who["address"], who["password"])
            client.select("INBOX", readonly=True)
            yield client
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                client.logout()

    def received(self, operator: str = "beta", local: str = "paul.durand") -> list[str]:
        """Message-IDs in the INBOX, in order, duplicates included."""
        with self.reader(operator, local) as client:
            if not int(client.response("EXISTS")[1][-1] or 0):
                return []
            answer = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1]
        lines = [part[1].decode() for part in answer if isinstance(part, tuple)]
        return [line.partition(":")[2].strip() for line in lines]

    def verb(self, *arguments: str, operator: str | None = None) -> subprocess.CompletedProcess[str]:
        config = ("--config", str(self.path(self.operator(operator)["config"]))) if operator else ()
        command = [sys.executable, "-m", "mssgw", *arguments, *config]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def workers(self, operator: str) -> list[int]:
        return children(self.operator(operator)["pid"])


def children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def descendants(pid: int) -> list[int]:
    return [pid, *(below for child in children(pid) for below in descendants(child))]
