"""The queue: claims are leases, an outcome is recorded once, the journal lists what happened."""

import asyncio
from datetime import timedelta

import pytest

from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.envelope import DsnOptions, Envelope, Notify, Origin, OriginKind, Recipient, Ret, TlsFacts
from mssgw.core.errors import NotFound
from mssgw.store import audit, queue
from mssgw.store.queue import LeaseLost, NewQueued, Outcome, State
from tests.store.messages import DOMAIN, enqueue, octets


async def claim(store, limit=10, seconds=60, busy=()):
    return await store.write(lambda tx: queue.claim(tx, tx.now, limit, seconds, busy))


async def record(store, delivery, state, reply="250 2.0.0 ok", due=None):
    outcomes = [Outcome(one.id, state, reply) for one in delivery.pending]
    return await store.write(lambda tx: queue.record(tx, delivery, outcomes, due))


async def test_everything_given_comes_back(store):
    prepared = await store.blobs.prepare(Body.of(octets()), DOMAIN)
    bob = Recipient(Address.parse("bob@beta.mssante.test"), frozenset({Notify.SUCCESS, Notify.DELAY}), "rfc822;Bob@beta", True)
    eve = Recipient(Address.parse("ève@beta.mssante.test"))
    origin = Origin(OriginKind.RELAY, "192.0.2.1", "mx.gamma", TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "ab" * 32), None, "CN=gamma")
    envelope = Envelope(None, (bob, eve), origin, DsnOptions(Ret.HDRS, "Env+Id"), utf8=True, body_8bit=True)
    await store.write(lambda tx: queue.add(tx, NewQueued("T1", prepared, envelope, "<1@alpha>")))
    (delivery,) = await claim(store)
    assert delivery.envelope == envelope
    assert (delivery.trace, delivery.domain, delivery.size, delivery.message_id) == ("T1", "beta.mssante.test", prepared.size, "<1@alpha>")
    assert (await store.blobs.read(delivery.content)).read() == octets()
    assert [one.address for one in delivery.pending] == [bob.address, eve.address]


async def test_one_delivery_for_each_domain(store):
    ids = await enqueue(store, "T1", "a@beta.test", "b@gamma.test", "c@beta.test")
    assert len(ids) == 2
    found = {one.domain: len(one.recipients) for one in await claim(store)}
    assert found == {"beta.test": 2, "gamma.test": 1}


async def test_a_claim_excludes_others_until_the_lease_ends(store, clock):
    await enqueue(store, "T1")
    (first,) = await claim(store, seconds=60)
    assert await claim(store) == ()
    assert await store.read(queue.next_due) == clock.now() + timedelta(seconds=60)
    clock.advance(61)
    (second,) = await claim(store)
    assert second.id == first.id
    assert second.fence == first.fence + 1
    with pytest.raises(LeaseLost):
        await record(store, first, State.SENT)
    assert await record(store, second, State.SENT) is True


async def test_a_lease_that_ended_still_counts_when_nobody_else_came(store, clock):
    await enqueue(store, "T1")
    (delivery,) = await claim(store, seconds=60)
    clock.advance(600)
    assert await record(store, delivery, State.SENT) is True


async def test_renewed_leases_hold(store, clock):
    await enqueue(store, "T1")
    (delivery,) = await claim(store, seconds=60)
    clock.advance(50)
    await store.write(lambda tx: queue.renew(tx, delivery, tx.now + timedelta(seconds=60)))
    clock.advance(50)
    assert await claim(store) == ()


async def test_released_deliveries_are_due_at_once_or_later(store, clock):
    await enqueue(store, "T1")
    (delivery,) = await claim(store)
    await store.write(lambda tx: queue.release(tx, delivery))
    (delivery,) = await claim(store)
    assert delivery.attempts == 0
    await store.write(lambda tx: queue.release(tx, delivery, tx.now + timedelta(seconds=5)))
    assert await claim(store) == ()
    clock.advance(6)
    assert len(await claim(store)) == 1


