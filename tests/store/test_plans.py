"""No statement of the daily work walks through a whole table: SQLite is asked for its plan of each one."""

import re

import sqlalchemy as sa

from mssgw.core.address import Address
from mssgw.store import accounts, audit, certificates, mailboxes, queue
from mssgw.store.mailboxes import FlagOp, Want
from mssgw.store.queue import Outcome, State
from tests.store.messages import enqueue, fill, new_account, new_message

SMALL = {"account", "bell", "domain_key", "json_each"}  # a handful of rows


async def test_daily_work_uses_indexes(sqlite_store):
    store, asked = sqlite_store, {}

    def remember(_connection, _cursor, statement, parameters, _context, many):
        if re.match(r"(SELECT|UPDATE|DELETE|INSERT)", statement):
            asked[statement] = parameters[0] if many else parameters

    for engine in (store._read_engine, store._write_engine):
        sa.event.listen(engine, "before_cursor_execute", remember)
    await _work(store)
    for engine in (store._read_engine, store._write_engine):
        sa.event.remove(engine, "before_cursor_execute", remember)

    def plans(rx):
        driver = rx.connection.connection.driver_connection
        return {
            (statement, row[3])
            for statement, parameters in asked.items()
            for row in driver.execute("EXPLAIN QUERY PLAN " + statement, parameters).fetchall()
        }

    found = await store.read(plans)
    assert len(asked) > 40
    walks = {
        (step, statement)
        for statement, step in found
        if (name := re.match(r"SCAN (\w+)", step)) and name[1] not in SMALL and "USING INDEX ix_delivery_due" not in step
    }
    assert walks == set()
    whole_mailbox = {statement for statement, step in found if step.endswith("PRIMARY KEY (mailbox_id=?)") and "message" in step}
    assert all("uid IN" not in statement and "modseq >" not in statement for statement in whole_mailbox), whole_mailbox


async def _work(store):
    alice = await new_account(store)
    boxes = {box.name: box.id for box in await store.read(lambda rx: mailboxes.list_all(rx, alice.id))}
    inbox, trash = boxes["INBOX"], boxes["Trash"]
    await fill(store, inbox, 5)
    message = await new_message(store, 7)
    bob = Address.parse("bob@beta.test")
    key = mailboxes.duplicate_key(bob, "<7@beta>", message.content.blob)
    for trace in ("T1", "T2"):
        await store.write(
            lambda tx, trace=trace: mailboxes.deliver(tx, inbox, message, key=key, trace=trace, sender=bob, message_id="<7@beta>")
        )
    for want in Want:
        for uids in (None, [1, 3], [2]):
            rows = await store.read(lambda rx, uids=uids, want=want: mailboxes.rows(rx, inbox, uids, want))
            await store.blobs.read_many([row.content for row in rows])
    await store.read(lambda rx: (mailboxes.snapshot(rx, inbox), mailboxes.changes_since(rx, inbox, 1), accounts.by_address(rx, bob)))
    for uids in ([1], [1, 2, 3]):
        await store.write(lambda tx, uids=uids: mailboxes.store_flags(tx, inbox, uids, FlagOp.ADD, [f"\\Deleted{len(uids)}", "\\Deleted"]))
    await store.write(lambda tx: mailboxes.claim_recent(tx, inbox))
    await store.write(lambda tx: mailboxes.copy(tx, inbox, [4], trash))
    await store.write(lambda tx: mailboxes.move(tx, inbox, [4], trash))
    await store.write(lambda tx: mailboxes.expunge(tx, inbox, [1, 2]))
    await store.write(lambda tx: mailboxes.create(tx, alice.id, "x/y"))
    await store.write(lambda tx: mailboxes.rename(tx, alice.id, "x", "z"))
    await store.write(lambda tx: mailboxes.delete(tx, alice.id, "z/y"))
    await store.write(lambda tx: certificates.add(tx, bob, b"der", "mail", tx.now))
    await store.read(lambda rx: certificates.of(rx, bob))
    await enqueue(store, "T3", "a@beta.test", "b@gamma.test")
    first, second = await store.write(lambda tx: queue.claim(tx, tx.now, 5, 60))
    await store.write(lambda tx: queue.release(tx, second))
    await store.write(lambda tx: queue.record(tx, first, [Outcome(one.id, State.SENT, "250") for one in first.pending], None))
    await store.write(lambda tx: queue.claim(tx, tx.now, 5, 60, ["x.test"]))
    await store.read(lambda rx: (queue.next_due(rx), queue.show(rx, "T3"), queue.get(rx, second.id)))
    await store.read(lambda rx: (audit.find(rx, trace="T3"), audit.find(rx, address=bob), audit.find(rx, message_id="<7@beta>")))
