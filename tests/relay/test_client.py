"""One session and its transactions, against a server that fails at each phase in turn."""

import asyncio

import pytest

from mssgw.core.body import Body
from mssgw.core.envelope import DsnOptions, Notify, Recipient, Ret
from mssgw.core.errors import Deferred, MailError, NotTrusted, PeerGone
from mssgw.relay.client import RelaySession, Target
from tests.fakes import address
from tests.smtp_peer import BODY, CLOSE, CUT, SILENCE, envelope, relay_settings

DOMAIN = "beta.test"


def trusts(domain, der):
    """A `require` that accepts every certificate."""


async def open_session(peer, pki, settings=None, **context):
    return await RelaySession.open(
        Target("127.0.0.1", peer.port), pki.client_context(**context), "mx.alpha.test", settings or relay_settings()
    )


async def send(peer, pki, *recipients, body=BODY, require=trusts, settings=None, **given):
    session = await open_session(peer, pki, settings)
    try:
        return await session.send(DOMAIN, envelope(*recipients, **given), body, require)
    finally:
        session.leave()
        await session.left()


def words(outcome):
    return str(outcome.reply)


async def test_a_message_arrives_byte_for_byte(server, pki):
    async with server() as peer:
        (outcome,) = await send(peer, pki)
    assert words(outcome) == "250 2.0.0 queued as F1"
    assert (outcome.sent, outcome.host) == (True, "fake.test")
    assert peer.messages == [b"From: a@alpha.test\r\nSubject: x\r\n\r\nBonjour\r\n..dot\r\n.\r\n"]
    assert peer.client_certificates == [pki.der["client"]]
    said = peer.sessions[0]
    assert said[:3] == ["EHLO mx.alpha.test", "STARTTLS", "EHLO mx.alpha.test"]
    assert said[3:6] == [f"MAIL FROM:<jeanne.martin@alpha.test> SIZE={BODY.size}", "RCPT TO:<paul@beta.test>", "DATA"]


async def test_the_certificate_is_judged_before_anything_is_sent(server, pki):
    def refuses(domain, der):
        assert (domain, der) == (DOMAIN, pki.der["server"])
        raise NotTrusted(detail="CN is mx.gamma.test, the list says mx.beta.test")

    async with server() as peer:
        with pytest.raises(Deferred) as told:
            await send(peer, pki, require=refuses)
    assert told.value.reply.enhanced == "4.7.5"
    assert "CN is mx.gamma.test" in told.value.detail
    assert not any(line.startswith("MAIL") for line in peer.sessions[0])


async def test_a_domain_out_of_the_list_is_permanent(server, pki):
    def refuses(domain, der):
        raise NotTrusted("beta.test is not in the list", enhanced="5.1.2")

    async with server() as peer:
        with pytest.raises(NotTrusted):
            await send(peer, pki, require=refuses)


@pytest.mark.parametrize(
    ("answers", "enhanced"),
    [
        ({"greeting": b"554 5.3.2 go away\r\n"}, "4.3.2"),
        ({"greeting": b"421 busy\r\n"}, "4.3.2"),
        ({"greeting": CLOSE}, "4.4.2"),
        ({"greeting": b"HTTP/1.1 400 Bad Request\r\n"}, "4.5.0"),
        ({"greeting": b"220-" + b"x" * 10_000}, "4.5.0"),
        ({"greeting": b"220-x\r\n" * 1000}, "4.5.0"),
        ({"EHLO": b"502 what\r\n"}, "4.3.2"),
        ({"EHLO": CLOSE}, "4.4.2"),
        ({"STARTTLS": b"454 4.7.0 no\r\n"}, "4.3.2"),
        ({"STARTTLS": CLOSE}, "4.4.2"),
        ({"EHLO2": b"421 4.3.2 closing\r\n"}, "4.3.2"),
        ({"EHLO2": CUT}, "4.7.5"),
    ],
)
async def test_what_fails_before_the_message_is_temporary(server, pki, answers, enhanced):
    async with server(answers=answers) as peer:
        with pytest.raises(MailError) as told:
            await send(peer, pki)
    assert told.value.temporary
    assert told.value.reply.enhanced == enhanced
    assert not peer.messages


