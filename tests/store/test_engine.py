"""The writer: shared commits, savepoints, retries, and the errors that callers get when the store fails."""

import asyncio
import sqlite3
import threading

import pytest
import sqlalchemy as sa

from mssgw import store as store_package
from mssgw.core.errors import Deferred, Refused
from mssgw.store import database, facts, faults
from mssgw.store.faults import Fault


async def test_a_failing_caller_does_not_hurt_its_neighbours(store):
    def good(number):
        return lambda tx: facts.put(tx, f"n{number}", number)

    def bad(tx):
        facts.put(tx, "bad", 1)
        raise Refused("no")

    answers = await asyncio.gather(*(store.write(bad if n % 3 == 0 else good(n)) for n in range(30)), return_exceptions=True)
    assert [isinstance(one, Refused) for one in answers] == [n % 3 == 0 for n in range(30)]
    kept = await store.read(lambda rx: {n for n in range(30) if facts.get(rx, f"n{n}") is not None})
    assert kept == {n for n in range(30) if n % 3}
    assert await store.read(lambda rx: facts.get(rx, "bad")) is None


async def test_a_failing_statement_does_not_hurt_its_neighbours(store):
    def broken(tx):
        tx.run(sa.text("SELECT * FROM no_such_table"))

    answers = await asyncio.gather(
        store.write(lambda tx: facts.put(tx, "a", 1)),
        store.write(broken),
        store.write(lambda tx: facts.put(tx, "b", 2)),
        return_exceptions=True,
    )
    assert isinstance(answers[1], sa.exc.DBAPIError)
    assert await store.read(lambda rx: (facts.get(rx, "a"), facts.get(rx, "b"))) == (1, 2)


async def test_waiting_callers_share_a_commit(sqlite_store):
    gate, entered, commits = threading.Event(), threading.Event(), []
    sa.event.listen(sqlite_store._write_engine, "commit", lambda _connection: commits.append(1))

    def slow(tx):
        entered.set()
        assert gate.wait(10)

    first = asyncio.ensure_future(sqlite_store.write(slow))
    await asyncio.to_thread(entered.wait, 10)
    rest = [asyncio.ensure_future(sqlite_store.write(lambda tx, n=n: facts.put(tx, f"n{n}", n))) for n in range(50)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *rest)
    assert len(commits) == 2


async def test_a_cancelled_caller_is_committed_all_the_same(store):
    gate, entered = threading.Event(), threading.Event()

    def work(tx):
        entered.set()
        assert gate.wait(10)
        facts.put(tx, "kept", True)

    task = asyncio.ensure_future(store.write(work))
    await asyncio.to_thread(entered.wait, 10)
    task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.write(lambda tx: None)
    assert await store.read(lambda rx: facts.get(rx, "kept")) is True


async def test_nothing_is_rung_for_what_was_rolled_back(store):
    def work(tx):
        tx.ring("queue")
        raise Refused("no")

    with store.doorbell.subscribe("queue") as bell:
        with pytest.raises(Refused):
            await store.write(work)
        assert bell.take() == frozenset()


