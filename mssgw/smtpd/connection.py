"""One SMTP connection below the verbs: lines, chunks, replies, time, TLS.

A subclass of aiosmtpd's SMTP, which gives the stream protocol and finds verbs by name. What it does
otherwise is overridden here and in `session` (numbers as in tests/smtp/test_overrides.py):
(2) no exception reaches the peer: 451 4.3.0, the stack goes to the log; (3) a commit is its own task
and survives the connection; (7) limits on the size of a command hold for that command alone; (9) time limits
are renewed by every chunk of content, beside a limit on the whole. Also: replies to pipelined commands leave
together (RFC 2920 3.2), a client that only closed its sending side still gets its replies, and TLS is
started by the event loop (uvloop's takes a tenth of the memory) with the current context.

Content is read in chunks straight from `StreamReader._buffer`; tests/smtp/test_rails.py pins that.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from aiosmtpd.smtp import SMTP

from mssgw.core.envelope import TlsFacts
from mssgw.core.errors import Deferred, MailError, PeerGone, Refused, Reply, reply_of
from mssgw.core.failures import log_failure
from mssgw.observe import REFUSED, Event, log
from mssgw.protocol.smtp import LONGEST_COMMAND
from mssgw.smtpd.port import Port, stopping

T = TypeVar("T")

READ_AHEAD: Final = 65536  # octets buffered before the kernel has to wait (twice that)
LINGER_SECONDS: Final = 2.0  # how long a peer may take to read our last reply
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_WEB: Final = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PRI", "HOST:", "USER-AGENT:"})


class Connection(SMTP):
    _reader: Any  # asyncio.StreamReader and StreamWriter, whose private parts we need
    _writer: Any
    transport: Any
    _transport: Any

    def __init__(self, port: Port, loop: asyncio.AbstractEventLoop) -> None:
        """Doesn't call SMTP.__init__, which inspects every member of the class for each connection: a quarter of its cost.

        What SMTP's own methods need is set here; tests/smtp/test_rails.py compares.
        """
        reader = asyncio.StreamReader(READ_AHEAD, loop)
        asyncio.StreamReaderProtocol.__init__(self, reader, self._cb_client_connected, loop)
        self.loop = loop
        self.session = self.envelope = self.transport = None
        self._handler_coroutine = self._timeout_handle = None
        self._tls_protocol = self._original_transport = None
        self._timeout_duration = port.profile.limits.idle_seconds
        self.port, self.profile = port, port.profile
        self.peer = ""
        self.tls: TlsFacts | None = None
        self.certificate: bytes | None = None
        self._refusal: MailError | None = None
        self._replies: list[bytes] = []
        self._budget = port.profile.error_budget
        self._deadline = 0.0
        self._busy = False  # the peer waits for us: its silence is no time-out
        self._receiving = False  # content is on its way
        self._closing = False
        self._lingering = False  # our last reply is written
        self._goodbye = False  # and what the peer still sends is not read

    # --- life ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        name = transport.get_extra_info("peername")
        self.peer = name[0] if isinstance(name, tuple) else "local"
        try:
            self.port.enter(self, self.peer)
        except MailError as refusal:
            self._refusal = refusal
        self._learn_tls(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.port.leave(self, self.peer)
        super().connection_lost(error)

    def eof_received(self) -> bool | None:
        """The peer closed its sending side; what it sent is still answered (aiosmtpd would cancel)."""
        if self._lingering:
            return False
        return asyncio.StreamReaderProtocol.eof_received(self)

    async def _handle_client(self) -> None:
        try:
            await self._converse()
        except PeerGone:
            pass
        except Exception as bug:
            log_failure(bug, port=self.profile.name, peer=self.peer)
        finally:
            self.close()

    async def _converse(self) -> None:
        if self._refusal:
            self.refuse(self._refusal)
            self._goodbye = True  # one connection too many: close at once
            return
        self.say(f"220 {self.profile.hostname} ESMTP mssgw")  # RFC 5321 4.3.1
        while not self._closing:
            if self.port.stopping:
                self.refuse(stopping())
                return
            try:
                await self._obey(await self.next_line())
            except MailError as refusal:
                if isinstance(refusal, PeerGone):
                    raise
                self.refuse(refusal)
            except Exception as bug:
                self.say(await self.handle_exception(bug))

    async def handle_exception(self, error: Exception) -> str:
        """Override 2: the stack goes to the log, the peer keeps its message and tries again."""
        log_failure(error, port=self.profile.name, peer=self.peer)
        REFUSED.labels(self.profile.name, "4.3.0").inc()
        return str(reply_of(error))

    async def _obey(self, line: bytes) -> None:
        """One command line to its verb (RFC 5321 4.1.1)."""
        if not line.endswith(b"\r\n") or _CONTROL.search(line, 0, len(line) - 2):
            raise self.fault("Command lines are printable and end with CRLF", 500, "5.5.2")
        word, _, argument = line[:-2].partition(b" ")
        verb = word.upper().decode("ascii", "replace")
        if verb in _WEB:  # a browser sent here by an attacker: docs/reference/crypto.md 9.26
            self._closing = True
            raise Refused("This is a mail server", code=554, enhanced="5.5.1")
        method = getattr(self, f"smtp_{verb}", None) if verb.isalpha() else None
        if method is None:
            raise self.fault("Command not known", 500, "5.5.1")
        if len(line) > self.longest(verb):
            raise self.fault("Command line is too long", 500, "5.5.2")
        try:
            text = argument.strip().decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.fault("Command lines are UTF-8", 500, "5.5.2") from error
        self._reset_timeout()
        await method(text)

    def longest(self, verb: str) -> int:
        raise NotImplementedError

    def stop_when_idle(self) -> None:
        """The service goes down: end now, unless a message is on its way."""
        if not self._busy and not self._receiving and self.transport is not None and not self._closing:
            self.refuse(stopping())
            self.close()

    def close(self) -> None:
        """Send what is to be sent, then end. Input on its way is read and dropped: a reset would take the reply with it."""
        self._closing = True
        transport = self.transport
        if transport is None or transport.is_closing() or self._lingering:
            return
        if self._replies:
            self._writer.write(b"".join(self._replies))
            self._replies.clear()
        if self._reader._eof or not transport.can_write_eof() or (self._goodbye and not self._reader._buffer):
            transport.close()
            return
        self._lingering = True
        try:
            transport.write_eof()
        except OSError:  # it left first
            transport.abort()
            return
        transport.resume_reading()
        self.loop.call_later(LINGER_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        if not self._lingering:
            super().data_received(data)

    def abort(self) -> None:
        self._closing = True
        if self.transport is not None:
            self.transport.abort()

    # --- time ------------------------------------------------------------------------------------

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Override 9: one timer per connection that looks at a deadline, instead of a new timer per command."""
        self._deadline = self.loop.time() + (duration or self._timeout_duration)
        if self._timeout_handle is None:
            self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)

    def _timeout_cb(self) -> None:
        if self.transport is None or self._lingering:
            return
        now = self.loop.time()
        if self._busy or now < self._deadline:
            self._timeout_handle = self.loop.call_at(now + self._timeout_duration if self._busy else self._deadline, self._timeout_cb)
            return
        self.refuse(Deferred("Too slow, closing", code=421, enhanced="4.4.2"))  # RFC 5321 4.5.3.2.7
        self.close()
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()
        if self._over_ssl:  # the peer doesn't read either
            self.loop.call_later(LINGER_SECONDS, self.abort)

    async def work(self, step: Awaitable[T]) -> T:
        """Our own work, during which the peer has nothing to send: its time does not run."""
        self._busy = True
        try:
            return await step
        finally:
            self._busy = False
            self._reset_timeout()

    # --- in --------------------------------------------------------------------------------------

    async def next_line(self) -> bytes:
        """The next line, its end included."""
        buffer = self._reader._buffer
        while (end := buffer.find(b"\n")) < 0:
            if len(buffer) > LONGEST_COMMAND:
                self._closing = True
                raise Refused("Command line is too long", code=500, enhanced="5.5.2")
            await self._more()
        line = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        return line

    async def next_chunk(self, most: int | None = None) -> bytes:
        """Octets of a message, at most so many; at least one."""
        buffer = self._reader._buffer
        if not buffer:
            await self._more()
        if most is None or most >= len(buffer):
            chunk = bytes(buffer)
            buffer.clear()
        else:
            chunk = bytes(buffer[:most])
            del buffer[:most]
        return chunk

    def unread(self, octets: bytes) -> None:
        """Put back what belongs to the next command."""
        self._reader._buffer[:0] = octets

    async def _more(self) -> None:
        await self.flush()
        if self._reader.at_eof() or self._reader._eof:
            raise PeerGone
        await self._reader._wait_for_data("mssgw")  # resumes a paused transport
        if self._reader._exception is not None:
            raise PeerGone
        if not self._reader._buffer:
            raise PeerGone

    # --- out -------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """Queue one reply; it leaves when we have to wait for the peer."""
        self._replies.append(line.encode("ascii", "replace") + b"\r\n")

    async def push(self, status: str | bytes) -> None:
        self.say(status if isinstance(status, str) else status.decode("ascii", "replace"))

    async def flush(self) -> None:
        if self._replies:
            self._writer.write(b"".join(self._replies))
            self._replies.clear()
            try:
                await self._writer.drain()
            except ConnectionError as error:
                raise PeerGone from error

    def refuse(self, refusal: MailError) -> None:
        """Print the reply, count it, log what the peer doesn't see."""
        reply = refusal.reply
        self.say(str(reply))
        REFUSED.labels(self.profile.name, reply.enhanced).inc()
        facts: dict[str, Any] = {**refusal.fields, "port": self.profile.name, "peer": self.peer, "reply": reply}
        log(Event.SMTP_REFUSED, detail=refusal.detail or None, **facts)
        self._budget -= 1
        if self._budget <= 0 and not self._closing:
            self._closing = True
            self.say(str(Reply(421, "4.7.0", "Too many errors, closing")))

    def fault(self, text: str, code: int, enhanced: str) -> Refused:
        """A protocol error: it uses up more of the connection's patience than a refusal."""
        self._budget -= 4
        return Refused(text, code=code, enhanced=enhanced)

    # --- TLS -------------------------------------------------------------------------------------

    async def start_tls(self) -> None:
        """Become a TLS server on this connection (RFC 3207 4.2). Raises PeerGone when the handshake fails."""
        await self.flush()
        self._reader._buffer.clear()  # what came before the handshake came from anyone
        self._busy = True  # the handshake has its own time limit
        try:
            transport = await self.loop.start_tls(
                self.transport, self, self.profile.tls(), server_side=True, ssl_handshake_timeout=self.profile.handshake_seconds
            )
        except (ssl.SSLError, OSError, TimeoutError) as error:
            log(Event.TLS_FAILED, "warning", port=self.profile.name, peer=self.peer, reason=error)
            raise PeerGone from error
        finally:
            self._busy = False
        if transport is None:
            raise PeerGone
        self._adopt(transport)
        self._learn_tls(transport)
        self._reset_timeout()

    def _learn_tls(self, transport: asyncio.BaseTransport) -> None:
        """What this connection's own handshake showed: nothing is resumed or remembered (docs/reference/crypto.md 6.2)."""
        tls: Any = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.certificate = tls.getpeercert(True)
            fingerprint = hashlib.sha256(self.certificate).hexdigest() if self.certificate else None
            self.tls = TlsFacts(tls.version() or "", tls.cipher()[0], fingerprint)

    def _adopt(self, transport: asyncio.BaseTransport) -> None:
        """The loop doesn't call connection_made again: reader and writer move to the new transport here."""
        self.transport = transport
        self._transport = transport
        self._reader._transport = transport
        self._reader._paused = False
        self._writer._transport = transport
        self._over_ssl = True
