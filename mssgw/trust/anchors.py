"""The pinned authorities: which roots and intermediates a path may lead to, and the rules that keep others out.

Authorities come from a directory and nowhere else: never from a message, a peer or an address in a certificate.
Self-signed certificates are roots, other CA certificates are intermediates, leaves are ignored. Each intermediate
is checked once, here, against RFC 5280 6.1 (signature, BasicConstraints, pathLen, KeyUsage, critical extensions);
what fails is left out with its reason. Dates and revocation are judged at each use, because they change.

A root is trusted because somebody put it there: its own signature proves nothing (RFC 5280 6.1), so its hash does not
count; its name, its key, its dates and what it restricts itself to do.

Extended key usages of authorities restrict what is below them, as public S/MIME authorities have them: such an authority
counts for mail when it has emailProtection or anyExtendedKeyUsage, and for nothing else (paths.py). Name and policy
constraints are not implemented: an authority that carries one is left out, so that nothing it forbids is accepted.
IGC-Santé has none of them.

Which PKI (`pki` setting): production authorities are accepted by fingerprint only, and never stand beside others.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID

from mssgw.core import owner
from mssgw.core.errors import ConfigError
from mssgw.core.texts import Message, message
from mssgw.pki.certificates import Certificate, CertificateError
from mssgw.pki.policy import Use
from mssgw.trust.igc_sante import PRODUCTION

PkiName = Literal["igc-sante", "igc-sante-test", "private"]
MAX_DEPTH = 4  # authorities above a leaf, the root included
MAX_ANCHORS = 1000
_HANDLED_CRITICAL = {"2.5.29.19", "2.5.29.15", "2.5.29.32", "2.5.29.37"}  # basicConstraints, keyUsage, policies, extended key usage
MAIL_USAGES = frozenset(one.dotted_string for one in (ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE))
_UNSUPPORTED = {
    "2.5.29.30": "nameConstraints",
    "2.5.29.33": "policyMappings",
    "2.5.29.36": "policyConstraints",
    "2.5.29.54": "inhibitAnyPolicy",
}


@dataclass(frozen=True)
class Anchor:
    """A pinned authority with the authorities above it, the root last."""

    certificate: Certificate
    above: tuple[Anchor, ...] = ()

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint

    @property
    def path(self) -> tuple[Anchor, ...]:
        return (self, *self.above)

    @property
    def root(self) -> Anchor:
        return self.path[-1]

    @cached_property
    def signs_crls(self) -> bool:
        usage = self.certificate.key_usage
        return usage is None or usage.crl_sign

    @cached_property
    def usages(self) -> frozenset[str] | None:
        """The extended key usages it restricts itself to; None when it does not."""
        return self.certificate.extended_usages

    @cached_property
    def organisations(self) -> bool:
        """Whether this is the branch of organisations, as IGC-Santé names it."""
        return self.certificate.subject.first("CN").endswith("ORGANISATIONS")


@dataclass(frozen=True)
class Anchors:
    """All pinned authorities. `left_out` lists the certificates of the directory that don't count, and why."""

    pki: PkiName
    every: tuple[Anchor, ...]
    left_out: tuple[tuple[str, Message], ...] = ()

    @cached_property
    def _by_subject(self) -> dict[bytes, tuple[Anchor, ...]]:
        found: dict[bytes, tuple[Anchor, ...]] = {}
        for anchor in self.every:
            subject = anchor.certificate.subject_der
            found[subject] = (*found.get(subject, ()), anchor)
        return found

    @property
    def roots(self) -> tuple[Anchor, ...]:
        return tuple(anchor for anchor in self.every if not anchor.above)

    def named(self, subject_der: bytes) -> tuple[Anchor, ...]:
        """The authorities with exactly this name."""
        return self._by_subject.get(subject_der, ())

    @cached_property
    def version(self) -> str:
        return hashlib.sha256("".join(sorted(anchor.fingerprint for anchor in self.every)).encode()).hexdigest()

    def pem(self) -> str:
        return "".join(anchor.certificate.parsed.public_bytes(serialization.Encoding.PEM).decode() for anchor in self.every)