async def test_close_commits_what_was_handed_over(config, clock):
    store = await store_package.open(config, clock, worker="w1")
    writes = [asyncio.ensure_future(store.write(lambda tx, n=n: facts.put(tx, f"n{n}", n))) for n in range(20)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    with pytest.raises(Deferred):
        await store.write(lambda tx: None)
    again = await store_package.open(config, clock, worker="w2")
    assert await again.read(lambda rx: [facts.get(rx, f"n{n}") for n in range(20)]) == list(range(20))
    await again.close()


async def test_a_reader_sees_one_moment(store):
    await store.write(lambda tx: facts.put(tx, "a", 1))
    half, go_on = threading.Event(), threading.Event()

    def look(rx):
        first = facts.get(rx, "a")
        half.set()
        assert go_on.wait(10)
        return first, facts.get(rx, "a")

    reading = asyncio.ensure_future(store.read(look))
    await asyncio.to_thread(half.wait, 10)
    await store.write(lambda tx: facts.put(tx, "a", 2))
    go_on.set()
    assert await reading == (1, 1)


async def test_deadlocks_run_again(store, open_again):
    """Two workers take two rows in opposite order; on PostgreSQL that is a deadlock, and the one who is sent away comes again."""
    other = await open_again("w2")
    for name in "ab":
        await store.write(lambda tx, name=name: facts.put(tx, name, "nobody"))
    meet = threading.Barrier(2)
    began = []

    def crossing(who, first, second):
        def work(tx):
            began.append(who)
            facts.put(tx, first, who)
            if tx.dialect == "postgresql" and len(began) <= 2:
                meet.wait(60)
            facts.put(tx, second, who)

        return work

    await asyncio.gather(store.write(crossing("w1", "a", "b")), other.write(crossing("w2", "b", "a")))
    last = await store.read(lambda rx: (facts.get(rx, "a"), facts.get(rx, "b")))
    assert last in {("w1", "w1"), ("w2", "w2")}
    assert last[0] == began[-1]  # who came again came last
    assert len(began) == await store.read(lambda rx: 3 if rx.dialect == "postgresql" else 2)


async def test_a_full_disk_is_452(sqlite_store):
    def shrink(tx):
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")

    await sqlite_store.write(shrink)
    with pytest.raises(Deferred) as caught:
        await sqlite_store.write(lambda tx: facts.put(tx, "big", "x" * 100_000))
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (452, "4.3.1")
    await sqlite_store.write(lambda tx: tx.connection.exec_driver_sql("PRAGMA max_page_count = 1000000"))
    await sqlite_store.write(lambda tx: facts.put(tx, "big", "x" * 100_000))


async def test_a_lock_that_stays_is_deferred_and_nobody_hangs(sqlite_config, clock, monkeypatch):
    monkeypatch.setattr("mssgw.store.database.BUSY_SECONDS", 0)
    monkeypatch.setattr("mssgw.store.engine.RETRIES", 2)
    store = await store_package.open(sqlite_config, clock, worker="w")
    other = sqlite3.connect(sqlite_config.node.data / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Deferred):
        await store.write(lambda tx: facts.put(tx, "a", 1))
    other.execute("ROLLBACK")
    other.close()
    await store.write(lambda tx: facts.put(tx, "a", 1))
    await store.close()


async def test_a_lost_server_is_deferred_then_found_again(pg, tmp_path, clock):
    from tests.conftest import make_config

    name = pg.create()
    config = make_config(tmp_path, pg.url(name))
    store_package.migrate(config)
    store = await store_package.open(config, clock, worker="w")
    await store.write(lambda tx: facts.put(tx, "a", 1))
    pg.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()")
    await store.write(lambda tx: facts.put(tx, "a", 2))  # run again on a new connection
    assert await store.read(lambda rx: facts.get(rx, "a")) == 2
    await store.close()
    pg.drop(name)


async def test_a_commit_of_unknown_outcome_is_deferred(pg, tmp_path, clock):
    """The server goes away between the last statement and the answer to COMMIT."""
    from tests.conftest import make_config

    name = pg.create()
    config = make_config(tmp_path, pg.url(name))
    store_package.migrate(config)
    store = await store_package.open(config, clock, worker="w")

    def cut(_connection):
        pg.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND state = 'idle in transaction'")

    sa.event.listen(store._write_engine, "commit", cut, once=True)
    with pytest.raises(Deferred):
        await store.write(lambda tx: facts.put(tx, "a", 1))
    await store.write(lambda tx: facts.put(tx, "b", 1))
    assert await store.read(lambda rx: facts.get(rx, "b")) == 1
    await store.close()
    pg.drop(name)


def test_faults_of_strangers_are_bugs():
    assert faults.classify(ValueError("x")) is Fault.BUG
    assert faults.classify(OSError(5, "EIO")) is Fault.FAILED
    assert faults.classify(sqlite3.DatabaseError("no name")) is Fault.BUG


async def test_workers_take_turns_and_bring_along_who_came_meanwhile(sqlite_store):
    """While another process writes, callers gather; when our turn comes they share one commit."""
    commits = []
    sa.event.listen(sqlite_store._write_engine, "commit", lambda _connection: commits.append(1))
    other = database.Turn(sqlite_store._write_engine.url)
    with other:
        first = asyncio.ensure_future(sqlite_store.write(lambda tx: facts.put(tx, "first", 1)))
        rest = [asyncio.ensure_future(sqlite_store.write(lambda tx, n=n: facts.put(tx, f"n{n}", n))) for n in range(20)]
        await asyncio.sleep(0)
        assert not commits
    await asyncio.gather(first, *rest)
    assert len(commits) == 1
    other.close()


async def test_commits_are_durable_whatever_the_server_prefers(pg, tmp_path, clock):
    """The tests' own server has synchronous_commit = off; our connections haven't."""
    from tests.conftest import make_config

    name = pg.create()
    config = make_config(tmp_path, pg.url(name))
    store_package.migrate(config)
    store = await store_package.open(config, clock, worker="w")
    assert await store.write(lambda tx: tx.connection.exec_driver_sql("SHOW synchronous_commit").scalar()) == "on"
    await store.close()
    pg.drop(name)


async def test_sqlite_commits_are_durable(sqlite_store):
    pragmas = {
        name: await sqlite_store.write(lambda tx, name=name: tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar())
        for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
