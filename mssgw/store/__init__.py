"""The store: accounts, mailboxes, queue, audit, certificates. The only package with SQL.

    store.migrate(config)                                # once per start, before any worker
    store = await open(config, clock, worker="w1")
    await store.write(lambda tx: queue.add(tx, new))     # durable when it returns
    await store.read(lambda rx: mailboxes.snapshot(rx, box))
    with store.doorbell.subscribe("queue") as bell: await bell.wait(30)

Write order everywhere: content file -> fsync -> rename -> fsync folder -> SQL commit -> reply -> doorbell.
"""

from mssgw.store import accounts, audit, blobs, certificates, facts, mailboxes, queue
from mssgw.store.answer import require_answer
from mssgw.store.check import Problem
from mssgw.store.doorbell import Bell, Doorbell
from mssgw.store.engine import Reader, Transaction
from mssgw.store.migration import migrate
from mssgw.store.service import Store, open
from mssgw.store.sweep import Swept

__all__ = [
    "Bell",
    "Doorbell",
    "Problem",
    "Reader",
    "Store",
    "Swept",
    "Transaction",
    "accounts",
    "audit",
    "blobs",
    "certificates",
    "facts",
    "mailboxes",
    "migrate",
    "open",
    "queue",
    "require_answer",
]
