"""Every open point of the guide is a line of the configuration: each is tried on the octets that are sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509

from dmp_connector import habilitations as own
from dmp_connector import names
from dmp_connector.client import Call, Dmp, IdentityQuery
from dmp_connector.errors import BadDocument, BadIns, DmpError, Unavailable
from dmp_connector.model import AccessMode, Actor, AuthenticationMode, AvailabilityStatus, Document, Ins, InsKind, Visibility
from dmp_connector.proof import vihf
from dmp_connector.settings import DmpSettings, Software, VihfSettings
from dmp_connector.signer import subject_text
from dmp_connector.wire.transport import Answer, Exchange
from mssgw.core.config import load
from mssgw.core.config.dmp_wire import ATTRIBUTES, DmpProtocol, DmpVihf
from mssgw.core.errors import ConfigError
from mssgw.dossier.setup import Setup
from tests.dmp.client.test_answers import payload
from tests.dmp.client.test_documents import entry_of, submission_of
from tests.dmp.conftest import Running, structure

PATIENT = Ins("279035121518989", InsKind.NIR_TEST)


class Kept(Exchange):
    """A transport that keeps what is to be sent, and answers nothing."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    async def post(self, name, url, media_type, body, *, progress=None) -> Answer:
        self.sent.append((url, media_type.encode() + b"\n" + body))
        raise Unavailable("no answer", sent=False)

    async def aclose(self) -> None:
        return


@dataclass
class Ask:
    """One request of an actor: of `url`, these octets."""

    url: str
    octets: bytes


async def exists(dmp: Dmp, actor: Actor) -> None:
    await dmp.td02_existence(Call(actor, PATIENT))


async def listed(dmp: Dmp, actor: Actor) -> None:
    await dmp.td04_list(Call(actor), date(2020, 1, 31))


async def found(dmp: Dmp, actor: Actor) -> None:
    samu = replace(actor, structure=structure(id="10B0000015"))
    await dmp.td05_search(Call(samu, None, AccessMode.CENTRE_15), IdentityQuery("X"))


async def professionals(dmp: Dmp, actor: Actor) -> None:
    await dmp.td16_professionals(Call(actor, PATIENT))


async def submitted(dmp: Dmp, actor: Actor) -> None:
    call = Call(actor, PATIENT)
    await dmp.td21_submit(call, submission_of(dmp, call), [Document(entry_of(call, "1.2.3"), b"<a  />")])


async def retrieved(dmp: Dmp, actor: Actor) -> None:
    await dmp.td32_retrieve(Call(actor, PATIENT), [entry_of(Call(actor, PATIENT), "1.2.3")])


async def deleted(dmp: Dmp, actor: Actor) -> None:
    entry = replace(entry_of(Call(actor, PATIENT), "1.2.3"), entry_uuid="urn:uuid:1", status=AvailabilityStatus.APPROVED)
    await dmp.td33c_delete(Call(actor, PATIENT), entry)


async def three_at_once(dmp: Dmp, actor: Actor) -> None:
    await dmp.td31a_documents_and_associations(Call(actor, PATIENT), [f"urn:uuid:{n}" for n in "123"])


async def named_by_insi(dmp: Dmp, actor: Actor) -> None:
    await dmp.td02_existence(Call(actor, dmp.settings.in_dmp(Ins(PATIENT.value, InsKind.NIR))))


def structured(ask: Callable[..., Any]) -> Callable[..., Any]:
    """The same, by the structure's certificate."""

    async def asking(dmp: Dmp, actor: Actor) -> None:
        await ask(dmp, replace(actor, authentication=AuthenticationMode.INDIRECT))

    return asking


def by_psc(ask: Callable[..., Any]) -> Callable[..., Any]:
    """The same in AIR."""

    async def asking(dmp: Dmp, actor: Actor) -> None:
        await ask(dmp, replace(actor, authentication=AuthenticationMode.AIR))

    return asking