async def test_never_in_clear(server, pki):
    async with server(starttls=False) as peer:
        with pytest.raises(Deferred) as told:
            await send(peer, pki)
    assert told.value.reply.enhanced == "4.7.4"
    assert peer.sessions[0] == ["EHLO mx.alpha.test"]


async def test_an_unknown_authority_is_temporary(server, pki, tmp_path):
    from tests.smtp_peer import Pki

    (tmp_path / "other").mkdir()
    other = Pki(tmp_path / "other")
    async with server() as peer:
        with pytest.raises(Deferred) as told:
            await open_session(peer, other)
    assert told.value.reply.enhanced == "4.7.5"
    assert "certificate refused" in told.value.detail


async def test_a_server_that_refuses_our_certificate_gives_its_reason(server, pki):
    """In TLS 1.3 the client learns of it only when it reads."""
    async with server() as peer:
        with pytest.raises(MailError) as told:
            await open_session(peer, pki, certificate=False)
    assert told.value.temporary
    assert "our certificate may not be accepted" in told.value.reply.text


async def test_words_in_clear_behind_starttls_end_the_session(server, pki):
    """CVE-2011-0411: an injected reply must not be read as one of the authenticated peer."""
    async with server() as peer:
        peer.after_starttls = b"250 injected\r\n"
        with pytest.raises(Deferred) as told:
            await send(peer, pki)
    assert told.value.reply.enhanced == "4.7.0"
    assert peer.handshakes == 0


async def test_half_a_reply_behind_starttls_ends_the_session_too(server, pki):
    async with server() as peer:
        peer.after_starttls = b"250-inj"
        with pytest.raises(Deferred):
            await send(peer, pki)
    assert peer.handshakes == 0


@pytest.mark.parametrize("offers", [("PIPELINING",), ()])
async def test_each_recipient_has_its_own_answer(server, pki, offers):
    answers = {"RCPT": [b"250 2.1.5 ok\r\n", b"550 5.1.1 no such\r\n", b"452 4.2.2 full\r\n"]}
    async with server(offers=offers, answers=answers) as peer:
        outcomes = await send(peer, pki, "a@beta.test", "b@beta.test", "c@beta.test")
    assert [words(one) for one in outcomes] == ["250 2.0.0 queued as F1", "550 5.1.1 no such", "452 4.2.2 full"]
    assert [(one.sent, one.temporary) for one in outcomes] == [(True, False), (False, False), (False, True)]
    assert len(peer.messages) == 1


@pytest.mark.parametrize("offers", [("PIPELINING",), ()])
@pytest.mark.parametrize("data", [b"354 go\r\n", b"554 5.5.1 no valid recipients\r\n"])
async def test_nobody_accepted_sends_nothing(server, pki, offers, data):
    """RFC 2920 3.1: a server may answer 354 all the same; it then gets an empty message, and the session goes on."""
    async with server(offers=offers, answers={"RCPT": [b"550 5.1.1 no\r\n", b"250 ok\r\n"], "DATA": [data, b"354 go\r\n"]}) as peer:
        session = await open_session(peer, pki)
        (first,) = await session.send(DOMAIN, envelope(), BODY, trusts)
        assert words(first) == "550 5.1.1 no"
        assert session.alive
        assert all(message == b".\r\n" for message in peer.messages)
        if not offers:
            assert peer.messages == []
            peer.answers["DATA"] = [b"354 go\r\n"]
        (second,) = await session.send(DOMAIN, envelope(), BODY, trusts)
        session.leave()
    assert second.sent
    assert b"Bonjour" in peer.messages[-1]
    assert "RSET" in peer.sessions[0]


