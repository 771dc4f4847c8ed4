"""Whether an act is allowed: the five cumulative conditions of a DMP access, as one function (docs/reference/dmp.md 7.2, "DICAH").

Disponibilité (there is an active dossier), INS (the identity is qualified), Consentement (the patient's decision),
Authentification (strong, of a person), Habilitation (this profession, in this mode, not blocked).

`decide` checks all five, also after the first that fails, so that the user sees every reason at once. It
makes no request and changes nothing. `Decision.require` raises the error of the first condition that does not hold.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from dmp_connector.dossier.rights import Action, Right, column_of, right
from dmp_connector.errors import (
    AccessOpposed,
    BadIns,
    ConsentExpired,
    ConsentMissing,
    DmpError,
    DossierClosed,
    NoDossier,
    NotAllowed,
    NotConfirmed,
    ProfessionalBlocked,
    ReasonMissing,
)
from dmp_connector.model.audit import AuditRecord
from dmp_connector.model.dossier import AuthorisationStatus, Consent, Dossier, DossierState
from dmp_connector.model.people import AccessMode, Actor, AuthenticationMode, InsKind

MIN_REASON = 10  # characters: "urgence" alone is no reason

_CONSULTING = frozenset({Action.FIND, Action.RETRIEVE, Action.RETRIEVE_MASKED})
_BY_A_PERSON = _CONSULTING | {Action.OPPOSE}
_OF_A_CLOSED = frozenset({Action.READ_ADMINISTRATIVE, Action.ADMINISTER})  # its administrative data stay, and it can be reopened
_QUALIFIED = frozenset({InsKind.NIR, InsKind.NIA, InsKind.NIR_TEST, InsKind.NIR_DEMO})
_FOR_TESTS = frozenset({InsKind.NIR_TEST, InsKind.NIR_DEMO})


_ACTS: Final = {  # what an action is, in words: "de {}", "to {}"
    Action.EXISTS: ("vérifier l'existence du DMP", "ask whether there is a DMP"),
    Action.DECLARE: ("déclarer une autorisation", "declare an authorisation"),
    Action.REMOVE: ("rendre une autorisation", "give back an authorisation"),
    Action.REMOVE_TREATING: ("rendre le rôle de médecin traitant", "give back the role of treating doctor"),
    Action.LIST: ("lister les DMP autorisés", "list authorised dossiers"),
    Action.SEARCH: ("chercher un patient sans INS", "search a patient without INS"),
    Action.ADMINISTER: ("gérer le DMP", "manage the DMP"),
    Action.READ_ADMINISTRATIVE: ("lire les données administratives", "read the administrative data"),
    Action.MODIFY: ("modifier les données administratives", "change the administrative data"),
    Action.OPPOSE: ("changer une opposition du patient", "change an opposition of the patient"),
    Action.PROFESSIONALS: ("lister les professionnels autorisés", "list authorised professionals"),
    Action.FEED: ("déposer un document", "file a document"),
    Action.FIND: ("consulter la liste des documents", "consult the list of documents"),
    Action.LOCATE: ("retrouver un document par son identifiant", "locate a document by its id"),
    Action.RETRIEVE: ("lire un document", "read a document"),
    Action.RETRIEVE_MASKED: ("lire un document masqué", "read a masked document"),
    Action.MASK: ("masquer un document", "mask a document"),
    Action.UNMASK: ("démasquer un document", "unmask a document"),
    Action.MAKE_VISIBLE: ("rendre un document visible", "make a document visible"),
    Action.DELETE: ("supprimer un document", "delete a document"),
    Action.ARCHIVE: ("archiver un document", "archive a document"),
}


class Condition(enum.StrEnum):
    """The five conditions of an access; all are judged (docs/dmp.md, "May I")."""

    AVAILABILITY = "disponibilité"
    IDENTITY = "INS"
    CONSENT = "consentement"
    AUTHENTICATION = "authentification"
    ENTITLEMENT = "habilitation"


class NotAuthenticated(NotAllowed):
    """The act needs a person: a card or Pro Santé Connect, not the structure's certificate alone."""

    fr = "Cette action exige votre carte de professionnel ou une connexion Pro Santé Connect."
    en = "This action needs your professional card or a Pro Santé Connect login."


