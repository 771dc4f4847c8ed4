"""What an attempt does to the queue: outcomes, due times, reports, leases, the end of a worker."""

import asyncio
from datetime import timedelta
from email import message_from_bytes
from email.policy import default

import pytest

from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.envelope import DEFAULT_NOTIFY, DsnOptions, Envelope, Notify, Origin, OriginKind, Recipient, Ret
from mssgw.core.errors import Deferred, Refused, Reply
from mssgw.flow.bounce import Reports
from mssgw.flow.delivery import LocalDelivery
from mssgw.flow.sender import Sender
from mssgw.observe import Event
from mssgw.protocol import dsn, mime
from mssgw.relay.client import Outcome
from mssgw.store import audit, mailboxes, queue
from mssgw.store.mailboxes import Want
from mssgw.store.queue import NewQueued, State
from tests.fakes import turns

HERE = Domain("alpha.mssante.test")
THERE = "beta.mssante.test"
MARTIN = "jeanne.martin@alpha.mssante.test"
BODY = Body.of(b"From: jeanne.martin@alpha.mssante.test\r\nMessage-ID: <m1@alpha.mssante.test>\r\n\r\nBonjour\r\n")

PATIENCE = 60  # seconds until a test gives up; nothing depends on how fast anything is
OK = Reply(250, "2.0.0", "queued as B1")
LATER = Reply(451, "4.3.0", "try again")
NEVER = Reply(550, "5.1.1", "no such mailbox")


class FakeCarrier:
    """Answers each attempt from a script; the last answer stays. An exception is raised."""

    def __init__(self):
        self.script = [OK]
        self.sent = []
        self.gate = None  # an Event that an attempt waits for
        self.busy = 0
        self.most_busy = 0
        self.changed = asyncio.Event()  # set at each step

    async def send(self, domain, envelope, body):
        self.sent.append((domain, envelope, body.read()))
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        self.changed.set()
        try:
            if self.gate:
                await self.gate.wait()
        finally:
            self.busy -= 1
            self.changed.set()
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, dict):
            return tuple(Outcome(one, answer[str(one.address)], "mx.beta.test", dsn=True) for one in envelope.recipients)
        return tuple(Outcome(one, answer, "mx.beta.test", dsn=True) for one in envelope.recipients)

    async def run(self):
        await asyncio.Event().wait()


@pytest.fixture
def carrier():
    return FakeCarrier()


