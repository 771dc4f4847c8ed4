"""Wire: the octets of one connection. Lines and literals in, large writes with back-pressure out, TLS at any moment.

Reading stops (TCP pushes back) when the client sends faster than it is served; `drain` waits for a slow reader and
gives up on one that takes nothing for `STALLED` seconds. PeerGone ends everything.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from mssgw.core.errors import PeerGone

READ_AHEAD = 256 * 1024  # octets buffered before reading pauses
WRITE_BEHIND = 512 * 1024  # octets buffered before `drain` waits
STALLED = 300.0  # seconds
HANDSHAKE = 30.0
LINGER = 30.0


class LineTooLong(Exception):
    """No line end within the limit."""


class Wire(asyncio.Protocol):
    def __init__(self, serve: Callable[[Wire], Coroutine[Any, Any, None]]) -> None:
        self._serve = serve
        self._buffer = bytearray()
        self._searched = 0  # octets of the buffer known to hold no line end
        self._eof = self._lost = self._paused = self._reading_paused = False
        self._linger: asyncio.TimerHandle | None = None
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self.tls = False

    # -- asyncio calls these -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        first = self._task is None
        self._use(transport)
        if first:
            self.tls = transport.get_extra_info("ssl_object") is not None
            self._task = asyncio.get_running_loop().create_task(self._serve(self))

    def _use(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(high=WRITE_BEHIND)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > READ_AHEAD and not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()
        self._wake(self._readable)

    def eof_received(self) -> bool:
        self._eof = True
        self._wake(self._readable)
        return not self.tls  # half closed: what is pipelined is still answered

    def connection_lost(self, error: Exception | None) -> None:
        self._eof = self._lost = True
        if self._linger is not None:
            self._linger.cancel()
        self._paused = False
        self._wake(self._readable)
        self._wake(self._writable)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake(self._writable)

    @staticmethod
    def _wake(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- reading -------------------------------------------------------------------------------------

    async def line(self, limit: int) -> bytes:
        """The next line without its end. A cancelled call loses nothing. Raises LineTooLong, PeerGone."""
        while (end := self._buffer.find(b"\n", self._searched)) == -1:
            self._searched = len(self._buffer)
            if self._searched > limit:
                raise LineTooLong
            await self._more()
        if end > limit:
            raise LineTooLong
        line = bytes(self._buffer[: end - 1 if self._buffer[end - 1 : end] == b"\r" else end])
        self._consume(end + 1)
        return line

    async def octets(self, count: int) -> AsyncIterator[bytes]:
        """The next `count` octets, as they come. Raises PeerGone."""
        while count:
            if not self._buffer:
                await self._more()
            piece = bytes(self._buffer[:count])
            self._consume(len(piece))
            count -= len(piece)
            yield piece

    def _consume(self, count: int) -> None:
        del self._buffer[:count]
        self._searched = 0
        if self._reading_paused and len(self._buffer) <= READ_AHEAD // 2:
            self._reading_paused = False
            self.transport.resume_reading()

    async def _more(self) -> None:
        if self._eof:
            raise PeerGone
        if self._reading_paused:  # a long literal or line needs more than the read-ahead
            self._reading_paused = False
            self.transport.resume_reading()
        self._readable = asyncio.get_running_loop().create_future()
        try:
            await self._readable
        finally:
            self._readable = None

    @property
    def pending(self) -> bool:
        """Whether the client has already sent more."""
        return bool(self._buffer)

    # -- writing -------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if data and not self.transport.is_closing():
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has taken enough. Raises PeerGone, also for one that takes nothing for long."""
        if self.transport.is_closing():
            raise PeerGone
        if not self._paused:
            return
        self._writable = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(STALLED):
                await self._writable
        except TimeoutError:
            self.abort()
            raise PeerGone(detail="the client reads nothing") from None
        finally:
            self._writable = None

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Handshake. What was sent before it in the clear is thrown away (CVE-2011-0411). Raises PeerGone."""
        self._buffer.clear()
        self._searched = 0
        self.tls = True
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(self.transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE)
        except (OSError, ssl.SSLError) as error:  # ConnectionError and TimeoutError are OSErrors
            raise PeerGone(detail=f"TLS handshake: {error}") from error
        if transport is None:
            raise PeerGone(detail="TLS handshake: the client left")
        self._use(transport)

    async def close(self) -> None:
        """Send what is written, for a limited time, then close."""
        self.transport.close()
        if not self._lost:
            self._linger = asyncio.get_running_loop().call_later(LINGER, self.transport.abort)

    def abort(self) -> None:
        self.transport.abort()

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    @property
    def task(self) -> asyncio.Task[None] | None:
        return self._task

    @property
    def peer(self) -> str:
        """The client's IP address."""
        name = self.transport.get_extra_info("peername")
        return str(name[0]) if name else ""
