"""Everything that can go wrong with a DMP, as one tree.

    DmpError                    carries: sentence("fr"|"en") for the user, str() for the log, `temporary`
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
    └─ CardError                reader, card, PIN
       ├─ NoReader ├─ NoCard ├─ WrongPin(tries_left) ├─ PinLocked ├─ CardExpired ├─ CardRemoved └─ CardUnreadable

Checks raise. A code the server sends and this file does not know travels untouched in a plain `Refused`
(docs/reference/dmp.md 1.6: the full list is in SEL-MP-037, which is not public).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dmp_connector.french import french

Language = Literal["fr", "en"]


class DmpError(Exception):
    """Root. `str(error)` may name internals and goes to the log; `sentence()` goes to the user.

    `audited`: a row of the audit says it already. `reasons`: every condition of the access decision that refused,
    as (name, holds, text); empty when no decision was taken.
    """

    fr: ClassVar[str] = "L'opération sur le DMP a échoué."
    en: ClassVar[str] = "The DMP operation failed."
    temporary: ClassVar[bool] = False
    audited: bool = False
    reasons: tuple[tuple[str, bool, str], ...] = ()

    def sentence(self, language: Language = "fr") -> str:
        """What the user reads, without internals and patient data."""
        return self.fr if language == "fr" else self.en


class BadInput(DmpError):
    """What we were handed is wrong. The detail says what, where and what to do, without patient data.

    Its French is given here, or stands in the catalogue `french`.
    """

    fr = "Les données fournies ne sont pas valides : {0}"
    en = "The data supplied are not valid: {0}"

    def __init__(self, detail: str, *, fr: str = "") -> None:
        super().__init__(detail)
        self.detail_fr = fr or french(detail)

    def sentence(self, language: Language = "fr") -> str:
        """The class's sentence with the detail in it."""
        return super().sentence(language).format(self.detail_fr if language == "fr" else self)


class BadIns(BadInput):
    """No INS: its form, its key, or the OID it was issued under."""

    fr = "Le matricule INS saisi n'est pas valide : {0}"
    en = "The INS typed is not valid: {0}"


class TraitsDiffer(BadInput):
    """`fields`: names of the traits that differ, never their values. `register`: who knows them otherwise."""

    fr = "Les traits d'identité diffèrent de ceux {0}. Rien n'a été envoyé : vérifiez l'identité du patient."
    en = "The identity traits differ from those of {0}. Nothing was sent: check the identity of the patient."

    def __init__(self, fields: tuple[str, ...], *, register: Literal["INSi", "DMP"] = "INSi") -> None:
        known = "du téléservice INSi" if register == "INSi" else "du DMP"
        super().__init__(f"{register}: {', '.join(fields)}", fr=f"{known} : {', '.join(_TRAITS_FR[name] for name in fields)}")
        self.fields, self.register = fields, register


_TRAITS_FR = {
    "INS": "matricule INS",
    "birth name": "nom de naissance",
    "given names": "prénoms",
    "birth date": "date de naissance",
    "sex": "sexe",
    "birth place": "lieu de naissance",
}


def trait_fr(name: str) -> str:
    """The French name of a trait."""
    return _TRAITS_FR[name]


class BadCode(BadInput):
    """A code that its value set (JDV, ASS) does not have."""

    fr = "Code absent du jeu de valeurs : {0}"
    en = "Code outside its value set: {0}"


class BadDocument(BadInput):
    """A document, or what makes one, that the DMP would not take."""

    fr = "Le document n'est pas acceptable : {0}"
    en = "The document is not acceptable: {0}"


class BadArchive(BadInput):
    """No IHE_XDM.ZIP that can be read (ITI TF-2 3.32)."""

    fr = "L'archive IHE_XDM n'est pas acceptable : {0}"
    en = "The IHE_XDM archive is not acceptable: {0}"


class BadCertificate(BadInput):
    """A certificate or a key that cannot be used."""

    fr = "Le certificat ou la clé n'est pas utilisable : {0}"
    en = "The certificate or key cannot be used: {0}"


class BadSettings(BadInput):
    """A setting, or a file that one names, that cannot be used."""

    fr = "Réglage du connecteur DMP non valide : {0}"
    en = "Setting of the DMP connector not valid: {0}"