class Office:
    """A running sender and what tests ask about it."""

    def __init__(self, config, store, clock, carrier, trust):
        self.config, self.store, self.clock, self.carrier, self.trust = config, store, clock, carrier, trust
        self.reports = Reports(config, store, clock, LocalDelivery(config, store))
        self.numbers = 0
        self.task = self.sender = None
        self.happened = clock.changed = carrier.changed = asyncio.Event()
        committed = store.write

        async def write(function):
            try:
                return await committed(function)
            finally:
                self.happened.set()

        store.write = write

    def start(self):
        self.sender = Sender(self.config, self.store, self.clock, self.carrier, self.reports, self.trust.require_listed)
        self.task = asyncio.create_task(self.sender.run())
        self.task.add_done_callback(lambda task: self.happened.set())
        return self.sender

    async def stop(self):
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None

    async def enqueue(self, *recipients, sender=MARTIN, dsn=None, body=BODY, utf8=False):
        self.numbers += 1
        trace = f"TRACE{self.numbers}"
        made = tuple(one if isinstance(one, Recipient) else Recipient(Address.parse(one)) for one in recipients)
        envelope = Envelope(Address.parse(sender) if sender else None, made, Origin(OriginKind.SUBMISSION), dsn or DsnOptions(), utf8)
        new = NewQueued(trace, await self.store.blobs.prepare(body, HERE), envelope, "<m1@alpha.mssante.test>")
        await self.store.write(lambda tx: queue.add(tx, new))
        return trace

    async def show(self, trace):
        return (await self.store.read(lambda rx: queue.show(rx, trace))).deliveries

    async def until(self, holds, *, jumping=False):
        """Until the condition holds, which is asked again after each commit and each step of the carrier.

        Test time stands still, or, `jumping`, goes on to the next moment that the sender waits for whenever it rests.
        """
        async with asyncio.timeout(PATIENCE):
            while True:
                self.happened.clear()
                if await holds():
                    return
                if jumping and self.rests() and not self.sender._tasks:
                    self.clock.advance((self.clock.asleep()[0] - self.clock.now()).total_seconds())
                else:
                    await self.happened.wait()

    def rests(self):
        """Whether the sender's three loops (claims, leases, resources) sleep."""
        return len(self.clock.asleep()) == 3

    async def at_rest(self):
        async def resting():
            return self.rests()

        await self.until(resting)

    async def advance(self, seconds=0, **delta):
        """Move test time, once nobody is about to begin a sleep that would start from the new time."""
        if self.task:
            await self.at_rest()
        self.clock.advance(seconds, **delta)

    async def at_work(self):
        """Until one delivery is under way."""

        async def busy():
            return self.carrier.busy == 1

        await self.until(busy)

    async def states(self, trace):
        return {str(one.address): one.state for delivery in await self.show(trace) for one in delivery.recipients}

    async def settled(self, trace, attempts=1, *, jumping=False):
        async def holds():
            return all(one.finished or (one.attempts >= attempts and not one.lease_until) for one in await self.show(trace))

        await self.until(holds, jumping=jumping)
        return await self.show(trace)

    async def inbox(self, account):
        def read(rx):
            box = mailboxes.by_name(rx, account.id, "INBOX")
            return mailboxes.rows(rx, box.id, None, Want.ENVELOPE)

        rows = await self.store.read(read)
        return [(await self.store.blobs.read(row.content)).read() for row in rows]


@pytest.fixture
async def office(sqlite_config, sqlite_store, clock, carrier, trust, people):
    made = Office(sqlite_config, sqlite_store, clock, carrier, trust)
    yield made
    await made.stop()


async def test_a_message_is_sent_and_each_step_is_in_its_trace(office, carrier):
    trace = await office.enqueue(f"a@{THERE}", f"b@{THERE}")
    office.start()
    (delivery,) = await office.settled(trace)
    assert [(one.state, one.reply) for one in delivery.recipients] == [(State.SENT, "mx.beta.test: 250 2.0.0 queued as B1")] * 2
    assert carrier.sent[0][0] == THERE
    assert carrier.sent[0][2] == BODY.read()
    rows = await office.store.read(lambda rx: audit.find(rx, trace=trace))
    assert [(row.what, row.outcome) for row in rows] == [("queued", "ok"), ("recipient", "sent"), ("recipient", "sent")]


async def test_the_bell_wakes_the_sender(office):
    office.start()
    await turns()
    trace = await office.enqueue(f"a@{THERE}")
    await office.settled(trace)
    assert await office.states(trace) == {f"a@{THERE}": State.SENT}


async def test_retries_follow_the_schedule(office, carrier, clock):  # RFC 5321 4.5.4
    """Waits of 60, 300, 900 … seconds, and only recipients that still wait are sent to again."""
    carrier.script = [{f"a@{THERE}": OK, f"b@{THERE}": LATER}, LATER, OK]
    trace = await office.enqueue(f"a@{THERE}", f"b@{THERE}")
    office.start()
    (delivery,) = await office.settled(trace)
    assert [one.state for one in delivery.recipients] == [State.SENT, State.QUEUED]
    assert delivery.recipients[1].reply == "mx.beta.test: 451 4.3.0 try again"
    assert delivery.due - clock.now() == timedelta(seconds=60)
    await office.advance(59)
    await turns(50)
    assert len(carrier.sent) == 1
    await office.advance(1)
    (delivery,) = await office.settled(trace, attempts=2)
    assert delivery.due - clock.now() == timedelta(seconds=300)
    assert [str(one.address) for one in carrier.sent[1][1].recipients] == [f"b@{THERE}"]
    await office.advance(300)
    (delivery,) = await office.settled(trace, attempts=3)
    assert delivery.finished