@pytest.mark.parametrize("offers", [("PIPELINING",), ()])
@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"MAIL": b"550 5.7.1 not you\r\n", "RCPT": b"503 5.5.1 MAIL first\r\n", "DATA": b"503 5.5.1 no\r\n"}, "550 5.7.1 not you"),
        ({"MAIL": b"451 4.3.0 later\r\n", "RCPT": b"503 5.5.1 MAIL first\r\n", "DATA": b"503 5.5.1 no\r\n"}, "451 4.3.0 later"),
        ({"DATA": b"451 4.3.1 disk\r\n"}, "451 4.3.1 disk"),
        ({"DATA": b"554 5.5.1 no\r\n"}, "554 5.5.1 no"),
        ({"dot": b"554 5.6.0 bad content\r\n"}, "554 5.6.0 bad content"),
        ({"dot": b"451 4.3.0 try again\r\n"}, "451 4.3.0 try again"),
        ({"dot": b"354 again?\r\n"}, "451 4.5.0 Unexpected reply: 354 again?"),
        ({"dot": b"421 4.3.2 shutting down\r\n"}, "421 4.3.2 shutting down"),
        ({"DATA": b"250 what\r\n"}, "451 4.5.0 Unexpected reply: 250 what"),
        ({"RCPT": b"550 no\r\n"}, "550 5.0.0 no"),
        ({"RCPT": b"452 much\r\n"}, "452 4.3.1 much"),
        ({"RCPT": b"550-5.1.1 first\r\n550 5.1.1 second\r\n"}, "550 5.1.1 first second"),
        ({"RCPT": b"550 4.1.1 class differs\r\n"}, "550 5.0.0 class differs"),
    ],
)
async def test_a_reply_is_kept_with_its_class(server, pki, offers, answers, said):
    async with server(offers=offers, answers=answers) as peer:
        (outcome,) = await send(peer, pki)
    assert words(outcome) == said


async def test_a_reply_is_cleaned_and_bounded(server, pki):
    async with server(answers={"RCPT": b"550 5.1.1 \x1b[31mred\x00 \xff" + b"y" * 2000 + b"\r\n"}) as peer:
        (outcome,) = await send(peer, pki)
    assert outcome.reply.text.startswith("[31mred �yyy")
    assert len(outcome.reply.text) == 500


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("offers", [("PIPELINING",), ()])
@pytest.mark.parametrize("how", [CLOSE, CUT])
async def test_lost_before_the_content_is_known_not_to_have_arrived(server, pki, verb, offers, how):
    async with server(offers=offers, answers={verb: how}) as peer:
        with pytest.raises(PeerGone) as told:
            await send(peer, pki)
    assert told.value.reply.enhanced == "4.4.2"


@pytest.mark.parametrize("how", [CLOSE, CUT])
async def test_lost_after_the_dot_is_sent_again(server, pki, how):
    async with server(answers={"dot": how}) as peer:
        (outcome,) = await send(peer, pki)
    assert outcome.temporary
    assert "may arrive twice" in outcome.reply.text
    assert len(peer.messages) == 1


async def test_silence_after_the_dot_is_unknown_too(server, pki):
    async with server(answers={"dot": SILENCE}) as peer:
        (outcome,) = await send(peer, pki, settings=relay_settings(data_seconds=1))
    assert (outcome.reply.code, outcome.temporary) == (451, True)


@pytest.mark.parametrize("verb", ["greeting", "EHLO", "MAIL", "DATA"])
async def test_silence_ends_the_session(server, pki, verb):
    async with server(answers={verb: SILENCE}) as peer:
        with pytest.raises(Deferred) as told:
            await send(peer, pki, settings=relay_settings(**{"connect_seconds" if verb == "greeting" else "command_seconds": 1}))
    assert told.value.reply.enhanced == "4.4.2"


