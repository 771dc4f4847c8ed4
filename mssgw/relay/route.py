"""Where mail for a domain goes: a static route, else its MX records, else its own addresses (RFC 5321 5.1).

    [[route]] in the configuration          that host and port, nothing else
    MX records                              by preference, equal ones in random order, each with its addresses
    no MX record                            the domain's own A and AAAA records
    one MX record "."                       permanent: it takes no mail (RFC 7505)
    no such domain, or neither MX nor A     permanent
    no answer, SERVFAIL, a broken answer    temporary: unknown means temporary

When we are among the hosts, we and all less preferred ones are left out, else mail would run in
circles; when nothing is left it is a configuration mistake and permanent.

Answers are kept for their TTL, within bounds; so are permanent refusals, for the shorter bound.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver
from dns.rdtypes.ANY.MX import MX

from mssgw.core.address import Domain
from mssgw.core.clock import Clock
from mssgw.core.config.domain import Route
from mssgw.core.errors import Deferred, MailError, Refused
from mssgw.relay.client import Target

KEEP_AT_LEAST = 60  # seconds, whatever the TTL
KEEP_AT_MOST = 3600
LOOKUP_SECONDS = 30
MAX_HOSTS = 20  # MX records looked at
MAX_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    """What we know of a domain until a time: hosts with equal preference together, or why there are none."""

    until: datetime
    groups: tuple[tuple[Target, ...], ...] = ()
    refusal: MailError | None = None


class Router:
    def __init__(
        self,
        routes: Iterable[Route],
        clock: Clock,
        *,
        port: int = 25,
        ourselves: Collection[str] = (),
        name_servers: Collection[str] = (),
        resolver: dns.asyncresolver.Resolver | None = None,
    ) -> None:
        """`ourselves`: our host names, and our addresses where they listen on `port`. `name_servers`: empty takes the system's."""
        self._static = {route.domain: Target(route.host, route.port) for route in routes}
        self._clock, self._port = clock, port
        self._ourselves = {name.lower().rstrip(".") for name in ourselves}
        self._name_servers, self._resolver = list(name_servers), resolver
        self._known: dict[Domain, _Known] = {}

    async def targets(self, domain: Domain) -> tuple[Target, ...]:
        """Addresses to try, best first. Raises Refused or Deferred."""
        if static := self._static.get(domain):
            return (static,)
        known = self._known.get(domain)
        if known is None or known.until <= self._clock.now():
            known = await self._look_up(domain)
            if len(self._known) >= MAX_CACHED:
                self._known.clear()
            self._known[domain] = known
        if known.refusal:
            raise known.refusal.with_traceback(None)
        return tuple(target for group in known.groups for target in random.sample(group, len(group)))  # RFC 5321 5.1

    async def _look_up(self, domain: Domain) -> _Known:
        try:
            groups, ttl = await self._groups(domain)
        except Refused as refusal:
            return _Known(self._clock.now() + timedelta(seconds=KEEP_AT_LEAST), refusal=refusal)
        return _Known(self._clock.now() + timedelta(seconds=max(KEEP_AT_LEAST, min(ttl, KEEP_AT_MOST))), groups)

    async def _groups(self, domain: Domain) -> tuple[tuple[tuple[Target, ...], ...], int]:
        hosts, ttl = await self._hosts(domain)
        groups: list[tuple[Target, ...]] = []
        unknown: Deferred | None = None
        turns_back = False
        for _, equal in groupby(hosts, key=lambda one: one[0]):
            found: list[Target] = []
            names = [host for _, host in equal]
            for host in names:
                try:
                    addresses, life = await self._addresses(host)
                except Deferred as error:
                    unknown = error
                    continue
                ttl = min(ttl, life) if addresses else ttl
                found += [Target(host, self._port, address) for address in addresses]
            if self._ourselves.intersection([*names, *(target.address for target in found if target.address)]):
                turns_back = True
                break  # RFC 5321 5.1: us and everything behind us
            if found:
                groups.append(tuple(found))
        if groups:
            return tuple(groups), ttl
        if unknown:
            raise unknown
        if turns_back:
            raise Refused(f"The mail servers of {domain} lead back to this one", enhanced="5.4.6")
        raise Refused(f"The domain {domain} has no mail server with an address", enhanced="5.4.4")

    async def _hosts(self, domain: Domain) -> tuple[list[tuple[int, str]], int]:
        """(preference, host), best first."""
        answer = await self._ask(domain, "MX", domain)
        if answer is None:
            return [(0, str(domain))], KEEP_AT_MOST  # RFC 5321 5.1: the implicit MX
        records = [record for record in answer if isinstance(record, MX)]
        if [record.exchange for record in records] == [dns.name.root]:
            raise Refused(f"The domain {domain} takes no mail (null MX)", code=556, enhanced="5.1.10")  # RFC 7505 4.2
        hosts = [
            (record.preference, record.exchange.to_text(omit_final_dot=True).lower())
            for record in records
            if record.exchange != dns.name.root
        ]
        return sorted(hosts)[:MAX_HOSTS], int(answer.rrset.ttl if answer.rrset is not None else 0)

    async def _addresses(self, host: str) -> tuple[list[str], int]:
        """IPv6 and IPv4 addresses; none when the name doesn't exist. Raises Deferred when nothing is known."""
        found: list[str] = []
        ttl, unknown = KEEP_AT_MOST, None
        for kind in ("AAAA", "A"):
            try:
                answer = await self._ask(host, kind, host)
            except Refused:
                return [], ttl
            except Deferred as error:
                unknown = error
                continue
            if answer is not None:
                found += [record.to_text() for record in answer]
                ttl = min(ttl, int(answer.rrset.ttl if answer.rrset is not None else 0))
        if unknown and not found:
            raise unknown
        return found, ttl

    async def _ask(self, name: str, kind: str, about: str) -> dns.resolver.Answer | None:
        """The answer, or None when the name has no such record. Raises Refused (no such name) or Deferred."""
        try:
            if self._resolver is None:  # made when first needed: a machine with static routes only may have no resolv.conf
                self._resolver = dns.asyncresolver.Resolver(configure=not self._name_servers)
                self._resolver.nameservers = self._name_servers or self._resolver.nameservers
            return await self._resolver.resolve(dns.name.from_text(name), kind, lifetime=LOOKUP_SECONDS, search=False)
        except dns.resolver.NoAnswer:
            return None
        except dns.resolver.NXDOMAIN:
            raise Refused(f"The domain {about} does not exist", enhanced="5.1.2") from None
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise Deferred(f"No answer from DNS about {about}", enhanced="4.4.3", detail=type(error).__name__) from error
