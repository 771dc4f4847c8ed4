"""Why somebody is not trusted: a closed list of faults, each with its reply codes. The one sentence stands in the catalogue.

Our own people read it in French or in English; the peer reads the English in the reply, in ASCII, without line ends, cut to one line.
Text from a foreign certificate is quoted only through `spoken`. `fields["fault"]` of the error is the `Fault`:
it labels the metric and stands in the audit row.
"""

from __future__ import annotations

import enum
import unicodedata

from mssgw.core.errors import Deferred, MailError, NotTrusted, Reply
from mssgw.core.texts import message

_NEVER, _LATER = (550, "5.7.1"), (451, "4.7.0")


class Fault(enum.StrEnum):
    """Its word (label of the metric, end of its key `trust.fault.…` in the catalogues) and its reply codes, for programs."""

    code: int
    enhanced: str

    def __new__(cls, word: str, reply: tuple[int, str]) -> Fault:
        fault = str.__new__(cls, word)
        fault._value_ = word
        fault.code, fault.enhanced = reply
        return fault

    NO_TLS = "no-tls", (530, "5.7.0")  # RFC 3207 4
    NO_CERTIFICATE = "no-certificate", _NEVER
    UNREADABLE = "unreadable", _NEVER
    FOREIGN = "foreign-ca", _NEVER
    FORGED = "bad-signature", _NEVER
    EXPIRED = "expired", _NEVER
    NOT_YET_VALID = "not-yet-valid", _NEVER
    REVOKED = "revoked", _NEVER
    REVOCATION_UNKNOWN = "revocation-unknown", (451, "4.7.5")
    WRONG_USAGE = "wrong-usage", _NEVER
    WRONG_POLICY = "wrong-policy", _NEVER
    WEAK = "weak", _NEVER
    MALFORMED = "malformed", _NEVER
    UNLISTED = "unlisted", (550, "5.1.2")
    CN_DIFFERS = "cn-differs", _NEVER
    DN_DIFFERS = "dn-differs", _NEVER
    OTHER_DOMAIN = "other-domain", _NEVER
    UNLISTED_PEER = "unlisted-peer", _NEVER
    NO_LIST = "no-list", _LATER
    LIST_TOO_OLD = "list-too-old", _LATER
    SIGNATURE = "list-signature", _NEVER
    NOT_A_LIST = "not-a-list", _NEVER
    SIGNER = "list-signer", _NEVER
    ROLLBACK = "list-rollback", _NEVER
    SHRUNK = "list-shrunk", _NEVER

    @property
    def key(self) -> str:
        """Of its sentence. The English goes over the wire: ASCII, what is wrong and what to mend, short enough for a reply line."""
        return f"trust.fault.{self}"


def refusal(fault: Fault, *, detail: str = "", **facts: object) -> MailError:
    """The exception for a fault, with a value for each fact that its sentence names: Deferred when its code is 4xx, else NotTrusted."""
    kind = Deferred if fault.code < 500 else NotTrusted
    said = message(fault.key, **facts)
    return kind(
        ascii_of(said.en, 420),
        code=fault.code,
        enhanced=fault.enhanced,
        detail=detail,
        fault=fault,
        message=said,
        **{name: str(value) for name, value in facts.items()},
    )


def fault_of(error: MailError) -> Fault | None:
    fault = error.fields.get("fault")
    return fault if isinstance(fault, Fault) else None


def rewritten(error: MailError, enhanced: str) -> MailError:
    """The same refusal with another enhanced code (5.1.8 where the domain is the sender's, RFC 3463 3.2)."""
    reply: Reply = error.reply
    return type(error)(reply.text, code=reply.code, enhanced=enhanced, detail=error.detail, message=error.message, **error.fields)


def spoken(text: str, limit: int = 64) -> str:
    """Text from outside, made fit for a reply line: ASCII, printable, bounded."""
    return ascii_of(text, limit)


def ascii_of(text: str, limit: int) -> str:
    plain = unicodedata.normalize("NFKD", text[: 4 * limit])
    kept = "".join(char if " " <= char <= "~" else "" if unicodedata.combining(char) else "?" for char in plain)
    return kept if len(kept) <= limit else kept[: limit - 3] + "..."
