"""`mssgw queue` and `mssgw trace`, as people run them."""

import asyncio

import pytest

from mssgw import store as store_package
from mssgw.core.clock import SystemClock
from mssgw.core.config import load
from mssgw.store import queue
from mssgw.store.queue import Outcome, State
from tests.store.messages import enqueue


@pytest.fixture
def run(node):
    config = load(node.config)
    store_package.migrate(config)

    async def fill():
        store = await store_package.open(config, SystemClock(), worker="test")
        await enqueue(store, "AAAA", "bob@beta.mssante.test", "eve@gamma.mssante.test")
        await enqueue(store, "BBBB", "bob@beta.mssante.test")
        await enqueue(store, "BBBB-1", "ann@beta.mssante.test")
        (first, *_) = await store.write(lambda tx: queue.claim(tx, tx.now, 1, 60))
        later = [Outcome(one.id, State.QUEUED, "mx.beta.test: 451 4.3.0 try again") for one in first.recipients]
        await store.write(lambda tx: queue.record(tx, first, later, tx.now))
        await store.close()

    asyncio.run(fill())

    return node


def test_what_waits_with_its_last_words(run):
    listed = run("queue", "list", "--json")
    assert sorted(one["trace"] for one in listed) == ["AAAA", "AAAA", "BBBB", "BBBB-1"]
    assert {one["trace"] for one in run("queue", "list", "--domain", "gamma.mssante.test", "--json")} == {"AAAA"}
    shown = run("queue", "show", "AAAA", "--json")
    beta = next(one for one in shown["deliveries"] if one["domain"] == "beta.mssante.test")
    assert (beta["attempts"], beta["recipients"][0]["reply"]) == (1, "mx.beta.test: 451 4.3.0 try again")
    assert "451 4.3.0 try again" in run("queue", "show", "AAAA")
    assert "451 4.3.0 try again" in run("queue", "list")


def test_hold_release_retry_drop(run):
    assert run("queue", "hold", "AAAA", "--json") == {"changed": 2, "what": "held"}
    assert {one["trace"] for one in run("queue", "list", "--held", "--json")} == {"AAAA"}
    assert "Nothing was changed" in run("queue", "hold", "AAAA", status=1)
    assert run("queue", "release", "--domain", "gamma.mssante.test", "--json")["changed"] == 1
    assert run("queue", "retry", "BBBB", "--json")["changed"] == 1
    assert run("queue", "drop", "--all", "--json")["changed"] == 4
    assert run("queue", "list") == "Rien n'attend\nnothing waits\n"
    shown = run("queue", "show", "BBBB", "--json")
    assert shown["deliveries"][0]["recipients"][0]["state"] == "DROPPED"
    assert "Nothing was changed" in run("queue", "drop", "BBBB", status=1)


def test_nothing_is_meant_by_accident(run):
    for verb in ("retry", "hold", "release", "drop"):
        run("queue", verb, status=2)
        run("queue", verb, "AAAA", "--all", status=2)


def test_an_unknown_trace_is_a_sentence(run):
    assert run("queue", "show", "NONE", status=1).endswith("mssgw: No such message in the queue (trace NONE)\n")


@pytest.mark.parametrize("what", ["<BBBB@alpha.mssante.test>", "BBBB@alpha.mssante.test", "bbbb", "BBBB"])
def test_a_message_is_found_by_any_name(run, what):
    found = run("trace", what, "--json")
    assert found["entries"][0]["what"] == "queued"
    assert {one["trace"] for one in found["entries"]} >= {"BBBB"}
    assert found["waiting"][0]["domain"] == "beta.mssante.test"


def test_copies_of_a_message_are_listed_together(run):
    assert {one["trace"] for one in run("trace", "BBBB", "--json")["entries"]} == {"BBBB", "BBBB-1"}


def test_all_mail_of_an_address(run):
    assert {one["trace"] for one in run("trace", "alice@alpha.mssante.test", "--json")["entries"]} == {"AAAA", "BBBB", "BBBB-1"}
    assert "nothing is known" in run("trace", "nobody@alpha.mssante.test", status=1)
