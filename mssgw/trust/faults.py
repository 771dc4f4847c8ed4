"""Why somebody is not trusted: a closed list of faults, and for each the one sentence the peer reads.

A sentence names what is wrong and what to mend, in ASCII, without line ends, short enough for one reply line. What
stands in a stranger's certificate is quoted only through `spoken`. `fields["fault"]` of the error is the `Fault`:
it labels the metric and stands in the audit row.
"""

from __future__ import annotations

import enum
import unicodedata

from mssgw.core.errors import Deferred, MailError, NotTrusted, Reply
from mssgw.core.texts import message


class Fault(enum.StrEnum):
    NO_TLS = "no-tls"
    NO_CERTIFICATE = "no-certificate"
    UNREADABLE = "unreadable"
    FOREIGN = "foreign-ca"
    FORGED = "bad-signature"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    REVOKED = "revoked"
    REVOCATION_UNKNOWN = "revocation-unknown"
    WRONG_USAGE = "wrong-usage"
    WRONG_POLICY = "wrong-policy"
    WEAK = "weak"
    MALFORMED = "malformed"
    UNLISTED = "unlisted"
    CN_DIFFERS = "cn-differs"
    DN_DIFFERS = "dn-differs"
    OTHER_DOMAIN = "other-domain"
    UNLISTED_PEER = "unlisted-peer"
    NO_LIST = "no-list"
    LIST_TOO_OLD = "list-too-old"
    SIGNATURE = "list-signature"
    NOT_A_LIST = "not-a-list"
    SIGNER = "list-signer"
    ROLLBACK = "list-rollback"
    SHRUNK = "list-shrunk"


_NEVER, _LATER = (550, "5.7.1"), (451, "4.7.0")
_NOT_LISTED_ONE = "{Whose} certificate is not the one listed for {domain}: {what}. Present the listed one, or have ANS mend the list"
_SENTENCES: dict[Fault, tuple[tuple[int, str], str]] = {
    Fault.NO_TLS: (
        (530, "5.7.0"),
        "Must issue a STARTTLS command first: "  # RFC 3207 4
        "MSSante operators talk over mutually authenticated TLS",
    ),
    Fault.NO_CERTIFICATE: (
        _NEVER,
        "Your server presented no certificate in the TLS handshake: configure it to present its IGC-Sante certificate",
    ),
    Fault.UNREADABLE: (_NEVER, "{Whose} certificate can't be read ({what}): present the one that IGC-Sante issued to you"),
    Fault.FOREIGN: (
        _NEVER,
        "{Whose} certificate was issued by {issuer}, which is no authority of IGC-Sante: present the one that IGC-Sante issued to you",
    ),
    Fault.FORGED: (_NEVER, "{Whose} certificate claims to be issued by {issuer}, but its signature is not from it: reinstall the original"),
    Fault.EXPIRED: (_NEVER, "The certificate of {subject} expired on {end}: renew it at IGC-Sante and install the new one"),
    Fault.NOT_YET_VALID: (
        _NEVER,
        "The certificate of {subject} is valid only from {start}: check your clock, or install the one valid today",
    ),
    Fault.REVOKED: (_NEVER, "The certificate of {subject} was revoked on {when}: order a new one at IGC-Sante and install it"),
    Fault.REVOCATION_UNKNOWN: (
        (451, "4.7.5"),
        "Can't check yet whether the certificate of {subject} is revoked: try again in some minutes",
    ),
    Fault.WRONG_USAGE: (_NEVER, "The certificate of {subject} may not be used for this: {what}"),
    Fault.WRONG_POLICY: (_NEVER, "The certificate of {subject} is of another class than needed here: {what}"),
    Fault.WEAK: (_NEVER, "The certificate of {subject} is too weak: {what}"),
    Fault.MALFORMED: (_NEVER, "The certificate of {subject} breaks RFC 5280: {what}"),
    Fault.UNLISTED: (
        (550, "5.1.2"),
        "{domain} is not on the MSSante whitelist of {listed}: only listed domains may send or receive; "
        "check the spelling, or have its operator register it at ANS",
    ),
    Fault.CN_DIFFERS: (_NEVER, _NOT_LISTED_ONE),
    Fault.DN_DIFFERS: (_NEVER, _NOT_LISTED_ONE),
    Fault.OTHER_DOMAIN: (
        _NEVER,
        "{subject} is a listed operator, but not of {domain}: "
        "send its mail through the operator it is listed with, or have ANS list you for it",
    ),
    Fault.UNLISTED_PEER: (_NEVER, "{subject} is not a listed operator: have ANS put your certificate's subject on the whitelist"),
    Fault.NO_LIST: (_LATER, "No verified whitelist here yet: try again later"),
    Fault.LIST_TOO_OLD: (_LATER, "The whitelist here is too old to trust anyone by it: try again later"),
    Fault.SIGNATURE: (_NEVER, "The list's signature does not hold: {what}"),
    Fault.NOT_A_LIST: (_NEVER, "This is not a whitelist: {what}"),
    Fault.SIGNER: (_NEVER, "{subject} may not sign the list: {what}"),
    Fault.ROLLBACK: (_NEVER, "The list of {listed} is older than the one in force, of {force}"),
    Fault.SHRUNK: (_NEVER, "The list of {listed} lost {lost} of {total} domains: waits for mssgw trust accept"),
}


def refusal(fault: Fault, *, detail: str = "", whose: str = "Your", **facts: object) -> MailError:
    """The exception for a fault: Deferred when its code is 4xx, else NotTrusted. `whose` certificate: the peer's own by default."""
    (code, enhanced), sentence = _SENTENCES[fault]
    kind = Deferred if code < 500 else NotTrusted
    reply = ascii_of(sentence.format(Whose=whose, **facts), 420)
    return kind(
        reply,
        code=code,
        enhanced=enhanced,
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
    """A stranger's text, fit for a reply line: ASCII, printable, bounded."""
    return ascii_of(text, limit)


def ascii_of(text: str, limit: int) -> str:
    plain = unicodedata.normalize("NFKD", text[: 4 * limit])
    kept = "".join(char if " " <= char <= "~" else "" if unicodedata.combining(char) else "?" for char in plain)
    return kept if len(kept) <= limit else kept[: limit - 3] + "..."