def load(directory: Path, pki: PkiName | None = None, fingerprints: Sequence[str] = ()) -> Anchors:
    """Read every certificate of the directory, or of one file. `pki` None: every authority in it is accepted (the command
    line's `--anchors`).

    Raises ConfigError when there is no root, or an authority that may not be there.
    """
    try:
        files = (
            [directory]
            if directory.is_file()
            else sorted(path for path in directory.iterdir() if path.is_file() and not path.name.startswith("."))
        )
    except OSError as error:
        raise ConfigError([("trust.anchors", message("at", place=directory, what=owner.of_public(error, directory)))]) from error
    found = {certificate.fingerprint: certificate for path in files for certificate in read_file(path, lenient=True)}
    if len(found) > MAX_ANCHORS:
        raise ConfigError([("trust.anchors", message("trust.anchors.many", path=directory, most=MAX_ANCHORS))])
    authorities = [certificate for certificate in found.values() if certificate.is_ca]
    if pki is None:
        pki = "igc-sante" if all(certificate.fingerprint in PRODUCTION for certificate in authorities) else "private"
    elif problems := [("trust.anchors", problem) for problem in strangers(authorities, pki, fingerprints)]:
        raise ConfigError(problems)
    anchors = build(authorities, pki)
    if not anchors.roots:
        raise ConfigError(
            [
                ("trust.anchors", message("trust.anchors.no-root", path=directory)),
                *(("trust.anchors", message("trust.anchors.left-out", name=name, why=why)) for name, why in anchors.left_out[:10]),
            ]
        )
    return anchors


def build(authorities: Iterable[Certificate], pki: PkiName = "private") -> Anchors:
    """Sort authorities into roots and intermediates and check each against the one above it."""
    left_out: list[tuple[str, Message]] = []
    placed: list[Anchor] = []
    waiting: list[Certificate] = []
    for certificate in authorities:
        if not _is_root(certificate):
            waiting.append(certificate)
        elif reason := _unfit(certificate):
            left_out.append((str(certificate.subject), reason))
        else:
            placed.append(Anchor(certificate))
    for _ in range(MAX_DEPTH):
        still = [each for each in waiting if not _place(each, placed, left_out)]
        if len(still) == len(waiting):
            break
        waiting = still
    left_out += [(str(certificate.subject), message("trust.anchors.no-issuer", issuer=certificate.issuer)) for certificate in waiting]
    return Anchors(pki, tuple(placed), tuple(left_out))


def _place(certificate: Certificate, placed: list[Anchor], left_out: list[tuple[str, Message]]) -> bool:
    """Put an intermediate under each authority that issued it. Returns whether its place (or that it has none) is known."""
    above = [anchor for anchor in placed if anchor.certificate.subject_der == certificate.issuer_der]
    if not above:
        return False
    problems = [(anchor, _unfit(certificate) or _misplaced(certificate, anchor)) for anchor in above]
    fit = [Anchor(certificate, anchor.path) for anchor, problem in problems if not problem]
    placed.extend(fit)
    if not fit:
        left_out.append((str(certificate.subject), next(problem for _, problem in problems if problem)))
    return True


def _is_root(certificate: Certificate) -> bool:
    """Self-signed, or so over a hash of old that nobody checks any more."""
    if certificate.self_signed:
        return True
    if not certificate.self_issued or certificate.authority_key_id not in (None, certificate.subject_key_id):
        return False
    try:
        certificate.require_strong_signature()
    except CertificateError:
        return True
    return False


