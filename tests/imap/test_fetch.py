"""FETCH and UID FETCH. RFC 3501 6.4.5, 7.4.2."""

from __future__ import annotations

import pytest

from tests.imap.conftest import MESSAGE, MailServer, fill
from tests.imap.dialogue import Client

MIXED = (
    b"From: a@b.example\r\nSubject: parts\r\nX-One: 1\r\n folded\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n"
    b"preamble\r\n--o\r\nContent-Type: text/plain\r\nContent-ID: <1@x>\r\n\r\nfirst\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n\r\nplain\r\n--i\r\nContent-Type: text/html\r\n\r\n"
    b"<p>html</p>\r\n--i--\r\n\r\n--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: single\r\n\r\nalone\r\n--o--\r\n"
)


@pytest.fixture
async def mixed(anna: Client) -> Client:
    await anna.append("INBOX", MIXED)
    await anna.ok("EXAMINE INBOX")
    return anna


@pytest.mark.parametrize(
    ("section", "content"),
    [
        ("", MIXED),
        ("HEADER", MIXED[: MIXED.index(b"preamble")]),
        ("TEXT", MIXED[MIXED.index(b"preamble") :]),
        ("1", b"first"),
        ("1.MIME", b"Content-Type: text/plain\r\nContent-ID: <1@x>\r\n\r\n"),
        ("2.MIME", b"Content-Type: message/rfc822\r\n\r\n"),
        ("2.HEADER", b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n"),
        ("2.1", b"plain"),
        ("2.2", b"<p>html</p>"),
        ("2.2.MIME", b"Content-Type: text/html\r\n\r\n"),
        ("3", b"Subject: single\r\n\r\nalone"),
        ("3.1", b"alone"),
        ("3.TEXT", b"alone"),
        ("3.HEADER.FIELDS (SUBJECT)", b"Subject: single\r\n\r\n"),
        ("HEADER.FIELDS (subject from)", b"From: a@b.example\r\nSubject: parts\r\n\r\n"),
        ("HEADER.FIELDS (x-one)", b"X-One: 1\r\n folded\r\n\r\n"),
        ("HEADER.FIELDS (Absent)", b"\r\n"),
        ("HEADER.FIELDS.NOT (subject X-One content-type)", b"From: a@b.example\r\nMIME-Version: 1.0\r\n\r\n"),
    ],
)
async def test_sections(mixed: Client, section: str, content: bytes) -> None:
    untagged = await mixed.ok(f"FETCH 1 BODY.PEEK[{section}]")
    assert untagged == [b"* 1 FETCH (BODY[%s] {%d}\r\n%s)" % (section.encode(), len(content), content)]


@pytest.mark.parametrize("section", ["4", "1.2", "1.1.1", "2.3", "1.HEADER", "1.TEXT"])
async def test_sections_that_do_not_exist_are_nil(mixed: Client, section: str) -> None:
    assert await mixed.ok(f"FETCH 1 BODY.PEEK[{section}]") == [b"* 1 FETCH (BODY[%s] NIL)" % section.encode()]


@pytest.mark.parametrize(
    ("partial", "label", "content"),
    [
        ("<0.10>", b"<0>", MIXED[:10]),
        ("<5.3>", b"<5>", MIXED[5:8]),
        ("<100000.10>", b"<100000>", b""),
        (f"<{len(MIXED) - 3}.100>", b"<%d>" % (len(MIXED) - 3), MIXED[-3:]),
        ("<0.4294967295>", b"<0>", MIXED),
    ],
)
async def test_partial_fetch(mixed: Client, partial: str, label: bytes, content: bytes) -> None:
    assert await mixed.ok(f"FETCH 1 BODY.PEEK[]{partial}") == [b"* 1 FETCH (BODY[]%s {%d}\r\n%s)" % (label, len(content), content)]


@pytest.mark.parametrize(
    "wrong",
    [
        "FETCH 1",
        "FETCH 1 ()",
        "FETCH 1 NOTHING",
        "FETCH 1 BODY[",
        "FETCH 1 BODY[MIME]",
        "FETCH 1 BODY[0]",
        "FETCH 1 BODY[1.]",
        "FETCH 1 BODY[]<0.0>",
        "FETCH 1 BODY[]<1>",
        "FETCH 1 BODY[HEADER.FIELDS]",
        "FETCH 1 BODY[HEADER.FIELDS ()]",
        "FETCH 0 FLAGS",
        "FETCH 1:0 FLAGS",
        "FETCH a FLAGS",
        "FETCH 1,, FLAGS",
        "FETCH 2 FLAGS",
        "FETCH 1:4294967295 FLAGS",
        "FETCH 4294967296 FLAGS",
        "FETCH 1 (FLAGS",
        "FETCH 1 FLAGS FLAGS",
        "FETCH 1 (FAST)",
        "UID FETCH",
        "UID NOOP",
    ],
)
async def test_what_is_not_a_fetch_is_bad(mixed: Client, wrong: str) -> None:
    await mixed.bad(wrong)


async def test_macros_and_plain_items(anna: Client) -> None:
    await anna.append("INBOX", MESSAGE, ' (\\Seen) "17-Jul-1996 02:44:25 -0700"')
    await anna.ok("SELECT INBOX")
    fast = b'FLAGS (\\Recent \\Seen) INTERNALDATE "17-Jul-1996 09:44:25 +0000" RFC822.SIZE %d' % len(MESSAGE)
    assert await anna.ok("FETCH 1 FAST") == [b"* 1 FETCH (" + fast + b")"]
    envelope = (
        b'ENVELOPE ("Mon, 7 Feb 1994 21:52:25 -0800 (PST)" "afternoon meeting" (("Fred Foobar" NIL "foobar" "blurdybloop.example")) '
        b'(("Fred Foobar" NIL "foobar" "blurdybloop.example")) (("Fred Foobar" NIL "foobar" "blurdybloop.example")) '
        b'((NIL NIL "mooch" "owatagu.example")) NIL NIL NIL "<B27397-0100000@blurdybloop.example>")'
    )
    body = b'BODY ("text" "plain" ("CHARSET" "US-ASCII") NIL NIL "7bit" 55 1)'
    assert await anna.ok("FETCH 1 all") == [b"* 1 FETCH (" + fast + b" " + envelope + b")"]
    assert await anna.ok("FETCH 1 FULL") == [b"* 1 FETCH (" + fast + b" " + envelope + b" " + body + b")"]
    assert await anna.ok("UID FETCH 1 BODYSTRUCTURE") == [b"* 1 FETCH (UID 1 BODYSTRUCTURE " + body[5:-1] + b" NIL NIL NIL NIL))"]
    assert await anna.ok("FETCH 1 (RFC822.HEADER)") == [b"* 1 FETCH (RFC822.HEADER {%d}\r\n%s)" % (len(MESSAGE) - 55, MESSAGE[:-55])]
    assert await anna.ok("FETCH 1 RFC822.TEXT") == [b"* 1 FETCH (RFC822.TEXT {55}\r\n%s)" % MESSAGE[-55:]]
    assert await anna.ok("FETCH 1 RFC822") == [b"* 1 FETCH (RFC822 {%d}\r\n%s)" % (len(MESSAGE), MESSAGE)]


async def test_body_sets_seen_and_sends_the_flag_once(alice: Client) -> None:
    await fill(alice, 2)
    await alice.ok("SELECT INBOX")
    assert (await alice.ok("FETCH 1 BODY[TEXT]"))[0].startswith(b"* 1 FETCH (FLAGS (\\Recent \\Seen) BODY[TEXT] {55}")
    assert (await alice.ok("FETCH 1 BODY[TEXT]"))[0].endswith(b"tomorrow?\r\n)")
    assert (await alice.ok("FETCH 2 (BODY[TEXT] FLAGS)"))[0].endswith(b" FLAGS (\\Recent \\Seen))")
    assert await alice.ok("SEARCH UNSEEN") == [b"* SEARCH"]


async def test_rfc822_header_does_not_set_seen(anna: Client) -> None:
    await fill(anna, 1)
    await anna.ok("SELECT INBOX")
    await anna.ok("FETCH 1 RFC822.HEADER")
    await anna.ok("FETCH 1 BODY.PEEK[]")
    assert await anna.ok("SEARCH UNSEEN") == [b"* SEARCH 1"]


async def test_sets(anna: Client) -> None:
    await fill(anna, 5)
    await anna.ok("SELECT INBOX")
    await anna.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    await anna.ok("EXPUNGE")

    async def uids(command: str) -> list[int]:
        return [int(line.split(b"UID ")[1].split(b")")[0].split(b" ")[0]) for line in await anna.ok(command)]

    assert await uids("UID FETCH 1:4294967295 UID") == [1, 3, 4, 5]
    assert await uids("FETCH * UID") == [5]
    assert await uids("FETCH 2:* UID") == [3, 4, 5]
    assert await uids("FETCH *:3 UID") == [4, 5]
    assert await uids("FETCH 3,1,1:2 UID") == [1, 3, 4]
    assert await uids("UID FETCH 900:* UID") == [5]  # RFC 3501 6.4.8: the last one, always
    assert await uids("UID FETCH 2 UID") == []  # no such UID is no error


async def test_large_message_comes_in_pieces_and_whole(house: MailServer) -> None:
    alice = await house.login()
    large = MESSAGE + b"x" * 76 + (b"\r\n" + b"y" * 76) * 20_000
    assert (await alice.append("INBOX", large)).startswith(b"OK")
    await alice.ok("SELECT INBOX")
    assert await alice.ok("FETCH 1 (UID BODY.PEEK[] FLAGS)") == [
        b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%s FLAGS (\\Recent))" % (len(large), large)
    ]
    assert (await alice.ok("FETCH 1 BODY.PEEK[1]<1000000.5>"))[0].endswith(
        b"{5}\r\n" + large[-len(large) + large.index(b"Hello") + 1_000_000 :][:5] + b")"
    )


