"""LdapDirectory: recipients' certificates from a directory over LDAP (RFC 4511, RFC 4523, RFC 2798 2.8), asked when they are needed.

    fresh answer in memory     ──▶ it is returned
    otherwise                  ──▶ one query per address, shared by all who wait ──▶ servers in order, each with its time limit
    no server answers          ──▶ the last answer, for `stale_seconds`; none: DirectoryUnavailable, a 451

What is found is only a candidate: `pki.judgement.Validate` judges it as any other. But a certificate that carries addresses
must carry the recipient's, and one without any counts as theirs only when TLS has verified the server and the entry
is theirs: it has their address, or it has none and is the only answer.

A server that fails is not asked again for a second, then two, up to a minute; one that refuses our login for five minutes,
because some lock the account.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from mssgw.core.address import Address, AddressError
from mssgw.core.config import ldap_filter
from mssgw.core.config.ldap import Ldap, require_url
from mssgw.core.errors import ConfigError, Problem
from mssgw.core.failures import log_failure
from mssgw.core.texts import Message, message, of_system
from mssgw.observe import Event, log
from mssgw.pki import der
from mssgw.pki.certificates import MAX_OCTETS
from mssgw.smime.cms import verifying
from mssgw.smime.directories import ldap_messages as messages
from mssgw.smime.directories.candidate import Candidate
from mssgw.smime.directories.ldap_connection import BindRefused, Connection, Login, Server, connect, reason
from mssgw.smime.directories.ldap_messages import Answer, LdapError
from mssgw.smime.errors import DirectoryUnavailable, SmimeError
from mssgw.smime.keys.certificates import Certificate, certificate
from mssgw.smime.pool import run
from mssgw.smime.wire import oids
from mssgw.smime.wire.ber import BerError, Stream

FIRST_PAUSE, LONGEST_PAUSE, BIND_PAUSE = 1.0, 60.0, 300.0  # seconds
IDLE: Final = 10.0  # seconds a connection is kept for the next question
MAX_CACHED: Final = 4096  # addresses
MAX_CERTIFICATES: Final = 32  # of one address
MAIL: Final = frozenset(("mail", "rfc822mailbox", "0.9.2342.19200300.100.1.3"))  # one attribute, whatever name a server gives it

Found = tuple[Candidate, ...]


@dataclass(slots=True)
class _Standing:
    """One server, and its recent failures."""

    server: Server
    failures: int = 0
    paused_until: float = 0.0
    idle: list[tuple[Connection, asyncio.TimerHandle]] = field(default_factory=list)

    def take(self) -> Connection | None:
        """A connection that is still open, if there is one."""
        while self.idle:
            connection, timer = self.idle.pop()
            timer.cancel()
            if connection.alive:
                return connection
            connection.close()
        return None

    def keep(self, connection: Connection) -> None:
        def expire() -> None:
            self.idle.remove(held)
            connection.leave()

        held = connection, asyncio.get_running_loop().call_later(IDLE, expire)
        self.idle.append(held)

    def close(self) -> None:
        for connection, timer in self.idle:
            timer.cancel()
            connection.leave()
        self.idle.clear()


@dataclass(slots=True)
class _Known:
    found: Found
    fresh_until: float
    stale_until: float


class LdapDirectory:
    """One directory with its servers. Belongs to one event loop; `close` closes its connections."""

    def __init__(self, settings: Ldap, place: str = "ldap", *, clock: Callable[[], float] = time.monotonic) -> None:
        """`place` is where the settings stand, for messages. Raises ConfigError with everything that is wrong."""
        self._settings, self._place, self._clock = settings, place, clock
        problems: list[Problem] = []
        self._filter = ldap_filter.parse(settings.filter)
        context = _context(settings, place, problems)
        if problems:
            raise ConfigError(problems)
        self._servers = [_Standing(_server(url, context, settings.starttls)) for url in settings.urls]
        self._addresses = MAIL.union(_bare(name) for name in settings.address_attributes)
        self._attributes = (*settings.attributes, "mail", *settings.address_attributes)
        self._vouched = all(one.server.tls is not None for one in self._servers)
        self._slots = asyncio.Semaphore(settings.connections)
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._flights: dict[str, asyncio.Task[Found]] = {}

    async def find(self, who: Address) -> Found:
        """The certificates that the directory gives to an address, newest first. Raises DirectoryUnavailable."""
        if self._settings.domains and who.domain not in self._settings.domains:
            return ()
        key = who.key
        known = self._known.get(key)
        if known and self._clock() < known.fresh_until:
            return known.found
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.get_running_loop().create_task(self._fly(who))
            flight.add_done_callback(lambda done: self._landed(key, done))
        try:
            return await asyncio.shield(flight)
        except DirectoryUnavailable:
            if known and known.found and self._clock() < known.stale_until:
                return known.found
            raise

    def _landed(self, key: str, flight: asyncio.Task[Found]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # those who wait get the error; when nobody waits any more, it is not reported as unhandled

    def close(self) -> None:
        """Close idle connections. Queries in progress are finished: a reload takes nothing from mail in progress."""
        for standing in self._servers:
            standing.close()

    async def look(self) -> None:
        """Log what is wrong before the first message needs the directory. Raises nothing, and mail does not wait for it."""
        try:
            for problem in await self.problems():
                log(Event.SMIME_LDAP_FAILED, "error", directory=self._place, reason=problem)
        except Exception as error:
            log_failure(error)

    async def problems(self) -> list[str]:
        """What keeps the servers from answering: a sentence each. Reads the base, changes nothing."""
        found = []
        for standing in self._servers:
            try:
                async with asyncio.timeout(self._settings.timeout_seconds):
                    connection = await connect(standing.server, self._login())
                    try:
                        if not await connection.search(self._settings.base, "base", messages.EVERYTHING, ("1.1",), 5):
                            raise LdapError(f"{self._place}.base: there is no {self._settings.base}, or we may not see it")
                    finally:
                        connection.leave()
            except (LdapError, OSError, TimeoutError) as error:
                found.append(f"{standing.server}: {_sentence(error)}")
        return found

    # --- one question

    async def _fly(self, who: Address) -> Found:
        found = await run(None, candidates, await self._ask(who), who, self._vouched, self._addresses)
        life = self._settings.cache_seconds if found else self._settings.cache_absent_seconds
        now = self._clock()
        self._known[who.key] = _Known(found, now + life, now + self._settings.stale_seconds)
        self._known.move_to_end(who.key)
        while len(self._known) > MAX_CACHED:
            self._known.popitem(last=False)
        return found

    async def _ask(self, who: Address) -> list[Answer]:
        """The entries of an address, from the first server that answers. Raises DirectoryUnavailable."""
        seconds = self._settings.timeout_seconds
        why = "all servers are left alone for a while after errors"
        try:
            async with asyncio.timeout(seconds * (len(self._servers) + 1)), self._slots:
                for standing in self._servers:
                    if self._clock() < standing.paused_until:
                        continue
                    try:
                        async with asyncio.timeout(seconds):
                            return await self._search(standing, who)
                    except (LdapError, OSError, TimeoutError) as error:
                        why = self._failed(standing, error)
        except TimeoutError:
            why = "too many questions wait for it"
        raise DirectoryUnavailable(required=self._settings.required, detail=f"{self._place}: {why}")

    async def _search(self, standing: _Standing, who: Address) -> list[Answer]:
        while True:
            connection = standing.take()
            reused = connection is not None
            if connection is None:
                connection = await connect(standing.server, self._login())
            try:
                found = await connection.search(
                    self._settings.base,
                    self._settings.scope,
                    messages.fill(self._filter, who),
                    self._attributes,
                    self._settings.timeout_seconds,
                )
            except BaseException as error:
                lost = isinstance(error, LdapError) and not connection.alive
                connection.close()
                if reused and lost:
                    continue  # the server closed it while it was idle
                raise
            standing.keep(connection)
            standing.failures, standing.paused_until = 0, 0.0
            return found

    def _login(self) -> Login:
        settings = self._settings
        if settings.password:
            return Login(settings.bind_dn, settings.password.read().rstrip(b"\r\n"))
        return Login(external=settings.certificate is not None)

    def _failed(self, standing: _Standing, error: Exception) -> str:
        why = f"{standing.server}: {_sentence(error)}"
        pause = BIND_PAUSE if isinstance(error, BindRefused) else min(FIRST_PAUSE * 2 ** min(standing.failures, 8), LONGEST_PAUSE)
        standing.failures += 1
        standing.paused_until = self._clock() + pause
        standing.close()
        log(Event.SMIME_LDAP_FAILED, "error", directory=self._place, server=str(standing.server), reason=_sentence(error), pause=pause)
        return why


def _sentence(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) if isinstance(error, LdapError) else reason(error)


def directories(settings: Sequence[Ldap]) -> tuple[LdapDirectory, ...]:
    """Every [[ldap]]. Raises ConfigError with all that is wrong in them; asks no server."""
    made, problems = [], []
    for index, one in enumerate(settings):
        try:
            made.append(LdapDirectory(one, f"ldap[{index}]"))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return tuple(made)


def _context(settings: Ldap, place: str, problems: list[Problem]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies, and knows only what we give it
        try:
            context.load_verify_locations(settings.ca)
        except (OSError, ssl.SSLError) as error:
            problems.append((f"{place}.ca", message("at", place=settings.ca, what=_file_problem(error))))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.certificate and settings.key:
        try:
            context.load_cert_chain(settings.certificate, settings.key.path)
        except (OSError, ssl.SSLError) as error:
            problems.append((f"{place}.certificate", message("at", place=settings.certificate, what=_file_problem(error))))
    return context


def _file_problem(error: OSError) -> Message:
    if isinstance(error, ssl.SSLError):
        return message("config.other-key" if "MISMATCH" in str(error) else "config.no-pem")
    return of_system(error)


def _server(url: str, context: ssl.SSLContext, starttls: bool) -> Server:
    scheme, host, port = require_url(url)
    immediate = scheme == "ldaps"
    return Server(host, port, context if immediate or starttls else None, immediate)


# --- what entries hold --------------------------------------------------------------------------------------------------


def candidates(entries: Sequence[Answer], who: Address, vouched: bool, addresses: frozenset[str] = MAIL) -> Found:
    """The certificates in some entries that may be this recipient's, newest first.

    `vouched`: TLS has verified the server; without that a certificate must carry the address. `addresses` are
    the attributes (in lower case) in which an entry has its address; all others hold certificates.
    """
    found: dict[bytes, Candidate] = {}
    unreadable = 0
    for entry in entries:
        trusted = vouched and _is_of(entry, who, addresses, alone=len(entries) == 1)
        for value in (value for name, values in entry.values.items() if name not in addresses for value in values):
            try:
                held, said = _read(value)
            except (SmimeError, der.DerError):
                unreadable += 1
                continue
            for one in held[:MAX_CERTIFICATES]:
                if _may_be(one, who, trusted) and (one.der not in found or said):
                    found[one.der] = Candidate(one.der, "ldap", said)
    if unreadable:
        log(Event.SMIME_DIRECTORY, "error", path="ldap", reason=f"{unreadable} values are neither certificates nor SignedData")
    return tuple(sorted(found.values(), key=_since, reverse=True)[:MAX_CERTIFICATES])


def _is_of(entry: Answer, who: Address, addresses: frozenset[str], *, alone: bool) -> bool:
    """Whether an entry is this recipient's, whatever the operator's filter let through: a filter may be wider than it looks."""
    said = [value for name in addresses for value in entry.values.get(name, ())]
    return any(_names(value, who) for value in said) if said else alone


def _names(value: bytes, who: Address) -> bool:
    """The value is the address; Active Directory's proxyAddresses put `smtp:` before it."""
    text = value.decode(errors="replace")
    try:
        return Address.parse(text[5:] if text[:5].lower() == "smtp:" else text).key == who.key
    except AddressError:
        return False


