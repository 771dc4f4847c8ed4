"""Certificate: what S/MIME needs to know of an X.509 certificate, parsed once and remembered.

Names and serial numbers are the octets of the certificate itself, because recipients and signers are
matched octet by octet (RFC 5652 10.2.4); `cryptography` supplies the public key and the extensions.
Nothing here decides about trust: that is `core.pki.Validate`, injected.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, rsa, x25519

from mssgw.core.address import Address, AddressError
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.wire import der, oids

MAX_CERTIFICATE = 64 * 1024  # octets (docs/reference/crypto.md 9.19)
MAX_ADDRESSES = 64
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192

# What `cryptography` raises at names, keys and extensions that strangers made; found by fuzzing, TypeError too.
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

# What RFC 4514 leaves as numbers, and people's certificates carry: X.520 names, as the whitelist writes them.
_SHORT = {
    x509.NameOID.SURNAME: "SN",
    x509.NameOID.GIVEN_NAME: "GN",
    x509.NameOID.SERIAL_NUMBER: "SERIALNUMBER",
    x509.NameOID.TITLE: "TITLE",
    x509.NameOID.ORGANIZATION_IDENTIFIER: "ORGANIZATIONIDENTIFIER",
    x509.NameOID.EMAIL_ADDRESS: "EMAILADDRESS",
}

PublicKey = Any  # whatever `cryptography` loads; each user matches on the classes it can use


class Certificate:
    """One certificate. `der` is the whole of it; two of them are equal when their octets are."""

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_CERTIFICATE:
            raise SmimeError(Reason.LIMIT, "certificate over 64 kB")
        try:
            tbs = der.inside(data, der.whole(data), der.SEQUENCE)[0]
            fields = der.inside(data, tbs, der.SEQUENCE)
            if fields[0][0] == 0xA0:
                fields = fields[1:]
            serial, _, issuer, _, subject, info = fields[:6]
        except (der.DerError, ValueError, IndexError) as error:
            raise SmimeError(Reason.MALFORMED, "not an X.509 certificate") from error
        number = data[serial[2] : serial[3]]
        if number[:1] >= b"\x80" or not number.strip(b"\0") or len(number) > 20:
            raise SmimeError(Reason.MALFORMED, "serial number is not positive or too long")  # RFC 5280 4.1.2.2
        self.der = data
        self.serial = data[serial[1] : serial[3]]  # INTEGER with tag and length
        self.issuer = data[issuer[1] : issuer[3]]  # Name
        self.subject = data[subject[1] : subject[3]]
        self.self_issued = self.issuer == self.subject
        self._key_info = data[info[1] : info[3]]  # SubjectPublicKeyInfo

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    @cached_property
    def issuer_and_serial(self) -> bytes:
        """IssuerAndSerialNumber (RFC 5652 10.2.4), DER."""
        return der.sequence(self.issuer, self.serial)

    @cached_property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.der).digest()

    @property
    def fingerprint(self) -> str:
        return self.sha256.hex()

    @cached_property
    def parsed(self) -> x509.Certificate:
        try:
            return x509.load_der_x509_certificate(self.der)
        except BROKEN as error:
            raise SmimeError(Reason.MALFORMED, "certificate can't be read") from error

    @cached_property
    def public_key(self) -> PublicKey:
        """The public key. Raises SmimeError when its kind or size is not one we use."""
        try:
            key = self.parsed.public_key()
        except BROKEN as error:
            raise SmimeError(Reason.UNSUPPORTED, "public key of a kind we don't know") from error
        check_public_key(key)
        return key

    @cached_property
    def pss(self) -> bytes | None:
        """Of an id-RSASSA-PSS key its parameters, b"" without any; None for every other key, rsaEncryption too (RFC 4055 1.2)."""
        try:
            algorithm = der.inside(self._key_info, der.whole(self._key_info), der.SEQUENCE, 2, 2)[0]
            parts = der.inside(self._key_info, algorithm, der.SEQUENCE, 2, 1)
        except der.DerError:
            return None
        oid, *parameters = [self._key_info[one[1] : one[3]] for one in parts]
        return b"".join(parameters) if oid == oids.RSA_PSS else None

    @cached_property
    def name(self) -> str:
        """The subject for people, control characters escaped (docs/reference/crypto.md 9.32)."""
        try:
            return printable(self.parsed.subject.rfc4514_string(_SHORT))
        except (SmimeError, *BROKEN):
            return "(unreadable subject)"

    @cached_property
    def issuer_name(self) -> str:
        try:
            return printable(self.parsed.issuer.rfc4514_string(_SHORT))
        except (SmimeError, *BROKEN):
            return "(unreadable issuer)"

    @property
    def serial_hex(self) -> str:
        return self.serial[2:].hex()

    def valid_at(self, moment: datetime) -> bool:
        return self.parsed.not_valid_before_utc <= moment <= self.parsed.not_valid_after_utc

    @cached_property
    def _extensions(self) -> x509.Extensions:
        try:
            return self.parsed.extensions
        except BROKEN as error:
            raise SmimeError(Reason.MALFORMED, "certificate extensions can't be read") from error

    @cached_property
    def key_id(self) -> bytes | None:
        """SubjectKeyIdentifier."""
        try:
            digest: bytes = self._extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
            return digest
        except x509.ExtensionNotFound:
            return None

    @cached_property
    def _usage(self) -> x509.KeyUsage | None:
        try:
            return self._extensions.get_extension_for_class(x509.KeyUsage).value
        except x509.ExtensionNotFound:
            return None

    def require_encryption_use(self) -> None:
        """RFC 8550 4.4.2: keyEncipherment for RSA and KEMs, keyAgreement for curves. Raises SmimeError.

        Without a key usage extension nothing is restricted (RFC 5280 4.2.1.3).
        """
        if self.pss is not None:
            raise SmimeError(Reason.USAGE, "an RSASSA-PSS key only signs")  # RFC 4055 1.2
        usage, key = self._usage, self.public_key
        agrees = isinstance(key, ec.EllipticCurvePublicKey | x25519.X25519PublicKey)
        if usage is not None and not (usage.key_agreement if agrees else usage.key_encipherment):
            raise SmimeError(Reason.USAGE, "key usage does not allow encryption")
        if isinstance(key, ed25519.Ed25519PublicKey | mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey):
            raise SmimeError(Reason.USAGE, "this kind of key only signs")

    def require_signing_use(self) -> None:
        """RFC 8550 4.4.2: digitalSignature or nonRepudiation. Raises SmimeError."""
        usage = self._usage
        if usage is not None and not (usage.digital_signature or usage.content_commitment):
            raise SmimeError(Reason.USAGE, "key usage does not allow signatures")

    @cached_property
    def addresses(self) -> tuple[Address, ...]:
        """Mail addresses of the subject: rfc822Name, SmtpUTF8Mailbox (RFC 9598), else the subject's emailAddress.

        Names of a wrong form are left out. Raises SmimeError when one holds NUL or control characters (docs/reference/crypto.md 9.8):
        such a certificate names somebody, so it must not pass for a card, which names nobody.
        """
        found: list[str] = []
        try:
            names = self._extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            names = None
        if names is not None:
            found += [name.value for name in names if isinstance(name, x509.RFC822Name)]
            found += [text for name in names if isinstance(name, x509.OtherName) and (text := _utf8_mailbox(name))]
        if not found:
            try:
                found = [str(one.value) for one in self.parsed.subject.get_attributes_for_oid(x509.NameOID.EMAIL_ADDRESS)]
            except BROKEN as error:
                raise SmimeError(Reason.MALFORMED, "subject of the certificate can't be read") from error
        if not all(text.isprintable() for text in found):
            raise SmimeError(Reason.CERTIFICATE, "an address in the certificate has control characters in it")
        parsed = (_address(text) for text in found[:MAX_ADDRESSES])
        return tuple(dict.fromkeys(address for address in parsed if address))


def _utf8_mailbox(name: x509.OtherName) -> str | None:
    if name.type_id.dotted_string != "1.3.6.1.5.5.7.8.9":  # id-on-SmtpUTF8Mailbox
        return None
    try:
        element = der.whole(name.value, 0x0C)
        return name.value[element[2] : element[3]].decode("utf-8")
    except ValueError:
        return None


def _address(text: str) -> Address | None:
    try:
        return Address.parse(text)
    except AddressError:
        return None


def check_public_key(key: PublicKey) -> None:
    """Kinds and sizes we use (docs/reference/crypto.md 9.14, 9.16, 9.19). Raises SmimeError."""
    if isinstance(key, rsa.RSAPublicKey):
        exponent = key.public_numbers().e
        if key.key_size < MIN_RSA_BITS:
            raise SmimeError(Reason.WEAK, f"RSA key of {key.key_size} bits")
        if key.key_size > MAX_RSA_BITS or exponent.bit_length() > 64:
            raise SmimeError(Reason.LIMIT, "RSA key too large")
        if exponent < 65537 or exponent % 2 == 0:
            raise SmimeError(Reason.WEAK, "RSA exponent under 65537")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1):
            raise SmimeError(Reason.UNSUPPORTED, f"curve {key.curve.name}")
    elif not isinstance(key, _OTHER_KEYS):
        raise SmimeError(Reason.UNSUPPORTED, f"key of kind {type(key).__name__}")


_OTHER_KEYS = (
    ed25519.Ed25519PublicKey,
    x25519.X25519PublicKey,
    mldsa.MLDSA44PublicKey,
    mldsa.MLDSA65PublicKey,
    mldsa.MLDSA87PublicKey,
    mlkem.MLKEM768PublicKey,
    mlkem.MLKEM1024PublicKey,
)


def printable(text: str, most: int = 512) -> str:
    """Text fit for logs and terminals: no controls, no direction marks, bounded."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text[:most])


@der.lasting(8 * 1024, 4096)
def certificate(data: bytes) -> Certificate:
    """The Certificate of these octets, parsed once. Raises SmimeError."""
    return Certificate(data)
