"""PLAIN and LOGIN as step functions (RFC 4616, RFC 4954)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssgw.core.errors import Refused
from mssgw.protocol import sasl


def test_plain_with_initial_response() -> None:
    assert sasl.start("plain").step(b"\0jeanne\0secret") == sasl.Credentials("jeanne", "secret")


def test_plain_without_initial_response_is_asked() -> None:
    exchange = sasl.start("PLAIN")
    assert exchange.step(None) == b""
    assert exchange.step(b"jeanne\0jeanne\0secret") == sasl.Credentials("jeanne", "secret")


def test_login_in_two_steps_or_with_the_name_at_once() -> None:
    exchange = sasl.start("LOGIN")
    assert exchange.step(None) == b"Username:"
    assert exchange.step(b"jeanne") == b"Password:"
    assert exchange.step(b"secret") == sasl.Credentials("jeanne", "secret")
    exchange = sasl.start("LOGIN")
    assert exchange.step(b"jeanne") == b"Password:"
    assert exchange.step(b"secret") == sasl.Credentials("jeanne", "secret")


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (b"", 501),
        (b"\0a", 501),
        (b"\0a\0b\0c", 501),
        (b"\0\0b", 501),
        (b"\0a\0", 501),
        (b"other\0a\0b", 535),
        (b"\0\xff\0b", 501),
        (b"\0" + b"a" * 1025 + b"\0b", 501),
    ],
)
def test_malformed_plain(response: bytes, code: int) -> None:
    with pytest.raises(Refused) as refusal:
        sasl.start("PLAIN").step(response)
    assert refusal.value.reply.code == code


def test_unknown_mechanism() -> None:  # RFC 4422
    with pytest.raises(Refused) as refusal:
        sasl.start("CRAM-MD5")
    assert refusal.value.reply.code == 504


def test_base64_is_strict() -> None:
    assert sasl.decode64(b"=") == b""
    assert sasl.decode64(b"AGE=") == b"\0a"
    for wrong in (b"AGE", b"A GE=", b"*", b"AGE=x", b"\xff"):
        with pytest.raises(Refused):
            sasl.decode64(wrong)


def test_password_is_not_in_the_representation() -> None:
    assert "secret" not in repr(sasl.Credentials("jeanne", "secret"))


@given(st.sampled_from(["PLAIN", "LOGIN"]), st.lists(st.binary(max_size=30), min_size=2, max_size=3))
def test_strangers_octets_raise_nothing_else(mechanism: str, responses: list[bytes]) -> None:
    exchange = sasl.start(mechanism)
    try:
        for response in responses:
            if isinstance(exchange.step(response), sasl.Credentials):
                break
    except Refused:
        pass
