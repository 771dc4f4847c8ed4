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

from bilingual import local
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
from dmp_connector.texts import Message, message

MIN_REASON = 10  # characters: "urgence" alone is no reason

_CONSULTING = frozenset({Action.FIND, Action.RETRIEVE, Action.RETRIEVE_MASKED})
_BY_A_PERSON = _CONSULTING | {Action.OPPOSE}
_OF_A_CLOSED = frozenset({Action.READ_ADMINISTRATIVE, Action.ADMINISTER})  # its administrative data stay, and it can be reopened
_QUALIFIED = frozenset({InsKind.NIR, InsKind.NIA, InsKind.NIR_TEST, InsKind.NIR_DEMO})
_FOR_TESTS = frozenset({InsKind.NIR_TEST, InsKind.NIR_DEMO})


class Condition(enum.StrEnum):
    """The five conditions of an access; all are judged (docs/dmp.md, "May I")."""

    AVAILABILITY = "disponibilité"
    IDENTITY = "INS"
    CONSENT = "consentement"
    AUTHENTICATION = "authentification"
    ENTITLEMENT = "habilitation"


class NotAuthenticated(NotAllowed):
    """The act needs a person: a card or Pro Santé Connect, not the structure's certificate alone."""

    key = "error.not-authenticated"


class NotEntitled(NotAllowed):
    """The matrix of rights gives the profile no such act in this mode."""

    key = "error.not-entitled"


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
    text: Message
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
        conditions=tuple((r.condition.value, r.holds, r.text.fr) for r in reasons),
        reason=request.reason,
    )
    return Decision(granted, reasons, record)


def require_mode(actor: Actor, mode: AccessMode, regulation_structures: frozenset[str]) -> None:
    """The conditions of a mode that can be checked before the DMP is asked. Raises NotAuthenticated, NotEntitled."""
    if mode is AccessMode.BRIS_DE_GLACE and actor.authentication is AuthenticationMode.INDIRECT:
        raise NotAuthenticated(log=actor.authentication.value)
    if mode is AccessMode.BRIS_DE_GLACE and actor.staff_card:
        raise NotEntitled(message("dossier.bris-de-glace-not-open"))
    if mode is AccessMode.CENTRE_15 and actor.structure.id not in regulation_structures:
        raise NotEntitled(message("dossier.mode-centre-15-medical-regulation"))


def _holds(condition: Condition, text: Message) -> Reason:
    return Reason(condition, True, text)


def _fails(condition: Condition, error: DmpError) -> Reason:
    return Reason(condition, False, error.message, error)


def _availability(request: AccessRequest) -> Reason:
    condition, state = Condition.AVAILABILITY, request.dossier.state
    if state is DossierState.ACTIVE:
        return _holds(condition, message("access.active"))
    if state is DossierState.CLOSED and request.action in _OF_A_CLOSED:
        return _holds(condition, message("access.closed"))
    if state is DossierState.CLOSED:
        return _fails(condition, DossierClosed("DMPClosed", "TD0.2"))
    return _fails(condition, NoDossier("NF", "TD0.2"))


def _identity(request: AccessRequest) -> Reason:
    condition, oid = Condition.IDENTITY, request.dossier.ins.oid
    if oid not in _QUALIFIED:
        return _fails(condition, BadIns(message("dossier.identifier-not-qualified-ins-nir")))
    if request.production and oid in _FOR_TESTS:
        return _fails(condition, BadIns(message("dossier.ins-tests-demonstrations-refused-production")))
    return _holds(condition, message("access.qualified"))


def _consent(request: AccessRequest) -> Reason:
    if request.mode is AccessMode.BRIS_DE_GLACE:
        return _emergency(request)
    if request.mode is AccessMode.CENTRE_15:
        if request.dossier.oppositions.centre_15:
            return _fails(Condition.CONSENT, AccessOpposed(log="centre_15"))
        if not request.confirmed:
            unconfirmed = NotConfirmed(message("dossier.regulation-access-not-confirmed-answer"))
            return _fails(Condition.CONSENT, unconfirmed)
        return _holds(Condition.CONSENT, message("access.regulation"))
    if request.action is Action.OPPOSE:
        return _the_patient_asks(request)
    if request.action not in _CONSULTING:
        # Feeding is a duty with information of the patient; declaring is itself the collecting of consent.
        return _holds(Condition.CONSENT, message("access.no-content"))
    return _consent_to_consult(request)


