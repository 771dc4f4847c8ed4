"""CRLF and nothing else, compared with the plainest implementation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mssgw.protocol.lines import count_crlf


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"a", b"\0\xff"]), max_size=30).map(b"".join))
def test_the_result_is_that_of_the_plain_way(octets: bytes) -> None:
    lone = octets.replace(b"\r\n", b"")
    plain = None if b"\r" in lone or b"\n" in lone else octets.count(b"\r\n")
    assert count_crlf(octets) == plain
