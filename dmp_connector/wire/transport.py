"""Transport: one POST over mutual TLS, bounded in time and size, retried once when nothing can have happened twice.

The TLS context is ours: TLS 1.2 with the suites of the LPS front and TLS 1.3 (docs/reference/dmp.md 1.1), our anchors, our
client certificate. With a card, a local relay holds the TLS key: we then send clear text to its socket (or
127.0.0.1) and the real host name in the Host header; it leads to one host, others are refused. No proxy of
the environment, no redirect, no cookie, no compression.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx2

from dmp_connector.errors import BadCertificate, BadSettings, Unavailable
from dmp_connector.settings import DmpSettings, Limits
from dmp_connector.texts import message
from dmp_connector.wire.trace import TraceSink

Progress = Callable[[int, int], None]
"""(bytes done, bytes in all; 0 when unknown)."""

_SUITES = "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES256-SHA384"  # PDT-INF-579v4
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: HTTP status, content type, octets, at most those that the limits allow."""

    status: int
    media_type: str
    body: bytes


class Exchange:
    """A pool of connections to one DMP front. Closed by `aclose` or as a context."""

    def __init__(
        self, context: ssl.SSLContext | None, limits: Limits, *, relay: str = "", relayed: str = "", trace: TraceSink | None = None
    ) -> None:
        """`relay`: unix:/path or http://127.0.0.1:port; `relayed`: host[:port] it leads to, "" for any."""
        timeout = httpx2.Timeout(limits.answer_seconds, connect=limits.connect_seconds)
        pool = httpx2.Limits(max_connections=8, max_keepalive_connections=4)
        verify = context if context is not None else ssl.create_default_context()
        socket = relay.removeprefix("unix:") if relay.startswith("unix:") else None
        transport = httpx2.AsyncHTTPTransport(uds=socket, limits=pool, trust_env=False) if socket else None
        self._client = httpx2.AsyncClient(
            verify=verify, timeout=timeout, trust_env=False, follow_redirects=False, limits=pool, transport=transport
        )
        relay, self._relayed = ("http://relay" if socket else relay), relayed
        self._limits, self._relay, self._trace = limits, relay.rstrip("/"), trace
        self.received: Progress | None = None  # called with every piece of an answer

    @classmethod
    def of(cls, settings: DmpSettings) -> Self:
        """For the DMP of these settings, over its relay when it has one. Raises BadSettings, BadCertificate."""
        trace = TraceSink(settings.trace) if settings.trace else None
        context = None if settings.relay else client_context(settings)
        return cls(context, settings.limits, relay=settings.relay, relayed=urlsplit(settings.url).netloc, trace=trace)

    async def post(self, name: str, url: str, media_type: str, body: bytes, *, progress: Progress | None = None) -> Answer:
        """One exchange. `name` names the transaction in traces and errors. Raises Unavailable.

        Tried once more when the connection failed before the request left, unless the server sent Retry-After.
        After that the caller decides: an assertion is good for one use, so a repetition needs a new one.
        """
        try:
            return await self._post(name, url, media_type, body, progress)
        except Unavailable as error:
            if error.sent or error.retry_after:
                raise
        return await self._post(name, url, media_type, body, progress)

    async def _post(self, name: str, url: str, media_type: str, body: bytes, progress: Progress | None) -> Answer:
        target, headers = self._addressed(url, media_type, len(body))
        request = self._client.build_request("POST", target, content=_chunks(body, progress) if progress else body, headers=headers)
        number = self._traced(name, request, body)
        received = bytearray()
        try:
            async with asyncio.timeout(self._limits.exchange_seconds):
                response = await self._client.send(request, stream=True)
                try:
                    await self._bounded(name, response, received)
                finally:
                    await response.aclose()
        except (httpx2.HTTPError, TimeoutError, Unavailable) as error:
            if self._trace:
                self._trace.incomplete(number, name, bytes(received) or _why(error).encode())
            raise _lost(name, error) from error
        if self._trace:
            start = f"HTTP/1.1 {response.status_code} {response.reason_phrase}"
            self._trace.response(number, name, start, response.headers.raw, bytes(received))
        answer = Answer(response.status_code, response.headers.get("content-type", ""), bytes(received))
        _require_soap(name, answer, response.headers.get("retry-after", ""))
        return answer

    def _traced(self, name: str, request: httpx2.Request, body: bytes) -> int:
        if self._trace is None:
            return 0
        start = f"POST {request.url.raw_path.decode('ascii')} HTTP/1.1"
        as_sent = sorted(request.headers.raw, key=lambda header: header[0].lower() != b"host")  # h11 puts Host first
        return self._trace.request(name, start, as_sent, body)

    def _addressed(self, url: str, media_type: str, length: int) -> tuple[str, list[tuple[str, str]]]:
        parts = urlsplit(url)
        if self._relay and self._relayed not in {"", parts.netloc}:
            raise BadSettings(message("transport.card-s-tls-relay-leads", relayed=self._relayed, netloc=parts.netloc))
        target = f"{self._relay}{parts.path}" if self._relay else url
        headers = [("Host", parts.netloc), ("Content-Type", media_type), ("Content-Length", str(length)), ("Accept-Encoding", "identity")]
        return target, headers

    async def _bounded(self, name: str, response: httpx2.Response, received: bytearray) -> None:
        """Raw octets: a compressed answer, which we never ask for, is not unpacked."""
        if response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            raise Unavailable(f"{name}: a compressed answer, which was not asked for")
        async for piece in response.aiter_raw():
            received += piece
            if self.received is not None:
                self.received(len(received), _announced(response))
            if len(received) > self._limits.answer_bytes:
                raise Unavailable(f"{name}: an answer larger than {self._limits.answer_bytes} bytes")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()


