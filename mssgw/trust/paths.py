"""Validator: decides whether a certificate is accepted at a time for a purpose. Returns evidence or raises.

The path has a fixed shape: the leaf, then pinned authorities (anchors.py), found by the leaf's exact issuer name and
key identifier. Certificates that a peer or a message carried are never read, so they can't influence or slow it.

Order (docs/reference/crypto.md 3.1; the first failure is the answer): read -> issuer pinned -> signature -> dates at `at` ->
not an authority, critical extensions -> key and hash by the key policy -> key usage, extended key usage -> that of the
authorities -> policy and class ->
revocation of the leaf and of every authority below the root. The root is trusted because it is pinned; its dates count.

A positive judgement is remembered until the first of: an hour, the end of a date or of revocation data, any change in
the ledger. A negative one is not remembered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from mssgw.core.clock import Clock
from mssgw.core.errors import MailError
from mssgw.core.texts import Message, message
from mssgw.pki.certificates import Certificate, CertificateError
from mssgw.pki.judgement import Evidence, Purpose
from mssgw.pki.policy import Problem, Use
from mssgw.trust.anchors import MAIL_USAGES, Anchor, Anchors
from mssgw.trust.faults import Fault, refusal, spoken
from mssgw.trust.igc_sante import PRODUCTION_ARC, TEST_ARC
from mssgw.trust.revocation import Ledger, Rule

CACHE_ENTRIES: Final = 4096
CACHE_TIME: Final = timedelta(hours=1)
ANY_POLICY: Final = "2.5.29.32.0"
_ANY_USAGE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string
_NAME_CONSTRAINTS = "2.5.29.30"
_CRITICAL_UNDERSTOOD = {"2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.32", "2.5.29.37"}  # KU, SAN, BC, policies, EKU


@dataclass(frozen=True, slots=True)
class Need:
    """What a purpose requires of a certificate. `key`: its row of the key policy; one of `usages`; `extended`, which may be absent if
    `extended_optional`."""

    key: Use
    usages: tuple[str, ...]
    extended: str | None
    extended_optional: bool = False
    usage_optional: bool = False
    organisations: bool = False  # in IGC-Santé: only the ORGANISATIONS branch (docs/reference/mssante.md 2)


_EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string
NEEDS: Final[dict[Purpose, Need]] = {
    Purpose.RELAY_CLIENT: Need(Use.TLS, ("digital_signature",), ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string, organisations=True),
    Purpose.RELAY_SERVER: Need(Use.TLS, ("digital_signature",), ExtendedKeyUsageOID.SERVER_AUTH.dotted_string, organisations=True),
    # RFC 8550 4.4.2 and 4.4.4: for mail both extensions may be absent; when present they must allow it.
    Purpose.MAIL_SIGN: Need(Use.SIGN, ("digital_signature", "content_commitment"), _EMAIL, extended_optional=True, usage_optional=True),
    Purpose.MAIL_ENCRYPT: Need(Use.ENCRYPT, ("key_encipherment", "key_agreement"), _EMAIL, extended_optional=True),
    Purpose.LIST_SIGN: Need(Use.ISSUE, ("digital_signature", "content_commitment"), _EMAIL, organisations=True),
}
_MAIL = (Purpose.MAIL_SIGN, Purpose.MAIL_ENCRYPT)
_SPOKEN_USAGE = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "key_agreement": "keyAgreement",
    ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string: "clientAuth",
    ExtendedKeyUsageOID.SERVER_AUTH.dotted_string: "serverAuth",
    _EMAIL: "emailProtection",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The policy, as data: revocation by role, and the policies a leaf must assert (none: any)."""

    peers: Rule = field(default_factory=Rule)
    mail: Rule = field(default_factory=Rule)
    signer: Rule = field(default_factory=Rule)
    policies: frozenset[str] = frozenset()

    def revocation(self, purpose: Purpose) -> Rule:
        if purpose is Purpose.LIST_SIGN:
            return self.signer
        return self.mail if purpose in _MAIL else self.peers


