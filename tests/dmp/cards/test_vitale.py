"""The simulated Vitale through pcscd and vpcd, and the licensed reader behind its program."""

from __future__ import annotations

import json
import re
import stat
import threading
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_connector.card.readers import Slot, Watch, pair, slots
from dmp_connector.card.simulated import SimulatedCard
from dmp_connector.card.vitale import ExternalVitaleReader, PcscVitaleReader, VitaleKind, parse_card
from dmp_connector.errors import BadIns, CardUnreadable, NoCard, NoReader
from dmp_connector.model import InsKind, Sex
from tests.fuzz import examples

from .conftest import VITALE, until


def _slot() -> Slot:
    return next(s for s in slots() if "Virtual PCD" in s.name)


@contextmanager
def inserted(content):
    """Puts a card into the reader and returns (card, slot) once the daemon has seen the former one go and this one come."""
    until(lambda: not _slot().atr, "an empty reader")
    with SimulatedCard(content) as card:
        yield card, until(lambda: next((s for s in slots() if s.atr), None), "the card in its reader")


def test_a_vitale_is_read_through_the_real_daemon(pcscd):
    with inserted(VITALE) as (_, slot):
        card = PcscVitaleReader(slot).read()
    assert card.kind is VitaleKind.TEST
    assert [b.rank for b in card.beneficiaries] == [1, 2]
    patient = card.beneficiary(1).as_patient(card.oid)
    assert (patient.birth_name, patient.given_names, patient.sex, patient.ins.oid) == ("PAT-TROIS", "DOMINIQUE", Sex.F, InsKind.NIR_TEST)
    identity = card.identity(2)
    assert (identity.holder, identity.birth_date, identity.birth_rank) == ("279035121518989", "20150601", 2)
    with pytest.raises(BadIns):
        card.beneficiary(2).as_patient(card.oid)


def test_a_long_card_is_read_in_pieces(pcscd):
    people = [dict(VITALE["beneficiaries"][0], rank=n, given="PRÉNOM" * 8) for n in range(1, 19)]
    with inserted({**VITALE, "beneficiaries": people}) as (_, slot):
        assert len(PcscVitaleReader(slot).read().beneficiaries) == 18


def test_no_card_and_another_card_are_two_errors(pcscd):
    until(lambda: not _slot().atr, "an empty reader")
    with pytest.raises(NoCard):
        PcscVitaleReader(_slot()).read()
    with inserted(None) as (_, slot), pytest.raises(CardUnreadable, match="not a Vitale"):
        PcscVitaleReader(slot).read()


def test_pulling_the_card_is_noticed_without_asking(pcscd):
    gone = threading.Event()
    with inserted(VITALE) as (card, slot):
        watch = Watch(slot, gone.set)
        assert not gone.is_set()
        card.pull()
        assert gone.wait(10)
        watch.stop()


def test_a_stopped_watch_calls_nobody(pcscd):
    gone = threading.Event()
    with inserted(VITALE) as (_, slot):
        Watch(slot, gone.set).stop()
    assert not gone.is_set()


def test_bi_slot_reader_or_two_readers():
    bi = (Slot("Ingenico PRIUM-4S 00 00"), Slot("Ingenico PRIUM-4S 00 01"))
    assert pair(bi).bi_slot
    two = (Slot("Gemalto PC Twin 00 00"), Slot("ACS ACR38U 01 00"))
    assert not pair(two).bi_slot
    assert pair(two, professional="ACS", vitale="Gemalto").professional == two[1]
    with pytest.raises(NoReader):
        pair(two, professional="Omnikey")


def _program(tmp_path, text: str):
    path = tmp_path / "lecture-vitale"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return ExternalVitaleReader([str(path)])


def test_the_licensed_reader_is_a_program_that_prints_the_card(tmp_path):
    (tmp_path / "card.json").write_text(json.dumps({**VITALE, "kind": "real"}))
    card = _program(tmp_path, f"cat {tmp_path}/card.json").read()
    assert card.kind is VitaleKind.REAL
    assert card.oid == InsKind.NIR


@pytest.mark.parametrize(
    ("text", "error"),
    [("exit 3", NoReader), ("exit 4", NoCard), ("exit 1", CardUnreadable), ("echo nonsense", CardUnreadable), ("true", CardUnreadable)],
)
def test_each_other_output_of_the_program_is_its_error(tmp_path, text, error):
    with pytest.raises(error):
        _program(tmp_path, text).read()


def test_a_missing_program_is_named(tmp_path):
    with pytest.raises(NoReader, match="not installed"):
        ExternalVitaleReader([str(tmp_path / "absent")]).read()


@pytest.mark.parametrize(
    "change",
    [
        {"beneficiaries": []},
        {"beneficiaries": [VITALE["beneficiaries"][0]] * 2},
        {"kind": "gold"},
        {"beneficiaries": [{**VITALE["beneficiaries"][0], "birth_date": "1979-02-31"}]},
        {"beneficiaries": {}},
    ],
)
def test_a_card_that_contradicts_itself_is_unreadable(change):
    with pytest.raises(CardUnreadable):
        parse_card(json.dumps({**VITALE, **change}).encode())


@given(
    st.one_of(
        st.binary(max_size=500),
        st.recursive(
            st.none() | st.text(max_size=5) | st.integers(),
            lambda c: st.lists(c) | st.dictionaries(st.sampled_from(["kind", "serial", "beneficiaries", "rank"]), c),
        ).map(lambda v: json.dumps(v).encode()),
    )
)
@settings(max_examples=examples(200))
def test_any_octets_are_a_card_or_unreadable(data):
    with suppress(CardUnreadable):
        parse_card(data)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("beneficiaries[0].nir", value) for value in ("", None, 279035121518989, "27903")),
        ("beneficiaries[0].birth_name", " "),
        ("beneficiaries[0].given", ""),
        *(("serial", value) for value in ("", None)),
        *(("kind", value) for value in ("", "production")),
    ],
)
def test_a_card_with_an_empty_or_unknown_value_is_refused_by_the_name_of_its_field(path, value):
    field = path.rpartition(".")[2]
    card = {**VITALE, "beneficiaries": [dict(b) for b in VITALE["beneficiaries"]]}
    (card["beneficiaries"][0] if "." in path else card)[field] = value
    with pytest.raises(CardUnreadable, match=re.escape(path)):
        parse_card(json.dumps(card).encode())
