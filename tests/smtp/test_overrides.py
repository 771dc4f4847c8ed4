"""Eleven behaviours of aiosmtpd that we override, each shown by a dialogue."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from mssgw.core.config.node import Limits
from mssgw.core.envelope import Notify
from mssgw.core.errors import Refused

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


def limits(**changes: object) -> Limits:
    """Limits below the least that the configuration allows, so that tests reach them quickly."""
    return msgspec.structs.replace(Limits(), **changes)


@pytest.mark.parametrize("mark", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n"], ids=repr)
async def test_1_smuggling_is_refused(start, connect, flow, mark) -> None:
    client = await connect(await start())
    await client.hello()
    await client.envelope()
    reply = await client.message(b"Subject: x\r\n\r\nhello" + mark + b"MAIL FROM:<evil@x.fr>\r\nRCPT TO:<c@d.fr>\r\nDATA\r\nevil\r\n")
    assert (reply.code, reply.text[:5]) == (550, "5.6.0")
    assert not flow.accepted
    assert (await client.say("NOOP")).code == 250


@pytest.mark.parametrize("step", ["begin", "recipient", "accept"])
async def test_2_an_exception_reveals_nothing_to_the_peer(start, connect, flow, step) -> None:
    flow.failures[step] = RuntimeError("secret path /var/lib")
    client = await connect(await start())
    await client.hello()
    reply = await client.say("MAIL FROM:<a@b.fr>")
    if reply.code == 250:
        reply = await client.say("RCPT TO:<c@d.fr>")
    if reply.code == 250:
        reply = await client.message()
    assert str(reply) == "451 4.3.0 Local error, try again later"
    assert (await client.say("NOOP")).code == 250


async def test_3_a_commit_survives_its_client(start, connect, flow) -> None:
    flow.may_commit.clear()
    client = await connect(await start())
    await client.hello()
    await client.envelope()
    await client.say("DATA")
    await client.send(MESSAGE + b".\r\n")
    await flow.committing.wait()
    client.writer.transport.abort()
    await asyncio.sleep(0)
    flow.may_commit.set()
    await asyncio.wait_for(flow.committed.wait(), 20)
    assert flow.accepted[0].content == MESSAGE


async def test_4_parameters_keep_their_case(start, connect, flow) -> None:
    client = await connect(await start())
    await client.hello()
    assert (await client.say("MAIL FROM:<a@b.fr> RET=HDRS ENVID=AbC+2Bd")).code == 250
    await client.say("RCPT TO:<c@d.fr> ORCPT=rfc822;Bob+2Bx@D.fr")
    await client.message()
    assert flow.accepted[0].mail.dsn.envid == "AbC+d"
    assert flow.accepted[0].recipients[0].original == "rfc822;Bob+x@D.fr"


async def test_5_rcpt_takes_dsn_parameters(start, connect, flow) -> None:  # ECO.2.3.1
    client = await connect(await start())
    await client.hello()
    await client.say("MAIL FROM:<a@b.fr>")
    assert (await client.say("RCPT TO:<c@d.fr> NOTIFY=SUCCESS,FAILURE")).code == 250
    await client.message()
    assert flow.accepted[0].recipients[0].notify == {Notify.SUCCESS, Notify.FAILURE}


async def test_6_ehlo_lists_all_extensions(start, connect) -> None:
    client = await connect(await start(limits=limits(message_size=1_000_000, recipients=150)))
    reply = await client.hello()
    assert reply.lines == [
        "mx.alpha.mssante.test",
        "PIPELINING",
        "SIZE 1000000",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "LIMITS RCPTMAX=150",
        "STARTTLS",
    ]


async def test_7_limits_belong_to_the_command_not_to_everybody(start, connect) -> None:
    servers = await start()
    first = await connect(servers)
    await first.hello()
    for _ in range(3):
        other = await connect(servers)
        await other.hello()
    long = "x" * 480
    assert (await first.say(f"NOOP {long}")).code == 250
    assert (await first.say(f"NOOP {long}{long}")).code == 500
    assert (await first.say(f"MAIL FROM:<a@b.fr> AUTH={long}")).code == 250


async def test_8_null_sender_is_none(start, connect, flow) -> None:
    client = await connect(await start())
    await client.hello()
    await client.envelope("")
    await client.message()
    assert flow.accepted[0].mail.sender is None


async def test_9_each_chunk_gives_new_time(start, connect, flow) -> None:
    """The whole message takes longer than the idle limit, each chunk less."""
    client = await connect(await start(limits=limits(idle_seconds=0.5)))
    await client.hello()
    await client.envelope()
    await client.say("DATA")
    clock = asyncio.get_running_loop()
    begun = clock.time()
    while clock.time() < begun + 1.2:
        await client.send(b"line\r\n")
        await asyncio.sleep(0.05)  # the sender's pace is under test
    await client.send(b".\r\n")
    assert (await client.reply()).code == 250


async def test_9_silence_in_content_ends_the_connection(start, connect, flow) -> None:
    client = await connect(await start(limits=limits(idle_seconds=0.2)))
    await client.hello()
    await client.envelope()
    await client.say("DATA")
    await client.send(b"line\r\n")
    assert (await client.ended()).startswith(b"421 4.4.2")
    assert not flow.accepted


async def test_9_the_total_is_limited_too(start, connect, flow) -> None:
    client = await connect(await start(limits=limits(idle_seconds=60, data_seconds=0.2)))
    await client.hello()
    await client.envelope()
    await client.say("DATA")
    reply = asyncio.create_task(client.reply())
    while not reply.done():
        await client.send(b"line\r\n")
        await asyncio.sleep(0.01)  # the sender's pace is under test
    assert str(await reply).startswith("421 4.4.2")


async def test_10_large_content_is_spooled(start, connect, flow, monkeypatch) -> None:
    bodies = []
    transaction = await flow.begin(None, None)
    accept = type(transaction).accept

    async def look(self, data):
        bodies.append(data.body.in_memory)
        return await accept(self, data)

    monkeypatch.setattr(type(transaction), "accept", look)
    client = await connect(await start())
    await client.hello()
    large = b"Subject: x\r\n\r\n" + (b"x" * 76 + b"\r\n") * 5000
    for content in (MESSAGE, large):
        await client.envelope()
        assert (await client.message(content)).code == 250
    assert bodies == [True, False]
    assert [accepted.content for accepted in flow.accepted] == [MESSAGE, large]


async def test_11_bdat(start, connect, flow) -> None:
    client = await connect(await start())
    await client.hello()
    await client.envelope()
    await client.send(b"BDAT 10\r\nSubject: xBDAT 4\r\n\r\n\r\nBDAT 8 LAST\r\n.\r\nend\r\nNOOP\r\n")
    assert [(await client.reply()).code for _ in range(4)] == [250, 250, 250, 250]
    assert flow.accepted[0].content == b"Subject: x\r\n\r\n.\r\nend\r\n"


async def test_11_bdat_without_a_transaction_is_read_and_refused(start, connect, flow) -> None:
    client = await connect(await start())
    await client.hello()
    await client.send(b"BDAT 16 LAST\r\nMAIL FROM:<a@b>\n")
    assert (await client.reply()).code == 503
    assert (await client.say("NOOP")).code == 250


async def test_11_after_a_refused_chunk_the_rest_is_not_commands(start, connect, flow) -> None:
    client = await connect(await start())
    await client.hello()
    await client.envelope()
    await client.send(b"BDAT 3\r\na\nbBDAT 12 LAST\r\nRSET\r\nNOOP\r\n")
    assert str(await client.reply()).startswith("550 5.6.0")
    assert (await client.reply()).code == 503
    assert (await client.say("NOOP")).code == 250
    assert not flow.accepted


async def test_11_bdat_and_data_do_not_mix(start, connect) -> None:
    client = await connect(await start())
    await client.hello()
    await client.envelope()
    await client.send(b"BDAT 3\r\na\r\n")
    assert (await client.reply()).code == 250
    assert (await client.say("DATA")).code == 503
    assert (await client.say("RCPT TO:<c@d.fr>")).code == 503
    assert (await client.say("RSET")).code == 250
    await client.envelope()
    assert (await client.message()).code == 250


async def test_refusal_of_the_flow_is_printed(start, connect, flow) -> None:
    flow.failures["recipient"] = Refused("No such mailbox", code=550, enhanced="5.1.1", detail="for the log only")
    client = await connect(await start())
    await client.hello()
    await client.say("MAIL FROM:<a@b.fr>")
    assert str(await client.say("RCPT TO:<c@d.fr>")) == "550 5.1.1 No such mailbox"
    assert str(await client.say("DATA")) == "554 5.5.1 No valid recipients"