async def test_header_names_with_odd_characters_come_back_as_asked(anna: Client) -> None:
    await fill(anna, 1)
    await anna.ok("SELECT INBOX")
    assert (await anna.ok('FETCH 1 BODY.PEEK[HEADER.FIELDS ("Sub ject" {7+}\r\nSubject)]'))[0].startswith(
        b'* 1 FETCH (BODY[HEADER.FIELDS ("Sub ject" Subject)] {29}'
    )


async def test_empty_mailbox(anna: Client) -> None:
    await anna.ok("SELECT INBOX")
    await anna.bad("FETCH 1 FLAGS")
    assert await anna.ok("FETCH 1:* FLAGS") == []
    assert await anna.ok("UID FETCH 1:* FLAGS") == []
    assert await anna.ok("SEARCH ALL") == [b"* SEARCH"]


async def test_the_stream_of_thunderbird(house: MailServer) -> None:
    """The commands that Thunderbird 153 sends when it opens an account."""
    filler, client = await house.login(), await house.stranger()
    await fill(filler, 3)
    await client.play("""
        C: 1 AUTHENTICATE PLAIN
        S: + *
        C: AGFsaWNlQGFscGhhLm1zc2FudGUudGVzdABzZWNyZXQ=
        S: 1 OK *
        C: 2 namespace
        S: * NAMESPACE *
        S: 2 OK *
        C: 3 ID ("name" "Thunderbird" "version" "153.7.0")
        S: * ID *
        S: 3 OK *
        C: 4 list (subscribed) "" "*" return (special-use)
        S: * LIST (\\Subscribed \\HasNoChildren) "/" "INBOX"
        S: * LIST (\\Subscribed \\HasNoChildren \\Trash) "/" "Trash"
        S: 4 OK *
        C: 5 select "INBOX"
        S: * 3 EXISTS
        S: 5 OK *
        C: 6 UID fetch 1:* (FLAGS)
        S: * 1 FETCH (UID 1 FLAGS (\\Recent))
        S: * 3 FETCH (UID 3 FLAGS (\\Recent))
        S: 6 OK *
        C: 7 UID fetch 1:3 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To Received)])
        S: * 1 FETCH (UID 1 RFC822.SIZE {{\\d+}} FLAGS (\\Recent) BODY[HEADER.FIELDS (From To Cc *
        S: 7 OK *
        C: 8 UID fetch 3,1 (UID RFC822.SIZE BODY.PEEK[])
        S: * 3 FETCH (UID 3 RFC822.SIZE *
        S: 8 OK *
        C: 9 UID fetch 2 (UID BODY.PEEK[TEXT]<0.2048>)
        S: * 2 FETCH (UID 2 BODY[TEXT]<0> {55}*
        S: 9 OK *
        C: 10 IDLE
        S: + *
        C: DONE
        S: 10 OK *
    """)


