"""Everything that can go wrong with a DMP, as one tree.

    DmpError                    carries: `message` for the user, str() for the log, `temporary`
    ├─ BadInput                 what we were handed is wrong; nothing was sent
    │  ├─ BadIns                length, alphabet or key of an INS
    │  ├─ TraitsDiffer          the national register knows this INS under other traits
    │  ├─ BadCode               a code outside its value set, at build time
    │  ├─ BadDocument           not a CDA, not a PDF/A-1, too large, incomplete header
    │  ├─ BadArchive            IHE_XDM.ZIP: bomb, traversal, two patients, hash
    │  ├─ BadCertificate        key or certificate unreadable, or they do not belong together
    │  └─ BadSettings           a setting that cannot hold, a combination the law forbids
    ├─ NotAllowed               our own access rules say no; nothing was sent
    │  ├─ NotConfirmed          the explicit gesture is missing
    │  ├─ ConsentMissing        nobody recorded the patient's agreement
    │  ├─ ConsentExpired        the recorded agreement has run out
    │  ├─ AccessOpposed         the patient opposed this emergency access (CSP L1111-17, R1111-48)
    │  ├─ ProfessionalBlocked   the patient blocked this professional
    │  ├─ ReasonMissing         bris de glace or a closing without a reason, or with too short a one
    │  ├─ ConsultationClosed    the consultation ended (time, card pulled, closed by hand)
    │  └─ LegacyDisabled        creation, closing, reopening: today the affair of Mon espace santé
    ├─ Refused                  the DMP said no: `code` and `text` exactly as sent
    │  ├─ NoDossier             no DMP for this INS
    │  ├─ DossierExists         DMPFound
    │  ├─ DossierClosed         DMPClosed
    │  ├─ ManagedByMes          the dossier belongs to Mon espace santé (DMPAccessDeniedByRightsService)
    │  ├─ AccessDenied          no right, no valid authorisation, blocked, opposed
    │  ├─ AssertionRefused      VIHF: signature, age, replay, content
    │  ├─ CertificateRefused    DMPInvalidCertificate
    │  ├─ DocumentUnknown       uniqueId or entryUUID unknown
    │  ├─ DuplicateDocument     uniqueId already there
    │  └─ RegistryRefused       any other XDS error; `errors` holds all of them
    ├─ BadAnswer                an answer we cannot read or must not believe
    │  └─ HostileXml            DTD, entity, too deep, too large
    ├─ Unavailable              not now: network, TLS, 5xx, timeout; `sent` says if the request may have been acted on
    ├─ NotPrinted               no PDF/A-1 could be made of a document: what is missing here, or what in it stands against it
    └─ CardError                reader, card, PIN
       ├─ NoReader ├─ NoCard ├─ WrongPin(tries_left) ├─ PinLocked ├─ CardExpired ├─ CardRemoved └─ CardUnreadable

Checks raise. A code the server sends and this file does not know travels untouched in a plain `Refused`
(docs/reference/dmp.md 1.6: the full list is in SEL-MP-037, which is not public).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dmp_connector.texts import Message, message


class DmpError(Exception):
    """Root. `message` goes to the user, in the language of the place that shows it; `str(error)` may name internals and goes to
    the log.

    `detail`: what exactly is wrong, without patient data; None where the kind says it all. `log`: for the log alone.
    `audited`: a row of the audit says it already. `reasons`: every condition of the access decision that refused,
    as (name, holds, message); empty when no decision was taken.
    """

    key: ClassVar[str] = "error.failed"
    temporary: ClassVar[bool] = False
    audited: bool = False
    reasons: tuple[tuple[str, bool, Message], ...] = ()

    def __init__(self, detail: Message | None = None, *, log: str = "") -> None:
        super().__init__(log or (str(detail) if detail is not None else ""))
        self.detail = detail

    @property
    def message(self) -> Message:
        """The sentence for the user."""
        return message(self.key)


class BadInput(DmpError):
    """What we were handed is wrong. The detail says what, where and what to do, without patient data."""

    key = "error.bad-input"
    detail: Message

    def __init__(self, detail: Message) -> None:
        super().__init__(detail)

    @property
    def message(self) -> Message:
        """The class's sentence with the detail in it."""
        return message(self.key, detail=self.detail)


class BadIns(BadInput):
    """No INS: its form, its key, or the OID it was issued under."""

    key = "error.bad-ins"


