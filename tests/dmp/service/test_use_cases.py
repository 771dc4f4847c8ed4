"""What a console or an API does with the service: values in, values or errors out, gestures as arguments."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, date, datetime

import pytest

from dmp_connector.client import Dmp
from dmp_connector.dossier.identity import Typed
from dmp_connector.dossier.service import AdministrativeChange, PatientsAct
from dmp_connector.errors import BadDocument, BadIns, BadSettings, ConsentMissing, ManagedByMes, NotConfirmed, ReasonMissing, Unavailable
from dmp_connector.model import AccessMode, ConsentMeans, DossierState, Visibility
from dmp_connector.model.creation import Step
from dmp_connector.paper.letters import letter
from dmp_connector.validate import Validator
from mssgw.dossier import Access, Audience, CreationOrder, Filing, Form, Search, creations
from mssgw.dossier.values import DECLINED, CreationEvent
from tests.dmp.nodes import HOSPITAL, OTHER

from .conftest import NodeWithPatients

AT = datetime(2026, 1, 2, tzinfo=UTC)
WHY = "Patient inconscient aux urgences"


@pytest.fixture
def filing() -> Filing:
    return Filing(letter("Lettre", ["Tout va bien."], at=AT), "lettre.pdf", "Lettre", "11490-0")


async def test_a_dossier_is_a_value_also_when_there_is_none(house):
    async with house.session() as dmp:
        found = await dmp.dossiers.exists(house.of("PATIENT"))
        assert found.dossier.state is DossierState.ACTIVE
        assert found.possible
        none = await dmp.dossiers.exists(house.of("SANSDOSSIER"))
        assert none.dossier.state is DossierState.NO_DMP


async def test_a_consultation_finds_and_gets_in_every_form(house, filing):
    async with house.session() as dmp:
        filed = await dmp.filings.submit(house.of("PATIENT"), filing, right_patient=True)
        consultation = await dmp.documents.consult(house.of("PATIENT"))
        assert dmp.documents.banner(consultation) == ""
        entries = await dmp.documents.find(consultation, Search(everything=True, type_code="11490-0"))
        assert filed.unique_id in {e.unique_id for e in entries}
        told: list[int] = []
        pdf = await dmp.documents.get(consultation, filed.unique_id, Form.PDF, progress=lambda done, _total: told.append(done))
        assert pdf.content == filing.content
        assert told[-1] >= len(pdf.content)
        assert b"<html" in (await dmp.documents.get(consultation, filed.unique_id, Form.HTML)).content
        assert await dmp.documents.end() == 1


async def test_the_same_document_is_filed_once(house, filing):
    async with house.session() as dmp:
        first = await dmp.filings.submit(house.of("PATIENT"), filing, right_patient=True)
        again = await dmp.filings.submit(house.of("PATIENT"), filing, right_patient=True)
        assert (first.filed_before, again.unique_id) == (None, first.unique_id)
        assert again.filed_before is not None


async def test_a_no_about_the_patient_sends_nothing_and_the_question_shows_the_register(house, filing):
    asked = []
    async with house.session() as dmp:
        for no in (False, lambda patient: asked.append(patient)):
            with pytest.raises(NotConfirmed):
                await dmp.filings.submit(house.of("PATIENT"), filing, right_patient=no)
        assert asked[0] == house.running.record("PATIENT").data.patient
        assert await dmp.filings.resume() == ()


async def test_what_is_no_document_is_refused_whoever_calls(house):
    async with house.session() as dmp:
        for content, name in ((b"", "vide.pdf"), (b"GIF89a", "image.gif"), (b"<html/>", "page.pdf")):
            with pytest.raises(BadDocument, match=name):
                await dmp.filings.submit(house.of("PATIENT"), Filing(content, name, "Lettre", "11490-0"), right_patient=True)
        with pytest.raises(BadDocument, match="at most"):
            await dmp.filings.submit(house.of("PATIENT"), Filing(b"%PDF-" + bytes(dmp.filings.largest), "gros.pdf"), right_patient=True)


async def test_a_deposit_without_an_answer_is_kept_and_resumed(house, filing, monkeypatch):
    async def silent(self, *given, **options):
        raise Unavailable("no answer")

    async with house.session() as dmp:
        with monkeypatch.context() as patch:
            patch.setattr(Dmp, "td21_submit", silent)
            with pytest.raises(Unavailable):
                await dmp.filings.submit(house.of("PATIENT"), filing, right_patient=True)
        assert await dmp.filings.kept(house.of("PATIENT")) == 1
        assert await dmp.filings.kept(house.of("NOUVEAU")) == 0
        (done,) = await dmp.filings.resume()
        assert (done.outcome, done.title, done.patient) == ("sent", "Lettre", house.running.ins("PATIENT"))


async def test_a_validation_kit_that_is_missing_hinders_filing_only(write_config, dmp_running, filing, tmp_path):
    house = NodeWithPatients(write_config(validation_kit=str(tmp_path / "absent")), dmp_running)
    async with house.session() as dmp:
        assert await dmp.filings.due() == 0
        with pytest.raises(BadSettings):
            await dmp.filings.submit(house.of("PATIENT"), filing, right_patient=True)


async def test_the_validator_ends_with_its_session(house, filing, monkeypatch):
    """Its process would stay as long as a console or an API does."""
    ended = []
    monkeypatch.setattr(Validator, "close", lambda self: ended.append(self))
    async with house.session() as dmp:
        await dmp.filings.announcements()
    assert ended == []
    async with house.session() as dmp:
        await dmp.filings.submit(house.of("PATIENT"), filing, right_patient=True)
        assert ended == []
    assert len(ended) == 1


async def test_what_is_hidden_from_the_patient_is_an_announcement_until_it_is_shown(house, filing):
    hidden = Filing(filing.content, "lettre.pdf", "Résultat", "11490-0", visibility=frozenset({Visibility.HIDDEN_FROM_PATIENT}))
    async with house.session() as dmp:
        filed = await dmp.filings.submit(house.of("PATIENT"), hidden, right_patient=True)
        assert [a.unique_id for a in await dmp.filings.announcements()] == [filed.unique_id]
        assert await dmp.filings.due() == 0
        with pytest.raises(NotConfirmed):
            await dmp.documents.show(house.of("PATIENT"), filed.unique_id, to=Audience.PATIENT, agreed=False)
        assert (await dmp.documents.show(house.of("PATIENT"), filed.unique_id, to=Audience.PATIENT, agreed=True)).changed
        assert await dmp.filings.announcements() == ()


async def test_a_document_is_hidden_and_archived_once(house, filing):
    async with house.session() as dmp:
        patient = house.of("PATIENT")
        unique_id = (await dmp.filings.submit(patient, filing, right_patient=True)).unique_id
        assert [(await dmp.documents.hide(patient, unique_id)).changed for _ in range(2)] == [True, False]
        assert (await dmp.documents.hide(patient, unique_id, hidden=False)).changed
        assert [(await dmp.documents.archive(patient, unique_id)).changed for _ in range(2)] == [True, False]
        assert (await dmp.documents.archive(patient, unique_id, archived=False)).changed
        assert (await dmp.documents.delete(patient, unique_id)).changed


async def test_an_authorisation_needs_the_gesture_of_who_sees_the_patient(house):
    asked = []
    async with house.session() as dmp:
        with pytest.raises(NotConfirmed):
            await dmp.dossiers.authorise(house.of("NOUVEAU"), agreed=False)
        with pytest.raises(NotConfirmed):
            await dmp.dossiers.authorise(house.of("NOUVEAU"), agreed=lambda patient: asked.append(patient.birth_name) or False)
        assert asked == ["NOUVEAU"]
        agreed = await dmp.dossiers.authorise(house.of("NOUVEAU"), agreed=True)
        assert (agreed.before.authorisation, agreed.after.authorisation) == ("NON_EXISTE", "VALIDE")
        assert (await dmp.dossiers.give_back(house.of("NOUVEAU"))).after.authorisation == "NON_EXISTE"


async def test_an_emergency_access_needs_reason_and_gesture(house):
    async with house.session() as dmp:
        glass = AccessMode.BRIS_DE_GLACE
        with pytest.raises(ReasonMissing):
            await dmp.documents.consult(house.of("NOUVEAU", mode=glass, confirmed=True, typed=Typed("NOUVEAU")))
        with pytest.raises(NotConfirmed):
            await dmp.documents.consult(house.of("NOUVEAU", mode=glass, reason=WHY))
        consultation = await dmp.documents.consult(house.of("NOUVEAU", mode=glass, reason=WHY, confirmed=True, typed=Typed("NOUVEAU")))
        assert "BRIS DE GLACE" in dmp.documents.banner(consultation)
        assert await dmp.documents.end() == 1


async def test_an_opposition_is_asked_about_and_a_telephone_is_not(house):
    asked = []
    async with house.session() as dmp:
        change = AdministrativeChange(phone="0102030405")
        changed = await dmp.dossiers.modify(house.of("NOUVEAU"), change, agreed=lambda p: asked.append(p) or False)
        assert (changed.before.phone == "0102030405", changed.after.phone) == (False, "0102030405")
        assert asked == []
        with pytest.raises(NotConfirmed):
            await dmp.dossiers.modify(
                house.of("NOUVEAU"), AdministrativeChange(bris_de_glace=True), agreed=lambda p: asked.append(p) or False
            )
        assert [p.birth_name for p in asked] == ["NOUVEAU"]
        read = await dmp.dossiers.read(house.of("NOUVEAU"))
        assert (read.phone, bool(read.oppositions.bris_de_glace)) == ("0102030405", False)


async def test_blocking_and_closing_are_not_ours(house):
    async with house.session() as dmp:
        with pytest.raises(PatientsAct):
            await dmp.dossiers.block(house.of("PATIENT"), "899700000017")
        with pytest.raises(ReasonMissing):
            await dmp.dossiers.close(house.of("PATIENT"), agreed=True)


async def test_the_trail_masks_the_patients_of_others(house):
    async with house.session() as dmp:
        await dmp.dossiers.exists(house.of("PATIENT"))
    ins = house.running.ins("PATIENT").value
    async with house.session(OTHER) as dmp:
        (row,) = [r for r in await dmp.trail.audit(Access()) if r.record.patient]
        assert row.masked
        assert row.ins.endswith(ins[-4:])
        assert ins[:-4] not in row.ins
        (whole,) = await dmp.trail.audit(house.of("PATIENT"))
        assert (whole.masked, whole.ins) == (False, ins)


async def test_lists_are_values(house):
    async with house.session() as dmp:
        assert "PATIENT" in {row.family for row in await dmp.dossiers.mine(Access(), date(2020, 1, 1))}
        assert await dmp.dossiers.professionals(house.of("PATIENT"))
    async with house.session(HOSPITAL) as dmp:
        with pytest.raises(BadIns):
            await dmp.dossiers.exists(Access("12"))


# -- a creation


@pytest.fixture
def card(house, tmp_path):
    """The Vitale of SANSDOSSIER, as a file of the simulation."""
    person = next(p for p in house.running.simulator.config.patients if p.name == "SANSDOSSIER")
    holder = {"nir": person.ins, "rank": 1, "birth_name": person.name, "given": person.given.split()[0],
              "birth_date": str(person.birth_date), "sex": person.sex}  # fmt: skip
    path = tmp_path / "vitale.json"
    path.write_text(json.dumps({"kind": "test", "serial": "VT1", "beneficiaries": [holder]}))
    return path


async def test_a_creation_stops_where_something_is_missing_and_goes_on_from_there(house, card):
    events, letters = [], []
    async with house.session() as dmp:

        def told(event, creation):
            events.append((event, creation.id))

        with pytest.raises(ConsentMissing):
            await dmp.creations.create(CreationOrder(card, account=DECLINED), agreed=True, keep=letters.append, told=told)
        begun = events[-1][1]
        order = CreationOrder(card, account=DECLINED, means=ConsentMeans.ORAL, resume=begun)
        with pytest.raises(NotConfirmed):
            await dmp.creations.create(order, agreed=lambda patient: patient.birth_name != "SANSDOSSIER", keep=letters.append)
        assert not letters
        done = await dmp.creations.create(order, agreed=True, keep=letters.append, told=told)
    assert done.creation.step is Step.CONFIRMED
    assert done.confirmation is not None
    assert letters == [done.confirmation.letter]
    names = [event for event, _ in events]
    assert names == [CreationEvent.STARTED, CreationEvent.IDENTIFIED, CreationEvent.PRESENTING, CreationEvent.INFORMED,
                     CreationEvent.RESUMED, CreationEvent.CONSENTED, CreationEvent.READY, CreationEvent.CREATED]  # fmt: skip
    assert {identity for _, identity in events} == {begun}


async def test_today_a_creation_ends_with_mon_espace_sante(write_config, dmp_running, house, card):
    today = NodeWithPatients(write_config(legacy_dossier_management=False), dmp_running)
    async with today.session() as dmp:
        assert not dmp.creations.possible
        done = await dmp.creations.create(
            CreationOrder(card, account=DECLINED, means=ConsentMeans.ORAL), agreed=True, keep=lambda _letter: None
        )
        assert (done.creation.step, done.confirmation) == (Step.MANAGED_BY_MES, None)
    async with house.session() as dmp:
        with pytest.raises(ManagedByMes):
            await dmp.dossiers.close(house.of("PATIENT", reason="le patient le demande"), agreed=True)


async def test_a_card_is_read_off_the_event_loop(house, card, monkeypatch):
    where = []
    real = creations.parse_card
    monkeypatch.setattr(creations, "parse_card", lambda content: where.append(threading.current_thread()) or real(content))
    async with house.session() as dmp:
        with pytest.raises(ConsentMissing):
            await dmp.creations.create(CreationOrder(card, account=DECLINED), agreed=True, keep=lambda _letter: None)
    assert where
    assert threading.main_thread() not in where


async def test_the_first_day_of_a_search_begins_in_the_time_zone_of_the_house(house, monkeypatch):
    """The system's zone counted, so that a server in UTC lost the first two hours of the day."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        async with house.session() as dmp:
            criteria = dmp.documents._criteria(Search(since=date(2026, 6, 1)))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert criteria.service_from.at == datetime(2026, 5, 31, 22, tzinfo=UTC)