async def test_a_refusal_comes_back_to_the_sender(office, carrier, people):  # RFC 3464, 3834
    carrier.script = [{f"a@{THERE}": OK, f"b@{THERE}": NEVER}]
    trace = await office.enqueue(f"a@{THERE}", f"b@{THERE}")
    office.start()
    (delivery,) = await office.settled(trace)
    assert delivery.finished
    (octets,) = await office.inbox(people.jeanne)
    report = dsn.parse(octets)
    (told,) = report.recipients
    assert (told.final, told.action, told.status) == (f"b@{THERE}", dsn.Action.FAILED, "5.1.1")
    assert (told.remote_mta, told.diagnostic) == ("mx.beta.test", "smtp; 550 5.1.1 no such mailbox")
    assert report.original_message_id == "<m1@alpha.mssante.test>"
    message = message_from_bytes(octets, policy=default)
    assert message["Return-Path"] == "<>"
    assert message["Auto-Submitted"] == "auto-replied"
    words = message.get_body().get_content()
    assert words.index("n'a pas été remis") < words.index("was not delivered")
    assert trace in words
    rows = await office.store.read(lambda rx: audit.find(rx, trace=trace))
    assert ("reported", "failed", MARTIN) in [(row.what, row.outcome, row.recipient) for row in rows]


async def test_a_domain_out_of_the_list_is_refused_at_once(office, carrier, people):
    trace = await office.enqueue("x@omega.test")
    office.start()
    (delivery,) = await office.settled(trace)
    assert delivery.recipients[0].state is State.FAILED
    assert delivery.recipients[0].reply.startswith("550 5.1.2 Domain omega.test is not in the trust space")
    assert not carrier.sent
    assert dsn.parse((await office.inbox(people.jeanne))[0]).recipients[0].status == "5.1.2"


async def test_a_list_that_is_too_old_only_delays(office, carrier, trust):
    def too_old(domain):
        raise Deferred("The list is too old", enhanced="4.7.1")

    trust.require_listed = too_old
    trace = await office.enqueue(f"a@{THERE}")
    office.start()
    (delivery,) = await office.settled(trace)
    assert delivery.recipients[0].state is State.QUEUED
    assert "too old" in delivery.recipients[0].reply


async def test_late_mail_is_reported_once_and_given_up_in_the_end(office, carrier, clock, people):
    carrier.script = [LATER]
    trace = await office.enqueue(f"a@{THERE}")
    office.start()
    attempts = 1
    (delivery,) = await office.settled(trace)
    while not delivery.finished:
        await office.advance((delivery.due - clock.now()).total_seconds())
        attempts += 1
        (delivery,) = await office.settled(trace, attempts)
    assert timedelta(hours=120) <= clock.now() - delivery.received < timedelta(hours=120, minutes=5)
    late, gone = [dsn.parse(octets) for octets in await office.inbox(people.jeanne)]
    assert (late.recipients[0].action, late.recipients[0].status) == (dsn.Action.DELAYED, "4.3.0")
    assert late.recipients[0].will_retry_until == delivery.received + timedelta(hours=120)
    assert timedelta(hours=4) <= late.recipients[0].last_attempt - delivery.received < timedelta(hours=5)
    assert (gone.recipients[0].action, gone.recipients[0].status) == (dsn.Action.FAILED, "4.4.7")
    assert gone.recipients[0].diagnostic == "smtp; 451 4.3.0 try again"


