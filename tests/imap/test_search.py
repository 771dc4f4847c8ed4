"""SEARCH and UID SEARCH: every key. RFC 3501 6.4.4, RFC 4731."""

from __future__ import annotations

import pytest

from tests.imap.dialogue import Client

MESSAGES = [
    (
        b"From: Fred <fred@a.example>\r\nTo: bob@b.example\r\nSubject: first\r\nDate: Mon, 1 Jan 2024 23:30:00 -0500\r\nX-Tag: one two\r\n\r\nalpha\r\n",
        ' (\\Seen) "01-Jan-2024 10:00:00 +0000"',
    ),
    (
        b"From: =?utf-8?Q?Ren=C3=A9e?= <renee@a.example>\r\nCc: carl@c.example\r\nBcc: dora@d.example\r\nSubject: =?utf-8?B?w4l0w6k=?=\r\n"
        b"Date: Tue, 2 Jan 2024 10:00:00 +0000\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"caf=E9 cr=E8me\r\n" + b"x" * 2000 + b"\r\n",
        ' (\\Flagged $Work) "02-Jan-2024 10:00:00 +0000"',
    ),
    (
        b"From: list@a.example\r\nMessage-ID: <m3@x>\r\nSubject: third\r\n\r\nbeta\r\n",
        ' (\\Answered \\Draft \\Deleted) "05-Feb-2024 23:59:59 +0100"',
    ),
]


@pytest.fixture
async def searched(anna: Client) -> Client:
    for message, options in MESSAGES:
        assert (await anna.append("INBOX", message, options)).startswith(b"OK")
    await anna.ok("SELECT INBOX")
    return anna


async def found(client: Client, query: str | bytes) -> list[int]:
    data = query.encode() if isinstance(query, str) else query
    (answer,) = await client.ok(b"SEARCH " + data)
    assert answer.startswith(b"* SEARCH")
    return [int(number) for number in answer.split()[2:]]


async def test_every_key(searched: Client) -> None:
    for query, expected in {
        "ALL": [1, 2, 3],
        "SEEN": [1],
        "UNSEEN": [2, 3],
        "FLAGGED": [2],
        "UNFLAGGED": [1, 3],
        "ANSWERED": [3],
        "UNANSWERED": [1, 2],
        "DELETED": [3],
        "UNDELETED": [1, 2],
        "DRAFT": [3],
        "UNDRAFT": [1, 2],
        "RECENT": [1, 2, 3],
        "NEW": [2, 3],
        "OLD": [],
        "KEYWORD $work": [2],
        "UNKEYWORD $Work": [1, 3],
        "KEYWORD nothing": [],
        "FROM fred": [1],
        'FROM "RENÉE"': [2],
        "FROM a.example": [1, 2, 3],
        "TO bob@b": [1],
        "CC carl": [2],
        "BCC dora": [2],
        "CC bob": [],
        "SUBJECT FIRST": [1],
        'SUBJECT "été"': [2],
        'SUBJECT ""': [1, 2, 3],
        "HEADER X-Tag two": [1],
        'HEADER X-Tag ""': [1],
        "HEADER Message-ID m3@": [3],
        'HEADER Message-ID ""': [3],
        "HEADER Subject third": [3],
        "BODY alpha": [1],
        'BODY "CRÈME"': [2],
        "BODY first": [],
        "TEXT first": [1],
        "TEXT beta": [3],
        'TEXT "café"': [2],
        "BEFORE 2-Jan-2024": [1],
        "ON 2-Jan-2024": [2],
        "SINCE 2-Jan-2024": [2, 3],
        "ON 5-Feb-2024": [3],
        "SENTON 1-Jan-2024": [1],
        "SENTBEFORE 2-Jan-2024": [1],
        "SENTSINCE 2-Jan-2024": [2],
        'SENTON "1-Jan-2024"': [1],
        "LARGER 1000": [2],
        "SMALLER 1000": [1, 3],
        "UID 2:*": [2, 3],
        "2": [2],
        "1,3": [1, 3],
        "*": [3],
        "7": [],
        "NOT SEEN": [2, 3],
        "NOT NOT SEEN": [1],
        "OR SEEN FLAGGED": [1, 2],
        "OR (SEEN FLAGGED) DRAFT": [3],
        "SEEN FLAGGED": [],
        "(SEEN)": [1],
        'UNSEEN NOT (FLAGGED SUBJECT "été")': [3],
        "OR FROM fred OR CC carl BODY beta": [1, 2, 3],
        'CHARSET UTF-8 SUBJECT "été"': [2],
        "CHARSET US-ASCII SUBJECT third": [3],
    }.items():
        assert await found(searched, query) == expected, query


async def test_literals_and_charsets(searched: Client) -> None:
    assert await found(searched, b"CHARSET UTF-8 SUBJECT {5+}\r\n\xc3\xa9t\xc3\xa9") == [2]
    assert await found(searched, b"CHARSET ISO-8859-1 SUBJECT {3+}\r\n\xe9t\xe9") == [2]
    await searched.no("SEARCH CHARSET KLINGON ALL", "BADCHARSET")


async def test_uid_search_and_esearch(searched: Client) -> None:
    await searched.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await searched.ok("UID EXPUNGE 1")
    assert await searched.ok("UID SEARCH ALL") == [b"* SEARCH 2 3"]
    assert await searched.ok("SEARCH ALL") == [b"* SEARCH 1 2"]
    assert await searched.ok("UID SEARCH RETURN (MIN MAX COUNT ALL) ALL") == [b'* ESEARCH (TAG "t10") UID MIN 2 MAX 3 ALL 2:3 COUNT 2']
    assert await searched.ok("SEARCH RETURN () DRAFT") == [b'* ESEARCH (TAG "t11") ALL 2']
    assert await searched.ok("SEARCH RETURN (MIN COUNT) SEEN") == [b'* ESEARCH (TAG "t12") COUNT 0']


@pytest.mark.parametrize(
    "wrong",
    [
        "SEARCH",
        "SEARCH ",
        "SEARCH NOTHING",
        "SEARCH FROM",
        "SEARCH OR SEEN",
        "SEARCH NOT",
        "SEARCH (SEEN",
        "SEARCH ()",
        "SEARCH LARGER x",
        "SEARCH ON 31-Feb-2024",
        "SEARCH ON yesterday",
        "SEARCH RETURN (X) ALL",
        "SEARCH " + "NOT " * 60 + "ALL",
        "SEARCH " + "(" * 200 + "ALL" + ")" * 200,
        "SEARCH" + " SEEN" * 1500,
    ],
)
async def test_what_is_not_a_search_is_bad(searched: Client, wrong: str) -> None:
    await searched.bad(wrong)
