"""Verdict: what was found out about a message, as data, as our header, as a sentence for people.

A failure is a verdict, never a lost message. What ties a signer to the address of From (docs/reference/crypto.md 1.2): the
certificate carries it; or a directory gives it to the holder (cards carry no address); or the national list gives its domain
to the organisation whose seal it is (ADR 17); or nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mssgw.core.texts import Language, Message, either, message
from mssgw.pki.judgement import Evidence
from mssgw.smime.cms.ess import ReceiptRequest
from mssgw.smime.directories.binding import Binding
from mssgw.smime.errors import Reason
from mssgw.smime.keys.certificates import printable


class SignatureStatus(enum.StrEnum):
    NONE = "none"
    VALID = "valid"  # every signature verifies and every signer's path leads to an anchor
    INVALID = "invalid"  # altered, broken or refused algorithms
    UNTRUSTED = "untrusted"  # the signature verifies, the certificate is not trusted
    UNDECIDED = "undecided"  # the signature verifies, trust can't be judged now


class EncryptionStatus(enum.StrEnum):
    NONE = "none"
    DECRYPTED = "decrypted"
    NO_KEY = "no-key"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SignerVerdict:
    """One signer, and why they are trusted or not."""

    subject: str
    issuer: str
    serial: str  # hex
    fingerprint: str  # SHA-256, hex
    addresses: tuple[str, ...]
    algorithm: str
    signing_time: datetime | None
    status: SignatureStatus
    binding: Binding
    evidence: Evidence | None
    reason: Reason | None
    detail: str
    layer: int  # 0 is the outermost
    certificate: bytes | None = None  # DER
    bound_by: str = ""  # which source says so: "certificate", "files", "accounts", "whitelist"
    bound_as_of: datetime | None = None  # how old what it says is; None: as of the verdict
    organisation: str = ""  # whose seal it is
    receipt_request: ReceiptRequest | None = None
    refused: Message | None = None  # why the trust space refuses the certificate; `detail` is its English


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one message as a whole. `reasons` holds everything that keeps it from being perfect."""

    signature: SignatureStatus
    encryption: EncryptionStatus
    binding: Binding
    signers: tuple[SignerVerdict, ...]
    ciphers: tuple[str, ...]  # "rsa-oaep+aes256-gcm", outermost first
    layers: tuple[str, ...]  # "encrypted", "signed", "opaque-signed", "receipt", "compressed", "certificates"
    reasons: tuple[Reason, ...]
    from_address: str  # "" when there is not exactly one
    header_differences: tuple[str, ...] = ()  # names of protected fields that differ outside
    names_author: bool = True  # whether a From or Sender is there, outside or under the signature
    details: tuple[str, ...] = ()  # for the log: where it failed
    signed_fields: tuple[tuple[str, str], ...] = ()  # of `header_differences`: (name, the value that is signed; "" is none)

    @property
    def protected(self) -> bool:
        """Whether there was any S/MIME in it."""
        return bool(self.layers)

    @property
    def intact(self) -> bool:
        """Signed, every signature good and trusted, and the structure leaves no doubt what was signed. From is not considered."""
        return self.signature is SignatureStatus.VALID and not _SPOILS & set(self.reasons)

    @property
    def valid(self) -> bool:
        """Intact, and bound to the one From address."""
        return self.intact and self.binding is not Binding.NONE and not _FROM_SPOILS & set(self.reasons)

    @property
    def sealed(self) -> bool:
        """Valid as the seal of the organisation that runs the domain, and not as anybody's own signature."""
        return self.valid and self.binding is Binding.OPERATOR

    def results(self, host: str) -> str:
        """The value of our Authentication-Results header (RFC 8601, method `smime` of RFC 7281), folded."""
        parts = [host]
        result = self._result()
        comment = f" ({self._comment()})" if self.reasons else ""
        words = [f"smime={result}{comment}"]
        for one in self.signers[:4]:
            words += [f"body.smime-serial={one.serial[:64]}", f"body.smime-issuer={_quoted(one.issuer)}"]
            if one.addresses:
                words.append(f"body.smime-identifier={_quoted(one.addresses[0])}")
        if self.signers:
            words.append(f"policy.binding={self.binding}")
            if source := self._source():
                words.append(f"policy.binding-source={source}")
        if self.layers:
            words.append(f"policy.layers={_quoted('/'.join(self.layers))}")
        if self.ciphers:
            words.append(f"policy.cipher={_quoted('/'.join(self.ciphers))}")
        return ";\r\n ".join([*parts, "\r\n  ".join(words)])

    def _source(self) -> str:
        one = next((one for one in self.signers if one.binding is self.binding and one.bound_by), None)
        if one is None or self.binding in (Binding.NONE, Binding.CERTIFICATE):
            return ""
        return _quoted(f"{one.bound_by} {one.bound_as_of:%Y-%m-%d}" if one.bound_as_of else one.bound_by)

    def _result(self) -> str:
        """The result in the words of RFC 8601 2.7.1."""
        match self.signature:
            case SignatureStatus.NONE:
                return "none"
            case SignatureStatus.VALID:
                return "pass" if self.valid else "policy"
            case SignatureStatus.UNDECIDED:
                return "temperror"
            case _:
                return "fail"

    def _comment(self) -> str:
        return ", ".join(self.reasons)

    def banner(self, language: Language = "fr") -> str:
        """One or two sentences for the reader of the message."""
        return " ".join(one.text(language) for one in self.sentences())

    def sentences(self) -> tuple[Message, ...]:
        """The sentences of the banner."""
        sentences = []
        if self.signature is not SignatureStatus.NONE:
            key, why = self._finding()
            innermost = [one for one in self.signers if one.layer == self.signers[-1].layer]
            shown = [one.organisation if self.sealed and one.organisation else one.subject for one in innermost]
            who = " ; ".join(dict.fromkeys(one or "?" for one in shown)) or "?"
            sentences.append(message(f"smime.signature.{key}", who=printable(who, 120), why=message(f"smime.reason.{why}") if why else ""))
        if self.encryption is not EncryptionStatus.NONE:
            sentences.append(message(f"smime.encryption.{self.encryption}"))
        if not sentences:
            return (self._unsigned(),)
        if self.layers[-1:] == ("receipt",):
            sentences.append(message("smime.receipt"))
        told = [message(f"smime.reason.{one}") for one in self.reasons if one in _TOLD] if self.valid else []
        return (*sentences, *self.warnings(), *told)

    def _finding(self) -> tuple[str, Reason | None]:
        """The sentence about the signature, and the reason it names: the cause, and no other."""
        match self.signature:
            case SignatureStatus.VALID if self.sealed:
                return "sealed", None
            case SignatureStatus.VALID if self.valid:
                return "valid", None
            case SignatureStatus.VALID:
                if why := next((one for one in self.reasons if one in _SPOILS or one in _SPOKEN), None):
                    return "but", why
                if "from" in self.header_differences and any(self.from_address in one.addresses for one in self.signers):
                    return "inside", None  # it is the From under the signature that is not theirs
                return ("unbound" if self.names_author else "nobody"), None
            case SignatureStatus.INVALID:
                whys = [one.reason for one in self.signers if one.reason and one.status is SignatureStatus.INVALID] or list(self.reasons)
                why = next((one for one in whys if one in _ALTERED), whys[0] if whys else None)
                return ("invalid", None) if why is None or why in _ALTERED else ("unverified", why)
            case SignatureStatus.UNTRUSTED if Reason.CERTIFICATE in self.reasons:
                return "unverified", Reason.CERTIFICATE
            case _:
                return self.signature.value, None

    def _unsigned(self) -> Message:
        """Neither signed nor encrypted, or unknown: unreadable, over limits, no signer."""
        if not self.reasons:
            return message("smime.none")
        if self.layers[-1:] == ("certificates",):
            return message("smime.certificates")
        if self.reasons[0] is Reason.PARTIAL:
            return message(f"smime.reason.{self.reasons[0]}")
        return message("smime.unjudged", why=message(f"smime.reason.{self.reasons[0]}"))

    def warnings(self) -> tuple[Message, ...]:
        """The fields whose signed value differs from the visible one: a sentence for each."""
        if self.signature is not SignatureStatus.VALID:
            return ()
        return tuple(_changed(name, value) for name, value in self.signed_fields)

    def to_json(self) -> dict[str, Any]:
        """What `mssgw smime verify --json` prints."""
        return {
            "valid": self.valid,
            "intact": self.intact,
            "signature": self.signature.value,
            "encryption": self.encryption.value,
            "signers": [_signer_json(one) for one in self.signers],
            "algorithms": [*dict.fromkeys(one.algorithm for one in self.signers if one.algorithm), *self.ciphers],
            "from": self.from_address,
            "from_matches": self.binding is not Binding.NONE,
            "binding": self.binding.value,
            "layers": list(self.layers),
            "header_differences": list(self.header_differences),
            "signed_fields": dict(self.signed_fields) if self.signature is SignatureStatus.VALID else {},
            "warnings": [
                {"code": Reason.HEADERS.value, "field": name, "fr": one.fr, "en": one.en}
                for (name, _), one in zip(self.signed_fields, self.warnings(), strict=False)
            ],
            "banner": {"fr": self.banner("fr"), "en": self.banner("en")},
            "reasons": [reason.value for reason in self.reasons],
        }