def _unfit(certificate: Certificate) -> Message | None:
    """What keeps a certificate from being an authority, RFC 5280 4.2 and 6.1.4 (k)-(n); None when nothing does."""
    if problem := certificate.malformed:
        return message("words", words=problem)
    try:
        certificate.require_key(Use.ISSUE)
        if not _is_root(certificate):
            certificate.require_strong_signature()
        extended = certificate.extended_usages
    except CertificateError as error:
        return message("words", words=str(error))
    except ValueError as error:
        return message("trust.anchors.extensions", why=str(error))
    if extended is not None and not extended & MAIL_USAGES:
        return message("trust.anchors.not-for-mail")
    if not certificate.is_ca:
        return message("trust.anchors.no-authority")
    if not certificate.basic_constraints_critical:
        return message("trust.anchors.not-critical")
    if certificate.key_usage is None and not _is_root(certificate):
        return message("trust.anchors.no-usage")
    if certificate.key_usage and not certificate.key_usage.key_cert_sign:  # a root may have none, as `openssl req -x509` makes it
        return message("trust.anchors.usage")
    if not certificate.subject_key_id:
        return message("trust.anchors.no-identifier")
    if not certificate.subject.attributes:
        return message("trust.anchors.no-name")
    if _is_root(certificate) and certificate.authority_key_id not in (None, certificate.subject_key_id):
        return message("trust.anchors.identifiers")
    for oid, critical in certificate.extensions.items():
        if oid in _UNSUPPORTED:
            return message("trust.anchors.unsupported", what=_UNSUPPORTED[oid])
        if critical and oid not in _HANDLED_CRITICAL:
            return message("trust.anchors.critical", oid=oid)
    return None


def _misplaced(certificate: Certificate, anchor: Anchor) -> Message | None:
    """Why an intermediate may not be under this authority; None when it may."""
    if len(anchor.path) >= MAX_DEPTH:
        return message("trust.anchors.deep")
    if certificate.authority_key_id is None or certificate.authority_key_id != anchor.certificate.subject_key_id:
        return message("trust.anchors.other-issuer")
    for below, each in enumerate(anchor.path):
        limit = each.certificate.path_length
        if limit is not None and below >= limit:
            return message("trust.anchors.path-length", name=each.certificate.subject.first("CN"))
    try:
        certificate.parsed.verify_directly_issued_by(anchor.certificate.parsed)
    except (InvalidSignature, ValueError, TypeError):
        return message("trust.anchors.signature", name=anchor.certificate.subject.first("CN"))
    return None


def strangers(authorities: Iterable[Certificate], pki: PkiName, fingerprints: Sequence[str]) -> list[Message]:
    """A sentence for each authority that may not stand in this PKI."""
    problems = []
    for certificate in authorities:
        name, fingerprint = str(certificate.subject), certificate.fingerprint
        production, named_test = fingerprint in PRODUCTION, certificate.subject.first("CN").startswith("TEST ")
        if pki == "igc-sante" and named_test:
            problems.append(message("trust.anchors.test", name=name, fingerprint=fingerprint))
        elif pki == "igc-sante" and not production and fingerprint not in fingerprints:
            problems.append(message("trust.anchors.not-pinned", name=name, fingerprint=fingerprint))
        elif pki != "igc-sante" and production:
            problems.append(message("trust.anchors.production", name=name))
        elif pki == "igc-sante-test" and not named_test:
            problems.append(message("trust.anchors.not-test", name=name, fingerprint=fingerprint))
        elif (fingerprints or pki == "igc-sante-test") and pki != "igc-sante" and fingerprint not in fingerprints:
            problems.append(message("trust.anchors.not-listed", name=name, fingerprint=fingerprint))
    return problems


def read_file(path: Path, *, lenient: bool = False) -> list[Certificate]:
    """The certificates of a PEM, DER or PKCS#7 file. `lenient`: a file that is none of these is passed over."""
    octets = path.read_bytes() if path.stat().st_size <= 4_194_304 else b""
    try:
        return read_bundle(octets)
    except ValueError:
        if lenient:
            return []
        raise


def read_bundle(octets: bytes) -> list[Certificate]:
    """The certificates in PEM, DER, or PKCS#7 (p7b, PEM or DER) octets. Raises ValueError when it is none of these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # p7b files whose SET is not in DER order, as openssl writes them
        found = _certificates(octets)
    return [Certificate.read(each.public_bytes(serialization.Encoding.DER)) for each in found]


def _certificates(octets: bytes) -> list[x509.Certificate]:
    if b"-----BEGIN CERTIFICATE-----" in octets:
        return x509.load_pem_x509_certificates(octets)
    if b"-----BEGIN PKCS7-----" in octets:
        return pkcs7.load_pem_pkcs7_certificates(octets)
    try:
        return [x509.load_der_x509_certificate(octets)]
    except ValueError:
        return pkcs7.load_der_pkcs7_certificates(octets)
