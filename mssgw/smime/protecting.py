"""Outgoing: sign and encrypt one message by the domain's policy (RFC 8551 3.1 to 3.5).

Order: what can each recipient read -> who shares a copy -> sign once per form of the content -> encrypt
once per copy -> write. All of it happens before 250, so whoever can't be reached under `encrypt = always`
is named in the refusal, and what is queued is what leaves, octet for octet.

    sign     always: no usable key is KeyUnavailable (451), never an unsigned message
             when-possible: signed when the domain has a key; a key that does not answer is 451 all the same
    encrypt  always: a recipient without a usable certificate is NoCertificate (550), with the address
             when-possible: that recipient gets a copy that is signed only
             both: a certificate that can't be judged now (revocation data too old) is Deferred (451), and so is a
             recipient whom only a directory that does not answer may know

Copies: recipients who read the same cipher share one; those who are not named in To or Cc get one each,
because a RecipientInfo names its reader to all the others. Subject, X-MSS-* and all other fields stay
outside in clear; with `header_protection` the signature covers a copy of them (RFC 9788).

Everything here blocks; `protect` runs it in the pool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal

from mssgw.core.address import Address
from mssgw.core.body import Body, BodyWriter
from mssgw.core.config.smime import Smime
from mssgw.core.errors import Deferred, NotTrusted
from mssgw.core.message import Headers
from mssgw.pki.judgement import Purpose, Validate
from mssgw.protocol import mime
from mssgw.smime import entity
from mssgw.smime import headers as header_fields
from mssgw.smime.already import Already, of_client
from mssgw.smime.cms import capabilities, enveloped
from mssgw.smime.cms.capabilities import Capabilities
from mssgw.smime.cms.recipients import Recipient, recipient
from mssgw.smime.cms.signed import Signer
from mssgw.smime.directories.binding import Directory, no_directory
from mssgw.smime.directories.candidate import Candidate, Lookup, no_lookup
from mssgw.smime.entity import Outgoing
from mssgw.smime.errors import DirectoryUnavailable, KeyUnavailable, NoCertificate, SmimeError
from mssgw.smime.keys.certificates import Certificate, certificate
from mssgw.smime.keys.key import Identity
from mssgw.smime.pool import run
from mssgw.smime.wire.algorithms import Cipher
from mssgw.smime.wire.armour import Armour, encode
from mssgw.smime.wire.rope import Rope

When = Literal["always", "when-possible", "never"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of a domain. `cipher` is `smime.cipher`."""

    sign: When = "when-possible"
    encrypt: When = "when-possible"
    cipher: str = "auto"
    pss: bool = False
    opaque: bool = False  # application/pkcs7-mime; smime-type=signed-data instead of multipart/signed
    header_protection: bool = True
    experimental: bool = False  # ML-KEM recipients
    again: bool = False  # sign what is signed or encrypted already

    @classmethod
    def of(cls, sign: When, encrypt: When, settings: Smime) -> Policy:
        return cls(sign, encrypt, settings.cipher, settings.pss, settings.opaque, settings.header_protection, settings.experimental)


@dataclass(frozen=True, slots=True)
class Protected:
    """One message that leaves, and who gets it."""

    body: Body
    recipients: tuple[Address, ...]
    signature: str  # "rsa-sha256"; "" when it is not signed by us
    cipher: str  # "aes256-gcm"; "" when it is not encrypted by us
    fingerprints: tuple[str, ...] = ()  # of the certificates encrypted to
    signer: Certificate | None = None  # whose key signed, when we did
    signer_kind: str = ""  # "person", "organisation": who that is, as the caller knows

    @property
    def signed(self) -> bool:
        return bool(self.signature)

    @property
    def encrypted(self) -> bool:
        return bool(self.cipher)


async def protect(
    body: Body,
    recipients: Sequence[Address],
    policy: Policy,
    now: datetime,
    *,
    signer: Identity | None,
    lookup: Lookup = no_lookup,
    validate: Validate,
    limits: mime.MimeLimits = mime.DEFAULT_LIMITS,
    directory: Directory = no_directory,
) -> tuple[Protected, ...]:
    """The messages that leave instead of `body`; together their recipients are `recipients`.

    `signer` is the identity whose seal goes on (None: the domain has none). Raises KeyUnavailable (451), NoCertificate
    (550), Deferred when certificates can't be looked up or judged now, mime.TooComplex.
    """
    found = {one: await lookup(one) for one in recipients} if policy.encrypt != "never" else {}
    return await run(
        signer.key.executor if signer else None, protect_now, body, recipients, policy, now, signer, found, validate, limits, directory
    )