SHA1, DECLARED = b"http://www.w3.org/2000/09/xmldsig#rsa-sha1", b"AuthnContextDecl>urn:x</"
# setting -> (value, who asks, octets that then are in the request, octets that are without it)
PROTOCOL: dict[str, tuple[Any, Callable[..., Any], bytes, bytes]] = {
    "receiver_oid": ("1.2.3.4", exists, b'<id root="1.2.3.4"/>', b'root="1.2.250.1.213.4.1.1.1"'),
    "receiver_name": ("DMP-TEST", exists, b"<softwareName>DMP-TEST<", b"<softwareName>DMP<"),
    "repository_oid": ("1.2.3.5", retrieved, b"RepositoryUniqueId>1.2.3.5<", b"RepositoryUniqueId>1.2.250.1.213.4.1.1.1.2<"),
    "processing_code": ("T", exists, b'processingCode code="T"', b'processingCode code="D"'),
    "ins_oid": (
        "1.2.250.1.213.1.4.11", named_by_insi,
        b'root="1.2.250.1.213.1.4.11" extension="279035121518989"', b'root="1.2.250.1.213.1.4.10" extension="279035121518989"',
    ),
    "documents_per_query": (2, three_at_once, b"", b"'urn:uuid:3'"),
    "start_date_format": ("%d%m%Y", listed, b"startDate>31012020<", b"startDate>20200131000000<"),
    "action_td0_2": ("urn:x", exists, b">urn:x<", b">urn:hl7-org:v3:PRPA_IN201307UV02<"),
    "action_td0_5": ("urn:x", found, b">urn:x<", b">urn:hl7-org:v3:PRPA_IN201305UV02<"),
    "actions": ({"TD1.6": "urn:x"}, professionals, b">urn:x<", b":listAuthorizationByPatient<"),
    "signature": ("rsa-sha1", submitted, SHA1, b""),
    "signature_canonical": (False, submitted, b"", b"urn:oid:1.2.3\"><ds:Transforms>"),
    "update_content_type": ("04", deleted, b'nodeRepresentation="04"', b'nodeRepresentation="07"'),
}  # fmt: skip
VIHF: dict[str, tuple[Any, Callable[..., Any], bytes, bytes]] = {
    "version": ("4.0", exists, b">4.0<", b">3.0<"),
    "attributes": ({"Authentification_mode": "Authentification_Mode"}, exists, b'"Authentification_Mode"', b'"Authentification_mode"'),
    "name_in_direct_mode": (False, exists, b"", b"subject:subject-id"),
    "value_type": ("", exists, b'Name="Ressource_URN"><saml2:AttributeValue>urn:dmp<', b'xsi:type="xs:string"'),
    "lps_id": ("01.02", exists, b'"LPS_ID"><saml2:AttributeValue xmlns:xs="http://www.w3.org/2001/XMLSchema" xsi:type="xs:string">01.02<', b">1.2.250.1.213.1.1.9.1<"),
    "lps_name": ("OUTIL", exists, b">OUTIL<", b'string">mssgw<'),
    "lps_version": ("9.9", exists, b">9.9<", b""),
    "access_mode_system": ("1.2.250.1.213.1.1.4.336", exists, b'"1.2.250.1.213.1.1.4.336"', b'"1.2.250.1.213.1.1.4.248"'),
    "access_mode_system_name": ("mode acces VIHF 1.0", exists, b'"mode acces VIHF 1.0"', b'"mode acces VIHF 2.0"'),
    "access_mode_names": ({"normal": "Acces normal"}, exists, b'"Acces normal"', "Accès normal".encode()),
    "profession_system_name": ("professions", exists, b'codeSystemName="professions"', b""),
    "speciality_system_name": ("specialites RPPS", exists, b'codeSystemName="specialites RPPS"', b""),
    "algorithm": ("rsa-sha1", exists, SHA1, b"rsa-sha256"),
    "issuer_format": ("urn:f", exists, b'Issuer Format="urn:f"', b"nameid-format:X509SubjectName"),
    "conditions": (True, exists, b"<saml2:Conditions NotBefore=", b""),
    "direct_class": ("urn:x", exists, b"AuthnContextClassRef>urn:x<", b"SmartcardPKI"),
    "indirect_class": ("urn:x", structured(exists), b"AuthnContextClassRef>urn:x<", b"SmartcardPKI"),
    "air_class": ("urn:x", by_psc(exists), b"AuthnContextClassRef>urn:x<", b"AuthnContextClassRef>urn:oasis"),
    "air_declaration": ("urn:x", by_psc(exists), DECLARED, b"AuthnContextDecl>urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI<"),
}  # fmt: skip
ELSEWHERE = {
    "service_urls",
    "ins_oids",
    "ins_keys",
    "answer_dates",
    "answer_zone",
    "mask_and_hide_together",
    "not_after_name",
    "lifetime_seconds",
}


@pytest.fixture
def settings_of(write_config) -> Callable[..., DmpSettings]:
    def make(**tables: Any) -> DmpSettings:
        path: Path = write_config(**tables)
        return Setup.of(load(path), path).settings("", None)

    return make


@pytest.fixture
def asked(settings_of, dmp_running: Running, doctor: Actor) -> Callable[..., Any]:
    async def ask(how: Callable[..., Any], **tables: Any) -> Ask:
        kept = Kept()
        async with Dmp(settings_of(**tables), dmp_running.signer, exchange=kept, now=dmp_running.clock) as dmp:
            with pytest.raises(Unavailable):
                await how(dmp, doctor)
        return Ask(*kept.sent[0])

    return ask


