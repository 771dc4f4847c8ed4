"""DataReader and BdatReader: strict line ends, dots, limits, any cut (RFC 5321 4.1.1.4, 4.5.2; RFC 3030)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssgw.protocol.smtp import BdatReader, DataReader


def read_data(*chunks: bytes, size: int = 10_000, line: int = 1000) -> tuple[bytes | None, bytes, DataReader]:
    """What followed the end mark (None: no end), what was kept, the reader."""
    kept = bytearray()
    reader = DataReader(kept.extend, size, line)
    for index, chunk in enumerate(chunks):
        if (rest := reader.feed(chunk)) is not None:
            return rest + b"".join(chunks[index + 1 :]), bytes(kept), reader
    return None, bytes(kept), reader


def test_content_and_what_follows() -> None:
    assert read_data(b"a: b\r\n\r\nhi\r\n.\r\nQUIT\r\n")[:2] == (b"QUIT\r\n", b"a: b\r\n\r\nhi\r\n")


def test_empty_content() -> None:
    assert read_data(b".\r\n")[:2] == (b"", b"")


def test_leading_dots() -> None:
    assert read_data(b"..\r\n.a\r\n...b\r\n.\r\n")[1] == b".\r\na\r\n..b\r\n"


# The sequences of the 2023 SMTP smuggling research: what some servers take for the end of DATA, and some pass on.
SMUGGLING = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\n.\r",
    b"\r.\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\n\n.\r\n",
    b"\r\n\n.\r\n",
]


@pytest.mark.parametrize("mark", SMUGGLING, ids=repr)
def test_smuggled_end_is_not_the_end(mark: bytes) -> None:
    smuggled = b"Subject: x\r\n\r\nhello" + mark + b"MAIL FROM:<evil@x.fr>\r\n"
    rest, kept, reader = read_data(smuggled)
    assert rest is None
    rest, kept, reader = read_data(smuggled + b"\r\n.\r\nNOOP\r\n")
    assert rest == b"NOOP\r\n"
    assert b"evil" not in kept
    assert reader.failure is not None
    assert (reader.failure.reply.code, reader.failure.reply.enhanced) == (550, "5.6.0")


@pytest.mark.parametrize("content", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\r\n", b"\n\r\n", b"a\n\rb\r\n"], ids=repr)
def test_bare_line_ends_are_refused(content: bytes) -> None:
    rest, _, reader = read_data(content + b".\r\n")
    assert rest == b""
    assert reader.failure is not None
    assert reader.failure.reply.enhanced == "5.6.0"


def test_size_limit_reads_on_to_the_end() -> None:
    rest, kept, reader = read_data(*[b"x" * 98 + b"\r\n"] * 30, b".\r\n", b"RSET\r\n", size=1000)
    assert rest == b"RSET\r\n"
    assert len(kept) <= 1000
    assert reader.failure is not None
    assert (reader.failure.reply.code, reader.failure.reply.enhanced) == (552, "5.3.4")


@pytest.mark.parametrize(("length", "refused"), [(998, False), (999, True), (1010, True), (5000, True)])
@pytest.mark.parametrize("cut", [1, 7, 997, 998, 999, 1000, 10_000])
def test_longest_line_counts_its_crlf(length: int, refused: bool, cut: int) -> None:
    octets = b"a\r\n" + b"x" * length + b"\r\n.b\r\n.\r\n"
    rest, kept, reader = read_data(*[octets[at : at + cut] for at in range(0, len(octets), cut)])
    assert rest == b""
    assert (reader.failure is not None) == refused
    if not refused:
        assert kept == b"a\r\n" + b"x" * length + b"\r\nb\r\n"


@given(
    st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"bc", b"\r", b"\n", b"\0", b"x" * 40]), max_size=40).map(b"".join),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_cuts_never_matter(content: bytes, cuts: list[int]) -> None:
    octets = content + b"\r\n.\r\nNEXT"
    whole = read_data(octets, size=300, line=60)
    edges = sorted({0, len(octets), *(min(cut, len(octets)) for cut in cuts)})
    pieces = [octets[start:stop] for start, stop in pairwise(edges)]
    cut = read_data(*pieces, size=300, line=60)
    assert cut[0] == whole[0]
    assert (cut[2].failure is None) == (whole[2].failure is None)
    if whole[2].failure is None:
        assert cut[1] == whole[1]
        assert whole[1].count(b"\n") == whole[1].count(b"\r\n") == whole[1].count(b"\r")


@given(st.lists(st.text("ab.", max_size=8), max_size=12))
def test_stuffing_is_undone(lines: list[str]) -> None:
    content = "".join(f"{line}\r\n" for line in lines).encode()
    stuffed = b"".join(b"." + line if line.startswith(b".") else line for line in content.splitlines(keepends=True))
    assert read_data(stuffed + b".\r\n")[:2] == (b"", content)


def read_bdat(*chunks: bytes) -> tuple[bytes, BdatReader]:
    kept = bytearray()
    reader = BdatReader(kept.extend, 10_000, 1000)
    for chunk in chunks:
        reader.feed(chunk)
    reader.finish()
    return bytes(kept), reader


def test_bdat_keeps_dots_and_ends_the_last_line() -> None:
    kept, reader = read_bdat(b".\r", b"\n..\r\nend")
    assert kept == b".\r\n..\r\nend\r\n"
    assert reader.failure is None


@pytest.mark.parametrize(
    "chunks", [(b"a\nb",), (b"a\r", b"b"), (b"a", b"\n"), (b"a\r",), (b"\0",), (b"x" * 1001,), (b"x" * 600, b"x" * 600)]
)
def test_bdat_refuses_the_same_things(chunks: tuple[bytes, ...]) -> None:
    assert read_bdat(*chunks)[1].failure is not None
