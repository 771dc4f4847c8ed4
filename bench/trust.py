"""What the trust space costs. `python bench/trust.py` prints one table; limits are those of the product's goals.

list     10,000 entries with every quirk: verify and load, memory, look-up, and how long a refresh holds the loop
path     a peer's certificate with a CRL of 100,000 entries of its authority: first judgement, repeated one
crl      taking up that CRL while a loop runs
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mssgw.core.clock import SystemClock
from mssgw.core.config.trust import Trust as Settings
from mssgw.demo.authority import make_crl, publish
from mssgw.demo.pki import Pki
from mssgw.demo.whitelist import quirky
from mssgw.pki.judgement import Purpose
from mssgw.trust import paths, revocation
from mssgw.trust.service import Trust

ENTRIES, REVOKED = 10_000, 100_000
rows: list[tuple[str, float, str, float]] = []


def note(what: str, value: float, unit: str, limit: float) -> None:
    rows.append((what, value, unit, limit))


def best(function, rounds: int, times: int = 5) -> float:
    """Seconds for one call: the best of some rounds."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        for _ in range(rounds):
            function()
        found.append((time.perf_counter() - started) / rounds)
    return min(found)


class Watch:
    """The longest time for which the event loop did nothing else."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(0.05)
        self.longest = 0.0
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()

    async def _beat(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.longest, last = max(self.longest, now - last - 0.001), now


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peak_apart(signed: bytes) -> float:
    """MB of the process that verifies a list, its interpreter included (ru_maxrss would count the parent at the fork)."""
    code = (
        "import sys; from mssgw.trust.whitelist import _main; _main(['stronger', '33554432']);"
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=signed, capture_output=True, check=True)
    return int(done.stderr) / 1024


@contextlib.contextmanager
def authority(directory: Path, port: int) -> Iterator[None]:
    """A process of its own, so that its work is not taken for ours."""
    listening = [sys.executable, "-m", "mssgw.demo.authority", "--directory", directory, "--listen", f"127.0.0.1:{port}"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind("")
        process = subprocess.Popen(listening, env=os.environ | {"NOTIFY_SOCKET": "@" + ready.getsockname()[1:].decode()})
        try:
            ready.settimeout(20)
            ready.recv(64)
            yield
        finally:
            process.terminate()
            process.wait()


async def lists(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pki = Pki(f"http://127.0.0.1:{port}", ca_bits=4096)
    signer, now = pki.list_signer(), datetime.now(UTC)
    pki.write_anchors(directory / "anchors")
    pki.save(directory / "authority")
    publish(directory / "authority", quirky(ENTRIES), signer, now - timedelta(hours=1))
    with authority(directory / "authority", port):
        trust = Trust(
            Settings(
                anchors=directory / "anchors",
                pki="private",
                refresh_seconds=1,
                signer_common_names=("alb.mssante.test",),
                whitelist_url=f"http://127.0.0.1:{port}/listeblanchemssante.xml",
            ),
            directory / "data",
            SystemClock(),
        )
        before = peak()
        started = time.perf_counter()
        await trust.start()
        note(f"list of {ENTRIES} entries: fetch, verify, load", time.perf_counter() - started, "s", 1.0)
        note("  memory it adds to the worker", peak() - before, "MB", 150)
        domains = list(trust.space.domains)[:1000]
        space = trust.space
        note("  look-up of a domain", best(lambda: [space.require_listed(domain) for domain in domains], 10) / len(domains) * 1e6, "us", 2)
        second = publish(directory / "authority", quirky(ENTRIES), signer, now)
        note(f"  memory of the process that verifies it ({len(second) / 1e6:.1f} MB)", peak_apart(second), "MB", 150)
        await asyncio.sleep(1.2)
        async with Watch() as watch:
            await trust.tick()
            await asyncio.sleep(0.05)
        assert trust.space.sha256 != space.sha256
        note("  a refresh holds the event loop for at most", watch.longest * 1e3, "ms", 20)


async def paths_and_crl() -> None:
    pki, clock = Pki(ca_bits=4096), SystemClock()
    peer = pki.operator("mx.peer.test")
    from cryptography.hazmat.primitives.serialization import Encoding

    from mssgw.pki.certificates import Certificate
    from mssgw.trust import anchors

    pinned = anchors.build([Certificate.read(each.public_bytes(Encoding.DER)) for each in pki.anchors()])
    ledger = revocation.Ledger(clock)
    now = clock.now()
    large = make_crl(pki.authority(), now, number=1, extra=range(1 << 120, (1 << 120) + REVOKED))
    issuer, root = next(each for each in pinned.every if each.above), pinned.roots[0]
    ledger.add_crl(revocation.read_crl(make_crl(pki.root(), now, number=1), root))
    started = time.perf_counter()
    async with Watch() as watch:
        ledger.add_crl(await asyncio.to_thread(revocation.read_crl, large, issuer))
    note(f"CRL of {REVOKED} entries ({len(large) / 1e6:.1f} MB): verify and take up", time.perf_counter() - started, "s", 2.0)
    note("  holds the event loop for at most", watch.longest * 1e3, "ms", 20)
    validator = paths.Validator(pinned, ledger, clock)

    def uncached() -> None:
        validator._cache.clear()
        validator(peer.der, Purpose.RELAY_CLIENT, now)

    note("path of a peer, first judgement", best(uncached, 200) * 1e3, "ms", 0.4)
    der = peer.der
    note("path of a peer, repeated", best(lambda: validator(der, Purpose.RELAY_CLIENT, now), 5000) * 1e6, "us", 10)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(lists(Path(name)))
    asyncio.run(paths_and_crl())
    for what, value, unit, limit in rows:
        sys.stdout.write(f"{what:72} {value:9.3f} {unit:3} (goal {limit:g}){'' if value <= limit else '   MISSED'}\n")
    return int(any(value > limit for _, value, _, limit in rows))


if __name__ == "__main__":
    sys.exit(main())
