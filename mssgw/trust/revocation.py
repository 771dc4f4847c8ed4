"""What is known about revoked certificates: a ledger in memory, filled in the background, read in sessions.

A CRL is verified once when it comes in and becomes a table of serial numbers; an OCSP answer is verified once and
becomes one line. `Ledger.require` then costs a dictionary look-up and never waits for the network:

    revoked by either            refused at once, however old the data
    fresh OCSP, else fresh CRL   accepted, with that as evidence; "fresh" ends `grace` after nextUpdate
    neither                      hard: Deferred (the peer keeps its mail); soft: accepted, and the evidence shows it

A CRL counts for the key of the one authority that issued the certificate and signed the CRL. Indirect CRLs, delta
CRLs and those for some reasons only (RFC 5280 5.2) are refused: taken for complete they would hide revocations.
Delta CRLs over LDAP (IGC-Santé's only ones) are ignored; a certificate that points to others is not judged by CRL.
The CRL number of an authority never goes back, so an old CRL can't be replayed.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, SignatureAlgorithmOID

from mssgw.core.clock import Clock
from mssgw.pki import der
from mssgw.pki.certificates import Certificate, CertificateError
from mssgw.pki.policy import ISSUING_HASHES, Use
from mssgw.trust.anchors import Anchor
from mssgw.trust.faults import Fault, refusal, spoken

MAX_CRL_OCTETS = 67_108_864
MAX_OCSP_OCTETS = 65_536
MAX_ANSWERS = 20_000
SKEW = timedelta(minutes=5)  # between a publisher's clock and ours
FOR_EVER = datetime.max.replace(tzinfo=UTC)
UNDATED = timedelta(hours=12)  # how long data without nextUpdate counts
_ENTRY_EXTENSIONS = {"2.5.29.21", "2.5.29.24"}  # reason, invalidity date: neither changes who is revoked

Mode = Literal["hard", "soft", "none"]


class RevocationError(ValueError):
    """A CRL or an OCSP answer that can't be used. The text has the reason."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do without fresh data, and how long data stays fresh past its end."""

    mode: Mode = "hard"
    grace: timedelta = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class Standing:
    """Not revoked, according to `evidence`, until `until`."""

    evidence: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Scope:
    """Which certificates a CRL is about: its issuing distribution point, RFC 5280 5.2.5."""

    only: Literal["", "users", "authorities"] = ""
    points: frozenset[str] = frozenset()

    def covers(self, certificate: Certificate) -> bool:
        if self.points and not self.points & certificate.crl_points:
            return False
        return not self.only or self.only == ("authorities" if certificate.is_ca else "users")


@dataclass(frozen=True, slots=True)
class Crl:
    issuer: str  # fingerprint of the authority
    number: int
    this_update: datetime
    next_update: datetime
    revoked: dict[int, float]  # serial -> POSIX time
    scope: Scope
    octets: int

    def __str__(self) -> str:
        return f"crl {self.number} of {self.this_update:%Y-%m-%dT%H:%MZ}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One OCSP answer about one certificate."""

    issuer: str
    serial: int
    revoked_at: datetime | None
    this_update: datetime
    next_update: datetime
    responder: int | None = None  # serial number of a delegated responder; None: the authority itself

    def __str__(self) -> str:
        return f"ocsp of {self.this_update:%Y-%m-%dT%H:%MZ}"


