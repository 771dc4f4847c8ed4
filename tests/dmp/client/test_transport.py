"""Transport and trace: what is retried, what is bounded, what is written down; INSi through the same exchange."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from dmp_connector.client import Dmp
from dmp_connector.errors import BadCertificate, BadInput, BadSettings, Refused, Unavailable
from dmp_connector.insi import Insi, InsiSettings, Outcome, VitaleIdentity
from dmp_connector.model import Ins, InsKind, Sex
from dmp_connector.settings import DmpSettings, Limits
from dmp_connector.wire.transport import Exchange, client_context
from tests.dmp.client.test_documents import submit
from tests.dmp.conftest import Keys, Running

pytestmark = pytest.mark.asyncio


async def test_trace_holds_every_byte(dmp_running: Running, call_of, tmp_path: Path) -> None:
    directory = tmp_path / "trace"
    settings = replace(dmp_running.settings, trace=directory)
    async with Dmp(settings, dmp_running.signer) as dmp:
        await dmp.td02_existence(call_of("PATIENT"))
        await submit(dmp, call_of("PATIENT"), b"\x00\xff binary \r\n", mime_type="application/pdf")
        with pytest.raises(Refused):
            await dmp.td31a_find(call_of("BLOQUANT"))
    names = sorted(path.name for path in directory.iterdir())
    assert names == [
        "0001-TD0.2-request.http", "0001-TD0.2-response.http", "0002-TD2.1-request.http", "0002-TD2.1-response.http",
        "0003-TD3.1a-request.http", "0003-TD3.1a-response.http",
    ]  # fmt: skip
    head, _, body = (directory / "0002-TD2.1-request.http").read_bytes().partition(b"\r\n\r\n")
    assert head.startswith(b"POST /si-dmp-server/v2/services/repository HTTP/1.1\r\n")
    assert b"multipart/related" in head
    assert b"\x00\xff binary \r\n" in body
    assert f"Content-Length: {len(body)}".encode() in head
    fault = (directory / "0003-TD3.1a-response.http").read_bytes()
    assert fault.startswith(b"HTTP/1.1 500 ")
    assert b"DMPAccessDeniedByRightsService" in fault
    assert directory.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in directory.iterdir())


async def test_trace_continues_its_numbers(dmp_running: Running, call_of, tmp_path: Path) -> None:
    settings = replace(dmp_running.settings, trace=tmp_path)
    for _ in range(2):
        async with Dmp(settings, dmp_running.signer) as dmp:
            await dmp.td02_existence(call_of("PATIENT"))
    assert sorted(int(name[:4]) for name in os.listdir(tmp_path)) == [1, 1, 2, 2]


async def test_all_who_trace_into_a_directory_share_its_numbers(dmp_running: Running, call_of, tmp_path: Path) -> None:
    """Regression: the DMP's client and INSi's each began at 1, and the second overwrote the files of the first."""
    settings = replace(dmp_running.settings, trace=tmp_path)
    insi_url = settings.url.replace("/si-dmp-server/v2/services", "/insi")
    async with Dmp(settings, dmp_running.signer) as dmp, Exchange.of(settings) as exchange:
        insi = Insi(InsiSettings(url=insi_url, authorisation="IDAM-1", emitter="899700367909"), exchange)
        for _ in range(2):
            await dmp.td02_existence(call_of("PATIENT"))
            await insi.by_traits("Patient", "Marie", Sex.F, date(1979, 3, 28))
        await asyncio.gather(*(dmp.td02_existence(call_of("PATIENT")) for _ in range(5)))
    assert [name[:-5] for name in sorted(os.listdir(tmp_path))][:8] == [
        "0001-TD0.2-request", "0001-TD0.2-response", "0002-INSi-rechercherInsAvecTraitsIdentite-request",
        "0002-INSi-rechercherInsAvecTraitsIdentite-response", "0003-TD0.2-request", "0003-TD0.2-response",
        "0004-INSi-rechercherInsAvecTraitsIdentite-request", "0004-INSi-rechercherInsAvecTraitsIdentite-response",
    ]  # fmt: skip
    assert sorted(int(name[:4]) for name in os.listdir(tmp_path)) == sorted([*range(1, 10), *range(1, 10)])


async def test_an_answer_that_was_cut_is_traced_as_far_as_it_came(dmp_running: Running, dmp_keys: Keys, tmp_path: Path) -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 400\r\n\r\n<half"
    async with Scripted(dmp_keys, cut) as server, Exchange.of(replace(dmp_running.settings, trace=tmp_path)) as exchange:
        with pytest.raises(Unavailable):
            await exchange.post("TD9.9", server.url, "text/xml", b"<a/>")
    assert sorted(os.listdir(tmp_path)) == ["0001-TD9.9-incomplete.http", "0001-TD9.9-request.http"]
    assert (tmp_path / "0001-TD9.9-incomplete.http").read_bytes() == b"<half"


async def test_a_trace_that_cannot_be_written_stops_the_call(dmp_running: Running, call_of, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSettings, match="trace"):
        Dmp(replace(dmp_running.settings, trace=tmp_path / "file"), dmp_running.signer)
    directory = tmp_path / "gone"
    async with Dmp(replace(dmp_running.settings, trace=directory), dmp_running.signer) as dmp:
        directory.rmdir()
        with pytest.raises(BadSettings, match="nothing goes out untraced"):
            await dmp.td02_existence(call_of("PATIENT"))


async def test_nobody_there(dmp_running: Running, call_of) -> None:
    async with Dmp(replace(dmp_running.settings, url="https://127.0.0.1:1/x"), dmp_running.signer) as dmp:
        with pytest.raises(Unavailable) as error:
            await dmp.td02_existence(call_of("PATIENT"))
    assert error.value.temporary
    assert not error.value.sent


async def test_a_server_we_do_not_trust(dmp_running: Running, dmp_keys: Keys, tmp_path: Path, call_of) -> None:
    from tests.dmp.pki import Root

    (tmp_path / "other.pem").write_bytes(Root("OTHER").pem)
    async with Dmp(replace(dmp_running.settings, anchors=tmp_path / "other.pem"), dmp_running.signer) as dmp:
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            await dmp.td02_existence(call_of("PATIENT"))


async def test_keys_that_cannot_be_read(dmp_running: Running, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("nothing")
    for changes in ({"anchors": tmp_path / "no.pem"}, {"key": tmp_path / "bad.pem"}, {"certificate": tmp_path / "bad.pem"}):
        with pytest.raises(BadCertificate):
            client_context(replace(dmp_running.settings, **changes))


class Scripted:
    """A TLS server that answers each connection with the bytes given, or with nothing."""

    def __init__(self, keys: Keys, *answers: bytes | None) -> None:
        self.answers, self.requests = list(answers), 0
        self.seen = b""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(keys.path("server.pem"), keys.path("server.key"))

    async def __aenter__(self) -> Scripted:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/x"
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            self.seen = head + await reader.readexactly(length)
            self.requests += 1
            answer = self.answers.pop(0) if self.answers else None
            if answer is not None:
                writer.write(answer)
                await writer.drain()
        finally:
            writer.close()

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        await self._server.wait_closed()


class Trickling(Scripted):
    """Sends a blank now and then, as long as somebody listens."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.answers[0] or b"")
        try:
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.wait_for(reader.read(65536), 0.01)
        except (TimeoutError, OSError):
            await self._serve_on(writer)

    async def _serve_on(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 504 Lost\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno", True),
        (b"HTTP/1.1 302 There\r\nLocation: https://example.test/\r\nContent-Length: 0\r\n\r\n", True),
        (None, True),
    ],
)
async def test_answers_that_are_no_answers(dmp_running: Running, dmp_keys: Keys, answer: bytes | None, sent: bool) -> None:
    async with Scripted(dmp_keys, answer, answer) as server, Exchange.of(dmp_running.settings) as exchange:
        with pytest.raises(Unavailable) as error:
            await exchange.post("TD", server.url, "text/xml", b"<a/>")
        assert error.value.sent is sent
        assert server.requests == (1 if sent else 2)  # a 503 was not acted on: tried once more