@pytest.mark.parametrize(("table", "name"), [("protocol", n) for n in PROTOCOL] + [("vihf", n) for n in VIHF])
async def test_a_setting_changes_what_is_sent(asked, table: str, name: str) -> None:
    value, how, then, before = {"protocol": PROTOCOL, "vihf": VIHF}[table][name]
    usual, other = (await asked(how)).octets, (await asked(how, **{table: {name: value}})).octets
    assert not then or (then not in usual and then in other)
    assert not before or (before in usual and before not in other)
    assert then or before


def test_every_setting_is_tried() -> None:
    tried = {*PROTOCOL, *VIHF, *ELSEWHERE}
    assert tried == {f.name for table in (DmpProtocol, DmpVihf) for f in msgspec.structs.fields(table)}


async def test_a_service_may_have_an_address_of_its_own(asked) -> None:
    assert (await asked(exists)).url.endswith("/si-dmp-server/v2/services/patients")
    apart = {"service_urls": {"patients": "https://127.0.0.1:9/p"}}
    assert (await asked(exists, protocol=apart)).url == "https://127.0.0.1:9/p"
    assert (await asked(listed, protocol=apart)).url.endswith("/patientsSpecific")


async def test_the_homologation_number_is_sent_out_of_its_file(asked, tmp_path: Path) -> None:
    (tmp_path / "homologation").write_text("H-1234\n")
    assert b"LPS_ID_HOMOLOGATION_DMP" not in (await asked(exists)).octets
    sent = (await asked(exists, homologation="file:homologation")).octets
    assert (
        b'"LPS_ID_HOMOLOGATION_DMP"><saml2:AttributeValue xmlns:xs="http://www.w3.org/2001/XMLSchema" xsi:type="xs:string">H-1234<' in sent
    )


