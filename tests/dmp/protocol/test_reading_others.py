"""What others wrote is read correctly: IPF's ebRIM and SAML, official INSi answers, faults seen in the field."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import pytest
from lxml import etree

from dmp_connector import insi
from dmp_connector.ebxml import read_query, read_registry
from dmp_connector.errors import BadAnswer, CertificateRefused, Refused
from dmp_connector.insi import Outcome
from dmp_connector.model import Code, Dtm, Ins, InsKind, Sex
from dmp_connector.proof import vihf
from dmp_connector.settings import Limits
from dmp_connector.wire import soap
from dmp_connector.wire.xml import parse
from tests.dmp.protocol import schemas
from tests.material import OURS

SAMPLES = OURS / "schemas/ipf-samples"
INSI = OURS / "dmp/tlsi-ins"


@pytest.mark.parametrize("name", ["SubmitObjectsRequest_ebrs30.xml", "SubmitObjectsRequest_ebrs3_extra_metadata.xml"])
def test_ebrim_of_ipf(name: str) -> None:
    found = read_registry(parse((SAMPLES / name).read_bytes()))
    (entry,) = found.entries
    assert entry.entry_uuid == "Document01"
    assert entry.unique_id == "1.3.6.1.4.1.21367.2005.3.9999.32"
    assert entry.patient == Ins("SELF-5", "1.3.6.1.4.1.21367.2005.3.7")
    assert entry.type == Code("34108-1", "LOINC")
    assert entry.type.label == "Outpatient Evaluation And Management"
    assert entry.class_code == Code("History and Physical", "Connect-a-thon classCodes")
    assert entry.title == "Physical"
    assert entry.created == Dtm.parse("20051224")
    assert str(entry.created) == "20051224"
    assert str(entry.service_start) == "200412230800"
    assert entry.source_patient_info[1] == "PID-5|Doe^John^^^"
    assert [a.person.family for a in entry.authors if a.person] == ["Gerald Smitty"]
    assert entry.authors[0].institution is not None
    assert entry.authors[0].institution.name == "Cleveland Clinic"
    assert entry.authors[0].specialties == ("Orthopedic",)
    assert entry.confidentiality == (Code("1.3.6.1.4.1.21367.2006.7.101", "Connect-a-thon confidentialityCodes"),)
    (submission,) = found.submission_sets
    assert submission.unique_id == "1.3.6.1.4.1.21367.2005.3.9999.33"
    assert submission.content_type.code
    assert submission.comments == "Annual physical"
    assert {a.target for a in found.associations} >= {"Document01"}


def test_stored_query_of_ipf() -> None:
    query = read_query(parse((SAMPLES / "iti18request.xml").read_bytes()))
    assert query.id == "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"
    assert query.return_type == "LeafClass"
    assert query.one("$XDSDocumentEntryStatus").endswith(":Approved")
    assert query.one("$XDSDocumentEntryCreationTimeFrom") == "20221015151515"
    assert query.one("$XDSDocumentEntryPatientId").startswith("593603^^^&2.16.756.5.33.2.5.1.5.1&ISO'")


def test_saml_of_ipf() -> None:
    root = parse((SAMPLES / "saml2-assertion-for-xua.xml").read_bytes())
    claims = vihf.read(root[0])
    assert claims.subject == "lipse"
    assert claims.issuer == "demo.com"
    assert claims.issued == datetime(2011, 3, 29, 9, 44, 41, tzinfo=UTC)
    assert claims.not_after == datetime(2011, 3, 29, 9, 54, 40, tzinfo=UTC)
    assert [r.code for r in claims.roles] == ["ELE", "HCP", "GYN"]  # garbage values left out
    assert claims.mode == "12"
    assert claims.patient == "543797436^^^&1.2.840.113619.6.197&ISO"
    assert claims.name == "Dr. Klaus-Peter Kohlrabi"


def answer_of(name: str) -> insi.InsiAnswer:
    return insi.read_answer("application/soap+xml", (INSI / name).read_bytes())


def test_insi_found_with_history() -> None:
    answer = answer_of("TEST_2.04_cas2.xml")
    person = answer.require_found()
    assert person.ins == Ins("109076322083489", InsKind.NIR)
    assert (person.birth_name, person.given_names) == ("ECETINSI", "PIERRE-ALAIN MURIEL FLORIANT")
    assert (person.birth_date, person.sex, person.birth_place) == (date(2009, 7, 14), Sex.M, "63220")
    assert [old.value for old in answer.history] == ["209076322083439", "209066322012355"]


def test_insi_nobody() -> None:
    answer = answer_of("REP_CR01.xml")
    assert answer.outcome is Outcome.NONE
    assert answer.patient is None
    with pytest.raises(Exception, match="nobody fits"):
        answer.require_found()


def test_insi_provisional_number() -> None:
    assert answer_of("TEST_2.05.xml").require_found().ins.oid == InsKind.NIA


def test_insi_corsica() -> None:
    person = answer_of("TEST_2.08_cas1.xml").require_found()
    assert person.ins.value == "180032B02040123"
    assert person.ins.key_holds
    assert person.birth_place == "2B020"


def test_an_ins_from_insi_is_accepted_with_a_wrong_key() -> None:
    """Official test data: the register answers a key that the formula does not give; it is not refused."""
    person = answer_of("TEST_2.08_cas2.xml").require_found()
    assert person.ins.value == "181036322045660"
    assert not person.ins.key_holds


def test_insi_fault_keeps_its_codes() -> None:
    source = (INSI / "siram_100-desir_550.fixture.ts").read_text("utf-8")
    text = re.search(r'= "(.*)";', source, re.DOTALL)
    assert text is not None
    body = text[1].replace('\\"', '"').replace("\\n", "\n").encode()
    with pytest.raises(Refused) as refused:
        insi.read_answer("application/soap+xml", body)
    assert refused.value.code == "desir_550"
    assert refused.value.text.startswith("L'accès par ce progiciel")
    assert "Numéro d'autorisation du logiciel inconnu." in refused.value.context


def fault(code: str, subcode: str, text: str) -> soap.Fault:
    body = soap.compose_fault(code, subcode, text)
    found = soap.read_fault(soap.read("application/soap+xml", body, Limits()).payload)
    assert found is not None
    return found


def test_faults_of_the_field() -> None:
    error = fault("Sender", "Sender", "Not a valid signature certificate").error()
    assert isinstance(error, CertificateRefused)
    unknown = fault("Sender", "DMPQuelqueChose", "Texte du serveur").error()
    assert type(unknown) is Refused
    assert (unknown.code, unknown.text) == ("DMPQuelqueChose", "Texte du serveur")


def test_soap_11_faults_too() -> None:
    body = (
        b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode>'
        b"<faultstring>Structure introuvable ou Inactive</faultstring></s:Fault></s:Body></s:Envelope>"
    )
    found = soap.read_fault(soap.read("text/xml", body, Limits()).payload)
    assert found is not None
    assert (found.code, found.text) == ("Client", "Structure introuvable ou Inactive")


def test_answers_about_somebody_else_are_not_read() -> None:
    from dmp_connector.hl7v3.read import read_dossier

    root = etree.fromstring(
        b'<PRPA_IN201308UV02 xmlns="urn:hl7-org:v3"><acknowledgement typeCode="AA"/><controlActProcess><subject><registrationEvent>'
        b'<subject1><patient><id root="1.2.250.1.213.1.4.10" extension="279035121518989"/><statusCode code="active"/></patient></subject1>'
        b'</registrationEvent></subject><queryAck><queryResponseCode code="OK"/></queryAck></controlActProcess></PRPA_IN201308UV02>'
    )
    assert read_dossier(root, Ins("279035121518989", InsKind.NIR_TEST)).state.value == "ACTIVE"
    with pytest.raises(BadAnswer, match="another patient"):
        read_dossier(root, Ins("277076322082910", InsKind.NIR_TEST))


@schemas.needs_schemas
def test_the_schemas_do_refuse() -> None:
    """Negative control of tests/dmp/protocol/test_schemas.py."""
    from dmp_connector.hl7v3 import names, write
    from dmp_connector.hl7v3.common import Frame

    frame = Frame("1.2.3", "t", "1.2.4", "DMP", "D", datetime.now(UTC))
    good = write.demographics_query(Ins("279035121518989", InsKind.NIR_TEST), names.Reason.EXISTENCE, frame)
    assert schemas.require_valid(good, {}) == "PRPA_IN201307UV02"
    good.remove(good.find("{urn:hl7-org:v3}creationTime"))
    with pytest.raises(etree.DocumentInvalid):
        schemas.require_valid(good, {})
