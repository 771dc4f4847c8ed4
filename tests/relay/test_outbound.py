"""One attempt over several hosts, and sessions kept for the next message."""

import asyncio

import pytest

from mssgw.core.errors import Deferred, NotTrusted, Refused
from mssgw.relay import Outbound, Pool, Target
from tests.fakes import turns
from tests.smtp_peer import BODY, CLOSE, envelope, relay_settings

DOMAIN = "beta.test"


class FakeRouter:
    def __init__(self, *targets):
        self.answer = targets

    async def targets(self, domain):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def at(peer):
    return Target("127.0.0.1", peer.port)


@pytest.fixture
async def outbound(pki, clock):
    pools = []

    def make(*targets, require=lambda domain, der: None, **settings):
        chosen = relay_settings(**settings)
        pools.append(Pool(chosen, "mx.alpha.test", pki.client_context, clock))
        return Outbound(chosen, FakeRouter(*targets), pools[-1], require)

    yield make
    for pool in pools:
        await pool.close()


async def passes(clock, seconds):
    await turns()
    clock.advance(seconds)
    await turns()


async def send(out, *recipients):
    return await out.send(DOMAIN, envelope(*recipients), BODY)


async def test_messages_share_a_session(server, outbound):
    async with server() as peer:
        out = outbound(at(peer))
        for _ in range(5):
            assert (await send(out))[0].sent
    assert (len(peer.sessions), peer.handshakes, len(peer.messages)) == (1, 1, 5)


async def test_no_more_sessions_than_allowed(server, outbound):
    async with server() as peer:
        out = outbound(at(peer), connections_per_operator=3)
        told = await asyncio.gather(*[send(out) for _ in range(20)])
    assert all(one[0].sent for one in told)
    assert len(peer.sessions) == 3
    assert len(peer.messages) == 20


@pytest.mark.parametrize("offers", [("PIPELINING", "LIMITS MAILMAX=2"), ("PIPELINING",)])
async def test_a_session_has_an_end(server, outbound, offers):
    async with server(offers=offers) as peer:
        out = outbound(at(peer), messages_per_connection=2)
        for _ in range(4):
            await send(out)
    assert [line for line in peer.sessions[0] if line == "QUIT"]
    assert len(peer.sessions) == 2


async def test_idle_sessions_are_closed(server, outbound, clock):
    async with server() as peer:
        out = outbound(at(peer), idle_seconds=20)
        task = asyncio.create_task(out.run())
        await send(out)
        await passes(clock, 10)
        await send(out)
        assert len(peer.sessions) == 1
        await passes(clock, 30)
        await send(out)
        assert len(peer.sessions) == 2
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_session_the_peer_closed_meanwhile_is_replaced(server, outbound):
    """Whether it is found out before or when MAIL gets no answer: the message goes out, once."""
    async with server(answers={"MAIL": [b"250 ok\r\n", CLOSE, b"250 ok\r\n"]}) as peer:
        out = outbound(at(peer))
        assert (await send(out))[0].sent
        assert (await send(out))[0].sent
    assert (len(peer.sessions), len(peer.messages)) == (2, 2)


async def test_the_next_host_is_tried(server, outbound):
    async with server() as dead:
        pass
    async with server(starttls=False) as clear, server(answers={"greeting": b"421 busy\r\n"}) as busy, server() as good:
        out = outbound(at(dead), at(clear), at(busy), at(good))
        (outcome,) = await send(out)
    assert outcome.sent
    assert good.messages
    assert not clear.messages


async def test_a_reply_about_the_message_is_the_answer(server, outbound):
    """After one host refused the message for good, the next host is not asked."""
    async with server(answers={"RCPT": b"550 5.1.1 no\r\n"}) as first, server() as second:
        (outcome,) = await send(outbound(at(first), at(second)))
    assert str(outcome.reply) == "550 5.1.1 no"
    assert not second.sessions


async def test_when_all_fail_each_reason_is_kept(server, outbound):
    async with server() as dead:
        pass
    async with server(starttls=False) as clear:
        first, second = await send(outbound(at(dead), at(clear)), "a@beta.test", "b@beta.test")
    assert first.temporary
    assert first.reply == second.reply
    assert f"127.0.0.1:{dead.port}: No connection" in first.reply.text
    assert f"127.0.0.1:{clear.port}: The server does not offer STARTTLS" in first.reply.text
    assert first.host is None


async def test_not_more_hosts_than_allowed(server, outbound):
    async with server() as dead:
        pass
    async with server() as good:
        (outcome,) = await send(outbound(at(dead), Target("localhost", dead.port), at(good), hosts_per_attempt=2))
    assert not outcome.sent
    assert not good.sessions


async def test_a_wrong_certificate_is_reported_with_its_reason(server, outbound):
    def refuses(domain, der):
        raise NotTrusted(detail="CN=mx.gamma.test instead of CN=mx.beta.test")

    async with server() as peer:
        (outcome,) = await send(outbound(at(peer), require=refuses))
    assert (outcome.temporary, outcome.reply.enhanced) == (True, "4.7.5")
    assert "CN=mx.gamma.test instead of CN=mx.beta.test" in outcome.reply.text
    assert not peer.messages


async def test_the_certificate_is_judged_again_in_a_kept_session(server, outbound):
    """The list changes while sessions stay open."""
    listed = {"beta.test"}

    def require(domain, der):
        if domain not in listed:
            raise NotTrusted("beta.test is not in the list", enhanced="5.1.2")

    async with server() as peer:
        out = outbound(at(peer), require=require)
        assert (await send(out))[0].sent
        listed.clear()
        (outcome,) = await send(out)
    assert (outcome.reply.code, outcome.reply.enhanced) == (550, "5.1.2")
    assert len(peer.messages) == 1


async def test_a_dead_server_is_left_alone_for_a_while(server, outbound, clock):
    async with server(answers={"greeting": [b"421 busy\r\n", b"220 fake\r\n"]}) as peer:
        out = outbound(at(peer), down_seconds=10)
        for _ in range(3):
            assert (await send(out))[0].temporary
        assert len(peer.sessions) == 1
        await passes(clock, 10)
        assert (await send(out))[0].sent


@pytest.mark.parametrize("error", [Refused("no mail here", enhanced="5.1.10"), Deferred("no DNS", enhanced="4.4.3")])
async def test_no_route(outbound, error):
    out = outbound()
    out._router.answer = error
    (outcome,) = await send(out)
    assert outcome.reply.enhanced == error.reply.enhanced


async def test_a_cancelled_transaction_never_reuses_its_session(server, outbound):
    async with server(answers={"dot": [b"250 first\r\n", b"250 second\r\n"]}) as peer:
        out = outbound(at(peer))
        await send(out)
        task = asyncio.create_task(send(out))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await send(out))[0].sent
    assert len(peer.sessions) == 2