async def test_two_workers_never_claim_the_same(store, open_again):
    for number in range(30):
        await enqueue(store, f"T{number}")
    other = await open_again("w2")
    claims = await asyncio.gather(*(claim(one, limit=4) for one in (store, other) * 5))
    ids = [delivery.id for one in claims for delivery in one]
    assert len(ids) == len(set(ids)) == 30


async def test_busy_domains_are_left_alone(store):
    await enqueue(store, "T1", "a@beta.test", "b@gamma.test")
    (delivery,) = await claim(store, busy={Domain("beta.test")})
    assert delivery.domain == "gamma.test"


async def test_retry_keeps_what_was_sent(store, clock):
    await enqueue(store, "T1", "a@beta.test", "b@beta.test")
    (delivery,) = await claim(store)
    first, second = delivery.recipients
    later = clock.now() + timedelta(seconds=300)
    outcomes = [Outcome(first.id, State.SENT, "250 ok"), Outcome(second.id, State.QUEUED, "451 4.3.0 later")]
    assert await store.write(lambda tx: queue.record(tx, delivery, outcomes, later)) is False
    assert await claim(store) == ()
    clock.advance(300)
    (delivery,) = await claim(store)
    assert [one.address.local for one in delivery.pending] == ["b"]
    assert delivery.pending[0].reply == "451 4.3.0 later"
    assert delivery.attempts == 1
    assert await record(store, delivery, State.FAILED, "550 5.1.1 unknown") is True
    told = await store.read(lambda rx: audit.find(rx, trace="T1"))
    assert [(one.what, one.recipient, one.outcome) for one in told] == [
        ("queued", None, "ok"),
        ("recipient", "a@beta.test", "sent"),
        ("recipient", "b@beta.test", "failed"),
    ]


async def test_recipients_left_need_a_due_time(store):
    await enqueue(store, "T1")
    (delivery,) = await claim(store)
    with pytest.raises(ValueError, match="next due"):
        await store.write(lambda tx: queue.record(tx, delivery, [], None))
    await store.write(lambda tx: queue.release(tx, delivery))  # and nothing of it was kept


async def test_a_message_ends_with_its_last_delivery(store):
    await enqueue(store, "T1", "a@beta.test", "b@gamma.test")
    first, second = await claim(store)
    await record(store, first, State.SENT)
    assert (await store.read(lambda rx: queue.show(rx, "T1"))).finished is None
    await record(store, second, State.EXPANDED)
    shown = await store.read(lambda rx: queue.show(rx, "T1"))
    assert shown.finished is not None
    assert {one.finished for one in shown.deliveries} == {shown.finished}
    assert await store.read(lambda rx: queue.list_all(rx)) == []


async def test_held_mail_waits_for_the_administrator(store):
    ids = await enqueue(store, "T1")
    assert await store.write(lambda tx: queue.hold(tx, ids, "root")) == 1
    assert await claim(store) == ()
    assert (await store.read(queue.count)).held == 1
    assert await store.write(lambda tx: queue.unhold(tx, ids)) == 1
    assert len(await claim(store)) == 1


async def test_retry_now(store, clock):
    ids = await enqueue(store, "T1")
    (delivery,) = await claim(store)
    assert await store.write(lambda tx: queue.retry(tx, ids)) == 0  # a worker holds it now
    await record(store, delivery, State.QUEUED, "451", clock.now() + timedelta(hours=1))
    assert await store.write(lambda tx: queue.retry(tx, ids)) == 1
    assert len(await claim(store)) == 1