def _announced(response: httpx2.Response) -> int:
    length = response.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0


async def _chunks(body: bytes, progress: Progress) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _CHUNK):
        yield body[start : start + _CHUNK]
        progress(min(start + _CHUNK, len(body)), len(body))


def _why(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()[:300]


def _lost(name: str, error: Exception) -> Unavailable:
    """The error for the caller. `sent`: the request may have left, so nobody knows whether the server acted on it."""
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, TimeoutError):
        return Unavailable(f"{name}: the exchange took too long")
    unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
    return Unavailable(f"{name}: {_why(error)}", sent=not unsent)


def _require_soap(name: str, answer: Answer, retry_after: str) -> None:
    """SOAP 1.2 faults come as 400 or 500 with a SOAP body; other such statuses come from the network between. With a 502 or
    504 the DMP may have acted, with a 503 or 429 it has not."""
    soapy = any(word in answer.media_type.lower() for word in ("soap+xml", "text/xml", "multipart/related", "application/xml"))
    if answer.status in (200, 202) and (soapy or not answer.body):
        return
    if answer.status in (400, 500) and soapy:
        return
    if answer.status in (200, 202):
        raise Unavailable(f"{name}: HTTP {answer.status} with {answer.media_type[:80] or 'no type'} instead of SOAP")
    busy = answer.status in (429, 503)
    raise Unavailable(f"{name}: HTTP {answer.status}", sent=not busy, retry_after=_seconds(retry_after) if busy else 0)


def _seconds(retry_after: str) -> int:
    """Retry-After (RFC 9110 10.2.3) as seconds, at most a day; 0 when there is none or when it is a date, which is not parsed."""
    text = retry_after.strip()
    return min(int(text), 86_400) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def client_context(settings: DmpSettings) -> ssl.SSLContext:
    """Mutual TLS with a file key. Raises BadCertificate naming the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION
    try:
        if settings.anchors:
            context.load_verify_locations(settings.anchors)
        else:
            context.load_default_certs()
        if settings.certificate and settings.key:
            context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(
            message("at", place=f"{settings.anchors} / {settings.certificate} / {settings.key}", what=error.strerror or error)
        ) from error
    return context
