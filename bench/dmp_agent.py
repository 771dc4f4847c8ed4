"""Verbs of `mssgw dmp` with and without the agent, against the simulator.

    python -m bench.dmp_agent [--kit DIR] [--rounds N] [--deposits N]

For each verb: CPU and wall of the command, and CPU of the agent while it ran (not of the simulator, which is this process).
Deposits: `submit` of PDFs that all differ, one command after another; with --kit, the folder of the ANS conformance kit, each is checked
by its schematrons. The agent's CPU includes its schematron process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dmp_connector.paper.letters import letter
from dmp_connector.simulator import Simulator, SimulatorConfig
from dmp_connector.simulator.people import demo_patients
from dmp_connector.simulator.server import in_thread
from tests.dmp.nodes import ACTORS, DOCTOR, RPPS, STRUCTURE, write_node
from tests.dmp.pki import Root

TICK = os.sysconf("SC_CLK_TCK")
Measured = tuple[float, float, float]
"""Seconds: wall, CPU of the command, CPU of the agent."""


@contextmanager
def house(directory: Path, kit: Path | None) -> Iterator[tuple[Path, str]]:
    """A node's configuration, its simulator running, and the INS of a patient."""
    root = Root()
    (directory / "ca.pem").write_bytes(root.pem)
    root.issue("localhost", server=True).write(directory, "server")
    root.issue("CLIENT").write(directory, "tls")
    root.issue("CACHET", signature=True).write(directory, "seal")
    known = SimulatorConfig(
        port=0, certificate=directory / "server.pem", key=directory / "server.key", client_anchors=directory / "ca.pem",
        patients=demo_patients(RPPS, STRUCTURE),
    )  # fmt: skip
    with in_thread(Simulator(known)) as port:
        table: dict[str, Any] = {
            "url": f"https://127.0.0.1:{port}/si-dmp-server/v2/services",
            "anchors": str(directory / "ca.pem"),
            "certificate": str(directory / "tls.pem"),
            "key": f"file:{directory / 'tls.key'}",
            "validation_kit": str(kit) if kit else None,
        }
        signing = {"certificate": str(directory / "seal.pem"), "key": f"file:{directory / 'seal.key'}"}
        yield write_node(directory, table, ACTORS, signing), next(p.ins for p in known.patients if p.name == "PATIENT")


@contextmanager
def agent(config: Path) -> Iterator[int]:
    """`mssgw dmp agent start`, listening: its process id."""
    with subprocess.Popen([*mssgw(), "agent", "start", "--config", str(config)], stderr=subprocess.PIPE) as running:
        try:
            assert running.stderr is not None
            if not running.stderr.readline():
                raise SystemExit("the agent does not start")
            yield running.pid
        finally:
            running.terminate()
            running.communicate(timeout=60)


def mssgw() -> list[str]:
    """As it is installed."""
    return [str(Path(sys.executable).with_name("mssgw")), "dmp"]


def cpu(pid: int) -> float:
    """Seconds of CPU of a process and of those it has started (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return sum(map(int, fields[11:15])) / TICK + sum(cpu(int(child)) for one in children for child in one.read_text().split())


def run(words: Sequence[str], pid: int) -> Measured:
    before, start = cpu(pid) if pid else 0.0, time.perf_counter()
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.stderr is not None
    with child.stderr as said:
        if status:
            raise SystemExit(f"{words[2]}: status {child.returncode}: {said.read().decode()}")
    return wall, used.ru_utime + used.ru_stime, (cpu(pid) if pid else 0.0) - before


def told(title: str, rounds: Sequence[Measured]) -> None:
    figures = [list(column) for column in zip(*rounds, strict=True)]
    cells = [" / ".join(f"{pick(column):.3f}" for pick in (min, statistics.median, max)) for column in figures[:2]]
    print(f"| {title} | {' | '.join(cells)} | {statistics.mean(figures[2]):.3f} |", flush=True)


def verbs(config: Path, ins: str) -> list[tuple[str, list[str]]]:
    whose = ["--config", str(config), "--as", DOCTOR, "--patient", ins]
    return [
        ("exists", [*mssgw(), "exists", *whose]),
        ("find", [*mssgw(), "find", *whose]),
        ("get", [*mssgw(), "get", *whose, "1", "-o", "-"]),
        ("audit", [*mssgw(), "audit", *whose, "--limit", "20"]),
    ]


def deposits(config: Path, ins: str, directory: Path, count: int, name: str) -> Callable[[int], list[Measured]]:
    files = []
    for number in range(count):
        file = directory / f"{name}-{number}.pdf"
        file.write_bytes(letter("Compte rendu", [f"Examen {name} {number}."], at=datetime(2026, 1, 2, tzinfo=UTC)))
        files.append(file)
    given = ["--config", str(config), "--as", DOCTOR, "--patient", ins, "--type", "11490-0"]
    return lambda pid: [run([*mssgw(), "submit", *given, "--title", f"Lettre {name} {file.stem}", str(file)], pid) for file in files]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.dmp_agent", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kit", type=Path, help="folder of the ANS conformance kit")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--deposits", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as name, house(Path(name), given.kit) as (config, ins):
        directory = Path(name)
        print("| verb | wall s: min / median / max | CPU s of the command | CPU s of the agent, mean |\n|---|---|---|---|")
        for title, words in verbs(config, ins):
            told(f"{title}, alone", [run(words, 0) for _ in range(max(3, given.rounds // 3))])
        told("submit, alone", deposits(config, ins, directory, 2, "alone")(0))
        with agent(config) as pid:
            for title, words in verbs(config, ins):
                run(words, pid)  # the session is opened
                told(f"{title}, agent", [run(words, pid) for _ in range(given.rounds)])
            told("submit, agent, the first", deposits(config, ins, directory, 1, "first")(pid))
            many = deposits(config, ins, directory, given.deposits, "many")
            start = time.perf_counter()
            told("submit, agent", many(pid))
            minute = 60 * given.deposits / (time.perf_counter() - start)
        print(f"\n{minute:.0f} deposits a minute, schematrons {'on' if given.kit else 'off'}")


if __name__ == "__main__":
    main()
