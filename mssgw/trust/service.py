"""Trust: the service of one worker. Sessions and flows ask it; its background task keeps the answers current.

    trust = Trust.of(config, clock, audit=...)     ConfigError when anchors or certificates can't be used
    await trust.start()                            the last good list from disk; the first one from its source
    group.create_task(trust.run())

    trust.require_listed(domain)                   RCPT: who serves it          NotTrusted 550 5.1.2
    trust.require(domain, der)                     MAIL FROM and header From    NotTrusted 550 5.7.1, 5.1.8
    trust.require_any(der)                         MAIL FROM:<>
    trust.require(domain, der, Step.RELAY)         before we hand mail to a server
    trust.validate                                 pki.judgement.Validate, for S/MIME

Every answer is an Operator or an exception, costs microseconds and never waits; each is a metric and an audit row.
Nothing fresh to judge by is Deferred: the peer, or our queue, keeps the mail.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final

from mssgw.core.address import Domain
from mssgw.core.clock import Clock
from mssgw.core.config import Config
from mssgw.core.config.trust import Trust as Settings
from mssgw.core.errors import ConfigError, MailError
from mssgw.core.failures import log_failure
from mssgw.core.texts import of_system
from mssgw.observe import Event, log
from mssgw.pki.certificates import Certificate
from mssgw.pki.judgement import Evidence, Purpose
from mssgw.pki.names import Name
from mssgw.trust import anchors, decisions, disk, feed, status
from mssgw.trust.anchors import Anchors
from mssgw.trust.contexts import Contexts
from mssgw.trust.decisions import Decision, Step, Tell
from mssgw.trust.faults import Fault, fault_of, refusal, rewritten
from mssgw.trust.feed import Feed
from mssgw.trust.fetch import Fetcher
from mssgw.trust.paths import Rules, Validator
from mssgw.trust.refresh import ListKeeper
from mssgw.trust.revocation import Ledger, Rule
from mssgw.trust.space import Operator, TrustSpace
from mssgw.trust.tls import Identity

TICK: Final = 2.0  # seconds between looks at the disk and at what is due
START_SECONDS: Final = 20.0


class Trust:
    def __init__(
        self,
        settings: Settings,
        directory: Path,
        clock: Clock,
        *,
        contexts: Contexts | None = None,
        our_certificates: Iterable[Path] = (),
        audit: Tell | None = None,
    ) -> None:
        """`directory`: of this node, shared by its workers. `our_certificates`: PEM files whose CRLs are fetched beforehand."""
        self.settings = settings
        self.clock = clock
        self.audit = audit
        self.ledger = Ledger(clock)
        self.anchors = _anchors(settings)
        self.validator = Validator(self.anchors, self.ledger, clock, rules(settings))
        never = Rule("none")
        self._adopted = Validator(self.anchors, self.ledger, clock, Rules(never, never, never))
        for name, why in self.anchors.left_out:
            log(Event.TRUST_ANCHOR_LEFT_OUT, level="warning", authority=name, reason=why)
        self.tls = contexts or Contexts(self.anchors)
        self._directory = directory
        self._ours = tuple(our_certificates)
        self._fetcher = Fetcher(clock, _web_context(self.anchors), settings.proxy)
        self.keeper = ListKeeper(settings, directory, clock, self._fetcher, audit)
        self.feed = Feed(
            directory,
            clock,
            self._fetcher,
            self.ledger,
            urls=(*settings.crl_urls, *feed.known_urls(settings.pki)),
            refresh_seconds=settings.crl_refresh_seconds,
            ocsp=settings.ocsp,
        )

    @classmethod
    def of(cls, config: Config, clock: Clock, audit: Tell | None = None) -> Trust:
        """From the whole configuration. Raises ConfigError."""
        relay, clients, others = _identities(config)
        contexts = Contexts(
            _anchors(config.trust),
            relay=relay,
            clients=clients,
            others=others,
            tls13_only=config.trust.tls13_only,
            cbc=config.trust.cbc_suites,
            hospital_ca=config.hospital.client_ca if config.hospital else None,
        )
        contexts.require_usable()
        ours = [identity.certificate for identity in (relay, clients) if identity]
        ours += [domain.certificate for domain in config.domain if domain.certificate]
        return cls(config.trust, config.node.data / "trust", clock, contexts=contexts, our_certificates=ours, audit=audit)

    # -- questions -------------------------------------------------------------------------------------------------

    @property
    def space(self) -> TrustSpace:
        """The list in force. Raises Deferred when there is none, or it is too old."""
        return self.keeper.space()

    def validate(self, encoded: bytes, purpose: Purpose, at: datetime) -> Evidence:
        """pki.judgement.Validate."""
        return self.validator(encoded, purpose, at)

    def runs(self, structure: Name, domain: Domain) -> datetime | None:
        """When the list was made that says that this structure runs the domain; None when none says so, or none is in force."""
        try:
            space = self.space
        except MailError:
            return None
        return space.generated_at if space.runs(structure, domain) else None

    def require_listed(self, domain: Domain, step: Step = Step.RCPT) -> tuple[Operator, ...]:
        """The operators of a listed domain. Raises NotTrusted (550 5.1.2, naming it) or Deferred."""
        try:
            found = self.space.require_listed(domain)
        except MailError as error:
            self._tell(decisions.refused(step, error, domain=domain))
            raise
        self._tell(Decision(step, "trusted", "ok", domain))
        return found

    def require(self, domain: Domain, certificate: bytes | None, step: Step = Step.MAIL) -> Operator:
        """The operator that has this certificate and is listed for this very domain. Raises NotTrusted or Deferred."""
        try:
            presented = self._presented(certificate, step)
            operator = self.space.require(domain, presented)
        except MailError as error:
            self._tell(decisions.refused(step, error, domain=domain, certificate=_fingerprint(certificate)))
            if step is not Step.RELAY and fault_of(error) is Fault.UNLISTED:  # the sender's domain, RFC 3463 3.2
                raise rewritten(error, "5.1.8") from error
            raise
        self._tell(Decision(step, "trusted", "ok", domain, operator.id, _fingerprint(certificate)))
        return operator

    def require_any(self, certificate: bytes | None, step: Step = Step.NULL) -> Operator:
        """The listed operator that has this certificate, for the null sender. Raises NotTrusted or Deferred."""
        try:
            operator = self.space.require_any(self._presented(certificate, step))
        except MailError as error:
            self._tell(decisions.refused(step, error, certificate=_fingerprint(certificate)))
            raise
        self._tell(Decision(step, "trusted", "ok", "", operator.id, _fingerprint(certificate)))
        return operator

    def _presented(self, certificate: bytes | None, step: Step) -> Name:
        if certificate is None:
            raise refusal(Fault.NO_CERTIFICATE)
        self.validator(certificate, step.purpose, self.clock.now())
        return _subject(certificate)

    def _tell(self, decision: Decision) -> None:
        decisions.tell(decision, self.audit)

    # -- background ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what is on disk; without a list there, wait a little for the first one. Never raises for its absence."""
        for path in self._ours:
            self._learn(path)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.tick()
                while self.keeper.whitelist is None and self._fetcher.waits_until(self.settings.whitelist_url) is None:
                    await asyncio.sleep(0.1)  # another worker is fetching it
                    await self.tick()
        except TimeoutError:
            return

    async def run(self) -> None:
        """Until cancelled: keep list, CRLs, OCSP answers and TLS contexts current."""
        while True:
            try:
                await self.tick()
            except Exception as error:  # a bug must not end the background task: what it keeps stays valid meanwhile
                log_failure(error)
            await self.clock.sleep(TICK)

    async def tick(self) -> None:
        """Once: follow the disk, fetch what is due, swap contexts."""
        await self._load()
        with disk.lock(self._directory) as ours:
            if ours:
                await self._load()  # what another worker wrote meanwhile
                self.keeper.audit_override()
                await self.feed.refresh(self.validator)
                if self.keeper.due():
                    await self.keeper.refresh(self.validator, self._supply)
                    await self.feed.refresh(self.validator)
                status.note(self._directory, self._fetcher, self.feed, self.ledger)
        await self.feed.ask(self.validator)
        self.keeper.watch_age()
        self.tls.follow((self.ledger.version, self.anchors.version))

    async def _load(self) -> None:
        await self.feed.load(self.validator)
        await self.keeper.load(self.validator, self._adopted)
        self.keeper.confirmed_elsewhere()

    async def _supply(self) -> None:
        await self.feed.refresh(self.validator)
        await self.feed.ask(self.validator)

    def _learn(self, path: Path) -> None:
        """Judge our own certificate, so that its CRLs are fetched before a peer of the same authority comes."""
        try:
            for certificate in anchors.read_file(path, lenient=True):
                self.feed.know(certificate.crl_urls)
        except OSError:
            return  # the code that uses the file reports what is wrong with it