async def test_the_stream_of_an_iphone(house: MailServer) -> None:
    filler, client = await house.login(), await house.stranger()
    await fill(filler, 2)
    await client.play("""
        C: 1 AUTHENTICATE PLAIN AGFsaWNlQGFscGhhLm1zc2FudGUudGVzdABzZWNyZXQ=
        S: 1 OK *
        C: 2 LIST "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN))
        S: * LIST (\\HasNoChildren) "/" "INBOX"
        S: * STATUS "INBOX" (MESSAGES 2 UIDNEXT 3 UIDVALIDITY {{\\d+}} UNSEEN 2)
        S: * LIST (\\HasNoChildren \\Sent) "/" "Sent"
        S: * STATUS "Sent" (MESSAGES 0 *
        S: 2 OK *
        C: 3 SELECT INBOX
        S: 3 OK [READ-WRITE] *
        C: 4 UID SEARCH 1:* NOT DELETED
        S: * SEARCH 1 2
        S: 4 OK *
        C: 5 UID FETCH 1:2 (INTERNALDATE UID RFC822.SIZE FLAGS ENVELOPE BODYSTRUCTURE)
        S: * 1 FETCH (INTERNALDATE "{{.*}}" UID 1 RFC822.SIZE {{\\d+}} FLAGS (\\Recent) ENVELOPE (*
        S: 5 OK *
    """)
