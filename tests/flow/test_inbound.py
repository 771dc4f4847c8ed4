"""Inbound from other operators, with the real store: certificate, whitelist, mailbox, author, duplicates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.core.envelope import Notify, Recipient
from mssgw.core.errors import MailError, NotAllowed, NotFound, NotTrusted, Refused
from mssgw.flow.inbound import Inbound
from mssgw.flow.protection import UNPROTECTED
from mssgw.protocol.smtp import MailFrom
from mssgw.smime.opening import Opened
from mssgw.store import audit, mailboxes, queue
from tests.flow.conftest import HERE, checked, peer, rcpt
from tests.flow.test_submission import inbox

DURAND = "durand@beta.mssante.test"
LETTER = (
    b"From: Dr Durand <durand@beta.mssante.test>\r\nTo: jeanne.martin@alpha.mssante.test\r\nMessage-ID: <1@beta>\r\n"
    b"Authentication-Results: mx.alpha.mssante.test; smime=pass\r\nAuthentication-Results: evil; x=y\r\n\r\nhello\r\n"
)


@pytest.fixture
def inbound(resources, trust) -> Inbound:
    return Inbound(resources, trust)


async def receive(
    inbound, *, sender: str | None = DURAND, certificate: bytes | None = b"beta", content: bytes = LETTER, to: str = f"jeanne.martin@{HERE}"
) -> str:
    transaction = await inbound.begin(peer(certificate), MailFrom(Address.parse(sender) if sender else None))
    await transaction.recipient(rcpt(to))
    return await transaction.accept(checked(content))


async def test_a_letter_arrives_with_our_findings_on_top(inbound, sqlite_store, people) -> None:  # RFC 5321 4.4, 3848, 8601
    trace = await receive(inbound)
    (letter,) = await inbox(sqlite_store, people.jeanne)
    head, _, body = letter.partition(b"\r\n\r\n")
    assert body == b"hello\r\n"
    lines = head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n")
    assert lines[0] == b"Return-Path: <durand@beta.mssante.test>"
    assert lines[1].startswith(b"Authentication-Results: mx.alpha.mssante.test; smime=none; x-mssante=pass smtp.mailfrom=beta.mssante.test")
    by = f" by mx.alpha.mssante.test with ESMTPS id {trace} "
    assert lines[2].startswith(b"Received: from mx.beta.mssante.test ([192.0.2.25])" + by.encode())
    assert head.count(b"Authentication-Results") == 1
    rows = await sqlite_store.read(lambda rx: audit.find(rx, trace=trace))
    assert [row.what for row in rows] == ["received", "delivered"]
    assert rows[0].who == "operator CN=beta"


@pytest.mark.parametrize(
    ("sender", "certificate"),
    [
        (DURAND, None),
        (DURAND, b"gamma"),
        ("x@unlisted.fr", b"beta"),
        (None, b"stranger"),
        (f"jeanne.martin@{HERE}", b"beta"),
    ],
)
async def test_who_may_not_send_is_refused_at_mail(inbound, people, sender, certificate) -> None:  # ANS Ref#1
    with pytest.raises(NotTrusted) as refusal:
        await inbound.begin(peer(certificate), MailFrom(Address.parse(sender) if sender else None))
    assert refusal.value.reply.code == 550
    assert len(refusal.value.reply.text) > 20


@pytest.mark.parametrize(
    ("to", "error", "enhanced"),
    [
        (f"nobody@{HERE}", NotFound, "5.1.1"),
        (f"paul.petit@{HERE}", Refused, "5.2.1"),
        ("x@gamma.mssante.test", NotAllowed, "5.7.1"),
    ],
)
async def test_who_is_not_here(inbound, people, to, error, enhanced) -> None:
    with pytest.raises(error) as refusal:
        await receive(inbound, to=to)
    assert refusal.value.reply.enhanced == enhanced


async def test_postmaster_is_always_here(inbound, sqlite_store, people) -> None:
    await receive(inbound, to=f"PostMaster@{HERE}")
    assert len(await inbox(sqlite_store, people.admin)) == 1


@pytest.mark.parametrize(
    ("author", "taken"),
    [
        (b"From: x@beta.mssante.test\r\n", True),
        (b"From: x@group.beta.test\r\n", True),  # the same certificate is listed for it
        (b"From: x@gamma.mssante.test\r\n", False),
        (b"From: x@beta.mssante.test, y@gamma.mssante.test\r\n", False),
        (b"From: x@unlisted.fr\r\n", False),
        (b"From: jeanne.martin@alpha.mssante.test\r\n", False),
        (b"From: x@beta.mssante.test\r\nFrom: y@gamma.mssante.test\r\n", False),
        (b"Subject: no author\r\n", False),
    ],
)
async def test_the_author_belongs_to_the_peer(inbound, sqlite_store, people, author, taken) -> None:
    try:
        await receive(inbound, content=author + b"\r\nhello\r\n")
    except Refused:
        assert not taken
    assert len(await inbox(sqlite_store, people.jeanne)) == taken


@pytest.mark.parametrize(
    ("author", "taken"),
    [
        (b"From: MAILER-DAEMON@mx17.beta.internal\r\n", True),
        (b"Subject: no author\r\n", True),
        (b"From: postmaster@beta.mssante.test\r\n", True),
        (b"From: postmaster@gamma.mssante.test\r\n", False),
    ],
)
async def test_reports_come_with_a_null_sender(inbound, sqlite_store, people, author, taken) -> None:  # ANS Ref#1
    try:
        await receive(inbound, sender=None, content=author + b"\r\nreport\r\n")
    except NotTrusted:
        assert not taken
    letters = await inbox(sqlite_store, people.jeanne)
    assert len(letters) == taken
    assert all(letter.startswith(b"Return-Path: <>\r\n") for letter in letters)


async def test_a_retry_after_a_lost_250_is_dropped_and_audited(inbound, sqlite_store, people, clock) -> None:
    await receive(inbound)
    clock.advance(hours=1)
    again = await receive(inbound)
    assert len(await inbox(sqlite_store, people.jeanne)) == 1
    assert [row.what for row in await sqlite_store.read(lambda rx: audit.find(rx, trace=again))] == ["received", "duplicate"]
    clock.advance(days=8)
    await receive(inbound)
    assert len(await inbox(sqlite_store, people.jeanne)) == 2


async def test_another_message_with_the_same_id_is_not_a_duplicate(inbound, sqlite_store, people) -> None:
    await receive(inbound)
    await receive(inbound, content=LETTER.replace(b"hello", b"other"))
    assert len(await inbox(sqlite_store, people.jeanne)) == 2


@pytest.mark.parametrize(
    ("author", "remark"),
    [
        (b'From: "Dr Petit <petit@gamma.mssante.test>" <durand@beta.mssante.test>\r\n', b"name-shows-another-address"),
        (b"From: <durand@beta.mssante.test>\r\nSender: <petit@gamma.mssante.test>\r\n", b"sender-not-signer"),
        (b"From: Dr Durand <durand@beta.mssante.test>\r\nSender: <durand@beta.mssante.test>\r\n", b""),
    ],
    ids=["the name is another's address", "a foreign Sender", "nothing"],
)
async def test_what_a_header_without_signature_pretends_is_remarked(inbound, sqlite_store, people, author, remark) -> None:
    """Regression: such mail came from operators without a word; from our own clients it is refused."""
    await receive(inbound, content=author + b"Subject: x\r\n\r\nhello\r\n")
    (letter,) = await inbox(sqlite_store, people.jeanne)
    results = letter.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ")
    assert (b'policy.remark="%b"' % remark in results) if remark else (b"policy.remark" not in results)


async def test_a_loop_is_ended(inbound, people) -> None:  # RFC 5321 6.3
    with pytest.raises(MailError) as refusal:
        await receive(inbound, content=b"Received: by x\r\n" * 50 + LETTER)
    assert str(refusal.value.reply).startswith("554 5.4.6")


async def test_an_operator_name_can_not_end_our_header(inbound, trust, sqlite_store, people, monkeypatch) -> None:
    from tests.flow.conftest import FakeOperator

    monkeypatch.setattr(trust, "require", lambda domain, certificate, step=None: FakeOperator('CN="evil\\",O=é\\'))
    await receive(inbound)
    (letter,) = await inbox(sqlite_store, people.jeanne)
    assert b'policy.operator="CN=\\"evil\\\\\\",O=?' in letter


async def test_a_success_report_goes_back_once(inbound, sqlite_store, people) -> None:
    for _ in range(2):
        transaction = await inbound.begin(peer(b"beta"), MailFrom(Address.parse(DURAND)))
        await transaction.recipient(Recipient(people.jeanne.address, frozenset({Notify.SUCCESS}), notify_given=True))
        await transaction.accept(checked(LETTER))
    (delivery,) = await sqlite_store.read(queue.list_all)
    assert delivery.envelope.sender is None
    assert [str(one.address) for one in delivery.recipients] == [DURAND]


class Opening:
    """An S/MIME engine that found another message inside."""

    def __init__(self, inside: bytes) -> None:
        self.inside = inside

    async def open(self, body, domains, addresses):
        return Opened(Body.of(self.inside), UNPROTECTED, True)


async def test_both_contents_are_kept_when_something_was_unwrapped(resources, trust, sqlite_store, people) -> None:
    await receive(Inbound(replace(resources, protection=Opening(LETTER.replace(b"hello", b"readable"))), trust))
    box = await sqlite_store.read(lambda rx: mailboxes.by_name(rx, people.jeanne.id, "INBOX"))
    (row,) = await sqlite_store.read(lambda rx: mailboxes.rows(rx, box.id, None))
    assert (await sqlite_store.blobs.read(row.content)).read().endswith(b"readable\r\n")
    assert (await sqlite_store.blobs.read(row.original)).read() == LETTER


async def test_an_author_hidden_inside_is_judged_like_the_one_outside(resources, trust, sqlite_store, people) -> None:
    inside = LETTER.replace(b"durand@beta.mssante.test>", b"petit@gamma.mssante.test>")
    with pytest.raises(NotTrusted):
        await receive(Inbound(replace(resources, protection=Opening(inside)), trust))
    assert not await inbox(sqlite_store, people.jeanne)
