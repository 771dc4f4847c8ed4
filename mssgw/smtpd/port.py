"""A port: its policy (Profile), and its connections and counters in this worker (Port)."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Protocol

from mssgw.core.address import Domain
from mssgw.core.config.base import Network
from mssgw.core.config.node import Limits
from mssgw.core.errors import Deferred, MailError, NotAllowed
from mssgw.flow.transaction import Authenticate, Begin
from mssgw.observe import CONNECTIONS

PortName = Literal["relay", "submission", "hospital"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Policy of a port, as data."""

    name: PortName
    hostname: str  # in the greeting and in replies
    domain: Domain  # whose postmaster `<postmaster>` is
    limits: Limits
    tls: Callable[[], ssl.SSLContext]  # asked at each handshake: contexts are swapped when CRLs and certificates change
    begin: Begin
    spool: Path | None = None  # directory for large messages while they come in
    login: Authenticate | None = None  # AUTH is offered, and required
    tls_required: bool = True
    networks: tuple[Network, ...] = ()  # who may connect; empty: anyone
    certificate_hint: str = ""  # the reply to a peer that has not started TLS
    handshake_seconds: float = 30.0
    error_budget: int = 100  # a refusal costs 1, a protocol error 5; at 0 the connection ends


class Connected(Protocol):
    """What a port asks of a connection."""

    def stop_when_idle(self) -> None: ...
    def abort(self) -> None: ...


class Port:
    """Connections, commits and counters of one profile in one worker."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.connections: set[Connected] = set()
        self.commits: set[asyncio.Task[Any]] = set()
        self.stopping = False
        self._peers: Counter[str] = Counter()
        self._gauge = CONNECTIONS.labels(profile.name)
        self._gone = asyncio.Event()

    def enter(self, connection: Connected, peer: str) -> None:
        """Count a new connection. Raises MailError with the 421 that ends it."""
        self.connections.add(connection)
        self._peers[_neighbourhood(peer)] += 1
        self._gauge.inc()
        limits, networks = self.profile.limits, self.profile.networks
        if self.stopping:
            raise stopping()
        if networks and not any(peer in network for network in networks):
            raise NotAllowed("Your address may not hand over mail here; ask the administrator to add its network", code=554)
        if len(self.connections) > limits.connections:
            raise Deferred("Too many connections, try again later", code=421, enhanced="4.3.2")
        if self._peers[_neighbourhood(peer)] > limits.connections_per_peer:
            raise Deferred("Too many connections from your address", code=421, enhanced="4.7.0")

    def leave(self, connection: Connected, peer: str) -> None:
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        where = _neighbourhood(peer)
        self._peers[where] -= 1
        if not self._peers[where]:
            del self._peers[where]
        self._gauge.dec()
        self._gone.set()

    async def stop(self, grace: float) -> None:
        """421 to idle connections; those that are sending a message may finish within `grace` seconds; commits are always awaited."""
        self.stopping = True
        for connection in tuple(self.connections):
            connection.stop_when_idle()
        try:
            async with asyncio.timeout(grace):
                while self.connections:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            for connection in tuple(self.connections):
                connection.abort()
        while self.commits:
            await asyncio.wait(tuple(self.commits))


def stopping() -> MailError:
    return Deferred("Service is going down, try again soon", code=421, enhanced="4.3.2")


def _neighbourhood(peer: str) -> str:
    """Who is counted together: one IPv4 address, or one IPv6 /64."""
    return ip_address(peer.partition("%")[0]).exploded[:19] if ":" in peer else peer