async def test_the_life_of_an_assertion_is_sent_where_conditions_are(asked) -> None:
    sent = (await asked(exists, vihf={"conditions": True, "not_after_name": "NotAfter", "lifetime_seconds": 8})).octets
    facts = sent.partition(b"<saml2:Conditions ")[2].partition(b">")[0].decode()
    assert "NotOnOrAfter" not in facts
    begin, end = (facts.partition(f'{name}="')[2].partition('"')[0] for name in ("NotBefore", "NotAfter"))
    assert (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() == 8


async def test_masked_and_hidden_at_once_may_be_forbidden(settings_of, dmp_running: Running, doctor: Actor) -> None:
    kept, call = Kept(), Call(doctor, PATIENT)
    both = entry_of(call, "1.2.3").with_visibility(frozenset({Visibility.MASKED, Visibility.HIDDEN_FROM_PATIENT}))
    for together, refusal in ((True, Unavailable), (False, BadDocument)):
        async with Dmp(settings_of(protocol={"mask_and_hide_together": together}), dmp_running.signer, exchange=kept) as dmp:
            with pytest.raises(refusal):
                await dmp.td21_submit(call, submission_of(dmp, call), [Document(both, b"<a/>")])
    assert len(kept.sent) == 1


def test_dates_of_answers_and_oids_of_an_ins(settings_of) -> None:
    settings = settings_of(protocol={"answer_dates": ["%d/%m/%Y"], "answer_zone": "Europe/Paris", "ins_oids": ["1.2.250.1.213.1.4.8"]})
    answer, dates = payload("td16-answer.xml"), own.DateForms(settings.answer_dates, settings.answer_zone)
    with pytest.raises(DmpError, match="date"):
        own.read_authorisations(answer, dates)
    for moment in ("startOfAuthorization", "lastActionDate"):
        answer[0][0].find(f"{{{own.RIGHTS}}}{moment}").text = "02/01/2026"  # type: ignore[union-attr]
    assert own.read_authorisations(answer, dates)[0].since == datetime(2026, 1, 1, 23, tzinfo=UTC)  # midnight in Paris
    listed = own.read_patient_list(payload("td04-answer.xml"), oids=settings.ins_oids)
    assert [row.ins for row in listed] == [None, None]  # numbers of tests are no INS there


def test_a_typed_number_whose_key_is_wrong(settings_of) -> None:
    accepting = settings_of(protocol={"ins_keys": {"1.2.250.1.213.1.4.10": "accept"}})
    wrong = "279035121518900"
    assert Ins.typed(wrong, accepting.ins_oid, policy=accepting.ins_keys).value == wrong
    with pytest.raises(BadIns):
        Ins.typed(wrong, "1.2.250.1.213.1.4.8", policy=accepting.ins_keys)


def test_the_environment_decides_what_is_not_set(settings_of) -> None:
    usual, production = settings_of(), settings_of(production=True)
    assert (usual.processing_code, usual.ins_oid) == ("D", InsKind.NIR_TEST)
    assert (production.processing_code, production.ins_oid) == ("P", InsKind.NIR)
    assert production.ins_oids == (InsKind.NIR, InsKind.NIA)
    assert set(usual.ins_oids) == {InsKind.NIR, InsKind.NIA, InsKind.NIR_TEST, InsKind.NIR_DEMO}


def test_the_configuration_and_the_library_have_the_same_defaults(settings_of) -> None:
    """Who uses the library alone gets what mssgw gets."""
    configured = settings_of()
    bare = DmpSettings(configured.url, configured.anchors, configured.certificate, configured.key)
    assert configured.vihf == VihfSettings()
    own_fields = {"software", "legacy_dossier_management", "limits", "anchors", "trace"}
    for field in fields(DmpSettings):
        if field.name not in own_fields:
            assert getattr(configured, field.name) == getattr(bare, field.name), field.name


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"protocol": {"service_urls": {"patient": "https://a"}}}, "patientsSpecific"),
        ({"protocol": {"service_urls": {"patients": "http://a"}}}, "https"),
        ({"protocol": {"processing_code": "X"}}, "processing_code"),
        ({"protocol": {"receiver_oid": "DMP"}}, "receiver_oid"),
        ({"vihf": {"access_mode_names": {"nuit": "x"}}}, "bris_de_glace"),
        ({"vihf": {"attributes": {"Authentification_mod": "x"}}}, "Authentification_mode"),
        ({"protocol": {"actions": {"TD9.9": "x"}}}, "TD3.3d"),
        ({"protocol": {"start_date_format": "%Q"}}, "%Q"),
        ({"protocol": {"answer_dates": ["jour"]}}, "jour"),
        ({"protocol": {"answer_zone": "Lune"}}, "Lune"),
        ({"vihf": {"lifetime_seconds": 0}}, "lifetime_seconds"),
        ({"vihf": {"mode_attribute": "x"}}, "mode_attribute"),
    ],
)
def test_a_mistake_in_a_setting_is_named(write_config, tables: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(write_config(**tables))


def test_the_configuration_knows_the_attributes_that_are_sent(doctor: Actor) -> None:
    now = datetime.now(UTC)
    software = Software("lps", "1", "1.2", "H")
    element = vihf.build(Call(doctor, PATIENT, secret=True), software, VihfSettings(), issuer="CN=x", now=now)
    assert tuple(a.get("Name") for a in element.iter(f"{{{vihf.SAML}}}Attribute")) == ATTRIBUTES


async def test_the_samples_are_what_is_sent(asked, doctor: Actor, dmp_running: Running) -> None:
    """Order and form of the published VIHF samples: attribute by attribute."""
    sent = (await asked(exists)).octets.decode()
    parts = sent.partition("<saml2:AttributeStatement>")[2].split('<saml2:Attribute Name="')[1:]
    assert [part.partition('"')[0] for part in parts] == [
        "Identifiant_Structure", "Secteur_Activite", "urn:oasis:names:tc:xspa:1.0:subject:subject-id",
        "urn:oasis:names:tc:xacml:2.0:subject:role", "VIHF_Version", "Authentification_mode",
        "urn:oasis:names:tc:xacml:2.0:resource:resource-id", "Ressource_URN", "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse",
        "LPS_ID", "LPS_Nom", "LPS_Version",
    ]  # fmt: skip
    assert 'codeSystemName="mode acces VIHF 2.0" displayName="Accès normal"' in sent
    assert "Conditions" not in sent
    assert f">{subject_text(dmp_running.signer.certificate)}<" in sent


def test_a_name_is_written_by_rfc_4514() -> None:
    """The dotted types of a card's subject stand with their value as # and hex, whatever string type it has."""
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "TEST"),
            x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, 'Médecin, "+" #1'),
        ]
    )
    assert names.distinguished_name(_inner(name.public_bytes())) == 'OU=Médecin\\, \\"\\+\\" #1,O=TEST,C=FR'
    card = x509.Name(
        [
            x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "FR")]),
            x509.RelativeDistinguishedName(
                [
                    x509.NameAttribute(x509.NameOID.COMMON_NAME, "899900000001"),
                    x509.NameAttribute(x509.NameOID.SURNAME, "LEKA"),
                ]
            ),
        ]
    )
    assert names.distinguished_name(_inner(card.public_bytes())) == "2.5.4.4=#0c044c454b41+CN=899900000001,C=FR"  # as encoded
    latin = bytes.fromhex("310f300d060355040b14064de964656369")  # OU as TeletexString in ISO 8859-1, as older cards have it
    assert names.distinguished_name(latin) == "OU=Médeci"
    with pytest.raises(ValueError, match="cut"):
        names.distinguished_name(latin[:-1])


def _inner(der: bytes) -> bytes:
    return der[2:] if der[1] < 0x80 else der[2 + (der[1] & 0x7F) :]