async def test_nobody_listens(server, pki):
    async with server() as peer:
        pass
    with pytest.raises(Deferred) as told:
        await open_session(peer, pki)
    assert told.value.reply.enhanced == "4.4.1"


async def test_the_reply_of_a_server_that_refuses_in_the_middle_is_read(server, pki):
    """552 while the content is still on its way, and the connection closed."""
    async with server(answers={"early": b"552 5.3.4 too big\r\n"}) as peer:
        (outcome,) = await send(peer, pki, body=Body.of(b"x" * 70 + b"\r\n" + b"y" * 900_000 + b"\r\n"))
    assert words(outcome) == "552 5.3.4 too big"


async def test_a_tarpit_ends(server, pki, monkeypatch):
    """Each answer comes in time, but all of them together take too long."""
    monkeypatch.setattr("mssgw.relay.client.GROUP_FACTOR", 0)
    async with server(answers={"RCPT": [b"250 ok\r\n", SILENCE]}) as peer:
        with pytest.raises(Deferred):
            await send(peer, pki, "a@beta.test", "b@beta.test")


async def test_a_peer_that_reads_for_ever_ends(server, pki, monkeypatch):
    monkeypatch.setattr("mssgw.relay.client.CONTENT_SECONDS", 0)
    async with server(offers=("PIPELINING",), answers={"early": b""}) as peer:
        peer.never_reads = True
        with pytest.raises(Deferred) as told:
            await send(peer, pki, body=Body.of(b"y" * 70 + b"\r\n" + (b"x" * 70 + b"\r\n") * 400_000))
    assert "took no data" in told.value.reply.text


# what the peer can and can't take ----------------------------------------------------------------


async def test_too_large_is_found_before_it_is_sent(server, pki):
    async with server(offers=("PIPELINING", "SIZE 10")) as peer:
        (outcome,) = await send(peer, pki)
    assert (outcome.reply.code, outcome.reply.enhanced, outcome.host) == (552, "5.3.4", None)
    assert "at most 10" in outcome.reply.text
    assert not any(line.startswith("MAIL") for line in peer.sessions[0])


@pytest.mark.parametrize("offers", [("SIZE",), ("SIZE 0",)])
async def test_a_size_without_a_limit_is_no_limit(server, pki, offers):
    async with server(offers=offers) as peer:
        (outcome,) = await send(peer, pki)
    assert outcome.sent


EIGHT_BIT = Body.of("Subject: x\r\n\r\nRéponse\r\n".encode())


async def test_eight_bit_content_is_announced(server, pki):  # RFC 6152
    async with server() as peer:
        (outcome,) = await send(peer, pki, body=EIGHT_BIT)
    assert outcome.sent
    assert "BODY=8BITMIME" in peer.sessions[0][3]


async def test_eight_bit_content_is_never_sent_to_a_seven_bit_server(server, pki):
    async with server(offers=("PIPELINING",)) as peer:
        (outcome,) = await send(peer, pki, body=EIGHT_BIT)
    assert (outcome.reply.code, outcome.reply.enhanced) == (554, "5.6.3")
    assert not peer.messages


async def test_only_the_address_with_accents_fails_without_smtputf8(server, pki):
    async with server(offers=("PIPELINING",)) as peer:
        plain, accents = await send(peer, pki, "a@beta.test", "rené@beta.test", utf8=True)
    assert plain.sent
    assert accents.reply.enhanced == "5.6.7"
    assert "SMTPUTF8" not in peer.sessions[0][3]


async def test_headers_with_accents_need_smtputf8(server, pki):  # RFC 6531, 6532
    body = Body.of("Subject: été\r\n\r\nx\r\n".encode())
    async with server(offers=("8BITMIME",)) as peer:
        (outcome,) = await send(peer, pki, body=body, utf8=True)
    assert outcome.reply.enhanced == "5.6.9"
    async with server() as peer:
        (outcome,) = await send(peer, pki, "rené@beta.test", body=body, utf8=True)
    assert outcome.sent
    assert peer.sessions[0][3].endswith("SMTPUTF8")
    assert peer.sessions[0][4] == "RCPT TO:<rené@beta.test>"