class NotAllowed(DmpError):
    """Refused by our own rules, before any call. `fr`, `en`: the sentence where the class's own is too general."""

    fr = "L'accès à ce DMP n'est pas permis."
    en = "Access to this DMP is not allowed."

    def __init__(self, detail: str = "", *, fr: str = "", en: str = "") -> None:
        super().__init__(detail)
        self._fr, self._en = fr, en or (detail if fr else "")

    def sentence(self, language: Language = "fr") -> str:
        """The sentence given with the error, else that of the class."""
        return (self._fr if language == "fr" else self._en) or super().sentence(language)


class NotConfirmed(NotAllowed):
    """The explicit gesture was not made."""

    fr = "Rien n'a été fait : cette action demande votre confirmation (répondez « oui », ou ajoutez --yes)."
    en = "Nothing was done: this needs your confirmation (answer yes, or add --yes)."


class ConsentMissing(NotAllowed):
    """The patient's consent is not recorded."""

    fr = "Aucun consentement du patient n'est enregistré. Recueillez-le, puis déclarez votre autorisation."
    en = "No consent of the patient is recorded. Collect it, then declare your authorisation."


class ConsentExpired(NotAllowed):
    """The consent that was recorded ran out."""

    fr = "Le consentement enregistré a expiré. Recueillez-le de nouveau."
    en = "The recorded consent has expired. Collect it again."


class AccessOpposed(NotAllowed):
    """The patient opposes this way of access: bris de glace, or centre 15."""

    fr = "Le patient s'est opposé à cet accès en urgence."
    en = "The patient opposed this emergency access."


class ProfessionalBlocked(NotAllowed):
    """The patient has blocked the professional."""

    fr = "Le patient a bloqué l'accès de ce professionnel à son DMP."
    en = "The patient blocked this professional's access to the DMP."


class ReasonMissing(NotAllowed):
    """An emergency access or a closing without its reason."""

    fr = "Cette action exige un motif (--reason)."
    en = "This needs a reason (--reason)."


class ConsultationClosed(NotAllowed):
    """The consultation ended, by time, hand or the card."""

    fr = "La consultation est terminée. Ouvrez-la de nouveau."
    en = "The consultation has ended. Open it again."


class LegacyDisabled(NotAllowed):
    """TD1.1, TD1.2, TD1.4 and TD1.5 need `legacy_dossier_management`."""

    fr = "La création, la fermeture et la réouverture d'un DMP relèvent de Mon espace santé (depuis le 1er juillet 2021)."
    en = "Creating, closing and reopening a DMP belong to Mon espace santé (since 1 July 2021)."


class Refused(DmpError):
    """The server's refusal. `code` and `text` are what it sent, also when unknown to us; `context` is free."""

    fr = "Le DMP a refusé l'opération ({0.code}) : {0.text}"
    en = "The DMP refused the operation ({0.code}): {0.text}"

    def __init__(self, code: str, text: str = "", *, context: str = "") -> None:
        super().__init__(f"{code}: {text}" if text else code)
        self.code, self.text, self.context = code, text, context

    def sentence(self, language: Language = "fr") -> str:
        """The class's sentence, with the server's code where the class is for several."""
        return super().sentence(language).format(self)


class NoDossier(Refused):
    """The patient has no DMP."""

    fr = "Ce patient n'a pas de DMP."
    en = "This patient has no DMP."


class DossierExists(Refused):
    """The DMP that was to be created is there."""

    fr = "Le DMP de ce patient existe déjà et il est actif."
    en = "This patient's DMP already exists and is active."


class DossierClosed(Refused):
    """The DMP is closed."""

    fr = "Le DMP de ce patient est fermé."
    en = "This patient's DMP is closed."


class ManagedByMes(Refused):
    """Mon espace santé manages the dossier: not created, closed or reopened by professionals (since July 2021)."""

    fr = "Ce dossier est géré par Mon espace santé : l'opération n'est plus ouverte aux professionnels."
    en = "This dossier is managed by Mon espace santé: the operation is no longer open to professionals."


class AccessDenied(Refused):
    """The DMP's service of rights says no."""

    fr = "Le DMP refuse l'accès ({0.code}) : {0.text}"
    en = "The DMP denies access ({0.code}): {0.text}"


class AssertionRefused(Refused):
    """The DMP does not accept the VIHF."""

    fr = "Le DMP a refusé le jeton d'identification VIHF ({0.code}) : {0.text}"
    en = "The DMP refused the VIHF assertion ({0.code}): {0.text}"


