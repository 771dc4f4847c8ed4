"""What can be wrong with an S/MIME message or with what we need to make one.

SmimeError (Refused)          carries a Reason; `open` turns it into a verdict, the CLI prints it
└─ Undecryptable              one face for every failure after a key was found (docs/reference/crypto.md 9.12, 9.13)
KeyUnavailable (Deferred)     our own key does not answer: mail waits, it never leaves unsigned
├─ TokenLocked                a person's token waits for its PIN, or is not there
├─ KeyExpired                 a person's certificate ran out, and its domain waits
└─ KeyFileError               a file with keys or certificates is wrong, and how: mail waits until it is mended
DirectoryUnavailable (Deferred)  it is unknown now whether a recipient has a certificate
NoCertificate (Refused)       the policy is to encrypt, and a recipient has no usable certificate
"""

from __future__ import annotations

import enum

from mssgw.core.errors import Deferred, MailError, Refused, Reply
from mssgw.core.texts import Message, message


class Reason(enum.StrEnum):
    """Why a message is not what it claims to be. Values are stable: JSON output, logs and texts use them."""

    MALFORMED = "malformed"  # not CMS, not MIME, cut off
    LIMIT = "limit"  # more parts, signers, octets or depth than we read
    UNSUPPORTED = "unsupported-algorithm"
    WEAK = "weak-algorithm"  # MD5, SHA-1, RSA under 2048 bits, 3DES ...
    NO_MESSAGE = "signed-content-no-message"  # a time stamp, or another content type that is not mail
    UNSIGNED = "no-signer"  # SignedData without a signer
    SIGNER_CERTIFICATE = "signer-certificate-missing"
    DIGEST = "content-altered"
    SIGNATURE = "signature-wrong"
    ATTRIBUTES = "signed-attributes-wrong"
    CONFUSION = "content-confusion"  # two contents for one signature, or content that could be attributes
    AMBIGUOUS = "readers-differ"  # mail programs would show different contents under one signature
    OUTSIDE = "signature-outside-encryption"  # the signer may not know what is inside
    NAME = "name-shows-another-address"
    NOT_TRUSTED = "certificate-not-trusted"
    TRUST_UNKNOWN = "trust-not-decidable-now"
    USAGE = "certificate-usage"
    CERTIFICATE = "certificate-malformed"  # of the signer: an address in it that is none
    MIXED_SIGNERS = "signers-differ"
    FROM = "from-not-signer"
    SEVERAL_FROM = "several-from"
    SENDER = "sender-not-signer"
    FOOTER = "text-after-cms"  # a list added it; not part of what was signed or encrypted, and not shown
    HEADERS = "protected-headers-differ"
    SIGNING_TIME = "signing-time-far-off"
    RESENT = "resent-by-another"  # outside the signature: who passed it on
    REPLY = "reply-to-another"  # outside the signature: an answer would go to somebody else
    OTHER_NAME = "name-not-in-certificate"  # beside the right address: the name of somebody else, or of a service
    REMOTE = "remote-content"  # the signed HTML loads something that nobody signed
    HIDDEN = "hidden-content"  # not every reader shows all of the signed text
    PARTIAL = "protected-part-inside-unprotected-message"
    NO_KEY = "no-key-for-this-message"
    UNDECRYPTABLE = "undecryptable"
    UNAUTHENTICATED = "encryption-without-integrity"


class SmimeError(Refused):
    """A message that can't be verified or read. `reason` is the kind, `detail` the place."""

    default = Reply(554, "5.6.0", "S/MIME content is not acceptable")

    def __init__(self, reason: Reason, detail: str = "", said: Message | None = None) -> None:
        self.reason, self.where = reason, detail
        super().__init__(detail=f"{reason}: {detail}" if detail else str(reason), message=said or message(f"smime.reason.{reason}"))


class Undecryptable(SmimeError):
    """Decryption failed after a key was found. On purpose it never tells why: that would be an oracle."""

    def __init__(self) -> None:
        super().__init__(Reason.UNDECRYPTABLE)


class KeyUnavailable(Deferred):
    """A private key of ours can't be used now (file unreadable, token gone)."""

    default = Reply(451, "4.7.5", "Signing or decryption key is temporarily unavailable")


