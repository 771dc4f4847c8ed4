"""The doorbell: rings in this process and in others, only after the commit; when a ring is lost, no message is."""

import asyncio

from mssgw.store import facts, mailboxes, queue
from mssgw.store.doorbell import EVERYTHING
from tests.store.messages import enqueue, fill, new_account, new_inbox

PATIENCE = 20


async def test_those_who_wait_here_are_woken(store):
    box = await new_inbox(store)
    with store.doorbell.subscribe(f"mailbox:{box}") as bell:
        waiting = asyncio.ensure_future(bell.wait(PATIENCE))
        await fill(store, box, 1)
        assert await waiting == {f"mailbox:{box}"}
        assert bell.take() == frozenset()


async def test_those_who_wait_in_another_process_are_woken(store, open_again):
    other = await open_again()
    box = await new_inbox(store)
    with other.doorbell.subscribe(f"mailbox:{box}", "queue") as bell:
        await fill(store, box, 1)
        rung = await bell.wait(PATIENCE)
        assert f"mailbox:{box}" in rung
        assert (await other.read(lambda rx: mailboxes.get(rx, box))).messages == 1
        await enqueue(store, "T1")
        while "queue" not in await bell.wait(PATIENCE):
            pass
        assert await other.read(queue.next_due) is not None


async def test_only_what_was_asked_for(store):
    alice, bob = await new_inbox(store, "alice"), await new_inbox(store, "bob")
    with store.doorbell.subscribe(f"mailbox:{alice}") as bell, store.doorbell.subscribe("mailbox:") as every:
        await fill(store, bob, 1)
        assert bell.take() == frozenset()
        assert every.take() == {f"mailbox:{bob}"}
        bell.add(f"mailbox:{bob}")
        bell.remove(f"mailbox:{alice}")
        await fill(store, bob, 1)
        await fill(store, alice, 1)
        assert bell.take() == {f"mailbox:{bob}"}


async def test_mailbox_1_is_not_mailbox_12(sqlite_store):
    with sqlite_store.doorbell.subscribe("mailbox:1") as bell:
        await sqlite_store.write(lambda tx: tx.ring("mailbox:12"))
        assert bell.take() == frozenset()


async def test_rings_are_remembered_until_asked(store):
    account = await new_account(store)
    with store.doorbell.subscribe(f"account:{account.id}", "queue") as bell:
        await store.write(lambda tx: mailboxes.create(tx, account.id, "A"))
        await enqueue(store, "T1")
        assert await bell.wait(PATIENCE) == {f"account:{account.id}", "queue"}


async def test_silence_ends_with_nothing(store):
    with store.doorbell.subscribe("queue") as bell:
        assert await bell.wait(0.001) == frozenset()


async def test_a_closed_bell_is_forgotten(store):
    bell = store.doorbell.subscribe("queue", "mailbox:")
    bell.close()
    await store.write(lambda tx: tx.ring("queue"))
    assert bell.take() == frozenset()
    assert not store.doorbell._exact
    assert not store.doorbell._prefix


async def test_iterating(store):
    with store.doorbell.subscribe("queue") as bell:
        await store.write(lambda tx: tx.ring("queue"))
        async for rung in bell:
            assert rung == {"queue"}
            break


async def test_many_rings_between_two_looks_are_one(store, open_again):
    other = await open_again()
    with other.doorbell.subscribe("queue") as bell:
        for number in range(20):
            await store.write(lambda tx, number=number: (tx.ring("queue"), facts.put(tx, "n", number)))
        while await other.read(lambda rx: facts.get(rx, "n")) != 19 or "queue" not in await bell.wait(PATIENCE):
            pass


async def test_after_a_lost_connection_everybody_is_woken(pg, tmp_path, clock):
    from mssgw import store as store_package
    from tests.conftest import make_config

    name = pg.create()
    config = make_config(tmp_path, pg.url(name))
    store_package.migrate(config)
    store = await store_package.open(config, clock, worker="w")
    with store.doorbell.subscribe("mailbox:4711") as bell:
        pg.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()")
        assert EVERYTHING in await bell.wait(PATIENCE)
    await store.close()
    pg.drop(name)


async def test_a_lost_bell_is_found_by_the_modseq(pg, tmp_path, clock, monkeypatch):
    """PostgreSQL lost the notification: the poll sees the new modseq of the mailbox."""
    from mssgw import store as store_package
    from tests.conftest import make_config

    monkeypatch.setattr("mssgw.store.doorbell.SAFETY_SECONDS", 0.05)
    name = pg.create()
    config = make_config(tmp_path, pg.url(name))
    store_package.migrate(config)
    store = await store_package.open(config, clock, worker="w1")
    box, untouched = await new_inbox(store), await new_inbox(store, "bob")
    with store.doorbell.subscribe(f"mailbox:{box}", f"mailbox:{untouched}") as bell:
        assert await bell.wait(0.3) <= {f"mailbox:{box}"}
        pg.sql(f"UPDATE mailbox SET modseq = modseq + 1 WHERE id = {box}", name)
        assert await bell.wait(PATIENCE) == {f"mailbox:{box}"}
    await store.close()
    pg.drop(name)
