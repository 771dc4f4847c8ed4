"""What the registry refuses: incomplete, foreign, unsigned or falsified submissions; nothing of them is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from lxml import etree

from dmp_connector.client import Dmp
from dmp_connector.client.caller import payload_of
from dmp_connector.ebxml import names
from dmp_connector.ebxml.read import require_success
from dmp_connector.errors import CertificateRefused, DocumentUnknown, Refused, RegistryRefused
from dmp_connector.model import Association, AvailabilityStatus, Document
from dmp_connector.signer import FileSigner
from dmp_connector.wire import mtom, soap
from tests.dmp.client.test_documents import CDA, entry_of, submission_of
from tests.dmp.conftest import Keys, Running
from tests.dmp.pki import Root

pytestmark = pytest.mark.asyncio
RIM = f"{{{names.RIM}}}"
SUBMIT = "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b"
Change = Callable[[etree._Element, list[mtom.Part]], None]


async def send(dmp: Dmp, call, change: Change, *, multipart: bool = True, **entry: object) -> None:
    """A submission like the client's, changed before it is put into its envelope."""
    document = Document(entry_of(call, dmp.new_oid(), **entry), CDA)
    payload, parts = dmp.submission_payload(submission_of(dmp, call), [document])
    change(payload, parts)
    answer = await dmp._ask("TD2.1", "repository", SUBMIT, call, payload, parts=parts if multipart else (), idempotent=False)
    require_success(payload_of("TD2.1", answer))


def slot(name: str) -> Change:
    def remove(payload: etree._Element, parts: list[mtom.Part]) -> None:
        entry = payload.find(f".//{RIM}ExtrinsicObject")
        assert entry is not None
        entry.remove(next(s for s in entry.findall(f"{RIM}Slot") if s.get("name") == name))

    return remove


def classification(scheme: str) -> Change:
    def remove(payload: etree._Element, parts: list[mtom.Part]) -> None:
        entry = payload.find(f".//{RIM}ExtrinsicObject")
        assert entry is not None
        for found in [c for c in entry.findall(f"{RIM}Classification") if c.get("classificationScheme") == scheme]:
            entry.remove(found)

    return remove


def drop_association(kind: str) -> Change:
    def remove(payload: etree._Element, parts: list[mtom.Part]) -> None:
        for arrow in list(payload.iter(f"{RIM}Association")):
            if arrow.get("associationType") == kind:
                arrow.getparent().remove(arrow)  # type: ignore[union-attr]

    return remove


def other_bytes(payload: etree._Element, parts: list[mtom.Part]) -> None:
    parts[0] = replace(parts[0], content=b"<other/>")


def other_bytes_with_their_hash(payload: etree._Element, parts: list[mtom.Part]) -> None:
    """The metadata are forged to match, so that only the signature can show it."""
    from dmp_connector.model.documents import content_hash

    other_bytes(payload, parts)
    entry = payload.find(f".//{RIM}ExtrinsicObject")
    assert entry is not None
    for found in entry.findall(f"{RIM}Slot"):
        value = found.find(f"{RIM}ValueList/{RIM}Value")
        assert value is not None
        if found.get("name") == "hash":
            value.text = content_hash(b"<other/>")
        if found.get("name") == "size":
            value.text = str(len(b"<other/>"))


def lost_part(payload: etree._Element, parts: list[mtom.Part]) -> None:
    del parts[0]


def extra_document(payload: etree._Element, parts: list[mtom.Part]) -> None:
    etree.SubElement(payload, f"{{{names.XDSB}}}Document", {"id": "Nobody"}).append(mtom.include(parts[0].cid))


def other_patient(payload: etree._Element, parts: list[mtom.Part]) -> None:
    for identifier in payload.iter(f"{RIM}ExternalIdentifier"):
        if identifier.get("identificationScheme") == names.ENTRY_PATIENT:
            identifier.set("value", "279035121518989^^^&1.2.250.1.213.1.4.10&ISO^NH")


