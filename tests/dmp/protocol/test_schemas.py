"""Every request the client sends validates against the schemas of HL7 V3, ebRS and IHE XDS.b."""

from __future__ import annotations

import hashlib
import inspect
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from dmp_connector.client import Call, Dmp, FindDocuments, IdentityQuery, ListBy, OtpChannel
from dmp_connector.ebxml.read import read_registry
from dmp_connector.errors import Refused
from dmp_connector.insi import Insi, InsiSettings, VitaleIdentity
from dmp_connector.model import AccessMode, AuthenticationMode, AvailabilityStatus, Code, Document, Dtm, Patient, Sex, Visibility
from dmp_connector.proof import vihf
from dmp_connector.simulator.signature import verify_submission
from dmp_connector.wire import soap
from dmp_connector.wire.transport import Exchange
from mssgw.core.config.dmp_wire import TRANSACTIONS
from tests.dmp.client.test_documents import entry_of, submission_of, submit
from tests.dmp.client.test_dossiers import administrative
from tests.dmp.conftest import Running, practitioner, structure
from tests.dmp.protocol import schemas

pytestmark = pytest.mark.asyncio


class Recorder(Exchange):
    """A transport that passes everything on and records both directions."""

    def __init__(self, inner: Exchange) -> None:
        self._inner, self.seen = inner, []  # type: ignore[var-annotated]

    async def post(self, name, url, media_type, body, *, progress=None):
        answer = await self._inner.post(name, url, media_type, body, progress=progress)
        self.seen.append((name, (media_type, body), (answer.media_type, answer.body)))
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


async def everything(dmp: Dmp, running: Running, call_of, doctor) -> None:
    """One call of each transaction."""
    call, legacy = call_of("PATIENT"), call_of("ANCIEN")
    await dmp.td02_existence(call)
    await dmp.td03_authorise(call)
    await dmp.td04_list(Call(doctor), date(2020, 1, 1), ListBy.LAST_AUTHORISATION)
    samu = replace(doctor, structure=structure(id="10B0000015"))
    query = IdentityQuery("Patient", "Marie", date(1979, 3, 28), Sex.F, "75000", "PARIS")
    await dmp.td05_search(Call(samu, None, AccessMode.CENTRE_15), query)
    ins = running.ins("SANSDOSSIER")
    indirect = Call(replace(doctor, authentication=AuthenticationMode.INDIRECT), ins)
    vitale = Patient(ins, "SANSDOSSIER", "LUC", date(2001, 2, 14), Sex.M, used_name="USAGE")
    await dmp.td11_create(indirect, administrative(ins), consent_at=datetime.now(UTC), vitale=vitale)
    data = await dmp.td13a_read(legacy)
    await dmp.td13b_modify(legacy, data)
    await dmp.td15a_create_access(legacy, OtpChannel.EMAIL, "a@example.test")
    await dmp.td15b_update_otp(legacy, OtpChannel.SMS, "0612345678", change=True)
    await dmp.td15d_unblock(legacy)
    await dmp.td14_close(legacy, data, "demande")
    await dmp.td12_reactivate(legacy, data, consent_at=datetime.now(UTC))
    await dmp.td16_professionals(call)
    rich = {
        "source_patient_info": ("PID-5|PATIENT^MARIE^^^^^L", "PID-7|19790328", "PID-8|F"),
        "events": (Code("63337009", "1.2.250.1.213.2.5", "Abdomen"),),
        "references": ("12989855966^^^&2.16.840.1.113883.6.96&ISO^urn:ihe:iti:xds:2013:order",),
        "comments": "commentaire",
        "service_stop": Dtm.of(datetime.now(UTC)),
        "confidentiality": (Code("N", "2.16.840.1.113883.5.25", "Normal"), Visibility.HIDDEN_FROM_PATIENT.as_code),
    }
    first = await submit(dmp, call, **rich)
    (entry,) = await dmp.td31a_by_unique_id(call, [first.unique_id])
    await submit(dmp, call, b"<second/>", replaces=entry.entry_uuid)
    documents = [Document(entry_of(call, dmp.new_oid()), b"<one/>"), Document(entry_of(call, dmp.new_oid()), b"<two/>")]
    await dmp.td21_submit(call, submission_of(dmp, call), documents)
    secretary = practitioner(profession=Code("SECRETARIAT_MEDICAL", "1.2.250.1.213.1.1.4.6", "Secrétariat médical"), speciality=None)
    by_staff = replace(call, actor=replace(call.actor, practitioner=secretary, staff_card=True))
    await dmp.td22_submit(by_staff, submission_of(dmp, by_staff), [Document(entry_of(by_staff, dmp.new_oid()), b"<by_staff/>")])
    moment = Dtm.of(datetime.now(UTC))
    await dmp.td31a_find(
        call,
        FindDocuments(
            statuses=tuple(AvailabilityStatus), created_from=moment, created_to=moment, service_from=moment, service_to=moment,
            types=(entry.type,), classes=(entry.class_code,), practices=(entry.practice,), facilities=(entry.facility,),
            formats=(entry.format,), confidentialities=entry.confidentiality, events=entry.events, reference=entry.references[0],
        ),
    )  # fmt: skip
    sets = await dmp.td31a_submission_sets(call, moment)
    await dmp.td31a_associations(call, [s.entry_uuid for s in sets] or [entry.entry_uuid])
    await dmp.td31a_documents_and_associations(call, [entry.entry_uuid])
    await dmp.td31b_locate(call, first.unique_id)
    (mine,) = await dmp.td31a_by_unique_id(call, [documents[0].entry.unique_id])
    await dmp.td32_retrieve(call, [mine])
    await dmp.td33a_mask(call, mine, True)
    hidden = next(e for e in await dmp.td31a_find(call) if Visibility.HIDDEN_FROM_PATIENT in e.visibility)
    await dmp.td33b_make_visible(call, hidden, confirmed=True)
    (mine,) = await dmp.td31a_by_unique_id(call, [documents[0].entry.unique_id])
    await dmp.td33d_archive(call, mine, True)
    (mine,) = await dmp.td31a_by_unique_id(call, [documents[0].entry.unique_id])
    await dmp.td33c_delete(call, mine)
    await dmp.td33c_delete_located(call, await dmp.td31b_locate(call, documents[1].entry.unique_id))