class Ledger:
    """The CRLs and answers in force. `version` changes whenever an earlier judgement may no longer hold."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._crls: dict[str, dict[Scope, Crl]] = {}
        self._answers: OrderedDict[tuple[str, int], Answer] = OrderedDict()
        self.version = 0

    def add_crl(self, crl: Crl) -> bool:
        """Put a CRL in force. Returns False when it has nothing new; raises RevocationError when its number goes back."""
        if crl.this_update > self._clock.now() + SKEW:
            raise RevocationError(f"crl {crl.number} is dated in the future, {crl.this_update:%Y-%m-%dT%H:%MZ}")
        of_issuer = self._crls.setdefault(crl.issuer, {})
        if held := of_issuer.get(crl.scope):
            if crl.number < held.number or crl.this_update < held.this_update:
                raise RevocationError(f"{crl} is older than the one in force, {held}")
            if crl.number == held.number and crl.this_update == held.this_update:
                return False
        of_issuer[crl.scope] = crl
        self.version += 1
        return True

    def add_answer(self, answer: Answer) -> None:
        """Take an answer, unless it is older than the one held. A revocation stays until a newer answer."""
        if answer.this_update > self._clock.now() + SKEW:
            raise RevocationError("the OCSP answer is dated in the future")
        if answer.responder is not None and any(answer.responder in crl.revoked for crl in self._crls.get(answer.issuer, {}).values()):
            raise RevocationError("its responder is revoked")  # RFC 6960 4.2.2.2.1
        key = answer.issuer, answer.serial
        held = self._answers.get(key)
        if held and answer.this_update < held.this_update:
            raise RevocationError("the OCSP answer is older than the one held")
        self._answers[key] = answer
        self._answers.move_to_end(key)
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        if answer.revoked_at or (held and held.revoked_at):
            self.version += 1

    def crl_about(self, certificate: Certificate, issuer: str) -> Crl | None:
        """The freshest CRL of the authority that is about this certificate."""
        about = [crl for scope, crl in self._crls.get(issuer, {}).items() if scope.covers(certificate)]
        return max(about, key=lambda crl: crl.next_update) if about else None

    def answers(self, most: int) -> tuple[Answer, ...]:
        """The newest OCSP answers, those that were taken last first."""
        return tuple(islice(reversed(self._answers.values()), most))

    def answer_of(self, issuer: str, serial: int) -> Answer | None:
        return self._answers.get((issuer, serial))

    def require(self, certificate: Certificate, issuer: Anchor, rule: Rule, *, at: datetime | None = None) -> Standing:
        """Evidence that the certificate is not revoked. `at`: a revocation after that time doesn't count (archived
        mail); None counts every revocation. Raises NotTrusted or Deferred."""
        now = self._clock.now()
        if rule.mode == "none":
            return Standing("none", now + timedelta(hours=1))
        crl = self.crl_about(certificate, issuer.fingerprint)
        answer = self._answers.get((issuer.fingerprint, certificate.serial))
        believed_until = _require_not_revoked(certificate, at, crl, answer)
        for source in (answer, None if certificate.needs_delta else crl):
            if source and now <= source.next_update + rule.grace:
                late = "" if now <= source.next_update else ", in its time of grace"
                return Standing(f"{source}{late}", min(source.next_update + rule.grace, believed_until))
        if rule.mode == "soft":
            return Standing("soft: no fresh data", min(now + timedelta(minutes=5), believed_until))
        raise refusal(
            Fault.REVOCATION_UNKNOWN,
            subject=spoken(certificate.label),
            detail=f"no fresh revocation data of {issuer.certificate.label}; held: {crl or answer or 'none'}",
        )


def _require_not_revoked(certificate: Certificate, at: datetime | None, crl: Crl | None, answer: Answer | None) -> datetime:
    """Until when this holds: for ever, or until a revocation that came after `at`."""
    until = FOR_EVER
    seconds = crl.revoked.get(certificate.serial) if crl else None
    listed = datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
    for revoked, source in ((listed, crl), (answer.revoked_at if answer else None, answer)):
        if revoked is None:
            continue
        if at is None or revoked <= at:
            raise refusal(Fault.REVOKED, subject=spoken(certificate.label), when=f"{revoked:%Y-%m-%d}", detail=str(source))
        until = min(until, revoked - timedelta(microseconds=1))
    return until


# -- CRL -----------------------------------------------------------------------------------------------------------


def read_crl(octets: bytes, issuer: Anchor) -> Crl:
    """Verify and read a complete CRL of this authority. Runs in a thread: 100,000 entries take a third of a second.

    Raises RevocationError.
    """
    if len(octets) > MAX_CRL_OCTETS:
        raise RevocationError(f"larger than {MAX_CRL_OCTETS} octets")
    if not issuer.signs_crls:
        raise RevocationError(f"{issuer.certificate.label} may not sign CRLs")
    try:
        parsed = x509.load_der_x509_crl(octets)
        _verify_crl(octets, parsed, issuer)
        number, scope = _crl_extensions(parsed)
        revoked = {entry.serial_number: entry.revocation_date_utc.timestamp() for entry in parsed if _complete_entry(entry)}
        this_update, next_update = parsed.last_update_utc, parsed.next_update_utc
    except RevocationError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise RevocationError(f"not a CRL ({str(error).splitlines()[0] if str(error) else type(error).__name__})") from error
    return Crl(issuer.fingerprint, number, this_update, next_update or this_update + UNDATED, revoked, scope, len(octets))


def _verify_crl(octets: bytes, parsed: x509.CertificateRevocationList, issuer: Anchor) -> None:
    """Signature over the octets as they came. Hashed apart, so that the interpreter is free meanwhile."""
    start = der.whole(octets)[2]
    _, _, fields, signed_end = der.read(octets, start, len(octets))
    if _crl_issuer(octets, fields) != issuer.certificate.subject_der:
        raise RevocationError("issued by another authority")
    algorithm = parsed.signature_hash_algorithm
    if algorithm is None or algorithm.name not in ISSUING_HASHES or parsed.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
        raise RevocationError("signed with an algorithm that is not accepted")
    digest = hashlib.new(algorithm.name, memoryview(octets)[start:signed_end]).digest()
    try:
        _verify(issuer.certificate, parsed.signature, digest, algorithm)
    except InvalidSignature as error:
        raise RevocationError("its signature does not hold") from error


def _crl_issuer(octets: bytes, at: int) -> bytes:
    """The DER of the issuer of a TBSCertList whose fields start there."""
    for expected in (der.INTEGER, der.SEQUENCE):  # version (always 2 here), signature algorithm
        tag, _, _, end = der.read(octets, at, len(octets))
        if tag != expected:
            raise RevocationError("not a version 2 CRL")
        at = end
    return octets[at : der.read(octets, at, len(octets))[3]]


def _verify(signer: Certificate, signature: bytes, digest: bytes, algorithm: hashes.HashAlgorithm) -> None:
    key = signer.parsed.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, digest, padding.PKCS1v15(), Prehashed(algorithm))
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, digest, ec.ECDSA(Prehashed(algorithm)))
    else:
        raise RevocationError("its signer's key is neither RSA nor EC")


def _crl_extensions(parsed: x509.CertificateRevocationList) -> tuple[int, Scope]:
    number, scope = -1, Scope()
    for extension in parsed.extensions:
        value = extension.value
        if isinstance(value, x509.CRLNumber) and not extension.critical:
            number = value.crl_number
        elif isinstance(value, x509.DeltaCRLIndicator):
            raise RevocationError("a delta CRL")
        elif isinstance(value, x509.IssuingDistributionPoint):
            scope = _scope(value)
        elif extension.critical and extension.oid != ExtensionOID.AUTHORITY_KEY_IDENTIFIER:
            raise RevocationError(f"unknown critical extension {extension.oid.dotted_string}")
    if number < 0:
        raise RevocationError("it has no CRL number, so it could be an old one")  # RFC 5280 5.2.3
    return number, scope


def _scope(point: x509.IssuingDistributionPoint) -> Scope:
    if point.indirect_crl or point.only_some_reasons or point.only_contains_attribute_certs or point.relative_name:
        raise RevocationError("not a complete CRL of its authority (issuing distribution point)")
    names = frozenset(name.value for name in point.full_name or () if isinstance(name, x509.UniformResourceIdentifier))
    if point.full_name and not names:
        raise RevocationError("its distribution point has no address")
    return Scope("users" if point.only_contains_user_certs else "authorities" if point.only_contains_ca_certs else "", names)


def _complete_entry(entry: x509.RevokedCertificate) -> bool:
    for extension in entry.extensions:
        if extension.critical and extension.oid.dotted_string not in _ENTRY_EXTENSIONS:
            raise RevocationError(f"an entry has the unknown critical extension {extension.oid.dotted_string}")
    return True


# -- OCSP ----------------------------------------------------------------------------------------------------------


def ocsp_request(certificate: Certificate, issuer: Anchor) -> bytes:
    """A request without nonce. SHA-1 in the CertID names the issuer, it protects nothing (RFC 5019 2.1.1)."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate.parsed, issuer.certificate.parsed, hashes.SHA1())  # noqa: S303
    return builder.build().public_bytes(serialization.Encoding.DER)


