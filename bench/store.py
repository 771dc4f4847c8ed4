"""Benchmark of the store alone: group commit, append, snapshot, ENVELOPE, flags, claims.

    python bench/store.py [messages=100000] [sqlite | postgresql://…] [directory]

Callers, event loop and writer thread share one process, as in a worker. Every number is for work that is
durable when it is counted. Nothing is asserted; `bench/README.md` says what was measured where.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mssgw import store as store_package
from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.clock import SystemClock
from mssgw.core.config import parse
from mssgw.core.envelope import Envelope, Origin, OriginKind, Recipient
from mssgw.store import Store, accounts, facts, mailboxes, queue
from mssgw.store.mailboxes import FlagOp, NewMessage, Want
from tests.configurations import alpha

DOMAIN = Domain("alpha.mssante.test")


@dataclass(frozen=True)
class Described:
    envelope: bytes
    bodystructure: bytes
    body: bytes
    header_size: int


ENVELOPE = Described(b"E" * 440, b"S" * 220, b"B" * 180, 26)


def message(number: int, size: int) -> Body:
    head = b"Message-ID: <%d@bench>\r\n\r\n" % number
    return Body.of(head + b"x" * (size - len(head)))


def show(name: str, seconds: float, count: int = 1) -> None:
    sys.stdout.write(f"{name:58s} {seconds * 1000:10.1f} ms {count / seconds:12.0f} /s\n")
    sys.stdout.flush()


async def many(store: Store, name: str, total: int, callers: int, work: Callable[[int], object]) -> None:
    numbers = iter(range(total))

    async def caller() -> None:
        for number in numbers:
            await work(number)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    show(f"{name}, {callers} callers", time.perf_counter() - started, total)


async def main(count: int, address: str, directory: Path) -> None:
    (directory / "master.key").write_bytes(bytes(32))
    (directory / "anchors").mkdir(exist_ok=True)
    config = parse(alpha(node=f'store = "{address if "://" in address else "sqlite:store.db"}"'), directory)
    store_package.migrate(config)
    store = await store_package.open(config, SystemClock(), worker="bench")
    account = await store.write(lambda tx: accounts.add(tx, accounts.NewAccount(Address("bench", DOMAIN))))
    inbox = (await store.read(lambda rx: mailboxes.by_name(rx, account.id, "INBOX"))).id

    await many(store, "small rows", 10_000, 50, lambda n: store.write(lambda tx: facts.put(tx, f"n{n % 500}", n)))
    await many(store, "small rows", 2_000, 1, lambda n: store.write(lambda tx: facts.put(tx, f"n{n % 500}", n)))

    async def append(number: int) -> None:
        prepared = await store.blobs.prepare(message(number, 10_000), DOMAIN, ENVELOPE)
        await store.write(lambda tx: mailboxes.append(tx, inbox, NewMessage(prepared)))

    await many(store, "append 10 kB", 2_000, 1, append)
    await many(store, "append 10 kB", 6_000, 20, lambda n: append(n + 10_000))

    async def large(number: int) -> None:
        prepared = await store.blobs.prepare(message(number, 1_000_000), DOMAIN, ENVELOPE)
        await store.write(lambda tx: mailboxes.append(tx, inbox, NewMessage(prepared)))

    await many(store, "append 1 MB", 200, 4, large)

    origin = Origin(OriginKind.RELAY)
    envelope = Envelope(Address("a", DOMAIN), (Recipient(Address("b", Domain("beta.test"))),), origin)

    async def enqueue(number: int) -> None:
        prepared = await store.blobs.prepare(message(number, 10_000), DOMAIN)
        await store.write(lambda tx: queue.add(tx, queue.NewQueued(f"T{number}", prepared, envelope)))

    await many(store, "enqueue 10 kB", 4_000, 50, enqueue)
    started, done = time.perf_counter(), 0
    while claimed := await store.write(lambda tx: queue.claim(tx, tx.now, 50, 60)):
        await asyncio.gather(
            *(
                store.write(
                    lambda tx, one=one: queue.record(
                        tx, one, [queue.Outcome(each.id, queue.State.SENT, "250 ok") for each in one.pending], None
                    )
                )
                for one in claimed
            )
        )
        done += len(claimed)
    show("claim 50, record each", time.perf_counter() - started, done)

    box = (await store.write(lambda tx: mailboxes.create(tx, account.id, "Large"))).id
    started = time.perf_counter()
    for start in range(0, count, 1000):
        news = [
            NewMessage(await store.blobs.prepare(message(n, 300), DOMAIN, ENVELOPE), frozenset({"\\Seen"}) if n % 3 else frozenset())
            for n in range(1_000_000 + start, 1_000_000 + min(count, start + 1000))
        ]
        await store.write(lambda tx, news=news: mailboxes.append_many(tx, box, news))
    show("fill, 1000 in a commit, 300 octets each", time.perf_counter() - started, count)

    for again in ("", " again"):
        started = time.perf_counter()
        await store.read(lambda rx: mailboxes.snapshot(rx, box))
        show(f"snapshot of {count}{again}", time.perf_counter() - started, count)
    for again in ("", " again"):
        started = time.perf_counter()
        for start in range(1, count + 1, 2000):
            uids = range(start, min(count + 1, start + 2000))
            await store.read(lambda rx, uids=uids: mailboxes.rows(rx, box, uids, Want.ENVELOPE))
        show(f"ENVELOPE of {count}, 2000 at a time{again}", time.perf_counter() - started, count)
    started = time.perf_counter()
    for start in range(1, count + 1, 2000):
        await store.read(lambda rx, start=start: mailboxes.rows(rx, box, range(start, min(count + 1, start + 2000))))
    show(f"light rows of {count}, 2000 at a time", time.perf_counter() - started, count)
    started = time.perf_counter()
    rows = await store.read(lambda rx: mailboxes.rows(rx, inbox, range(1, 5001)))
    octets = 0
    for start in range(0, len(rows), 100):
        bodies = await store.blobs.read_many([row.content for row in rows[start : start + 100]])
        octets += sum(body.size for body in bodies.values())
    took = time.perf_counter() - started
    show(f"bodies, 10 kB, 100 at a time ({octets / 1e6 / took:.0f} MB/s)", took, len(rows))

    await many(
        store,
        "STORE one flag",
        3_000,
        1,
        lambda n: store.write(lambda tx: mailboxes.store_flags(tx, box, [n + 1], FlagOp.ADD, ["\\Flagged"])),
    )
    started = time.perf_counter()
    await store.write(lambda tx: mailboxes.store_flags(tx, box, range(1, count + 1), FlagOp.ADD, ["\\Answered"]))
    show(f"STORE 1:{count} +FLAGS", time.perf_counter() - started, count)
    modseq = (await store.read(lambda rx: mailboxes.get(rx, box))).modseq
    await store.write(lambda tx: mailboxes.store_flags(tx, box, range(1, 1001), FlagOp.ADD, ["$Done"]))
    started = time.perf_counter()
    await store.read(lambda rx: mailboxes.changes_since(rx, box, modseq))
    show("changes since, 1000 changed", time.perf_counter() - started, 1000)
    other = (await store.write(lambda tx: mailboxes.create(tx, account.id, "Other"))).id
    started = time.perf_counter()
    await store.write(lambda tx: mailboxes.copy(tx, box, range(1, 1001), other))
    show("COPY 1000", time.perf_counter() - started, 1000)
    started = time.perf_counter()
    await store.write(lambda tx: mailboxes.remove(tx, box, range(1, 1001)))
    show("remove 1000", time.perf_counter() - started, 1000)
    await many(store, "read one mailbox", 3_000, 1, lambda _n: store.read(lambda rx: mailboxes.get(rx, inbox)))
    started = time.perf_counter()
    problems = await store.check(deep=False)
    show(f"check, {len(problems)} problems", time.perf_counter() - started)
    await store.close()


if __name__ == "__main__":
    given = sys.argv[1:] + ["100000", "sqlite"][len(sys.argv) - 1 :]
    base = Path(given[2]) if len(given) > 2 else Path(tempfile.mkdtemp(prefix="mssgw-bench-"))
    try:
        asyncio.run(main(int(given[0]), given[1], base))
    finally:
        shutil.rmtree(base, ignore_errors=True)
