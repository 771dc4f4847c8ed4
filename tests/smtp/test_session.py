"""The dialogue: order of commands, pipelining, limits, strangers, the end."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssgw.core.address import Domain
from mssgw.core.config.base import Network
from mssgw.core.config.node import Limits
from mssgw.core.errors import Deferred, NotTrusted
from tests.fuzz import examples
from tests.smtp.dialogue import Dialogue

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


def limits(**changes: object) -> Limits:
    return msgspec.structs.replace(Limits(), **changes)


async def test_a_message_and_its_trace(start, connect, flow) -> None:
    client = await connect(await start())
    await client.hello()
    await client.envelope("a@b.fr", "c@d.fr", "e@f.fr")
    assert str(await client.message(MESSAGE)) == "250 2.0.0 queued as TRACE1"
    accepted = flow.accepted[0]
    assert accepted.content == MESSAGE
    assert [str(recipient.address) for recipient in accepted.recipients] == ["c@d.fr", "e@f.fr"]
    assert accepted.client.helo == "client.test"
    await client.envelope()
    assert str(await client.message(MESSAGE)) == "250 2.0.0 queued as TRACE2"
    assert str(await client.say("QUIT")).startswith("221 2.0.0")
    assert await client.ended() == b""


async def test_helo_is_enough(start, connect, flow) -> None:
    client = await connect(await start())
    await client.reply()
    assert str(await client.say("HELO client.test")) == "250 mx.alpha.mssante.test"
    await client.envelope()
    assert (await client.message()).code == 250
    assert flow.accepted[0].client.keyword == "SMTP"


async def test_a_whole_pipelined_session_in_one_packet(start, connect, flow) -> None:
    client = await connect(await start())
    await client.send(
        b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<c@d.fr>\r\nDATA\r\n" + MESSAGE + b".\r\n"
        b"MAIL FROM:<e@f.fr>\r\nRCPT TO:<g@h.fr>\r\nDATA\r\n" + MESSAGE + b".\r\nQUIT\r\n"
    )
    assert [(await client.reply()).code for _ in range(11)] == [220, 250, 250, 250, 354, 250, 250, 250, 354, 250, 221]
    assert len(flow.accepted) == 2


async def test_pipelined_replies_leave_together(start, connect) -> None:
    """RFC 2920 3.2: one write for MAIL, RCPT, RCPT, so one read sees them all."""
    client = await connect(await start())
    await client.hello()
    await client.send(b"MAIL FROM:<a@b.fr>\r\nRCPT TO:<c@d.fr>\r\nRCPT TO:<e@f.fr>\r\nNOOP\r\n")
    assert (await client.reader.read(10_000)).count(b"\r\n") == 4


async def test_a_half_closed_client_gets_its_replies(start, connect, flow) -> None:
    client = await connect(await start())
    await client.send(b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<c@d.fr>\r\nDATA\r\n" + MESSAGE + b".\r\n")
    client.writer.write_eof()
    assert b"250 2.0.0 queued as TRACE1\r\n" in await client.ended()


async def test_end_of_input_inside_content_is_no_message(start, connect, flow) -> None:
    client = await connect(await start())
    await client.send(b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<c@d.fr>\r\nDATA\r\n" + MESSAGE + b".")
    client.writer.write_eof()
    assert (await client.ended()).endswith(b"354 End with CRLF.CRLF\r\n")
    assert not flow.accepted


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["MAIL FROM:<a@b.fr>"], 503),
        (["EHLO x", "RCPT TO:<a@b.fr>"], 503),
        (["EHLO x", "DATA"], 503),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "DATA"], 554),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "MAIL FROM:<a@b.fr>"], 503),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "RSET", "RCPT TO:<a@b.fr>"], 503),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "EHLO x", "RCPT TO:<a@b.fr>"], 503),
        (["EHLO x", "MAIL FROM:<a@b.fr> SIZE=99999999999"], 552),
        (["EHLO x", "MAIL FROM:<a@b.fr> BODY=BINARYMIME"], 501),
        (["EHLO x", "MAIL FROM:<a@b.fr> FUTURE=1"], 555),
        (["EHLO x", "MAIL FROM:<é@b.fr>"], 553),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "RCPT TO:<a@b.fr>", "DATA x"], 501),
        (["EHLO x", "BDAT 3x"], 501),
        (["EHLO"], 501),
        (["EHLO a b"], 501),
        (["HELO"], 501),
        (["EHLO x", "RSET x"], 501),
        (["EHLO x", "QUIT x"], 501),
        (["EHLO x", "STARTTLS x"], 501),
        (["EHLO x", "VRFY"], 501),
        (["VRFY jeanne"], 252),
        (["EXPN list"], 502),
        (["HELP"], 214),
        (["HELP MAIL"], 214),
        (["NOOP anything at all"], 250),
        (["RSET"], 250),
        (["NOPE"], 500),
        (["é"], 500),
        ([""], 500),
        (["\x01"], 500),
        (["NOOP \x7f"], 500),
        (["EHLO x", "noop"], 250),
        (["EHLO x", "MAIL FROM:<>"], 250),
        (["EHLO x", "MAIL FROM: <a@b.fr> "], 250),
    ],
)
async def test_replies(start, connect, lines, code) -> None:
    client = await connect(await start())
    await client.reply()
    for line in lines[:-1]:
        await client.say(line)
    assert (await client.say(lines[-1])).code == code
    assert (await client.say("NOOP")).code == 250


async def test_every_reply_to_a_command_has_an_enhanced_code(start, connect) -> None:  # RFC 2034, 3463
    client = await connect(await start())
    await client.hello()
    for line in ("MAIL FROM:<a@b.fr>", "RCPT TO:<c@d.fr>", "NOOP", "RSET", "VRFY x", "EXPN x", "HELP", "NOPE", "RCPT x", "DATA", "QUIT"):
        reply = await client.say(line)
        assert reply.text.startswith(f"{reply.code // 100}."), reply


@pytest.mark.parametrize("octets", [b"NOOP\nNOOP\r\n", b"NOOP\rNOOP\r\n", b"NOOP\n", b"\n", b"NO\0OP\r\n", b"NOOP \xff\r\n"], ids=repr)
async def test_command_lines_end_with_crlf(start, connect, octets) -> None:  # RFC 5321 2.3.8
    client = await connect(await start())
    await client.hello()
    await client.send(octets)
    assert (await client.reply()).code == 500


async def test_long_command_lines(start, connect) -> None:  # RFC 5321 4.5.3.1.4
    client = await connect(await start())
    await client.hello()
    assert (await client.say("NOOP " + "x" * 505)).code == 250
    assert (await client.say("NOOP " + "x" * 506)).code == 500
    await client.send(b"x" * 200_000)
    assert (await client.ended()).startswith(b"500 5.5.2")


@pytest.mark.parametrize("request_line", ["GET / HTTP/1.1", "POST /mail HTTP/1.1", "CONNECT x:25 HTTP/1.1", "PRI * HTTP/2.0", "Host: x"])
async def test_browsers_are_sent_away(start, connect, flow, request_line) -> None:
    """ALPACA: a browser made to speak to us must not get a mail command through in its body."""
    client = await connect(await start())
    await client.reply()
    await client.send(f"{request_line}\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<a@b.fr>\r\n".encode())
    assert await client.ended() == b"554 5.5.1 This is a mail server\r\n"


async def test_too_many_errors(start, connect) -> None:
    client = await connect(await start(error_budget=20))
    await client.reply()
    await client.send(b"NOPE\r\n" * 10)
    assert (await client.ended()).split(b"\r\n") == [*[b"500 5.5.1 Command not known"] * 4, b"421 4.7.0 Too many errors, closing", b""]


async def test_refused_recipients_cost_less_and_a_message_pays_them_back(start, connect, flow) -> None:
    client = await connect(await start(error_budget=20))
    await client.hello()
    for _ in range(3):
        flow.failures["recipient"] = NotTrusted("Not listed")
        await client.say("MAIL FROM:<a@b.fr>")
        for _ in range(15):
            assert (await client.say("RCPT TO:<c@d.fr>")).code == 550
        flow.failures.clear()
        assert (await client.say("RCPT TO:<c@d.fr>")).code == 250
        assert (await client.message()).code == 250


async def test_a_recipient_the_flow_refuses_gets_its_reply_and_the_others_are_kept(start, connect, flow) -> None:  # RFC 5321 4.5.3.1.10
    client = await connect(await start())
    await client.hello()
    await client.envelope("a@b.fr", "1@d.fr", "2@d.fr")
    flow.failures["recipient"] = Deferred("Too many recipients", code=452, enhanced="4.5.3")
    assert str(await client.say("RCPT TO:<3@d.fr>")).startswith("452 4.5.3")
    assert (await client.message()).code == 250
    assert len(flow.accepted[0].recipients) == 2


async def test_size_is_enforced_and_the_session_goes_on(start, connect, flow) -> None:  # RFC 1870 6.3
    client = await connect(await start(limits=limits(message_size=100_000)))
    await client.hello()
    await client.envelope()
    assert str(await client.message(b"x" * 98 + b"\r\n" + (b"x" * 98 + b"\r\n") * 1500)).startswith("552 5.3.4")
    await client.envelope()
    assert (await client.message()).code == 250
    assert len(flow.accepted) == 1


async def test_endless_content_is_cut_off(start, connect, flow) -> None:
    client = await connect(await start(limits=limits(message_size=100_000)))
    await client.hello()
    await client.envelope()
    await client.say("DATA")
    client.writer.write((b"x" * 98 + b"\r\n") * 4000)
    assert (await client.reader.readuntil(b"\r\n")).startswith(b"552 5.3.4")


async def test_8_bit_garbage_is_content(start, connect, flow) -> None:
    garbage = bytes(octet for octet in range(1, 256) if octet not in b"\r\n") + b"\r\n"
    client = await connect(await start())
    await client.hello()
    await client.envelope()
    assert (await client.message(garbage)).code == 250
    assert flow.accepted[0].content == garbage


async def test_connections_in_all_and_from_one_peer(start, connect) -> None:
    servers = await start(limits=limits(connections=3, connections_per_peer=2))
    first, second = await connect(servers), await connect(servers)
    assert [(await client.reply()).code for client in (first, second)] == [220, 220]
    third = await connect(servers)
    assert (await third.ended()).startswith(b"421 4.7.0")
    assert (await first.say("QUIT")).code == 221
    await first.ended()
    assert (await (await connect(servers)).reply()).code == 220


async def test_networks(start, connect) -> None:
    inside = await connect(await start(networks=(Network("127.0.0.0/8"),)))
    assert (await inside.reply()).code == 220
    outside = await connect(await start(networks=(Network("192.0.2.0/24"), Network("2001:db8::/32"))))
    assert (await outside.ended()).startswith(b"554 5.7.1 Your address may not")


async def test_silence_ends_with_421(start, connect) -> None:  # RFC 5321 4.5.3.2.7
    client = await connect(await start(limits=limits(idle_seconds=0.1)))
    await client.hello()
    assert (await client.ended()).startswith(b"421 4.4.2")


async def test_a_dribbled_command_ends_too(start, connect) -> None:
    client = await connect(await start(limits=limits(idle_seconds=0.3)))
    await client.hello()
    ended = asyncio.create_task(client.ended())
    while not ended.done():
        client.writer.write(b"N")
        await asyncio.sleep(0.02)  # the sender's pace is under test
    assert (await ended).startswith(b"421 4.4.2")


async def test_our_own_work_is_not_the_peers_silence(start, connect, flow) -> None:
    client = await connect(await start(limits=limits(idle_seconds=0.1)))
    await client.hello()
    flow.may_commit.clear()
    await client.envelope()
    await client.say("DATA")
    await client.send(MESSAGE + b".\r\n")
    await flow.committing.wait()
    asyncio.get_running_loop().call_later(0.4, flow.may_commit.set)
    assert (await client.reply()).code == 250


async def test_stop_is_polite(start, connect, flow) -> None:
    servers = await start()
    idle, busy = await connect(servers), await connect(servers)
    await idle.hello()
    await busy.hello()
    await busy.envelope()
    await busy.say("DATA")
    stopping = asyncio.create_task(servers.stop(20))
    assert str(await idle.reply()).startswith("421 4.3.2")
    assert await idle.ended() == b""
    await idle.close()
    await busy.send(MESSAGE + b".\r\n")
    assert (await busy.reply()).code == 250
    assert str(await busy.reply()).startswith("421 4.3.2")
    address = busy.writer.get_extra_info("peername")
    await busy.close()
    await asyncio.wait_for(stopping, 20)
    with pytest.raises(ConnectionRefusedError):
        await Dialogue.open(address)


async def test_stop_waits_for_commits_of_clients_that_left(start, connect, flow) -> None:
    flow.may_commit.clear()
    servers = await start()
    client = await connect(servers)
    await client.hello()
    await client.envelope()
    await client.say("DATA")
    await client.send(MESSAGE + b".\r\n")
    await flow.committing.wait()
    client.writer.transport.abort()
    stopping = asyncio.create_task(servers.stop(0))
    await asyncio.sleep(0)
    flow.may_commit.set()
    await asyncio.wait_for(stopping, 20)
    assert len(flow.accepted) == 1


async def test_two_workers_share_an_address(start, connect) -> None:
    from mssgw.core.config.base import Listen
    from mssgw.smtpd.server import Endpoint, serve

    first = await start()
    host, number = first.addresses[0]
    profile = next(iter(first.ports.values())).profile
    second = await serve([Endpoint(profile, Listen(host, number))])
    try:
        for _ in range(4):
            assert (await (await connect(first)).reply()).code == 220
    finally:
        await second.stop(0)


async def test_an_address_that_is_taken_is_named(start) -> None:
    import socket

    from mssgw.core.config.base import Listen
    from mssgw.smtpd.server import Endpoint, serve

    servers = await start()
    profile = next(iter(servers.ports.values())).profile
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = Listen(*other.getsockname())
        with pytest.raises(OSError, match=str(taken)):
            await serve([Endpoint(profile, taken)])


async def test_bare_postmaster_is_the_one_of_the_port(start, connect, flow) -> None:
    client = await connect(await start(domain=Domain("alpha.mssante.test")))
    await client.hello()
    await client.say("MAIL FROM:<a@b.fr>")
    assert (await client.say("RCPT TO:<Postmaster>")).code == 250
    await client.message()
    assert str(flow.accepted[0].recipients[0].address) == "postmaster@alpha.mssante.test"


_PIECES = st.sampled_from(
    [
        b"EHLO x\r\n",
        b"MAIL FROM:<a@b.fr>\r\n",
        b"RCPT TO:<c@d.fr>\r\n",
        b"DATA\r\n",
        b".\r\n",
        b"hello\r\n",
        b"RSET\r\n",
        b"BDAT 5\r\n",
        b"BDAT 3 LAST\r\n",
        b"a\r\nbc",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b"NOOP\r\n",
        b"AUTH PLAIN\r\n",
        b"VRFY x\r\n",
        b"x" * 600 + b"\r\n",
        b".",
        b"QUIT\r\n",
    ]
)


@given(st.lists(_PIECES, max_size=30).map(b"".join))
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_strangers_octets_never_make_a_bug(octets: bytes) -> None:
    """Whatever octets come, each reply is well formed and none is 451, which a bug would give."""
    asyncio.run(_conversation(octets))


async def _conversation(octets: bytes) -> None:
    from mssgw.core.config.base import Listen
    from mssgw.smtpd.port import Profile
    from mssgw.smtpd.server import Endpoint, serve
    from tests.smtp.dialogue import Flow

    flow = Flow()
    profile = Profile("relay", "mx", Domain("d.fr"), Limits(), lambda: None, flow.begin, tls_required=False)  # type: ignore[arg-type, return-value]
    servers = await serve([Endpoint(profile, Listen("127.0.0.1", 0))])
    try:
        client = await Dialogue.open(servers.addresses[0])
        await client.send(octets)
        client.writer.write_eof()
        for line in (await client.ended()).splitlines(keepends=True):
            assert line.endswith(b"\r\n")
            assert line[:3].isdigit()
            assert line[3:4] in b" -"
            assert not line.startswith(b"451")
        await client.close()
    finally:
        await servers.stop(0)


async def test_a_client_that_vanishes_is_no_bug(start, connect, flow, monkeypatch) -> None:
    bugs: list[BaseException] = []
    monkeypatch.setattr("mssgw.smtpd.connection.log_failure", lambda error, **facts: bugs.append(error))
    servers = await start()
    for said in (
        b"",
        b"EHLO x\r\nMAIL",
        b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<c@d.fr>\r\nDATA\r\nhal",
        b"NOOP\r\n" * 1000,
        b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<c@d.fr>\r\nBDAT 100\r\nhal",
    ):
        client = await connect(servers)
        await client.send(said)
        client.writer.transport.abort()
    other = await connect(servers)
    assert (await other.reply()).code == 220
    await other.close()
    await servers.stop(20)
    assert not bugs


async def test_ipv6(start, connect, flow) -> None:
    from mssgw.core.config.base import Listen
    from mssgw.smtpd.server import Endpoint, serve

    profile = next(iter((await start(networks=(Network("::1/128"),))).ports.values())).profile
    try:
        servers = await serve([Endpoint(profile, Listen.parse("[::1]:0"))])
    except OSError:
        pytest.skip("no IPv6 here")
    client = await connect(servers)
    await client.hello()
    await client.envelope()
    assert (await client.message()).code == 250
    assert flow.accepted[0].client.address == "::1"
    await client.close()
    await servers.stop(5)
