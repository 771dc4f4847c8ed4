"""IMAP's grammar: atoms, strings, sets, names, dates; ENVELOPE read back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssgw.core.body import Body
from mssgw.protocol import imap_lexer as lexer
from mssgw.protocol import mime
from mssgw.protocol.imap_envelope import read_envelope
from mssgw.protocol.imap_lexer import BadName, BadSyntax, Cursor
from tests.fuzz import examples


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"INBOX", "INBOX"),
        (b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
        (b"&Jjo-!", "☺!"),
        (b"a&-b", "a&b"),
        (b"&2D3eAA-", "😀"),
    ],
)
def test_modified_utf7(text: bytes, name: str) -> None:  # RFC 3501 5.1.3's examples
    assert lexer.decode_name(text) == name
    assert lexer.encode_name(name) == text


@pytest.mark.parametrize("text", [b"&", b"a&b", b"&AGE-", b"&2D0-", b"&Jjo", b"&*-", b"caf\xc3\xa9", b"&U,BTFw-&ZeVnLIqe-"])
def test_names_with_two_spellings_are_refused(text: bytes) -> None:
    with pytest.raises(BadName):
        lexer.decode_name(text)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_every_name_survives_the_wire(name: str) -> None:
    wire = lexer.encode_name(name)
    assert wire.isascii()
    assert lexer.decode_name(wire) == name


@pytest.mark.parametrize(
    ("text", "largest", "expected"),
    [
        (b"1", 5, [(1, 1)]),
        (b"1:*", 5, [(1, 5)]),
        (b"*", 5, [(5, 5)]),
        (b"9:*", 5, [(5, 5)]),
        (b"4:2", 5, [(2, 4)]),
        (b"1,2,3,5", 9, [(1, 3), (5, 5)]),
        (b"1:4294967295", 3, [(1, 3)]),
        (b"7", 5, []),
        (b"1:*", 0, []),
        (b"*:*", 0, []),
        (b"5,1:3,2:4", 9, [(1, 5)]),
    ],
)
def test_sets(text: bytes, largest: int, expected: list[tuple[int, int]]) -> None:
    assert lexer.resolve(Cursor(text).ranges(), largest) == expected


@pytest.mark.parametrize("text", [b"", b"0", b"1:0", b"a", b"99999999999", b"4294967296", b":1", b",1"])
def test_sets_that_are_none(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        Cursor(text).ranges()


@given(st.lists(st.integers(1, 60), unique=True).map(sorted))
def test_a_written_set_names_the_same_numbers(numbers: list[int]) -> None:
    wire = lexer.format_set(numbers)
    assert [one for low, high in (lexer.resolve(Cursor(wire).ranges(), 100) if numbers else []) for one in range(low, high + 1)] == numbers


def test_strings() -> None:
    assert Cursor(b'"a\\"b\\\\c"').string() == b'a"b\\c'
    assert Cursor(b"{5}\r\na\r\nbc rest").string() == b"a\r\nbc"
    assert Cursor(b"{2+}\r\nab").astring() == b"ab"
    assert Cursor(b"a]b").astring() == b"a]b"
    assert Cursor(b"NIL").nstring() is None
    for wrong in (b'"open', b"{9}\r\nshort", b"{2}ab", b'"a\\x"', b'"line\r\n"', b"", b"("):
        with pytest.raises(BadSyntax):
            Cursor(wrong).astring()


def test_dates() -> None:
    assert Cursor(b'" 1-Jul-1996 02:44:25 -0700"').date_time() == datetime(1996, 7, 1, 9, 44, 25, tzinfo=UTC)
    for wrong in (
        b'"31-Feb-1996 02:44:25 -0700"',
        b'"1-Jul-1996 02:44:25 -0700"',
        b'" 1-Jul-1996 25:44:25 -0700"',
        b'" 1-Jul-1996 02:44:25 -9999"',
    ):
        with pytest.raises(BadSyntax):
            Cursor(wrong).date_time()


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=300))
def test_any_envelope_we_wrote_can_be_read_back(noise: bytes) -> None:
    header = (
        b"Subject: "
        + noise.replace(b"\n", b" ").replace(b"\r", b" ")
        + b"\r\nFrom: A <a@b>, "
        + noise[:20].replace(b"\n", b"")
        + b"\r\n\r\n"
    )
    envelope = read_envelope(mime.summarise(Body.of(header)).envelope)
    assert envelope.text("subject") == mime.decode_words(mime.parse(header).fields.get(b"subject").replace(b"\0", b""))
    assert envelope.text("from").startswith("A <a@b>")
    assert envelope.text("message-id") == ""
