"""DATA as octets: whatever is stored, lines end in CRLF and nothing but the end looks like the end."""

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mssgw.relay.content import dotted
from tests.fuzz import examples


def undotted(wire: bytes) -> bytes:
    assert wire.endswith(b"\r\n.\r\n") or wire == b".\r\n"
    return re.sub(rb"(?m)^\.", b"", wire[:-3])


@given(st.lists(st.lists(st.sampled_from([b"\r", b"\n", b".", b"x", b"\r\n", b"\r\n.\r\n"]), max_size=6).map(b"".join), max_size=6))
@example([b"a\r", b"\n.", b"\r\n"])
@example([b"a\r", b"b"])
@example([b"\n.\n"])
@example([b"."])
@example([b"x\r\n", b".\r\n"])
@settings(max_examples=examples(300))
def test_only_the_end_is_the_end(chunks):
    chunks = [chunk for chunk in chunks if chunk]
    wire = b"".join(dotted(chunks))
    rest = wire.replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest
    assert wire.count(b"\r\n.\r\n") + wire.startswith(b".\r\n") == 1
    plain = re.sub(rb"\r\n|\r|\n", b"\r\n", b"".join(chunks))
    assert undotted(wire) == (plain if not plain or plain.endswith(b"\r\n") else plain + b"\r\n")
