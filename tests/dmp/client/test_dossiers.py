"""TD0.2 to TD1.6 against the simulator, through real mutual TLS."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from dmp_connector.client import Call, Dmp, IdentityQuery, ListBy, ListMode, OtpChannel
from dmp_connector.errors import AccessDenied, BadInput, DossierClosed, DossierExists, LegacyDisabled, ManagedByMes, NotAllowed, Refused
from dmp_connector.model import (
    AccessMode,
    AdministrativeData,
    AuthenticationMode,
    AuthorisationStatus,
    DossierState,
    Oppositions,
    Patient,
    Representative,
    Sex,
)
from dmp_connector.settings import Actions
from tests.dmp.conftest import RPPS, Running, practitioner, structure

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("name", "state", "authorisation", "treating", "attached"),
    [
        ("PATIENT", DossierState.ACTIVE, AuthorisationStatus.VALID, False, True),
        ("TRAITANTE", DossierState.ACTIVE, AuthorisationStatus.VALID, True, True),
        ("ANCIEN", DossierState.ACTIVE, AuthorisationStatus.EXPIRED, False, False),
        ("NOUVEAU", DossierState.ACTIVE, AuthorisationStatus.NONE, False, False),
        ("BLOQUANT", DossierState.ACTIVE, AuthorisationStatus.FORBIDDEN, False, True),
    ],
)
async def test_existence_returns_state_and_authorisation(dmp: Dmp, call_of, name, state, authorisation, treating, attached) -> None:
    dossier = await dmp.td02_existence(call_of(name))
    assert (dossier.state, dossier.authorisation) == (state, authorisation)
    assert (dossier.treating_doctor, dossier.attached_to_mes) == (treating, attached)


async def test_no_dossier_is_a_state(dmp: Dmp, call_of) -> None:
    dossier = await dmp.td02_existence(call_of("SANSDOSSIER"))
    assert dossier.state is DossierState.NO_DMP
    assert dossier.authorisation is None


async def test_a_closed_dossier_has_its_date_and_reason(dmp: Dmp, call_of) -> None:
    dossier = await dmp.td02_existence(call_of("FERMEE"))
    assert dossier.state is DossierState.CLOSED
    assert dossier.closure is not None
    assert dossier.closure.reason is not None
    assert dossier.closure.reason.code == "FERMETURE_DEMANDE_PATIENT"
    assert dossier.closure.at is not None
    assert dossier.closure.text == "Demande du patient"


async def test_the_two_oppositions_are_distinguished(dmp: Dmp, call_of) -> None:
    assert (await dmp.td02_existence(call_of("OPPOSANTE"))).oppositions == Oppositions(True, True)
    assert (await dmp.td02_existence(call_of("CORSE"))).oppositions == Oppositions(False, True)


async def test_authorise_and_withdraw(dmp: Dmp, call_of) -> None:  # TD0.3
    call = call_of("NOUVEAU")
    await dmp.td03_authorise(call)
    assert (await dmp.td02_existence(call)).authorisation is AuthorisationStatus.VALID
    await dmp.td03_authorise(call, remove=True)
    assert (await dmp.td02_existence(call)).authorisation is AuthorisationStatus.NONE


async def test_an_authorisation_that_is_there_already_is_remarked(dmp: Dmp, call_of) -> None:  # TD0.3 output/context
    call = call_of("NOUVEAU")
    assert await dmp.td03_authorise(call) == ""
    assert "déjà présente" in await dmp.td03_authorise(call)
    assert await dmp.td03_authorise(call, treating_doctor=True) == ""


async def test_an_authorisation_expires(dmp: Dmp, dmp_running: Running, call_of) -> None:
    call = call_of("NOUVEAU")
    await dmp.td03_authorise(call)
    dmp_running.clock.offset = timedelta(days=366)
    with pytest.raises(Refused):  # the certificates are valid for 300 days: after that the server would refuse them first
        await dmp.td02_existence(call)
    dmp_running.clock.offset = timedelta(0)
    record = dmp_running.record("NOUVEAU")
    record.grants[RPPS].until = datetime.now(UTC) - timedelta(seconds=1)
    assert (await dmp.td02_existence(call)).authorisation is AuthorisationStatus.EXPIRED


async def test_the_treating_doctor_role(dmp: Dmp, call_of) -> None:
    call = call_of("NOUVEAU")
    await dmp.td03_authorise(call, treating_doctor=True)
    assert (await dmp.td02_existence(call)).treating_doctor
    await dmp.td03_authorise(call, remove=True, treating_doctor=True)
    dossier = await dmp.td02_existence(call)
    assert not dossier.treating_doctor
    assert dossier.authorisation is AuthorisationStatus.VALID


async def test_any_action_can_be_replaced(dmp_running: Running, call_of) -> None:
    settings = replace(dmp_running.settings, actions=Actions(td0_2="urn:hl7-org:v3:PRPA_IN201308UV02", others={"TD1.6": "urn:other"}))
    async with Dmp(settings, dmp_running.signer) as client:
        assert (await client.td02_existence(call_of("PATIENT"))).state is DossierState.ACTIVE  # as an editor kit sends it
        with pytest.raises(Refused) as refused:
            await client.td16_professionals(call_of("PATIENT"))
    assert refused.value.code == "ActionNotSupported"


async def test_a_state_that_is_everybodys(dmp: Dmp, dmp_running: Running, doctor) -> None:
    """The configuration may authorise whoever asks: such an authorisation can be withdrawn like any other."""
    from dmp_connector.model import Ins
    from dmp_connector.simulator import Person

    person = Person(ins="279035121518989", name="TOUS", given="A", birth_date=date(1979, 3, 28), sex="F", authorisation="VALIDE", mt=True)
    dmp_running.simulator.world.add(person)
    call = Call(doctor, Ins(person.ins, person.oid))
    assert (await dmp.td02_existence(call)).treating_doctor
    assert "TOUS" in {row.family for row in await dmp.td04_list(Call(doctor), date(2020, 1, 1))}
    await dmp.td03_authorise(call, remove=True, treating_doctor=True)
    assert not (await dmp.td02_existence(call)).treating_doctor
    await dmp.td03_authorise(call, remove=True)
    assert (await dmp.td02_existence(call)).authorisation is AuthorisationStatus.NONE


async def test_the_traits_of_the_card_travel_untouched(dmp_running: Running, doctor) -> None:
    from dmp_connector.hl7v3 import write
    from dmp_connector.hl7v3.common import Frame, hl7

    ins = dmp_running.ins("SANSDOSSIER")
    card = Patient(ins, "D' ÉLAN", "JEAN  PIERRE", date(2001, 2, 14), Sex.M, used_name="d'usage")
    frame = Frame("1.2.3", "t", "1.2.4", "DMP", "D", datetime.now(UTC))
    payload = write.add_request(administrative(ins), doctor, frame, consent_at=datetime.now(UTC), vitale=card)
    contact = next(payload.iter("{urn:hl7-org:v3}contactPerson"))
    assert [(f.get("qualifier"), f.text) for f in contact.findall(hl7("name/family"))] == [("BR", "D' ÉLAN"), ("SP", "d'usage")]
    assert [g.text for g in contact.findall(hl7("name/given"))] == ["JEAN  PIERRE"]


async def test_a_blocked_professional_cannot_let_himself_in(dmp: Dmp, call_of) -> None:
    with pytest.raises(AccessDenied) as refused:
        await dmp.td03_authorise(call_of("BLOQUANT"))
    assert refused.value.code == "DMPAccessDeniedByRightsService"


@pytest.mark.parametrize("mode", [AccessMode.BRIS_DE_GLACE])
async def test_emergency_access_never_touches_authorisations(dmp: Dmp, call_of, mode) -> None:
    with pytest.raises(AccessDenied):
        await dmp.td03_authorise(call_of("NOUVEAU", mode=mode))


async def test_list_of_my_dossiers(dmp: Dmp, doctor) -> None:  # TD0.4
    rows = await dmp.td04_list(Call(doctor), date(2020, 1, 1))
    assert {row.family for row in rows} == {"PATIENT", "TRAITANTE", "CORSE"}
    treating = next(row for row in rows if row.family == "TRAITANTE")
    assert treating.treating_doctor
    assert treating.birth_date == date(1958, 11, 2)
    assert treating.ins.key_holds
    recent = await dmp.td04_list(Call(doctor), date.today() - timedelta(days=40), ListBy.LAST_DOCUMENT)
    assert {row.family for row in recent} == {"PATIENT", "TRAITANTE", "CORSE"}
    assert await dmp.td04_list(Call(doctor), date.today() + timedelta(days=1)) == ()


async def test_search_without_ins_is_for_regulation(dmp: Dmp, doctor) -> None:  # TD0.5, ITI-47
    samu = replace(doctor, structure=structure(id="10B0000015", name="SAMU TEST"))
    call = Call(samu, None, AccessMode.CENTRE_15)
    found = await dmp.td05_search(call, IdentityQuery("Opposante", "Inès", date(1966, 12, 24), Sex.F))
    assert [c.patient.birth_name for c in found] == ["OPPOSANTE"]
    assert found[0].match == 100
    assert found[0].oppositions.centre_15 is True
    assert await dmp.td05_search(call, IdentityQuery("Personne")) == ()
    with pytest.raises(NotAllowed):
        await dmp.td05_search(Call(doctor), IdentityQuery("Opposante"))
    with pytest.raises(Refused):  # a structure that is no regulation centre
        await dmp.td05_search(Call(doctor, None, AccessMode.CENTRE_15), IdentityQuery("Opposante"))


def administrative(ins) -> AdministrativeData:
    return AdministrativeData(
        patient=Patient(ins, "SANSDOSSIER", "LUC", date(2001, 2, 14), Sex.M, birth_place="35238"),
        civility="M",
        street=("1 RUE DU TEST", "ESCALIER B"),
        postal_code="35000",
        city="RENNES",
        country="FRANCE",
        phone="0102030405",
        mobile="0605040302",
        email="luc@example.test",
        oppositions=Oppositions(bris_de_glace=False, centre_15=True),
        representatives=(Representative("SANSDOSSIER", "ANNE", "MTH", "0102030406"),),
    )


async def test_creation_dmp_complet_par_es(dmp: Dmp, dmp_running: Running, doctor) -> None:  # TD1.1
    """The official case 1.1-070: by a structure; regulation opposed, bris de glace not; INS and traits echoed."""
    actor = replace(doctor, authentication=AuthenticationMode.INDIRECT)
    ins = dmp_running.ins("SANSDOSSIER")
    call = Call(actor, ins)
    data = administrative(ins)
    vitale = replace(data.patient, birth_name="SANS-DOSSIER")  # the card's spelling, sent untouched
    echoed = await dmp.td11_create(call, data, consent_at=datetime.now(UTC), vitale=vitale)
    assert echoed == ins
    dossier = await dmp.td02_existence(call)
    assert dossier.state is DossierState.ACTIVE
    assert dossier.oppositions == Oppositions(bris_de_glace=False, centre_15=True)
    read = await dmp.td13a_read(call)
    assert read == replace(data, state=DossierState.ACTIVE)
    with pytest.raises(DossierExists):
        await dmp.td11_create(call, data, consent_at=datetime.now(UTC))


async def test_close_and_reopen(dmp: Dmp, dmp_running: Running, call_of) -> None:  # TD1.2, TD1.4
    call = call_of("ANCIEN")
    data = await dmp.td13a_read(call)
    await dmp.td14_close(call, data, "Le patient ne souhaite plus de DMP")
    closed = await dmp.td02_existence(call)
    assert closed.state is DossierState.CLOSED
    assert closed.closure is not None
    assert closed.closure.text == "Le patient ne souhaite plus de DMP"
    with pytest.raises(DossierClosed):
        await dmp.td14_close(call, data, "encore")
    with pytest.raises(DossierClosed):
        await dmp.td31a_find(call)
    await dmp.td12_reactivate(call, data, consent_at=datetime.now(UTC))
    assert (await dmp.td02_existence(call)).state is DossierState.ACTIVE
    with pytest.raises(DossierExists):
        await dmp.td12_reactivate(call, data, consent_at=datetime.now(UTC))


async def test_a_dossier_of_mon_espace_sante_is_not_ours_to_close(dmp: Dmp, call_of) -> None:
    call = call_of("PATIENT")
    data = await dmp.td13a_read(call)
    for refused in (
        dmp.td14_close(call, data, "demande"),
        dmp.td13b_modify(call, data),
    ):
        with pytest.raises(ManagedByMes) as error:
            await refused
        assert error.value.code == "DMPAccessDeniedByRightsService"


async def test_legacy_is_off_by_default(dmp_running: Running, call_of) -> None:
    settings = replace(dmp_running.settings, legacy_dossier_management=False)
    async with Dmp(settings, dmp_running.signer) as client:
        call = call_of("ANCIEN")
        data = await client.td13a_read(call)
        for attempt in (
            client.td14_close(call, data, "x"),
            client.td12_reactivate(call, data, consent_at=datetime.now(UTC)),
            client.td15a_create_access(call, OtpChannel.EMAIL, "a@example.test"),
        ):
            with pytest.raises(LegacyDisabled):
                await attempt


async def test_modify_administrative_data(dmp: Dmp, call_of) -> None:  # TD1.3a, TD1.3b
    call = call_of("ANCIEN")
    data = replace(await dmp.td13a_read(call), street=("2 PLACE NEUVE",), phone="0700000000")
    await dmp.td13b_modify(call, data)
    assert await dmp.td13a_read(call) == data


async def test_the_message_and_the_call_are_about_one_patient(dmp: Dmp, dmp_running: Running, call_of) -> None:
    data = await dmp.td13a_read(call_of("ANCIEN"))
    with pytest.raises(BadInput):
        await dmp.td13b_modify(call_of("NOUVEAU"), data)


async def test_the_patients_web_account(dmp: Dmp, call_of) -> None:  # TD1.5
    call = call_of("ANCIEN")
    access = await dmp.td15a_create_access(call, OtpChannel.EMAIL, "ancien@example.test")
    assert access.login.startswith("patient")
    assert access.password not in repr(access)
    with pytest.raises(Refused) as again:
        await dmp.td15a_create_access(call, OtpChannel.EMAIL, "ancien@example.test")
    assert again.value.code == "DMPPatientAccessAlreadyExists"
    with pytest.raises(Refused) as same:
        await dmp.td15b_update_otp(call, OtpChannel.EMAIL, "autre@example.test", change=False)
    assert same.value.code == "DMPPatientAccessOTPAlreadyExists"
    await dmp.td15b_update_otp(call, OtpChannel.EMAIL, "autre@example.test", change=True)
    assert (await dmp.td15d_unblock(call)).login == access.login
    assert (await dmp.td02_existence(call)).internet_account


async def test_who_is_authorised_or_blocked(dmp: Dmp, dmp_running: Running, call_of) -> None:  # TD1.6
    call = call_of("TRAITANTE")
    dmp_running.record("TRAITANTE").blocked["899700000033"] = "BRUNO BLOQUE"
    rows = {row.id: row for row in await dmp.td16_professionals(call)}
    assert rows[RPPS].treating_doctor
    assert rows[RPPS].status is AuthorisationStatus.VALID
    assert rows["899700000033"].status is AuthorisationStatus.FORBIDDEN
    assert [row.id for row in await dmp.td16_professionals(call, ListMode.FORBIDDEN)] == ["899700000033"]
    secretary = replace(doctor_of(call), staff_card=True, practitioner=practitioner(profession=_secretary(), speciality=None))
    with pytest.raises(AccessDenied):
        await dmp.td16_professionals(Call(secretary, call.ins))


def doctor_of(call: Call):
    return call.actor


def _secretary():
    from dmp_connector.model import Code

    return Code("SECRETARIAT_MEDICAL", "1.2.250.1.213.1.1.4.6", "Secrétariat médical")