def _the_patient_asks(request: AccessRequest) -> Reason:
    """An opposition is the patient's decision: neither set nor lifted without an explicit confirmation (CSP L1111-17)."""
    if request.confirmed:
        return _holds(Condition.CONSENT, message("access.asked"))
    unconfirmed = NotConfirmed(message("dossier.nothing-changed-opposition-changes-only"))
    return _fails(Condition.CONSENT, unconfirmed)


def _consent_to_consult(request: AccessRequest) -> Reason:
    condition, status, consent = Condition.CONSENT, request.dossier.authorisation, request.known_consent
    if status is AuthorisationStatus.FORBIDDEN:
        return _fails(condition, ProfessionalBlocked(log="INTERDIT"))
    if status is AuthorisationStatus.EXPIRED:
        return _fails(condition, ConsentExpired(log="TD0.2: EXPIRE"))
    if status is not AuthorisationStatus.VALID:
        return _fails(condition, ConsentMissing(log="TD0.2: NON_EXISTE"))
    if consent is not None:
        try:
            consent.require(request.now)
        except ConsentExpired as error:
            return _fails(condition, error)
        return _holds(condition, message("access.consented", at=consent.at.date(), until=consent.until.date()))
    return _holds(condition, message("access.authorised"))


def _emergency(request: AccessRequest) -> Reason:
    """Bris de glace: unable to express her will and at immediate risk (CSP L1111-17 I)."""
    condition = Condition.CONSENT
    if request.dossier.oppositions.bris_de_glace:
        return _fails(condition, AccessOpposed(log="bris_de_glace"))
    if len(request.reason.strip()) < MIN_REASON:
        typed = len(request.reason.strip())
        missing = ReasonMissing(
            message("access.reason-short", least=MIN_REASON, count=typed) if typed else message("access.reason-none", least=MIN_REASON)
        )
        return _fails(condition, missing)
    if not request.confirmed:
        unconfirmed = NotConfirmed(message("dossier.bris-de-glace-not-confirmed"))
        return _fails(condition, unconfirmed)
    return _holds(condition, message("access.emergency"))


def _authentication(request: AccessRequest) -> Reason:
    condition, actor = Condition.AUTHENTICATION, request.actor
    person = actor.authentication in {AuthenticationMode.DIRECT, AuthenticationMode.AIR}
    if not person and (request.action in _BY_A_PERSON or request.mode is AccessMode.BRIS_DE_GLACE):
        return _fails(condition, NotAuthenticated(log=actor.authentication.value))
    if actor.authenticated_at > request.now:
        return _fails(
            condition,
            NotAuthenticated(message("dossier.login-lies-future-check-clock")),
        )
    how = message(f"access.login.{actor.authentication.name.lower()}")
    return _holds(condition, message("access.authenticated", how=how, at=f"{local(actor.authenticated_at):%d/%m/%Y, %H:%M}"))


def _entitlement(request: AccessRequest) -> Reason:
    condition, actor, dossier = Condition.ENTITLEMENT, request.actor, request.dossier
    # In régulation the software does not look at the authorisation to consult (PDSM4DMP-TD02); the server does.
    left_to_server = request.mode is AccessMode.CENTRE_15 and request.action in _CONSULTING
    if dossier.authorisation is AuthorisationStatus.FORBIDDEN and not left_to_server:
        return _fails(condition, ProfessionalBlocked(log="INTERDIT"))
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
        act = message(f"access.act.{request.action.name.lower().replace('_', '-')}")
        refused = NotEntitled(message("access.profile-forbids", profile=column, act=act, action=request.action))
        return _fails(condition, refused)
    if allowed is Right.OWN and not request.own:
        act = message(f"access.act.{request.action.name.lower().replace('_', '-')}")
        return _fails(condition, NotEntitled(message("access.own-only", act=act, action=request.action)))
    key = "access.profile-allows-treating" if dossier.treating_doctor else "access.profile-allows"
    return _holds(condition, message(key, profile=column, action=request.action))