class CertificateRefused(Refused):
    """The DMP does not accept the certificate."""

    fr = "Le DMP a refusé le certificat ({0.code}) : {0.text}"
    en = "The DMP refused the certificate ({0.code}): {0.text}"


class DocumentUnknown(Refused):
    """No document of this uniqueId, for this professional."""

    fr = "Ce document n'existe pas dans le DMP."
    en = "This document is not in the DMP."


class DuplicateDocument(Refused):
    """The uniqueId is in the DMP already."""

    fr = "Ce document est déjà dans le DMP."
    en = "This document is already in the DMP."


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
        first = errors[0] if errors else RegistryError("XDSRegistryError", "no detail given")
        super().__init__(first.code, first.context)
        self.errors, self.partial = errors, partial


class BadAnswer(DmpError):
    """The answer is not what the protocol says. Nothing of it was used."""

    fr = "La réponse du DMP est illisible."
    en = "The DMP's answer cannot be read."


class HostileXml(BadAnswer):
    """XML with a DTD or entities, too deep or too large."""

    fr = "Le document XML a été refusé (DTD, entités, profondeur ou taille)."
    en = "The XML document was refused (DTD, entities, depth or size)."


class Unavailable(DmpError):
    """`sent`: the request may have been acted on although no answer came (ask again by uniqueId).

    `retry_after`: seconds after which the server wants to be asked again; 0 when it did not say.
    """

    fr = "Le DMP ne répond pas. Réessayez plus tard."
    en = "The DMP does not answer. Try again later."
    temporary = True

    def __init__(self, what: str, *, sent: bool = True, retry_after: int = 0) -> None:
        super().__init__(what)
        self.sent, self.retry_after = sent, retry_after

    def sentence(self, language: Language = "fr") -> str:
        """The class's sentence, with the time after which to ask again when the server says one."""
        if not self.retry_after:
            return super().sentence(language)
        if language == "fr":
            return f"Le DMP est indisponible. Réessayez dans {self.retry_after} secondes."
        return f"The DMP is not available. Try again in {self.retry_after} seconds."


class CardError(DmpError):
    """The detail, when there is one, says what was seen; it names no data of the card."""

    fr = "La carte n'est pas utilisable."
    en = "The card cannot be used."

    def sentence(self, language: Language = "fr") -> str:
        """The class's sentence with the detail in it."""
        detail = str(self)
        if not detail:
            return super().sentence(language)
        return f"{super().sentence(language)} ({french(detail) if language == 'fr' else detail})"


class NoReader(CardError):
    """No reader, or none of that name, or what reads it is not installed."""

    fr = "Aucun lecteur de carte n'est utilisable."
    en = "No card reader can be used."


class NoCard(CardError):
    """No card in the reader."""

    fr = "Insérez votre carte."
    en = "Insert your card."


class WrongPin(CardError):
    """`tries_left`: shown to the user; a wrong PIN is never tried again by us."""

    fr = "Code porteur incorrect."
    en = "Wrong PIN."

    def __init__(self, tries_left: int | None) -> None:
        super().__init__(f"tries left: {'unknown' if tries_left is None else tries_left}")
        self.tries_left = tries_left

    def sentence(self, language: Language = "fr") -> str:
        """The sentence, with how many tries are left."""
        plain = self.fr if language == "fr" else self.en
        if self.tries_left is None:
            return plain
        rest = f"Essais restants : {self.tries_left}." if language == "fr" else f"Tries left: {self.tries_left}."
        return f"{plain} {rest}"


class PinLocked(CardError):
    """The card is locked: too many wrong PINs."""

    fr = "La carte est bloquée : trop de codes incorrects."
    en = "The card is locked: too many wrong PINs."


class CardExpired(CardError):
    """The card's certificates are not valid now."""

    fr = "La carte a expiré."
    en = "The card has expired."


class CardRemoved(CardError):
    """The card left its reader while it was used."""

    fr = "La carte a été retirée : la consultation est fermée."
    en = "The card was removed: the consultation is closed."


class CardUnreadable(CardError):
    """A card that does not answer as one of its kind."""

    fr = "La carte ne peut pas être lue."
    en = "The card cannot be read."


# docs/reference/dmp.md 1.6, the faults of WS-Security 1.1 12, and the XDS errors of IHE ITI TF-3 table 4.2.4.1-2.
# Everything else stays a plain Refused.
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