@pytest.mark.parametrize(
    ("notify", "reply", "told"),
    [
        ({Notify.NEVER}, NEVER, 0),
        ({Notify.SUCCESS}, NEVER, 0),
        ({Notify.DELAY}, NEVER, 0),
        ({Notify.FAILURE}, NEVER, 1),
        (DEFAULT_NOTIFY, NEVER, 1),
        ({Notify.SUCCESS}, OK, 0),  # the peer has DSN and will report itself
    ],
)
async def test_notify(office, carrier, people, notify, reply, told):
    carrier.script = [reply]
    trace = await office.enqueue(Recipient(Address.parse(f"a@{THERE}"), frozenset(notify), notify_given=True))
    office.start()
    await office.settled(trace)
    assert len(await office.inbox(people.jeanne)) == told


async def test_a_next_hop_without_dsn_makes_a_relayed_report(office, carrier, people):
    """RFC 3461 5.2.2."""

    async def send(domain, envelope, body):
        return tuple(Outcome(one, OK, "mx.beta.test", dsn=False) for one in envelope.recipients)

    carrier.send = send
    asked = Recipient(Address.parse(f"a@{THERE}"), frozenset({Notify.SUCCESS}), "rfc822;A@beta.mssante.test", notify_given=True)
    trace = await office.enqueue(asked, f"b@{THERE}", dsn=DsnOptions(Ret.FULL, "E1"))
    office.start()
    await office.settled(trace)
    report = dsn.parse((await office.inbox(people.jeanne))[0])
    (told,) = report.recipients
    assert (told.action, told.original, report.envid) == (dsn.Action.RELAYED, "rfc822;A@beta.mssante.test", "E1")


async def test_never_a_report_about_a_report(office, carrier, people):
    carrier.script = [NEVER]
    trace = await office.enqueue(f"a@{THERE}", sender=None)
    office.start()
    (delivery,) = await office.settled(trace)
    assert delivery.finished
    assert [await office.inbox(one) for one in (people.jeanne, people.admin)] == [[], []]


async def test_a_sender_that_can_not_take_it_leaves_it_to_postmaster(office, carrier, people):
    carrier.script = [NEVER]
    for sender in ("paul.petit@alpha.mssante.test", "gone@alpha.mssante.test"):  # suspended; not there
        trace = await office.enqueue(f"a@{THERE}", sender=sender)
    office.start()
    await office.settled(trace)
    await office.settled("TRACE1")
    assert len(await office.inbox(people.admin)) == 2


async def test_a_sender_elsewhere_gets_it_by_the_queue(office, carrier):
    carrier.script = [NEVER, OK]
    trace = await office.enqueue(f"a@{THERE}", sender="someone@gamma.mssante.test")
    office.start()
    await office.settled(trace)

    async def sent_on():
        return len(carrier.sent) == 2

    await office.until(sent_on)
    domain, envelope, octets = carrier.sent[1]
    assert (domain, envelope.sender) == ("gamma.mssante.test", None)
    assert envelope.recipients[0].notify == frozenset({Notify.NEVER})
    assert dsn.parse(octets).recipients[0].final == f"a@{THERE}"


@pytest.mark.parametrize(
    ("ret", "size", "whole"), [(None, 10, True), (Ret.FULL, 10, True), (Ret.HDRS, 10, False), (Ret.FULL, 60_000, False)]
)
async def test_what_goes_back(office, carrier, people, ret, size, whole):
    carrier.script = [NEVER]
    trace = await office.enqueue(f"a@{THERE}", dsn=DsnOptions(ret), body=Body.of(BODY.read() + b"x" * size + b"\r\n"))
    office.start()
    await office.settled(trace)
    (octets,) = await office.inbox(people.jeanne)
    last = list(message_from_bytes(octets, policy=default).iter_parts())[2]
    assert last.get_content_type() == ("message/rfc822" if whole else "text/rfc822-headers")
    assert ("Bonjour" in str(last)) is whole


