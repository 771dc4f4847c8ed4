"""The grammars of the commands: arguments become values, or are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mssgw.imapd.connection  # noqa: F401  loads the commands
from mssgw.imapd.commands.auth import Authenticate
from mssgw.imapd.commands.copy import Copy
from mssgw.imapd.commands.fetch import Fetch
from mssgw.imapd.commands.listing import List, Status
from mssgw.imapd.commands.select import Select
from mssgw.imapd.commands.store import Store
from mssgw.imapd.registry import find
from mssgw.protocol.imap_fetch import Section
from mssgw.protocol.imap_lexer import BadName, BadSyntax, Cursor
from mssgw.protocol.imap_search import BadCharset
from tests.fuzz import examples


def parse(line: bytes) -> object:
    cursor = Cursor(line)
    return find(cursor).parse(cursor)


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        (b"noop", None),
        (b"SELECT inbox/x", Select("INBOX/x", False)),
        (b'STATUS "a b" (messages UIDNEXT)', Status("a b", ("MESSAGES", "UIDNEXT"))),
        (b"UID STORE 1:*,3 -FLAGS.SILENT (\\seen x)", Store(((1, 0), (3, 3)), "-", frozenset({"\\Seen", "x"}), True, True)),
        (b"UID MOVE 7 Trash", Copy(((7, 7),), "Trash", True, True)),
        (b"AUTHENTICATE plain =", Authenticate("PLAIN", b"=")),
        (
            b"FETCH 1 BODY.PEEK[1.2.MIME]<3.4>",
            Fetch(((1, 1),), (Section((1, 2), "MIME", (), (3, 4), True, b"BODY[1.2.MIME]<3>"),), False),
        ),
        (b'LSUB "" *', List("", ("*",), lsub=True)),
        (
            b'LIST (SUBSCRIBED) "" (a "b c") RETURN (CHILDREN STATUS (UNSEEN))',
            List("", ("a", "b c"), False, True, frozenset({"SUBSCRIBED"}), frozenset({"CHILDREN"}), ("UNSEEN",)),
        ),
    ],
)
def test_arguments_are_values(line: bytes, arguments: object) -> None:
    assert parse(line) == arguments


SEEDS = [
    b"FETCH 1:* (FLAGS BODY[1.2.HEADER.FIELDS (a b)]<0.1>)",
    b"SEARCH CHARSET UTF-8 OR NOT (SEEN) UID 1:* SUBJECT {3}\r\nabc",
    b'LIST "" "%"',
    b"STORE 1 +FLAGS (\\Seen)",
    b"UID COPY 1,2 &AOk-",
    b'ID ("a" NIL)',
    b"ENABLE X",
    b"APPEND x (\\Seen) {3}",
    b"LOGIN a {2+}\r\nbc",
]


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_any_octets_are_a_command_or_refused(data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(SEEDS))
    at = data.draw(st.integers(0, len(seed)))
    line = seed[:at] + data.draw(st.binary(max_size=6)) + seed[at + data.draw(st.integers(0, 4)) :]
    try:
        parse(line)
    except (BadSyntax, BadName, BadCharset) as error:
        assert len(str(error)) < 200  # noqa: PT017  only what it may say matters
