"""Attack (docs/reference/crypto.md 9.28): a stranger sends somebody's ciphertext again, as their own, and waits for an answer that quotes it.

The gateway decrypts for the mailbox. Nothing that goes back, a reply on the wire or a report in the queue, may hold a word of it.
"""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes

import msgspec
import pytest

from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.core.config.node import Limits
from mssgw.core.envelope import DEFAULT_NOTIFY, DsnOptions, Envelope, Notify, Origin, OriginKind, Recipient, Ret
from mssgw.core.errors import MailError, Reply
from mssgw.flow.bounce import Action, Fate, Original, Reports
from mssgw.flow.delivery import LocalDelivery
from mssgw.flow.inbound import Inbound
from mssgw.flow.keyring import FileKeys
from mssgw.flow.protection import Protection
from mssgw.flow.resources import Resources
from mssgw.flow.submission import Submission
from mssgw.protocol.mail_data import MailData
from mssgw.protocol.smtp import MailFrom
from mssgw.smime.cms import recipients
from mssgw.smime.cms.enveloped import encrypt
from mssgw.smime.wire.algorithms import MADE
from mssgw.store import queue
from tests.flow.conftest import HERE, client_of, peer, rcpt
from tests.flow.test_submission import inbox
from tests.smime.forge import opaque
from tests.smime.people import Authority, Person

JEANNE, STRANGER = f"jeanne.martin@{HERE}", "stranger@beta.mssante.test"
SECRET = "zeugme"
HEADER = f"From: <{STRANGER}>\r\nTo: <{JEANNE}>\r\nMIME-Version: 1.0\r\n"
PLAIN = f"Content-Type: text/plain; charset=utf-8\r\n\r\n{SECRET} {SECRET}\r\n"
HIDDEN = (
    f"From: <x@{SECRET}.mssante.test>\r\nReply-To: <x@{SECRET}.test>\r\nSubject: {SECRET}\r\n"
    f"Message-ID: <{SECRET}@alpha.mssante.test>\r\n"
    f'References: <{SECRET}@x>\r\nHP-Outer: From: <{STRANGER}>\r\nContent-Type: text/plain; hp="cipher"\r\n\r\n{SECRET}\r\n'
)
REPORT = (
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n--b\r\n'
    f"Content-Type: text/plain\r\n\r\n{SECRET}\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    f"Reporting-MTA: dns; {SECRET}\r\n\r\nFinal-Recipient: rfc822; {SECRET}@x.test\r\n"
    "Action: failed\r\nStatus: 5.0.0\r\n\r\n--b--\r\n"
)
DEEP = "".join(f'Content-Type: multipart/mixed; boundary="{SECRET}{n}"\r\n\r\n--{SECRET}{n}\r\n' for n in range(200)) + SECRET
WIDE = "".join(f"X-{SECRET}-{n}: {SECRET}\r\n" for n in range(5000)) + PLAIN


@pytest.fixture
def seal() -> Person:
    return Authority().issue("rsa", f"seal@{HERE}", number=1)


@pytest.fixture
def sealed_resources(resources: Resources, seal: Person) -> Resources:
    authority = Authority()
    return replace(resources, protection=Protection.of(resources.config, resources.clock, authority.validate, {HERE: seal.identity}))


def hidden(seal: Person, plain: str, cipher: str = "aes256-gcm") -> bytes:
    out: list[bytes] = []
    content = plain.encode()
    encrypt([content], len(content), [recipients.recipient(seal.certificate, oaep=False)], MADE[cipher], out.append)
    return b"".join(out)


def beside(seal: Person) -> Body:
    """EFAIL: the ciphertext as one part of three."""
    part = opaque(hidden(seal, PLAIN), header="").read()
    html = b"--o\r\nContent-Type: text/html\r\n\r\n"
    return Body.of(
        HEADER.encode()
        + b'Content-Type: multipart/mixed; boundary="o"\r\n\r\n'
        + html
        + b'<a href="\r\n--o\r\n'
        + part
        + b"\r\n"
        + html
        + b'">\r\n--o--\r\n'
    )


def altered(seal: Person) -> Body:
    data = hidden(seal, PLAIN * 20, "aes256-cbc")
    return opaque(data[:-200] + bytes((data[-200] ^ 1,)) + data[-199:], header=HEADER)


SENT = {
    "whole": lambda seal: opaque(hidden(seal, PLAIN), header=HEADER),
    "CBC": lambda seal: opaque(hidden(seal, PLAIN, "aes256-cbc"), header=HEADER),
    "altered": altered,
    "beside other parts": beside,
    "hidden header": lambda seal: opaque(hidden(seal, HIDDEN), header=HEADER),
    "a report inside": lambda seal: opaque(hidden(seal, REPORT), header=HEADER),
    "too deep inside": lambda seal: opaque(hidden(seal, DEEP), header=HEADER),
    "too many fields inside": lambda seal: opaque(hidden(seal, WIDE), header=HEADER),
    "encrypted twice": lambda seal: opaque(hidden(seal, opaque(hidden(seal, PLAIN), header="").read().decode()), header=HEADER),
}


def words(octets: bytes) -> str:
    """All that a reader of a message sees, whatever it is encoded in."""
    message = message_from_bytes(octets)
    return octets.decode("latin-1") + "".join(
        (part.get_payload(decode=True) or b"").decode("latin-1") for part in message.walk() if not part.is_multipart()
    )


async def queued(resources: Resources) -> list[bytes]:
    deliveries = await resources.store.read(queue.list_all)
    return [(await resources.store.blobs.read(one.content)).read() for one in deliveries]


