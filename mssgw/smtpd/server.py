"""Listening: `serve` opens the sockets of some ports with SO_REUSEPORT, `Servers.stop` ends them politely.

Every worker calls `serve` with the same addresses; the kernel spreads connections over the workers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from mssgw.core.config.base import Listen
from mssgw.listening import BACKLOG, TlsListener, open_socket, stop_listening
from mssgw.smtpd.port import Port, Profile
from mssgw.smtpd.session import SmtpSession

GRACE_SECONDS = 20.0


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
        self._servers: list[asyncio.Server | TlsListener] = []

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where we listen, in the order of the endpoints: with port 0 the kernel chose."""
        return [listener.getsockname()[:2] for listener in self._listeners]

    async def open(self, endpoint: Endpoint) -> None:
        loop, profile = asyncio.get_running_loop(), endpoint.profile
        port = self.ports.setdefault(id(profile), Port(profile))
        listener = open_socket(endpoint.listen)
        self._listeners.append(listener)

        def session() -> SmtpSession:
            return SmtpSession(port, loop)

        if endpoint.implicit_tls:
            self._servers.append(
                TlsListener(listener, session, profile.tls, name=profile.name, handshake_seconds=profile.handshake_seconds)
            )
        else:
            self._servers.append(await loop.create_server(session, sock=listener, backlog=BACKLOG))

    async def stop(self, grace: float = GRACE_SECONDS) -> None:
        """No new connections; 421 to the idle; messages in progress may finish; every commit is awaited."""
        await stop_listening(self._servers, self._listeners)
        await asyncio.gather(*(port.stop(grace) for port in self.ports.values()))


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
