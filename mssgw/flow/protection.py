"""Protection: the S/MIME engine with our keys, our policy and what we know about recipients.

    await protection.protect(body, domain, author, recipients)   # outgoing, by [[domain]] sign and encrypt
    await protection.open(body, domains)                 # incoming, with the keys of those domains first

An author who is logged in and whose own certificate and key we hold signs in person, which binds the address (RFC 8550 3);
all other mail carries the seal of the domain. Only mail that an account or a hospital submits is signed (docs/reference/crypto.md 9.27).
A message that can't hold S/MIME, or a domain that does none, costs no thread.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.clock import Clock
from mssgw.core.config import Config
from mssgw.pki.judgement import Validate
from mssgw.protocol.mime import MimeLimits
from mssgw.smime import opening, protecting
from mssgw.smime.cms.decrypting import MODERN, Reading
from mssgw.smime.directories.binding import Binding, Directory, no_directory
from mssgw.smime.directories.candidate import Lookup, no_lookup
from mssgw.smime.errors import KeyUnavailable, SmimeError
from mssgw.smime.keys.key import Identity
from mssgw.smime.opening import Opened
from mssgw.smime.protecting import Policy, Protected
from mssgw.smime.verdict import EncryptionStatus, SignatureStatus, Verdict

UNPROTECTED = Verdict(SignatureStatus.NONE, EncryptionStatus.NONE, Binding.NONE, (), (), (), (), "")


@dataclass(frozen=True, slots=True)
class Protection:
    policies: Mapping[Domain, Policy]
    signers: Mapping[Domain, Identity]  # whose seal goes on a domain's mail
    readers: Sequence[Identity]  # persons' keys and retired ones, which open what comes for whom they name; without a name for all
    validate: Validate
    clock: Clock
    limits: MimeLimits
    most: int  # octets of plaintext
    lookup: Lookup = no_lookup
    directory: Directory = no_directory
    persons: Mapping[str, Identity] = field(default_factory=dict)  # by Address.key
    reading: Reading = MODERN
    lenient: Collection[Domain] = ()  # domains in which a person's key signs whatever comes in that name

    @classmethod
    def of(
        cls,
        config: Config,
        clock: Clock,
        validate: Validate,
        signers: Mapping[Domain, Identity],
        *,
        readers: Sequence[Identity] = (),
        lookup: Lookup = no_lookup,
        directory: Directory = no_directory,
    ) -> Protection:
        """`readers` beside the signers: persons' keys, which also sign for the addresses in their certificates, and retired ones."""
        policies = {one.name: Policy.of(one.sign, one.encrypt, config.smime) for one in config.domain}
        return cls(
            policies,
            signers,
            tuple(readers),
            validate,
            clock,
            MimeLimits.of(config.limits),
            2 * config.limits.message_size,
            lookup,
            directory,
            _signing_now(readers, clock.now()),
            Reading(config.smime.legacy, config.smime.experimental),
            frozenset(one.name for one in config.domain if one.personal_keys == "any"),
        )

    async def protect(
        self, body: Body, domain: Domain, author: Address, recipients: Sequence[Address], *, in_person: bool, here: bool = False
    ) -> tuple[Protected, ...]:
        """What leaves instead of `body`, and for whom. Raises KeyUnavailable, NoCertificate, Deferred.

        `in_person`: the author is the person who is logged in. `here`: for mailboxes of this node, whose store seals what it keeps.
        """
        policy, now = self.policies[domain], self.clock.now()
        if here:
            policy = dataclasses.replace(policy, encrypt="never")
        own = in_person or domain in self.lenient
        signer = self._signer(author if own else None, domain, now) if policy.sign != "never" else None
        if policy.sign != "always" and signer is None and policy.encrypt == "never":
            return (Protected(body, tuple(recipients), "", ""),)
        return await protecting.protect(
            body,
            recipients,
            policy,
            now,
            signer=signer,
            lookup=self.lookup,
            validate=self.validate,
            limits=self.limits,
            directory=self.directory,
        )

    def _signer(self, author: Address | None, domain: Domain, now: datetime) -> Identity | None:
        """Who signs: the author when there is one, else the organisation.

        Raises KeyUnavailable for a seal out of its dates: what it signs counts as unsigned, so the mail waits.
        """
        person, seal = self.persons.get(author.key) if author else None, self.signers.get(domain)
        if person is not None and person.certificate.valid_at(now):
            return person
        if seal is not None and not seal.certificate.valid_at(now):
            raise KeyUnavailable(detail=f"the certificate of {seal.certificate.name} is out of its dates")
        return seal

    async def open(self, body: Body, domains: Collection[Domain], addresses: Collection[str]) -> Opened:
        """What can be read of a message, and what to think of it. Raises KeyUnavailable.

        `domains` and `addresses` (`Address.key`) are those of the mailboxes it is for: a seal opens for its domain, a person's
        key for that person. Else whoever has a mailbox here could have the mail of others opened for themselves.
        """
        if body.in_memory and not _may_be_smime(body.read()):
            return Opened(body, UNPROTECTED, False)
        readers = [self.signers[domain] for domain in domains if domain in self.signers]
        for one in self.readers:
            names = _names(one)
            if one not in readers and (not names or not names.isdisjoint(addresses)):
                readers.append(one)
        return await opening.open(
            body,
            readers,
            self.validate,
            self.clock.now(),
            directory=self.directory,
            limits=self.limits,
            most=self.most,
            reading=self.reading,
        )


def _names(one: Identity) -> frozenset[str]:
    try:
        return frozenset(address.key for address in one.certificate.addresses)
    except SmimeError:
        return frozenset()


def _signing_now(identities: Sequence[Identity], now: datetime) -> dict[str, Identity]:
    """Whose certificate may sign today, by address; the one that lives longest when there are several."""
    found: dict[str, Identity] = {}
    for one in sorted(identities, key=lambda identity: identity.certificate.parsed.not_valid_after_utc):
        try:
            one.certificate.require_signing_use()
            addresses = one.certificate.addresses
        except SmimeError:
            continue
        if one.certificate.valid_at(now):
            found |= {address.key: one for address in addresses}
    return found


def _may_be_smime(octets: bytes) -> bool:
    """Plain searches of a lower-case copy: a tenth of a pattern's time."""
    lower = octets.lower()
    return b"pkcs7" in lower or b"multipart/signed" in lower or b".p7m" in lower