async def told(resources: Resources, trust, body: Body, *, to: str = JEANNE, sender: str | None = STRANGER) -> str:
    """Everything the stranger learns: the reply, and what is queued for anybody."""
    said = ""
    try:
        mail = MailFrom(Address.parse(sender) if sender else None, dsn=DsnOptions(Ret.FULL), size=body.size)
        transaction = await Inbound(resources, trust).begin(peer(b"beta"), mail)
        await transaction.recipient(Recipient(Address.parse(to), frozenset(Notify) - {Notify.NEVER}, notify_given=True))
        await transaction.accept(MailData.check(body, Limits()))
    except MailError as error:
        said = str(error.reply)
    return said + "".join(words(one) for one in await queued(resources))


@pytest.mark.parametrize("form", SENT)
@pytest.mark.parametrize("sender", [STRANGER, None])
async def test_28_the_sender_learns_nothing_of_what_is_delivered(sealed_resources, trust, people, seal, form, sender) -> None:
    assert SECRET not in await told(sealed_resources, trust, SENT[form](seal), sender=sender)


async def test_28_it_was_decrypted_and_a_report_was_sent(sealed_resources, trust, people, seal) -> None:
    """Control: there was something to leak, or the other tests would prove nothing."""
    learnt = await told(sealed_resources, trust, SENT["hidden header"](seal))
    assert "Action: delivered" in learnt
    (letter,) = await inbox(sealed_resources.store, people.jeanne)
    assert f"Subject: {SECRET}".encode() in letter


@pytest.mark.parametrize("to", [f"nobody@{HERE}", f"paul.petit@{HERE}", "x@gamma.mssante.test"], ids=["unknown", "suspended", "elsewhere"])
@pytest.mark.parametrize("form", SENT)
async def test_28_a_refused_recipient(sealed_resources, trust, people, seal, form, to) -> None:
    assert SECRET not in await told(sealed_resources, trust, SENT[form](seal), to=to)


@pytest.mark.parametrize("form", SENT)
async def test_28_a_full_mailbox(sealed_resources, trust, people, seal, form) -> None:
    config = msgspec.structs.replace(sealed_resources.config, limits=msgspec.structs.replace(sealed_resources.config.limits, quota=100))
    resources = replace(sealed_resources, config=config, local=LocalDelivery(config, sealed_resources.store))
    learnt = await told(resources, trust, SENT[form](seal))
    assert learnt.startswith("452 4.2.2")
    assert SECRET not in learnt


async def test_28_an_author_inside_is_not_named(sealed_resources, trust, people, seal, monkeypatch) -> None:
    """Should a From from inside ever be shown, the refusal must not say whose it is."""
    monkeypatch.setattr("mssgw.smime.headers._KEPT", frozenset())
    learnt = await told(sealed_resources, trust, SENT["hidden header"](seal))
    assert learnt == "550 5.7.1 The author inside the encrypted message can't be vouched for"
    assert SECRET not in learnt


async def test_28_what_a_client_here_sends_on_leaves_as_it_is(sealed_resources, trust, people, seal) -> None:
    """The stranger makes Jeanne forward it: it leaves still encrypted, and comes back still encrypted when it can't be delivered.

    A colleague reads it, as mail from outside: it was encrypted for their organisation.
    """
    forwarded = Body.of(SENT["whole"](seal).read().replace(STRANGER.encode(), JEANNE.encode()))
    transaction = await Submission(sealed_resources, trust).begin(client_of(people.jeanne), MailFrom(people.jeanne.address))
    for one in (f"cardiologie@{HERE}", STRANGER):
        await transaction.recipient(rcpt(one))
    await transaction.accept(MailData.check(forwarded, Limits()))
    (left,) = await queued(sealed_resources)
    assert SECRET not in words(left)
    (colleague,) = await inbox(sealed_resources.store, people.cardiologie)
    assert SECRET in words(colleague)


async def test_28_a_person_s_key_opens_for_that_person_alone(sealed_resources, trust, people) -> None:
    """Regression: whoever had a mailbox here could send themselves the mail of others, and read it."""
    authority = Authority()
    jeanne = authority.issue("rsa", JEANNE)
    resources = replace(sealed_resources, protection=replace(sealed_resources.protection, signers={}, keys=FileKeys((jeanne.identity,))))
    stolen = SENT["whole"](jeanne).read()
    for thief, readable in ((people.cardiologie, False), (people.jeanne, True)):
        address = thief.address
        sent = Body.of(stolen.replace(STRANGER.encode(), str(address).encode()))
        transaction = await Submission(resources, trust).begin(client_of(thief), MailFrom(address))
        await transaction.recipient(rcpt(str(address)))
        await transaction.accept(MailData.check(sent, Limits()))
        (letter,) = await inbox(resources.store, thief)
        assert (SECRET in words(letter)) is readable


@pytest.mark.parametrize("action", [one for one in Action if one is not Action.EXPANDED])
async def test_28_no_report_of_any_kind_quotes_it(sealed_resources, people, seal, clock, action) -> None:
    body = SENT["hidden header"](seal)
    recipient = Recipient(Address.parse(JEANNE), DEFAULT_NOTIFY | {Notify.SUCCESS}, notify_given=True)
    envelope = Envelope(Address.parse(STRANGER), (recipient,), Origin(OriginKind.RELAY), DsnOptions(Ret.FULL))
    reports = Reports(sealed_resources.config, sealed_resources.store, clock, sealed_resources.local)
    original = Original("T1", envelope, None, clock.now(), lambda: body)
    notices = await reports.prepare(original, [Fate(recipient, action, Reply(550, "5.1.1", "no"))])
    await sealed_resources.store.write(lambda tx: reports.commit(tx, notices))
    made = await queued(sealed_resources)
    assert made
    assert not any(SECRET in words(one) for one in made)
