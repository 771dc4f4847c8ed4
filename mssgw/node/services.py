"""Services: what the edges call, built from one Config and replaced as a whole at a reload.

Holds no socket. The store and the logins outlive it: a reload builds a second Services on the same store, and the first
one is dropped when its tasks have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from mssgw import relay
from mssgw.core import owner
from mssgw.core.address import Address, Domain
from mssgw.core.clock import Clock
from mssgw.core.config import Config
from mssgw.core.errors import ConfigError, Problem
from mssgw.core.texts import message
from mssgw.flow.binding import of_accounts, of_whitelist
from mssgw.flow.bounce import Reports
from mssgw.flow.delivery import LocalDelivery
from mssgw.flow.inbound import Inbound
from mssgw.flow.journal import DecisionAudit
from mssgw.flow.keyring import Both, FileKeys, StoreKeys
from mssgw.flow.lookup import Learned, Lookup
from mssgw.flow.protection import Protection
from mssgw.flow.resources import Resources
from mssgw.flow.sender import Sender
from mssgw.flow.submission import HospitalRelay, Submission
from mssgw.flow.watch import Broken, Own, Watch
from mssgw.smime import Identity, fitness, identity, key_at, load_certificates
from mssgw.smime.cms.signed import Signer
from mssgw.smime.directories.binding import ask_all
from mssgw.smime.directories.files import CertificateFiles, Unread, identities
from mssgw.smime.directories.ldap import LdapDirectory, directories
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.keys.files import holder_first
from mssgw.store import Store
from mssgw.trust import Step, Trust


@dataclass(frozen=True)
class Services:
    config: Config
    trust: Trust
    inbound: Inbound
    submission: Submission
    hospital: HospitalRelay | None
    sender: Sender | None
    learned: Learned
    stored: StoreKeys
    watch: Watch
    directories: tuple[LdapDirectory, ...] = ()

    @classmethod
    async def of(cls, config: Config, store: Store, clock: Clock) -> Services:
        """Build everything and load the trust space. Raises ConfigError with every file that can't be used."""
        trust = Trust.of(config, clock, audit=DecisionAudit(store))
        files = CertificateFiles(config.smime.recipients) if config.smime.recipients else None
        learned, ldap = Learned(store), directories(config.ldap)
        stored = StoreKeys(store, config.smime)
        now = clock.now()
        sealing, of_files = seals(config, now), await asyncio.to_thread(persons, config, now)
        protection = Protection.of(
            config,
            clock,
            trust.validate,
            sealing,
            keys=Both(stored, FileKeys(of_files)),
            lookup=Lookup(files, learned, ldap),
            directory=ask_all(*([files.binds] if files else []), of_accounts(store), of_whitelist(trust.runs)),
        )
        resources = Resources.of(config, store, clock, protection)
        await trust.start()
        return cls(
            config,
            trust,
            Inbound(resources, trust),
            Submission(resources, trust),
            HospitalRelay(resources, trust, config.hospital) if config.hospital else None,
            sender(config, store, clock, trust) if config.relay else None,
            learned,
            stored,
            Watch(config, store, clock, trust.validate, partial(own_certificates, config, sealing, of_files, clock)),
            ldap,
        )

    async def run(self) -> None:
        """The background: trust space and sender, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.trust.run())
                group.create_task(self.watch.run())
                for directory in self.directories:
                    group.create_task(directory.look())
                if self.sender:
                    group.create_task(self.sender.run())
        finally:
            self.close()

    def close(self) -> None:
        """What `of` opened: threads and connections."""
        self.learned.close()
        self.stored.close()
        for directory in self.directories:
            directory.close()


def sender(config: Config, store: Store, clock: Clock, trust: Trust) -> Sender:
    carrier = relay.outbound(config, clock, trust.tls.relay_client, partial(trust.require, step=Step.RELAY))
    return Sender(config, store, clock, carrier, Reports(config, store, clock, LocalDelivery(config, store)), trust.require_listed)


def seals(config: Config, now: datetime) -> dict[Domain, Identity]:
    """The organisations' certificates and keys. Raises ConfigError."""
    found: dict[Domain, Identity] = {}
    problems: list[Problem] = []
    for index, domain in enumerate(config.domain):
        if domain.certificate and domain.key:
            try:
                certificates = load_certificates(domain.certificate.read_bytes())
                own = holder_first(certificates, now)[0]
                seal = identity(certificates, key_at(domain.key, own, config.smime), now)
                if domain.sign != "never":
                    _require_signer(seal, now, pss=config.smime.pss)
                found[domain.name] = seal
            except (OSError, SmimeError) as error:
                what = owner.of_public(error, domain.certificate) if isinstance(error, OSError) else message("words", words=str(error))
                problems.append((f"domain[{index}].certificate", message("at", place=domain.certificate, what=what)))
    if problems:
        raise ConfigError(problems)
    return found


def own_certificates(
    config: Config, sealing: Mapping[Domain, Identity], of_files: Sequence[Identity | Unread], clock: Clock
) -> list[Own | Broken]:
    """What is watched beside the identities in the store. What can't be read is reported by those who use it."""
    shown = [table.certificate for table in (config.relay, config.clients) if table]
    shown += [domain.tls_certificate for domain in config.domain if domain.tls_certificate]
    found = [Own("seal", one.certificate) for one in sealing.values()]
    for path in shown:
        with suppress(OSError, SmimeError):
            found.append(Own("tls", holder_first(load_certificates(path.read_bytes()), clock.now())[0]))
    for one in of_files:
        if isinstance(one, Identity):
            with suppress(SmimeError):
                found.append(Own("identity", one.certificate, next(iter(one.certificate.addresses), None)))
    broken = [Broken(str(one.path), one.why, _only(one.owners), "") for one in of_files if isinstance(one, Unread)]
    return [*{one.certificate: one for one in found}.values(), *broken]


def _only(owners: frozenset[str] | None) -> Address | None:
    return Address.parse(next(iter(owners))) if owners else None


def _require_signer(seal: Identity, now: datetime, *, pss: bool) -> None:
    """Finds a seal that readers would refuse before any mail is signed with it. Raises SmimeError."""
    Signer(seal, pss=pss)
    for doubt in fitness.doubts(seal.certificate, "sign", now):
        if doubt.word == "purpose":
            raise SmimeError(Reason.USAGE, f"made for {doubt.facts['purposes']}, not for mail (emailProtection)")
        if doubt.word == "authority":
            raise SmimeError(Reason.USAGE, "an authority's certificate, not a service's")


def persons(config: Config, now: datetime) -> tuple[Identity | Unread, ...]:
    return tuple(identities(config.smime.identities, now)) if config.smime.identities else ()