# Reasons that spoil a message whose signature itself is fine.
_SPOILS = {
    Reason.NO_MESSAGE,
    Reason.MIXED_SIGNERS,
    Reason.PARTIAL,
    Reason.CONFUSION,
    Reason.AMBIGUOUS,
    Reason.OUTSIDE,
    Reason.LIMIT,
    Reason.MALFORMED,
}
# Remarks that change nothing but have to be known to who acts on the text.
_TOLD = {Reason.RESENT, Reason.REPLY, Reason.OTHER_NAME, Reason.REMOTE, Reason.HIDDEN}
_ALTERED = {Reason.DIGEST, Reason.SIGNATURE}  # reasons that mean that somebody changed it
_SPOKEN = {Reason.SEVERAL_FROM, Reason.SENDER, Reason.NAME}
_FROM_SPOILS = {Reason.SEVERAL_FROM, Reason.FROM, Reason.SENDER, Reason.NAME}

NOTHING = Verdict(SignatureStatus.NONE, EncryptionStatus.NONE, Binding.NONE, (), (), (), (), "")


def _quoted(value: str) -> str:
    """An RFC 8601 value: quoted, ASCII only, bounded."""
    plain = "".join(char if 32 <= ord(char) < 127 and char not in '"\\' else "?" for char in value)
    return f'"{plain[:200]}"'


def _changed(name: str, value: str) -> Message:
    field = either(f"smime.field.{name}", name.title())
    return message("smime.changed", field=field, value=printable(value, 200)) if value else message("smime.added", field=field)


def _signer_json(one: SignerVerdict) -> dict[str, Any]:
    return {
        "subject": one.subject,
        "issuer": one.issuer,
        "serial": one.serial,
        "fingerprint": one.fingerprint,
        "addresses": list(one.addresses),
        "algorithm": one.algorithm,
        "signing_time": one.signing_time.isoformat() if one.signing_time else None,
        "status": one.status.value,
        "binding": one.binding.value,
        "bound_by": one.bound_by or None,
        "bound_as_of": one.bound_as_of.isoformat() if one.bound_as_of else None,
        "layer": one.layer,
        "revocation": one.evidence.revocation if one.evidence else None,
        "root": one.evidence.root if one.evidence else None,
        "reason": one.reason.value if one.reason else None,
        "detail": printable(one.detail),
        "detail_fr": printable(one.refused.fr if one.refused else one.detail),
        "receipt_request": one.receipt_request.to_json() if one.receipt_request else None,
    }
