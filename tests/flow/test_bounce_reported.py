"""A report of another operator is stored with the trace of the message it is about."""

from datetime import UTC, datetime

import pytest

from mssgw.core.body import Body
from mssgw.core.config.node import Limits
from mssgw.flow import reported
from mssgw.flow.inbound import Inbound
from mssgw.protocol.dsn import Action, Letter, RecipientStatus, Report, Returned, build
from mssgw.protocol.mail_data import MailData
from mssgw.protocol.smtp import MailFrom
from mssgw.store import audit, queue
from mssgw.store.queue import Outcome, State
from tests.flow.conftest import peer, rcpt
from tests.store.messages import enqueue


def report(*statuses, original="<T1@alpha.mssante.test>"):
    letter = Letter(
        "mailer-daemon@mx.beta.test",
        "jeanne.martin@alpha.mssante.test",
        "Undelivered",
        "No.\n",
        "r1@mx.beta.test",
        date=datetime(2026, 11, 22, 9, tzinfo=UTC),
    )
    head = f"Message-ID: {original}\r\nSubject: x\r\n".encode()
    return Body.of(build(Report("mx.beta.test", statuses), letter, Returned(head, whole=False)))


def status(final, original=None):
    return RecipientStatus(final=final, action=Action.FAILED, status="5.2.2", original=original, diagnostic="smtp; 552 5.2.2 full")


async def sent(store):
    await enqueue(store, "T1", "bob@beta.mssante.test")
    (delivery,) = await store.write(lambda tx: queue.claim(tx, tx.now, 1, 60))
    done = [Outcome(one.id, State.SENT, "250 ok") for one in delivery.recipients]
    await store.write(lambda tx: queue.record(tx, delivery, done, None))


async def note(store, body):
    told = reported.read(body)
    return await store.write(lambda tx: reported.note(tx, told, "R1", "operator CN=beta"))


@pytest.mark.parametrize("one", [status("Bob@beta.mssante.test"), status("b.new@elsewhere.test", "rfc822;bob@beta.mssante.test")])
async def test_a_report_is_found_with_the_message(store, one):
    await sent(store)
    assert await note(store, report(one)) == 1
    last = (await store.read(lambda rx: audit.find(rx, trace="T1")))[-1]
    assert (last.who, last.what, last.outcome, last.recipient) == ("operator CN=beta", "reported", "failed", audit.written(one.final))
    assert last.facts == {"status": "5.2.2", "diagnostic": "smtp; 552 5.2.2 full", "by": "mx.beta.test", "report": "R1"}


@pytest.mark.parametrize(
    "body", [report(status("bob@beta.mssante.test"), original="<other@alpha.mssante.test>"), report(status("eve@beta.mssante.test"))]
)
async def test_a_report_adds_nothing_about_what_was_not_sent(store, body):
    await sent(store)
    assert await note(store, body) == 0


async def test_many_recipients_are_bounded(store):
    await sent(store)
    assert await note(store, report(*[status("bob@beta.mssante.test")] * 500)) == reported.MOST


async def test_mail_that_is_no_report(store):
    assert reported.read(Body.of(b"Subject: x\r\n\r\nBonjour\r\n")) is None


async def test_it_comes_by_the_front_door(resources, trust, people, sqlite_store):
    await sent(sqlite_store)
    transaction = await Inbound(resources, trust).begin(peer(b"beta"), MailFrom(None))
    await transaction.recipient(rcpt("jeanne.martin@alpha.mssante.test"))
    trace = await transaction.accept(MailData.check(report(status("bob@beta.mssante.test")), Limits()))
    last = (await sqlite_store.read(lambda rx: audit.find(rx, trace="T1")))[-1]
    assert (last.what, last.outcome, last.facts["report"]) == ("reported", "failed", trace)