async def test_drop_ends_it_even_under_a_worker(store):
    ids = await enqueue(store, "T1")
    (delivery,) = await claim(store)
    assert await store.write(lambda tx: queue.drop(tx, ids, "root", "spam")) == 1
    with pytest.raises(LeaseLost):
        await record(store, delivery, State.SENT)
    shown = await store.read(lambda rx: queue.show(rx, "T1"))
    assert [one.state for one in shown.deliveries[0].recipients] == [State.DROPPED]
    assert await store.write(lambda tx: queue.drop(tx, ids)) == 0


async def test_a_delay_is_reported_once(store):
    await enqueue(store, "T1")
    (delivery,) = await claim(store)
    await store.write(lambda tx: queue.tell_delay(tx, delivery))
    again = await store.read(lambda rx: queue.get(rx, delivery.id))
    assert delivery.delay_told is None
    assert again.delay_told is not None


async def test_counts(store, clock):
    await enqueue(store, "T1")
    await enqueue(store, "T2")
    held = await enqueue(store, "T3")
    await store.write(lambda tx: queue.hold(tx, held))
    await claim(store, limit=1)
    counts = await store.read(queue.count)
    assert (counts.waiting, counts.leased, counts.held, counts.oldest) == (2, 1, 1, clock.now())


async def test_a_claim_takes_no_more_than_its_limit_however_the_query_is_planned(config, store):
    """Regression: PostgreSQL ran the subquery once for each row of a nested loop, and each run claimed another delivery."""
    for trace in ("T1", "T2", "T3"):
        await enqueue(store, trace)

    def claim_by_a_nested_loop(tx):
        if tx.dialect == "postgresql":
            for way in ("hashagg", "hashjoin", "mergejoin", "sort", "material"):
                tx.connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        return queue.claim(tx, tx.now, 1, 60)

    assert len(await store.write(claim_by_a_nested_loop)) == 1
    assert (await store.read(queue.count)).leased == 1


async def test_purge_forgets_the_old_but_not_its_journal(store, clock):
    await enqueue(store, "T1")
    await record(store, (await claim(store))[0], State.SENT)
    await enqueue(store, "T2")
    clock.advance(days=2)
    assert await store.write(lambda tx: queue.purge(tx, tx.now - timedelta(days=1))) == 1
    with pytest.raises(NotFound):
        await store.read(lambda rx: queue.show(rx, "T1"))
    assert len(await store.read(lambda rx: audit.find(rx, trace="T1"))) == 2
    assert await store.read(lambda rx: queue.show(rx, "T2"))


async def test_nothing_waits_in_an_empty_queue(store):
    assert await store.read(queue.next_due) is None
    assert (await store.read(queue.count)).oldest is None
    with pytest.raises(NotFound):
        await store.read(lambda rx: queue.get(rx, 1))


async def test_what_is_due_too_far_away_is_brought_back_and_nothing_else(store, clock):
    """A lease from under a clock that was ahead is given up too; who still works on it records its outcome all the same."""
    for trace in ("FAR", "NEAR", "HELD", "LEASED"):
        await enqueue(store, trace)
    far, near, held, leased = await claim(store)
    day = timedelta(days=1)
    await record(store, far, State.QUEUED, due=clock.now() + 400 * day)
    await record(store, near, State.QUEUED, due=clock.now() + timedelta(minutes=5))
    await record(store, held, State.QUEUED, due=clock.now() + 400 * day)
    await store.write(lambda tx: queue.hold(tx, [held.id]))
    await store.write(lambda tx: queue.renew(tx, leased, tx.now + 400 * day))
    latest = clock.now() + timedelta(hours=1)
    assert await store.read(lambda rx: queue.is_far(rx, latest))
    assert await store.write(lambda tx: queue.bring_back(tx, latest)) == 2
    assert not await store.read(lambda rx: queue.is_far(rx, latest))
    due = {one.id: one.due - clock.now() for one in await store.read(queue.list_all)}
    assert due == {far.id: timedelta(hours=1), near.id: timedelta(minutes=5), held.id: 400 * day, leased.id: timedelta(hours=1)}
    assert await record(store, leased, State.SENT) is True