async def test_a_server_that_sends_retry_after_is_not_asked_again(dmp_running: Running, dmp_keys: Keys) -> None:  # RFC 9110 10.2.3
    answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n"
    async with Scripted(dmp_keys, answer, answer) as server, Exchange.of(dmp_running.settings) as exchange:
        with pytest.raises(Unavailable) as error:
            await exchange.post("TD", server.url, "text/xml", b"<a/>")
        assert (error.value.sent, error.value.retry_after, server.requests) == (False, 120, 1)
    assert error.value.message.fr == "Le DMP est indisponible. Réessayez dans 120 secondes."


@pytest.mark.parametrize("header", [b"soon", b"-5", b"99999999999999999999", b"\xd9\xa3", b"Wed, 21 Oct 2026 07:28:00 GMT", b"", b"12 34"])
async def test_a_retry_after_that_cannot_be_read_is_none(dmp_running: Running, dmp_keys: Keys, header: bytes) -> None:
    answer = b"HTTP/1.1 503 Busy\r\nRetry-After: " + header + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    async with Scripted(dmp_keys, answer, answer) as server, Exchange.of(dmp_running.settings) as exchange:
        with pytest.raises(Unavailable) as error:
            await exchange.post("TD", server.url, "text/xml", b"<a/>")
    assert error.value.retry_after == 0