class NotEntitled(NotAllowed):
    """The matrix of rights gives the profile no such act in this mode."""

    fr = "Votre profil ne permet pas cette action dans ce mode d'accès."
    en = "Your profile does not allow this action in this access mode."


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """Everything a decision looks at. `confirmed`: an explicit gesture of the user, never a default.

    `own`: the document concerned is the actor's; `known_consent` the latest recorded here, also when expired.
    """

    actor: Actor
    dossier: Dossier
    mode: AccessMode
    action: Action
    now: datetime
    known_consent: Consent | None = None
    reason: str = ""
    confirmed: bool = False
    own: bool = False
    regulation_structures: frozenset[str] = frozenset()
    production: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """One condition: holds or not, and the sentence for the user. `error` is raised when it does not hold."""

    condition: Condition
    holds: bool
    text: str
    error: DmpError | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """Granted or not, why, condition by condition, and the audit row for it."""

    granted: bool
    reasons: tuple[Reason, ...]
    audit: AuditRecord

    def require(self) -> None:
        """Raise the error of the first condition that does not hold; its `reasons` are all that don't."""
        failing = [r for r in self.reasons if not r.holds]
        if failing:
            error = failing[0].error or NotAllowed(failing[0].text)
            error.reasons = tuple((r.condition.value, r.holds, r.text) for r in failing)
            raise error


def decide(request: AccessRequest) -> Decision:
    """The decision with the reason of each condition and the record for the audit."""
    reasons = (_availability(request), _identity(request), _consent(request), _authentication(request), _entitlement(request))
    granted = all(r.holds for r in reasons)
    record = AuditRecord(
        at=request.now,
        who=request.actor.practitioner.id,
        structure=request.actor.structure.id,
        evidence=request.actor.evidence,
        patient=request.dossier.ins.cx,
        mode=request.mode.value,
        what=request.action.value,
        outcome="granted" if granted else "refused",
        conditions=tuple((r.condition.value, r.holds, r.text) for r in reasons),
        reason=request.reason,
    )
    return Decision(granted, reasons, record)


def require_mode(actor: Actor, mode: AccessMode, regulation_structures: frozenset[str]) -> None:
    """The conditions of a mode that can be checked before the DMP is asked. Raises NotAuthenticated, NotEntitled."""
    if mode is AccessMode.BRIS_DE_GLACE and actor.authentication is AuthenticationMode.INDIRECT:
        raise NotAuthenticated(actor.authentication.value)
    if mode is AccessMode.BRIS_DE_GLACE and actor.staff_card:
        raise NotEntitled(
            "a staff card (CPE) knows no bris de glace",
            fr="Le bris de glace n'est pas ouvert à une carte de personnel (CPE).",
            en="Bris de glace is not open to a staff card (CPE).",
        )
    if mode is AccessMode.CENTRE_15 and actor.structure.id not in regulation_structures:
        raise NotEntitled(
            "not a regulation structure",
            fr="Le mode centre_15 est réservé aux structures de régulation médicale (SAMU).",
            en="The mode centre_15 is for medical regulation structures (SAMU).",
        )


def _holds(condition: Condition, text: str) -> Reason:
    return Reason(condition, True, text)


def _fails(condition: Condition, error: DmpError) -> Reason:
    return Reason(condition, False, error.sentence("fr"), error)


def _availability(request: AccessRequest) -> Reason:
    condition, state = Condition.AVAILABILITY, request.dossier.state
    if state is DossierState.ACTIVE:
        return _holds(condition, "Le DMP existe et il est actif.")
    if state is DossierState.CLOSED and request.action in _OF_A_CLOSED:
        return _holds(condition, "Le DMP existe ; il est fermé.")
    if state is DossierState.CLOSED:
        return _fails(condition, DossierClosed("DMPClosed", "TD0.2"))
    return _fails(condition, NoDossier("NF", "TD0.2"))


