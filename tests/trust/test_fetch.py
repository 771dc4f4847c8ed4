"""Fetching: bounded, with back-off, one request at a time, and over https only from hosts that our authorities certify."""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mssgw.core.config import parse
from mssgw.demo.pki import Pki
from mssgw.pki.certificates import Certificate
from mssgw.trust import anchors, disk
from mssgw.trust.feed import Feed
from mssgw.trust.fetch import Fetcher, FetchError
from mssgw.trust.refresh import ListKeeper, State
from mssgw.trust.revocation import Ledger
from mssgw.trust.service import _web_context
from tests.configurations import alpha
from tests.conftest import TestClock


class Source:
    """An HTTP(S) server with scripted answers that counts its requests."""

    def __init__(self, answer, tls=None):
        self.answer, self.tls, self.asked, self.release, self.reached = answer, tls, 0, asyncio.Event(), asyncio.Event()
        self.release.set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        port = self.server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{port}/x"
        return self

    async def __aexit__(self, *error):
        self.server.close()

    async def _serve(self, reader, writer):
        self.head = await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        self.reached.set()
        await self.release.wait()
        writer.write(self.answer)
        writer.close()


def page(content, status="200 OK", extra=""):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n{extra}\r\n".encode() + content


async def test_conditional(clock):
    async with Source(page(b"list", extra='ETag: "a"\r\nLast-Modified: Sun, 22 Nov 2026 12:00:00 GMT\r\n')) as source:
        fetched = await Fetcher(clock).get(source.url, 100)
        assert (fetched.content, fetched.etag) == (b"list", '"a"')
        source.answer = page(b"", "304 Not Modified")
        again = await Fetcher(clock).get(source.url, 100, etag=fetched.etag, modified=fetched.modified)
        assert again.content is None
        assert b'if-none-match: "a"' in source.head.lower()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (page(b"x" * 101), "more than 100 octets"),
        (page(b"", "403 Forbidden"), "status 403"),
        (page(b"", "500 Oops"), "status 500"),
        (page(b"", "302 Found", "Location: file:///etc/passwd\r\n"), "status 302"),
        (b"nonsense", "Protocol"),
        (b"", "Protocol"),
        (page(b""), "an empty answer"),
        (page(b"", "304 Not Modified"), "status 304"),
    ],
)
async def test_failures_wait_longer_each_time(clock, answer, why):
    fetcher, waits = Fetcher(clock), []
    async with Source(answer) as source:
        for _ in range(9):
            with pytest.raises(FetchError, match=why):
                await fetcher.get(source.url, 100)
            with pytest.raises(FetchError, match="next try") as caught:
                await fetcher.get(source.url, 100)
            assert not caught.value.tried
            waits.append((fetcher.waits_until(source.url) - clock.now()).total_seconds())
            clock.advance(waits[-1])
        assert source.asked == 9
    assert 27 <= waits[0] <= 33
    assert all(1620 <= wait <= 1980 for wait in waits[6:])


async def test_one_at_a_time(clock):
    fetcher = Fetcher(clock)
    async with Source(page(b"list")) as source:
        source.release.clear()
        first = asyncio.create_task(fetcher.get(source.url, 100))
        await source.reached.wait()
        with pytest.raises(FetchError, match="being fetched already"):
            await fetcher.get(source.url, 100)
        source.release.set()
        assert (await first).content == b"list"
        assert source.asked == 1


async def test_https_needs_our_authorities(clock, tmp_path):
    ours, others = Pki(), Pki(prefix="AUTRE")  # OpenSSL judges them by the wall clock

    def shown(pki, address="127.0.0.1"):
        credential = pki.operator("localhost", addresses=(address,))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*credential.write(tmp_path, pki.prefix + address))
        return context

    at_ours, elsewhere, at_others = shown(ours), shown(ours, "127.0.0.2"), shown(others)  # makes their authorities
    tls = _web_context(anchors.build([Certificate.read(one.public_bytes(Encoding.DER)) for one in ours.anchors()]))
    tls.verify_flags |= ssl.VERIFY_X509_STRICT
    async with Source(page(b"list"), at_ours) as source:
        assert (await Fetcher(clock, tls).get(source.url, 100)).content == b"list"
    for wrong in (elsewhere, at_others):
        async with Source(page(b"list"), wrong) as source:
            with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
                await Fetcher(clock, tls).get(source.url, 100)


def test_a_crl_noted_while_the_clock_was_ahead_is_due(tmp_path):
    """Regression: after a day in the future no CRL was fetched before that day."""
    clock = TestClock()
    feed = Feed(tmp_path, clock, Fetcher(clock), Ledger(clock), urls=["http://crl.test/a.crl"], refresh_seconds=3600)
    (source,) = feed._sources.values()
    source.next_update = source.life = (clock.now() + timedelta(days=500)).timestamp()
    for ahead, due in ((timedelta(days=400), True), (timedelta(minutes=-10), False), (timedelta(hours=-2), True)):
        source.fetched_at, source.life = (clock.now() + ahead).timestamp(), 0.0
        assert feed._due(source) is due


def test_a_list_noted_while_the_clock_was_ahead_is_due(tmp_path):
    """Regression: after a day in the future the list was not fetched before that day, and was never too old."""
    clock = TestClock()
    settings = parse(alpha(), tmp_path).trust
    now = clock.now()
    state = State("00" * 32, now, now + timedelta(days=400), now)
    disk.write_json(tmp_path / "list.json", state)
    keeper = ListKeeper(settings, tmp_path, clock, Fetcher(clock))
    keeper._state = state
    keeper.confirmed_elsewhere()
    assert keeper.due()
    keeper._due = now + timedelta(days=400)  # what this process itself noted before the step
    assert keeper.due()
    keeper._due = now + timedelta(seconds=settings.refresh_seconds)
    assert not keeper.due()


async def test_an_address_that_failed_while_the_clock_was_ahead_is_tried_again(clock):
    fetcher = Fetcher(clock)
    fetcher.failed("http://a.test/", "no answer")
    assert fetcher.waits_until("http://a.test/")
    clock.step(days=-400)
    assert fetcher.waits_until("http://a.test/") is None
