"""Signing and encrypting through the whole gateway: from the hospital's port to the queue, RSA-2048, one core.

    python -m bench.gateway [--messages 1500] [--size 50000] [--sessions 16]

Messages per second of CPU of the worker (utime and stime of /proc), as a share of the bare signatures it could have made in
that time: both on the same machine in the same run, so its load cancels out. Beside it the same without S/MIME, which
says what is the gateway's and what is the engine's. Where the mail goes nobody greets: it stays queued.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bench import smtp
from bench.ours import house

BASE = 38_200
GAMMA = 40  # offset of the port of the reader's operator
READER = "paul.petit@gamma.mssante.test"  # listed, and its certificate is known
TICK: int = os.sysconf("SC_CLK_TCK")


def bare(seconds: float = 0.3) -> float:
    """CPU seconds of one RSA-2048 signature, the best of five rounds."""
    key = rsa.generate_private_key(65537, 2048)
    found = []
    for _ in range(5):
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds:
            key.sign(b"x" * 300, padding.PKCS1v15(), hashes.SHA256())
            count += 1
        found.append(spent / count)
    return min(found)


def worker_of(parent: int) -> int:
    """The process that does the work: the only child of `mssgw serve`."""
    children = [int(one) for one in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return max(children, key=spent_by, default=parent)


def spent_by(pid: int) -> float:
    """CPU seconds of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks: float = (int(fields[11]) + int(fields[12])) / TICK
    return ticks


def per_message(home: Path, base: int, protect: bool, given: argparse.Namespace) -> float:
    """CPU seconds of the worker for one message accepted."""
    with house(home, base, protect=protect) as node, socket.create_server(("127.0.0.1", base + GAMMA)):
        pid = worker_of(node.pid)

        def send(count: int) -> None:
            load = smtp.Load(node.ports["hospital"], node.user, READER, given.sessions, count, given.size)
            asyncio.run(smtp.run(load))
            if load.errors or len(load.accepted) != count:
                raise SystemExit(f"not all accepted: {load.errors}")

        send(100)  # what is loaded once
        start = spent_by(pid)
        send(given.messages)
        return float(spent_by(pid) - start) / int(given.messages)


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    options = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__, formatter_class=raw)
    for name, default in (("messages", 1500), ("size", 50_000), ("sessions", 16)):
        options.add_argument(f"--{name}", type=int, default=default)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as home:
        plain = per_message(Path(home) / "plain", BASE, False, given)
        hidden = per_message(Path(home) / "hidden", BASE + 50, True, given)
    limit = bare()
    print(f"bare RSA-2048 signature          {limit * 1e6:6.0f} us")
    print(f"submission to queue, in clear    {plain * 1e6:6.0f} us")
    print(f"... signed and encrypted         {hidden * 1e6:6.0f} us   {1 / hidden:,.0f}/s   {limit / hidden:.0%} of bare signatures")
    print(f"... of which is S/MIME           {(hidden - plain) * 1e6:6.0f} us   {limit / (hidden - plain):.0%}")


if __name__ == "__main__":
    main()
