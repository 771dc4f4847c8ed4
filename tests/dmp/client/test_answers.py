"""Answers in the shape of the DMP's own types: the fixtures, and the INS among several identifiers, wherever it stands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from lxml import etree

from dmp_connector import habilitations as own
from dmp_connector.client import Call, Dmp, IdentityQuery
from dmp_connector.errors import BadAnswer, BadIns
from dmp_connector.insi import Insi, InsiSettings
from dmp_connector.model import AccessMode, AuthenticationMode, AuthorisationStatus, Code, Ins, InsKind, Sex
from dmp_connector.model.people import register_name
from dmp_connector.proof.practitioner import CardHolder
from dmp_connector.settings import Limits
from dmp_connector.wire import soap
from dmp_connector.wire.transport import Answer, Exchange
from tests.dmp.client.test_documents import submit
from tests.dmp.client.test_dossiers import administrative
from tests.dmp.conftest import Running, structure
from tests.dmp.protocol import schemas
from tests.dmp.protocol.test_schemas import Recorder
from tests.material import place

CASES = place("cases/dmp")
OLD = ("1234567890123456789012", "1.2.250.1.213.1.4.2")


def payload(name: str) -> etree._Element:
    found = soap.read(soap.content_type(""), (CASES / name).read_bytes(), Limits()).payload
    assert found is not None
    return found


@pytest.mark.parametrize("file", sorted(CASES.glob("*.xml")), ids=lambda file: file.stem)
def test_the_fixtures_have_the_shape_of_the_published_types(file: Path) -> None:
    assert schemas.require_valid(payload(file.name), {})


def test_a_list_of_dossiers_is_read_by_the_ins_of_each_row() -> None:
    """Regression: a row has several identifiers, the INS-C first; every real list was unreadable."""
    first, second = own.read_patient_list(payload("td04-answer.xml"))
    assert (first.ins, first.family, first.given, first.birth_date) == (
        Ins("279035121518989", InsKind.NIR_TEST), "CAS-UN", "ALIX", date(1979, 3, 28)
    )  # fmt: skip
    assert (first.treating_doctor, first.message) == (True, False)
    assert (first.last_access, first.last_update, first.last_document) == tuple(
        datetime(2026, 1, 2, 3, 4, second, tzinfo=UTC) for second in (5, 6, 7)
    )
    assert second.ins is not None
    assert (second.ins.value, second.family, second.birth_date) == ("146026322000196", "CAS-DEUX", date(1946, 2, 1))
    assert (second.treating_doctor, second.message, second.last_access) == (False, True, None)


def test_the_list_of_professionals_has_speciality_and_dates() -> None:
    """Regression: speciality, start and last action were lost."""
    (row,) = own.read_authorisations(payload("td16-answer.xml"))
    assert (row.id, row.id_type, row.name) == ("801234567894", "1.2.250.1.71.4.2.1", "JEANNE MARTIN")
    assert row.specialities == (Code("G15_10/SM26", "1.2.250.1.213.1.1.4.5", "Médecin - Médecine générale"),)
    assert (row.since, row.last_action) == (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC))
    assert (row.mode, row.status) == ("ACTIVE", AuthorisationStatus.VALID)


def test_an_accepted_authorisation_has_the_servers_remark() -> None:
    assert own.require_ok(payload("td03-answer.xml")) == "rien à faire"


def test_a_row_of_an_old_identifier_alone_does_not_cost_the_list() -> None:
    answer = payload("td04-answer.xml")
    rows = answer[0].findall(f"{{{own.PATIENTS}}}patientlistData")
    rows[0].remove(rows[0].findall(f"{{{own.PATIENTS}}}patientIdentifier")[1])
    found = own.read_patient_list(answer)
    assert [row.ins.value if row.ins else None for row in found] == [None, "146026322000196"]


@pytest.mark.parametrize("status", ["", "DMPAccessDeniedByRightsService"])
def test_a_status_other_than_ok_is_an_error(status: str) -> None:
    answer = payload("td03-answer.xml")
    answer[0][0].text = status
    with pytest.raises(Exception, match=r"status|DMPAccessDenied"):
        own.require_ok(answer)


@pytest.mark.parametrize("order", [1, -1])
def test_the_oid_decides_which_identifier_is_the_ins(order: int) -> None:
    nir, nia = ("279035121518989", InsKind.NIR), ("109076322088835", InsKind.NIA)
    assert Ins.among([OLD, nir][::order]) == Ins(*nir)
    assert Ins.among([nia, nir][::order]) == Ins(*nir)  # a NIR stands before the number of before
    assert Ins.among([OLD, nia][::order]) == Ins(*nia)
    for several in ([OLD], [nir, ("146026322000196", InsKind.NIR)]):
        with pytest.raises(BadIns):
            Ins.among(several[::order])
    with pytest.raises(BadIns):
        Ins.among([("279035121518989", InsKind.NIR_TEST)][::order], oids=(InsKind.NIR, InsKind.NIA))


def reordered(answer: bytes, first: bool) -> bytes:
    """The same answer, the patient's INS before or after her INS-C."""
    root = etree.fromstring(answer)
    identifiers = root.findall(".//{urn:hl7-org:v3}patient/{urn:hl7-org:v3}id[@root='1.2.250.1.213.1.4.10']")
    identifiers += [i.getparent() for i in root.iter(f"{{{own.PATIENTS}}}nationalIdType") if i.text != OLD[1]]
    for identifier in identifiers:
        holder = identifier.getparent()
        siblings = holder.findall(identifier.tag)
        assert len(siblings) == 2
        place = holder.index(siblings[0])
        for one in siblings if (siblings[0] is identifier) != first else ():
            holder.insert(place, one)
    return etree.tostring(root)


