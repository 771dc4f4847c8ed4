"""Taking keys and certificates in: what is refused, what a certificate may be used for, and what is stored of it.

    files or a token ─▶ key and certificate belong together, fit for mail, in their dates, of this account ─▶ `identities.add`
    request          ─▶ a key made here, and its PKCS#10 request (RFC 2986); the certificate completes it

The key is checked whole here, once (28 ms for RSA): whoever loads it later need not.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mssgw.core.errors import Deferred, NotAllowed, NotTrusted
from mssgw.core.texts import Message, message
from mssgw.flow.binding import is_of, national_id
from mssgw.pki import der
from mssgw.pki.judgement import Purpose, Validate
from mssgw.smime import fitness
from mssgw.smime.cms.signed import Signer
from mssgw.smime.errors import SmimeError
from mssgw.smime.keys import files as keyfiles
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.keys.key import Identity, SoftKey, require_pair
from mssgw.smime.wire.algorithms import Signature, SignatureKind, identifier
from mssgw.store import Reader, Transaction, accounts, identities
from mssgw.store.accounts import Account
from mssgw.store.identities import Issued, Kind, NewIdentity, State
from mssgw.trust.faults import Fault, fault_of

_BIT_STRING = 0x03
Algorithm = Literal["rsa-2048", "rsa-3072", "p256", "p384"]
_MAKE: dict[str, Any] = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
}


class Why(enum.StrEnum):
    NOT_OF_CERTIFICATE = "not-of-certificate"
    FORBIDDEN_USE = "forbidden-use"
    EXPIRED = "expired"
    ADDRESS = "address"
    NO_KEY = "no-key"
    LOST = "lost-key"  # its request is here, and the key of the request can't be used any more
    REVOKED = "revoked"


class NotTakenIn(NotAllowed):
    """A key or certificate that is not taken in. `why` is stable, for programs."""

    def __init__(self, why: Why, **facts: str) -> None:
        self.why = why
        said = message(f"identity.refused.{why}", **facts)
        super().__init__(said.en.encode("ascii", "replace").decode(), message=said)


@dataclass(frozen=True, slots=True)
class Owner:
    """An account with all its addresses, as keys."""

    account: Account
    addresses: frozenset[str]

    @classmethod
    def of(cls, rx: Reader, account: Account) -> Owner:
        return cls(account, frozenset(one.key for one in (account.address, *accounts.aliases(rx, account.id))))


def from_files(
    owner: Owner, certificates: Sequence[Certificate], private: Sequence[Any], now: datetime, *, kind: Kind | None, retired: bool
) -> NewIdentity:
    """What was read from files: certificates in any order, private keys, of which one is the holder's. Raises NotTakenIn, KeyFileError."""
    own, key = _pair(certificates, private)
    require_pair(Identity(own, SoftKey(key)))
    fits = _kind(own, now, kind, retired=retired)
    _require_owner(owner, own)
    octets = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return NewIdentity(fits, _public(own), octets, issued=_issued(own, certificates), retired=retired)


def in_token(
    owner: Owner, certificates: Sequence[Certificate], reference: str, now: datetime, *, kind: Kind | None, retired: bool
) -> NewIdentity:
    """A certificate whose key is in a token, the holder's first; the key was tried (`smime.trial`). Raises NotTakenIn."""
    own = certificates[0]
    fits = _kind(own, now, kind, retired=retired)
    _require_owner(owner, own)
    return NewIdentity(fits, _public(own), token=reference, issued=_issued(own, certificates), retired=retired)


def completed(
    tx: Transaction, owner: Owner, certificates: Sequence[Certificate], now: datetime, who: str, *, kind: Kind | None
) -> identities.Identity:
    """The certificate that answers a request of this account. Raises NotTakenIn: nobody here has its key, or it is not fit."""
    for own in certificates:
        for request in identities.of_key(tx, _public(own)):
            if request.state is State.REQUESTED and request.account == owner.account.id:
                if request.fault:
                    raise NotTakenIn(Why.LOST, subject=own.name, number=str(request.id))
                fits = _kind(own, now, kind, retired=False)
                _require_owner(owner, own)
                return identities.complete(tx, request, _issued(own, certificates), fits, who)
    raise NotTakenIn(Why.NO_KEY, subject=certificates[0].name)


def requested(owner: Owner, kind: Kind, algorithm: Algorithm) -> NewIdentity:
    """A new key, and a request for its certificate with the account's name, national number and address. Blocks."""
    key = _MAKE[algorithm]()
    asked = _request(owner, kind, key, elliptic=isinstance(key, ec.EllipticCurvePrivateKey))
    octets = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = hashlib.sha256(keyfiles.spki(key.public_key())).digest()
    return NewIdentity(kind, public, octets, csr=asked.public_bytes(serialization.Encoding.DER))