async def test_a_bug_delays_and_does_not_lose(office, carrier):
    carrier.script = [RuntimeError("secret path"), OK]
    trace = await office.enqueue(f"a@{THERE}")
    office.start()
    (delivery,) = await office.settled(trace)
    assert delivery.recipients[0].state is State.QUEUED
    assert delivery.recipients[0].reply == "451 4.3.0 Local error, try again later"
    await office.advance(60)
    await office.settled(trace, attempts=2)
    assert await office.states(trace) == {f"a@{THERE}": State.SENT}


async def test_a_content_that_can_not_be_read_is_reported_in_the_end(office, carrier, people, monkeypatch):
    """It is not tried for ever: the schedule applies, and the sender gets a report."""

    async def broken(*_):
        raise OSError("the disk is gone")

    trace = await office.enqueue(f"a@{THERE}")
    monkeypatch.setattr(office.store.blobs, "read_many", broken)
    monkeypatch.setattr(office.store.blobs, "read", broken)
    office.start()
    (delivery,) = await office.settled(trace)
    assert (delivery.attempts, delivery.pending[0].reply) == (1, "451 4.3.0 Local error, try again later")
    await office.advance(hours=120)
    (delivery,) = await office.settled(trace, attempts=2)
    assert delivery.finished
    assert not carrier.sent
    monkeypatch.undo()
    reports = [dsn.parse(octets) for octets in await office.inbox(people.jeanne)]
    assert dsn.Action.FAILED in {report.recipients[0].action for report in reports}


@pytest.mark.parametrize("where", ["prepare", "commit"])
async def test_no_room_for_a_report_sends_nothing_twice_and_loses_no_report(office, carrier, people, monkeypatch, where):
    """What was sent is recorded at once; the failure is recorded together with its report, when there is room for it."""
    carrier.script = [{f"a@{THERE}": OK, f"b@{THERE}": NEVER}, NEVER]

    def full(_, told):
        if told:
            raise Refused("Mailbox full", code=552, enhanced="5.2.2")

    trace = await office.enqueue(f"a@{THERE}", f"b@{THERE}")
    monkeypatch.setattr(office.reports, where, full)
    office.start()
    (delivery,) = await office.settled(trace)
    assert [one.state for one in delivery.recipients] == [State.SENT, State.QUEUED]
    assert await office.inbox(people.jeanne) == []
    monkeypatch.undo()
    await office.advance(60)
    (delivery,) = await office.settled(trace, attempts=2)
    assert [one.state for one in delivery.recipients] == [State.SENT, State.FAILED]
    assert [len(envelope.recipients) for _, envelope, _ in carrier.sent] == [2, 1]
    assert len(await office.inbox(people.jeanne)) == 1


@pytest.mark.parametrize("where", ["prepare", "commit"])
async def test_a_report_that_can_never_be_made_is_not_tried_for_ever(office, carrier, people, monkeypatch, where):
    """Regression: a permanent refusal of the report postponed the failure for ever."""
    carrier.script = [NEVER, NEVER, NEVER]

    def never(_, told):
        if told:
            raise Refused("Never", code=554, enhanced="5.6.0")

    trace = await office.enqueue(f"a@{THERE}")
    monkeypatch.setattr(office.reports, where, never)
    office.start()
    (delivery,) = await office.settled(trace)
    assert [one.state for one in delivery.recipients] == [State.QUEUED]
    await office.advance(hours=office.config.queue.give_up_hours + 1)
    (delivery,) = await office.settled(trace, attempts=2)
    assert [one.state for one in delivery.recipients] == [State.QUEUED]  # the report may still find room
    await office.advance(hours=office.config.queue.give_up_hours)
    (delivery,) = await office.settled(trace, attempts=3)
    assert [one.state for one in delivery.recipients] == [State.FAILED]
    assert delivery.finished
    rows = await office.store.read(lambda rx: audit.find(rx, trace=trace))
    assert ("reported", "lost") in [(row.what, row.outcome) for row in rows]
    assert await office.inbox(people.jeanne) == []


