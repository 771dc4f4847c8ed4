"""We hand mail to a real Postfix over mutual TLS, and read the reports it writes."""

import asyncio
import pwd
import socket
import tempfile
from pathlib import Path

import pytest

from mssgw.core.body import Body
from mssgw.core.envelope import DsnOptions, Notify, Recipient, Ret
from mssgw.protocol import dsn
from mssgw.relay.client import RelaySession, Target
from tests.fakes import address
from tests.peers.postfix import PROGRAM, owner, running
from tests.smtp_peer import Pki, envelope, relay_settings

pytestmark = [pytest.mark.peer(PROGRAM), pytest.mark.root()]

MAIN_CF = """\
myhostname = mx.beta.test
virtual_mailbox_domains = beta.test
virtual_mailbox_maps = inline:{{ {{ paul@beta.test = paul/ }} {{ back@beta.test = back/ }} {{ rené@beta.test = rene/ }} }}
virtual_mailbox_base = {home}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
message_size_limit = 5000000
smtputf8_enable = yes
smtpd_tls_security_level = encrypt
smtpd_tls_req_ccert = yes
smtpd_tls_cert_file = {server}
smtpd_tls_key_file = {server}
smtpd_tls_CAfile = {ca}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = reject_unlisted_recipient
"""


class Postfix:
    def __init__(self, home, pki, port):
        self.home, self.pki, self.port = home, pki, port

    def mail(self, name):
        return [path.read_bytes() for path in sorted((self.home / "mail" / name / "new").glob("*"))]

    def log(self):
        return (self.home / "log/mail.log").read_text()

    async def got(self, name, words):
        """The message in the mailbox that holds these words."""
        for _ in range(1500):
            if found := [octets for octets in self.mail(name) if words in octets]:
                return found[0]
            await asyncio.sleep(0.01)
        raise AssertionError(self.log())

    async def session(self, **context):
        return await RelaySession.open(
            Target("127.0.0.1", self.port), self.pki.client_context(**context), "mx.alpha.test", relay_settings()
        )

    async def send(self, given, body):
        session = await self.session()
        try:
            return await session.send("beta.test", given, body, lambda domain, der: None)
        finally:
            session.leave()
            await session.left()


@pytest.fixture(scope="module")
def postfix():
    with tempfile.TemporaryDirectory(prefix="pf") as name:
        home = Path(name)
        (home / "pki").mkdir()
        pki = Pki(home / "pki")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        user = pwd.getpwnam(owner())
        main_cf = MAIN_CF.format(home=home, server=pki.files["server"], ca=pki.ca_file, uid=user.pw_uid, gid=user.pw_gid)
        with running(home, main_cf, f"127.0.0.1:{port} inet n - n - - smtpd", owned=("mail",)):
            yield Postfix(home, pki, port)


def letter(name, text="Bonjour\r\n.\r\n..\r\nfin\r\n"):
    head = f"From: jeanne.martin@alpha.test\r\nTo: paul@beta.test\r\nMessage-ID: <{name}@alpha.test>\r\nSubject: {name}\r\n\r\n"
    return Body.of((head + text).encode())


async def test_it_takes_what_we_send_byte_for_byte(postfix):
    (outcome,) = await postfix.send(envelope(), letter("m1"))
    assert outcome.sent
    assert outcome.dsn
    assert "queued as" in outcome.reply.text
    got = await postfix.got("paul", b"<m1@")
    assert got.endswith(b"\n\nBonjour\n.\n..\nfin\n")


async def test_it_answers_each_recipient(postfix):
    good, bad = await postfix.send(envelope("paul@beta.test", "nobody@beta.test"), letter("m2"))
    assert good.sent
    assert (bad.reply.code, bad.reply.enhanced) == (550, "5.1.1")
    assert "User unknown" in bad.reply.text
    await postfix.got("paul", b"<m2@")


async def test_a_session_survives_refusals(postfix):
    session = await postfix.session()
    for _ in range(3):
        (outcome,) = await session.send("beta.test", envelope("nobody@beta.test"), letter("m3"), lambda domain, der: None)
        assert outcome.reply.enhanced == "5.1.1"
        assert session.alive
    (outcome,) = await session.send("beta.test", envelope(), letter("m4"), lambda domain, der: None)
    session.leave()
    await session.left()
    assert outcome.sent


async def test_a_large_message_streams(postfix):
    (outcome,) = await postfix.send(envelope(), letter("m5", "x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * 60_000))
    assert outcome.sent
    assert len(await postfix.got("paul", b"<m5@")) > 4_000_000


async def test_its_size_limit_is_known_before(postfix):
    (outcome,) = await postfix.send(envelope(), letter("m6", ("y" * 70 + "\r\n") * 80_000))
    assert (outcome.reply.enhanced, outcome.host) == ("5.3.4", None)


async def test_it_refuses_us_without_a_certificate(postfix):
    """Postfix ends the handshake; the mail waits."""
    from mssgw.core.errors import MailError

    with pytest.raises(MailError) as told:
        await postfix.session(certificate=False)
    assert told.value.temporary


async def test_accents_in_the_address(postfix):
    (outcome,) = await postfix.send(envelope("rené@beta.test", utf8=True), letter("m7"))
    assert outcome.sent
    await postfix.got("rene", b"<m7@")


async def test_its_reports_are_read(postfix):
    """NOTIFY, ORCPT, ENVID and RET travel through Postfix and come back in its report."""
    asked = Recipient(address("paul@beta.test"), frozenset({Notify.SUCCESS}), "rfc822;P+ul@alpha.test", notify_given=True)
    (outcome,) = await postfix.send(envelope(asked, sender="back@beta.test", dsn=DsnOptions(Ret.HDRS, "Env 1+x")), letter("m8"))
    assert outcome.sent
    report = dsn.parse(await postfix.got("back", b"<m8@"))
    (told,) = report.recipients
    assert (told.final, told.action, told.status) == ("paul@beta.test", dsn.Action.DELIVERED, "2.0.0")
    assert (told.original, report.envid) == ("rfc822;P+ul@alpha.test", "Env 1+x")
    assert report.reporting_mta == "mx.beta.test"
    assert report.original_message_id == "<m8@alpha.test>"
