"""Greeting, CAPABILITY, STARTTLS, LOGIN, AUTHENTICATE, ID, ENABLE, LOGOUT. RFC 3501 6.1, 6.2, 11.1."""

from __future__ import annotations

import asyncio
import base64

import pytest

from mssgw.store import accounts
from tests.imap.conftest import MailServer
from tests.imap.dialogue import Client


async def test_login_is_disabled_before_tls(small_house: MailServer) -> None:
    client = await small_house.stranger(tls=False)
    await client.play("""
        C: a1 CAPABILITY
        S: * CAPABILITY IMAP4rev1 LITERAL- SASL-IR ENABLE ID LOGINDISABLED STARTTLS
        S: a1 OK *
        C: a2 LOGIN alice@alpha.mssante.test secret
        S: a2 NO [PRIVACYREQUIRED] *
        C: a3 AUTHENTICATE PLAIN AGFsaWNlQGFscGhhLm1zc2FudGUudGVzdABzZWNyZXQ=
        S: a3 NO [PRIVACYREQUIRED] *
    """)


async def test_starttls_forgets_what_was_sent_in_the_clear(small_house: MailServer) -> None:  # ECO.1.0.2
    """CVE-2011-0411: a command injected before the handshake must not be answered after it."""
    client = await small_house.stranger(tls=False)
    client.send(b"a1 STARTTLS\r\nx1 NOOP\r\n")
    assert (await client.response()).startswith(b"a1 OK")
    await client.writer.start_tls(small_house.tls, server_hostname="localhost")
    await client.play("""
        C: a2 CAPABILITY
        S! x1 *
        S: * CAPABILITY {{.*}} AUTH=PLAIN AUTH=LOGIN {{.*}}
        S: a2 OK *
        C: a3 STARTTLS
        S: a3 BAD *
        C: a4 LOGIN alice@alpha.mssante.test secret
        S: a4 OK [CAPABILITY IMAP4rev1 {{.*}}UIDPLUS{{.*}}] *
    """)


@pytest.mark.parametrize(
    "login",
    [
        "LOGIN alice@alpha.mssante.test secret",
        'LOGIN "Alice@alpha.mssante.test" "secret"',
        'LOGIN alice@alpha.mssante.test "se\\"c\\\\ret é"',
        "LOGIN {24+}\r\nalice@alpha.mssante.test {6+}\r\nsecret",
        "login alice@alpha.mssante.test secret",
    ],
)
async def test_login(small_house: MailServer, login: str) -> None:
    client = await small_house.stranger()
    await client.ok(login)
    await client.bad("LOGIN alice@alpha.mssante.test secret")


async def test_synchronising_literals_wait_for_the_continuation(small_house: MailServer) -> None:
    client = await small_house.stranger()
    await client.play("""
        C: a1 LOGIN {24}
        S: + *
        C: alice@alpha.mssante.test {6}
        S: + *
        C: secret
        S: a1 OK *
    """)


@pytest.mark.parametrize(
    ("mechanism", "initial", "answers"),
    [
        ("PLAIN", b"\0alice@alpha.mssante.test\0secret", []),
        ("PLAIN", None, [b"\0alice@alpha.mssante.test\0secret"]),
        ("PLAIN", None, [b"alice@alpha.mssante.test\0alice@alpha.mssante.test\0secret"]),
        ("LOGIN", None, [b"alice@alpha.mssante.test", b"secret"]),
        ("login", b"alice@alpha.mssante.test", [b"secret"]),
    ],
)
async def test_authenticate(small_house: MailServer, mechanism: str, initial: bytes | None, answers: list[bytes]) -> None:  # RFC 4959
    client = await small_house.stranger()
    first = b"" if initial is None else b" " + base64.b64encode(initial)
    client.send(b"a1 AUTHENTICATE " + mechanism.encode() + first + b"\r\n")
    for answer in answers:
        assert (await client.response()).startswith(b"+ ")
        client.send(base64.b64encode(answer) + b"\r\n")
    assert (await client.response()).startswith(b"a1 OK [CAPABILITY")


async def test_authenticate_goes_wrong_in_its_own_ways(small_house: MailServer) -> None:
    client = await small_house.stranger()
    await client.play("""
        C: a1 AUTHENTICATE PLAIN
        S: + *
        C: *
        S: a1 BAD *
        C: a2 AUTHENTICATE CRAM-MD5
        S: a2 NO *
        C: a3 AUTHENTICATE PLAIN !!!!
        S: a3 BAD *
        C: a4 AUTHENTICATE PLAIN AGFsaWNlQGFscGhhLm1zc2FudGUudGVzdAB3cm9uZw==
        S: a4 NO [AUTHENTICATIONFAILED] *
        C: a5 LOGIN alice@alpha.mssante.test secret
        S: a5 OK *
    """)


async def test_too_many_wrong_passwords_end_the_connection(small_house: MailServer) -> None:
    client = await small_house.stranger()
    await client.play("""
        C: a1 LOGIN alice@alpha.mssante.test wrong
        S: a1 NO [AUTHENTICATIONFAILED] *
        C: a2 LOGIN nobody wrong
        S: a2 NO [AUTHENTICATIONFAILED] *
        C: a3 LOGIN alice@alpha.mssante.test wrong
        S: a3 NO *
        C: a4 LOGIN alice@alpha.mssante.test wrong
        S: * BYE *
        S: (end)
    """)


async def test_commands_of_other_states_are_bad(small_house: MailServer) -> None:
    client = await small_house.stranger()
    for command in ("SELECT INBOX", 'LIST "" *', "FETCH 1 FLAGS", "IDLE", "NAMESPACE"):
        await client.bad(command)
    await client.ok("LOGIN alice@alpha.mssante.test secret")
    for command in ("FETCH 1 FLAGS", "CLOSE", "EXPUNGE", "CHECK", "UNSELECT", "SEARCH ALL", "UID COPY 1 Sent", "STARTTLS"):
        await client.bad(command)


async def test_id_and_enable(anna: Client) -> None:  # RFC 2971, 5161
    assert (await anna.ok('ID ("name" "Thunderbird" "version" NIL)'))[0].startswith(b'* ID ("name" "mssgw"')
    assert (await anna.ok("ID NIL"))[0].startswith(b"* ID (")
    assert await anna.ok("ENABLE CONDSTORE X-UNKNOWN") == [b"* ENABLED"]


async def test_logout_ends_the_connection(small_house: MailServer) -> None:
    client = await small_house.stranger()
    await client.play("""
        C: a1 LOGOUT
        S: * BYE *
        S: a1 OK *
        S: (end)
    """)


async def test_suspended_account_is_sent_away(small_house: MailServer) -> None:
    client = await small_house.login()
    client.send(b"i1 IDLE\r\n")
    assert (await client.response()).startswith(b"+")
    await small_house.store.write(lambda tx: accounts.set_status(tx, accounts.list_all(tx)[0].id, accounts.Status.SUSPENDED))
    assert (await client.response()).startswith(b"* BYE")
    assert await client.response() == b""


async def test_stopping_sends_bye_to_those_that_wait(small_house: MailServer) -> None:
    idle, between = await small_house.login(), await small_house.login()
    idle.send(b"i1 IDLE\r\n")
    assert (await idle.response()).startswith(b"+")
    await asyncio.gather(small_house.servers.stop(5), *(_bye(client) for client in (idle, between)))


async def _bye(client: Client) -> None:
    assert (await client.response()).startswith(b"* BYE [UNAVAILABLE]")
    assert await client.response() == b""