def protect_now(
    body: Body,
    recipients: Sequence[Address],
    policy: Policy,
    now: datetime,
    signer: Identity | None,
    found: dict[Address, Sequence[Candidate]],
    validate: Validate,
    limits: mime.MimeLimits = mime.DEFAULT_LIMITS,
    directory: Directory = no_directory,
) -> tuple[Protected, ...]:
    """`protect`, blocking, with the certificates already looked up."""
    if policy.sign == "always" and signer is None:
        raise KeyUnavailable(detail="the domain signs always and has no key")
    readers = _readers(recipients, policy, now, found, validate) if policy.encrypt != "never" else {}
    message = entity.outgoing(body, limits)
    already = (
        Already.NOTHING if policy.again else of_client(body, message.structural, now, validate=validate, directory=directory, limits=limits)
    )
    making = _Making(message, policy, now, signer if _needs_signature(policy, already) else None)
    copies = _copies(recipients, {} if already is Already.ENCRYPTED else readers, message.headers)
    if not making.signer and all(not copy.readers for copy in copies):
        return (Protected(body, tuple(recipients), "", ""),)
    return tuple(making.make(copy) for copy in copies)


def _needs_signature(policy: Policy, already: Already) -> bool:
    """Whether to sign around what the client encrypted: yes under `always`, because nobody can see whether it is signed inside."""
    if policy.sign == "never" or already is Already.SIGNED:
        return False
    return policy.sign == "always" or already is Already.NOTHING


# --- what each recipient can read ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reader:
    """A recipient who can be encrypted to, and how."""

    certificate: Certificate
    cipher: Cipher
    wrap: Recipient


@dataclass(frozen=True, slots=True)
class _Copy:
    addresses: tuple[Address, ...]
    readers: tuple[Reader, ...]  # empty: not encrypted


