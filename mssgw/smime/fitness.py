"""Whether a certificate is meant for mail: checked before it signs or is encrypted to, not left to the readers of the message.

What a profile forbids is refused: a key usage without signatures or encryption (RFC 8550 4.4.2), and, in IGC-Santé, whose
classes define the use of a certificate, an extended key usage without mail (an ORG_AUTH or SERV_SSL certificate).
What a reader may still accept is a doubt: another PKI's certificate made for something else (RFC 8550 4.4.4), one
that is not valid today.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mssgw.core.message import Headers
from mssgw.core.texts import Message, message
from mssgw.pki.certificates import BROKEN
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.judging import author_of
from mssgw.smime.keys.certificates import Certificate, printable

IGC_SANTE: Final = "1.2.250.1.213.1.7."  # policies of ANS, production and test (docs/reference/crypto.md 1.2)
_MAIL: Final = (ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
_SPOKEN: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning",
    ExtendedKeyUsageOID.SMARTCARD_LOGON: "smartcardLogon",
}

Use = Literal["sign", "encrypt"]


class Unfit(SmimeError):
    """A certificate's profile forbids its use. `message` names it."""

    def __init__(self, word: Literal["purpose", "sign", "encrypt"], detail: str = "", **facts: str) -> None:
        said = message(f"smime.unfit.{word}", **facts)
        super().__init__(Reason.USAGE, detail or said.en, said)


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why readers may not accept what is made with a certificate. `word` is stable, for programs."""

    word: Literal["purpose", "authority", "expired", "not-yet-valid", "author", "no-author"]
    facts: dict[str, str]

    @property
    def message(self) -> Message:
        return message(f"smime.doubt.{self.word}", **self.facts)


def doubts(one: Certificate, use: Use, now: datetime) -> tuple[Doubt, ...]:
    """Raises Unfit (certificate-usage) for what the certificate's profile forbids, SmimeError for what can't be used at all."""
    try:
        if use == "sign":
            one.require_signing_use()
        else:
            one.require_encryption_use()
    except SmimeError as error:
        if error.reason is Reason.USAGE:
            raise Unfit(use, error.where, subject=one.name) from error
        raise
    found = []
    purposes, policies, authority = _purposes(one)
    if authority:
        found.append(Doubt("authority", {"subject": one.name}))
    if purposes and not any(oid in purposes for oid in _MAIL):
        named = ", ".join(_SPOKEN.get(oid, oid.dotted_string) for oid in purposes[:6])
        if any(policy.startswith(IGC_SANTE) for policy in policies):
            raise Unfit("purpose", subject=one.name, purposes=named)
        found.append(Doubt("purpose", {"subject": one.name, "purposes": named}))
    try:
        start, end = one.parsed.not_valid_before_utc, one.parsed.not_valid_after_utc
    except BROKEN as error:
        raise SmimeError(Reason.MALFORMED, "certificate dates can't be read") from error
    dates = {"subject": one.name, "start": f"{start:%Y-%m-%d}", "end": f"{end:%Y-%m-%d}"}
    if now > end:
        found.append(Doubt("expired", dates))
    elif now < start:
        found.append(Doubt("not-yet-valid", dates))
    return tuple(found)


def author_doubts(one: Certificate, headers: Headers) -> tuple[Doubt, ...]:
    """A From that readers will not find in the signer's certificate."""
    author, _ = author_of(headers)
    if author is None:
        return (Doubt("no-author", {"subject": one.name}),)
    return () if author in one.addresses else (Doubt("author", {"subject": one.name, "author": printable(str(author), 320)}),)


def readers(held: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Of the certificates in a file those of people and services, all of them: not the authorities above them.

    Of a holder with one certificate that only signs and another one, the other is used.
    """
    issuers = {one.issuer_der for one in held if not one.self_issued}
    people = [one for one in held if not _purposes(one)[2]] or [one for one in held if one.subject_der not in issuers] or list(held[:1])
    reached = {one.subject_der for one in people if _can_read(one)}
    return tuple(one for one in people if _can_read(one) or one.subject_der not in reached)


def _can_read(one: Certificate) -> bool:
    try:
        one.require_encryption_use()
    except SmimeError:
        return False
    return True


def _purposes(one: Certificate) -> tuple[tuple[Any, ...], tuple[str, ...], bool]:
    """Extended key usages and policies, none when the extension is absent; whether it is an authority."""
    try:
        extensions = one.parsed.extensions
        extended = [each.value for each in extensions if isinstance(each.value, x509.ExtendedKeyUsage)]
        policies = [each.value for each in extensions if isinstance(each.value, x509.CertificatePolicies)]
        return (
            tuple(oid for each in extended for oid in each),
            tuple(info.policy_identifier.dotted_string for each in policies for info in each),
            any(each.value.ca for each in extensions if isinstance(each.value, x509.BasicConstraints)),
        )
    except BROKEN as error:
        raise SmimeError(Reason.MALFORMED, "certificate extensions can't be read") from error
