"""A worker to be killed: `python -m tests.store.crasher CONFIG-DIRECTORY STORE-ADDRESS NAME COUNT`.

Appends messages, queues, claims and records; prints each thing on standard output only after the store has
committed it. Whatever was printed must be there afterwards.
"""

import asyncio
import sys
from pathlib import Path

from mssgw import store as store_package
from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.core.clock import SystemClock
from mssgw.store import accounts, mailboxes, queue
from mssgw.store.mailboxes import FlagOp
from mssgw.store.queue import NewQueued, Outcome, State
from tests.conftest import make_config
from tests.store.messages import DOMAIN, envelope, new_message, octets

LEASE = 0.2  # seconds: the next process takes over what the last one had claimed


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(base: Path, address: str, name: str, count: int) -> None:
    store = await store_package.open(make_config(base, address), SystemClock(), worker=name)
    alice = await store.read(lambda rx: accounts.by_address(rx, Address("alice", DOMAIN)))
    box = (await store.read(lambda rx: mailboxes.by_name(rx, alice.id, "INBOX"))).id

    async def one(number: int) -> None:
        key = f"{name}-{number}"
        size = 300_000 if number % 5 == 0 else 400
        message = await new_message(store, hash(key) % 10**9, size=size)
        uid = await store.write(lambda tx: mailboxes.append(tx, box, message))
        say("appended", uid, message.content.blob)
        await store.write(lambda tx: mailboxes.store_flags(tx, box, [uid], FlagOp.ADD, ["$Done"]))
        say("flagged", uid)
        if number % 7 == 0:
            await store.write(lambda tx: mailboxes.remove(tx, box, [uid]))
            say("removed", uid)
        prepared = await store.blobs.prepare(Body.of(octets(hash(key) % 10**9, size)), DOMAIN)
        await store.write(lambda tx: queue.add(tx, NewQueued(key, prepared, envelope("a@beta.test", "b@gamma.test"))))
        say("queued", key)
        for delivery in await store.write(lambda tx: queue.claim(tx, tx.now, 2, LEASE)):
            outcomes = [Outcome(each.id, State.SENT, "250 ok") for each in delivery.pending]
            try:
                await store.write(lambda tx, delivery=delivery, outcomes=outcomes: queue.record(tx, delivery, outcomes, None))
            except queue.LeaseLost:
                continue
            say("sent", delivery.trace, delivery.domain)

    say("ready")
    for start in range(0, count, 4):
        await asyncio.gather(*(one(number) for number in range(start, start + 4)))
    await store.close()
    say("done")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
