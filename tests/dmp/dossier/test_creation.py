"""The five steps in their order and no other; stored between two."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from dmp_connector.errors import BadInput, ConsentMissing, TraitsDiffer
from dmp_connector.model import Consent, ConsentBasis, ConsentMeans, Ins, InsKind, Oppositions, Patient, Sex
from dmp_connector.model.creation import AccountAccess, Channel, Creation, Step, VitaleForTests, WrongStep, from_plain, to_plain
from tests.dmp.conftest import practitioner

AT = datetime(2026, 11, 22, tzinfo=UTC)
REGISTER = Patient(Ins.typed("279035121518989", InsKind.NIR_TEST), "PAT-TROIS", "DOMINIQUE MARIE-LOUISE", date(1979, 3, 28), Sex.F, "51215")
CARD = replace(REGISTER, birth_name="PAT TROIS", given_names="DOMINIQUE", birth_place=None)
CONSENT = Consent(REGISTER.ins, ConsentBasis.EXPLICIT, practitioner(), ConsentMeans.ORAL, AT, AT + timedelta(days=1))


def started() -> Creation:
    return Creation("c1", practitioner().id, AT)


def ready() -> Creation:
    return (
        started()
        .identify(CARD, REGISTER)
        .present("text-2021")
        .agree(CONSENT, Oppositions(False, True))
        .offer_account(AccountAccess(Channel.EMAIL, "a@b.test"))
    )


def test_the_whole_way_keeps_the_card_untouched():
    done = ready().done(AT).confirm(Channel.LETTER)
    assert done.step is Step.CONFIRMED
    assert done.vitale == CARD
    assert done.patient == REGISTER
    assert (done.oppositions.bris_de_glace, done.oppositions.centre_15) == (False, True)


def test_oppositions_default_to_not_opposed():  # EX_1.1-1050
    assert started().oppositions == Oppositions(False, False)
    agreed = started().identify(CARD, REGISTER).present("t").agree(CONSENT, Oppositions())
    assert agreed.oppositions == Oppositions(False, False)


STEPS = {
    "identify": lambda c: c.identify(CARD, REGISTER),
    "present": lambda c: c.present("t"),
    "agree": lambda c: c.agree(CONSENT, Oppositions()),
    "offer": lambda c: c.offer_account(AccountAccess(None)),
    "done": lambda c: c.done(AT),
    "confirm": lambda c: c.confirm(Channel.LETTER),
}


@pytest.mark.parametrize("skipped", list(STEPS)[:-1])
def test_no_step_can_be_skipped(skipped):
    creation = started()
    names = list(STEPS)
    for name in names[: names.index(skipped)]:
        creation = STEPS[name](creation)
    with pytest.raises(WrongStep):
        STEPS[names[names.index(skipped) + 1]](creation)


def test_mon_espace_sante_and_giving_up_are_ends():
    assert ready().managed_by_mes().step is Step.MANAGED_BY_MES
    assert started().abandon().step is Step.ABANDONED
    for ended in (ready().managed_by_mes(), ready().abandon()):
        for step in STEPS.values():
            with pytest.raises(WrongStep):
                step(ended)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"birth_date": date(1979, 3, 29)}, "birth date"),
        ({"birth_name": "DUPONT"}, "birth name"),
        ({"given_names": "ALAIN"}, "given names"),
    ],
)
def test_a_card_of_another_person_than_insi_knows(changes, field):  # EX_GEN-1250
    with pytest.raises(TraitsDiffer) as raised:
        started().identify(replace(CARD, **changes), REGISTER)
    assert field in raised.value.fields
    assert "PAT-TROIS" not in str(raised.value)


def test_a_card_that_has_only_the_used_name_is_the_same_person():
    married = replace(REGISTER, used_name="DURAND")
    assert started().identify(replace(CARD, birth_name="DURAND"), married).step is Step.IDENTIFIED


def test_test_cards_are_refused_in_production_only():  # EX_GEN-1430
    with pytest.raises(VitaleForTests):
        started().identify(CARD, REGISTER, card_for_tests=True, production=True)
    started().identify(CARD, REGISTER, card_for_tests=True, production=False)


def test_consent_is_explicit_and_of_this_patient():  # EX_1.1-1010
    informed = started().identify(CARD, REGISTER).present("t")
    with pytest.raises(ConsentMissing):
        informed.agree(replace(CONSENT, basis=ConsentBasis.CARE_TEAM_PRESUMED), Oppositions())
    with pytest.raises(ConsentMissing):
        informed.agree(replace(CONSENT, ins=Ins("109076322083489", InsKind.NIR_TEST)), Oppositions())


def test_what_is_missing_is_asked_for():
    with pytest.raises(BadInput):
        started().identify(CARD, REGISTER).present(" ")
    with pytest.raises(BadInput):
        started().identify(CARD, REGISTER).present("t").agree(CONSENT, Oppositions()).offer_account(AccountAccess(Channel.SMS, " "))
    with pytest.raises(BadInput):
        ready().done(AT).confirm(Channel.SMS)


@pytest.mark.parametrize("at", range(7))
def test_a_creation_survives_the_store_at_every_step(at):
    creation = started()
    for step in list(STEPS.values())[:at]:
        creation = step(creation)
    assert from_plain(to_plain(creation)) == creation
