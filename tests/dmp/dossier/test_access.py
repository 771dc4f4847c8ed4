"""The five conditions, one by one and together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dmp_connector.dossier.access import AccessRequest, Condition, NotAuthenticated, NotEntitled, decide
from dmp_connector.dossier.rights import Action, Column, Right, column_of, possible, right
from dmp_connector.errors import (
    AccessOpposed,
    BadIns,
    ConsentExpired,
    ConsentMissing,
    DossierClosed,
    NoDossier,
    NotConfirmed,
    ProfessionalBlocked,
    ReasonMissing,
)
from dmp_connector.model import (
    AccessMode,
    Actor,
    AuthenticationMode,
    AuthorisationStatus,
    Code,
    Consent,
    ConsentBasis,
    ConsentMeans,
    Dossier,
    DossierState,
    Ins,
    InsKind,
    Oppositions,
)
from tests.dmp.conftest import practitioner, structure

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
INS = Ins.typed("279035121518989", InsKind.NIR_TEST)
WHY = "Patient inconscient, bilan urgent"


def actor(authentication=AuthenticationMode.DIRECT, **changes) -> Actor:
    return replace(Actor(practitioner(), structure(), authentication, NOW - timedelta(minutes=5), evidence="card 1"), **changes)


def request(**changes) -> AccessRequest:
    dossier = changes.pop("dossier", Dossier(INS, DossierState.ACTIVE, AuthorisationStatus.VALID))
    base = AccessRequest(actor(), dossier, AccessMode.NORMAL, Action.FIND, NOW, regulation_structures=frozenset({"10B0000015"}))
    return replace(base, **changes)


def dossier(status=AuthorisationStatus.VALID, state=DossierState.ACTIVE, **changes) -> Dossier:
    return replace(Dossier(INS, state, status), **changes)


def test_granted_with_five_reasons_and_a_record():
    decision = decide(request())
    decision.require()
    assert decision.granted
    assert [r.condition for r in decision.reasons] == list(Condition)
    record = decision.audit
    assert (record.outcome, record.who, record.patient, record.mode) == ("granted", practitioner().id, INS.cx, "normal")
    assert len(record.conditions) == 5


CONSENT = Consent(INS, ConsentBasis.EXPLICIT, practitioner(), ConsentMeans.ORAL, NOW - timedelta(days=9), NOW - timedelta(days=1))
GLASS = {"mode": AccessMode.BRIS_DE_GLACE, "reason": WHY, "confirmed": True}
SAMU = {"mode": AccessMode.CENTRE_15, "actor": actor(structure=structure(id="10B0000015")), "confirmed": True}
NONE, EXPIRED, FORBIDDEN = AuthorisationStatus.NONE, AuthorisationStatus.EXPIRED, AuthorisationStatus.FORBIDDEN


@pytest.mark.parametrize(
    ("changes", "condition", "error"),
    [
        ({"dossier": dossier(state=DossierState.NO_DMP)}, Condition.AVAILABILITY, NoDossier),
        ({"dossier": dossier(state=DossierState.CLOSED)}, Condition.AVAILABILITY, DossierClosed),
        ({"dossier": dossier(ins=Ins("279035121518989", InsKind.INS_C))}, Condition.IDENTITY, BadIns),
        ({"production": True}, Condition.IDENTITY, BadIns),
        ({"dossier": dossier(NONE)}, Condition.CONSENT, ConsentMissing),
        ({"dossier": dossier(EXPIRED)}, Condition.CONSENT, ConsentExpired),
        ({"known_consent": CONSENT}, Condition.CONSENT, ConsentExpired),
        ({"dossier": dossier(FORBIDDEN)}, Condition.CONSENT, ProfessionalBlocked),
        ({"actor": actor(AuthenticationMode.INDIRECT)}, Condition.AUTHENTICATION, NotAuthenticated),
        ({"actor": actor(authenticated_at=NOW + timedelta(hours=1))}, Condition.AUTHENTICATION, NotAuthenticated),
        ({"actor": actor(staff_card=True)}, Condition.ENTITLEMENT, NotEntitled),
        ({**GLASS, "reason": "urgence"}, Condition.CONSENT, ReasonMissing),
        ({**GLASS, "confirmed": False}, Condition.CONSENT, NotConfirmed),
        ({**GLASS, "dossier": dossier(NONE, oppositions=Oppositions(True, False))}, Condition.CONSENT, AccessOpposed),
        ({**GLASS, "dossier": dossier(FORBIDDEN)}, Condition.ENTITLEMENT, ProfessionalBlocked),
        ({**GLASS, "actor": actor(staff_card=True)}, Condition.ENTITLEMENT, NotEntitled),
        ({**GLASS, "actor": actor(AuthenticationMode.INDIRECT)}, Condition.AUTHENTICATION, NotAuthenticated),
        ({**SAMU, "dossier": dossier(NONE, oppositions=Oppositions(False, True))}, Condition.CONSENT, AccessOpposed),
        ({**SAMU, "dossier": dossier(FORBIDDEN), "action": Action.FEED}, Condition.ENTITLEMENT, ProfessionalBlocked),
        ({**SAMU, "confirmed": False}, Condition.CONSENT, NotConfirmed),
        ({"action": Action.OPPOSE}, Condition.CONSENT, NotConfirmed),
        ({"mode": AccessMode.CENTRE_15, "confirmed": True}, Condition.ENTITLEMENT, NotEntitled),
        ({"action": Action.FEED, "actor": actor(AuthenticationMode.AIR)}, Condition.ENTITLEMENT, NotEntitled),
        ({"action": Action.DELETE}, Condition.ENTITLEMENT, NotEntitled),
        ({"action": Action.SEARCH}, Condition.ENTITLEMENT, NotEntitled),
    ],
)
def test_each_condition_refuses_with_its_error(changes, condition, error):
    decision = decide(request(**changes))
    assert condition in {r.condition for r in decision.reasons if not r.holds}
    assert decision.audit.outcome == "refused"
    with pytest.raises(error):
        decision.require()


@pytest.mark.parametrize(
    "changes",
    [
        {**GLASS, "dossier": dossier(NONE, oppositions=Oppositions(False, True))},  # the other opposition does not count here
        {**SAMU, "dossier": dossier(NONE, oppositions=Oppositions(True, False))},
        {**SAMU, "dossier": dossier(FORBIDDEN)},  # in régulation the software does not look at the authorisation
        {"known_consent": replace(CONSENT, until=NOW + timedelta(days=1))},
        {"dossier": dossier(NONE), "action": Action.DECLARE},
        {"dossier": dossier(NONE), "action": Action.FEED},  # feeding is a duty, not a consultation
        {"dossier": dossier(NONE), "action": Action.FEED, "actor": actor(AuthenticationMode.INDIRECT)},
        {"action": Action.DELETE, "own": True},
        {"actor": actor(AuthenticationMode.AIR)},
    ],
)
def test_what_is_allowed(changes):
    decide(request(**changes)).require()


def test_all_failing_conditions_are_named_at_once():
    decision = decide(request(dossier=dossier(NONE, DossierState.CLOSED), actor=actor(AuthenticationMode.INDIRECT)))
    assert {r.condition for r in decision.reasons if not r.holds} == {
        Condition.AVAILABILITY,
        Condition.CONSENT,
        Condition.AUTHENTICATION,
        Condition.ENTITLEMENT,
    }


def test_the_matrix_is_whole_and_agrees_with_the_guide():
    for action in Action:
        for column in Column:
            assert right(action, column) in Right
    assert right(Action.RETRIEVE_MASKED, Column.TREATING) is Right.YES
    assert right(Action.RETRIEVE_MASKED, Column.CPS) is Right.OWN
    assert right(Action.RETRIEVE, Column.OCCUPATIONAL) is Right.NO
    assert right(Action.FEED, Column.STRUCTURE) is Right.YES
    assert right(Action.FEED, Column.AIR) is Right.NO


def test_which_column_an_actor_reads():
    occupational = actor(practitioner=practitioner(speciality=Code("SM25", "1.2.250.1.71.4.2.5")))
    normal = AccessMode.NORMAL
    assert column_of(occupational, normal, treating_doctor=False) is Column.OCCUPATIONAL
    assert column_of(actor(), normal, treating_doctor=True) is Column.TREATING
    assert column_of(actor(AuthenticationMode.AIR), normal, treating_doctor=False) is Column.AIR
    assert column_of(actor(AuthenticationMode.INDIRECT), AccessMode.BRIS_DE_GLACE, treating_doctor=False) is Column.STRUCTURE
    assert Action.FEED not in possible(actor(AuthenticationMode.AIR), normal, treating_doctor=True)
    assert Action.RETRIEVE_MASKED in possible(actor(), normal, treating_doctor=True)
