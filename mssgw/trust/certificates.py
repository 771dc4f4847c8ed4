"""Certificate: a stranger's X.509 certificate read once, into the facts that judgements need.

`read` raises CertificateError when the octets are no certificate. What is a certificate but breaks RFC 5280 is read,
and `malformed` says how, so that a refusal can name it. Nothing here trusts anything.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import AuthorityInformationAccessOID

from mssgw.trust import der, names
from mssgw.trust.names import Name

MAX_OCTETS = 65_536
MAX_KEY_BITS = 8192
MIN_RSA_BITS = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1")
_HASHES = ("sha256", "sha384", "sha512")
_NEVER_CRITICAL = {"2.5.29.35": "AuthorityKeyIdentifier", "2.5.29.14": "SubjectKeyIdentifier", "1.3.6.1.5.5.7.1.1": "AuthorityInfoAccess"}


T = TypeVar("T", bound=x509.ExtensionType)


class CertificateError(ValueError):
    """Not a certificate that can be read."""


@dataclass(frozen=True)
class Certificate:
    der: bytes
    parsed: x509.Certificate
    subject: Name
    subject_der: bytes
    issuer: Name
    issuer_der: bytes
    extensions: dict[str, bool]  # OID -> critical
    malformed: str  # how it breaks RFC 5280; "" when it doesn't

    @classmethod
    def read(cls, encoded: bytes) -> Certificate:
        """Read DER. Raises CertificateError."""
        if len(encoded) > MAX_OCTETS:
            raise CertificateError(f"larger than {MAX_OCTETS} octets")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # serials that `malformed` names
                parsed = x509.load_der_x509_certificate(encoded)
                serial = parsed.serial_number
            issuer, subject = der.names_of(encoded)
            _ = parsed.not_valid_before_utc, parsed.not_valid_after_utc
            found = cls(encoded, parsed, names.from_der(subject), subject, names.from_der(issuer), issuer, *_extensions(parsed, serial))
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CertificateError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
        return found

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.der).hexdigest()

    @property
    def serial(self) -> int:
        return self.parsed.serial_number

    @cached_property
    def not_before(self) -> datetime:
        return self.parsed.not_valid_before_utc

    @cached_property
    def not_after(self) -> datetime:
        return self.parsed.not_valid_after_utc

    @cached_property
    def label(self) -> str:
        """What a person knows it by."""
        return self.subject.first("CN") or str(self.subject)

    @cached_property
    def self_signed(self) -> bool:
        if self.subject_der != self.issuer_der:
            return False
        try:
            self.parsed.verify_directly_issued_by(self.parsed)
        except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
            return False
        return True

    @cached_property
    def _basic(self) -> x509.Extension[x509.BasicConstraints] | None:
        return self._extension(x509.BasicConstraints)

    @property
    def is_ca(self) -> bool:
        return self._basic is not None and self._basic.value.ca

    @property
    def basic_constraints_critical(self) -> bool:
        return self._basic is not None and self._basic.critical

    @property
    def path_length(self) -> int | None:
        return self._basic.value.path_length if self._basic else None

    @cached_property
    def key_usage(self) -> x509.KeyUsage | None:
        found = self._extension(x509.KeyUsage)
        return found.value if found else None

    @cached_property
    def extended_usages(self) -> frozenset[str] | None:
        found = self._extension(x509.ExtendedKeyUsage)
        return frozenset(each.dotted_string for each in found.value) if found else None

    @cached_property
    def policies(self) -> frozenset[str]:
        found = self._extension(x509.CertificatePolicies)
        return frozenset(each.policy_identifier.dotted_string for each in found.value) if found else frozenset()

    @cached_property
    def subject_key_id(self) -> bytes | None:
        found = self._extension(x509.SubjectKeyIdentifier)
        return found.value.digest if found else None

    @cached_property
    def authority_key_id(self) -> bytes | None:
        """The key identifier; b"" when the extension names its issuer otherwise (RFC 5280 4.2.1.1: it must be there)."""
        found = self._extension(x509.AuthorityKeyIdentifier)
        if found is None:
            return None
        return (found.value.key_identifier or b"") if found.value.authority_cert_issuer is None else b""

    @cached_property
    def dns_names(self) -> tuple[str, ...]:
        found = self._extension(x509.SubjectAlternativeName)
        return tuple(found.value.get_values_for_type(x509.DNSName)) if found else ()

    @cached_property
    def crl_urls(self) -> tuple[str, ...]:
        """http and https addresses of its CRL. LDAP ones (and the delta CRLs, which are LDAP only) are passed over."""
        found = self._extension(x509.CRLDistributionPoints)
        points = [point for point in found.value if point.full_name and not point.reasons and not point.crl_issuer] if found else []
        return tuple(
            _http(name.value for point in points for name in point.full_name or () if isinstance(name, x509.UniformResourceIdentifier))
        )

    @cached_property
    def crl_points(self) -> frozenset[str]:
        """Every address of its CRL, LDAP ones too: what an issuing distribution point is compared with."""
        found = self._extension(x509.CRLDistributionPoints)
        return (
            frozenset(
                name.value for point in found.value for name in point.full_name or () if isinstance(name, x509.UniformResourceIdentifier)
            )
            if found
            else frozenset()
        )

    @cached_property
    def needs_delta(self) -> bool:
        """Whether its complete CRL is not the last word: a delta CRL (RFC 5280 4.2.1.15) that is not over LDAP only."""
        found = self._extension(x509.FreshestCRL)
        names = [name.value for point in found.value for name in point.full_name or ()] if found else []
        return bool(found) and not (names and all(str(name).startswith("ldap:") for name in names))

    @cached_property
    def ocsp_urls(self) -> tuple[str, ...]:
        found = self._extension(x509.AuthorityInformationAccess)
        return (
            tuple(
                _http(
                    each.access_location.value
                    for each in found.value
                    if each.access_method == AuthorityInformationAccessOID.OCSP
                    and isinstance(each.access_location, x509.UniformResourceIdentifier)
                )
            )
            if found
            else ()
        )

    def _extension(self, kind: type[T]) -> x509.Extension[T] | None:
        if self.malformed:
            return None
        try:
            return self.parsed.extensions.get_extension_for_class(kind)
        except x509.ExtensionNotFound:
            return None


def _http(urls: Iterable[str]) -> list[str]:
    return [url for url in urls if url.startswith(("http://", "https://")) and len(url) < 1024]


def _extensions(parsed: x509.Certificate, serial: int) -> tuple[dict[str, bool], str]:
    """Critical or not by OID, and what RFC 5280 4.1 and 4.2 forbid in this certificate."""
    try:
        extensions = parsed.extensions
    except x509.DuplicateExtension as error:
        return {}, f"extension {error.oid.dotted_string} stands in it twice"
    except (ValueError, TypeError, x509.UnsupportedGeneralNameType) as error:  # the latter: x400Address, ediPartyName
        return {}, f"its extensions can't be read ({str(error).partition(chr(10))[0]})"
    found = {each.oid.dotted_string: each.critical for each in extensions}
    if parsed.version is not x509.Version.v3:
        return found, "it is not version 3"
    if serial <= 0 or serial.bit_length() > 159:
        return found, "its serial number is not a positive number of at most 20 octets"
    for oid, name in _NEVER_CRITICAL.items():
        if found.get(oid):
            return found, f"{name} is critical"
    return found, ""


def weakness(certificate: Certificate) -> str:
    """Why its key or its signature is below the minimum; "" when they are not."""
    try:
        key = certificate.parsed.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "its key is of an unknown kind"
    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_KEY_BITS or key.key_size % 8:
            return f"its RSA key has {key.key_size} bits (needed: {MIN_RSA_BITS} to {MAX_KEY_BITS}, whole octets)"
        if (exponent := key.public_numbers().e) < 65537 or exponent.bit_length() > 64:
            return f"its RSA exponent is {exponent if exponent < 65537 else 'huge'} (needed: 65537)"
    elif not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES or not _named_curve(certificate):
        return "its key is neither RSA nor on a curve of the national guide"
    try:
        digest = certificate.parsed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        digest = None
    if digest is None or digest.name not in _HASHES:
        return f"it is signed with {digest.name if digest else 'an unknown hash'} (needed: SHA-256 or longer)"
    return ""


def _named_curve(certificate: Certificate) -> bool:
    """RFC 5480 2.1.1: parameters written out could describe any curve."""
    info = certificate.parsed.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return info in certificate.der
