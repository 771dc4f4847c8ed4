"""Replies of servers: however the octets are cut, the same replies are read, or the connection is closed."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssgw.core.errors import PeerGone
from mssgw.relay.wire import MAX_LINE, MAX_LINES, MAX_UNREAD, PeerReply, Wire
from tests.fuzz import examples


class FakeTransport:
    def __init__(self):
        self.aborted = False

    def abort(self):
        self.aborted = True

    close = abort


def fed(pieces):
    wire, transport = Wire(), FakeTransport()
    wire.connection_made(transport)
    for piece in pieces:
        if not transport.aborted:
            wire.data_received(piece)
    return wire, transport


async def everything(wire):
    replies = []
    wire.connection_lost(None)
    while True:
        try:
            replies.append(await wire.reply(1))
        except PeerGone as error:
            return replies, error.detail


def read(pieces):
    async def inside():
        wire, transport = fed(pieces)
        return await everything(wire), transport.aborted

    return asyncio.run(inside())


LINES = st.sampled_from(
    [b"250 ok\r\n", b"250-more\r\n", b"550 5.1.1 no\r\n", b"354\r\n", b"250\n", b"hello\r\n", b"25", b"\r\n", b"999 x\r\n", b"\xff"]
)


@given(st.lists(LINES, max_size=8).map(b"".join) | st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
@settings(max_examples=examples(150))
def test_pieces_make_no_difference(octets, cuts):
    edges = [0, *sorted(cut for cut in cuts if cut < len(octets)), len(octets)]
    pieces = [octets[start:stop] for start, stop in itertools.pairwise(edges)]
    (replies, why), aborted = read(pieces)
    assert ((replies, why), aborted) == read([octets])
    for reply in replies:
        kept = reply.reply()
        assert 200 <= kept.code < 600
        assert kept.enhanced[0] == str(reply.code)[0] or reply.code < 400
        assert kept.text.isprintable()
        assert len(kept.text) <= 500


@pytest.mark.parametrize(
    "octets",
    [
        b"x" * (MAX_LINE + 1),
        b"250 " + b"x" * MAX_LINE + b"\r\n",
        b"250-x\r\n" * (MAX_LINES + 1),
        b"250 x\r\n" * (MAX_UNREAD + 1),
        b"SSH-2.0\r\n",
    ],
)
def test_too_much_cuts_the_connection(octets):
    (_, why), aborted = read([octets])
    assert aborted
    assert why in ("a line of its reply has no end", "what it sent is not an SMTP reply")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (PeerReply(550, ("5.1.1 no such", "5.1.1 mailbox")), "550 5.1.1 no such mailbox"),
        (PeerReply(550, ("5.01.001 no",)), "550 5.1.1 no"),
        (PeerReply(452, ("full",)), "452 4.3.1 full"),
        (PeerReply(550, ("no", "really")), "550 5.0.0 no really"),
        (PeerReply(550, ("5.1.1",)), "550 5.1.1 "),
        (PeerReply(451, ("5.1.1 class differs",)), "451 4.3.0 class differs"),
        (PeerReply(250, ("2.0.0\tOk: queued\x00 as\x1b 1",)), "250 2.0.0 Ok: queued as 1"),
    ],
)
def test_words_and_code(reply, said):  # RFC 5248
    assert str(reply.reply()) == said
