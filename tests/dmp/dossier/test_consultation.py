"""Consultations and deposits against the simulated DMP, with time in our hands."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dmp_connector import codes
from dmp_connector.cda import Level1, build_level1
from dmp_connector.client import Call, Dmp
from dmp_connector.dossier.consultation import BY_TIME, Consultations
from dmp_connector.dossier.deposits import DepositRequest, Deposits
from dmp_connector.dossier.desk import Desk, DeskRules
from dmp_connector.dossier.recognition import Recognised, Recognition
from dmp_connector.dossier.service import DossierService
from dmp_connector.errors import BadDocument, ConsentMissing, ConsultationClosed, DuplicateDocument, NotAllowed, Unavailable
from dmp_connector.model import AccessMode, Patient, Sex, Visibility
from dmp_connector.paper.letters import letter
from dmp_connector.store import DepositState, DmpStore
from tests.dmp.conftest import STORE_KEYS, practitioner, structure

WHY = "Patient inconscient aux urgences"


@pytest.fixture
def dmp_store(tmp_path):
    store = DmpStore.open(f"sqlite:{tmp_path / 'dmp.db'}", STORE_KEYS)
    yield store
    assert store.check() == []
    store.close()


@pytest.fixture
def desk(dmp, dmp_store, dmp_running) -> Desk:
    return Desk(dmp, dmp_store, DeskRules(regulation_structures=frozenset({"10B0000015"})), dmp_running.clock)


async def agreed(desk, call):
    """The patient of the call, seen and agreed to at the screen."""
    return await Recognition(desk).of(call, lambda patient: True)


def document(running, name: str, unique_id: str) -> bytes:
    person = next(p for p in running.simulator.config.patients if p.name == name)
    at = datetime(2026, 11, 20, 9, tzinfo=UTC)
    tables = codes.load()
    patient = Patient(running.ins(name), person.name, person.given, person.birth_date, Sex(person.sex), person.birth_place)
    return build_level1(
        Level1(
            unique_id, patient, practitioner(), structure(), tables.type_code.require("11490-0"), "Lettre", at,
            letter("Lettre", ["x"], at=at), tables.practice.require("AMBULATOIRE"), at,
        )
    )  # fmt: skip


async def test_a_consultation_ends_by_itself(desk, call_of, dmp_running, dmp_store):
    consultations = Consultations(desk)
    consultation = await consultations.open(await agreed(desk, call_of("PATIENT")))
    await consultations.find(consultation)
    dmp_running.clock.offset = timedelta(minutes=31)
    with pytest.raises(ConsultationClosed):
        await consultations.find(consultation)
    (ended,) = [r for r in dmp_store.audit() if (r.what, r.outcome) == ("consultation", "closed")]
    assert dict(ended.facts)["by"] == BY_TIME
    assert ended.at == consultation.value.closes  # not when someone looked


async def test_bris_de_glace_is_shorter_visible_and_over_by_itself(desk, call_of, dmp_running):  # EX_0.3-1050
    consultations = Consultations(desk)
    consultation = await consultations.open(await agreed(desk, call_of("NOUVEAU", mode=AccessMode.BRIS_DE_GLACE)), reason=WHY)
    assert "BRIS DE GLACE" in consultation.banner(dmp_running.clock())
    assert "14 min" in consultation.banner(dmp_running.clock())
    assert all("NOUVEAU LEA" in consultation.banner(dmp_running.clock(), language) for language in ("fr", "en"))
    assert "BRIS DE GLACE" in consultation.banner(dmp_running.clock(), "en")
    dmp_running.clock.offset = timedelta(minutes=16)
    with pytest.raises(ConsultationClosed):
        await consultations.find(consultation)


async def test_an_open_consultation_goes_on_but_the_patients_will_is_asked_again(desk, call_of):
    consultations, service = Consultations(desk), DossierService(desk)
    await service.authorise(call_of("NOUVEAU"), confirmed=True)
    first = await consultations.open(await agreed(desk, call_of("NOUVEAU")))
    again = await consultations.open(await agreed(desk, call_of("NOUVEAU")))
    assert again.id == first.id
    await service.remove(call_of("NOUVEAU"))
    with pytest.raises(ConsentMissing):
        await consultations.open(await agreed(desk, call_of("NOUVEAU")))


async def test_two_modes_are_two_consultations(desk, call_of, dmp_store):
    consultations = Consultations(desk)
    normal = await consultations.open(await agreed(desk, call_of("PATIENT")))
    urgent = await consultations.open(await agreed(desk, call_of("PATIENT", mode=AccessMode.BRIS_DE_GLACE)), reason=WHY)
    assert normal.id != urgent.id
    assert await consultations.close_all(normal.value.actor, by="hand") == 2
    assert dmp_store.open_consultations() == ()


async def test_nothing_clinical_stays_in_the_store(desk, call_of, dmp_store, tmp_path):
    consultations = Consultations(desk)
    consultation = await consultations.open(await agreed(desk, call_of("PATIENT")))
    entry = (await consultations.find(consultation))[0]
    (got,) = await consultations.retrieve(consultation, [entry.unique_id])
    dmp_store.close()
    raw = b"".join(p.read_bytes() for p in tmp_path.iterdir() if p.name.startswith("dmp.db"))
    assert entry.title.encode() not in raw
    assert got.content[200:400] not in raw


# ---------------------------------------------------------------------------------------------- deposits


async def test_a_deposit_twice_is_one_document(desk, call_of, dmp_running, dmp_store):
    deposits = Deposits(desk)
    request = DepositRequest(document(dmp_running, "PATIENT", "1.2.250.1.213.1.1.9.1.501"))
    await deposits.deposit(call_of("PATIENT"), request)
    await deposits.deposit(call_of("PATIENT"), request)
    found = await desk.dmp.td31a_by_unique_id(call_of("PATIENT"), ["1.2.250.1.213.1.1.9.1.501"])
    assert len(found) == 1
    kept = dmp_store.deposit("1.2.250.1.213.1.1.9.1.501")
    assert (kept.state, kept.content) == (DepositState.SENT, None)


class Silent:
    """A DMP that takes a submission and does not answer, or never receives it."""

    def __init__(self, dmp, *, delivers: bool) -> None:
        self._dmp, self._delivers = dmp, delivers

    def __getattr__(self, name):
        return getattr(self._dmp, name)

    async def td21_submit(self, *arguments, **options):
        if self._delivers:
            await self._dmp.td21_submit(*arguments, **options)
        raise Unavailable("no answer")


@pytest.mark.parametrize("delivers", [True, False])
async def test_a_deposit_without_answer_is_kept_and_finished_later(desk, call_of, dmp_running, dmp_store, delivers):
    unique_id = "1.2.250.1.213.1.1.9.1.502"
    silent = replace(desk, dmp=Silent(desk.dmp, delivers=delivers))
    with pytest.raises(Unavailable):
        await Deposits(silent).deposit(call_of("PATIENT"), DepositRequest(document(dmp_running, "PATIENT", unique_id)))
    assert [d.unique_id for d in dmp_store.pending_deposits()] == [unique_id]
    done = await Deposits(desk).resume(lambda ins: Call(call_of("PATIENT").actor, ins))
    assert done == ((unique_id, "sent"),)
    assert dmp_store.pending_deposits() == ()
    assert len(await desk.dmp.td31a_by_unique_id(call_of("PATIENT"), [unique_id])) == 1
    assert await Deposits(desk).resume(lambda ins: Call(call_of("PATIENT").actor, ins)) == ()


class Killed(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("after_sending", [True, False])
async def test_a_crash_between_commit_and_answer_loses_and_doubles_nothing(desk, call_of, dmp_running, dmp_store, after_sending):
    unique_id = "1.2.250.1.213.1.1.9.1.503"

    class Dying(Silent):
        async def td21_submit(self, *arguments, **options):
            if after_sending:
                await self._dmp.td21_submit(*arguments, **options)
            raise Killed

    with pytest.raises(Killed):
        await Deposits(replace(desk, dmp=Dying(desk.dmp, delivers=True))).deposit(
            call_of("PATIENT"), DepositRequest(document(dmp_running, "PATIENT", unique_id))
        )
    assert len(dmp_store.pending_deposits()) == 1
    await Deposits(desk).resume(lambda ins: Call(call_of("PATIENT").actor, ins))
    assert len(await desk.dmp.td31a_by_unique_id(call_of("PATIENT"), [unique_id])) == 1


async def test_an_id_taken_by_another_document_is_a_refusal(desk, call_of, dmp_running, dmp_store):
    taken = (await desk.dmp.td31a_find(call_of("PATIENT")))[0].unique_id
    with pytest.raises((DuplicateDocument, BadDocument)):
        await Deposits(desk).deposit(call_of("PATIENT"), DepositRequest(document(dmp_running, "PATIENT", taken)))
    assert dmp_store.pending_deposits() == ()


async def test_a_document_of_another_patient_is_refused_before_anything_is_sent(desk, call_of, dmp_running, dmp_store):
    with pytest.raises(BadDocument, match="another patient"):
        await Deposits(desk).deposit(call_of("PATIENT"), DepositRequest(document(dmp_running, "NOUVEAU", "1.2.3")))
    assert dmp_store.deposit("1.2.3") is None


async def test_an_id_with_an_extension_is_refused(desk, call_of, dmp_running):
    content = document(dmp_running, "PATIENT", "1.2.3").replace(b'<id root="1.2.3"/>', b'<id root="1.2.3" extension="4"/>', 1)
    with pytest.raises(BadDocument, match="extension"):
        await Deposits(desk).deposit(call_of("PATIENT"), DepositRequest(content))


async def test_nobody_opens_a_dossier_whose_patient_was_not_named(desk, call_of):
    """A check that a caller could forget: what opens a dossier takes what only the check makes."""
    call = call_of("PATIENT")
    patient = await Recognition(desk).patient(call)
    with pytest.raises(TypeError):
        Recognised(call, patient, confirmed=True)
    with pytest.raises(AttributeError):
        await Consultations(desk).open(call)


@pytest.mark.parametrize("act", ["mask", "archive", "delete", "make_visible"])
async def test_an_act_that_nobody_may_do_asks_nothing_about_the_document(desk, call_of, dmp_running, monkeypatch, act):
    """In an emergency without reason the search for the document went to the DMP before the refusal."""
    sent = []
    real = Dmp.td31a_by_unique_id
    monkeypatch.setattr(Dmp, "td31a_by_unique_id", lambda self, *given, **more: sent.append(given) or real(self, *given, **more))
    known = await agreed(desk, call_of("NOUVEAU", mode=AccessMode.BRIS_DE_GLACE))
    more = {"mask": {"masked": True}, "archive": {"archived": True}, "delete": {}, "make_visible": {"to": Visibility.HIDDEN_FROM_PATIENT}}
    with pytest.raises(NotAllowed):
        await getattr(DossierService(desk), act)(known, "1.2.3", **more[act])
    assert sent == []