def _identity(request: AccessRequest) -> Reason:
    condition, oid = Condition.IDENTITY, request.dossier.ins.oid
    if oid not in _QUALIFIED:
        return _fails(condition, BadIns("the identifier is not a qualified INS (NIR or NIA)"))
    if request.production and oid in _FOR_TESTS:
        return _fails(condition, BadIns("an INS for tests or demonstrations is refused in production (EX_GEN-1430)"))
    return _holds(condition, "Matricule INS qualifié.")


def _consent(request: AccessRequest) -> Reason:
    if request.mode is AccessMode.BRIS_DE_GLACE:
        return _emergency(request)
    if request.mode is AccessMode.CENTRE_15:
        if request.dossier.oppositions.centre_15:
            return _fails(Condition.CONSENT, AccessOpposed("centre_15"))
        if not request.confirmed:
            unconfirmed = NotConfirmed(
                "centre 15 not confirmed",
                fr="L'accès de régulation n'a pas été confirmé : répondez « oui », ou ajoutez --yes.",
                en="The regulation access was not confirmed: answer yes, or add --yes.",
            )
            return _fails(Condition.CONSENT, unconfirmed)
        return _holds(Condition.CONSENT, "Régulation médicale : accès permis, le patient ne s'y est pas opposé (CSP L1111-17).")
    if request.action is Action.OPPOSE:
        return _the_patient_asks(request)
    if request.action not in _CONSULTING:
        # Feeding is a duty with information of the patient; declaring is itself the collecting of consent.
        return _holds(Condition.CONSENT, "Cette action ne consulte pas le contenu du DMP.")
    return _consent_to_consult(request)


def _the_patient_asks(request: AccessRequest) -> Reason:
    """An opposition is the patient's decision: neither set nor lifted without an explicit confirmation (CSP L1111-17)."""
    if request.confirmed:
        return _holds(Condition.CONSENT, "Le patient le demande, en sa présence.")
    unconfirmed = NotConfirmed(
        "a change of opposition was not confirmed",
        fr="Rien n'a été modifié : une opposition ne change qu'à la demande du patient, en sa présence "
        "(répondez « oui », ou ajoutez --yes).",
        en="Nothing was changed: an opposition changes only at the request of the patient, who is present (answer yes, or add --yes).",
    )
    return _fails(Condition.CONSENT, unconfirmed)


def _consent_to_consult(request: AccessRequest) -> Reason:
    condition, status, consent = Condition.CONSENT, request.dossier.authorisation, request.known_consent
    if status is AuthorisationStatus.FORBIDDEN:
        return _fails(condition, ProfessionalBlocked("INTERDIT"))
    if status is AuthorisationStatus.EXPIRED:
        expired = ConsentExpired(
            "TD0.2: EXPIRE",
            fr=f"{ConsentExpired.fr.removesuffix('.')} : mssgw dmp authorise --patient INS.",
            en=f"{ConsentExpired.en.removesuffix('.')}: mssgw dmp authorise --patient INS.",
        )
        return _fails(condition, expired)
    if status is not AuthorisationStatus.VALID:
        missing = ConsentMissing(
            "TD0.2: NON_EXISTE",
            fr=f"{ConsentMissing.fr.removesuffix('.')} : mssgw dmp authorise --patient INS.",
            en=f"{ConsentMissing.en.removesuffix('.')}: mssgw dmp authorise --patient INS.",
        )
        return _fails(condition, missing)
    if consent is not None:
        try:
            consent.require(request.now)
        except ConsentExpired as error:
            return _fails(condition, error)
        return _holds(condition, f"Consentement recueilli le {consent.at:%d/%m/%Y}, valable jusqu'au {consent.until:%d/%m/%Y}.")
    return _holds(condition, "Autorisation en cours enregistrée dans le DMP.")


