"""Judges signatures that are mathematically right: trust, binding to From, and remarks (RFC 8551 4.3, RFC 8550 3).

Path and revocation are `pki.judgement.Validate`'s. A signer is bound when the one From address is in the certificate, or when a
directory gives it to the certificate's holder (cards carry no address); several signers count as their weakest. A From under the
signature (RFC 9788) must be theirs as well, and so must a Sender that stands there alone: some readers show those.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mssgw.core.address import Address, AddressError
from mssgw.core.errors import Deferred, MailError, NotTrusted
from mssgw.core.message import Headers
from mssgw.core.texts import Message, message
from mssgw.pki.judgement import Evidence, Purpose, Validate
from mssgw.protocol import mime
from mssgw.smime.cms.verifying import SignerCheck
from mssgw.smime.directories.binding import OWN, STRENGTH, UNBOUND, Binding, Bound, Directory
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.keys.certificates import Certificate, certificate
from mssgw.smime.verdict import SignatureStatus, SignerVerdict

_SEEN = 48  # characters of a name that a list of messages shows; what stands behind many blanks is not seen
SIGNING_TIME_SLACK = timedelta(hours=24)  # beyond it the signing time is remarked upon (docs/reference/crypto.md 9.31)


@dataclass(frozen=True, slots=True)
class Claim:
    """The claimed author of a message. `problem`: why there is not one address to compare with the signers."""

    author: Address | None  # of the header that is seen
    inside: Address | None = None  # of a From under the signature, when it is another
    sender: Address | None = None  # of a Sender, seen or under the signature, that is not the author
    problem: Reason | None = None
    nobody: bool = False  # no field, seen or signed, names anybody
    names_another: bool = False  # a name beside From or Sender shows the address of somebody else
    resent: bool = False  # Resent-From or Resent-Sender, which no signature covers, names somebody else (RFC 5322 3.6.6)
    answered: bool = False  # a Reply-To that no signature covers sends answers to somebody else
    names: tuple[str, ...] = ()  # shown beside the address of From, which mail programs show instead of it
    dated: datetime | None = None  # the Date under the signature, else the one that is seen

    @property
    def authors(self) -> tuple[Address, ...]:
        return tuple(one for one in (self.author, self.inside) if one) if self.problem is None else ()


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges the signers of one message, received at `now`."""

    validate: Validate
    now: datetime
    directory: Directory

    def signer(self, check: SignerCheck, layer: int, claim: Claim) -> SignerVerdict:
        """Trust and binding of one signer whose signature was checked before."""
        one = check.certificate
        status, reason, detail = SignatureStatus.INVALID, check.problem, check.detail
        evidence: Evidence | None = None
        refused: Message | None = None
        if check.problem is None and one is not None:
            status, reason, refused, evidence = self._trusted(one)
            detail = refused.en if refused else ""
        bound = self._bound(one, claim.authors) if one and status is SignatureStatus.VALID else UNBOUND
        return SignerVerdict(
            subject=one.name if one else "",
            issuer=one.issuer_name if one else "",
            serial=one.serial_hex if one else "",
            fingerprint=one.fingerprint if one else "",
            addresses=_addresses(one),
            algorithm=check.algorithm,
            signing_time=check.signing_time,
            status=status,
            binding=bound.binding,
            bound_by=bound.source,
            bound_as_of=bound.as_of,
            organisation=one.subject.first("O") or "" if one and bound.binding is Binding.OPERATOR else "",
            evidence=evidence,
            reason=reason,
            detail=detail,
            refused=refused,
            layer=layer,
            certificate=one.der if one else None,
            receipt_request=check.receipt_request,
        )

    def _trusted(self, one: Certificate) -> tuple[SignatureStatus, Reason | None, Message | None, Evidence | None]:
        try:
            _ = one.addresses
        except SmimeError as error:
            return SignatureStatus.UNTRUSTED, Reason.CERTIFICATE, message("words", words=error.where), None
        try:
            return SignatureStatus.VALID, None, None, self.validate(one.der, Purpose.MAIL_SIGN, self.now)
        except NotTrusted as error:
            return SignatureStatus.UNTRUSTED, Reason.NOT_TRUSTED, _why(error), None
        except Deferred as error:
            return SignatureStatus.UNDECIDED, Reason.TRUST_UNKNOWN, _why(error), None

    def _bound(self, one: Certificate, authors: Sequence[Address]) -> Bound:
        """The weakest of the bindings to each of them."""
        own = one.address_keys
        found = [OWN if author.key in own else self.directory(one, author) or UNBOUND for author in authors]
        return max(found, key=lambda bound: STRENGTH.index(bound.binding), default=UNBOUND)

    def remarks(self, signers: Sequence[SignerVerdict], claim: Claim) -> Iterator[Reason]:
        """The reasons and remarks about them."""
        problem = claim.problem
        if signers and problem:
            yield problem
        for one in signers:
            if one.reason:
                yield one.reason
            if one.signing_time and any(abs(one.signing_time - other) > SIGNING_TIME_SLACK for other in (self.now, claim.dated) if other):
                yield Reason.SIGNING_TIME
        inner = innermost(signers)
        if len({one.fingerprint for one in inner}) > 1 or len({one.status for one in inner}) > 1:
            yield Reason.MIXED_SIGNERS
        if inner and not problem and any(one.status is SignatureStatus.VALID and one.binding is Binding.NONE for one in inner):
            yield Reason.FROM
        if inner and claim.names_another:
            yield Reason.NAME
        if claim.sender and any(self._not_sender(one, claim.sender) for one in inner):
            yield Reason.SENDER
        if inner and claim.resent:
            yield Reason.RESENT
        if inner and claim.answered:
            yield Reason.REPLY
        if inner and not problem and not claim.names_another and any(_other_name(one, claim.names) for one in inner):
            yield Reason.OTHER_NAME

    def _not_sender(self, one: SignerVerdict, sender: Address) -> bool:
        return (
            one.status is SignatureStatus.VALID
            and one.certificate is not None
            and self._bound(certificate(one.certificate), (sender,)).binding is Binding.NONE
        )


