"""Services: what the edges call, built from one Config and replaced as a whole at a reload.

Holds no socket. The store and the logins outlive it: a reload builds a second Services on the same store, and the first
one is let go when its tasks have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from mssgw import relay
from mssgw.core.address import Address, Domain
from mssgw.core.clock import Clock
from mssgw.core.config import Config
from mssgw.core.errors import ConfigError
from mssgw.flow.bounce import Reports
from mssgw.flow.delivery import LocalDelivery
from mssgw.flow.inbound import Inbound
from mssgw.flow.protection import Protection
from mssgw.flow.sender import Sender
from mssgw.flow.submission import HospitalRelay, House, Submission
from mssgw.observe import log_bug
from mssgw.smime import Candidate, Identity, fitness, identity, key_at, load_certificates, no_directory
from mssgw.smime.cms.signed import Signer
from mssgw.smime.directories.files import CertificateFiles, identities
from mssgw.smime.directories.ldap import LdapDirectory, directories
from mssgw.smime.errors import DirectoryUnavailable, Reason, SmimeError
from mssgw.store import Store, Transaction, audit, certificates
from mssgw.trust import Decision, Step, Trust

REMEMBERED = 4096  # addresses whose certificates are not read again for each message


@dataclass(frozen=True)
class Services:
    config: Config
    trust: Trust
    inbound: Inbound
    submission: Submission
    hospital: HospitalRelay | None
    sender: Sender | None
    learned: Learned
    directories: tuple[LdapDirectory, ...] = ()

    @classmethod
    async def of(cls, config: Config, store: Store, clock: Clock) -> Services:
        """Build everything and load the trust space. Raises ConfigError with every file that can't be used."""
        trust = Trust.of(config, clock, audit=DecisionAudit(store))
        files = CertificateFiles(config.smime.recipients) if config.smime.recipients else None
        learned, ldap = Learned(store), directories(config.ldap)
        protection = Protection.of(
            config, clock, trust.validate, seals(config), readers=persons(config), lookup=Lookup(files, learned, ldap),
            directory=files.holder if files else no_directory)
        house = House.of(config, store, clock, protection)
        await trust.start()
        return cls(
            config, trust, Inbound(house, trust), Submission(house, trust),
            HospitalRelay(house, trust, config.hospital) if config.hospital else None,
            sender(config, store, clock, trust) if config.relay else None,
            learned, ldap,
        )

    async def run(self) -> None:
        """The background: trust space and sender, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.trust.run())
                for directory in self.directories:
                    group.create_task(directory.look())
                if self.sender:
                    group.create_task(self.sender.run())
        finally:
            self.learned.close()
            for directory in self.directories:
                directory.close()


def sender(config: Config, store: Store, clock: Clock, trust: Trust) -> Sender:
    carrier = relay.outbound(config, clock, trust.tls.relay_client, partial(trust.require, step=Step.RELAY))
    return Sender(config, store, clock, carrier, Reports(config, store, clock, LocalDelivery(config, store)), trust.require_listed)


def seals(config: Config) -> dict[Domain, Identity]:
    """The organisations' certificates and keys. Raises ConfigError."""
    found: dict[Domain, Identity] = {}
    problems: list[tuple[str, str]] = []
    for index, domain in enumerate(config.domain):
        if domain.certificate and domain.key:
            try:
                certificates = load_certificates(domain.certificate.read_bytes())
                seal = identity(certificates, key_at(domain.key, certificates[0], config.smime))
                if domain.sign != "never":
                    _require_signer(seal, pss=config.smime.pss)
                found[domain.name] = seal
            except (OSError, SmimeError) as error:
                problems.append((f"domain[{index}].certificate", f"{domain.certificate}: {error}"))
    if problems:
        raise ConfigError(problems)
    return found


def _require_signer(seal: Identity, *, pss: bool) -> None:
    """A seal that nobody would accept is found here, not by the readers of all mail. Raises SmimeError."""
    Signer(seal, pss=pss)
    for doubt in fitness.doubts(seal.certificate, "sign", datetime.now(UTC)):
        if doubt.word == "purpose":
            raise SmimeError(Reason.USAGE, f"made for {doubt.facts['purposes']}, not for mail (emailProtection)")
        if doubt.word == "authority":
            raise SmimeError(Reason.USAGE, "an authority's certificate, not a service's")


def persons(config: Config) -> tuple[Identity, ...]:
    return tuple(identities(config.smime.identities)) if config.smime.identities else ()


class Lookup:
    """Recipients' certificates: the operator's files first, then what valid signed mail taught us (newest first), then
    the directories. What they can read is what their last valid mail said, else what they say in a directory."""

    def __init__(self, files: CertificateFiles | None, learned: Learned, ldap: Sequence[LdapDirectory] = ()) -> None:
        self._files, self._learned, self._ldap = files, learned, ldap

    async def __call__(self, address: Address) -> Sequence[Candidate]:
        known, spoken = await self._learned.about(address)
        files = self._files.find(address) if self._files else ()
        learned = [Candidate(one.der, one.source, spoken, one.seen) for one in known]
        asked = [found for directory in self._ldap for found in await _asked(directory, address)]
        return [*(replace(one, capabilities=spoken) for one in files), *learned,
                *(replace(one, capabilities=spoken or one.capabilities) for one in asked)]


class Learned:
    """What valid signed mail taught the store about an address, read again when any worker learned something new."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._news = store.doorbell.subscribe(certificates.CHANGED)
        self._remembered: dict[Address, tuple[list[certificates.Known], bytes | None]] = {}
        self._generation = 0

    async def about(self, address: Address) -> tuple[list[certificates.Known], bytes | None]:
        """Certificates, last seen first, and capabilities (DER)."""
        self._hear()
        if (found := self._remembered.get(address)) is None:
            generation = self._generation
            known, said = await self._store.read(lambda rx: (certificates.of(rx, address), certificates.capabilities(rx, address)))
            found = known, said[0] if said else None
            self._hear()
            if generation == self._generation:  # else what was read may be older than the news
                if len(self._remembered) >= REMEMBERED:
                    self._remembered.clear()
                self._remembered[address] = found
        return found

    def close(self) -> None:
        """Hear nothing more."""
        self._news.close()

    def _hear(self) -> None:
        if self._news.take():
            self._remembered.clear()
            self._generation += 1


async def _asked(directory: LdapDirectory, address: Address) -> Sequence[Candidate]:
    """What a directory knows. That it can't say is an answer too: it counts only when nobody else knows a certificate."""
    try:
        return await directory.find(address)
    except DirectoryUnavailable as error:
        return (Candidate(b"", "ldap", unknown=error),)


class DecisionAudit:
    """Writes the decisions of the trust space into the audit, off to the side: nobody waits for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writing: set[asyncio.Task[None]] = set()

    def __call__(self, decision: Decision) -> None:
        if decision.outcome == "trusted" and decision.step == "rcpt":
            return  # the message's own rows say the same
        task = asyncio.get_running_loop().create_task(self._write(decision))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, decision: Decision) -> None:
        def add(tx: Transaction) -> None:
            audit.add(tx, decision.operator or "peer", f"trust.{decision.step}", str(decision.outcome), reason=str(decision.reason),
                      domain=decision.domain, certificate=decision.certificate, detail=decision.detail)

        try:
            await self._store.write(add)
        except Exception as error:  # an audit row that can't be written must not stop mail; the log has it
            log_bug(error)