def _bare(attribute: str) -> str:
    """As the names of an `Answer` are: lower case, without options."""
    return attribute.partition(";")[0].lower()


def _read(value: bytes) -> tuple[Sequence[Certificate], bytes | None]:
    """(certificates, capabilities) of a userCertificate or a userSMIMECertificate (RFC 2798 2.8). Raises SmimeError, DerError."""
    if len(value) > MAX_OCTETS * 4:
        raise der.DerError("too large")
    if oids.SIGNED_DATA not in value[:32]:
        one = certificate(value)
        one.parsed  # noqa: B018 - raises when it can't be read
        return (one,), None
    try:
        content = verifying.read(Stream([value]), lambda _: None)
    except BerError as error:
        raise der.DerError(str(error)) from error
    held = []
    for octets in content.certificates:
        one = certificate(octets)
        one.parsed  # noqa: B018
        held.append(one)
    return held, _said(content)


def _said(content: verifying.SignedContent) -> bytes | None:
    """The holder's capabilities, when they signed them."""
    if not content.inside:
        hashing = verifying.Hashing(content.digest_identifiers)
        hashing.fill(content)
    try:
        checks = verifying.signatures(content)
    except (SmimeError, der.DerError):
        return None
    return checks[0].capabilities if len(checks) == 1 and checks[0].problem is None else None


def _may_be(one: Certificate, who: Address, trusted: bool) -> bool:
    try:
        addresses = {address.key for address in one.addresses}
        one.require_encryption_use()
    except SmimeError:
        return False
    return who.key in addresses if addresses else trusted


def _since(one: Candidate) -> datetime:
    try:
        return certificate(one.certificate).parsed.not_valid_before_utc
    except SmimeError:
        return datetime.min.replace(tzinfo=UTC)
