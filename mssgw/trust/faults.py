"""Why somebody is not trusted: a closed list of faults, each with the reply and the one sentence that the peer reads.

A sentence names what is wrong and what to mend, in ASCII, without line ends, short enough for one reply line. Text
from a foreign certificate is quoted only through `spoken`. `fields["fault"]` of the error is the `Fault`:
it labels the metric and stands in the audit row.
"""

from __future__ import annotations

import enum
import unicodedata

from mssgw.core.errors import Deferred, MailError, NotTrusted, Reply
from mssgw.core.texts import message

_NEVER, _LATER = (550, "5.7.1"), (451, "4.7.0")
_NOT_LISTED_ONE = "{Whose} certificate is not the one listed for {domain}: {what}. Present the listed one, or have ANS mend the list"


class Fault(enum.StrEnum):
    """Its word (label of the metric, end of its key in the catalogues), the reply codes for programs, the sentence for people."""

    code: int
    enhanced: str
    sentence: str  # {Whose} certificate, and the facts that `refusal` is given

    def __new__(cls, word: str, reply: tuple[int, str], sentence: str) -> Fault:
        fault = str.__new__(cls, word)
        fault._value_ = word
        fault.code, fault.enhanced = reply
        fault.sentence = sentence
        return fault

    NO_TLS = (
        "no-tls",
        (530, "5.7.0"),
        "Must issue a STARTTLS command first: MSSante operators talk over mutually authenticated TLS",
    )  # RFC 3207 4
    NO_CERTIFICATE = (
        "no-certificate",
        _NEVER,
        "Your server presented no certificate in the TLS handshake: configure it to present its IGC-Sante certificate",
    )
    UNREADABLE = "unreadable", _NEVER, "{Whose} certificate can't be read ({what}): present the one that IGC-Sante issued to you"
    FOREIGN = (
        "foreign-ca",
        _NEVER,
        "{Whose} certificate was issued by {issuer}, which is no authority of IGC-Sante: present the one that IGC-Sante issued to you",
    )
    FORGED = (
        "bad-signature",
        _NEVER,
        "{Whose} certificate claims to be issued by {issuer}, but its signature is not from it: reinstall the original",
    )
    EXPIRED = "expired", _NEVER, "The certificate of {subject} expired on {end}: renew it at IGC-Sante and install the new one"
    NOT_YET_VALID = (
        "not-yet-valid",
        _NEVER,
        "The certificate of {subject} is valid only from {start}: check your clock, or install the one valid today",
    )
    REVOKED = "revoked", _NEVER, "The certificate of {subject} was revoked on {when}: order a new one at IGC-Sante and install it"
    REVOCATION_UNKNOWN = (
        "revocation-unknown",
        (451, "4.7.5"),
        "Can't check yet whether the certificate of {subject} is revoked: try again in some minutes",
    )
    WRONG_USAGE = "wrong-usage", _NEVER, "The certificate of {subject} may not be used for this: {what}"
    WRONG_POLICY = "wrong-policy", _NEVER, "The certificate of {subject} is of another class than needed here: {what}"
    WEAK = "weak", _NEVER, "The certificate of {subject} is too weak: {what}"
    MALFORMED = "malformed", _NEVER, "The certificate of {subject} breaks RFC 5280: {what}"
    UNLISTED = (
        "unlisted",
        (550, "5.1.2"),
        "{domain} is not on the MSSante whitelist of {listed}: only listed domains may send or receive; check the "
        "spelling, or have its operator register it at ANS",
    )
    CN_DIFFERS = "cn-differs", _NEVER, _NOT_LISTED_ONE
    DN_DIFFERS = "dn-differs", _NEVER, _NOT_LISTED_ONE
    OTHER_DOMAIN = (
        "other-domain",
        _NEVER,
        "{subject} is a listed operator, but not of {domain}: send its mail through the operator it is listed with, or "
        "have ANS list you for it",
    )
    UNLISTED_PEER = "unlisted-peer", _NEVER, "{subject} is not a listed operator: have ANS put your certificate's subject on the whitelist"
    NO_LIST = "no-list", _LATER, "No verified whitelist here yet: try again later"
    LIST_TOO_OLD = "list-too-old", _LATER, "The whitelist here is too old to trust anyone by it: try again later"
    SIGNATURE = "list-signature", _NEVER, "The list's signature does not hold: {what}"
    NOT_A_LIST = "not-a-list", _NEVER, "This is not a whitelist: {what}"
    SIGNER = "list-signer", _NEVER, "{subject} may not sign the list: {what}"
    ROLLBACK = "list-rollback", _NEVER, "The list of {listed} is older than the one in force, of {force}"
    SHRUNK = "list-shrunk", _NEVER, "The list of {listed} lost {lost} of {total} domains: waits for mssgw trust accept"


def refusal(fault: Fault, *, detail: str = "", whose: str = "Your", **facts: object) -> MailError:
    """The exception for a fault: Deferred when its code is 4xx, else NotTrusted. `whose` certificate: the peer's own by default."""
    kind = Deferred if fault.code < 500 else NotTrusted
    reply = ascii_of(fault.sentence.format(Whose=whose, **facts), 420)
    return kind(
        reply,
        code=fault.code,
        enhanced=fault.enhanced,
        detail=detail,
        fault=fault,
        message=message(f"trust.fault.{fault}", **facts),
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
