"""Sender: what is queued leaves. One task in each worker.

    due (doorbell or timer) -> claim a batch -> for each: listed? -> one attempt -> one transaction:
    per recipient sent | failed | not now until its next time; the audit rows; the reports that are due

Rules for each recipient: the class of the last reply decides; 4xx is tried again after [queue] retry_seconds and
given up at give_up_hours, with the last reply in the report. Whether the domain is listed is checked at each
attempt: the list changes while mail waits. A bug in an attempt is a temporary failure of that delivery. A failure
whose report has no room (full disk, full mailbox) is postponed too, while what was sent is recorded at once: for as long
again as mail is tried, then the failure is recorded without a report, which is an error in the log and an audit row.

Crash: the lease ends and another worker goes on. Between the peer's 250 and our record the message may be
sent twice, never lost (crash point `sender.sent`). The lease of a running attempt is renewed before it runs out;
one that is lost ends the attempt, and what it would have recorded is not written (fencing).

One slow operator doesn't delay the others: all domains of one operator have at most half of a worker's
deliveries at a time, and are left out of claims while they have that many.

Nothing is due farther away than the longest wait ([queue] retry_seconds, or a lease): what is, got its time from a clock that
was ahead, and is brought back when the sender starts and every HOUSEKEEPING_SECONDS, so also after a step of the clock.

Stop: nothing more is claimed, attempts get STOP_SECONDS to end, what is left is released at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Literal, Protocol

from mssgw.core.address import Domain
from mssgw.core.body import Body
from mssgw.core.clock import Clock
from mssgw.core.config import Config
from mssgw.core.envelope import Envelope, OperatorId
from mssgw.core.errors import MailError, reply_of
from mssgw.core.failures import log_failure
from mssgw.flow.bounce import Fate, Notice, Original, Reports
from mssgw.observe import ATTEMPT_SECONDS, DELIVERED, QUEUE_OLDEST, QUEUE_WAITING, Event, crash_point, log
from mssgw.protocol.dsn import Action
from mssgw.relay.client import Outcome
from mssgw.store import Store, Transaction, queue
from mssgw.store.queue import Delivery, DeliveryId, LeaseLost, State

STOP_SECONDS = 20
HOUSEKEEPING_SECONDS = 15
PURGE_EVERY = 240  # rounds of housekeeping
CROWD_SECONDS = 5  # for mail of an operator that has as many deliveries as it may
AGAIN_SECONDS = 1.0  # when something is due that we could not claim
STORE_DOWN_SECONDS = 5


class Carrier(Protocol):
    """What carries mail to other servers: `relay.outbound.Outbound`."""

    async def send(self, domain: Domain, envelope: Envelope, body: Body) -> tuple[Outcome, ...]:
        """One outcome for each recipient of the envelope."""

    async def run(self) -> None:
        """Keep its connections tidy until cancelled."""


class Operator(Protocol):
    @property
    def id(self) -> OperatorId: ...


Group = OperatorId | Domain  # whose deliveries are counted together; a domain counts alone when its operator isn't known


class Sender:
    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Clock,
        carrier: Carrier,
        reports: Reports,
        require_listed: Callable[[Domain], Sequence[Operator]],
    ) -> None:
        self._settings, self._store, self._clock = config.queue, store, clock
        self._carrier, self._reports, self._require_listed = carrier, reports, require_listed
        self._tasks: dict[DeliveryId, asyncio.Task[None]] = {}
        self._held: dict[DeliveryId, Group] = {}  # for which operator or domain each delivery counts
        self._places: Counter[Group] = Counter()
        self._groups: dict[Domain, Group] = {}  # of domains seen lately
        self._leases: dict[DeliveryId, Delivery] = {}  # of what is not being recorded yet
        self._wake = asyncio.Event()
        self._rounds = 0
        self._is_last = True

    async def run(self) -> None:
        """Send until cancelled; then release everything in order."""
        carrying = asyncio.create_task(self._carrier.run())
        try:
            await self._bring_back()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen())
                group.create_task(self._forever(self._renew, self._settings.lease_seconds / 3))
                group.create_task(self._forever(self._keep_house, HOUSEKEEPING_SECONDS))
                group.create_task(self._claim_forever())
        finally:
            await self._stop()
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)

    # claiming ------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        with self._store.doorbell.subscribe("queue") as bell:
            self._wake.set()
            async for _ in bell:
                self._wake.set()

    async def _claim_forever(self) -> None:
        while True:
            self._wake.clear()
            try:
                again = await self._claim()
            except Exception as error:
                log_failure(error)
                again = self._in(STORE_DOWN_SECONDS)
            if again is not None:
                await self._wait(again)

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)

    async def _claim(self) -> datetime | None:
        """Claim and start what is due and has room. Returns when to look again, unless woken; None: at once."""
        room = self._settings.concurrency - len(self._held)
        if room < max(1, self._settings.concurrency // 4):  # batches, not single claims: each is a transaction
            return self._in(HOUSEKEEPING_SECONDS)
        due = await self._store.read(queue.next_due)
        now = self._clock.now()
        if due is None or due > now:
            return min(due or self._in(HOUSEKEEPING_SECONDS), self._in(HOUSEKEEPING_SECONDS))
        half = max(1, self._settings.concurrency // 2)
        full = {group for group, count in self._places.items() if count >= half}
        busy = [domain for domain, group in self._groups.items() if group in full]
        lease, limit = self._settings.lease_seconds, min(room, half)
        claiming = asyncio.ensure_future(self._store.write(lambda tx: queue.claim(tx, now, limit, lease, busy)))
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._hold(await claiming)  # so that the stop releases them
            raise
        fresh = [one for one in claimed if one.id not in self._held]  # else our own lease ran out under a live attempt
        self._hold(fresh)
        crowd = [one for one in fresh if self._group(one.domain) in full]  # a domain of a full operator, not seen before
        await self._put_back(crowd)
        await self._start([one for one in fresh if one not in crowd])
        return None if claimed else self._in(AGAIN_SECONDS)

    def _group(self, domain: Domain) -> Group:
        if domain not in self._groups:
            try:
                operators = self._require_listed(domain)
            except MailError:
                operators = ()
            self._groups[domain] = operators[0].id if operators else domain
        return self._groups[domain]

    def _hold(self, claimed: Sequence[Delivery]) -> None:
        for delivery in claimed:
            group = self._group(delivery.domain)
            self._held[delivery.id], self._leases[delivery.id] = group, delivery
            self._places[group] += 1

    async def _put_back(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            later = self._in(CROWD_SECONDS)
            await self._store.write(lambda tx: _each(deliveries, lambda one: queue.release(tx, one, later)))
            for delivery in deliveries:
                self._let_go(delivery)

    async def _start(self, claimed: Sequence[Delivery]) -> None:
        bodies = await self._read(claimed)
        for delivery in claimed:
            task = asyncio.create_task(self._deliver(delivery, bodies.get(delivery.id)), name=f"deliver {delivery.trace}")
            self._tasks[delivery.id] = task
            task.add_done_callback(partial(self._ended, delivery))

    async def _read(self, claimed: Sequence[Delivery]) -> dict[DeliveryId, Body]:
        """The contents of a batch in one read. One that can't be read is left out, and its delivery gets the reason."""
        wanted = [delivery.content for delivery in claimed if delivery.content is not None]
        try:
            found = await self._store.blobs.read_many(wanted)
        except Exception as error:
            log_failure(error)
            return {}
        return {delivery.id: found[delivery.content] for delivery in claimed if delivery.content in found}

    def _ended(self, delivery: Delivery, task: asyncio.Task[None]) -> None:
        del self._tasks[delivery.id]
        self._let_go(delivery, keep_lease=task.cancelled())  # the stop releases it
        self._wake.set()

    def _let_go(self, delivery: Delivery, *, keep_lease: bool = False) -> None:
        self._places[self._held.pop(delivery.id)] -= 1
        if not keep_lease:
            self._leases.pop(delivery.id, None)

    async def _wait(self, until: datetime) -> None:
        """Waits until woken, or until that time."""
        timer = asyncio.ensure_future(self._clock.sleep((until - self._clock.now()).total_seconds()))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            woken.cancel()

    # one delivery --------------------------------------------------------------------------------

    async def _deliver(self, delivery: Delivery, body: Body | None) -> None:
        try:
            began = time.monotonic()
            outcomes, body = await self._attempt(delivery, body)
            ATTEMPT_SECONDS.observe(time.monotonic() - began)
            crash_point("sender.sent")
            await self._record(delivery, outcomes, body)
        except LeaseLost as error:
            log(Event.QUEUE_LEASE_LOST, "warning", trace=delivery.trace, domain=delivery.domain, reason=error.detail)
        except Exception as error:  # nothing was recorded: the lease ends, and the delivery is due again
            log_failure(error, trace=delivery.trace)

    async def _read_one(self, delivery: Delivery) -> Body:
        if delivery.content is None:
            raise ValueError(f"delivery {delivery.id} of {delivery.trace} has no content")
        return await self._store.blobs.read(delivery.content)

    async def _attempt(self, delivery: Delivery, body: Body | None) -> tuple[tuple[Outcome, ...], Body]:
        """One attempt, whatever happens in it. When the content can't be read, the report is made without it."""
        recipients = tuple(one.recipient for one in delivery.pending)
        try:
            body = body or await self._read_one(delivery)
            self._require_listed(delivery.domain)
            return await self._carrier.send(delivery.domain, replace(delivery.envelope, recipients=recipients), body), body
        except MailError as error:
            reply = error.reply
        except Exception as error:
            log_failure(error, trace=delivery.trace)
            reply = reply_of(error)
        return tuple(Outcome(one, reply) for one in recipients), body or Body.of(b"")

    async def _record(self, delivery: Delivery, outcomes: Sequence[Outcome], body: Body) -> None:
        verdict = self._judge(delivery, outcomes)
        original = Original(delivery.trace, delivery.envelope, delivery.message_id, delivery.received, lambda: body)
        self._leases.pop(delivery.id, None)  # a renewal after the record would undo its due time
        try:
            notices = await self._reports.prepare(original, verdict.fates)
            await self._store.write(lambda tx: self._write(tx, delivery, verdict, notices))
        except LeaseLost:
            raise
        except MailError as error:  # no room for the report: what was sent must not be sent again for that
            verdict = await self._record_unreported(delivery, verdict, original, error)
        crash_point("sender.recorded")
        self._tell(delivery, verdict)

    async def _record_unreported(self, delivery: Delivery, verdict: _Verdict, original: Original, error: MailError) -> _Verdict:
        """Postpone failures until a report to their sender has room; after the time allowed, record them without one."""
        now, patience = self._clock.now(), timedelta(hours=2 * self._settings.give_up_hours)
        if now < delivery.received + patience or all(fate.action is not Action.FAILED for fate in verdict.fates):
            log(Event.REPORT_PUT_OFF, "error", trace=delivery.trace, recipient=delivery.envelope.sender, reason=error)
            later = verdict.unreported(now + self._wait_of(delivery))
            await self._store.write(lambda tx: self._write(tx, delivery, later, ()))
            return later
        log(Event.REPORT_LOST, "error", trace=delivery.trace, recipient=delivery.envelope.sender, reason=error)

        def write(tx: Transaction) -> None:
            self._write(tx, delivery, verdict, ())
            self._reports.lost(tx, original, str(error.reply))

        await self._store.write(write)
        return verdict

    def _write(self, tx: Transaction, delivery: Delivery, verdict: _Verdict, notices: Sequence[Notice]) -> None:
        if verdict.tell_delay:
            queue.tell_delay(tx, delivery)
        queue.record(tx, delivery, verdict.outcomes, verdict.next_due)
        self._reports.commit(tx, notices)

    def _judge(self, delivery: Delivery, outcomes: Sequence[Outcome]) -> _Verdict:
        """What an attempt means for each recipient, and when the rest is due again."""
        now, settings = self._clock.now(), self._settings
        end = delivery.received + timedelta(hours=settings.give_up_hours)
        late = timedelta(hours=settings.delay_notice_hours) if settings.delay_notice_hours else None
        tell_delay = late is not None and delivery.delay_told is None and now - delivery.received >= late
        wait = self._wait_of(delivery)
        verdict = _Verdict()
        for one, outcome in zip(delivery.pending, outcomes, strict=True):
            state: State = State.FAILED
            action: Action | None = Action.FAILED
            if outcome.sent:
                state, action = State.SENT, None if outcome.dsn else Action.RELAYED  # RFC 3461 5.2.2
            elif outcome.temporary and now < end:
                state, action = State.QUEUED, Action.DELAYED if tell_delay else None
                verdict.next_due = max(now, min(now + wait, end))
            words = f"{outcome.host}: {outcome.reply}" if outcome.host else str(outcome.reply)
            verdict.outcomes.append(queue.Outcome(one.id, state, words))
            if action:
                expired = outcome.temporary and action is Action.FAILED
                verdict.fates.append(Fate(one.recipient, action, outcome.reply, outcome.host, expired))
        verdict.tell_delay = any(fate.action is Action.DELAYED for fate in verdict.fates)
        return verdict

    def _wait_of(self, delivery: Delivery) -> timedelta:
        waits = self._settings.retry_seconds
        return timedelta(seconds=waits[min(delivery.attempts, len(waits) - 1)])

    def _tell(self, delivery: Delivery, verdict: _Verdict) -> None:
        """The log and the metrics, after the commit."""
        for outcome in verdict.outcomes:
            event, level = _EVENTS[outcome.state]
            log(
                event,
                level,
                trace=delivery.trace,
                domain=delivery.domain,
                recipient=_address(delivery, outcome.recipient),
                attempt=delivery.attempts + 1,
                reply=outcome.reply,
            )
            if outcome.state.final:
                DELIVERED.labels(outcome.state.lower()).inc()

    # leases, numbers, the end --------------------------------------------------------------------

    async def _renew(self) -> None:
        """Keep what we are still working on; end attempts whose lease somebody else has now."""
        held, until = tuple(self._leases.values()), self._clock.now() + timedelta(seconds=self._settings.lease_seconds)
        if not held:
            return
        for delivery in await self._store.write(lambda tx: _each(held, lambda one: queue.renew(tx, one, until))):
            self._leases.pop(delivery.id, None)
            log(Event.QUEUE_LEASE_LOST, "warning", trace=delivery.trace, domain=delivery.domain)
            if task := self._tasks.get(delivery.id):
                task.cancel()

    def succeeded(self) -> None:
        """Another sender takes over in this process: the end of this one is no news."""
        self._is_last = False

    async def _bring_back(self) -> None:
        longest = max(*self._settings.retry_seconds, self._settings.lease_seconds, CROWD_SECONDS)
        latest = self._in(longest)
        try:
            if await self._store.read(lambda rx: queue.is_far(rx, latest)):
                count = await self._store.write(lambda tx: queue.bring_back(tx, latest))
                log(Event.QUEUE_BROUGHT_BACK, "warning", deliveries=count, due=f"{latest:%Y-%m-%dT%H:%M:%SZ}")
        except Exception as error:  # the store may be back at the next round
            log_failure(error)

    async def _keep_house(self) -> None:
        await self._bring_back()
        counts = await self._store.read(queue.count)
        for state in ("waiting", "leased", "held"):
            QUEUE_WAITING.labels(state).set(getattr(counts, state))
        self._places += Counter()  # drops zeros
        self._groups.clear()  # a domain's operator may change with the list
        QUEUE_OLDEST.set((self._clock.now() - counts.oldest).total_seconds() if counts.oldest else 0)
        self._rounds += 1
        if self._rounds % PURGE_EVERY == 0:
            before = self._clock.now() - timedelta(days=self._settings.keep_days)
            await self._store.write(lambda tx: queue.purge(tx, before))

    async def _forever(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            await self._clock.sleep(seconds)
            try:
                await work()
            except Exception as error:
                log_failure(error)

    async def _stop(self) -> None:
        tasks = set(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        left = tuple(self._leases.values())
        if left:
            await self._store.write(lambda tx: _each(left, lambda one: queue.release(tx, one)))
        self._leases.clear()
        if self._is_last:
            log(Event.QUEUE_STOPPED, released=len(left))


_EVENTS: dict[State, tuple[Event, Literal["info", "warning"]]] = {
    State.SENT: (Event.RELAY_SENT, "info"),
    State.QUEUED: (Event.RELAY_DEFERRED, "warning"),
    State.FAILED: (Event.RELAY_FAILED, "warning"),
}


@dataclass(slots=True)
class _Verdict:
    outcomes: list[queue.Outcome] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    next_due: datetime | None = None
    tell_delay: bool = False

    def unreported(self, again: datetime) -> _Verdict:
        """The same, with failures postponed until their report has room."""
        outcomes = [replace(one, state=State.QUEUED) if one.state is State.FAILED else one for one in self.outcomes]
        return _Verdict(outcomes, [], again if any(not one.state.final for one in outcomes) else None)


def _each(deliveries: Sequence[Delivery], work: Callable[[Delivery], None]) -> list[Delivery]:
    """Do it for each. Returns those whose lease is lost."""
    lost = []
    for delivery in deliveries:
        try:
            work(delivery)
        except LeaseLost:
            lost.append(delivery)
    return lost


def _address(delivery: Delivery, recipient: int) -> str:
    return next(str(one.address) for one in delivery.recipients if one.id == recipient)