class Validator:
    """Judges certificates against one set of anchors, from any thread. `wanted` has the certificates whose signatures
    held, so that the background can fetch the revocation data that the next judgement needs."""

    def __init__(self, anchors: Anchors, ledger: Ledger, clock: Clock, rules: Rules | None = None) -> None:
        self.anchors = anchors
        self.ledger = ledger
        self.rules = rules or Rules()
        self.wanted: OrderedDict[str, tuple[Certificate, Anchor, datetime]] = OrderedDict()
        self.news = threading.Event()  # set when `wanted` gained a certificate never seen before
        self._clock = clock
        self._cache: OrderedDict[tuple[bytes, Purpose], tuple[datetime, datetime, Evidence]] = OrderedDict()
        self._cache_version = -1
        self._lock = threading.Lock()

    def __call__(self, encoded: bytes, purpose: Purpose, at: datetime) -> Evidence:
        """pki.judgement.Validate."""
        version = self.ledger.version
        if self._cache_version != version:
            with self._lock:
                self._cache.clear()
                self._cache_version = version
        if (known := self._cache.get((encoded, purpose))) and known[0] <= at <= known[1]:
            return replace(known[2], at=at)
        evidence, since, until = self._judge(encoded, purpose, at)
        if since < until:
            with self._lock:
                if self._cache_version == version:  # the ledger did not change while this was judged
                    self._cache[encoded, purpose] = since, until, evidence
                    if len(self._cache) > CACHE_ENTRIES:
                        self._cache.popitem(last=False)
        return evidence

    def _judge(self, encoded: bytes, purpose: Purpose, at: datetime) -> tuple[Evidence, datetime, datetime]:
        leaf = read(encoded)
        issuer = self._issuer(leaf)
        chain = (leaf, *(anchor.certificate for anchor in issuer.path))
        for certificate in chain:
            _require_dates(certificate, at)
        _require_end_entity(leaf)
        _require_strength(leaf, purpose)
        _require_usage(leaf, purpose)
        _require_mail_alone(leaf, issuer, purpose)
        self._require_class(leaf, issuer, purpose)
        standing, ends = self._require_not_revoked(leaf, issuer, purpose, at)
        evidence = Evidence(str(leaf.subject), leaf.fingerprint, str(leaf.issuer), issuer.root.fingerprint, at, purpose, standing)
        now = self._clock.now()
        return evidence, at, min(now + CACHE_TIME, ends, *(certificate.not_after for certificate in chain))

    def _issuer(self, leaf: Certificate) -> Anchor:
        """The pinned authority that signed it."""
        named = self.anchors.named(leaf.issuer_der)
        issuer_name = spoken(leaf.issuer.first("CN") or str(leaf.issuer) or "nobody")
        if not named:
            raise refusal(Fault.FOREIGN, issuer=issuer_name, detail=f"{leaf.subject} issued by {leaf.issuer}")
        if leaf.authority_key_id is None:
            raise _malformed(leaf, message("trust.what.no-issuer-identifier"))
        for anchor in named:
            if anchor.certificate.subject_key_id != leaf.authority_key_id:
                continue
            try:
                leaf.parsed.verify_directly_issued_by(anchor.certificate.parsed)
            except (InvalidSignature, ValueError, TypeError):
                continue
            return anchor
        raise refusal(Fault.FORGED, issuer=issuer_name, detail=f"{leaf.subject} does not verify under {leaf.issuer}")

    def _require_class(self, leaf: Certificate, issuer: Anchor, purpose: Purpose) -> None:
        """Environment, branch and policy. RFC 5280 6.1.3 (d), (f) without mappings, which no anchor has."""
        valid = leaf.policies
        for anchor in issuer.path:
            allowed = anchor.certificate.policies
            if not anchor.above and not allowed:
                continue  # a root's own policies are not part of the path
            if ANY_POLICY not in allowed:
                valid = allowed if ANY_POLICY in valid else valid & allowed
        subject = spoken(leaf.label)
        if self.rules.policies and ANY_POLICY not in valid and not valid & self.rules.policies:
            raise refusal(Fault.WRONG_POLICY, subject=subject, what=message("trust.what.policies"))
        if self.anchors.pki == "private":
            return
        arc = PRODUCTION_ARC if self.anchors.pki == "igc-sante" else TEST_ARC
        if not any(policy.startswith(arc) for policy in valid):
            raise refusal(
                Fault.WRONG_POLICY, subject=subject, what=message("trust.what.policy-arc", arc=arc), detail=" ".join(sorted(leaf.policies))
            )
        if NEEDS[purpose].organisations and not issuer.organisations:
            raise refusal(Fault.WRONG_POLICY, subject=subject, what=message("trust.what.person"))

    def _require_not_revoked(self, leaf: Certificate, issuer: Anchor, purpose: Purpose, at: datetime) -> tuple[str, datetime]:
        rule = self.rules.revocation(purpose)
        archived = at if purpose is Purpose.MAIL_SIGN else None  # what was good when it was signed stays good
        for below, above in zip((leaf, *(anchor.certificate for anchor in issuer.path)), issuer.path, strict=False):
            self._want(below, above)
        standing = self.ledger.require(leaf, issuer, rule, at=archived)
        ends = standing.until
        for authority, above in zip(issuer.path, issuer.above, strict=False):
            ends = min(ends, self.ledger.require(authority.certificate, above, rule, at=archived).until)
        return standing.evidence, ends

    def _want(self, certificate: Certificate, issuer: Anchor) -> None:
        """Remember it for the background. Bounded, the newest kept: its signature is known to be good."""
        with self._lock:
            if certificate.fingerprint not in self.wanted:
                self.news.set()
            self.wanted[certificate.fingerprint] = certificate, issuer, self._clock.now()
            self.wanted.move_to_end(certificate.fingerprint)
            if len(self.wanted) > CACHE_ENTRIES:
                self.wanted.popitem(last=False)