def innermost(signers: Sequence[SignerVerdict]) -> list[SignerVerdict]:
    """The signers of the innermost signature: those who signed the content itself."""
    deepest = max((one.layer for one in signers), default=0)
    return [one for one in signers if one.layer == deepest]


def status_of(signers: Sequence[SignerVerdict], *, broken: bool) -> SignatureStatus:
    """The worst of all. `broken`: a layer that was to be a signature could not be read."""
    if not signers:
        return SignatureStatus.INVALID if broken else SignatureStatus.NONE
    if broken:
        return SignatureStatus.INVALID
    worst = (SignatureStatus.INVALID, SignatureStatus.UNTRUSTED, SignatureStatus.UNDECIDED)
    found = {one.status for one in signers}
    return next((status for status in worst if status in found), SignatureStatus.VALID)


def binding_of(signers: Sequence[SignerVerdict]) -> Binding:
    """The weakest binding of the innermost signers: all of them must be the author (docs/reference/crypto.md 9.5)."""
    found = {one.binding for one in innermost(signers)}
    return max(found, key=STRENGTH.index, default=Binding.NONE)


def claim_of(outside: Headers, inside: Headers | None) -> Claim:
    """The author that the header claims, with the fields under the signature, if there are any."""
    author, problem = author_of(outside)
    nobody = not any(field.name in _NAMING for headers in (outside, inside or ()) for field in headers)
    within, fault = author, None
    if inside is not None and any(field.name == "from" for field in inside):
        within, fault = author_of(inside)
    sender = None
    seen, signed = _values(outside, "sender"), _values(inside, "sender") if inside is not None else []
    if _unfolded(outside, "sender") != _unfolded(inside, "sender"):  # a Sender that is signed as it is seen comes from the author
        for values in (seen, signed):
            found, wrong = _one_address(values) if values else (None, None)
            fault = fault or (Reason.SENDER if wrong else None)
            if found and found.key not in {one.key for one in (author, within) if one}:
                sender = found
    named = any(_names_another(headers) for headers in (outside, inside or Headers(())))
    own = {one.key for one in (author, within) if one}
    return Claim(
        author,
        within if within != author else None,
        sender,
        problem or fault,
        nobody,
        named,
        resent=_of_another(outside, ("resent-from", "resent-sender"), own),
        answered=inside is None and _of_another(outside, _ANSWERS, own),  # else `protected-headers-differ` tells
        names=tuple(box.display_name for headers in (outside, inside or ()) for box in _boxes(headers, "from") if box.name),
        dated=_dated(inside or Headers(())) or _dated(outside),
    )