def _readers(
    recipients: Sequence[Address], policy: Policy, now: datetime, found: dict[Address, Sequence[Candidate]], validate: Validate
) -> dict[Address, Reader]:
    readers: dict[Address, Reader] = {}
    missing: list[tuple[Address, str]] = []
    waiting: Deferred | None = None
    for who in recipients:
        try:
            readers[who] = _reader(found.get(who, ()), policy, now, validate)
        except DirectoryUnavailable as error:
            if error.required or policy.encrypt == "always":
                waiting = error
        except Deferred as error:
            waiting = error
        except (SmimeError, NotTrusted, NoCertificate) as error:
            missing.append((who, error.detail or error.reply.text))
    if policy.encrypt == "always" and missing:
        names = ", ".join(str(who) for who, _ in missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise NoCertificate(
            f"No encryption certificate for {names}; this domain encrypts always".encode("ascii", "replace").decode(),
            detail="; ".join(f"{who}: {why}" for who, why in missing[:20]),
        )
    if waiting:  # a certificate we can't judge now is not a missing one: nothing leaves in clear for want of a CRL
        raise waiting
    return readers


def _reader(candidates: Sequence[Candidate], policy: Policy, now: datetime, validate: Validate) -> Reader:
    """The first candidate that may and can be used. Raises Deferred when one of them can't be judged now (unknown
    means temporary), else SmimeError or NotTrusted of the best one."""
    problem: SmimeError | NotTrusted | Deferred | None = None
    for candidate in candidates:
        try:
            return reader(candidate, policy, now, validate)
        except (SmimeError, NotTrusted, Deferred) as error:
            if problem is None or (isinstance(error, Deferred) and not isinstance(problem, Deferred)):
                problem = error
    raise problem or NoCertificate(detail="no certificate known")


def reader(candidate: Candidate, policy: Policy, now: datetime, validate: Validate) -> Reader:
    """How to encrypt to a candidate. Raises SmimeError, NotTrusted, Deferred when it can't be used, or not now."""
    if candidate.unknown:
        raise candidate.unknown
    one = certificate(candidate.certificate)
    validate(one.der, Purpose.MAIL_ENCRYPT, now)
    choice: Capabilities = capabilities.choose(capabilities.stated(candidate.capabilities), policy.cipher)
    return Reader(one, choice.ciphers[0], recipient(one, oaep=choice.oaep, experimental=policy.experimental))


def _copies(recipients: Sequence[Address], readers: dict[Address, Reader], headers: Headers) -> list[_Copy]:
    """Who shares a message: same cipher and named in the header; hidden recipients get their own."""
    named = _named(headers)
    groups: dict[object, list[Address]] = {}
    for who in recipients:
        reader = readers.get(who)
        if reader is None:
            groups.setdefault("", []).append(who)
        elif who.key in named:
            groups.setdefault(reader.cipher.name, []).append(who)
        else:
            groups.setdefault(who, []).append(who)
    return [
        _Copy(tuple(group), tuple(dict.fromkeys(readers[who] for who in group if who in readers)))
        for group in (groups or {"": []}).values()
    ]


def _named(headers: Headers) -> set[str]:
    """Addresses that To and Cc show to everybody anyway."""
    found = set()
    for field in headers:
        if field.name in ("to", "cc"):
            found |= {one.addr_spec.casefold() for one in mime.mailboxes(mime.unfold(field.raw.partition(b":")[2]))}
    return found


# --- making -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def prepared(who: Identity, pss: bool) -> Signer:
    return Signer(who, pss=pss)


def _signer(who: Identity, policy: Policy) -> Signer:
    """When a certificate of ours may not sign, the mistake is ours and not the sender's: mail waits until it is mended."""
    try:
        return prepared(who, policy.pss)
    except SmimeError as error:
        raise KeyUnavailable(detail=f"{who.certificate.name}: {error.detail}") from error


class _Making:
    """Makes the copies of one message; each form of the signed entity is signed once."""

    def __init__(self, message: Outgoing, policy: Policy, now: datetime, signer: Identity | None) -> None:
        self.message, self.policy, self.now = message, policy, now
        self.signer = _signer(signer, policy) if signer else None
        self._signed: dict[bool, tuple[Headers, Rope]] = {}

    def make(self, copy: _Copy) -> Protected:
        hidden = bool(copy.readers)
        if hidden not in self._signed:
            self._signed[hidden] = self._sign(hidden)
        structural, content = self._signed[hidden]
        writer = BodyWriter()
        try:
            self._write(writer, copy, structural, content)
            body = writer.finish()
        except BaseException:
            writer.abort()
            raise
        return Protected(
            body,
            copy.addresses,
            self.signer.scheme.name if self.signer else "",
            copy.readers[0].cipher.name if hidden else "",
            tuple(one.certificate.fingerprint for one in copy.readers),
            self.signer.identity.certificate if self.signer else None,
        )

    def _write(self, writer: BodyWriter, copy: _Copy, structural: Headers, content: Rope) -> None:
        writer.write(bytes(self.message.headers) + b"MIME-Version: 1.0\r\n")
        inner = Rope(bytes(structural) + b"\r\n") + content
        if copy.readers:
            write_encrypted(inner, [one.wrap for one in copy.readers], copy.readers[0].cipher, writer)
        else:
            inner.pour(writer.write)

    def _sign(self, hidden: bool) -> tuple[Headers, Rope]:
        """(structural fields, content) of the entity, signed when we have a signer."""
        structural, content = self.message.structural, self.message.content
        if self.policy.header_protection and (self.signer or hidden):
            structural = header_fields.protected(self.message.headers, structural, hidden)
        if self.signer is None:
            return structural, content
        whole = Rope(bytes(structural) + b"\r\n") + content
        return sign_entity(whole, self.signer, self.now, opaque=self.policy.opaque)


def sign_entity(whole: Rope, signer: Signer, now: datetime, *, opaque: bool = False) -> tuple[Headers, Rope]:
    """A MIME entity, signed: (structural fields, content) of what stands for it. Raises KeyUnavailable."""
    digest = hashlib.new(signer.digest.name)
    whole.pour(digest.update)
    if not opaque:
        return entity.multipart_signed(whole, signer.digest.micalg, encode(signer.sign(digest.digest(), now)).removesuffix(b"\r\n"))
    before, after = signer.opaque(whole.size, digest.digest(), now)
    writer = BodyWriter()
    armour = Armour(writer.write)
    (Rope(before) + whole + Rope(after)).pour(armour.write)
    armour.close()
    made = writer.finish()
    return entity.pkcs7_mime("signed-data"), Rope.of(made)


def write_encrypted(inner: Rope, readers: Sequence[Recipient], cipher: Cipher, writer: BodyWriter) -> None:
    """The entity that hides `inner`: its structural fields and its base64."""
    writer.write(bytes(entity.pkcs7_mime("authEnveloped-data" if cipher.authenticated else "enveloped-data")) + b"\r\n")
    armour = Armour(writer.write)
    enveloped.encrypt(inner.chunks(), inner.size, readers, cipher, armour.write)
    armour.close()


def encrypt_to(
    message: Outgoing, readers: Sequence[Certificate], cipher: Cipher, *, oaep: bool, experimental: bool = False
) -> tuple[Body, tuple[str, ...]]:
    """A message only these can read, and the key management used for each. Raises SmimeError."""
    ways = [recipient(one, oaep=oaep, experimental=experimental) for one in dict.fromkeys(readers)]
    writer = BodyWriter()
    writer.write(bytes(message.headers) + b"MIME-Version: 1.0\r\n")
    write_encrypted(message.entity(), ways, cipher, writer)
    return writer.finish(), tuple(one.name for one in ways)
