"""An agent in a thread of the test, and the command in a process of its own that finds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import typer

from mssgw.agent.server import Agent
from mssgw.cli.config import loaded
from mssgw.cli.dmp import agent as verbs
from mssgw.cli.dmp import app
from mssgw.dossier import DmpService, Lasting

from .conftest import DOCTOR, Mssgw, Outcome


@contextmanager
def running(config: Path, *, lasting: Lasting | None = None, idle: timedelta = timedelta(0)) -> Iterator[Agent]:
    service = DmpService(loaded(config), config)
    service.config.node.data.mkdir(mode=0o700, exist_ok=True)
    desk = verbs.desk(service, typer.main.get_group(app), lasting or Lasting())
    listening = verbs.agent(service, desk, idle=idle)
    listening.open()
    thread = threading.Thread(target=listening.serve, name="agent")
    thread.start()
    try:
        yield listening
    finally:
        listening.stop()
        thread.join()
        desk.close()
        listening.release()


def command(config: Path, name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "mssgw", "dmp", name, "--config", str(config), *arguments]


@dataclass
class ByAgent(Mssgw):
    """The same command in a process of its own, by an agent of the configuration."""

    agents: Any = None

    def __call__(
        self,
        name: str,
        *arguments: str,
        who: str = DOCTOR,
        patient: str | None = None,
        text: bool = False,
        stdin: str = "",
        blind: bool = False,
    ) -> Outcome:
        if name not in KEPT or "--trace" in arguments:  # no business of the agent
            return super().__call__(name, *arguments, who=who, patient=patient, text=text, stdin=stdin, blind=blind)
        words = self.words(name, *arguments, who=who, patient=patient, text=text, blind=blind)
        before = self.agents.of(self.config).acts
        ran = subprocess.run(
            [sys.executable, "-m", "mssgw", "dmp", *words],
            input=stdin.encode(),
            capture_output=True,
            check=False,
            timeout=60,
            env=os.environ,
        )
        assert self.agents.of(self.config).acts > before, "the agent was not asked"
        stdout, stderr = (output.decode().replace("\N{NO-BREAK SPACE}", " ") for output in (ran.stdout, ran.stderr))
        lines = [line for line in stdout.splitlines() if line]
        return Outcome(ran.returncode, None if text else json.loads(lines[-1]) if lines else None, stderr, stdout)


KEPT = frozenset(
    {
        *("find", "get", "hide", "show", "archive", "delete", "end", "submit", "resume", "announcements", "audit", "open"),
        *("exists", "authorise", "list", "search", "professionals", "block", "read", "modify", "close", "reopen"),
    }
)


class Agents:
    """One for each configuration that a test writes, as long as it stays as it is."""

    def __init__(self) -> None:
        self._open: dict[Path, tuple[bytes, Any, Agent]] = {}

    def of(self, config: Path) -> Agent:
        content = config.read_bytes()
        if config in self._open and self._open[config][0] != content:
            self._end(config)
        if config not in self._open:
            context = running(config)
            self._open[config] = content, context, context.__enter__()
        return self._open[config][2]

    def _end(self, config: Path) -> None:
        self._open.pop(config)[1].__exit__(None, None, None)

    def close(self) -> None:
        for config in list(self._open):
            self._end(config)
