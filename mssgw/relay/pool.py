"""Sessions kept open per server, so that the next message costs neither handshake nor EHLO.

Keyed by host and port: the many domains of one operator share its sessions, and `RelaySession.send` asks
`require` for the domain each time. At most `connections_per_operator` sessions to one server; more
deliveries wait in order. A server that could not be reached is not tried again for `down_seconds`, so that
a thousand messages for it don't each wait for the same time-out.

A reused session that turns out dead before the message left is replaced once; nothing was sent, so
nothing is sent twice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mssgw.core.clock import Clock
from mssgw.core.config.relay import Relay
from mssgw.core.errors import MailError
from mssgw.relay.client import RelaySession, Target

SWEEP_SECONDS = 5


@dataclass(slots=True)
class _Server:
    free: asyncio.Semaphore
    idle: list[tuple[datetime, RelaySession]] = field(default_factory=list)
    users: int = 0
    down: tuple[datetime, MailError] | None = None


class Pool:
    def __init__(self, settings: Relay, hello: str, context: Callable[[], ssl.SSLContext], clock: Clock) -> None:
        self._settings, self._hello, self._context, self._clock = settings, hello, context, clock
        self._servers: dict[Target, _Server] = {}

    @asynccontextmanager
    async def session(self, target: Target) -> AsyncIterator[RelaySession]:
        """A session of our own until the block ends. Raises Deferred or PeerGone."""
        server = self._servers.setdefault(target, _Server(asyncio.Semaphore(self._settings.connections_per_operator)))
        server.users += 1
        try:
            async with server.free:
                session = self._idle(server) or await self._open(server, target)
                try:
                    yield session
                finally:
                    self._give_back(server, session)
        finally:
            server.users -= 1

    def _idle(self, server: _Server) -> RelaySession | None:
        while server.idle:
            session = server.idle.pop()[1]
            if session.alive:
                return session
            session.leave()
        return None

    async def _open(self, server: _Server, target: Target) -> RelaySession:
        if server.down and server.down[0] > self._clock.now():
            raise server.down[1].with_traceback(None)
        try:
            session = await RelaySession.open(target, self._context(), self._hello, self._settings)
        except MailError as error:
            server.down = self._clock.now() + timedelta(seconds=self._settings.down_seconds), error
            raise
        server.down = None
        return session

    def _give_back(self, server: _Server, session: RelaySession) -> None:
        if session.alive and self._settings.idle_seconds and session.transactions < session.transactions_allowed:
            server.idle.append((self._clock.now(), session))
        else:
            session.leave()

    async def run(self) -> None:
        """Close sessions that are idle or too old, until cancelled; then close all."""
        try:
            while True:
                await self._clock.sleep(SWEEP_SECONDS)
                self.sweep()
        finally:
            await self.close()

    def sweep(self) -> None:
        oldest = self._clock.now() - timedelta(seconds=self._settings.idle_seconds)
        for target, server in list(self._servers.items()):
            while server.idle and server.idle[0][0] <= oldest:
                server.idle.pop(0)[1].leave()
            server.idle = [(since, session) for since, session in server.idle if session.alive]
            if not server.users and not server.idle and (server.down is None or server.down[0] <= self._clock.now()):
                del self._servers[target]

    async def close(self) -> None:
        """Leave every idle session and wait until each is closed."""
        idle = [session for server in self._servers.values() for _, session in server.idle]
        for server in self._servers.values():
            server.idle.clear()
        for session in idle:
            session.leave()
        await asyncio.gather(*(session.left() for session in idle))