def read(encoded: bytes) -> Certificate:
    """The certificate, read. Raises NotTrusted."""
    try:
        leaf = Certificate.read(encoded)
    except CertificateError as error:
        raise refusal(Fault.UNREADABLE, what=spoken(str(error)), detail=str(error)) from error
    if leaf.malformed:
        raise _malformed(leaf, message("words", words=leaf.malformed))
    return leaf


def _malformed(leaf: Certificate, what: Message) -> MailError:
    return refusal(Fault.MALFORMED, subject=spoken(leaf.label), what=what, detail=leaf.fingerprint)


def _require_dates(certificate: Certificate, at: datetime) -> None:
    subject = spoken(certificate.label)
    if at > certificate.not_after:
        raise refusal(Fault.EXPIRED, subject=subject, end=f"{certificate.not_after:%Y-%m-%d}", detail=certificate.fingerprint)
    if at < certificate.not_before:
        raise refusal(Fault.NOT_YET_VALID, subject=subject, start=f"{certificate.not_before:%Y-%m-%d}", detail=certificate.fingerprint)


def _require_end_entity(leaf: Certificate) -> None:
    if leaf.is_ca:
        raise refusal(Fault.WRONG_USAGE, subject=spoken(leaf.label), what=message("trust.what.authority"))
    if leaf.key_usage and leaf.key_usage.key_cert_sign:
        raise _malformed(leaf, message("trust.what.signs-certificates"))
    if not leaf.subject.attributes:
        raise _malformed(leaf, message("trust.what.no-subject"))
    if _NAME_CONSTRAINTS in leaf.extensions:
        raise _malformed(leaf, message("trust.what.name-constraints"))
    for oid, critical in leaf.extensions.items():
        if critical and oid not in _CRITICAL_UNDERSTOOD:
            raise _malformed(leaf, message("trust.anchors.critical", oid=oid))
    try:
        _ = leaf.dns_names, leaf.policies, leaf.extended_usages
    except ValueError as error:
        raise _malformed(leaf, message("trust.what.extension", why=spoken(str(error)))) from error


def _require_strength(leaf: Certificate, purpose: Purpose) -> None:
    """Its key may be used so by the key policy, and what its issuer signed is not a hash that collides."""
    try:
        leaf.require_key(NEEDS[purpose].key)
        leaf.require_strong_signature()
    except CertificateError as error:
        fault = Fault.WRONG_USAGE if error.problem is Problem.USAGE else Fault.WEAK
        raise refusal(fault, subject=spoken(leaf.label), what=spoken(str(error), 160), detail=leaf.fingerprint) from error


def _require_usage(leaf: Certificate, purpose: Purpose) -> None:
    need, subject = NEEDS[purpose], spoken(leaf.label)
    if leaf.key_usage is None:
        if not need.usage_optional:
            raise refusal(Fault.WRONG_USAGE, subject=subject, what=message("trust.what.no-usage"))
    elif not any(getattr(leaf.key_usage, usage) for usage in _usages(leaf, purpose)):
        wanted = "/".join(_SPOKEN_USAGE[usage] for usage in _usages(leaf, purpose))
        raise refusal(Fault.WRONG_USAGE, subject=subject, what=message("trust.what.usage", wanted=wanted))
    if leaf.extended_usages is None:
        if not need.extended_optional:
            raise refusal(
                Fault.WRONG_USAGE, subject=subject, what=message("trust.what.extended", wanted=_SPOKEN_USAGE[need.extended or ""])
            )
    elif _ANY_USAGE in leaf.extended_usages and not need.extended_optional:
        raise refusal(Fault.WRONG_USAGE, subject=subject, what=message("trust.what.any-use"))
    elif need.extended not in leaf.extended_usages and not (need.extended_optional and _ANY_USAGE in leaf.extended_usages):
        raise refusal(Fault.WRONG_USAGE, subject=subject, what=message("trust.what.extended", wanted=_SPOKEN_USAGE[need.extended or ""]))


def _require_mail_alone(leaf: Certificate, issuer: Anchor, purpose: Purpose) -> None:
    """An authority with an extended key usage stands for mail and nothing else: what it signs is no operator and signs no list.

    That of a leaf without one is the authority's (RFC 5280 4.2.1.12, and what public authorities mean by it).
    """
    for anchor in issuer.path:
        if anchor.usages is not None and (purpose not in _MAIL or not anchor.usages & MAIL_USAGES):
            name = spoken(anchor.certificate.label)
            raise refusal(Fault.WRONG_USAGE, subject=spoken(leaf.label), what=message("trust.what.authority-restricted", name=name))


def _usages(leaf: Certificate, purpose: Purpose) -> tuple[str, ...]:
    """RSA keys encrypt by keyEncipherment, curves by keyAgreement (RFC 8550 4.4.2)."""
    return (leaf.kind.wraps,) if purpose is Purpose.MAIL_ENCRYPT else NEEDS[purpose].usages