FROM = b"From: jeanne.martin@alpha.mssante.test\r\n"


def nested(levels):
    return FROM + b"Content-Type: message/rfc822\r\n\r\n" * levels + b"Subject: x\r\n\r\nBonjour\r\n"


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(FROM + b"X-A: b\r\n" * 1993 + b"\r\nBonjour\r\n", id="fields"),
        pytest.param(FROM + b"X-A: " + b"y" * 250_000 + b"\r\n\r\nBonjour\r\n", id="octets"),
        pytest.param(nested(49), id="depth"),
        pytest.param(FROM + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 1998 + b"--b--\r\n", id="parts"),
    ],
)
async def test_a_message_at_the_limits_is_reported_on_at_once(office, carrier, people, octets):
    """Regression: its report broke the same limits, so a permanent refusal was tried again for ever and no sender was informed."""
    mime.parse(octets)  # is within the limits itself
    carrier.script = [NEVER]
    trace = await office.enqueue(f"a@{THERE}", body=Body.of(octets))
    office.start()
    (delivery,) = await office.settled(trace)
    assert [one.state for one in delivery.recipients] == [State.FAILED]
    (report,) = await office.inbox(people.jeanne)
    assert dsn.parse(report).recipients[0].diagnostic == "smtp; 550 5.1.1 no such mailbox"
    *_, original = message_from_bytes(report, policy=default).iter_parts()
    assert original.get_content_type() == "text/rfc822-headers"


async def test_a_stop_lets_attempts_end_and_releases_nothing_unfinished(office, carrier):
    carrier.gate = asyncio.Event()
    trace = await office.enqueue(f"a@{THERE}")
    office.start()

    await office.at_work()
    office.task.cancel()
    await turns()
    carrier.gate.set()
    await asyncio.gather(office.task, return_exceptions=True)
    assert await office.states(trace) == {f"a@{THERE}": State.SENT}


async def test_a_stop_releases_what_does_not_end(office, carrier, monkeypatch):
    monkeypatch.setattr("mssgw.flow.sender.STOP_SECONDS", 0.01)
    carrier.gate = asyncio.Event()
    trace = await office.enqueue(f"a@{THERE}")
    office.start()

    await office.at_work()
    await office.stop()
    (delivery,) = await office.show(trace)
    assert (delivery.lease_until, delivery.due <= office.clock.now(), delivery.pending != ()) == (None, True, True)


async def test_a_long_attempt_keeps_its_lease(office, carrier, clock):
    carrier.gate = asyncio.Event()
    trace = await office.enqueue(f"a@{THERE}")
    office.start()

    await office.at_work()
    for _ in range(10):  # 200 s, the lease is 60 s
        await office.advance(20)
        now = clock.now()

        async def renewed(now=now):
            (delivery,) = await office.show(trace)
            return delivery.lease_until > now + timedelta(seconds=40)

        await office.until(renewed)
    await office.at_rest()
    carrier.gate.set()
    await office.settled(trace)
    assert len(carrier.sent) == 1


async def test_a_lost_lease_records_nothing(office, carrier, clock):
    """Another worker claimed meanwhile: this one's outcome is not recorded, and it stops trying."""
    carrier.gate = asyncio.Event()
    trace = await office.enqueue(f"a@{THERE}")
    office.start()

    await office.at_work()
    later = clock.now() + timedelta(seconds=61)
    (stolen,) = await office.store.write(lambda tx: queue.claim(tx, later, 1, 600))
    carrier.gate.set()

    async def let_go():
        return carrier.busy == 0

    await office.until(let_go)
    await turns(100)
    (delivery,) = await office.show(trace)
    assert (delivery.fence, delivery.pending[0].state, delivery.attempts) == (stolen.fence, State.QUEUED, 0)


