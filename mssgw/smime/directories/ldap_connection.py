"""One connection to an LDAP server: TLS, bind, one search at a time (RFC 4511, RFC 4513 3).

The server is not trusted: messages, entries and octets are bounded, referrals are not followed, octets in clear
after the answer to StartTLS end the connection, and so does everything that we did not ask for. The caller sets the time
limit; a connection that was left in the middle of an exchange is closed and never used again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from typing import cast

from mssgw.smime.directories import ldap_messages as messages
from mssgw.smime.directories.ldap_messages import Answer, LdapError

MAX_ENTRIES = 16  # of one search: a filter that finds more does not mean one recipient
MAX_OCTETS = 2 * 1024 * 1024  # of one search
MAX_REFERENCES = 64


class BindRefused(LdapError):
    """The name or the password is wrong, or not accepted in this way: trying again changes nothing."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where and how to reach one server. `tls` is None when everything goes in clear."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    immediate: bool  # TLS from the first octet (ldaps), not by StartTLS

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ldaps' if self.immediate else 'ldap'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are. Without name and `external` the search is anonymous."""

    name: str = ""
    password: bytes = b""
    external: bool = False


class Connection(asyncio.Protocol):
    """The protocol object. One question at a time; made by `connect`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answers: deque[Answer] = deque()
        self._unread = 0  # octets of answers since the last question
        self._waiter: asyncio.Future[None] | None = None
        self._gone = ""
        self._number = 0

    # what asyncio calls -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._gone:
            return
        self._buffer += data
        try:
            while (size := messages.frame(self._buffer)) and len(self._buffer) >= size:
                answer = messages.read(bytes(self._buffer[:size]))
                del self._buffer[:size]
                self._take(answer, size)
        except LdapError as error:
            self.close(str(error))

    def _take(self, answer: Answer, size: int) -> None:
        self._unread += size
        if answer.number == 0:  # RFC 4511 4.4: the notice of disconnection
            raise LdapError(f"it disconnected: {answer.problem}")
        if answer.number != self._number:
            raise LdapError("an answer to a question nobody asked")
        if self._unread > MAX_OCTETS or len(self._answers) > MAX_ENTRIES + MAX_REFERENCES + 1:
            raise LdapError("more answers than were asked for")
        self._answers.append(answer)
        self._wake()

    def eof_received(self) -> None:
        return None

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = self._gone or (reason(error) if error else "it closed the connection")
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # what the directory calls -------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Open, and nothing unread or half read."""
        return not self._gone and not self._buffer and not self._answers and self._transport is not None

    def close(self, why: str = "closed") -> None:
        self._gone = self._gone or why
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def leave(self) -> None:
        """Send UnbindRequest and close, without waiting."""
        if self.alive and self._transport is not None:
            self._transport.write(messages.unbind(self._number + 1))
        self.close()

    def _ask(self, octets: bytes) -> None:
        if self._transport is None or self._gone:
            raise LdapError(self._gone or "not connected")
        self._unread = 0
        self._transport.write(octets)

    async def _answer(self) -> Answer:
        while not self._answers:
            if self._gone:
                raise LdapError(self._gone)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._answers.popleft()

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def start_tls(self, server: Server) -> None:
        """RFC 4511 4.14, RFC 4513 3. Raises LdapError."""
        self._ask(messages.start_tls(self._next()))
        answer = await self._answer()
        if answer.kind != messages.EXTENDED_RESPONSE or answer.problem:
            raise LdapError(f"no StartTLS: {answer.problem or 'another answer'}")
        if not self.alive or self._transport is None:
            raise LdapError("data in clear behind the answer to StartTLS")
        transport = await asyncio.get_running_loop().start_tls(
            self._transport, self, cast("ssl.SSLContext", server.tls), server_hostname=server.host
        )
        if transport is None:
            raise LdapError("connection lost in the TLS handshake")
        self._transport = transport

    async def bind(self, login: Login) -> None:
        """Raises BindRefused, LdapError."""
        number = self._next()
        if login.external:
            self._ask(messages.external_bind(number))
        else:
            self._ask(messages.simple_bind(number, login.name, login.password))
        answer = await self._answer()
        if answer.kind != messages.BIND_RESPONSE:
            raise LdapError("not an answer to a bind")
        if answer.problem:
            kind = BindRefused if answer.code in messages.REFUSED_BINDS else LdapError
            raise kind(f"login refused, {answer.problem}")

    async def search(self, base: str, scope: str, condition: bytes, attributes: tuple[str, ...], seconds: int) -> list[Answer]:
        """The entries found, MAX_ENTRIES at most. Raises LdapError for everything that is not a clear answer."""
        number = self._next()
        self._ask(messages.search(number, base, scope, condition, attributes, entries=MAX_ENTRIES, seconds=seconds))
        found: list[Answer] = []
        references = 0
        while True:
            answer = await self._answer()
            if answer.kind == messages.SEARCH_ENTRY:
                found.append(answer)
            elif answer.kind == messages.SEARCH_REFERENCE:
                references += 1
            elif answer.kind == messages.SEARCH_DONE:
                break
            else:
                raise LdapError("not an answer to a search")
            if len(found) > MAX_ENTRIES or references > MAX_REFERENCES:
                raise LdapError("more entries than were asked for")
        if answer.code == messages.SIZE_LIMIT:
            raise LdapError(f"more than {len(found)} entries: the filter is too wide for one recipient")
        if answer.problem:
            raise LdapError(f"search refused, {answer.problem}")
        return found


async def connect(server: Server, login: Login) -> Connection:
    """Connect, TLS, log in. Raises LdapError with the reason for the log; cancelled, it leaves nothing open."""
    loop = asyncio.get_running_loop()
    connection = Connection()
    try:
        await loop.create_connection(
            lambda: connection,
            server.host,
            server.port,
            ssl=server.tls if server.immediate else None,
            server_hostname=server.host if server.immediate else None,
        )
        if server.tls and not server.immediate:
            await connection.start_tls(server)
        if login.name or login.external:
            await connection.bind(login)
    except (OSError, ssl.SSLError, ValueError) as error:  # ValueError: a host name that is none
        connection.close()
        raise LdapError(reason(error)) from error
    except BaseException:
        connection.close()
        raise
    return connection


def reason(error: BaseException) -> str:
    """One line for the log."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
