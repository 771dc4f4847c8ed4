"""Submission and the hospital port, with the real store: what is refused, what is mended, what is committed."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.core.config.base import Network
from mssgw.core.config.clients import Submission as SubmissionSettings
from mssgw.core.config.relay import Hospital
from mssgw.core.envelope import DsnOptions, Notify, Recipient, Ret
from mssgw.core.errors import Deferred, MailError, NotAllowed, NotFound, NotTrusted, Refused
from mssgw.flow.delivery import LocalDelivery
from mssgw.flow.inbound import Inbound
from mssgw.flow.mailboxes import Mailboxes, Snapshots
from mssgw.flow.protection import UNPROTECTED
from mssgw.flow.resources import Resources
from mssgw.flow.submission import HospitalRelay, Submission
from mssgw.flow.transaction import Client
from mssgw.protocol.mime import MimeLimits
from mssgw.protocol.smtp import MailFrom
from mssgw.smime.opening import Opened
from mssgw.smime.protecting import Protected
from mssgw.store import audit, mailboxes, queue
from tests.flow.conftest import HERE, checked, client_of, peer, rcpt

JEANNE = "jeanne.martin@alpha.mssante.test"
LETTER = (
    b"From: Jeanne Martin <jeanne.martin@alpha.mssante.test>\r\nTo: durand@beta.mssante.test\r\nBcc: secret@beta.mssante.test\r\n"
    b"Subject: x\r\nAuthentication-Results: evil; smime=pass\r\nReturn-Path: <x@y.fr>\r\n\r\nhello\r\n"
)


@pytest.fixture
def submission(resources: Resources, trust) -> Submission:
    return Submission(resources, trust)


async def send(flow, client, *recipients: str, sender: str | None = JEANNE, content: bytes = LETTER) -> str:
    transaction = await flow.begin(client, MailFrom(Address.parse(sender) if sender else None))
    for recipient in recipients:
        await transaction.recipient(rcpt(recipient))
    return await transaction.accept(checked(content))


async def queued(store, trace: str):
    return await store.read(lambda rx: queue.show(rx, trace))


async def content_of(store, delivery) -> bytes:
    return (await store.blobs.read(delivery.content)).read()


async def inbox(store, account, name: str = "INBOX") -> list[bytes]:
    box = await store.read(lambda rx: mailboxes.by_name(rx, account.id, name))
    rows = await store.read(lambda rx: mailboxes.rows(rx, box.id, None))
    return [(await store.blobs.read(row.content)).read() for row in rows]


async def test_a_letter_is_queued_by_next_hop_with_its_trace(submission, sqlite_store, people) -> None:
    trace = await send(
        submission, client_of(people.jeanne), "durand@beta.mssante.test", "dupont@beta.mssante.test", "petit@gamma.mssante.test"
    )
    message = await queued(sqlite_store, trace)
    assert {delivery.domain: sorted(str(one.address) for one in delivery.recipients) for delivery in message.deliveries} == {
        "beta.mssante.test": ["dupont@beta.mssante.test", "durand@beta.mssante.test"],
        "gamma.mssante.test": ["petit@gamma.mssante.test"],
    }
    rows = await sqlite_store.read(lambda rx: audit.find(rx, trace=trace))
    assert (rows[0].who, rows[0].what, rows[0].outcome) == (JEANNE, "submitted", "ok")


async def test_the_header_is_mended_and_the_body_is_not_touched(submission, sqlite_store, people) -> None:  # RFC 6409 8; ECO.2.2.1
    trace = await send(submission, client_of(people.jeanne), "durand@beta.mssante.test")
    octets = await content_of(sqlite_store, (await queued(sqlite_store, trace)).deliveries[0])
    head, _, body = octets.partition(b"\r\n\r\n")
    assert body == b"hello\r\n"
    assert head.startswith(b"Received: by mx.alpha.mssante.test with ESMTPSA id " + trace.encode())
    for gone in (b"Bcc", b"secret@", b"Return-Path", b"Authentication-Results", b"192.0.2.7", b"cabinet.local"):
        assert gone not in head
    assert b"\r\nDate: Sun, 22 Nov 2026 08:00:00 +0000" in head
    assert b"\r\nMessage-ID: <" + trace.encode() + b"@mx.alpha.mssante.test>" in head


async def test_date_and_message_id_of_the_client_stay(submission, sqlite_store, people) -> None:
    own = b"Date: Sat, 1 Jan 2000 00:00:00 +0100\r\nMessage-ID: <own@pc>\r\n" + LETTER
    trace = await send(submission, client_of(people.jeanne), "durand@beta.mssante.test", content=own)
    octets = await content_of(sqlite_store, (await queued(sqlite_store, trace)).deliveries[0])
    assert octets.lower().count(b"message-id:") == 1
    assert b"<own@pc>" in octets
    assert octets.count(b"Date:") == 1


@pytest.mark.parametrize(
    "sender", [JEANNE, "JEANNE.martin@alpha.mssante.test", "j.martin@alpha.mssante.test", "cardiologie@alpha.mssante.test", None]
)
async def test_senders_of_ones_own(submission, people, sender) -> None:  # RFC 8098 3
    assert await submission.begin(client_of(people.jeanne), MailFrom(Address.parse(sender) if sender else None))


@pytest.mark.parametrize("sender", ["admin@alpha.mssante.test", "durand@beta.mssante.test", "x@jeanne.martin.fr"])
async def test_a_sender_of_somebody_else(submission, people, sender) -> None:
    with pytest.raises(NotAllowed) as refusal:
        await submission.begin(client_of(people.jeanne), MailFrom(Address.parse(sender)))
    assert (refusal.value.reply.code, refusal.value.reply.enhanced) == (550, "5.7.1")
    assert sender in refusal.value.reply.text


async def test_a_member_of_nothing_can_not_write_as_the_organisation(submission, people) -> None:
    with pytest.raises(NotAllowed):
        await submission.begin(client_of(people.admin), MailFrom(Address.parse("cardiologie@alpha.mssante.test")))


async def test_an_account_suspended_after_its_login(submission, people) -> None:
    with pytest.raises(NotAllowed):
        await submission.begin(client_of(people.paul), MailFrom(people.paul.address))


async def test_an_unlisted_domain_is_named_at_rcpt(submission, people) -> None:  # ANS Ref#1
    transaction = await submission.begin(client_of(people.jeanne), MailFrom(people.jeanne.address))
    with pytest.raises(NotTrusted) as refusal:
        await transaction.recipient(rcpt("x@gmail.com"))
    assert str(refusal.value.reply).startswith("550 5.1.2 ")
    assert "gmail.com" in refusal.value.reply.text


async def test_local_recipients_at_rcpt(submission, people) -> None:
    transaction = await submission.begin(client_of(people.jeanne), MailFrom(people.jeanne.address))
    for address, error, enhanced in (("nobody", NotFound, "5.1.1"), ("paul.petit", Refused, "5.2.1")):
        with pytest.raises(error) as refusal:
            await transaction.recipient(rcpt(f"{address}@{HERE}"))
        assert refusal.value.reply.enhanced == enhanced
    await transaction.recipient(rcpt(f"postmaster@{HERE}"))  # RFC 5321 4.5.1


@pytest.mark.parametrize(
    ("header", "enhanced"),
    [
        (b"To: x@y.fr\r\n", "5.6.0"),
        (b"From: admin@alpha.mssante.test\r\n", "5.7.1"),
        (b"From: jeanne.martin@alpha.mssante.test, admin@alpha.mssante.test\r\n", "5.7.1"),
        (b"From: jeanne.martin@alpha.mssante.test\r\nFrom: admin@alpha.mssante.test\r\n", "5.6.0"),
        (b"From: jeanne.martin@alpha.mssante.test\r\nfrom : admin@alpha.mssante.test\r\n", "5.6.0"),
        (b"From: jeanne.martin@alpha.mssante.test\r\nSender: admin@alpha.mssante.test\r\n", "5.7.1"),
        (b"From: jeanne.martin@alpha.mssante.test\r\nResent-From: admin@alpha.mssante.test\r\n", "5.7.1"),
        (b'From: "jeanne.martin@alpha.mssante.test" <admin@alpha.mssante.test>\r\n', "5.7.1"),
        (b'From: "luc.bernard@alpha.mssante.test" <jeanne.martin@alpha.mssante.test>\r\n', "5.7.1"),
        (b"From: undisclosed:;\r\n", "5.6.0"),
        (b"From: jeanne.martin@alpha.mssante.test\r\nX-MSS-INS: oui\r\n", "5.6.0"),
        (b"From: jeanne.martin@alpha.mssante.test\r\n" + b"Received: by x\r\n" * 50, "5.4.6"),
        (b"From: jeanne.martin@alpha.mssante.test\r\n" + b"X: y\r\n" * 10_000, "5.6.0"),
        (b"From: jeanne.martin@alpha.mssante.test\r\nX: " + b"y" * 1_100_000 + b"\r\n", "5.6.0"),
    ],
)
async def test_content_rules(submission, sqlite_store, people, header, enhanced) -> None:
    with pytest.raises(Refused) as refusal:
        await send(submission, client_of(people.jeanne), "durand@beta.mssante.test", content=header + b"\r\nhello\r\n")
    assert refusal.value.reply.enhanced == enhanced
    assert await sqlite_store.read(lambda rx: queue.count(rx).waiting) == 0


@pytest.mark.parametrize("more", [b"X-A: b\r\n" * 1990, b"X-A: " + b"y" * 255_000 + b"\r\n"])
async def test_limits_leave_room_for_what_is_added_on_the_way(submission, sqlite_store, people, more) -> None:
    """Regression: a message accepted with 1,990 fields had over 2,000 at the next node."""
    with pytest.raises(Refused) as refusal:
        await send(submission, client_of(people.jeanne), "durand@beta.mssante.test", content=more + LETTER)
    assert refusal.value.reply.enhanced == "5.6.0"
    assert await sqlite_store.read(lambda rx: queue.count(rx).waiting) == 0


async def test_what_submission_takes_inbound_takes(submission, resources, trust, sqlite_store, people) -> None:
    trace = await send(submission, client_of(people.jeanne), "durand@beta.mssante.test", content=b"X-A: b\r\n" * 1890 + LETTER)
    copy = await content_of(sqlite_store, (await queued(sqlite_store, trace)).deliveries[0])
    transaction = await Inbound(resources, trust).begin(peer(b"alpha"), MailFrom(Address.parse(JEANNE)))
    await transaction.recipient(rcpt(JEANNE))
    await transaction.accept(checked(copy))
    assert len(await inbox(sqlite_store, people.jeanne)) == 1


class Inflating:
    """Protection by base64 alone: what it does to sizes."""

    async def protect(self, body, domain, author, recipients, *, in_person, here=False):
        if here:
            return (Protected(body, tuple(recipients), "", ""),)
        return (Protected(Body.of(base64.encodebytes(body.read()).replace(b"\n", b"\r\n")), tuple(recipients), "", ""),)

    async def open(self, body, domains, addresses):
        return Opened(body, UNPROTECTED, False)


async def test_what_protection_makes_too_large_is_refused_before_it_is_queued(resources, trust, sqlite_store, people) -> None:
    """Regression: it was queued, refused by the peer's SIZE, and came back as a report."""
    config = msgspec.structs.replace(resources.config, limits=msgspec.structs.replace(resources.config.limits, message_size=100_000))
    flow = Submission(replace(resources, config=config, protection=Inflating()), trust)
    with pytest.raises(Refused) as refusal:
        await send(
            flow, client_of(people.jeanne), "durand@beta.mssante.test", f"cardiologie@{HERE}", content=LETTER + (b"x" * 78 + b"\r\n") * 1000
        )
    assert (refusal.value.reply.code, refusal.value.reply.enhanced) == (552, "5.3.4")
    protected, limit, usable = (int(number) for number in re.findall(r"\d{4,}", refusal.value.reply.text))
    assert protected > limit == 100_000
    assert 70_000 < usable < 75_000
    assert await sqlite_store.read(lambda rx: queue.count(rx).waiting) == 0
    assert await inbox(sqlite_store, people.cardiologie) == []
    await send(flow, client_of(people.jeanne), "durand@beta.mssante.test", content=LETTER + (b"x" * 78 + b"\r\n") * ((usable - 1000) // 80))
    assert await send(
        flow, client_of(people.jeanne), f"cardiologie@{HERE}", content=LETTER + (b"x" * 78 + b"\r\n") * 1000
    )  # nothing leaves


async def test_x_mss_fields_of_the_guides_pass_untouched(submission, sqlite_store, people) -> None:  # ECO.2.2.8, ECO.2.4.3
    fields = b"X-MSS-CODECDA: 34112-3,PRESC-BIO,15508-5\r\nX-MSS-INS: O\r\nX-MSS-NIL: DEV935997\r\nX-MSS-MES: FIN\r\n"
    trace = await send(submission, client_of(people.jeanne), "durand@beta.mssante.test", content=fields + LETTER)
    assert fields in await content_of(sqlite_store, (await queued(sqlite_store, trace)).deliveries[0])


async def test_two_hundred_mime_levels(submission, people) -> None:
    content = LETTER.partition(b"\r\n\r\n")[0]
    for level in range(200):
        content += b'\r\nContent-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d' % (level, level)
    with pytest.raises(Refused) as refusal:
        await send(submission, client_of(people.jeanne), "durand@beta.mssante.test", content=content + b"\r\n\r\nx\r\n")
    assert refusal.value.reply.enhanced == "5.6.0"


async def test_colleagues_here_have_it_at_once(submission, sqlite_store, people) -> None:
    trace = await send(submission, client_of(people.jeanne), f"cardiologie@{HERE}")
    (letter,) = await inbox(sqlite_store, people.cardiologie)
    assert letter.startswith(
        f"Return-Path: <{JEANNE}>\r\nAuthentication-Results: mx.alpha.mssante.test;\r\n smime=none;\r\n auth=pass".encode()
    )
    assert letter.count(b"Authentication-Results") == 1
    assert letter.endswith(b"\r\n\r\nhello\r\n")
    with pytest.raises(NotFound):
        await queued(sqlite_store, trace)


async def test_one_letter_to_both_sides(submission, sqlite_store, people) -> None:
    trace = await send(submission, client_of(people.jeanne), f"cardiologie@{HERE}", "durand@beta.mssante.test", JEANNE)
    assert len((await queued(sqlite_store, trace)).deliveries) == 1
    assert len(await inbox(sqlite_store, people.cardiologie)) == 1
    assert len(await inbox(sqlite_store, people.jeanne)) == 1


async def test_the_same_letter_twice_is_two_letters(submission, sqlite_store, people) -> None:
    for _ in range(2):
        await send(submission, client_of(people.jeanne), f"cardiologie@{HERE}", content=b"Message-ID: <own@pc>\r\n" + LETTER)
    assert len(await inbox(sqlite_store, people.cardiologie)) == 2


@pytest.mark.parametrize("save", [False, True])
async def test_copy_in_sent_when_configured(resources, trust, sqlite_store, people, save) -> None:
    resources = replace(resources, config=msgspec.structs.replace(resources.config, submission=SubmissionSettings(save_sent=save)))
    await send(Submission(resources, trust), client_of(people.jeanne), "durand@beta.mssante.test")
    assert len(await inbox(sqlite_store, people.jeanne, "Sent")) == save


async def test_dsn_options_go_with_the_message(submission, sqlite_store, people) -> None:
    transaction = await submission.begin(client_of(people.jeanne), MailFrom(people.jeanne.address, dsn=DsnOptions(Ret.HDRS, "aB+c")))
    await transaction.recipient(Recipient(Address.parse("durand@beta.mssante.test"), original="rfc822;Old@x.fr"))
    trace = await transaction.accept(checked(LETTER))
    (delivery,) = (await queued(sqlite_store, trace)).deliveries
    assert delivery.envelope.dsn == DsnOptions(Ret.HDRS, "aB+c")
    assert delivery.recipients[0].recipient.original == "rfc822;Old@x.fr"


async def test_large_letters(submission, sqlite_store, people) -> None:
    large = LETTER + (b"x" * 76 + b"\r\n") * 10_000
    trace = await send(submission, client_of(people.jeanne), "durand@beta.mssante.test", f"cardiologie@{HERE}", content=large)
    assert (await content_of(sqlite_store, (await queued(sqlite_store, trace)).deliveries[0])).endswith(large[len(LETTER) - 7 :])


# --- the hospital's own relay -------------------------------------------------------------------------------------------


def hospital(resources, trust, **settings) -> HospitalRelay:
    return HospitalRelay(resources, trust, Hospital(networks=(Network("192.0.2.0/24"),), **settings))


INSIDE = Client("192.0.2.9", "postfix.chu.local", "ESMTP")


async def test_the_hospital_writes_for_any_address_of_our_domains(resources, trust, sqlite_store, people) -> None:
    trace = await send(
        hospital(resources, trust),
        INSIDE,
        "durand@beta.mssante.test",
        sender=f"imagerie@{HERE}",
        content=b"From: imagerie@alpha.mssante.test\r\n\r\nhello\r\n",
    )
    octets = await content_of(sqlite_store, (await queued(sqlite_store, trace)).deliveries[0])
    assert b"192.0.2.9" not in octets
    assert b"postfix.chu" not in octets


async def test_the_hospital_does_not_write_for_others(resources, trust) -> None:
    with pytest.raises(NotAllowed):
        await hospital(resources, trust).begin(INSIDE, MailFrom(Address.parse("x@beta.mssante.test")))
    with pytest.raises(NotAllowed):
        await send(
            hospital(resources, trust),
            INSIDE,
            "durand@beta.mssante.test",
            sender=f"imagerie@{HERE}",
            content=b"From: durand@beta.mssante.test\r\n\r\nhello\r\n",
        )


@pytest.mark.parametrize(
    "settings", [{"require_certificate": True, "client_ca": Path("ca.pem")}, {"client_fingerprints": ("CD:" * 31 + "CD",)}]
)
async def test_the_hospital_shows_its_certificate(resources, trust, settings) -> None:
    with pytest.raises(MailError) as refusal:
        await hospital(resources, trust, **settings).begin(INSIDE, MailFrom(Address.parse(f"imagerie@{HERE}")))
    assert refusal.value.reply.code == 550


async def test_a_listed_fingerprint_is_enough(resources, trust, people) -> None:
    shown = client_of(people.jeanne)  # any TLS client; its fingerprint is ab:ab:...
    assert await hospital(
        resources, trust, require_certificate=True, client_ca=Path("ca.pem"), client_fingerprints=("AB:" * 31 + "AB",)
    ).begin(Client(shown.address, shown.helo, "ESMTPS", shown.tls, b"der"), MailFrom(Address.parse(f"imagerie@{HERE}")))


async def test_a_success_report_for_a_colleague_here(submission, sqlite_store, people) -> None:
    transaction = await submission.begin(client_of(people.jeanne), MailFrom(people.jeanne.address, dsn=DsnOptions(envid="E1")))
    await transaction.recipient(Recipient(people.cardiologie.address, frozenset({Notify.SUCCESS}), notify_given=True))
    await transaction.accept(checked(LETTER))
    (report,) = await inbox(sqlite_store, people.jeanne)
    assert report.startswith(b"Return-Path: <>\r\n")
    assert b"Action: delivered\r\n" in report
    assert b"Original-Envelope-Id: E1\r\n" in report


async def test_refusals_are_traced_with_the_reply_the_client_got(submission, sqlite_store, people) -> None:
    with pytest.raises(NotAllowed):
        await submission.begin(client_of(people.jeanne), MailFrom(people.admin.address))
    transaction = await submission.begin(client_of(people.jeanne), MailFrom(people.jeanne.address))
    with pytest.raises(NotTrusted):
        await transaction.recipient(rcpt("x@gmail.com"))
    await transaction.recipient(rcpt("durand@beta.mssante.test"))
    with pytest.raises(Refused):
        await transaction.accept(checked(b"To: x\r\n\r\nno author\r\n"))
    rows = [row for row in await sqlite_store.read(lambda rx: audit.find(rx, address=JEANNE)) if row.what == "refused"]
    assert [(row.who, row.outcome[:9], row.recipient) for row in rows] == [
        (JEANNE, "550 5.1.2", "x@gmail.com"),
        (JEANNE, "554 5.6.0", None),
    ]
    rows = await sqlite_store.read(lambda rx: audit.find(rx, address=people.admin.address))
    assert (rows[-1].who, rows[-1].outcome[:9]) == (JEANNE, "550 5.7.1")


async def test_a_recipient_named_twice_has_it_once(submission, sqlite_store, people) -> None:
    twice = ["durand@beta.mssante.test", f"cardiologie@{HERE}"] * 2
    trace = await send(submission, client_of(people.jeanne), *twice)
    (delivery,) = (await queued(sqlite_store, trace)).deliveries
    assert len(delivery.recipients) == 1
    assert len(await inbox(sqlite_store, people.cardiologie)) == 1


async def test_a_full_mailbox_defers(resources, trust, sqlite_store, people) -> None:
    config = msgspec.structs.replace(resources.config, limits=msgspec.structs.replace(resources.config.limits, quota=10_000))
    flow = Submission(replace(resources, config=config, local=LocalDelivery(config, sqlite_store)), trust)
    await send(flow, client_of(people.jeanne), f"cardiologie@{HERE}", content=LETTER + b"x" * 9000 + b"\r\n")
    transaction = await flow.begin(client_of(people.jeanne), MailFrom(people.jeanne.address, size=2000))
    with pytest.raises(Deferred) as refusal:
        await transaction.recipient(rcpt(f"cardiologie@{HERE}"))
    assert str(refusal.value.reply).startswith("452 4.2.2")


async def test_a_domain_that_left(resources, trust, people) -> None:
    elsewhere = msgspec.structs.replace(
        resources.config, domain=(msgspec.structs.replace(resources.config.domain[0], name="omega.mssante.test"),)
    )
    flow = Submission(replace(resources, config=elsewhere, local=LocalDelivery(elsewhere, resources.store)), trust)
    with pytest.raises(NotAllowed, match="not served"):
        await flow.begin(client_of(people.jeanne), MailFrom(people.jeanne.address))


# -- at whichever edge a message comes in -----------------------------------------------------------------


def with_limits(resources: Resources, **changes: int) -> Resources:
    return replace(
        resources, config=msgspec.structs.replace(resources.config, limits=msgspec.structs.replace(resources.config.limits, **changes))
    )


@pytest.mark.parametrize(
    "content",
    [LETTER + b"a\nb\r\n", LETTER + b"a\rb\r\n", LETTER + b"\0\r\n", LETTER + b"x" * 70_000 + b"\r\n", LETTER + b"no end"],
    ids=["bare LF", "bare CR", "NUL", "long line", "no CRLF at the end"],
)
async def test_what_only_the_smtp_port_refused_cannot_be_handed_to_the_flow(submission, sqlite_store, people, content) -> None:
    """A caller that is not SMTP had it queued: the flow took any body."""
    transaction = await submission.begin(client_of(people.jeanne), MailFrom(Address.parse(JEANNE)))
    await transaction.recipient(rcpt("durand@beta.mssante.test"))
    with pytest.raises(Refused, match=r"550 5\.6\.0"):
        await transaction.accept(checked(content))
    with pytest.raises(AttributeError):  # and a body as it is has no way in
        await transaction.accept(Body.of(LETTER))
    assert await sqlite_store.read(queue.list_all) == []


async def test_one_recipient_too_many(resources, trust, sqlite_store, people) -> None:  # RFC 5321 4.5.3.1.10
    flow = Submission(with_limits(resources, recipients=2), trust)
    transaction = await flow.begin(client_of(people.jeanne), MailFrom(Address.parse(JEANNE)))
    await transaction.recipient(rcpt("1@beta.mssante.test"))
    with pytest.raises(NotTrusted):
        await transaction.recipient(rcpt("x@unlisted.test"))  # refused, so not counted
    await transaction.recipient(rcpt("2@beta.mssante.test"))
    with pytest.raises(Deferred, match=r"452 4\.5\.3"):
        await transaction.recipient(rcpt("3@beta.mssante.test"))
    (delivery,) = (await queued(sqlite_store, await transaction.accept(checked(LETTER)))).deliveries
    assert [str(one.address) for one in delivery.recipients] == ["1@beta.mssante.test", "2@beta.mssante.test"]


async def test_a_transaction_without_recipients_is_refused(submission, sqlite_store, people) -> None:
    transaction = await submission.begin(client_of(people.jeanne), MailFrom(Address.parse(JEANNE)))
    with pytest.raises(Refused, match=r"554 5\.5\.1"):
        await transaction.accept(checked(LETTER))
    assert await sqlite_store.read(queue.list_all) == []


async def test_without_room_on_the_disk_nothing_begins_at_any_edge(resources, trust, people, monkeypatch) -> None:
    """It was asked for by the SMTP ports alone."""
    monkeypatch.setattr("mssgw.store.blobs.os.statvfs", lambda _: SimpleNamespace(f_bavail=0, f_frsize=4096))
    jeanne = MailFrom(people.jeanne.address)
    begun = [
        Submission(resources, trust).begin(client_of(people.jeanne), jeanne),
        hospital(resources, trust).begin(INSIDE, jeanne),
        Inbound(resources, trust).begin(peer(b"beta"), MailFrom(Address.parse("durand@beta.mssante.test"))),
        Mailboxes(resources.store, people.jeanne, MimeLimits.of(resources.config.limits), Snapshots()).require_appendable("INBOX"),
    ]
    for step in begun:
        with pytest.raises(Deferred, match=r"452 4\.3\.1"):
            await step


async def test_there_is_room_for_what_was_announced_or_it_does_not_begin(resources, trust, people, monkeypatch) -> None:
    free = resources.config.limits.free_disk + 1_000_000
    monkeypatch.setattr("mssgw.store.blobs.os.statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))
    flow = Submission(resources, trust)
    await flow.begin(client_of(people.jeanne), MailFrom(people.jeanne.address, size=900_000))
    with pytest.raises(Deferred, match=r"452 4\.3\.1"):
        await flow.begin(client_of(people.jeanne), MailFrom(people.jeanne.address, size=1_100_000))