class TraitsDiffer(BadInput):
    """`fields`: names of the traits that differ, never their values. `register`: who knows them otherwise."""

    key = "error.traits-differ"

    def __init__(self, fields: tuple[str, ...], *, register: Literal["INSi", "DMP"] = "INSi") -> None:
        known = message("error.register-insi" if register == "INSi" else "error.register-dmp")
        super().__init__(message("at", place=known, what=traits(fields)))
        self.fields, self.register = fields, register


def traits(names: tuple[str, ...]) -> tuple[Message, ...]:
    """The names of traits (`model.people`), for a message."""
    return tuple(message(f"trait.{name}") for name in names)


class BadCode(BadInput):
    """A code that its value set (JDV, ASS) does not have."""

    key = "error.bad-code"


class BadDocument(BadInput):
    """A document, or what makes one, that the DMP would not take."""

    key = "error.bad-document"


class BadArchive(BadInput):
    """No IHE_XDM.ZIP that can be read (ITI TF-2 3.32)."""

    key = "error.bad-archive"


class BadCertificate(BadInput):
    """A certificate or a key that cannot be used."""

    key = "error.bad-certificate"


class BadSettings(BadInput):
    """A setting, or a file that one names, that cannot be used."""

    key = "error.bad-settings"


class NotAllowed(DmpError):
    """Refused by our own rules, before any call. `detail`: the sentence where the class's own is too general."""

    key = "error.not-allowed"

    @property
    def message(self) -> Message:
        """The sentence given with the error, else that of the class."""
        return message(self.key) if self.detail is None else self.detail


class NotConfirmed(NotAllowed):
    """The explicit gesture was not made."""

    key = "error.not-confirmed"


class ConsentMissing(NotAllowed):
    """The patient's consent is not recorded."""

    key = "error.consent-missing"


class ConsentExpired(NotAllowed):
    """The consent that was recorded ran out."""

    key = "error.consent-expired"


class AccessOpposed(NotAllowed):
    """The patient opposes this way of access: bris de glace, or centre 15."""

    key = "error.access-opposed"


class ProfessionalBlocked(NotAllowed):
    """The patient has blocked the professional."""

    key = "error.professional-blocked"


class ReasonMissing(NotAllowed):
    """An emergency access or a closing without its reason."""

    key = "error.reason-missing"


class ConsultationClosed(NotAllowed):
    """The consultation ended, by time, hand or the card."""

    key = "error.consultation-closed"


class LegacyDisabled(NotAllowed):
    """TD1.1, TD1.2, TD1.4 and TD1.5 need `legacy_dossier_management`."""

    key = "error.legacy-disabled"


class Refused(DmpError):
    """The server's refusal. `code` and `text` are what it sent, also when unknown to us; `context` is free."""

    key = "error.refused"

    def __init__(self, code: str, text: str = "", *, context: str = "") -> None:
        super().__init__(log=f"{code}: {text}" if text else code)
        self.code, self.text, self.context = code, text, context

    @property
    def message(self) -> Message:
        """The class's sentence, with the server's code where the class is for several."""
        return message(self.key, code=self.code, text=self.text or "-")


class NoDossier(Refused):
    """The patient has no DMP."""

    key = "error.no-dossier"


class DossierExists(Refused):
    """The DMP that was to be created is there."""

    key = "error.dossier-exists"


class DossierClosed(Refused):
    """The DMP is closed."""

    key = "error.dossier-closed"


class ManagedByMes(Refused):
    """Mon espace santé manages the dossier: not created, closed or reopened by professionals (since July 2021)."""

    key = "error.managed-by-mes"


class AccessDenied(Refused):
    """The DMP's service of rights says no."""

    key = "error.access-denied"


class AssertionRefused(Refused):
    """The DMP does not accept the VIHF."""

    key = "error.assertion-refused"


class CertificateRefused(Refused):
    """The DMP does not accept the certificate."""

    key = "error.certificate-refused"


class DocumentUnknown(Refused):
    """No document of this uniqueId, for this professional."""

    key = "error.document-unknown"


class DuplicateDocument(Refused):
    """The uniqueId is in the DMP already."""

    key = "error.duplicate-document"


@dataclass(frozen=True, slots=True)
class RegistryError:
    """One rs:RegistryError (ebRS 3.0, IHE ITI TF-3 4.2.4)."""

    code: str
    context: str
    severity: str = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Error"
    location: str = ""

    @property
    def warning(self) -> bool:
        """A warning: what was asked was done all the same (ebXML RS)."""
        return self.severity.endswith(":Warning")


