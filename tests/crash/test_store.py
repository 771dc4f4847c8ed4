"""kill -9 of store processes, at each named point and at random moments: what was committed is there, and check finds nothing."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from mssgw import store as store_package
from mssgw.core.clock import SystemClock
from mssgw.store import mailboxes, queue
from mssgw.store.queue import Outcome, State
from tests.crash.points import ROOT, of_mail
from tests.store.messages import inbox_of, new_account

pytestmark = pytest.mark.slow

LONG = os.environ.get("MSSGW_CRASH") == "long"
ROUNDS = 12 if LONG else 3
COUNT = 400 if LONG else 60


@pytest.fixture
async def box(config):
    """An account's INBOX in the store under test."""
    store = await store_package.open(config, SystemClock(), worker="setup")
    found = await inbox_of(store, await new_account(store))
    await store.close()
    return found


def start(config, name, count, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.crasher", str(config.node.data.parent), config.node.store, name, str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=os.environ | environment,
    )


async def verify(config, box, said):
    """Everything that was printed is in the store, check finds nothing, and the rest of the queue can be worked off."""
    store = await store_package.open(config, SystemClock(), worker="after")
    try:
        assert await store.check() == []
        rows = {row.uid: row for row in await store.read(lambda rx: mailboxes.rows(rx, box, None))}
        removed = {int(uid) for what, uid, *_ in said if what == "removed"}
        tried_to_remove = {int(uid) for what, uid, *_ in said if what == "flagged"}
        appended = [(int(words[1]), words[2]) for words in said if words[0] == "appended"]
        assert len(appended) == len({uid for uid, _ in appended})
        for uid, blob in appended:
            if uid in removed:
                assert uid not in rows
            elif uid in rows:
                assert rows[uid].blob == blob
            else:
                assert uid in tried_to_remove  # killed between the commit of its removal and printing it
        for what, uid, *_ in said:
            if what == "flagged" and int(uid) in rows:
                assert "$Done" in rows[int(uid)].flags
        sent = {(words[1], words[2]) for words in said if words[0] == "sent"}
        for trace in {words[1] for words in said if words[0] == "queued"}:
            shown = await store.read(lambda rx, trace=trace: queue.show(rx, trace))
            for delivery in shown.deliveries:
                assert (trace, delivery.domain) not in sent or delivery.finished
        await work_off(store)
        assert await store.check() == []
    finally:
        await store.close()


async def work_off(store):
    while await store.read(queue.next_due) is not None:
        for delivery in await store.write(lambda tx: queue.claim(tx, tx.now, 50, 60)):
            outcomes = [Outcome(one.id, State.SENT, "250 ok") for one in delivery.pending]
            await store.write(lambda tx, delivery=delivery, outcomes=outcomes: queue.record(tx, delivery, outcomes, None))
        await asyncio.sleep(0)


def words(octets):
    """Whole lines only: the last one may have been cut with the process."""
    lines = [line.split() for line in octets.decode().splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in lines if line[0] not in ("ready", "done")]


@pytest.mark.parametrize("point", of_mail(ROOT / "mssgw" / "store"))
async def test_killed_at_a_named_point(config, box, point):
    process = start(config, "w", 20, MSSGW_CRASH_AT=f"{point}:5")
    out, err = await asyncio.to_thread(process.communicate)
    assert process.returncode == 137, (out[-300:], err[-2000:])
    await verify(config, box, words(out))


async def test_killed_at_random_moments(config, box):
    said = []
    for round_ in range(ROUNDS):
        processes = [start(config, f"r{round_}w{number}", COUNT) for number in range(2)]
        for process in processes:
            if await asyncio.to_thread(process.stdout.readline) != b"ready\n":
                pytest.fail((await asyncio.to_thread(process.communicate))[1].decode())
        await asyncio.to_thread(time.sleep, random.uniform(0.02, 0.4))
        for process in processes:
            process.send_signal(signal.SIGKILL)
        for process in processes:
            out, _ = await asyncio.to_thread(process.communicate)
            said += words(out)
    assert said
    await verify(config, box, said)


async def test_the_server_is_killed_while_workers_write(pg, tmp_path):
    """PostgreSQL itself dies: what it had committed is there, and workers reconnect by themselves."""
    from tests import postgres
    from tests.conftest import make_config

    with postgres.cluster(durable=True) as cluster:
        config = make_config(tmp_path, cluster.url(cluster.create()))
        store_package.migrate(config)
        store = await store_package.open(config, SystemClock(), worker="setup")
        box = await inbox_of(store, await new_account(store))
        process = start(config, "w", 40)
        said = words(await asyncio.to_thread(process.stdout.readline))
        await asyncio.to_thread(cluster.down)
        out, _ = await asyncio.to_thread(process.communicate)
        said += words(out)
        await asyncio.to_thread(cluster.up)
        assert await store.read(lambda rx: mailboxes.get(rx, box))
        await store.close()
        await verify(config, box, said)