class Reordering(Exchange):
    """Passes everything on; in the answers the INS stands first, or last."""

    def __init__(self, inner: Exchange, first: bool) -> None:
        self._inner, self.first = inner, first

    async def post(self, name, url, media_type, body, *, progress=None):
        answer = await self._inner.post(name, url, media_type, body, progress=progress)
        return Answer(answer.status, answer.media_type, reordered(answer.body, self.first))

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.mark.parametrize("first", [True, False], ids=["INS first", "INS last"])
async def test_every_answer_about_a_patient_is_read_by_the_oid(dmp_running: Running, call_of, doctor, first: bool) -> None:  # TD0.2 to 1.3a
    call, patient = call_of("PATIENT"), dmp_running.ins("PATIENT")
    async with Dmp(
        dmp_running.settings, dmp_running.signer, exchange=Reordering(Exchange.of(dmp_running.settings), first), now=dmp_running.clock
    ) as dmp:
        assert (await dmp.td02_existence(call)).ins == patient
        assert (await dmp.td13a_read(call)).patient.ins == patient
        assert patient in {row.ins for row in await dmp.td04_list(Call(doctor), date(2020, 1, 1))}
        samu = replace(doctor, structure=structure(id="10B0000015"))
        (candidate,) = await dmp.td05_search(Call(samu, None, AccessMode.CENTRE_15), IdentityQuery("Patient", "Marie"))
        assert candidate.patient.ins == patient
        new = dmp_running.ins("SANSDOSSIER")
        indirect = Call(replace(doctor, authentication=AuthenticationMode.INDIRECT), new)
        assert await dmp.td11_create(indirect, administrative(new), consent_at=datetime.now(UTC)) == new


async def test_an_answer_about_another_patient_is_refused_wherever_the_ins_stands(dmp_running: Running, call_of) -> None:
    class Other(Reordering):
        async def post(self, name, url, media_type, body, *, progress=None):
            answer = await super().post(name, url, media_type, body, progress=progress)
            mine, other = (dmp_running.ins(n).value.encode() for n in ("PATIENT", "ANCIEN"))
            return Answer(answer.status, answer.media_type, answer.body.replace(mine, other))

    for first in (True, False):
        async with Dmp(
            dmp_running.settings, dmp_running.signer, exchange=Other(Exchange.of(dmp_running.settings), first), now=dmp_running.clock
        ) as dmp:
            for ask in (dmp.td02_existence, dmp.td13a_read):
                with pytest.raises(BadAnswer):
                    await ask(call_of("PATIENT"))


async def test_start_date_is_a_moment_to_the_second(dmp_running: Running, doctor) -> None:
    """Regression: startDate was DDMMYYYY."""
    recorder = Recorder(Exchange.of(dmp_running.settings))
    async with Dmp(dmp_running.settings, dmp_running.signer, exchange=recorder) as dmp:
        await dmp.td04_list(Call(doctor), date(2020, 1, 31))
    assert b"startDate>20200131000000</" in recorder.seen[0][1][1]


