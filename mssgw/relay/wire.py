"""One connection to an SMTP server: octets out, whole replies in (RFC 5321 4.2).

Replies are queued as they come, so that a client may send several commands before it reads the first
answer (RFC 2920). A server that sends what is not a reply, a line or a reply without end, or more
replies than there were commands is disconnected: memory stays bounded whatever it does.

When the connection ends, replies that came before are still read; then `PeerGone` gives the reason.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from dataclasses import dataclass
from typing import cast

from mssgw.core.errors import Deferred, PeerGone, Reply
from mssgw.protocol.dsn import clean

MAX_LINE = 4096  # octets; RFC 5321 4.5.3.1.5 says 512, real servers say more
MAX_LINES = 256  # of one reply
MAX_UNREAD = 4096  # replies
TEXT_LIMIT = 500  # characters of a reply that we keep

_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?\Z", re.DOTALL)
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?:\s+|\Z)")
_MEANING = {  # RFC 5248 2.4 and RFC 3463, for servers that give no enhanced code
    421: "4.3.2",
    450: "4.2.0",
    451: "4.3.0",
    452: "4.3.1",
    455: "4.5.4",
    500: "5.5.2",
    501: "5.5.4",
    502: "5.5.1",
    503: "5.5.1",
    504: "5.5.4",
    521: "5.3.2",
    552: "5.3.4",
    553: "5.1.3",
    555: "5.5.4",
    556: "5.1.10",
}


@dataclass(frozen=True, slots=True)
class PeerReply:
    """A reply as it came: the code and the text of each line."""

    code: int
    lines: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return 200 <= self.code < 300

    def reply(self) -> Reply:
        """The peer's reply as we keep it: one clean, short line, and an enhanced code of the same class."""
        first = _ENHANCED.match(self.lines[0])
        texts = [line[first.end() :] if first and line.startswith(first[0].rstrip()) else line for line in self.lines]
        if first and first[1] == str(self.code)[0]:
            enhanced = f"{first[1]}.{int(first[2])}.{int(first[3])}"
        else:
            enhanced = _MEANING.get(self.code, f"{self.code // 100}.0.0")
        return Reply(self.code, enhanced, clean(" ".join(texts), TEXT_LIMIT))


class Wire(asyncio.Protocol):
    """The protocol object. One reader at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._replies: deque[PeerReply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._gone: PeerGone | None = None
        self._closed = asyncio.Event()

    # what asyncio calls --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            if not self._take(line):
                return
        if len(self._buffer) > MAX_LINE:
            self._cut("a line of its reply has no end")

    def _take(self, line: bytes) -> bool:
        found = _LINE.match(line)
        if not found or len(line) > MAX_LINE or len(self._lines) >= MAX_LINES or len(self._replies) >= MAX_UNREAD:
            self._cut("what it sent is not an SMTP reply")
            return False
        self._lines.append((found[3] or b"").decode("utf-8", "replace"))
        if found[2] != b"-":
            self._replies.append(PeerReply(int(found[1]), tuple(self._lines)))
            self._lines = []
            self._wake()
        return True

    def eof_received(self) -> None:
        return None  # close: a half-open connection is of no use

    def connection_lost(self, error: Exception | None) -> None:
        if self._gone is None:
            why = clean(_reason(error), 200) if error else "it closed the connection"
            self._gone = PeerGone("Connection lost", code=421, enhanced="4.4.2", detail=why)
        self._flowing.set()
        self._closed.set()
        self._wake()

    def pause_writing(self) -> None:
        self._flowing.clear()

    def resume_writing(self) -> None:
        self._flowing.set()

    # what the client calls -----------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Open, and nothing unread: a reply without a command is a 421, or out of step with our commands."""
        return self._gone is None and not self._replies and not self._buffer and self._transport is not None

    async def reply(self, seconds: float) -> PeerReply:
        """The next reply. Raises PeerGone, or Deferred when it doesn't come in time (the connection is then cut)."""
        while not self._replies:
            if self._gone:
                raise self._gone.with_traceback(None)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(seconds):
                    await self._waiter
            except TimeoutError:
                self._cut("no reply in time")
                raise Deferred(f"No reply within {seconds:g} s", code=421, enhanced="4.4.2") from None
            finally:
                self._waiter = None
        return self._replies.popleft()

    def answered_already(self) -> bool:
        """A reply lies here unread."""
        return bool(self._replies)

    def send(self, octets: bytes) -> None:
        if self._gone is None and self._transport is not None:
            self._transport.write(octets)

    async def drain(self, seconds: float) -> None:
        """Wait until the peer takes more. Raises PeerGone or Deferred."""
        if not self._flowing.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._flowing.wait()
            except TimeoutError:
                self._cut("it stopped reading")
                raise Deferred(f"The peer took no data for {seconds:g} s", code=421, enhanced="4.4.2") from None
        if self._gone:
            raise self._gone.with_traceback(None)

    async def start_tls(self, context: ssl.SSLContext, server_name: str, seconds: float) -> None:
        """The handshake. Raises Deferred: no TLS, no mail.

        RFC 3207 6, docs/reference/crypto.md 9.25: octets in clear after the 220 did not come from the peer we are
        about to authenticate, so their presence ends the connection.
        """
        if not self.alive or self._lines or self._transport is None:
            self.abort()
            raise Deferred("Data in clear behind the reply to STARTTLS", enhanced="4.7.0")
        try:
            transport = await asyncio.get_running_loop().start_tls(
                self._transport, self, context, server_hostname=server_name, ssl_handshake_timeout=seconds
            )
        except (ssl.SSLError, OSError, TimeoutError) as error:
            self.abort()
            raise Deferred("TLS handshake failed", enhanced="4.7.5", detail=clean(_reason(error), 200)) from error
        if transport is None:
            raise Deferred("Connection lost in the TLS handshake", enhanced="4.4.2")
        self._transport = transport

    def certificate(self) -> bytes | None:
        """The peer's certificate, DER."""
        secured = self._transport and self._transport.get_extra_info("ssl_object")
        return secured.getpeercert(binary_form=True) if secured else None

    def tls_version(self) -> str | None:
        secured = self._transport and self._transport.get_extra_info("ssl_object")
        return secured.version() if secured else None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def closed(self, seconds: float) -> None:
        """After `close`: until the last octets are out and the peer has closed too, or no longer than that."""
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        if self._gone is None:
            self._gone = PeerGone("Connection cut", code=421, enhanced="4.4.2")
        if self._transport is not None:
            self._transport.abort()

    def _cut(self, why: str) -> None:
        if self._gone is None:
            self._gone = PeerGone("Connection cut", code=421, enhanced="4.5.0", detail=why)
        self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return str(error) or type(error).__name__