def requested_again(owner: Owner, kind: Kind, who: Identity, reference: str) -> NewIdentity:
    """A request for the next certificate of a key that stays in its token, signed by that key (RFC 2986 4.2). Blocks.

    Raises KeyUnavailable: the token does not answer; SmimeError: its certificate does not let it sign.
    """
    own, scheme = who.certificate, Signer(who).scheme
    public = keyfiles.spki(own.public_key)
    made = _request(owner, kind, ec.generate_private_key(ec.SECP256R1()), elliptic=isinstance(own.public_key, ec.EllipticCurvePublicKey))
    octets = made.tbs_certrequest_bytes
    version, subject, _, attributes = (octets[one[1] : one[3]] for one in der.inside(octets, der.whole(octets), der.SEQUENCE, 4, 4))
    asked = der.sequence(version, subject, public, attributes)  # what was asked with a key that is thrown away, for this one
    csr = der.sequence(asked, _signed_with(scheme), der.tlv(_BIT_STRING, b"\0", who.key.sign(asked, scheme)))
    return NewIdentity(kind, hashlib.sha256(public).digest(), token=reference, csr=csr)


def _signed_with(scheme: Signature) -> bytes:
    """The AlgorithmIdentifier of a signature outside CMS, where that of RSA names the hash as well (RFC 8017 A.2.4)."""
    if scheme.kind is not SignatureKind.RSA_V15:
        return scheme.identifier
    number = {"sha256": 11, "sha384": 12, "sha512": 13}[scheme.digest.name]
    return identifier(der.oid(f"1.2.840.113549.1.1.{number}"), der.NULL)


def _request(owner: Owner, kind: Kind, key: Any, *, elliptic: bool) -> x509.CertificateSigningRequest:
    account = owner.account
    name = [x509.NameAttribute(NameOID.COMMON_NAME, (account.display_name or str(account.address))[:64])]
    if account.rpps:
        name.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, account.rpps))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(name))
    if account.address.ascii:  # the authority adds another form (RFC 9598) itself
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(str(account.address))]), critical=False)
    return (
        builder.add_extension(_usage(kind, elliptic=elliptic), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .sign(key, hashes.SHA256())
    )


def require_path(own: Certificate, kind: Kind, validate: Validate, now: datetime) -> Message | None:
    """Whether others will trust a certificate, by the authorities and revocation lists of this node; what to warn of, when they may not.

    Another authority's certificate is taken in: a house may have its own. Raises NotTakenIn for a revoked one.
    """
    try:
        validate(own.der, Purpose.MAIL_ENCRYPT if kind is Kind.ENCRYPTION else Purpose.MAIL_SIGN, now)
    except NotTrusted as error:
        if fault_of(error) is Fault.REVOKED:
            raise NotTakenIn(Why.REVOKED, subject=own.name) from error
        return message("identity.not-trusted", subject=own.name, why=error.message)
    except Deferred as error:
        return message("identity.not-judged", subject=own.name, why=error.message)
    return None


def pem_of(csr: bytes) -> str:
    return x509.load_der_x509_csr(csr).public_bytes(serialization.Encoding.PEM).decode()


def _pair(certificates: Sequence[Certificate], private: Sequence[Any]) -> tuple[Certificate, Any]:
    for own in certificates:
        for key in private:
            if keyfiles.belongs(key, own):
                return own, key
    raise NotTakenIn(Why.NOT_OF_CERTIFICATE, subject=certificates[0].name)


def _kind(own: Certificate, now: datetime, wished: Kind | None, *, retired: bool) -> Kind:
    """What the certificate allows, or the part of it that was wished."""
    signs, reads = (_allows(own, use, now, retired=retired) for use in ("sign", "encrypt"))
    if not signs and not reads:
        raise NotTakenIn(Why.FORBIDDEN_USE, subject=own.name, use=wished or "")
    allowed = Kind.BOTH if signs and reads else Kind.SIGNING if signs else Kind.ENCRYPTION
    if wished not in (None, allowed) and allowed is not Kind.BOTH:
        raise NotTakenIn(Why.FORBIDDEN_USE, subject=own.name, use=str(wished))
    return wished or allowed


def _allows(own: Certificate, use: fitness.Use, now: datetime, *, retired: bool) -> bool:
    try:
        found = {one.word for one in fitness.doubts(own, use, now)}
    except SmimeError:
        return False
    if "expired" in found and not retired:  # a key of the past only opens, and is given as such
        raise NotTakenIn(Why.EXPIRED, subject=own.name, ended=f"{own.not_after:%Y-%m-%d}")
    return not found & {"purpose", "authority"}


def _require_owner(owner: Owner, own: Certificate) -> None:
    named = frozenset(one.key for one in own.addresses)
    if named & owner.addresses or is_of(own, owner.account.rpps):
        return
    who = ", ".join(sorted(named)) or national_id(own) or "-"
    raise NotTakenIn(Why.ADDRESS, subject=own.name, address=str(owner.account.address), named=who)


def _issued(own: Certificate, certificates: Iterable[Certificate]) -> Issued:
    chain = tuple(one.der for one in certificates if one != own and not one.self_issued)[:8]
    return Issued(own.der, own.sha256, own.not_before, own.not_after, chain)


def _public(own: Certificate) -> bytes:
    return hashlib.sha256(keyfiles.spki(own.public_key)).digest()


def _usage(kind: Kind, *, elliptic: bool) -> x509.KeyUsage:
    signs, reads = kind is not Kind.ENCRYPTION, kind is not Kind.SIGNING
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=signs,
        key_encipherment=reads and not elliptic,
        data_encipherment=False,
        key_agreement=reads and elliptic,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
