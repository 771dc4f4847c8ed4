"""DataReader, MailDataWriter and MailData: strict line ends, dots, limits, any cut (RFC 5321 4.1.1.4, 4.5.2; RFC 3030)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssgw.core.body import Body, BodyWriter
from mssgw.core.config.node import Limits
from mssgw.core.errors import Refused
from mssgw.protocol.mail_data import DataReader, MailData, MailDataWriter


class Kept(BodyWriter):
    """Shows what was written, whatever becomes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.octets = bytearray()

    def write(self, data: bytes) -> int:
        self.octets += data
        return super().write(data)


def limits(size: int, line: int) -> Limits:
    return msgspec.structs.replace(Limits(), message_size=size, line_octets=line)  # smaller than a configuration may say


def read_data(*chunks: bytes, size: int = 10_000, line: int = 1000) -> tuple[bytes | None, bytes, MailDataWriter]:
    """What followed the end mark (None: no end), what was kept, the writer."""
    kept = Kept()
    writer = MailDataWriter(kept, limits(size, line))
    reader = DataReader(writer)
    for index, chunk in enumerate(chunks):
        if (rest := reader.feed(chunk)) is not None:
            return rest + b"".join(chunks[index + 1 :]), bytes(kept.octets), writer
    return None, bytes(kept.octets), writer


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


def read_bdat(*chunks: bytes) -> bytes:
    writer = MailDataWriter(BodyWriter(), limits(10_000, 1000))
    for chunk in chunks:
        writer.put(chunk)
    return writer.finish().body.read()


def test_bdat_keeps_dots_and_ends_the_last_line() -> None:
    assert read_bdat(b".\r", b"\n..\r\nend") == b".\r\n..\r\nend\r\n"


BAD = [(b"a\nb",), (b"a\r", b"b"), (b"a", b"\n"), (b"a\r",), (b"\0",), (b"x" * 1001,), (b"x" * 600, b"x" * 600), (b"x\r\n" * 4000,)]


@pytest.mark.parametrize("chunks", BAD, ids=lambda chunks: repr(b"".join(chunks)[:12]))
def test_bdat_refuses_the_same_things(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(Refused):
        read_bdat(*chunks)


@pytest.mark.parametrize("chunks", BAD, ids=lambda chunks: repr(b"".join(chunks)[:12]))
def test_a_body_that_is_there_is_refused_for_the_same_things(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(Refused):
        MailData.check(Body.of(b"".join(chunks)), limits(10_000, 1000))


def test_a_body_that_is_there_needs_the_end_of_its_last_line() -> None:
    with pytest.raises(Refused, match="does not end with CRLF"):
        MailData.check(Body.of(b"a: b\r\n\r\nhello"), Limits())


@given(st.lists(st.sampled_from([b"\r\n", b"a", b"\r", b"\n", b"\0", b"x" * 70_000]), max_size=12).map(b"".join))
def test_both_ways_to_mail_data_agree(octets: bytes) -> None:
    """Large enough that the body is looked at in chunks, and the line end may stand on a cut."""
    octets += b"\r\n"
    assert outcome(lambda: MailData.check(Body.of(octets), Limits())) == outcome(lambda: written(octets))


def written(octets: bytes) -> MailData:
    writer = MailDataWriter(BodyWriter(), Limits())
    writer.put(octets)
    return writer.finish()


def outcome(make: Callable[[], MailData]) -> str | bytes:
    try:
        return make().body.read()
    except Refused as refusal:
        return refusal.reply.enhanced


def test_it_is_not_made_without_the_check() -> None:
    with pytest.raises(TypeError):
        MailData(Body.of(b"a\nb"), True)
