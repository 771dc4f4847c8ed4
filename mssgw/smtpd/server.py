"""Listening: `serve` opens the sockets of some ports with SO_REUSEPORT, `Servers.stop` ends them politely.

Every worker calls `serve` with the same addresses; the kernel spreads connections over the workers.

Where TLS comes first (port 465) we accept by ourselves, so that each handshake gets the context of the
moment, and one that doesn't end holds no session.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mssgw.core.config.base import Listen
from mssgw.observe import Event, log
from mssgw.smtpd.port import Port, Profile
from mssgw.smtpd.session import Session

BACKLOG = 1024
GRACE_SECONDS = 20.0
BREATH_SECONDS = 0.5  # after accept failed: no more files, most likely


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of one port. `implicit_tls`: the first octet is TLS (RFC 8314)."""

    profile: Profile
    listen: Listen
    implicit_tls: bool = False


class Servers:
    def __init__(self) -> None:
        self.ports: dict[int, Port] = {}
        self._listeners: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where we listen, in the order of the endpoints: with port 0 the kernel chose."""
        return [listener.getsockname()[:2] for listener in self._listeners]

    async def open(self, endpoint: Endpoint) -> None:
        loop = asyncio.get_running_loop()
        port = self.ports.setdefault(id(endpoint.profile), Port(endpoint.profile))
        listener = _listener(endpoint.listen)
        self._listeners.append(listener)
        if endpoint.implicit_tls:
            listener.listen(BACKLOG)
            self._start(self._accept(listener, port))
        else:
            self._servers.append(await loop.create_server(lambda: Session(port, loop), sock=listener, backlog=BACKLOG))

    async def stop(self, grace: float = GRACE_SECONDS) -> None:
        """No new connections; 421 to the idle; messages in progress may finish; every commit is awaited."""
        for server in self._servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._listeners:
            listener.close()
        await asyncio.gather(*(port.stop(grace) for port in self.ports.values()))

    async def _accept(self, listener: socket.socket, port: Port) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                log(Event.SMTP_ACCEPT_FAILED, "error", port=port.profile.name, reason=error)
                await asyncio.sleep(BREATH_SECONDS)
                continue
            if len(self._tasks) + len(port.connections) > port.profile.limits.connections:
                connection.close()
            else:
                self._start(self._shake_hands(connection, port))

    async def _shake_hands(self, connection: socket.socket, port: Port) -> None:
        """TLS, then the session; the connection is closed when the handshake fails or takes too long."""
        loop, profile = asyncio.get_running_loop(), port.profile
        peer = connection.getpeername()[0]
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(lambda: Session(port, loop), connection, ssl=profile.tls(),
                                               ssl_handshake_timeout=profile.handshake_seconds)
        except (ssl.SSLError, OSError, TimeoutError) as error:
            log(Event.SMTP_TLS_FAILED, "warning", port=profile.name, peer=peer, reason=error)

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def serve(endpoints: Iterable[Endpoint]) -> Servers:
    """Open every endpoint. Raises OSError (with the address in it) and closes what was open when one can't be."""
    servers = Servers()
    try:
        for endpoint in endpoints:
            await servers.open(endpoint)
    except BaseException:
        await servers.stop(0)
        raise
    return servers


def _listener(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind((listen.host, listen.port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"{error.strerror}: {listen}") from error
    return listener