async def identities(insi: Insi, running: Running) -> None:
    """One call of each operation of INSi."""
    await insi.by_traits("Patient", "Marie", Sex.F, date(1979, 3, 28), "75115")
    holder = running.ins("CORSE").value
    await insi.by_vitale(VitaleIdentity(holder=holder, birth_date="19800302", birth_name="CORSE", read_at=datetime.now(UTC)))


def operations(client: type) -> set[str]:
    """The public methods that send something."""
    return {name for name, member in inspect.getmembers(client, inspect.iscoroutinefunction) if re.match(r"td\d|by_", name)}


def watched(client: Any, called: set[str]) -> Any:
    """`client`, which notes what is called on it."""

    def noting(name: str, method: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            called.add(name)
            return method(*arguments, **options)

        return wrapped

    for name in operations(type(client)):
        setattr(client, name, noting(name, getattr(client, name)))
    return client


@pytest.fixture
def recorder(dmp_running: Running) -> Recorder:
    return Recorder(Exchange.of(dmp_running.settings))


@schemas.needs_schemas
async def test_every_request_and_every_answer_is_valid(dmp_running: Running, call_of, doctor, recorder: Recorder) -> None:
    called: set[str] = set()
    settings = InsiSettings(dmp_running.settings.url.replace("/si-dmp-server/v2/services", "/insi"), "IDAM-1", "899700367909")
    async with Dmp(dmp_running.settings, dmp_running.signer, exchange=recorder) as dmp:
        await everything(watched(dmp, called), dmp_running, call_of, doctor)
        await identities(watched(Insi(settings, recorder), called), dmp_running)
    assert {name for name, _, _ in recorder.seen if not name.startswith("INSi")} == set(TRANSACTIONS)
    assert called == operations(Dmp) | operations(Insi)  # a new transaction belongs into `everything`
    validated: dict[str, set[str]] = {}
    answered: dict[str, set[str]] = {}
    for name, (media_type, body), (answer_type, answer) in recorder.seen:
        request = soap.read(media_type, body, dmp_running.settings.limits)
        assert request.payload is not None
        validated.setdefault(name, set()).add(schemas.require_valid(request.payload, request.parts))
        require_one_assertion(name, request)
        if name in {"TD2.1", "TD2.2"}:
            require_signed(request, dmp_running)
        reply = soap.read(answer_type, answer, dmp_running.settings.limits)
        assert reply.payload is not None
        answered.setdefault(name, set()).add(schemas.require_valid_answer(reply.payload, reply.parts))
    assert {name for name, kinds in validated.items() if kinds == {""}} == PROPRIETARY
    assert {name for name, kinds in answered.items() if kinds == {""}} - {
        "TD0.2",
        "TD1.1",
        "TD1.2",
        "TD1.3a",
        "TD1.3b",
        "TD1.4",
    } == PROPRIETARY
    assert {name: answered[name] for name in ("TD0.3", "TD0.4", "TD0.5", "TD1.6")} == {
        "TD0.5": {"PRPA_IN201306UV02"},
        "TD0.3": {"setAuthorizationResponse"},
        "TD0.4": {"patientListResponse"},
        "TD1.6": {"listAuthorizationByPatientResponse"},
    }
    assert validated.keys() - PROPRIETARY == {
        "TD0.2", "TD0.3", "TD0.4", "TD0.5", "TD1.1", "TD1.2", "TD1.3a", "TD1.3b", "TD1.4", "TD1.6", "TD2.1", "TD2.2",
        "TD3.1a", "TD3.1b", "TD3.2", "TD3.3a", "TD3.3b", "TD3.3c", "TD3.3d",
    }  # fmt: skip


PROPRIETARY = {
    "TD1.5a", "TD1.5b", "TD1.5d", "INSi-rechercherInsAvecTraitsIdentite", "INSi-rechercherInsAvecCarteVitale",
}  # fmt: skip
"""Services without a public schema."""


def require_one_assertion(name: str, request: soap.Envelope) -> None:
    """Each call of the DMP has its own VIHF; INSi has context headers instead."""
    if name.startswith("INSi"):
        assert request.security is None
        return
    assert request.security is not None
    (assertion,) = request.security
    assert vihf.read(assertion).id


def require_signed(request: soap.Envelope, running: Running) -> None:
    """Signature01 holds and names every document and the set (XAdES, IHE DSG)."""
    assert request.payload is not None
    registry = read_registry(request.payload)
    contents = {part.content: None for part in request.parts.values()}
    (signature,) = [content for content in contents if b"IHEManifest" in content]
    documents = [
        Document(entry, next(c for c in contents if hashlib.sha1(c, usedforsecurity=False).hexdigest() == entry.hash))
        for entry in registry.entries
        if entry.type.code != "E1762"
    ]
    assert documents
    signer = verify_submission(signature, registry.submission_sets[0].unique_id, documents)
    assert signer.public_bytes(Encoding.DER) == running.signer.certificate


@schemas.needs_schemas
async def test_registry_failures_are_valid_too(dmp_running: Running, call_of) -> None:
    recorder = Recorder(Exchange.of(dmp_running.settings))
    async with Dmp(dmp_running.settings, dmp_running.signer, exchange=recorder) as dmp:
        call = call_of("PATIENT")
        entry = (await dmp.td31a_find(call))[0]
        for attempt in (
            dmp.td32_retrieve(call, [replace(entry, unique_id="urn:uuid:no")]),
            dmp.td33a_mask(call, replace(entry, logical_id="urn:uuid:no"), True),
        ):
            with pytest.raises(Refused):
                await attempt
    for _, _, (answer_type, answer) in recorder.seen:
        reply = soap.read(answer_type, answer, dmp_running.settings.limits)
        assert reply.payload is not None
        assert schemas.require_valid(reply.payload, reply.parts)