def read_answer(octets: bytes, certificate: Certificate, issuer: Anchor, now: datetime) -> Answer:
    """Verify an OCSP response about this certificate, RFC 6960 3.2. Raises RevocationError."""
    if len(octets) > MAX_OCSP_OCTETS:
        raise RevocationError(f"larger than {MAX_OCSP_OCTETS} octets")
    try:
        response = ocsp.load_der_ocsp_response(octets)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise RevocationError(f"the responder says {response.response_status.name.lower()}")
        single = next((each for each in response.responses if _is_about(each, certificate, issuer)), None)
        if single is None:
            raise RevocationError("not about this certificate")
        responder = _verify_answer(response, issuer, now)
        return _answer(single, certificate, issuer, now, None if responder is issuer.certificate else responder.serial)
    except RevocationError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise RevocationError(f"not an OCSP response ({str(error).splitlines()[0] if str(error) else type(error).__name__})") from error


def _is_about(single: ocsp.OCSPSingleResponse, certificate: Certificate, issuer: Anchor) -> bool:
    if single.serial_number != certificate.serial:
        return False
    wanted = ocsp.OCSPRequestBuilder().add_certificate(certificate.parsed, issuer.certificate.parsed, single.hash_algorithm).build()
    return (single.issuer_key_hash, single.issuer_name_hash) == (wanted.issuer_key_hash, wanted.issuer_name_hash)