async def test_one_domain_does_not_take_all_places(office, carrier):
    office.trust.listed[Domain("slow.test")] = b"slow"
    gates = {"slow.test": asyncio.Event()}
    send = carrier.send

    async def gated(domain, envelope, body):
        if domain in gates:
            await gates[domain].wait()
        return await send(domain, envelope, body)

    carrier.send = gated
    for number in range(40):
        await office.enqueue(f"r{number}@slow.test")
    quick = await office.enqueue(f"a@{THERE}")
    office.start()
    await office.settled(quick)
    assert await office.states(quick) == {f"a@{THERE}": State.SENT}
    gates["slow.test"].set()
    for number in range(40):
        await office.settled(f"TRACE{number + 1}")


async def test_one_operator_does_not_take_all_places_by_its_many_domains(office, carrier):
    gate = asyncio.Event()
    send = carrier.send
    waiting = set()

    async def gated(domain, envelope, body):
        if domain != THERE:
            waiting.add(domain)
            carrier.changed.set()
            await gate.wait()
        return await send(domain, envelope, body)

    carrier.send = gated
    for number in range(60):
        office.trust.listed[Domain(f"d{number}.slow.test")] = b"slow"
        await office.enqueue(f"r@d{number}.slow.test")
    office.start()

    async def half():
        return len(waiting) >= office.config.queue.concurrency // 2

    await office.until(half)
    quick = await office.enqueue(f"a@{THERE}")
    await office.settled(quick)
    assert len(waiting) < office.config.queue.concurrency
    gate.set()
    for number in range(60):
        await office.settled(f"TRACE{number + 1}", jumping=True)


async def test_places_are_bounded(office, carrier):
    carrier.gate = asyncio.Event()
    for number in range(40):
        office.trust.listed[Domain(f"d{number}.test")] = b"x%d" % number
        await office.enqueue(f"r@d{number}.test")
    office.start()

    async def full():
        return carrier.busy == office.config.queue.concurrency

    await office.until(full)
    carrier.gate.set()
    for number in range(40):
        await office.settled(f"TRACE{number + 1}")
    assert carrier.most_busy == office.config.queue.concurrency


@pytest.fixture
def logged(monkeypatch):
    """The events that the sender logs."""
    events = []
    monkeypatch.setattr("mssgw.flow.sender.log", lambda event, *_, **__: events.append(event))
    return events


@pytest.mark.parametrize("running", [False, True], ids=["before the start", "under way"])
async def test_mail_due_when_the_clock_was_ahead_is_due_after_the_longest_wait(office, carrier, clock, logged, running):
    """Regression: it stayed until that date, or until `queue retry --all`."""
    carrier.script = [LATER, OK]
    clock.advance(days=400)
    trace = await office.enqueue(f"a@{THERE}")
    office.start()
    await office.settled(trace)
    if not running:
        await office.stop()
    await office.at_rest() if running else None
    clock.step(days=-400)
    if running:
        await office.advance(15)
    else:
        office.start()

    async def brought_back():
        (delivery,) = await office.show(trace)
        return delivery.due < clock.now() + timedelta(days=1)

    await office.until(brought_back)
    (delivery,) = await office.show(trace)
    assert delivery.due - clock.now() == timedelta(seconds=3600)
    assert logged.count(Event.QUEUE_BROUGHT_BACK) == 1
    await office.advance(3600)
    (delivery,) = await office.settled(trace, attempts=2)
    assert delivery.finished


async def test_a_sender_that_another_one_replaces_logs_no_end(office, logged):
    """Regression: every reload logged `queue.stopped`, an alarm for nothing."""
    replaced = office.start()
    await office.at_rest()
    replaced.succeeded()
    await office.stop()
    assert Event.QUEUE_STOPPED not in logged
    office.start()
    await office.at_rest()
    await office.stop()
    assert Event.QUEUE_STOPPED in logged