def unsigned_remarks(seen: Headers) -> tuple[Reason, ...]:
    """What the header of a message without a signature makes people believe, in the words that signed mail has for it."""
    claim = claim_of(seen, None)
    found = ((Reason.NAME, claim.names_another), (Reason.SENDER, claim.sender is not None), (Reason.RESENT, claim.resent))
    return tuple(reason for reason, holds in found if holds)


def _of_another(seen: Headers, names: Sequence[str], own: set[str]) -> bool:
    """Whether one of these fields names anybody else, or nobody that can be read."""
    for value in (value for name in names for value in _values(seen, name)):
        boxes = mime.mailboxes(value)
        if not boxes or any(_key(one) not in own for one in boxes):
            return True
    return False


def _unfolded(headers: Headers | None, name: str) -> list[list[bytes]]:
    """The words of each field of this name: white space makes no other value."""
    return [value.split() for value in _values(headers or Headers(()), name)]


def _boxes(headers: Headers | tuple[()], name: str) -> list[mime.Mailbox]:
    return [box for value in _values(headers or Headers(()), name) for box in mime.mailboxes(value)]


def _other_name(one: SignerVerdict, names: Sequence[str]) -> bool:
    """Whether a certificate with a surname (X.520 6.2.2) stands under a name that has no word of it."""
    if one.status is not SignatureStatus.VALID or one.certificate is None:
        return False
    surname = _words(certificate(one.certificate).subject.first("SN"))
    seen = (_words(name[:_SEEN]) for name in names)
    return bool(surname) and any(words and not words & surname for words in seen)


def _words(name: str) -> frozenset[str]:
    """Of two letters or more, without accents and case."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(one))
    return frozenset(re.findall(r"[^\W\d_]{2,}", plain))


def _key(box: mime.Mailbox) -> str:
    try:
        return Address.parse(box.addr_spec).key
    except AddressError:
        return ""


def _dated(seen: Headers) -> datetime | None:
    """The moment of the Date that is seen; one without a zone may be a day off and says nothing."""
    found = next(iter(_values(seen, "date")), None)
    when = mime.parse_date(found) if found else None
    return when if when and when.tzinfo else None


def _names_another(headers: Headers) -> bool:
    """Whether the name beside an address of From or Sender shows another address, which is what people would see."""
    for field in headers:
        if field.name in _NAMING:
            value = field.raw.partition(b":")[2]
            own = {one.addr_spec.casefold() for one in mime.mailboxes(mime.unfold(value))}
            if any(one.casefold() not in own for one in mime.spelled_addresses(value)):
                return True
    return False


_NAMING = ("from", "sender")
# Where an answer, or a notice that the mail was read, is sent to by some program.
_ANSWERS = ("reply-to", "mail-reply-to", "mail-followup-to", "disposition-notification-to", "return-receipt-to")


def author_of(headers: Headers) -> tuple[Address | None, Reason | None]:
    """The address of the one From field with one address, or why there is none (docs/reference/crypto.md 9.8)."""
    found = _values(headers, "from")
    return _one_address(found) if found else (None, Reason.FROM)


def _values(headers: Headers, name: str) -> list[bytes]:
    return [mime.unfold(field.raw.partition(b":")[2]) for field in headers if field.name == name]


def _one_address(found: list[bytes]) -> tuple[Address | None, Reason | None]:
    if len(found) != 1:
        return None, Reason.SEVERAL_FROM
    boxes = mime.mailboxes(found[0])
    if len(boxes) != 1:
        return None, Reason.SEVERAL_FROM
    spec = boxes[0].addr_spec
    try:
        return (Address.parse(spec), None) if spec.isprintable() else (None, Reason.SEVERAL_FROM)
    except AddressError:
        return None, Reason.SEVERAL_FROM


def _addresses(one: Certificate | None) -> tuple[str, ...]:
    try:
        return tuple(str(address) for address in one.addresses) if one else ()
    except SmimeError:
        return ()


def _why(error: MailError) -> Message:
    """The sentence with details for the log. The reply itself tells the certificate's holder what to mend; this is for other people."""
    said = error.message
    if key := _OF_OTHERS.get(said.key):  # advice that only the holder can follow is left out
        said = message(key, **dict(said.values))
    return message("with-detail", said=said, detail=error.detail) if error.detail else said


_OF_OTHERS = {"trust.fault.expired": "smime.signer.expired", "trust.fault.not-yet-valid": "smime.signer.not-yet-valid"}
