"""Certificate: an X.509 certificate of any origin, read once into the facts that trust and S/MIME need.

The constructor looks at the outer shape only, and names and serial number stay the octets of the certificate: CMS matches
signers and readers octet by octet (RFC 5652 10.2.4). `cryptography` supplies everything else, when it is asked for.
`Certificate.read` asks for all that a path needs at once. What is a certificate but breaks RFC 5280 is read, and `malformed`
says how, so that a refusal can name it. Nothing here trusts anything.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Final, Self, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import AuthorityInformationAccessOID

from mssgw.pki import der, names, policy
from mssgw.pki.names import Name
from mssgw.pki.policy import KeyRefused, Kind, Problem, PublicKey, Use

MAX_OCTETS: Final = 64 * 1024
MAX_SERIAL_OCTETS: Final = 20  # RFC 5280 4.1.2.2
_NEVER_CRITICAL = {"2.5.29.35": "AuthorityKeyIdentifier", "2.5.29.14": "SubjectKeyIdentifier", "1.3.6.1.5.5.7.1.1": "AuthorityInfoAccess"}
_RSA_PSS: Final = der.oid("1.2.840.113549.1.1.10")

# What `cryptography` raises for malformed names, keys and extensions; found by fuzzing, TypeError too.
BROKEN = (
    ValueError,
    TypeError,
    OverflowError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
    Warning,
)

T = TypeVar("T", bound=x509.ExtensionType)


class CertificateError(ValueError):
    """Not a certificate that can be read, or not one that may be used so. `problem` is the kind, the text gives details."""

    def __init__(self, problem: Problem, text: str) -> None:
        super().__init__(text)
        self.problem = problem


class Certificate:
    """One certificate. `der` is the whole of it; two of them are equal when their octets are.

    Whatever can't be read or used is raised as `fault` makes it: CertificateError here.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_OCTETS:
            raise self.fault(Problem.LIMIT, f"certificate larger than {MAX_OCTETS} octets")
        try:
            tbs = der.inside(data, der.whole(data), der.SEQUENCE)[0]
            fields = der.inside(data, tbs, der.SEQUENCE)
            if fields[0][0] == 0xA0:  # [0] version
                fields = fields[1:]
            serial, _, issuer, _, subject, info = fields[:6]
        except (der.DerError, ValueError, IndexError) as error:
            raise self.fault(Problem.MALFORMED, "not an X.509 certificate") from error
        self.der = data
        self.serial_der = data[serial[1] : serial[3]]  # INTEGER with tag and length
        self.issuer_der = data[issuer[1] : issuer[3]]  # Name
        self.subject_der = data[subject[1] : subject[3]]
        self.self_issued = self.issuer_der == self.subject_der
        self._key_info = data[info[1] : info[3]]  # SubjectPublicKeyInfo

    @classmethod
    def read(cls, encoded: bytes) -> Self:
        """A certificate of which names, dates and serial number are known to be readable. Raises CertificateError."""
        made = cls(encoded)
        try:
            _ = made.parsed, made.serial, made.subject, made.issuer, made.not_before, made.not_after, made.malformed
        except BROKEN as error:
            if isinstance(error, CertificateError):
                raise
            raise made.fault(Problem.MALFORMED, _first_line(error)) from error
        return made

    @staticmethod
    def fault(problem: Problem, text: str) -> Exception:
        return CertificateError(problem, text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    @cached_property
    def parsed(self) -> x509.Certificate:
        """As `cryptography` reads it, whose properties may raise any of BROKEN. Raises the fault MALFORMED."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # serials that `malformed` names
                return x509.load_der_x509_certificate(self.der)
        except BROKEN as error:
            raise self.fault(Problem.MALFORMED, _first_line(error)) from error

    @cached_property
    def subject(self) -> Name:
        """Raises NameSyntaxError."""
        return names.from_der(self.subject_der)

    @cached_property
    def issuer(self) -> Name:
        """Raises NameSyntaxError."""
        return names.from_der(self.issuer_der)

    @cached_property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.der).digest()

    @property
    def fingerprint(self) -> str:
        """SHA-256, hex."""
        return self.sha256.hex()

    @cached_property
    def serial(self) -> int:
        content = der.whole(self.serial_der, der.INTEGER)[2]
        return int.from_bytes(self.serial_der[content:], "big", signed=True)

    @cached_property
    def not_before(self) -> datetime:
        return self.parsed.not_valid_before_utc

    @cached_property
    def not_after(self) -> datetime:
        return self.parsed.not_valid_after_utc

    @cached_property
    def label(self) -> str:
        """Its name for people."""
        return self.subject.first("CN") or str(self.subject)

    @cached_property
    def self_signed(self) -> bool:
        if not self.self_issued:
            return False
        try:
            self.parsed.verify_directly_issued_by(self.parsed)
        except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
            return False
        return True

    def valid_at(self, moment: datetime) -> bool:
        return self.not_before <= moment <= self.not_after

    # -- the key -----------------------------------------------------------------------------------------------------

    @cached_property
    def _accepted(self) -> tuple[PublicKey, Kind]:
        try:
            key = self.parsed.public_key()
        except BROKEN as error:
            raise self.fault(Problem.UNSUPPORTED, "public key of a kind we don't know") from error
        try:
            kind = policy.kind_of(key)
        except KeyRefused as error:
            raise self.fault(error.problem, str(error)) from error
        if isinstance(key, ec.EllipticCurvePublicKey):
            # RFC 5480 2.1.1: parameters written out could describe any curve.
            written = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            if written != self._key_info:
                raise self.fault(Problem.UNSUPPORTED, f"{kind.name} key that is not a named curve and an uncompressed point")
        return key, kind

    @property
    def public_key(self) -> PublicKey:
        """The public key, of a kind and size that the table of `policy` has. Raises the fault."""
        return self._accepted[0]

    @property
    def kind(self) -> Kind:
        """The row of its key in the table of `policy`. Raises the fault."""
        return self._accepted[1]

    def require_key(self, use: Use) -> Kind:
        """Its key may be used so by the table of `policy`. Raises the fault."""
        try:
            policy.require_use(self.kind, use)
        except KeyRefused as error:
            raise self.fault(error.problem, str(error)) from error
        return self.kind

    @cached_property
    def pss(self) -> bytes | None:
        """Of an id-RSASSA-PSS key its parameters, b"" without any; None for every other key, rsaEncryption too (RFC 4055 1.2)."""
        try:
            algorithm = der.inside(self._key_info, der.whole(self._key_info), der.SEQUENCE, 2, 2)[0]
            parts = der.inside(self._key_info, algorithm, der.SEQUENCE, 2, 1)
        except der.DerError:
            return None
        oid, *parameters = [self._key_info[one[1] : one[3]] for one in parts]
        return b"".join(parameters) if oid == _RSA_PSS else None

    def require_strong_signature(self) -> None:
        """Checks that its issuer signed it over a collision-resistant hash. Raises the fault WEAK."""
        try:
            digest = self.parsed.signature_hash_algorithm
        except UnsupportedAlgorithm:
            digest = None
        if digest is None or digest.name not in policy.ISSUING_HASHES:
            raise self.fault(Problem.WEAK, f"signed with {digest.name if digest else 'an unknown hash'} (needed: SHA-256 or longer)")

    # -- extensions: of a malformed certificate they are as good as absent, and whoever decides by one asks `malformed` first -----

    @cached_property
    def _basic(self) -> x509.Extension[x509.BasicConstraints] | None:
        return self._fact(x509.BasicConstraints)

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
        found = self._fact(x509.KeyUsage)
        return found.value if found else None

    @cached_property
    def extended_usages(self) -> frozenset[str] | None:
        found = self._fact(x509.ExtendedKeyUsage)
        return frozenset(each.dotted_string for each in found.value) if found else None

    @cached_property
    def policies(self) -> frozenset[str]:
        found = self._fact(x509.CertificatePolicies)
        return frozenset(each.policy_identifier.dotted_string for each in found.value) if found else frozenset()

    @cached_property
    def subject_key_id(self) -> bytes | None:
        found = self._fact(x509.SubjectKeyIdentifier)
        return found.value.digest if found else None

    @cached_property
    def authority_key_id(self) -> bytes | None:
        """The key identifier; b"" when the extension names its issuer otherwise (RFC 5280 4.2.1.1: it must be there)."""
        found = self._fact(x509.AuthorityKeyIdentifier)
        if found is None:
            return None
        return (found.value.key_identifier or b"") if found.value.authority_cert_issuer is None else b""

    @cached_property
    def dns_names(self) -> tuple[str, ...]:
        found = self._fact(x509.SubjectAlternativeName)
        return tuple(found.value.get_values_for_type(x509.DNSName)) if found else ()

    @cached_property
    def crl_urls(self) -> tuple[str, ...]:
        """http and https addresses of its CRL. LDAP ones (and the delta CRLs, which are LDAP only) are passed over."""
        found = self._fact(x509.CRLDistributionPoints)
        points = [point for point in found.value if point.full_name and not point.reasons and not point.crl_issuer] if found else []
        return tuple(
            _http(name.value for point in points for name in point.full_name or () if isinstance(name, x509.UniformResourceIdentifier))
        )

    @cached_property
    def crl_points(self) -> frozenset[str]:
        """Every address of its CRL, LDAP ones too: what an issuing distribution point is compared with."""
        found = self._fact(x509.CRLDistributionPoints)
        return (
            frozenset(
                name.value for point in found.value for name in point.full_name or () if isinstance(name, x509.UniformResourceIdentifier)
            )
            if found
            else frozenset()
        )

    @cached_property
    def needs_delta(self) -> bool:
        """Whether its complete CRL is not enough: it names a delta CRL (RFC 5280 4.2.1.15) that is not over LDAP only."""
        found = self._fact(x509.FreshestCRL)
        names = [name.value for point in found.value for name in point.full_name or ()] if found else []
        return bool(found) and not (names and all(str(name).startswith("ldap:") for name in names))

    @cached_property
    def ocsp_urls(self) -> tuple[str, ...]:
        found = self._fact(x509.AuthorityInformationAccess)
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

    @cached_property
    def _held(self) -> x509.Extensions:
        try:
            return self.parsed.extensions
        except BROKEN as error:
            raise self.fault(Problem.MALFORMED, "certificate extensions can't be read") from error

    def extension(self, kind: type[T]) -> T | None:
        """One extension. Raises the fault when the extensions can't be read: then it may be there or not."""
        try:
            return self._held.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    def _fact(self, kind: type[T]) -> x509.Extension[T] | None:
        if self.malformed:
            return None
        try:
            return self.parsed.extensions.get_extension_for_class(kind)
        except x509.ExtensionNotFound:
            return None

    @cached_property
    def extensions(self) -> dict[str, bool]:
        """Critical or not, by OID; none when they can't be read."""
        try:
            return {each.oid.dotted_string: each.critical for each in self.parsed.extensions}
        except BROKEN:
            return {}

    @cached_property
    def malformed(self) -> str:
        """What RFC 5280 4.1 and 4.2 forbid in this certificate; "" when nothing."""
        try:
            _ = self.parsed.extensions
        except x509.DuplicateExtension as error:
            return f"extension {error.oid.dotted_string} stands in it twice"
        except (ValueError, TypeError, x509.UnsupportedGeneralNameType) as error:  # the latter: x400Address, ediPartyName
            return f"its extensions can't be read ({_first_line(error)})"
        if self.parsed.version is not x509.Version.v3:
            return "it is not version 3"
        if self.serial <= 0 or self.serial.bit_length() > 8 * MAX_SERIAL_OCTETS - 1:
            return f"its serial number is not a positive number of at most {MAX_SERIAL_OCTETS} octets"
        for oid, name in _NEVER_CRITICAL.items():
            if self.extensions.get(oid):
                return f"{name} is critical"
        return ""


def _http(urls: Iterable[str]) -> list[str]:
    return [url for url in urls if url.startswith(("http://", "https://")) and len(url) < 1024]


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