def _emergency(request: AccessRequest) -> Reason:
    """Bris de glace: unable to express her will and at immediate risk (CSP L1111-17 I)."""
    condition = Condition.CONSENT
    if request.dossier.oppositions.bris_de_glace:
        return _fails(condition, AccessOpposed("bris_de_glace"))
    if len(request.reason.strip()) < MIN_REASON:
        typed = len(request.reason.strip())
        missing = ReasonMissing(
            f"at least {MIN_REASON} characters, {typed} given",
            fr=f"Le bris de glace exige un motif d'au moins {MIN_REASON} caractères (--reason) ; "
            + (f"celui-ci en compte {typed}." if typed else "aucun n'est donné."),
            en=f"Bris de glace needs a reason of at least {MIN_REASON} characters (--reason); "
            + (f"this one has {typed}." if typed else "none was given."),
        )
        return _fails(condition, missing)
    if not request.confirmed:
        unconfirmed = NotConfirmed(
            "bris de glace not confirmed",
            fr="Le bris de glace n'a pas été confirmé : répondez « oui », ou ajoutez --yes.",
            en="Bris de glace was not confirmed: answer yes, or add --yes.",
        )
        return _fails(condition, unconfirmed)
    return _holds(condition, "Urgence déclarée et motivée ; le patient ne s'est pas opposé au bris de glace.")


def _authentication(request: AccessRequest) -> Reason:
    condition, actor = Condition.AUTHENTICATION, request.actor
    person = actor.authentication in {AuthenticationMode.DIRECT, AuthenticationMode.AIR}
    if not person and (request.action in _BY_A_PERSON or request.mode is AccessMode.BRIS_DE_GLACE):
        return _fails(condition, NotAuthenticated(actor.authentication.value))
    if actor.authenticated_at > request.now:
        return _fails(
            condition,
            NotAuthenticated(
                "the login lies in the future",
                fr="L'heure d'authentification est dans le futur : vérifiez l'horloge du poste.",
                en="The login lies in the future: check the clock of the workstation.",
            ),
        )
    how = {"DIRECTE": "par carte", "INDIRECTE_RENFORCEE": "par Pro Santé Connect", "INDIRECTE": "par la structure"}
    return _holds(condition, f"Authentification {how[actor.authentication.value]} le {actor.authenticated_at:%d/%m/%Y à %H:%M}.")


def _entitlement(request: AccessRequest) -> Reason:
    condition, actor, dossier = Condition.ENTITLEMENT, request.actor, request.dossier
    # In régulation the software does not look at the authorisation to consult (PDSM4DMP-TD02); the server does.
    left_to_server = request.mode is AccessMode.CENTRE_15 and request.action in _CONSULTING
    if dossier.authorisation is AuthorisationStatus.FORBIDDEN and not left_to_server:
        return _fails(condition, ProfessionalBlocked("INTERDIT"))
    try:
        require_mode(actor, request.mode, request.regulation_structures)
    except NotEntitled as error:
        return _fails(condition, error)
    except NotAuthenticated:
        pass  # reported by the condition before
    column = column_of(actor, request.mode, treating_doctor=dossier.treating_doctor)
    allowed = right(request.action, column)
    if request.action is Action.FEED and actor.authentication is AuthenticationMode.AIR:
        allowed = Right.NO
    if allowed is Right.NO or (allowed is Right.REGULATION and request.mode is not AccessMode.CENTRE_15):
        act_fr, act_en = _ACTS[request.action]
        fr = f"Le profil « {column} » ne permet pas de {act_fr} ({request.action})."
        en = f"The profile « {column} » does not allow to {act_en} ({request.action})."
        return _fails(condition, NotEntitled(f"{request.action} / {column}", fr=fr, en=en))
    if allowed is Right.OWN and not request.own:
        act_fr, act_en = _ACTS[request.action]
        fr = f"Vous ne pouvez {act_fr} que s'il est de vous ({request.action})."
        en = f"You can {act_en} only when it is your own ({request.action})."
        return _fails(condition, NotEntitled("own documents only", fr=fr, en=en))
    treating = " (médecin traitant)" if dossier.treating_doctor else ""
    return _holds(condition, f"Profil « {column} »{treating} : {request.action} permis.")