def _answer(single: ocsp.OCSPSingleResponse, certificate: Certificate, issuer: Anchor, now: datetime, responder: int | None) -> Answer:
    if single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        raise RevocationError("the responder does not know this certificate")
    this_update = single.this_update_utc
    next_update = single.next_update_utc or this_update + UNDATED
    if now > next_update + SKEW:
        raise RevocationError(f"the answer of {this_update:%Y-%m-%dT%H:%MZ} has run out")
    return Answer(issuer.fingerprint, certificate.serial, single.revocation_time_utc, this_update, next_update, responder)


def _verify_answer(response: ocsp.OCSPResponse, issuer: Anchor, now: datetime) -> Certificate:
    """Who signed it: the authority itself, or a responder that the authority made for it (RFC 6960 4.2.2.2)."""
    algorithm = response.signature_hash_algorithm
    if algorithm is None or algorithm.name not in ISSUING_HASHES:
        raise RevocationError("signed with an algorithm that is not accepted")
    signer = _responder(response, issuer, now)
    digest = hashlib.new(algorithm.name, response.tbs_response_bytes).digest()
    try:
        _verify(signer, response.signature, digest, algorithm)
    except InvalidSignature as error:
        raise RevocationError("its signature does not hold") from error
    return signer


def _responder(response: ocsp.OCSPResponse, issuer: Anchor, now: datetime) -> Certificate:
    authority = issuer.certificate
    if _names(response, authority):
        return authority
    for candidate in response.certificates[:4]:
        try:
            responder = Certificate.read(candidate.public_bytes(serialization.Encoding.DER))
            responder.parsed.verify_directly_issued_by(authority.parsed)
            responder.require_key(Use.ISSUE)
            responder.require_strong_signature()
        except (CertificateError, InvalidSignature, ValueError, TypeError):
            continue
        usages = responder.extended_usages or frozenset()
        if (
            _names(response, responder)
            and not responder.malformed
            and ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string in usages
            and responder.valid_at(now)
        ):
            return responder
    raise RevocationError("its signer is not a responder of this authority")


def _names(response: ocsp.OCSPResponse, signer: Certificate) -> bool:
    """Whether the ResponderID is this certificate's name or the SHA-1 of its key."""
    if response.responder_name is not None:
        return response.responder_name == signer.parsed.subject
    return response.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(signer.parsed.public_key()).digest