async def test_dsn_options_are_passed_on(server, pki):
    recipient = Recipient(address("a@beta.test"), frozenset({Notify.SUCCESS, Notify.FAILURE}), "rfc822;A+b=c@beta.test", notify_given=True)
    async with server() as peer:
        (outcome,) = await send(peer, pki, recipient, dsn=DsnOptions(Ret.HDRS, "Env+1"))
    assert outcome.dsn
    assert peer.sessions[0][3].endswith(" RET=HDRS ENVID=Env+2B1")
    assert peer.sessions[0][4] == "RCPT TO:<a@beta.test> NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;A+2Bb+3Dc@beta.test"


async def test_dsn_options_are_not_sent_to_a_server_without_dsn(server, pki):
    recipient = Recipient(address("a@beta.test"), frozenset({Notify.SUCCESS}), "rfc822;a@beta.test", notify_given=True)
    async with server(offers=("PIPELINING",)) as peer:
        (outcome,) = await send(peer, pki, recipient, dsn=DsnOptions(Ret.HDRS, "E"))
    assert not outcome.dsn
    assert peer.sessions[0][3:5] == ["MAIL FROM:<jeanne.martin@alpha.test>", "RCPT TO:<a@beta.test>"]


async def test_a_report_has_the_null_path(server, pki):  # RFC 5321 4.5.5
    async with server() as peer:
        await send(peer, pki, sender=None)
    assert peer.sessions[0][3].startswith("MAIL FROM:<> ")


async def test_many_recipients_go_in_several_transactions(server, pki):
    """RFC 9422: RCPTMAX."""
    async with server(offers=("PIPELINING", "LIMITS RCPTMAX=2")) as peer:
        outcomes = await send(peer, pki, *[f"r{n}@beta.test" for n in range(5)])
    assert all(one.sent for one in outcomes)
    assert [str(one.recipient.address) for one in outcomes] == [f"r{n}@beta.test" for n in range(5)]
    assert len(peer.messages) == 3


async def test_what_was_sent_stays_sent_when_the_next_group_is_lost(server, pki):
    answers = {"MAIL": [b"250 ok\r\n", CLOSE]}
    async with server(offers=("PIPELINING", "LIMITS RCPTMAX=1"), answers=answers) as peer:
        first, second = await send(peer, pki, "a@beta.test", "b@beta.test")
    assert first.sent
    assert second.temporary


@pytest.mark.parametrize(("name", "told"), [("mx.beta.test", "mx.beta.test"), ("127.0.0.1", "127.0.0.1"), ("what_is this", "[127.0.0.1]")])
async def test_a_server_without_a_name_is_called_as_it_calls_itself(server, pki, name, told):
    async with server(answers={"EHLO2": f"250-{name}\r\n250 PIPELINING\r\n".encode()}) as peer:
        (outcome,) = await send(peer, pki)
    assert outcome.host == told


async def test_several_messages_in_one_session(server, pki):
    async with server() as peer:
        session = await open_session(peer, pki)
        for _ in range(3):
            assert (await session.send(DOMAIN, envelope(), BODY, trusts))[0].sent
            assert session.alive
        session.leave()
    assert (peer.handshakes, len(peer.messages)) == (1, 3)


async def test_a_reply_nobody_asked_for_ends_the_session(server, pki):
    async with server(answers={"dot": b"250 2.0.0 ok\r\n421 4.4.2 idle too long\r\n"}) as peer:
        session = await open_session(peer, pki)
        assert (await session.send(DOMAIN, envelope(), BODY, trusts))[0].sent
        for _ in range(100):
            if not session.alive:
                break
            await asyncio.sleep(0.01)
        assert not session.alive
        session.leave()
