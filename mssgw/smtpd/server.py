"""Listening: `serve` opens the sockets of some ports with SO_REUSEPORT, `Servers.stop` ends them politely.

Every worker calls `serve` with the same addresses; the kernel spreads connections over the workers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from mssgw.core.config.base import Listen
from mssgw.smtpd.port import Port, Profile
from mssgw.smtpd.session import Session

BACKLOG = 1024
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
        self._servers: list[asyncio.Server] = []

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where we listen, in the order of the endpoints: with port 0 the kernel chose."""
        return [listener.getsockname()[:2] for server in self._servers for listener in server.sockets]

    async def open(self, endpoint: Endpoint) -> None:
        loop = asyncio.get_running_loop()
        port = self.ports.setdefault(id(endpoint.profile), Port(endpoint.profile))
        self._servers.append(await loop.create_server(
            lambda: Session(port, implicit_tls=endpoint.implicit_tls, loop=loop),
            sock=_listener(endpoint.listen), backlog=BACKLOG))

    async def stop(self, grace: float = GRACE_SECONDS) -> None:
        """No new connections; 421 to the idle; messages in progress may finish; every commit is awaited."""
        for server in self._servers:
            server.close()
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
