"""Limits and garbage: whatever is sent, the answer is BAD, NO or BYE, and other connections are not affected."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssgw.core.errors import NoRoom
from mssgw.imapd import Service, connection
from mssgw.imapd.commands import auth
from mssgw.store import Store
from tests.fuzz import examples
from tests.imap.conftest import MailServer, fill
from tests.imap.dialogue import Client


async def test_a_line_without_end(small_house: MailServer) -> None:
    stranger, alice = await small_house.stranger(), await small_house.login()
    for client, size in ((stranger, 10_000), (alice, 70_000)):
        client.send(b"a1 " + b"x" * size)
        assert (await client.response()).startswith(b"* BYE")
        assert await client.response() == b""


async def test_a_long_line_is_fine_for_those_who_are_logged_in(anna: Client) -> None:  # RFC 2683 3.2.1.5
    await fill(anna, 1)
    await anna.ok("SELECT INBOX")
    await anna.ok(b"UID FETCH " + b",".join(b"%d" % number for number in range(1, 20_000, 2))[:60_000].rstrip(b",") + b" FLAGS")


async def test_literals_have_limits(small_house: MailServer) -> None:
    stranger, alice = await small_house.stranger(), await small_house.login()
    await stranger.play("""
        C: a1 LOGIN {5000}
        S: a1 BAD *
        C: a2 LOGIN {2000000+}
        S: * BYE *
    """)
    await alice.bad("CREATE {70000}")
    await alice.bad(b"CREATE {70000+}\r\n" + b"x" * 70_000)
    await alice.ok("NOOP")


@pytest.mark.parametrize("size", [40_000_000, 99_999_999_999, 10**30])
async def test_an_append_of_any_size_is_refused_as_too_big(small_house: MailServer, size: int) -> None:
    """Regression: a size of eleven digits was no literal, and APPEND then an unknown command."""
    alice = await small_house.login()
    await alice.no(f"APPEND INBOX {{{size}}}", "TOOBIG")
    await alice.ok("NOOP")
    await alice.bad(f"CREATE {{{size}}}")
    _, said = await alice.command("APPEND INBOX")
    assert said.startswith(b"BAD expected arguments and a literal after APPEND")
    if size > 4 * 36_700_160:  # no more of it is read than that
        alice.send(b"a1 APPEND INBOX {%d+}\r\n" % size)
        assert (await alice.response()).startswith(b"* BYE [TOOBIG]")


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET / HTTP/1.1",
        b"POST /login HTTP/1.1",
        b"HEAD /",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT mx.test:993 HTTP/1.1",
        b"GET http://mx.test/ HTTP/1.0",
        b"PRI * HTTP/2.0",
        b"Host: mx.test",
    ],
)
async def test_a_browser_is_sent_away(small_house: MailServer, request_line: bytes) -> None:
    """What a web page makes a browser send (ALPACA) ends at its first line, and nothing of it is echoed."""
    for client in (await small_house.stranger(), await small_house.login()):
        client.send(request_line + b"\r\nx NOOP\r\n\r\n")
        assert await client.response() == b"* BYE This is a mail server"
        assert await client.response() == b""


async def test_a_tag_may_look_like_a_word_of_the_web(anna: Client) -> None:
    anna.send(b"GET NOOP\r\n")
    assert (await anna.response()).startswith(b"GET OK")


async def test_strangers_may_not_talk_for_ever(small_house: MailServer) -> None:
    stranger = await small_house.stranger()
    stranger.send(b"".join(b"a%d NOOP\r\n" % number for number in range(100)))
    answers = [await stranger.response() for _ in range(31)]
    assert answers[-1].startswith(b"* BYE")
    assert await stranger.response() == b""


async def test_garbage_ends_the_connection_after_a_while(anna: Client) -> None:
    anna.send(b"a1 NONSENSE\r\n" * 30)
    answers = [await anna.response() for _ in range(21)]
    assert {answer.split()[1] for answer in answers[:-1]} == {b"BAD"}
    assert answers[-1].startswith(b"* BYE")


async def test_no_tag_is_an_untagged_bad(anna: Client) -> None:
    for line in (b"\r\n", b" NOOP\r\n", b"* NOOP\r\n", b"+ NOOP\r\n", b"justatag\r\n"):
        anna.send(line)
        assert (await anna.response()).startswith(b"* BAD")
    await anna.ok("NOOP")


async def test_a_huge_set_costs_nothing(anna: Client) -> None:
    await fill(anna, 2)
    await anna.ok("SELECT INBOX")
    many = ",".join(["1:4294967295"] * 4000)
    assert len(await anna.ok(f"UID FETCH {many} FLAGS")) == 2
    assert await anna.ok(f"UID SEARCH UID {many}") == [b"* SEARCH 1 2"]


async def test_pipelined_commands_are_answered_in_order(anna: Client) -> None:
    await fill(anna, 2)
    await anna.ok("SELECT INBOX")
    anna.send(b"".join(b"p%d STORE 1 %sFLAGS.SILENT (\\Seen)\r\n" % (number, b"+-"[number % 2 : number % 2 + 1]) for number in range(200)))
    for number in range(200):
        assert (await anna.response()).startswith(b"p%d OK" % number)
    assert await anna.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Recent))"]


async def test_a_slow_reader_of_much(anna: Client) -> None:
    """The server waits for the client instead of keeping everything."""
    await anna.append("INBOX", b"Subject: x\r\n\r\n" + b"y" * 1_000_000)
    await anna.ok("SELECT INBOX")
    anna.send(b"f1 FETCH 1 BODY.PEEK[]\r\n" * 20)
    await asyncio.sleep(0)
    for _ in range(20):
        assert len(await anna.response()) > 1_000_000
        assert (await anna.response()).startswith(b"f1 OK")


PIECES = [
    b"a1 ",
    b"NOOP",
    b"SELECT INBOX",
    b"FETCH 1:* (FLAGS)",
    b"UID ",
    b"SEARCH ",
    b"LOGIN ",
    b"{3}",
    b"{3+}",
    b"\r\n",
    b"\n",
    b" ",
    b"(",
    b")",
    b'"',
    b"\\",
    b"*",
    b"abc",
    b"APPEND INBOX ",
    b"STORE 1 +FLAGS (\\Seen)",
    b"IDLE",
    b"DONE",
    b"\x00",
    b"\xff",
    b"AUTHENTICATE PLAIN",
    b"=",
    b'LIST "" *',
    b'a b LIST (SUBSCRIBED) "" %',
    b"CREATE ",
    b"&",
    b"STARTTLS",
    b"COPY 1 INBOX",
    b"EXPUNGE",
    b"CLOSE",
]


@pytest.mark.parametrize("logged_in", [False, True])
async def test_any_octets_get_a_protocol_answer(small_house: MailServer, logged_in: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Fuzz of a whole connection: every line of the server is IMAP, and none reports a bug (SERVERBUG)."""
    loop = asyncio.get_running_loop()

    @settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=5), max_size=25))
    def fuzz(pieces: list[bytes]) -> None:
        asyncio.run_coroutine_threadsafe(_talk(small_house, logged_in, b"".join(pieces)), loop).result(60)

    await asyncio.to_thread(fuzz)