class RegistryRefused(Refused):
    """An XDS failure. `errors` holds every rs:RegistryError in order; `partial` if something was done."""

    def __init__(self, errors: tuple[RegistryError, ...], *, partial: bool = False) -> None:
        first = errors[0] if errors else RegistryError("XDSRegistryError", "")
        super().__init__(first.code, first.context)
        self.errors, self.partial = errors, partial


class BadAnswer(DmpError):
    """The answer is not what the protocol says. Nothing of it was used. The detail is for the log."""

    key = "error.bad-answer"
    detail: Message

    def __init__(self, detail: Message) -> None:
        super().__init__(detail)


class HostileXml(BadAnswer):
    """XML with a DTD or entities, too deep or too large."""

    key = "error.hostile-xml"


class Unavailable(DmpError):
    """`sent`: the request may have been acted on although no answer came (ask again by uniqueId).

    `retry_after`: seconds after which the server wants to be asked again; 0 when it did not say.
    """

    key = "error.unavailable"
    temporary = True

    def __init__(self, what: str, *, sent: bool = True, retry_after: int = 0) -> None:
        super().__init__(log=what)
        self.sent, self.retry_after = sent, retry_after

    @property
    def message(self) -> Message:
        """The class's sentence, with the time after which to ask again when the server says one."""
        return message("error.unavailable-until", seconds=self.retry_after) if self.retry_after else message(self.key)


class NotPrinted(DmpError):
    """No PDF/A-1 could be made of a document. Nothing was sent; the document itself can be read in its other forms."""

    key = "error.not-printed"
    detail: Message

    def __init__(self, detail: Message, *, log: str = "") -> None:
        super().__init__(detail, log=log or str(detail))

    @property
    def message(self) -> Message:
        """The class's sentence with the detail in it."""
        return message(self.key, detail=self.detail)


class CardError(DmpError):
    """The detail, when there is one, says what was seen; it names no data of the card."""

    key = "error.card-error"

    @property
    def message(self) -> Message:
        """The class's sentence with the detail in it."""
        plain = message(self.key)
        return plain if self.detail is None else message("with-detail", said=plain, detail=self.detail)


class NoReader(CardError):
    """No reader, or none of that name, or what reads it is not installed."""

    key = "error.no-reader"


class NoCard(CardError):
    """No card in the reader."""

    key = "error.no-card"


class WrongPin(CardError):
    """`tries_left`: shown to the user; a wrong PIN is never tried again by us."""

    key = "error.wrong-pin"

    def __init__(self, tries_left: int | None) -> None:
        super().__init__(log=f"tries left: {'unknown' if tries_left is None else tries_left}")
        self.tries_left = tries_left

    @property
    def message(self) -> Message:
        """The sentence, with how many tries are left."""
        return message(self.key) if self.tries_left is None else message("error.wrong-pin-tries", tries=self.tries_left)


class PinLocked(CardError):
    """The card is locked: too many wrong PINs."""

    key = "error.pin-locked"


class CardExpired(CardError):
    """The card's certificates are not valid now."""

    key = "error.card-expired"


class CardRemoved(CardError):
    """The card left its reader while it was used."""

    key = "error.card-removed"


class CardUnreadable(CardError):
    """A card that does not answer as one of its kind."""

    key = "error.card-unreadable"


_BY_CODE: dict[str, type[Refused]] = {
    "NF": NoDossier,
    "DMPFound": DossierExists,
    "DMPClosed": DossierClosed,
    "DMPAccessDeniedByRightsService": AccessDenied,
    "DMPInvalidCertificate": CertificateRefused,
    "InvalidSecurity": AssertionRefused,
    "InvalidSecurityToken": AssertionRefused,
    "FailedAuthentication": AssertionRefused,
    "FailedCheck": AssertionRefused,
    "MessageExpired": AssertionRefused,
    "XDSDocumentUniqueIdError": DocumentUnknown,
    "XDSDuplicateUniqueIdInRegistry": DuplicateDocument,
    "XDSNonIdenticalHash": DuplicateDocument,
}


def refusal(code: str, text: str = "", *, context: str = "") -> Refused:
    """The error class of a server code; the code and the text are kept as they came."""
    return _BY_CODE.get(code, Refused)(code, text, context=context)
