"""Certificate: what S/MIME asks of an X.509 certificate, parsed once and remembered.

The facts come from `pki.certificates`, the accepted keys from `pki.policy`; what is wrong with one is raised as SmimeError.
Nothing here decides about trust: that is `pki.judgement.Validate`, injected.
"""

from __future__ import annotations

from functools import cached_property

from cryptography import x509

from mssgw.core.address import Address, AddressError
from mssgw.pki import certificates, der, policy
from mssgw.pki.certificates import BROKEN, MAX_SERIAL_OCTETS
from mssgw.pki.policy import KeyRefused, Problem, PublicKey, Use
from mssgw.smime.errors import Reason, SmimeError

MAX_ADDRESSES = 64
MAX_HOLDER = 64  # characters

# Attribute types in people's certificates that RFC 4514 leaves as numbers: their X.520 names, as the whitelist writes them.
_SHORT = {
    x509.NameOID.SURNAME: "SN",
    x509.NameOID.GIVEN_NAME: "GN",
    x509.NameOID.SERIAL_NUMBER: "SERIALNUMBER",
    x509.NameOID.TITLE: "TITLE",
    x509.NameOID.ORGANIZATION_IDENTIFIER: "ORGANIZATIONIDENTIFIER",
    x509.NameOID.EMAIL_ADDRESS: "EMAILADDRESS",
}


class Certificate(certificates.Certificate):
    """One certificate as a signer's or a reader's."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        number = self.serial_der[der.whole(self.serial_der, self.serial_der[0])[2] :]
        if number[:1] >= b"\x80" or not number.strip(b"\0") or len(number) > MAX_SERIAL_OCTETS:
            raise SmimeError(Reason.MALFORMED, "serial number is not positive or too long")

    @staticmethod
    def fault(problem: Problem, text: str) -> Exception:
        return SmimeError(Reason(problem), text)

    @cached_property
    def issuer_and_serial(self) -> bytes:
        """IssuerAndSerialNumber (RFC 5652 10.2.4), DER."""
        return der.sequence(self.issuer_der, self.serial_der)

    @cached_property
    def name(self) -> str:
        """The subject for people, control characters escaped (docs/reference/crypto.md 9.32)."""
        try:
            return printable(self.parsed.subject.rfc4514_string(_SHORT))
        except (SmimeError, *BROKEN):
            return "(unreadable subject)"

    @cached_property
    def holder(self) -> str:
        """Whose it is in a few words, for a sentence: given name and surname, else the common name; "" when there is neither."""
        try:
            names = {one.oid: str(one.value) for one in self.parsed.subject}
        except (SmimeError, *BROKEN):
            return ""
        person = [names[oid] for oid in (x509.NameOID.GIVEN_NAME, x509.NameOID.SURNAME) if oid in names]
        return printable(" ".join(person) or names.get(x509.NameOID.COMMON_NAME, ""), MAX_HOLDER)

    @cached_property
    def issuer_name(self) -> str:
        try:
            return printable(self.parsed.issuer.rfc4514_string(_SHORT))
        except (SmimeError, *BROKEN):
            return "(unreadable issuer)"

    @property
    def serial_hex(self) -> str:
        return self.serial_der[2:].hex()

    @cached_property
    def key_id(self) -> bytes | None:
        """SubjectKeyIdentifier. Raises SmimeError."""
        found = self.extension(x509.SubjectKeyIdentifier)
        return found.digest if found else None

    def require_encryption_use(self) -> None:
        """RFC 8550 4.4.2: keyEncipherment for RSA and KEMs, keyAgreement for curves. Raises SmimeError.

        Without a key usage extension nothing is restricted (RFC 5280 4.2.1.3).
        """
        if self.pss is not None:
            raise SmimeError(Reason.USAGE, "an RSASSA-PSS key only signs")  # RFC 4055 1.2
        kind, usage = self.require_key(Use.ENCRYPT), self.extension(x509.KeyUsage)
        if usage is not None and not getattr(usage, kind.wraps):
            raise SmimeError(Reason.USAGE, "key usage does not allow encryption")

    def require_signing_use(self) -> None:
        """RFC 8550 4.4.2: digitalSignature or nonRepudiation. Raises SmimeError."""
        _ = self._fit_to_sign

    @cached_property
    def _fit_to_sign(self) -> None:
        """Looked at once for each certificate, whatever the number of its signatures."""
        usage = self.extension(x509.KeyUsage)
        if usage is not None and not (usage.digital_signature or usage.content_commitment):
            raise SmimeError(Reason.USAGE, "key usage does not allow signatures")
        self.require_key(Use.SIGN)

    @cached_property
    def addresses(self) -> tuple[Address, ...]:
        """Mail addresses of the subject: rfc822Name, SmtpUTF8Mailbox (RFC 9598), else the subject's emailAddress.

        Names of a wrong form are left out. Raises SmimeError when one holds NUL or control characters (docs/reference/crypto.md 9.8):
        such a certificate names somebody, so it must not pass for a card, which names nobody.
        """
        found: list[str] = []
        names = self.extension(x509.SubjectAlternativeName)
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

    @property
    def address_keys(self) -> frozenset[str]:
        """Its addresses as they compare (`Address.key`); none when they can't be read: such a certificate is bound to nobody."""
        try:
            return frozenset(address.key for address in self.addresses)
        except SmimeError:
            return frozenset()


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
    try:
        policy.kind_of(key)
    except KeyRefused as error:
        raise SmimeError(Reason(error.problem), str(error)) from error


def printable(text: str, most: int = 512) -> str:
    """Text fit for logs and terminals: no controls, no direction marks, bounded."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text[:most])


@der.lasting(8 * 1024, 4096)
def certificate(data: bytes) -> Certificate:
    """The Certificate of these octets, parsed once. Raises SmimeError."""
    return Certificate(data)