def _identities(config: Config) -> tuple[Identity | None, Identity | None, list[Identity]]:
    """Relay's, clients', and what domains show by SNI. Raises ConfigError when a credential of systemd is not there."""
    try:
        relay = Identity(config.relay.certificate, config.relay.key.path) if config.relay else None
        clients = Identity(config.clients.certificate, config.clients.key.path) if config.clients else None
        others = [
            Identity(domain.tls_certificate, domain.tls_key.path) for domain in config.domain if domain.tls_certificate and domain.tls_key
        ]
    except OSError as error:
        raise ConfigError([("", of_system(error))]) from error
    return relay, clients, others


def rules(settings: Settings) -> Rules:
    grace, grace_mail = timedelta(hours=settings.grace_hours), timedelta(hours=settings.grace_hours_mail)
    return Rules(
        peers=Rule(settings.revocation, grace),
        mail=Rule(settings.revocation_mail or settings.revocation, grace_mail),
        signer=Rule(settings.revocation_list or settings.revocation, grace),
    )


def _anchors(settings: Settings) -> Anchors:
    return anchors.load(settings.anchors, settings.pki, settings.anchor_fingerprints)


def _web_context(pinned: Anchors) -> ssl.SSLContext:
    """For https sources: the official host has a certificate of IGC-Santé, which no system trusts by itself."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=pinned.pem())
    return context


@lru_cache(maxsize=1024)
def _subject(certificate: bytes) -> Name:
    """The subject of a certificate that was judged already."""
    return Certificate.read(certificate).subject


def _fingerprint(certificate: bytes | None) -> str:
    return _digest(certificate) if certificate else ""


@lru_cache(maxsize=256)  # also of unknown peers, 64 kB each
def _digest(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()
