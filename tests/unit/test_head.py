"""The header section in transit: found, limited, checked, rewritten; whatever it contains."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssgw.core.address import Address
from mssgw.core.body import SPOOL_LIMIT, Body
from mssgw.core.errors import NotAllowed, Refused
from mssgw.core.message import Headers
from mssgw.flow.content import mended, require_author, require_mss
from mssgw.flow.head import Head, authors, replace
from mssgw.protocol.mime import MimeLimits, TooComplex
from tests.conftest import START

LIMITS = MimeLimits(header_fields=10, header_octets=1000)


@pytest.mark.parametrize(
    ("message", "names", "rest"),
    [
        (b"A: b\r\nC: d\r\n\r\nbody\r\n", ["a", "c"], b"body\r\n"),
        (b"\r\nbody\r\n", [], b"body\r\n"),
        (b"A: b\r\n", ["a"], b""),
        (b"A: b\r\n c\r\n\r\n", ["a"], b""),
        (b"", [], b""),
        (b"no field at all\r\n\r\n", [""], b""),
    ],
)
def test_where_the_header_ends(message, names, rest) -> None:
    head = Head.read(Body.of(message), LIMITS)
    assert [field.name for field in head.headers] == names
    assert message[head.size :] == rest
    assert replace(Body.of(message), head, Headers.parse(b"New: 1\r\n"), None).read() == b"New: 1\r\n\r\n" + rest


def test_limits_of_the_header() -> None:
    with pytest.raises(TooComplex):
        Head.read(Body.of(b"A: b\r\n" * 11 + b"\r\n"), LIMITS)
    with pytest.raises(TooComplex):
        Head.read(Body.of(b"A: " + b"x" * 20_000 + b"\r\n\r\n"), LIMITS)


def test_a_large_body_is_copied_behind_another_header(tmp_path) -> None:
    octets = b"A: b\r\n\r\n" + b"x" * (SPOOL_LIMIT + 10)
    body = Body.of(octets)
    head = Head.read(body, LIMITS)
    assert replace(body, head, head.headers.prepend(("New", "1")), tmp_path).read() == b"New: 1\r\n" + octets


@pytest.mark.parametrize(
    "value",
    [
        b"jeanne@a.fr",
        b"Jeanne <jeanne@a.fr>",
        b'"Martin, Jeanne" <jeanne@a.fr>',
        b"=?utf-8?q?J=C3=A9?= <jeanne@a.fr>",
        b"(x) jeanne@a.fr (y)",
        b'"evil@b.fr" <jeanne@a.fr>',
        b"Jeanne\r\n <jeanne@a.fr>",
        b"<@route.fr:jeanne@a.fr>",
        b'"jeanne"@a.fr',
        b"Group: jeanne@a.fr;",
        b"jeanne@a.fr <jeanne@a.fr>",
    ],
)
def test_one_author(value) -> None:
    try:
        found = authors(Headers.parse(b"From: " + value + b"\r\n"))
    except Refused:
        assert value.startswith(b"Group")
    else:
        assert found == (Address.parse("jeanne@a.fr"),)


@pytest.mark.parametrize(
    "value",
    [
        b"evil@b.fr <jeanne@a.fr>",
        b"jeanne@a.fr <evil@b.fr>",
        b"jeanne@a.fr evil@b.fr",
        b"<jeanne@a.fr> evil@b.fr",
        b"evil@b.fr (x) <jeanne@a.fr>",
        b"jeanne@a.fr, evil@b.fr",
        b'jeanne@a.fr " evil@b.fr',
        b"jeanne@a.fr, evil@",
        b"<jeanne@a.fr>, <evil@b.fr",
        b"x:jeanne@a.fr,evil@b.fr;",
    ],
)
def test_a_second_address_however_it_is_spelled(value) -> None:
    with pytest.raises(Refused):
        require_author(Headers.parse(b"From: " + value + b"\r\n"), lambda address: address.key == "jeanne@a.fr")


@pytest.mark.parametrize(
    "value",
    [
        b'"evil@b.fr" <jeanne@a.fr>',
        b'"Dr Evil (evil@b.fr)" <jeanne@a.fr>',
        b'"evil\\@b.fr" <jeanne@a.fr>',
        b'"evil @ b.fr" <jeanne@a.fr>',
        b"=?utf-8?q?evil=40b=2Efr?= <jeanne@a.fr>",
        b"=?utf-8?b?ZXZpbEBiLmZy?= <jeanne@a.fr>",
        b'"=?utf-8?q?evil=40b.fr?=" <jeanne@a.fr>',
        b"=?utf-8?q?evil?= =?utf-8?q?=40b.fr?= <jeanne@a.fr>",
        b"jeanne@a.fr (evil@b.fr)",
        b"\"'evil@b.fr'\" <jeanne@a.fr>",
        '"evil\uff20b.fr" <jeanne@a.fr>'.encode(),
        '"ev\u200bil@\u200bb.fr" <jeanne@a.fr>'.encode(),
        b'"evil@b..fr" <jeanne@a.fr>',
    ],
)
@pytest.mark.parametrize("name", [b"From", b"Sender"])
def test_a_name_that_shows_the_address_of_another(name, value) -> None:
    """Many mail programs show the name alone, so that `luc@... <jeanne@...>` reads as mail from Luc."""
    more = b"From: jeanne@a.fr\r\n" if name == b"Sender" else b""
    with pytest.raises(NotAllowed) as refusal:
        require_author(Headers.parse(name + b": " + value + b"\r\n" + more), lambda address: address.key == "jeanne@a.fr")
    assert (refusal.value.reply.code, refusal.value.reply.enhanced) == (550, "5.7.1")


@pytest.mark.parametrize(
    "value",
    [
        b'"jeanne@a.fr" <jeanne@a.fr>',
        b"\"'jeanne@a.fr'\" <jeanne@a.fr>",
        b'"Jeanne Martin (CHU @ Lille)" <jeanne@a.fr>',
        b'"Jeanne" <JEANNE@a.fr>',
        b"=?utf-8?q?Dr_Jeanne_=40_CHU?= <jeanne@a.fr>",
        b'"J. Martin, b.fr" <jeanne@a.fr>',
    ],
)
def test_names_of_ones_own(value) -> None:
    require_author(Headers.parse(b"From: " + value + b"\r\n"), lambda address: address.key == "jeanne@a.fr")


def test_a_from_of_many_quotes_is_refused_at_once() -> None:
    with pytest.raises(Refused, match="longer than"):
        authors(Headers.parse(b'From: jeanne@a.fr "' + b'\\"' * 100_000 + b"\r\n"))


_PIECES = [b"jeanne@a.fr", b"evil@b.fr", b"<", b">", b",", b'"', b"(", b")", b":", b";", b" ", b"\\", b"\r\n ", b"=?u?q?x?=", b"\xff"]


@given(st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join))
def test_no_spelling_hides_an_author(value) -> None:
    """Whatever stands in From is refused, or every address that a reader can find in it is the client's own."""
    headers = Headers.parse(b"From: " + value + b"\r\n")
    try:
        require_author(headers, lambda address: address.key == "jeanne@a.fr")
    except Refused:
        return
    assert {address.key for address in authors(headers)} == {"jeanne@a.fr"}
    assert b"evil@b.fr" not in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", value)


@given(st.binary(max_size=300))
def test_strangers_headers_are_refused_at_worst(octets) -> None:
    body = Body.of(octets)
    try:
        head = Head.read(body, LIMITS)
        require_mss(head.headers)
        again = Head.read(replace(body, head, mended(head.headers, "T", "mx.a.fr", START), None), MimeLimits())
    except Refused:
        return
    assert "message-id" in [field.name for field in again.headers]


@pytest.mark.parametrize(
    "field", [b"X-MSS-INS: oui", b"X-MSS-MES: fin", b"X-MSS-NIL: two words", b"X-MSS-CODECDA: 1,,2", b"X-MSS-CODECDA:"]
)
def test_x_mss_values_the_guides_do_not_know(field) -> None:  # ECO.2.4.1, ECO.2.4.2
    with pytest.raises(Refused):
        require_mss(Headers.parse(field + b"\r\n"))
