"""Listening: `serve` opens the IMAP ports with SO_REUSEPORT, `Servers.stop` ends them politely.

Every worker calls `serve` with the same addresses; the kernel spreads connections over the workers.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

from mssgw.core.config.base import Listen
from mssgw.imapd.connection import Connection
from mssgw.imapd.replies import Bye, Code
from mssgw.imapd.session import Service
from mssgw.imapd.wire import Wire
from mssgw.listening import BACKLOG, TlsListener, open_socket, stop_listening
from mssgw.observe import CONNECTIONS

GRACE_SECONDS = 10.0


class Servers:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._listeners: list[socket.socket] = []
        self._servers: list[asyncio.Server | TlsListener] = []
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._peers: Counter[str] = Counter()
        self._stopping = False

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where we listen, in the order they were opened: with port 0 the kernel chose."""
        return [listener.getsockname()[:2] for listener in self._listeners]

    async def open(self, listen: Listen, *, implicit_tls: bool) -> None:
        """Raises OSError with the address in it."""

        async def serve_one(wire: Wire) -> None:
            await self._serve(wire)

        listener = open_socket(listen)
        self._listeners.append(listener)
        if implicit_tls:
            self._servers.append(TlsListener(listener, lambda: Wire(serve_one), self._service.tls, name="imap"))
        else:
            self._servers.append(await asyncio.get_running_loop().create_server(lambda: Wire(serve_one), sock=listener, backlog=BACKLOG))

    async def _serve(self, wire: Wire) -> None:
        connection = Connection(wire, self._service)
        peer = wire.peer
        limits = self._service.config.limits
        if self._stopping or len(self._connections) >= limits.connections or self._peers[peer] >= limits.connections_per_peer:
            connection.say_bye(Bye("Too many connections", Code.UNAVAILABLE))
            await wire.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections[connection] = task
        self._peers[peer] += 1
        CONNECTIONS.labels("imap").inc()
        try:
            await connection.run()
        finally:
            del self._connections[connection]
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]
            CONNECTIONS.labels("imap").dec()

    async def stop(self, grace: float = GRACE_SECONDS) -> None:
        """No new connections; BYE to those that wait; commands in progress may finish for `grace` seconds."""
        self._stopping = True
        await stop_listening(self._servers, self._listeners)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        while True:
            last = loop.time() >= deadline
            self._dismiss([one for one in self._connections if last or one.waiting])
            if not self._connections:
                return
            await asyncio.wait(list(self._connections.values()), timeout=1.0 if last else 0.1, return_when=asyncio.FIRST_COMPLETED)
            if last:
                return

    def _dismiss(self, connections: list[Connection]) -> None:
        for connection in connections:
            task = self._connections.get(connection)
            if task and not task.done() and not connection.dismissed:
                connection.dismissed = True
                connection.say_bye(Bye("Server is shutting down", Code.UNAVAILABLE))
                task.cancel()


async def serve(service: Service) -> Servers:
    """Open every address of [imap]. Raises OSError and closes what was open when one can't be."""
    servers = Servers(service)
    imap = service.config.imap
    try:
        for listen in imap.listen if imap else ():
            await servers.open(listen, implicit_tls=False)
        for listen in imap.listen_tls if imap else ():
            await servers.open(listen, implicit_tls=True)
    except BaseException:
        await servers.stop(0)
        raise
    return servers
