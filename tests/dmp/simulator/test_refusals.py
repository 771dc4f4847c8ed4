"""What the simulated DMP refuses, as the real one does, and is not shown elsewhere; each VIHF attribute missing and wrong.

Where the other refusals are tested (docs/reference/dmp.md 1.5, 1.6, 7.4):
    age, single use, signature, wrapping, certificates, profile      test_gate
    rights matrix 7.4                                                 test_rights, client/test_documents, client/test_dossiers
    metadata, signature, hash, parts of a submission                  test_registry
    states and codes of 1.5 and 1.6, oppositions, legacy              client/test_dossiers
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from lxml import etree

from dmp_connector.client import Call, Dmp
from dmp_connector.errors import AccessDenied, AssertionRefused, DocumentUnknown, NoDossier, Refused, RegistryRefused
from dmp_connector.model import AccessMode, Actor, AuthenticationMode, AvailabilityStatus, Code, Document, Ins, Visibility
from dmp_connector.proof import dsig, vihf
from dmp_connector.settings import Software, VihfSettings
from dmp_connector.signer import FileSigner, subject_text
from dmp_connector.wire.xml import serialise
from tests.dmp.client.test_documents import ALL, entry_of, submission_of, submit
from tests.dmp.conftest import Running, practitioner
from tests.dmp.simulator.test_gate import send, simulator  # noqa: F401 - fixtures
from tests.dmp.simulator.test_registry import SUBMIT
from tests.dmp.simulator.test_registry import send as send_changed

Change = Callable[[etree._Element], None]
SAML = f"{{{vihf.SAML}}}"


def attribute(name: str, value: str | None) -> Change:
    """The attribute with another value, or gone."""

    def change(root: etree._Element) -> None:
        found = next(a for a in root.iter(f"{SAML}Attribute") if a.get("Name") == name)
        if value is None:
            found.getparent().remove(found)  # type: ignore[union-attr]
        else:
            found[0].text = value

    return change


def coded(name: str, tag: str, **attributes: str) -> Change:
    def change(root: etree._Element) -> None:
        next(root.iter(f"{{{vihf.HL7}}}{tag}")).attrib.update(attributes)

    assert name
    return change


def on(path: str, act: Callable[[etree._Element], None]) -> Change:
    def change(root: etree._Element) -> None:
        found = root.find("/".join(SAML + step for step in path.split("/"))) if path else root
        assert found is not None
        act(found)

    return change


def cleared(element: etree._Element) -> None:
    element.text = ""


def removed(element: etree._Element) -> None:
    element.getparent().remove(element)  # type: ignore[union-attr]


def audience(root: etree._Element) -> None:
    conditions = root.find(f"{SAML}Conditions")
    assert conditions is not None
    restriction = etree.SubElement(conditions, f"{SAML}AudienceRestriction")
    etree.SubElement(restriction, f"{SAML}Audience").text = "urn:dmp"


def tomorrow(element: etree._Element) -> None:
    element.set("AuthnInstant", (datetime.now(UTC) + timedelta(days=1)).isoformat())


CHANGES: dict[str, tuple[Change, str]] = {
    "SAML 1.1": (on("", lambda e: e.set("Version", "1.1")), "Version"),
    "no ID": (on("", lambda e: e.set("ID", "")), "."),
    "no IssueInstant": (on("", lambda e: e.attrib.pop("IssueInstant")), "IssueInstant"),
    "unreadable IssueInstant": (on("", lambda e: e.set("IssueInstant", "hier")), "instant"),
    "no NameID": (on("Subject/NameID", cleared), "NameID"),
    "other Issuer": (on("Issuer", lambda e: setattr(e, "text", "CN=AUTRE,O=HOPITAL TEST,C=FR")), "Issuer"),
    "Issuer of no X.509 form": (on("Issuer", lambda e: e.set("Format", "urn:oasis:names:tc:SAML:2.0:nameid-format:entity")), "Format"),
    "no AuthnStatement": (on("AuthnStatement", removed), "AuthnContextClassRef"),
    "no AuthnContextClassRef": (on("AuthnStatement/AuthnContext/AuthnContextClassRef", cleared), "AuthnContextClassRef"),
    "login of tomorrow": (on("AuthnStatement", tomorrow), "AuthnInstant"),
    "audience": (audience, "AudienceRestriction"),
    "no version": (attribute("VIHF_Version", None), "version"),
    "other version": (attribute("VIHF_Version", "9.9"), "version"),
    "no structure": (attribute("Identifiant_Structure", None), "Structure introuvable"),
    "inactive structure": (attribute("Identifiant_Structure", "10BINACTIVE"), "Structure introuvable"),
    "no sector": (attribute("Secteur_Activite", None), "Secteur_Activite"),
    "unknown sector": (attribute("Secteur_Activite", "SA99^1.2.250.1.71.4.2.4"), "Secteur_Activite"),
    "sector without system": (attribute("Secteur_Activite", "SA07"), "Secteur_Activite"),
    "no authentication mode": (attribute("Authentification_mode", None), "authentication mode"),
    "other authentication mode": (attribute("Authentification_mode", "FORTE"), "authentication mode"),
    "no resource": (attribute("Ressource_URN", None), "Ressource_URN"),
    "other resource": (attribute("Ressource_URN", "urn:ror"), "Ressource_URN"),
    "no patient": (attribute(vihf.RESOURCE_ID, None), "patient"),
    "no INS": (attribute(vihf.RESOURCE_ID, "DUPONT"), "INS"),
    "no software": (attribute("LPS_Nom", None), "LPS_Nom"),
    "no software version": (attribute("LPS_Version", None), "LPS_Version"),
    "no access mode": (attribute(vihf.PURPOSE, None), "access"),
    "other access mode": (coded("purpose", "PurposeOfUse", code="urgence"), "access"),
    "access mode of another system": (coded("purpose", "PurposeOfUse", codeSystem="1.2.3"), "access mode system"),
    "no role": (attribute(vihf.ROLE, None), "role"),
    "role of no value set": (coded("role", "Role", code="77"), "JDV_J65"),
    "role of another system": (coded("role", "Role", codeSystem="1.2.3"), "JDV_J65"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_vihf_with_something_missing_or_wrong(send, dmp_signer: FileSigner, doctor: Actor, simulator, name: str) -> None:  # noqa: F811
    change, said = CHANGES[name]
    person = simulator.config.patients[0]
    call, settings = Call(doctor, Ins(person.ins, person.oid)), VihfSettings(conditions=True)
    element = vihf.build(call, Software("lps", "1"), settings, issuer=subject_text(dmp_signer.certificate), now=datetime.now(UTC))
    change(element)
    dsig.sign_enveloped(element, settings.algorithm, dmp_signer)  # signed as it stands: only its content is wrong
    with pytest.raises(AssertionRefused, match=said):
        send(assertion=serialise(element))


def test_the_unchanged_vihf_passes(send, dmp_signer: FileSigner, doctor: Actor, simulator) -> None:  # noqa: F811
    person = simulator.config.patients[0]
    call = Call(doctor, Ins(person.ins, person.oid))
    send(assertion=vihf.assertion(call, dmp_signer, Software("lps", "1"), VihfSettings(), datetime.now(UTC)))


def test_a_confidentiality_the_dmp_does_not_handle(send, dmp_signer: FileSigner, doctor: Actor, simulator) -> None:  # noqa: F811
    person = simulator.config.patients[0]
    call, settings = Call(doctor, Ins(person.ins, person.oid), secret=True), VihfSettings()
    element = vihf.build(call, Software("lps", "1"), settings, issuer=subject_text(dmp_signer.certificate), now=datetime.now(UTC))
    next(element.iter(f"{{{vihf.HL7}}}Confidentiality")).set("code", "MASQUE_PS")
    dsig.sign_enveloped(element, settings.algorithm, dmp_signer)
    with pytest.raises(AssertionRefused, match="confidentiality-code"):
        send(assertion=serialise(element))


# -- documents


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": Code("99999-9", "2.16.840.1.113883.6.1")}, "JDV_J66"),
        ({"class_code": Code("77", "1.2.250.1.213.1.1.4.1")}, "JDV_J57"),
        ({"class_code": Code("42", "1.2.250.1.213.1.1.4.1")}, "ASS_X04"),
        ({"format": Code("urn:mine", "1.2.3")}, "JDV_J60"),
        ({"facility": Code("SA99", "1.2.250.1.71.4.2.4")}, "JDV_J61"),
        ({"practice": Code("CHEZMOI", "1.2.250.1.213.1.1.4.9")}, "JDV_J04"),
        ({"confidentiality": (Code("MASQUE_PS", "1.2.250.1.213.1.1.4.13"),)}, "première confidentialité"),
    ],
)
async def test_metadata_outside_the_value_sets(dmp: Dmp, call_of, change: dict[str, object], said: str) -> None:
    with pytest.raises(RegistryRefused, match=said) as refused:
        await send_changed(dmp, call_of("PATIENT"), lambda _payload, _parts: None, **change)
    assert refused.value.code == "XDSRegistryMetadataError"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "unique_id", ["1.2.250.1.213.1.1.9.1^42", "urn:uuid:1b4e28ba-2fa1-11d2-883f-0016d3cca427", "1.02.3", "1." + "2" * 64]
)
async def test_a_unique_id_that_is_no_oid(dmp: Dmp, call_of, unique_id: str) -> None:
    call = call_of("PATIENT")
    with pytest.raises(RegistryRefused, match="uniqueId"):
        await dmp.td21_submit(call, submission_of(dmp, call), [Document(entry_of(call, unique_id), b"<x/>")])


@pytest.mark.asyncio
async def test_a_secret_connection_files_only_what_representatives_do_not_see(dmp: Dmp, call_of) -> None:  # EX_2.1-1050
    call = replace(call_of("PATIENT"), secret=True)
    with pytest.raises(RegistryRefused, match="connexion secrète"):
        await submit(dmp, call)
    hidden = entry_of(call, dmp.new_oid()).with_visibility(frozenset({Visibility.HIDDEN_FROM_REPRESENTATIVES}))
    await dmp.td21_submit(call, submission_of(dmp, call), [Document(hidden, b"<x/>")])


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [AvailabilityStatus.ARCHIVED, AvailabilityStatus.DELETED, AvailabilityStatus.DEPRECATED])
async def test_only_what_is_in_force_is_replaced(dmp: Dmp, call_of, status: AvailabilityStatus) -> None:
    call = call_of("PATIENT")
    first = await submit(dmp, call)
    (entry,) = await dmp.td31a_by_unique_id(call, [first.unique_id])
    if status is AvailabilityStatus.DEPRECATED:
        await submit(dmp, call, b"<second/>", replaces=entry.entry_uuid)
    else:
        await (dmp.td33d_archive(call, entry, True) if status is AvailabilityStatus.ARCHIVED else dmp.td33c_delete(call, entry))
        entry = next((e for e in await dmp.td31a_find(call, ALL) if e.unique_id == first.unique_id), entry)
    with pytest.raises(RegistryRefused) as refused:
        await submit(dmp, call, b"<again/>", replaces=entry.entry_uuid)
    assert refused.value.code == "XDSReplaceFailed"


@pytest.mark.asyncio
async def test_the_document_of_another_patient_is_not_there(dmp: Dmp, call_of) -> None:
    call, other = call_of("PATIENT"), call_of("TRAITANTE")
    first = await submit(dmp, call)
    (entry,) = await dmp.td31a_by_unique_id(call, [first.unique_id])
    with pytest.raises(DocumentUnknown):
        await dmp.td31b_locate(other, first.unique_id)
    with pytest.raises(DocumentUnknown):
        await dmp.td32_retrieve(other, [entry])
    with pytest.raises(Refused):
        await dmp.td33c_delete(other, entry)
    with pytest.raises(RegistryRefused) as refused:
        await submit(dmp, other, b"<x/>", replaces=entry.entry_uuid)
    assert refused.value.code == "XDSReplaceFailed"


@pytest.mark.asyncio
async def test_a_blocked_professional_feeds_finds_and_deletes_nothing(dmp: Dmp, dmp_running: Running, call_of, doctor: Actor) -> None:
    """Regression: the simulator still let them feed, locate and delete their own documents; the real DMP refuses everything."""
    call = call_of("PATIENT")
    first = await submit(dmp, call)
    (entry,) = await dmp.td31a_by_unique_id(call, [first.unique_id])
    dmp_running.record("PATIENT").blocked[doctor.practitioner.id] = "MARTIN JEANNE"
    for mode in (AccessMode.NORMAL, AccessMode.BRIS_DE_GLACE):
        blocked = replace(call, mode=mode)
        for attempt in (submit(dmp, blocked), dmp.td31b_locate(blocked, first.unique_id), dmp.td33c_delete(blocked, entry)):
            with pytest.raises(AccessDenied, match="bloqué"):
                await attempt


@pytest.mark.asyncio
async def test_mask_rights(dmp: Dmp, call_of, doctor: Actor) -> None:
    """TD3.3a and b in the emergency modes, by staff and by the structure (docs/reference/dmp.md 7.4)."""
    call = call_of("PATIENT")
    entry = (await dmp.td31a_find(call))[0]
    secretary = practitioner(profession=Code("SECRETARIAT_MEDICAL", "1.2.250.1.213.1.1.4.6"), speciality=None)
    for actor, mode in (
        (doctor, AccessMode.BRIS_DE_GLACE),
        (replace(doctor, practitioner=secretary, staff_card=True), AccessMode.NORMAL),
        (replace(doctor, authentication=AuthenticationMode.INDIRECT), AccessMode.NORMAL),
    ):
        with pytest.raises(AccessDenied):
            await dmp.td33a_mask(replace(call, actor=actor, mode=mode), entry, True)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["SANSDOSSIER", "FERMEE"])
async def test_nothing_is_filed_where_no_dossier_is_open(dmp: Dmp, call_of, name: str) -> None:
    for attempt in (submit(dmp, call_of(name)), dmp.td31a_find(call_of(name)), dmp.td16_professionals(call_of(name))):
        with pytest.raises(Refused) as refused:
            await attempt
        assert isinstance(refused.value, NoDossier) or refused.value.code == "DMPClosed"


@pytest.mark.asyncio
async def test_an_action_of_another_service(dmp: Dmp, call_of) -> None:
    call = call_of("PATIENT")
    payload, _ = dmp.submission_payload(submission_of(dmp, call), [Document(entry_of(call, dmp.new_oid()), b"<x/>")])
    with pytest.raises(Refused) as refused:
        await dmp._ask("TD2.1", "registry", SUBMIT, call, payload)
    assert refused.value.code == "ActionNotSupported"