class Lock(enum.StrEnum):
    """Why a person's token is not open. Values are stable: JSON output and texts use them."""

    CLOSED = "closed"  # nobody gave the PIN since the node started, or since it was pulled
    ABSENT = "absent"  # not in a reader; perhaps another one is
    PIN = "pin"  # refused, and the token counts
    LAST_TRY = "last-try"  # so the PIN was not tried
    BLOCKED = "blocked"
    GONE = "gone"  # pulled, or its module failed


class TokenLocked(KeyUnavailable):
    """A person's own token is not unlocked, or was pulled: their mail waits until it is back. `holder`: as the certificate names them."""

    def __init__(self, token: str, lock: Lock = Lock.CLOSED, why: str = "", holder: str = "") -> None:
        self.token, self.lock, self.why = token, lock, why
        token = f"{token} ({holder})" if holder and holder != token else token
        text = f"The card or token {token} is not unlocked: put it back, run mssgw identity unlock, and send again"
        super().__init__(
            text.encode("ascii", "replace").decode(),
            detail=f"token {token}: {lock}" + (f", {why}" if why else ""),
            message=message("smime.token-locked", token=token),
        )

    def of(self, holder: str) -> TokenLocked:
        """The same, with whose it is."""
        return TokenLocked(self.token, self.lock, self.why, holder)


class KeyExpired(KeyUnavailable):
    """A person's certificate ran out, and the domain wants mail to wait for the next one."""

    def __init__(self, subject: str, ended: str) -> None:
        text = f"The certificate of {subject} ended on {ended}: renew it, and send again"
        super().__init__(
            text.encode("ascii", "replace").decode(), detail=text, message=message("smime.key-expired", subject=subject, ended=ended)
        )


class KeyUnusable(KeyUnavailable):
    """A person has a key that can't be used, and the domain wants mail to wait until it is mended."""

    def __init__(self, name: str, why: Message) -> None:
        said = message("smime.key-unusable", subject=name, why=why)
        super().__init__(said.en.encode("ascii", "replace").decode(), detail=said.en, message=said)


class FileProblem(enum.StrEnum):
    """What is wrong with a file that should hold a key or a certificate."""

    EMPTY = "empty"
    TOO_LARGE = "too-large"
    UNKNOWN_FORMAT = "unknown-format"
    DAMAGED = "damaged"
    UNSUPPORTED = "unsupported"  # a kind of key or of cipher that we don't use
    NO_KEY = "no-key"
    NO_CERTIFICATE = "no-certificate"
    PASSPHRASE_MISSING = "passphrase-missing"  # noqa: S105 - no passphrase
    PASSPHRASE_WRONG = "passphrase-wrong"  # noqa: S105
    NOT_OF_CERTIFICATE = "not-of-certificate"
    WEAK = "weak"


class KeyFileError(KeyUnavailable):
    """A file with keys or certificates that can't be used. For mail in transit it is a 451 like any key that does not
    answer; a person at the command line reads the sentence of `problem` (core/texts, `smime.file.*`)."""

    def __init__(self, problem: FileProblem, what: str = "", place: str = "") -> None:
        self.problem, self.what, self.place = problem, what, place
        plain = message(f"smime.file.{problem}")
        said = message("with-detail", said=plain, detail=what) if what else plain
        super().__init__(detail=": ".join(part for part in (place, said.en) if part), message=said)

    def at(self, place: object) -> KeyFileError:
        """The same, with the file that it is about."""
        return KeyFileError(self.problem, self.what, str(place))


def of_error(error: MailError) -> Message:
    """For people of ours: the sentence where the error has one of its own, else what the log has."""
    return error.message if isinstance(error, KeyFileError) or not error.detail else message("words", words=error.detail)


class DirectoryUnavailable(Deferred):
    """A directory of certificates does not answer. `required`: mail that is encrypted when possible waits for it too."""

    default = Reply(451, "4.4.3", "The directory of encryption certificates does not answer")

    def __init__(self, *, required: bool = True, detail: str = "") -> None:
        self.required = required
        super().__init__(detail=detail)


class NoCertificate(Refused):
    """The domain's policy is to encrypt always, and somebody can't be encrypted to."""

    default = Reply(550, "5.7.5", "No encryption certificate for a recipient and policy requires encryption")
