"""TD2.1 to TD3.3 against the simulator."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dmp_connector.client import Call, Dmp, FindDocuments
from dmp_connector.errors import (
    AccessDenied,
    BadAnswer,
    BadDocument,
    BadInput,
    DocumentUnknown,
    DuplicateDocument,
    NotAllowed,
    Refused,
    RegistryRefused,
    Unavailable,
)
from dmp_connector.model import (
    AccessMode,
    AuthenticationMode,
    Author,
    AvailabilityStatus,
    Code,
    Document,
    DocumentEntry,
    Dtm,
    Institution,
    Person,
    SubmissionSet,
    Visibility,
)
from dmp_connector.wire import soap
from dmp_connector.wire.transport import Exchange
from tests.dmp.conftest import Running, practitioner, structure

pytestmark = pytest.mark.asyncio
CDA = b'<?xml version="1.0" encoding="UTF-8"?><ClinicalDocument xmlns="urn:hl7-org:v3"/>'
ALL = FindDocuments(statuses=(AvailabilityStatus.APPROVED, AvailabilityStatus.ARCHIVED, AvailabilityStatus.DEPRECATED))


def author_of(call: Call) -> Author:
    return Author(Person.of(call.actor.practitioner), Institution.of(call.actor.structure))


def entry_of(call: Call, unique_id: str, *, title: str = "Compte rendu", **changes: object) -> DocumentEntry:
    assert call.ins is not None
    now = Dtm.of(datetime.now(UTC))
    entry = DocumentEntry(
        unique_id=unique_id,
        patient=call.ins,
        title=title,
        type=Code("11488-4", "2.16.840.1.113883.6.1", "Compte rendu de consultation"),
        class_code=Code("10", "1.2.250.1.213.1.1.4.1", "Compte rendu"),
        format=Code("urn:ihe:iti:xds-sd:pdf:2008", "1.3.6.1.4.1.19376.1.2.3", "PDF"),
        created=now,
        authors=(author_of(call),),
        facility=Code("SA07", "1.2.250.1.71.4.2.4", "Cabinet"),
        practice=Code("AMBULATOIRE", "1.2.250.1.213.1.1.4.9", "Ambulatoire"),
        service_start=now,
        legal_authenticator=Person.of(call.actor.practitioner),
        source_patient_id=call.ins.cx,
    )
    return replace(entry, **changes)  # type: ignore[arg-type]


def submission_of(dmp: Dmp, call: Call) -> SubmissionSet:
    assert call.ins is not None
    content_type = Code("07", "1.2.250.1.213.2.2", "Consultation")
    return SubmissionSet(dmp.new_oid(), dmp.settings.system_oid, call.ins, content_type, author_of(call), Dtm.of(datetime.now(UTC)), "Lot")


async def submit(dmp: Dmp, call: Call, content: bytes = CDA, *, replaces: str = "", **changes: object) -> DocumentEntry:
    entry = entry_of(call, dmp.new_oid(), **changes)
    await dmp.td21_submit(call, submission_of(dmp, call), [Document(entry, content, replaces)])
    return entry.describing(content)


async def test_feed_find_retrieve(dmp: Dmp, call_of) -> None:  # TD2.1, TD3.1a, TD3.2; ITI-41, ITI-18, ITI-43
    call = call_of("PATIENT")
    steps: list[tuple[int, int]] = []
    entry = entry_of(call, dmp.new_oid())
    content = CDA + b"<!--" + b"x" * 300_000 + b"-->"
    document = Document(entry, content)
    await dmp.td21_submit(call, submission_of(dmp, call), [document], progress=lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1] > 300_000
    assert len(steps) > 3
    (found,) = await dmp.td31a_by_unique_id(call, [entry.unique_id])
    assert found.status is AvailabilityStatus.APPROVED
    assert found.entry_uuid
    assert found.logical_id
    registry_side = {"status", "entry_uuid", "logical_id", "version", "repository_id", "submitted", "hash", "size"}
    for name in DocumentEntry.__dataclass_fields__.keys() - registry_side:
        assert getattr(found, name) == getattr(entry, name), name
    (retrieved,) = await dmp.td32_retrieve(call, [found])
    assert retrieved.content == content
    assert retrieved.mime_type == "text/xml"


async def test_find_by_criteria(dmp: Dmp, call_of) -> None:  # EX_3.1-1030
    call = call_of("PATIENT")
    everything = await dmp.td31a_find(call)
    assert len(everything) == 4  # the fifth is masked, by another professional
    letters = await dmp.td31a_find(call, FindDocuments(types=(Code("11502-2", "2.16.840.1.113883.6.1"),)))
    assert [e.title for e in letters] == ["Compte rendu d'examens biologiques"]
    recent = await dmp.td31a_find(call, FindDocuments(service_from=Dtm.of(datetime.now(UTC) - timedelta(days=60))))
    assert [e.title for e in recent] == ["Compte rendu de consultation"]
    assert await dmp.td31a_find(call, FindDocuments(classes=(Code("60", "1.2.250.1.213.1.1.4.1"),))) == ()


async def test_a_treating_doctor_sees_what_is_masked(dmp: Dmp, call_of) -> None:
    call = call_of("TRAITANTE")
    masked = [e for e in await dmp.td31a_find(call) if Visibility.MASKED in e.visibility]
    assert len(masked) == 1
    (document,) = await dmp.td32_retrieve(call, masked)
    assert document.content


async def test_masked_documents_of_others_are_refused(dmp: Dmp, dmp_running: Running, call_of) -> None:
    stored = next(s for s in dmp_running.record("PATIENT").documents.current() if Visibility.MASKED in s.current.visibility)
    with pytest.raises(AccessDenied):
        await dmp.td32_retrieve(call_of("PATIENT"), [stored.current])


@pytest.mark.parametrize("name", ["ANCIEN", "NOUVEAU", "BLOQUANT"])
async def test_no_valid_authorisation_no_consultation(dmp: Dmp, call_of, name: str) -> None:
    with pytest.raises(AccessDenied):
        await dmp.td31a_find(call_of(name))


async def test_bris_de_glace_granted_and_noticed(dmp: Dmp, dmp_running: Running, call_of) -> None:
    call = call_of("NOUVEAU", mode=AccessMode.BRIS_DE_GLACE)
    found = await dmp.td31a_find(call)
    assert len(found) == 2
    assert (await dmp.td32_retrieve(call, found[:1]))[0].content
    record = dmp_running.record("NOUVEAU")
    assert len(record.notices) == 2  # the holder and the treating doctor are informed (R1111-48)
    assert {t.mode for t in record.journal} == {"bris_de_glace"}
    assert (await dmp.td02_existence(call)).authorisation.value == "NON_EXISTE"  # never touched


async def test_bris_de_glace_and_regulation_are_opposed_separately(dmp: Dmp, dmp_running: Running, call_of, doctor) -> None:
    with pytest.raises(AccessDenied, match="bris de glace"):
        await dmp.td31a_find(call_of("OPPOSANTE", mode=AccessMode.BRIS_DE_GLACE))
    samu = replace(doctor, structure=structure(id="10B0000015"))
    with pytest.raises(AccessDenied, match="régulation"):
        await dmp.td31a_find(call_of("CORSE", mode=AccessMode.CENTRE_15, actor=samu))
    assert await dmp.td31a_find(call_of("CORSE", mode=AccessMode.BRIS_DE_GLACE))
    assert await dmp.td31a_find(call_of("NOUVEAU", mode=AccessMode.CENTRE_15, actor=samu))


async def test_a_blocked_professional_has_no_access_in_any_mode(dmp: Dmp, call_of) -> None:
    for mode in (AccessMode.NORMAL, AccessMode.BRIS_DE_GLACE):
        with pytest.raises(AccessDenied, match="bloqué"):
            await dmp.td31a_find(call_of("BLOQUANT", mode=mode))


async def test_mask_unmask_renews_the_entry_uuid(dmp: Dmp, call_of) -> None:  # TD3.3a; ITI-57
    call = call_of("PATIENT")
    entry = await submit(dmp, call)
    (first,) = await dmp.td31a_by_unique_id(call, [entry.unique_id])
    await dmp.td33a_mask(call, first, True)
    (second,) = await dmp.td31a_by_unique_id(call, [entry.unique_id])
    assert Visibility.MASKED in second.visibility
    assert second.entry_uuid != first.entry_uuid
    assert second.logical_id == first.logical_id
    assert int(second.version) == int(first.version) + 1
    with pytest.raises(RegistryRefused):  # the old version is history
        await dmp.td33a_mask(call, first, True)
    await dmp.td33a_mask(call, second, False)
    (third,) = await dmp.td31a_by_unique_id(call, [entry.unique_id])
    assert third.visibility == frozenset()


async def test_unmask_is_for_the_author_and_the_treating_doctor(dmp: Dmp, dmp_running: Running, call_of) -> None:
    stored = next(s for s in dmp_running.record("PATIENT").documents.current() if Visibility.MASKED in s.current.visibility)
    with pytest.raises(AccessDenied):
        await dmp.td33a_mask(call_of("PATIENT"), stored.current, False)
    call = call_of("TRAITANTE")
    masked = next(e for e in await dmp.td31a_find(call) if Visibility.MASKED in e.visibility)
    await dmp.td33a_mask(call, masked, False)


async def test_making_visible_is_confirmed_and_final(dmp: Dmp, call_of) -> None:  # TD3.3b; EX_3.3-1045
    call = call_of("PATIENT")
    hidden = next(e for e in await dmp.td31a_find(call) if Visibility.HIDDEN_FROM_PATIENT in e.visibility)
    with pytest.raises(NotAllowed):
        await dmp.td33b_make_visible(call, hidden, confirmed=False)
    await dmp.td33b_make_visible(call, hidden, confirmed=True)
    (visible,) = await dmp.td31a_by_unique_id(call, [hidden.unique_id])
    assert visible.visibility == frozenset()
    with pytest.raises(BadInput):
        await dmp.td33b_make_visible(call, visible, confirmed=True)
    with pytest.raises(RegistryRefused, match="invisible"):  # there is no way back
        await dmp._resubmit("TD3.3b", call, visible, frozenset({Visibility.HIDDEN_FROM_PATIENT}))


async def test_archive_and_back(dmp: Dmp, call_of) -> None:  # TD3.3d
    call = call_of("PATIENT")
    entry = await submit(dmp, call)
    (first,) = await dmp.td31a_by_unique_id(call, [entry.unique_id])
    await dmp.td33d_archive(call, first, True)
    assert entry.unique_id not in {e.unique_id for e in await dmp.td31a_find(call)}
    archived = next(e for e in await dmp.td31a_find(call, ALL) if e.unique_id == entry.unique_id)
    assert archived.status is AvailabilityStatus.ARCHIVED
    await dmp.td33d_archive(call, archived, False)
    assert entry.unique_id in {e.unique_id for e in await dmp.td31a_find(call)}


async def test_delete_ones_own_document_only(dmp: Dmp, call_of) -> None:  # TD3.3c
    call = call_of("PATIENT")
    entry = await submit(dmp, call)
    (mine,) = await dmp.td31a_by_unique_id(call, [entry.unique_id])
    await dmp.td33c_delete(call, mine)
    with pytest.raises(DocumentUnknown):
        await dmp.td31b_locate(call, entry.unique_id)
    with pytest.raises(DocumentUnknown):
        await dmp.td32_retrieve(call, [mine])
    other = (await dmp.td31a_find(call))[0]
    with pytest.raises(AccessDenied):
        await dmp.td33c_delete(call, other)


async def test_the_feeding_only_product_deletes_without_right_to_consult(dmp: Dmp, call_of) -> None:
    """EX_3.3-1060: structure certificate, no authorisation; TD3.1b gives the entryUUID."""
    call = call_of("NOUVEAU")
    call = replace(call, actor=replace(call.actor, authentication=AuthenticationMode.INDIRECT))
    entry = await submit(dmp, call)
    with pytest.raises(AccessDenied):
        await dmp.td31a_find(call)
    entry_uuid = await dmp.td31b_locate(call, entry.unique_id)
    await dmp.td33c_delete(call, replace(entry, entry_uuid=entry_uuid))
    with pytest.raises(DocumentUnknown):
        await dmp.td31b_locate(call, entry.unique_id)


async def test_replace(dmp: Dmp, call_of) -> None:
    call = call_of("PATIENT")
    old = await submit(dmp, call, title="Version 1")
    (old_entry,) = await dmp.td31a_by_unique_id(call, [old.unique_id])
    new = await submit(dmp, call, CDA + b"<!--2-->", title="Version 2", replaces=old_entry.entry_uuid)
    found = {e.unique_id: e for e in await dmp.td31a_find(call, ALL)}
    assert found[old.unique_id].status is AvailabilityStatus.DEPRECATED
    assert found[new.unique_id].status is AvailabilityStatus.APPROVED
    assert found[new.unique_id].logical_id != found[old.unique_id].logical_id
    arrows = await dmp.td31a_associations(call, [found[new.unique_id].entry_uuid])
    assert any(a.type.endswith(":RPLC") and a.target == old_entry.entry_uuid for a in arrows)
    with pytest.raises(RegistryRefused) as again:
        await submit(dmp, call, CDA + b"<!--3-->", replaces=old_entry.entry_uuid)
    assert again.value.code == "XDSReplaceFailed"


async def test_replacing_others_documents_is_refused(dmp: Dmp, call_of) -> None:
    call = call_of("PATIENT")
    other = (await dmp.td31a_find(call))[0]
    with pytest.raises(AccessDenied):
        await submit(dmp, call, replaces=other.entry_uuid)


async def test_duplicates_by_unique_id(dmp: Dmp, call_of) -> None:
    call = call_of("PATIENT")
    entry = await submit(dmp, call)
    for content in (CDA, CDA + b" "):
        with pytest.raises(DuplicateDocument):
            await dmp.td21_submit(call, submission_of(dmp, call), [Document(entry, content)])


async def test_later_searches_by_submission(dmp: Dmp, call_of) -> None:
    call = call_of("PATIENT")
    before = Dtm.of(datetime.now(UTC) - timedelta(seconds=2))
    entries = [await submit(dmp, call, CDA + f"<!--{n}-->".encode()) for n in range(3)]
    sets = await dmp.td31a_submission_sets(call, before)
    assert len(sets) == 3
    arrows = await dmp.td31a_associations(call, [s.entry_uuid for s in sets])
    members = [a.target for a in arrows if a.type.endswith(":HasMember")]
    settings = replace(dmp.settings, limits=replace(dmp.settings.limits, documents_per_query=2))
    async with Dmp(settings, dmp._signer) as batched:
        found = await batched.td31a_documents_and_associations(call, members)
    assert {e.unique_id for e in entries} <= {e.unique_id for e in found.entries}


async def test_air_consults_and_does_not_feed(dmp: Dmp, call_of) -> None:
    call = call_of("PATIENT")
    call = replace(call, actor=replace(call.actor, authentication=AuthenticationMode.AIR))
    assert await dmp.td31a_find(call)
    with pytest.raises(AccessDenied):
        await submit(dmp, call)


async def test_indirect_feeds_and_does_not_consult(dmp: Dmp, call_of) -> None:
    call = call_of("PATIENT")
    call = replace(call, actor=replace(call.actor, authentication=AuthenticationMode.INDIRECT))
    await submit(dmp, call)
    with pytest.raises(AccessDenied):
        await dmp.td31a_find(call)


async def test_staff_card_feeds_by_td22(dmp: Dmp, call_of) -> None:  # TD2.2
    call = call_of("PATIENT")
    secretary = practitioner(id="310B0073160/7", profession=Code("SECRETARIAT_MEDICAL", "1.2.250.1.213.1.1.4.6"), speciality=None)
    call = replace(call, actor=replace(call.actor, practitioner=secretary, staff_card=True))
    entry = entry_of(call, dmp.new_oid())
    await dmp.td22_submit(call, submission_of(dmp, call), [Document(entry, CDA)])
    assert await dmp.td31b_locate(call, entry.unique_id)
    with pytest.raises(AccessDenied):
        await dmp.td31a_find(call)
    with pytest.raises(NotAllowed):
        await dmp.td22_submit(call_of("PATIENT"), submission_of(dmp, call), [Document(entry, CDA)])


async def test_occupational_doctor_finds_and_does_not_read(dmp: Dmp, call_of) -> None:
    call = call_of("PATIENT")
    speciality = Code("SM25", "1.2.250.1.71.4.2.5", "Médecine du travail (SM)")
    call = replace(call, actor=replace(call.actor, practitioner=practitioner(speciality=speciality)))
    found = await dmp.td31a_find(call)
    assert found
    with pytest.raises(AccessDenied):
        await dmp.td32_retrieve(call, found[:1])


async def test_what_is_declared_as_xml_must_be_xml(dmp: Dmp, call_of) -> None:
    with pytest.raises(BadDocument):
        await submit(dmp, call_of("PATIENT"), b"<not closed>")
    with pytest.raises(BadDocument):
        await submit(dmp, call_of("PATIENT"), b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    await submit(dmp, call_of("PATIENT"), b"%PDF-1.4 bytes", mime_type="application/pdf")


async def test_documents_digested_as_bytes_where_a_server_wants_it(dmp: Dmp, dmp_running: Running, call_of) -> None:
    async with Dmp(replace(dmp.settings, xades_canonical=False), dmp_running.signer) as plain:
        await submit(plain, call_of("PATIENT"), CDA + b"<!-- as bytes -->")


async def test_documents_of_another_patient_are_not_sent(dmp: Dmp, call_of) -> None:
    entry = entry_of(call_of("ANCIEN"), "1.2.3.4")
    with pytest.raises(BadDocument):
        await dmp.td21_submit(call_of("PATIENT"), submission_of(dmp, call_of("PATIENT")), [Document(entry, CDA)])


async def test_a_document_over_the_limit_is_not_sent(dmp: Dmp, dmp_running: Running, call_of) -> None:
    settings = replace(dmp.settings, limits=replace(dmp.settings.limits, document_bytes=1000))
    async with Dmp(settings, dmp_running.signer) as small:
        with pytest.raises(BadDocument):
            await submit(small, call_of("PATIENT"), b"x" * 1001)
        with pytest.raises(BadInput):
            await small.td21_submit(call_of("PATIENT"), submission_of(dmp, call_of("PATIENT")), [])


async def test_masked_and_hidden_at_once_when_the_national_parameter_forbids_it(dmp: Dmp, dmp_running: Running, call_of) -> None:
    settings = replace(dmp.settings, mask_and_hide_together=False)  # EX_GEN-1550
    codes = (Code("N", "2.16.840.1.113883.5.25"), Visibility.MASKED.as_code, Visibility.HIDDEN_FROM_PATIENT.as_code)
    async with Dmp(settings, dmp_running.signer) as strict:
        with pytest.raises(BadDocument):
            await submit(strict, call_of("PATIENT"), confidentiality=codes)


class LosesAnswers(Exchange):
    """Delivers the request and drops the answer, once for each name."""

    def __init__(self, inner: Exchange, *names: str) -> None:
        self._inner, self._names, self.sent = inner, list(names), []  # type: ignore[var-annotated]

    async def post(self, name, url, media_type, body, *, progress=None):
        self.sent.append((name, body))
        answer = await self._inner.post(name, url, media_type, body, progress=progress)
        if name in self._names:
            self._names.remove(name)
            raise Unavailable(f"{name}: answer lost")
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


async def test_a_lost_answer_to_a_submission_is_settled_by_asking(dmp_running: Running, call_of) -> None:
    exchange = LosesAnswers(Exchange.of(dmp_running.settings), "TD2.1")
    async with Dmp(dmp_running.settings, dmp_running.signer, exchange=exchange) as dmp:
        entry = await submit(dmp, call_of("PATIENT"))
        assert [name for name, _ in exchange.sent] == ["TD2.1", "TD3.1b"]
        assert await dmp.td31b_locate(call_of("PATIENT"), entry.unique_id)


async def test_a_lost_answer_to_a_question_is_asked_again_with_a_new_assertion(dmp_running: Running, call_of) -> None:
    exchange = LosesAnswers(Exchange.of(dmp_running.settings), "TD0.2")
    async with Dmp(dmp_running.settings, dmp_running.signer, exchange=exchange) as dmp:
        assert (await dmp.td02_existence(call_of("PATIENT"))).state.value == "ACTIVE"
    bodies = [body for _, body in exchange.sent]
    assert len(bodies) == 2
    ids = {soap.read("text/xml", b, dmp_running.settings.limits).security[0].get("ID") for b in bodies}  # type: ignore[index]
    assert len(ids) == 2


async def test_an_authorisation_is_never_repeated(dmp_running: Running, call_of) -> None:
    exchange = LosesAnswers(Exchange.of(dmp_running.settings), "TD0.3")
    async with Dmp(dmp_running.settings, dmp_running.signer, exchange=exchange) as dmp:
        with pytest.raises(Unavailable):
            await dmp.td03_authorise(call_of("NOUVEAU"))
    assert [name for name, _ in exchange.sent] == ["TD0.3"]


async def test_content_that_is_not_what_the_metadata_say(dmp: Dmp, dmp_running: Running, call_of) -> None:
    call = call_of("PATIENT")
    entry = (await dmp.td31a_find(call))[0]
    dmp_running.record("PATIENT").documents.documents[entry.unique_id].content = b"other"
    with pytest.raises(BadAnswer):
        await dmp.td32_retrieve(call, [entry])


async def test_many_calls_at_once(dmp: Dmp, call_of) -> None:
    dossiers = await asyncio.gather(*(dmp.td02_existence(call_of("PATIENT")) for _ in range(12)))
    assert {d.state.value for d in dossiers} == {"ACTIVE"}


async def test_unknown_codes_travel_untouched(dmp: Dmp, dmp_running: Running, call_of) -> None:
    async with Dmp(replace(dmp_running.settings, url=dmp_running.settings.url.replace("/v2/", "/v9/")), dmp_running.signer) as lost:
        with pytest.raises(Refused) as refused:
            await lost.td02_existence(call_of("PATIENT"))
    assert refused.value.code == "ActionNotSupported"
