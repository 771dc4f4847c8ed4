"""The quick look at base64 never hides what the slow one finds."""

from __future__ import annotations

import base64
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from mssgw.protocol import mime
from mssgw.protocol.mime import ambiguity
from mssgw.protocol.mime.ambiguity import _is_regular_base64

QUICK = "mssgw.protocol.mime.ambiguity._is_regular_base64"


def message(content: bytes) -> bytes:
    head = b"From: Alice <a@alpha.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    file = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + content
    return head + file + b"\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nBonjour\r\n--b--\r\n"


def lines(octets: bytes, width: int) -> bytes:
    plain = base64.b64encode(octets)
    return b"\r\n".join(plain[at : at + width] for at in range(0, len(plain), width))


def is_regular(octets: bytes) -> bool:
    root = mime.parse(octets)
    return any(_is_regular_base64(octets, part) for part in root.walk())


@given(
    st.binary(min_size=1, max_size=400),
    st.sampled_from((60, 64, 72, 76)),
    st.sampled_from((b"", b"\r\n", b"\r\n\r\n", b"\n", b"\r")),
    st.lists(
        st.tuples(
            st.integers(0, 500), st.integers(0, 2), st.sampled_from((b"", b"\r", b"\n", b"\r\n", b"-", b"\n--b", b"=", b"A", b"\0", b" "))
        ),
        max_size=3,
    ),
)
def test_it_says_what_the_slow_look_says(octets, width, end, changes):
    content = lines(octets, width) + end
    for at, gone, new in changes:
        content = content[:at] + new + content[at + gone :]
    whole = message(content)
    root = mime.parse(whole)
    found = ambiguity(whole, root)
    with mock.patch(QUICK, return_value=False):
        assert found == ambiguity(whole, root)


@given(st.binary(min_size=1, max_size=2000), st.sampled_from((60, 76)), st.sampled_from((b"", b"\r\n")))
def test_what_programs_write_is_regular(octets, width, end):
    assert is_regular(message(lines(octets, width) + end))


def test_what_is_irregular_takes_the_slow_look():
    good = lines(bytes(200), 76)
    for changed in (
        good.replace(b"\r\n", b"\n"),
        good.replace(b"\r\n", b"\r\r\n", 1),
        good + b"=",
        b"-" + good,
        good.replace(b"\r\n", b" \r\n", 1),
    ):
        assert not is_regular(message(changed))
