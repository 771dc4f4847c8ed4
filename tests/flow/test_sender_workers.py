"""Several workers on one queue, on each engine; and one that is killed between the peer's 250 and its record."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mssgw import store as store_package
from mssgw.core.clock import SystemClock
from mssgw.core.config import load
from mssgw.core.errors import Reply
from mssgw.flow.bounce import Reports
from mssgw.flow.delivery import LocalDelivery
from mssgw.flow.sender import Sender
from mssgw.relay.client import Outcome
from mssgw.store import audit, mailboxes, queue
from mssgw.store.queue import State
from tests.configurations import alpha
from tests.smtp_peer import FakeServer, Pki
from tests.store.messages import enqueue, inbox_of, new_account

ROOT = Path(__file__).parents[2]


class Carrier:
    def __init__(self, sent):
        self.sent = sent

    async def send(self, domain, envelope, body):
        await asyncio.sleep(0)
        self.sent.update(str(one.address) for one in envelope.recipients)
        refused = [one for one in envelope.recipients if one.address.local.startswith("no")]
        words = {True: Reply(550, "5.1.1", "no"), False: Reply(250, "2.0.0", "ok")}
        return tuple(Outcome(one, words[one in refused], "mx.beta.test", dsn=True) for one in envelope.recipients)

    async def run(self):
        await asyncio.Event().wait()


async def test_workers_share_the_queue(config, store, open_again, clock):
    """Each message and each report is sent once, whichever worker claims it."""
    alice = await new_account(store)
    for number in range(60):
        await enqueue(store, f"T{number}", f"{'no' if number % 10 == 0 else 'r'}{number}@beta.mssante.test")
    sent = Counter()
    stores = [store, await open_again("w2"), await open_again("w3")]
    senders = [
        Sender(config, one, clock, Carrier(sent), Reports(config, one, clock, LocalDelivery(config, one)), lambda domain: ())
        for one in stores
    ]
    tasks = [asyncio.create_task(sender.run()) for sender in senders]
    for _ in range(2000):
        if not (await store.read(queue.count)).waiting:
            break
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(sent) == 60
    assert set(sent.values()) == {1}
    box = await inbox_of(store, alice)
    assert (await store.read(lambda rx: mailboxes.get(rx, box))).messages == 6


TABLES = """
[relay]
certificate = "unused.pem"
key = "file:unused"
[queue]
lease_seconds = 10
[[route]]
domain = "beta.mssante.test"
host = "127.0.0.1"
port = {port}
"""

WORKER = """
import asyncio, sys
from datetime import datetime, timedelta
from pathlib import Path
from mssgw import store as store_package
from mssgw.core.clock import SystemClock
from mssgw.core.config import load
from mssgw.flow.bounce import Reports
from mssgw.flow.delivery import LocalDelivery
from mssgw.flow.sender import Sender
from mssgw.relay import outbound
from mssgw.store import queue
from tests.smtp_peer import Pki

class Ahead(SystemClock):
    "An hour later each time: leases of the dead have ended."
    def now(self):
        return super().now() + timedelta(hours=int(sys.argv[2]))

async def main(home):
    config, clock = load(home / "mssgw.toml"), Ahead()
    store = await store_package.open(config, clock, worker="w")
    pki = Pki.of(home / "pki")
    carrier = outbound(config, clock, pki.client_context, lambda domain, der: None)
    sender = Sender(config, store, clock, carrier, Reports(config, store, clock, LocalDelivery(config, store)), lambda domain: ())
    task = asyncio.create_task(sender.run())
    while (await store.read(queue.count)).waiting:
        await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize(("point", "twice"), [("sender.sent:3", True), ("queue.before_record:3", True), ("sender.recorded:3", False)])
async def test_a_killed_worker_loses_nothing(tmp_path, point, twice):
    (tmp_path / "pki").mkdir()
    (tmp_path / "anchors").mkdir()
    (tmp_path / "master.key").write_bytes(bytes(32))
    (tmp_path / "master.key").chmod(0o600)
    pki = Pki(tmp_path / "pki")
    async with FakeServer(pki.server_context()) as peer:
        (tmp_path / "mssgw.toml").write_text(alpha(TABLES.format(port=peer.port)))
        config = load(tmp_path / "mssgw.toml")
        store_package.migrate(config)
        store = await store_package.open(config, SystemClock(), worker="test")
        for number in range(6):
            await enqueue(store, f"T{number}", f"r{number}@beta.mssante.test")
        killed = await worker(tmp_path, 0, {"MSSGW_CRASH_AT": point})
        assert killed == 137
        assert await worker(tmp_path, 1) == 0
        for number in range(6):
            shown = await store.read(lambda rx, name=f"T{number}": queue.show(rx, name))
            assert [one.state for one in shown.deliveries[0].recipients] == [State.SENT]
            rows = await store.read(lambda rx, name=f"T{number}": audit.find(rx, trace=name))
            assert [row.outcome for row in rows if row.what == "recipient"] == ["sent"]
        assert await store.check() == []
        await store.close()
    assert len(peer.messages) >= 6
    assert (len(peer.messages) > 6) or not twice


async def worker(home, hours, environment=None):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WORKER,
        str(home),
        str(hours),
        cwd=ROOT,
        env={**os.environ, **(environment or {}), "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode in (0, 137), errors.decode()
    return process.returncode