def nothing(payload: etree._Element, parts: list[mtom.Part]) -> None:
    return


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (slot("serviceStartTime"), "XDSRegistryMetadataError"),
        (slot("legalAuthenticator"), "XDSRegistryMetadataError"),
        (slot("sourcePatientId"), "XDSRegistryMetadataError"),
        (classification(names.ENTRY_TYPE), "XDSRegistryMetadataError"),
        (classification(names.ENTRY_FORMAT), "XDSRegistryMetadataError"),
        (classification(names.ENTRY_CONFIDENTIALITY), "XDSRegistryMetadataError"),
        (classification(names.ENTRY_AUTHOR), "XDSRegistryMetadataError"),
        (drop_association(Association.HAS_MEMBER), "XDSRegistryMetadataError"),
        (drop_association(Association.SIGNS), "XDSRepositoryMetadataError"),
        (other_bytes, "XDSRepositoryMetadataError"),
        (other_bytes_with_their_hash, "XDSRepositoryMetadataError"),
        (lost_part, "XDSMissingDocument"),
        (extra_document, "XDSMissingDocumentMetadata"),
        (other_patient, "XDSPatientIdDoesNotMatch"),
    ],
)
async def test_submissions_that_are_refused_and_leave_nothing(dmp: Dmp, dmp_running: Running, call_of, change: Change, code: str) -> None:
    before = len(dmp_running.record("PATIENT").documents.documents)
    with pytest.raises(RegistryRefused) as refused:
        await send(dmp, call_of("PATIENT"), change)
    assert refused.value.code == code
    assert len(dmp_running.record("PATIENT").documents.documents) == before


async def test_the_unchanged_one_passes(dmp: Dmp, call_of) -> None:
    await send(dmp, call_of("PATIENT"), nothing)


async def test_mtom_is_mandatory(dmp: Dmp, call_of) -> None:  # EX_2.1-1260
    with pytest.raises(Refused) as refused:
        await send(dmp, call_of("PATIENT"), nothing, multipart=False)
    assert refused.value.code in ("XDSMissingDocument", "SIMMtomRequired")


async def test_a_submission_signed_by_a_stranger(dmp: Dmp, dmp_running: Running, call_of, dmp_keys: Keys) -> None:
    leaf = Root("STRANGER").issue("CACHET", signature=True)
    own, dmp._signer = dmp._signer, FileSigner(leaf.certificate, leaf.key)
    call = call_of("PATIENT")
    payload, parts = dmp.submission_payload(submission_of(dmp, call), [Document(entry_of(call, dmp.new_oid()), CDA)])
    dmp._signer = own
    with pytest.raises(CertificateRefused):
        await dmp._ask("TD2.1", "repository", SUBMIT, call, payload, parts=parts, idempotent=False)


async def test_retrieve_by_entry_uuid_is_refused_as_the_real_one_does(dmp: Dmp, call_of) -> None:
    call = call_of("PATIENT")
    entry = (await dmp.td31a_find(call))[0]
    with pytest.raises(DocumentUnknown) as refused:
        await dmp.td32_retrieve(call, [replace(entry, unique_id=entry.entry_uuid)])
    assert refused.value.code == "XDSDocumentUniqueIdError"
    with pytest.raises(RegistryRefused) as elsewhere:
        await dmp.td32_retrieve(call, [replace(entry, repository_id="1.2.3")])
    assert elsewhere.value.code == "XDSUnknownRepositoryId"


async def test_only_confidentiality_may_change(dmp: Dmp, call_of) -> None:
    call = call_of("TRAITANTE")
    entry = (await dmp.td31a_find(call))[0]
    with pytest.raises(RegistryRefused, match="confidentialité"):
        await dmp.td33a_mask(call, replace(entry, title="Autre titre"), True)
    with pytest.raises(RegistryRefused) as stale:
        await dmp.td33a_mask(call, replace(entry, version="7"), True)
    assert stale.value.code == "XDSMetadataVersionError"
    with pytest.raises(RegistryRefused):
        await dmp.td33d_archive(call, replace(entry, status=AvailabilityStatus.ARCHIVED), False)


async def test_unknown_stored_query(dmp: Dmp, call_of) -> None:
    from dmp_connector.ebxml.query import adhoc

    with pytest.raises(RegistryRefused) as refused:
        await dmp._query("TD3.1a", call_of("PATIENT"), adhoc("urn:uuid:no", []))
    assert refused.value.code == "XDSUnknownStoredQuery"


async def test_two_patients_in_one_submission_are_refused_before_sending(dmp: Dmp, call_of) -> None:
    from dmp_connector.errors import BadDocument

    mine, other = entry_of(call_of("PATIENT"), "1.2.3.1"), entry_of(call_of("ANCIEN"), "1.2.3.2")
    with pytest.raises(BadDocument):
        await dmp.td21_submit(call_of("PATIENT"), submission_of(dmp, call_of("PATIENT")), [Document(mine, CDA), Document(other, CDA)])


async def test_an_xml_bomb_as_answer(dmp: Dmp) -> None:
    from dmp_connector.errors import HostileXml
    from dmp_connector.settings import Limits
    from tests.dmp.protocol.test_wire import BOMB

    with pytest.raises(HostileXml):
        soap.read("application/soap+xml", BOMB, Limits())