async def _talk(house: MailServer, logged_in: bool, data: bytes) -> None:
    client = await (house.login(mailbox="INBOX") if logged_in else house.stranger())
    client.send(data + b"\r\n\r\n")
    client.writer.write_eof() if client.writer.can_write_eof() else client.send(b"x" * 8 + b"\r\nDONE\r\nz9 LOGOUT\r\n" * 3)
    while response := await client.response():
        first, _, rest = response.partition(b" ")
        assert first in (b"*", b"+") or rest.split()[0] in (b"OK", b"NO", b"BAD"), response
        assert b"SERVERBUG" not in response, f"{response!r}\n{client}"
        if b"BYE" in response:
            break
    await client.close()


async def test_silence_ends_a_connection(small_house: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before login, in the middle of a command, of a literal, of AUTHENTICATE; and in IDLE."""
    monkeypatch.setattr(Service, "idle_seconds", 0.05)
    busy, literal, idle = [await small_house.login() for _ in range(3)]
    monkeypatch.setattr(connection, "LOGIN_SECONDS", 0.05)
    monkeypatch.setattr(auth, "LOGIN_SECONDS", 0.05)
    silent, asked = await small_house.stranger(), await small_house.stranger()
    busy.send(b"a1 FETCH 1:")
    literal.send(b"a1 APPEND INBOX {1000+}\r\nSubject: ")
    idle.send(b"a1 IDLE\r\n")
    asked.send(b"a1 AUTHENTICATE PLAIN\r\n")
    for client in (silent, asked, busy, literal, idle):
        response = await client.response()
        if response.startswith(b"+"):
            response = await client.response()
        assert response.startswith(b"* BYE [UNAVAILABLE]"), client
        assert await client.response() == b""


async def test_too_many_connections_from_one_address(small_house: MailServer) -> None:
    limit = small_house.config.limits.connections_per_peer
    clients = [await small_house.stranger() for _ in range(5)]
    small_house.servers._peers["127.0.0.1"] += limit
    refused = await Client.connect(small_house.implicit, small_house.tls)
    assert (await refused.response()).startswith(b"* BYE [UNAVAILABLE]")
    assert await refused.response() == b""
    small_house.servers._peers["127.0.0.1"] -= limit
    await clients[0].ok("NOOP")
    await refused.close()


async def test_a_full_disk_keeps_nobody_from_reading(small_house: MailServer, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: SELECT and FETCH write (\\Recent, \\Seen), and were refused."""
    alice = await small_house.login()
    await fill(alice, 2)
    write = sqlite_store.write

    async def no_room(_function: object) -> None:
        raise NoRoom(detail="database or disk is full")

    monkeypatch.setattr(sqlite_store, "write", no_room)
    assert b"* 2 EXISTS" in await alice.ok("SELECT INBOX")
    (shown,) = await alice.ok("FETCH 1 BODY[]")
    assert shown.startswith(b"* 1 FETCH (BODY[] {")
    await alice.no("STORE 1 +FLAGS (\\Deleted)", "UNAVAILABLE")
    monkeypatch.setattr(sqlite_store, "write", write)
    assert b"\\Seen" in (await alice.ok("FETCH 1 (BODY[TEXT] FLAGS)"))[0]