async def test_a_change_of_a_document_is_a_package_as_a_submission_is(dmp_running: Running, call_of) -> None:
    """Regression: TD3.3 had no objectType on its association, no Name and no authorSpecialty."""
    recorder, call = Recorder(Exchange.of(dmp_running.settings)), call_of("PATIENT")
    async with Dmp(dmp_running.settings, dmp_running.signer, exchange=recorder) as dmp:
        sent = await submit(dmp, call)
        (entry,) = await dmp.td31a_by_unique_id(call, [sent.unique_id])
        await dmp.td33d_archive(call, entry, True)
        (entry,) = await dmp.td31a_by_unique_id(call, [sent.unique_id])
        await dmp.td33c_delete(call, entry)
        other = await submit(dmp, call, b"<other/>")
        await dmp.td33c_delete_located(call, await dmp.td31b_locate(call, other.unique_id))
    bodies = [body for name, (_, body), _ in recorder.seen if name in ("TD3.3c", "TD3.3d")]
    assert len(bodies) == 3
    for body, name in zip(bodies, (entry.title, entry.title, "Suppression d'un document"), strict=True):
        assert b'objectType="urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:Association"' in body
        package = etree.fromstring(body).find(".//{*}RegistryPackage")
        assert package is not None
        assert package.find("{*}Name/{*}LocalizedString").get("value") == name
        slot = package.find(".//{*}Slot[@name='authorSpecialty']//{*}Value")
        assert slot is not None
        assert slot.text.startswith("G15_10/SM26^")
        assert slot.text.endswith("^1.2.250.1.213.1.1.4.5")


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("d'Hérault-Lœw", "D'HERAULT-LOEW"),
        ("D’HERAULT", "D'HERAULT"),
        ("  -Émile ", "EMILE"),
        ("O' Brien", "O'BRIEN"),
        ("LE--GALL  du  Plessis", "LE--GALL DU PLESSIS"),
        ("Næss 2", "NAESS"),
    ],
)
def test_a_name_goes_to_insi_as_the_register_writes_it(name: str, sent: str) -> None:
    assert register_name(name) == sent


@pytest_asyncio.fixture
async def insi_of(dmp_running: Running) -> AsyncIterator[Callable[..., tuple[Insi, Recorder]]]:
    recorder = Recorder(Exchange.of(dmp_running.settings))

    def make(**changes) -> tuple[Insi, Recorder]:
        url = dmp_running.settings.url.replace("/si-dmp-server/v2/services", "/insi")
        oids = changes.pop("ins_oids", InsiSettings("", "", "").ins_oids)
        return Insi(InsiSettings(url, "IDAM-1", "899700367909", ins_oids=oids), recorder, now=dmp_running.clock, **changes), recorder

    yield make
    await recorder.aclose()


async def test_insi_names_a_test_number_by_the_oid_of_production(insi_of, dmp_running: Running) -> None:
    """Regression: INSi's .8 and the DMP's .10 for one number were two patients."""
    insi, _ = insi_of()
    found = (await insi.by_traits("Patient", "Marie", Sex.F, date(1979, 3, 28))).require_found()
    known = dmp_running.ins("PATIENT")
    assert (found.ins.oid, known.oid) == (InsKind.NIR, InsKind.NIR_TEST)
    assert found.ins.same_as(known)
    assert dmp_running.settings.in_dmp(found.ins) == known


async def test_an_ins_of_another_environment_is_no_answer(insi_of) -> None:
    insi, _ = insi_of(ins_oids=(InsKind.NIR_TEST,))
    with pytest.raises(BadAnswer, match="environment"):
        await insi.by_traits("Patient", "Marie", Sex.F, date(1979, 3, 28))


async def test_insi_by_a_card_has_a_statement_that_the_card_signs(insi_of, dmp_running: Running) -> None:
    """The simulator verifies it with signxml, and asks for the holder and his billing number."""
    holder = CardHolder("899700367909", "991130972", "01", "SA07")
    insi, recorder = insi_of(holder=holder, signer=dmp_running.signer)
    (await insi.by_traits("Patient", "Marie", Sex.F, date(1979, 3, 28))).require_found()
    sent = recorder.seen[0][1][1]
    assert b'<saml2:NameID NameQualifier="CPS">899700367909<' in sent
    assert b'Name="identifiantFacturation"><saml2:AttributeValue xsi:type="xs:string">991130972<' in sent
    assert b'Name="codeSpecialiteAMO"' in sent
    assert b"VIHF" not in sent


async def test_insi_by_a_card_without_a_billing_number_is_refused(insi_of, dmp_running: Running) -> None:
    insi, _ = insi_of(holder=CardHolder("899700367909", ""), signer=dmp_running.signer)
    with pytest.raises(Exception, match="identifiantFacturation"):
        await insi.by_traits("Patient", "Marie", Sex.F, date(1979, 3, 28))