@pytest.mark.parametrize("media_type", [b"text/html", b"", b"application/json"])
async def test_a_page_with_200_is_no_answer(dmp_running: Running, dmp_keys: Keys, media_type: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: " + media_type + b"\r\nContent-Length: 13\r\n\r\n<html></html>"
    async with Scripted(dmp_keys, answer) as server, Exchange.of(dmp_running.settings) as exchange:
        with pytest.raises(Unavailable, match="instead of SOAP") as error:
            await exchange.post("TD", server.url, "text/xml", b"<a/>")
    assert error.value.sent


async def test_a_compressed_answer_is_not_unpacked(dmp_running: Running, dmp_keys: Keys) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with Scripted(dmp_keys, head + bomb) as server, Exchange.of(dmp_running.settings) as exchange:
        with pytest.raises(Unavailable, match="compressed"):
            await exchange.post("TD", server.url, "text/xml", b"<a/>")


async def test_an_answer_that_trickles_ends_by_the_clock(dmp_running: Running, dmp_keys: Keys) -> None:
    context = client_context(dmp_running.settings)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 4000000\r\n\r\n"
    async with Trickling(dmp_keys, head) as server, Exchange(context, Limits(exchange_seconds=0.5)) as exchange:
        with pytest.raises(Unavailable, match="too long") as error:
            await exchange.post("TD", server.url, "text/xml", b"<a/>")
    assert error.value.sent


async def test_a_relay_leads_to_its_own_host_only(dmp_running: Running) -> None:
    async with Exchange(None, Limits(), relay="unix:/nowhere", relayed="dmp.test") as exchange:
        with pytest.raises(BadSettings, match=r"leads to dmp\.test, not to insi\.test"):
            await exchange.post("INSi", "https://insi.test/x", "text/xml", b"<a/>")


async def test_an_endless_answer_is_cut(dmp_running: Running, dmp_keys: Keys) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 4000000\r\n\r\n" + b"x" * 4_000_000
    context = client_context(dmp_running.settings)
    async with Scripted(dmp_keys, answer) as server, Exchange(context, Limits(answer_bytes=100_000)) as exchange:
        with pytest.raises(Unavailable, match="larger than 100000"):
            await exchange.post("TD", server.url, "text/xml", b"<a/>")


async def test_the_trace_is_what_was_on_the_wire(dmp_running: Running, dmp_keys: Keys, tmp_path: Path) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nX-Odd:  two  blanks\r\nContent-Length: 4\r\n\r\n<a/>"
    settings = replace(dmp_running.settings, trace=tmp_path)
    async with Scripted(dmp_keys, reply) as server, Exchange.of(settings) as exchange:
        await exchange.post("TD9.9", f"{server.url}/y?z=1", 'a/b; action="urn:c"', b"\x00\xff\r\n")
        assert (tmp_path / "0001-TD9.9-request.http").read_bytes() == server.seen
    written = (tmp_path / "0001-TD9.9-response.http").read_bytes()
    assert written.partition(b"\r\n\r\n")[2] == b"<a/>"
    assert written.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\n")


async def test_rubbish_is_a_bad_answer(dmp_running: Running, dmp_keys: Keys, call_of) -> None:
    from dmp_connector.errors import BadAnswer

    rubbish = b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\nContent-Length: 4\r\n\r\n<a/>"
    async with (
        Scripted(dmp_keys, rubbish, rubbish) as server,
        Dmp(replace(dmp_running.settings, url=server.url), dmp_running.signer) as dmp,
    ):
        with pytest.raises(BadAnswer):
            await dmp.td02_existence(call_of("PATIENT"))


class Relay:
    """Stands for the local TLS relay of a card: clear text in, mutual TLS out (docs/reference/crypto.md 5)."""

    def __init__(self, settings: DmpSettings, socket: Path | None = None) -> None:
        self._context = client_context(settings)
        self._port = urlsplit(settings.url).port
        self._socket = socket
        self.heads: list[bytes] = []
        self._sessions: list[asyncio.Task[None] | None] = []

    async def __aenter__(self) -> Relay:
        if self._socket is not None:
            self._server = await asyncio.start_unix_server(self._serve, self._socket)
            self.url = f"unix:{self._socket}"
            return self
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sessions.append(asyncio.current_task())
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context)
        upstream.write(head)
        pumps = [asyncio.create_task(_pump(reader, upstream)), asyncio.create_task(_pump(upstream_reader, writer))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for end in (upstream, writer):
            end.transport.abort()  # TLS's close_notify would wait for the other side
            with contextlib.suppress(OSError):
                await end.wait_closed()

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        await asyncio.gather(*self._sessions)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()


@pytest.mark.parametrize("unix", [True, False])
async def test_a_card_key_through_the_local_relay(dmp_running: Running, call_of, tmp_path: Path, unix: bool) -> None:
    async with Relay(dmp_running.settings, tmp_path / "relay" if unix else None) as relay:
        settings = replace(dmp_running.settings, certificate=None, key=None, relay=relay.url)
        async with Dmp(settings, dmp_running.signer) as dmp:
            assert (await dmp.td02_existence(call_of("PATIENT"))).state.value == "ACTIVE"
            await submit(dmp, call_of("PATIENT"))
    host = urlsplit(dmp_running.settings.url).netloc.encode()
    assert relay.heads[0].startswith(b"POST /si-dmp-server/v2/services/patients HTTP/1.1\r\n")
    assert b"host: " + host in relay.heads[0].lower()


# ---- INSi


@pytest_asyncio.fixture
async def insi(dmp_running: Running) -> AsyncIterator[Insi]:
    url = dmp_running.settings.url.replace("/si-dmp-server/v2/services", "/insi")
    async with Exchange.of(dmp_running.settings) as exchange:
        yield Insi(InsiSettings(url=url, authorisation="IDAM-1", emitter="899700367909"), exchange)


async def test_insi_by_traits(insi: Insi, dmp_running: Running) -> None:
    answer = await insi.by_traits("Patient", "Marie", Sex.F, date(1979, 3, 28), "75115")
    person = answer.require_found()
    known = dmp_running.record("PATIENT").data.patient
    assert person == replace(known, used_name=None, ins=Ins(known.ins.value, InsKind.NIR))  # .8 on the test platform too
    assert (await insi.by_traits("Patient", "Marie", Sex.F, date(1979, 3, 29))).outcome is Outcome.NONE
    with pytest.raises(BadInput):
        await insi.by_traits("Patient", "Marie", Sex.UNKNOWN, date(1979, 3, 28))


async def test_insi_by_vitale(insi: Insi, dmp_running: Running) -> None:
    ins = dmp_running.ins("CORSE")
    card = VitaleIdentity(holder=ins.value, birth_date="19800302", birth_name="CORSE", read_at=datetime.now(UTC))
    assert (await insi.by_vitale(card)).require_found().ins.same_as(ins)
    with pytest.raises(BadInput, match="20 minutes"):
        await insi.by_vitale(replace(card, read_at=datetime.now(UTC) - timedelta(minutes=21)))


async def test_insi_unknown_software(dmp_running: Running, insi: Insi) -> None:
    dmp_running.simulator._insi._accepted = ("OTHER",)
    with pytest.raises(Refused) as refused:
        await insi.by_traits("Patient", "Marie", Sex.F, date(1979, 3, 28))
    assert refused.value.code == "siram_100"
