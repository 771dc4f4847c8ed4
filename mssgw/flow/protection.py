"""Protection: the S/MIME engine with our keys, our policy and what we know about recipients.

    await protection.protect(body, domain, author, recipients)   # outgoing, by [[domain]] sign and encrypt
    await protection.open(body, domains)                 # incoming, with the keys of those domains first

An author who is logged in and whose own certificate and key we hold signs in person, which binds the address (RFC 8550 3);
all other mail carries the seal of the domain. The key is the one that is valid when the message is signed: a renewal overlaps, and needs no
reload. Only mail that an account or a hospital submits is signed (docs/reference/crypto.md 9.27).
A message that can't hold S/MIME, or a domain that does none, costs no thread.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.clock import Clock
from mssgw.core.config import Config
from mssgw.flow.keyring import NOTHING, Keyring, Lost, Nobody
from mssgw.observe import PERSONAL_KEY_EXPIRED, PERSONAL_KEY_UNUSABLE, Event, log
from mssgw.pki.judgement import Validate
from mssgw.protocol.mime import MimeLimits
from mssgw.smime import opening, protecting
from mssgw.smime.cms.decrypting import MODERN, Reading
from mssgw.smime.directories.binding import Binding, Directory, no_directory
from mssgw.smime.directories.candidate import Lookup, no_lookup
from mssgw.smime.errors import KeyExpired, KeyUnavailable, KeyUnusable
from mssgw.smime.keys.key import Identity
from mssgw.smime.opening import Opened
from mssgw.smime.protecting import Policy, Protected
from mssgw.smime.verdict import EncryptionStatus, SignatureStatus, Verdict

UNPROTECTED = Verdict(SignatureStatus.NONE, EncryptionStatus.NONE, Binding.NONE, (), (), (), (), "")


@dataclass(frozen=True, slots=True)
class Protection:
    policies: Mapping[Domain, Policy]
    signers: Mapping[Domain, Identity]  # whose seal goes on a domain's mail
    keys: Keyring  # persons' keys and retired ones: they open what comes for whom they name, and sign in that person's name
    validate: Validate
    clock: Clock
    limits: MimeLimits
    most: int  # octets of plaintext
    lookup: Lookup = no_lookup
    directory: Directory = no_directory
    reading: Reading = MODERN
    lenient: Collection[Domain] = ()  # domains in which a person's key signs whatever comes in that name
    waiting: Collection[Domain] = ()  # domains whose mail waits when the author's own certificate has ended, or their key can't be used

    @classmethod
    def of(
        cls,
        config: Config,
        clock: Clock,
        validate: Validate,
        signers: Mapping[Domain, Identity],
        *,
        keys: Keyring | None = None,
        lookup: Lookup = no_lookup,
        directory: Directory = no_directory,
    ) -> Protection:
        """`keys` beside the signers: persons' keys, which also sign for their addresses, and retired ones."""
        policies = {one.name: Policy.of(one.sign, one.encrypt, config.smime) for one in config.domain}
        return cls(
            policies,
            signers,
            keys or Nobody(),
            validate,
            clock,
            MimeLimits.of(config.limits),
            2 * config.limits.message_size,
            lookup,
            directory,
            Reading(config.smime.legacy, config.smime.experimental),
            frozenset(one.name for one in config.domain if one.personal_keys == "any"),
            frozenset(one.name for one in config.domain if one.personal_key_expired == "wait"),
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
        signer = await self._signer(author if own else None, domain, now) if policy.sign != "never" else None
        if policy.sign != "always" and signer is None and policy.encrypt == "never":
            return (Protected(body, tuple(recipients), "", ""),)
        made = await protecting.protect(
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
        kind = "organisation" if signer is self.signers.get(domain) else "person"
        return tuple(dataclasses.replace(one, signer_kind=kind) if one.signer else one for one in made)

    async def _signer(self, author: Address | None, domain: Domain, now: datetime) -> Identity | None:
        """Who signs: the author with the certificate that is valid now and lives longest, else the organisation.

        An author whose own certificate has ended, or whose key is there and can't be used, is sealed for by the domain or waits, as the
        domain decides: KeyExpired, KeyUnusable. Raises KeyUnavailable for a seal out of its dates: what it signs counts as unsigned,
        so the mail waits.
        """
        found = (await self.keys.at((author.key,))).signing(author.key) if author else NOTHING
        if valid := [one for one in found.held if one.valid_at(now)]:
            return max(valid, key=lambda one: one.ends).identity
        if lost := next((one for one in found.lost if one.counts_at(now)), None):
            self._unusable(lost, domain)
        elif ended := [(end, name) for end, name in found.ends() if end < now]:
            self._ended(*max(ended), domain)
        seal = self.signers.get(domain)
        if seal is not None and not seal.certificate.valid_at(now):
            raise KeyUnavailable(detail=f"the certificate of {seal.certificate.name} is out of its dates")
        return seal

    def _instead(self, domain: Domain) -> Literal["wait", "seal"]:
        return "wait" if domain in self.waiting else "seal"

    def _ended(self, end: datetime, subject: str, domain: Domain) -> None:
        then, ended = self._instead(domain), f"{end:%Y-%m-%d}"
        PERSONAL_KEY_EXPIRED.labels(then).inc()
        log(Event.SMIME_KEY_EXPIRED, "warning", subject=subject, ended=ended, then=then)
        if then == "wait":
            raise KeyExpired(subject, ended)

    def _unusable(self, lost: Lost, domain: Domain) -> None:
        then = self._instead(domain)
        PERSONAL_KEY_UNUSABLE.labels(then).inc()
        log(Event.SMIME_KEY_UNUSABLE, "error", subject=lost.name, reason=lost.why, then=then)
        if then == "wait":
            raise KeyUnusable(lost.name, lost.why)

    async def open(self, body: Body, domains: Collection[Domain], addresses: Collection[str]) -> Opened:
        """What can be read of a message, and what to think of it. Raises KeyUnavailable.

        `domains` and `addresses` (`Address.key`) are those of the mailboxes it is for: a seal opens for its domain, a person's
        key for that person. Else whoever has a mailbox here could have the mail of others opened for themselves.
        """
        if body.in_memory and not _may_be_smime(body.read()):
            return Opened(body, UNPROTECTED, False)
        readers = [self.signers[domain] for domain in domains if domain in self.signers]
        readers += [one.identity for one in (await self.keys.at(addresses)).held if one.identity not in readers]
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


def signed_by(copies: Sequence[Protected]) -> dict[str, str]:
    """Which key signed, as facts of the audit: subject, serial number, and whether it is a person's or an organisation's."""
    found = next((one for one in copies if one.signer is not None), None)
    if found is None or found.signer is None:
        return {}
    return {"signer": found.signer.name, "signer_serial": found.signer.serial_hex, "signer_kind": found.signer_kind}


def _may_be_smime(octets: bytes) -> bool:
    """Plain searches of a lower-case copy: a tenth of a pattern's time."""
    lower = octets.lower()
    return b"pkcs7" in lower or b"multipart/signed" in lower or b".p7m" in lower
