"""Listening sockets, and the ports where TLS comes first. What `smtpd` and `imapd` share.

On such a port we accept by ourselves and hand the socket to TLS at once, with the current context.
`create_server(ssl=...)` would keep one context for ever, and `start_tls` on a fresh connection comes too
late: uvloop may have read the client's first octets into the protocol by then, and the handshake never ends.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from mssgw.core.config.base import Listen
from mssgw.observe import Event, log

BACKLOG = 1024
BREATH_SECONDS = 0.5  # seconds to wait after accept failed, most likely because no file descriptor was left
HANDSHAKES = 500  # at a time at one address; more are closed


def open_socket(listen: Listen) -> socket.socket:
    """Bound with SO_REUSEPORT, not yet listening. Raises OSError with the address in it."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a client that vanished in IDLE is noticed
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setblocking(False)
        opened.bind((listen.host, listen.port))
    except OSError as error:
        opened.close()
        raise OSError(error.errno, f"{error.strerror}: {listen}") from error
    return opened


async def stop_listening(servers: Iterable[asyncio.Server | TlsListener], listeners: Iterable[socket.socket]) -> None:
    """No new connections; those that are open stay."""
    for server in servers:
        if isinstance(server, TlsListener):
            await server.stop()
        else:
            server.close()
    for listener in listeners:
        listener.close()


class TlsListener:
    """Accepts on one socket, TLS first. `protocol()` is called for each connection, and connected after the handshake."""

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        tls: Callable[[], ssl.SSLContext],
        *,
        name: str,
        handshake_seconds: float = 30.0,
    ) -> None:
        self.listener, self._protocol, self._tls = listener, protocol, tls
        self._name, self._seconds = name, handshake_seconds
        self._tasks: set[asyncio.Task[None]] = set()
        listener.listen(BACKLOG)
        self._start(self._accept())

    async def stop(self) -> None:
        """No new connections; handshakes that have not ended are dropped."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self.listener)
            except OSError as error:
                log(Event.ACCEPT_FAILED, "error", port=self._name, reason=error)
                await asyncio.sleep(BREATH_SECONDS)
                continue
            if len(self._tasks) > HANDSHAKES:
                connection.close()
            else:
                self._start(self._shake_hands(connection))

    async def _shake_hands(self, connection: socket.socket) -> None:
        peer = None
        try:
            peer = connection.getpeername()[0]
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, connection, ssl=self._tls(), ssl_handshake_timeout=self._seconds
            )
        except (ssl.SSLError, OSError) as error:  # TimeoutError is one
            connection.close()
            log(Event.TLS_FAILED, "warning", port=self._name, peer=peer, reason=error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
