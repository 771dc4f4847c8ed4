"""A disk that really fills: a small tmpfs. Before 250 comes 452, after 250 nothing is lost, and reading goes on."""

import subprocess

import pytest

from mssgw import store as store_package
from mssgw.core.body import Body
from mssgw.core.errors import Deferred
from mssgw.store import mailboxes, queue
from mssgw.store.queue import NewQueued, Outcome, State
from tests.conftest import make_config
from tests.needs import peer, root
from tests.store.messages import DOMAIN, envelope, new_inbox, new_message, octets


@pytest.fixture
@peer("mount")
@root()
def small_disk(tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield tmp_path
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("size", [3_000, 400_000])
async def test_a_disk_that_fills(small_disk, clock, size):
    config = make_config(small_disk, more="[limits]\nfree_disk = 0\n")
    store_package.migrate(config)
    store = await store_package.open(config, clock, worker="w")
    box = await new_inbox(store)
    kept, queued, refusals = {}, [], []
    for number in range(4000):
        try:
            message = await new_message(store, number, size=size)
            kept[await store.write(lambda tx, message=message: mailboxes.append(tx, box, message))] = message.content.blob
            prepared = await store.blobs.prepare(Body.of(octets(number, size)), DOMAIN)
            trace = f"T{number}"
            new = NewQueued(trace, prepared, envelope("bob@beta.test"))
            await store.write(lambda tx, new=new: queue.add(tx, new))
            queued.append(trace)
        except Deferred as error:
            refusals.append((error.reply.code, error.reply.enhanced))
            if len(refusals) == 5:
                break
    assert refusals == [(452, "4.3.1")] * 5
    assert kept
    rows = {row.uid: row.blob for row in await store.read(lambda rx: mailboxes.rows(rx, box, None))}
    assert rows == kept
    assert await store.check() == []
    await store.close()

    _make_room(config.node.data)
    again = await store_package.open(config, clock, worker="w")
    assert await again.check() == []
    for delivery in await again.write(lambda tx: queue.claim(tx, tx.now, 10_000, 60)):
        outcomes = [Outcome(one.id, State.SENT, "250") for one in delivery.pending]
        await again.write(lambda tx, delivery=delivery, outcomes=outcomes: queue.record(tx, delivery, outcomes, None))
        queued.remove(delivery.trace)
    assert queued == []
    await again.write(lambda tx: mailboxes.remove(tx, box, list(kept)))
    assert await again.check() == []
    await again.close()


def _make_room(place):
    subprocess.run(["mount", "-o", "remount,size=60m", place], check=True)
