"""APPEND. RFC 3501 6.3.11, RFC 3502, RFC 7888, RFC 7889."""

from __future__ import annotations

import pytest

from tests.imap.conftest import MESSAGE, MailServer
from tests.imap.dialogue import Client


async def test_synchronising_literal(alice: Client) -> None:
    await alice.play(f"""
        C: a1 APPEND INBOX (\\Seen $Work) "17-Jul-1996 02:44:25 -0700" {{{len(MESSAGE)}}}
        S: + *
    """)
    alice.send(MESSAGE + b"\r\n")
    assert (await alice.response()).startswith(b"a1 OK [APPENDUID ")
    await alice.ok("SELECT INBOX")
    assert await alice.ok("FETCH 1 (FLAGS INTERNALDATE BODY.PEEK[])") == [
        b'* 1 FETCH (FLAGS ($Work \\Recent \\Seen) INTERNALDATE "17-Jul-1996 09:44:25 +0000" BODY[] {%d}\r\n%s)' % (len(MESSAGE), MESSAGE)
    ]


async def test_mailbox_as_a_literal_and_several_messages(alice: Client) -> None:
    size = len(MESSAGE)
    alice.send(b"a1 APPEND {5+}\r\nInbox {%d+}\r\n%s (\\Draft) {%d+}\r\n%s\r\n" % (size, MESSAGE, size, MESSAGE))
    assert (await alice.response()).startswith(b"a1 OK [APPENDUID ")
    assert await alice.ok("STATUS INBOX (MESSAGES UIDNEXT)") == [b'* STATUS "INBOX" (MESSAGES 2 UIDNEXT 3)']


async def test_refused_before_the_literal_is_sent(alice: Client) -> None:
    await alice.play("""
        C: a1 APPEND Nowhere {300}
        S! +*
        S: a1 NO [TRYCREATE] *
        C: a2 APPEND INBOX {99999999}
        S! +*
        S: a2 NO [TOOBIG] *
        C: a3 APPEND INBOX {0}
        S: a3 NO *
        C: a4 APPEND INBOX (\\Seen {10}
        S: a4 BAD *
        C: a5 NOOP
        S: a5 OK *
    """)


async def test_refused_literal_that_comes_anyway_is_read_away(alice: Client) -> None:
    assert (await alice.append("Nowhere", MESSAGE)).startswith(b"NO [TRYCREATE]")
    assert (await alice.append("INBOX", MESSAGE, " (\\Seen bad")).startswith(b"BAD")
    await alice.ok("NOOP")


async def test_far_too_large_a_literal_ends_the_connection(anna: Client) -> None:
    await anna.play("""
        C: a1 APPEND INBOX {4000000000+}
        S: * BYE [TOOBIG] *
        S: (end)
    """)


async def test_message_over_the_structure_limits(anna: Client) -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(200))
    assert (await anna.append("INBOX", deep)).startswith(b"NO [LIMIT]")
    assert (await anna.append("INBOX", b"X-A: b\r\n" * 10_000 + b"\r\n")).startswith(b"NO [LIMIT]")


async def test_all_messages_of_one_append_or_none(anna: Client) -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(200))
    anna.send(b"a1 APPEND INBOX {%d+}\r\n%s {%d+}\r\n%s\r\n" % (len(MESSAGE), MESSAGE, len(deep), deep))
    assert (await anna.response()).startswith(b"a1 NO [LIMIT]")
    assert await anna.ok("STATUS INBOX (MESSAGES)") == [b'* STATUS "INBOX" (MESSAGES 0)']


@pytest.mark.parametrize("data", [b"\xff\xfe\x00garbage\r\n", b"no header at all", b"\r\n", b"bare\nline\nfeeds\n\nbody\n", MESSAGE * 2000])
async def test_any_octets_come_back_as_they_were(house: MailServer, data: bytes) -> None:
    alice = await house.login()
    assert (await alice.append("INBOX", data)).startswith(b"OK")
    await alice.ok("SELECT INBOX")
    assert (await alice.ok("FETCH 1 BODY.PEEK[]")) == [b"* 1 FETCH (BODY[] {%d}\r\n%s)" % (len(data), data)]


async def test_append_to_the_selected_mailbox_is_announced(alice: Client) -> None:
    await alice.ok("SELECT INBOX")
    alice.send(b"a1 APPEND INBOX {%d+}\r\n%s\r\n" % (len(MESSAGE), MESSAGE))
    untagged, tagged = await alice.until(b"a1")
    assert untagged == [b"* 1 EXISTS", b"* 1 RECENT"]
    assert tagged.startswith(b"OK [APPENDUID")
