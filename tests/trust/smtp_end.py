"""The smallest SMTP server that lets a peer start TLS and send MAIL: it takes a context and a judge, and runs on either event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from mssgw.core.errors import MailError
from mssgw.trust import tls


class SmtpEnd:
    """Runs in a thread of its own. `context()` is called for each handshake; `judge(domain, der)` answers MAIL."""

    def __init__(self, loop_factory, context, judge, *, implicit=False):
        self._factory, self._context, self._judge, self._implicit = loop_factory, context, judge, implicit
        self._started = threading.Event()
        self.port = 0

    def __enter__(self):
        self._thread = threading.Thread(target=self._main)
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *error):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _main(self):
        self._loop = self._factory()
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self):
        self._stop = asyncio.Event()
        self._tasks = set()
        self._loop.set_exception_handler(lambda loop, context: None)  # the tests look at failed handshakes themselves
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context() if self._implicit else None)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._dialogue(reader, writer)
        self._tasks.discard(asyncio.current_task())
        writer.close()

    async def _dialogue(self, reader, writer):
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"EHLO":
                writer.write(b"250-here\r\n250 STARTTLS\r\n")
            elif verb == b"STARTTLS":
                writer.write(b"220 go\r\n")
                await writer.start_tls(self._context())
            elif verb == b"MAIL":
                writer.write(self._mail(line, writer) + b"\r\n")
            else:
                writer.write(b"221 bye\r\n")
                return
            await writer.drain()

    def _mail(self, line, writer):
        domain = line.decode().partition("@")[2].partition(">")[0]
        try:
            self._judge(domain, tls.peer_certificate(writer.get_extra_info("ssl_object")))
        except MailError as error:
            return str(error.reply).encode("ascii")
        return b"250 2.1.0 ok"
