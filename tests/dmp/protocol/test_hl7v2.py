"""HL7 v2 of hospitals and of the drimbox fixtures, read correctly; rubbish refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmp_connector import hl7v2
from dmp_connector.errors import BadInput, DmpError
from dmp_connector.hl7v2 import ConsultationWill, FeedingWill
from dmp_connector.model import Ins, InsKind, Sex, Visibility
from dmp_connector.wire.xml import parse
from tests.material import place

DATA = place("dmp/hl7v2-exemples")
DRIMBOX = place("dmp/drimbox/Backend/src/test/resources/patient1.hl7")
WILLS = DATA / "Vague 2" / "Consentement_DMP_PAMFR"
ORU = DATA / "Volets" / "TRANS_DOC_CDA_HL7V2" / "V2.1" / "ORU" / "Transmission initiale ORU"
needs_data = pytest.mark.material("dmp/hl7v2-exemples")


def read(path: Path) -> hl7v2.Message:
    return hl7v2.parse(path.read_bytes())


@needs_data
@pytest.mark.parametrize(
    ("name", "feeding", "consultation"),
    [
        ("ConsentementConsultation_NonOppositionAlimentation", "INO", "IC"),
        ("NonConsentementConsultation_NonOppositionAlimentation", "INO", "INC"),
        ("NonConsentementConsultation_OppositionAlimentation", "IO", "INC"),
        ("NonRecueillieConsentementConsultation_NonOppositionAlimentation", "INO", "NA"),
        ("NonRecueillieConsentementConsultation_NonRecueillieOppositionAlimentation", "NA", "NA"),
    ],
)
def test_the_two_wills(name: str, feeding: str, consultation: str) -> None:
    found = hl7v2.will(read(WILLS / f"{name}.er7"))
    assert found is not None
    assert found.feeding is FeedingWill(feeding)
    assert found.consultation is ConsultationWill(consultation)
    assert (found.feeding_at is None) == (feeding == "NA")
    assert (found.consultation_at is None) == (consultation == "NA")
    assert found.active


@needs_data
def test_the_patient_of_a_pam_message() -> None:
    found = hl7v2.patient(read(WILLS / "ConsentementConsultation_NonOppositionAlimentation.er7"))
    assert found.ins == Ins("279035121518989", InsKind.NIR_TEST)
    assert (found.birth_name, found.given_names) == ("PAT-TROIS", "DOMINIQUE")
    assert (found.birth_date, found.sex, found.birth_place) == (date(1979, 3, 28), Sex.F, "63220")
    assert found.local_id is not None
    assert (found.local_id.value, found.local_id.oid) == ("000003", "000897406")


@needs_data
def test_feedback_of_the_dmp_keeps_its_code() -> None:
    found = hl7v2.feedback(read(ORU / "Message metier reception DMP"))
    assert (found.kind, found.of, found.accepted) == ("ACK_RECEPTION_DMP", "015", False)
    assert found.errors == (("DMPClosed", "DMP fermé", "DMPERRORCODE"),)


@needs_data
def test_feedback_of_the_mail() -> None:
    received = hl7v2.feedback(read(ORU / "Message metier reception MSS"))
    assert (received.kind, received.accepted) == ("ACK_RECEPTION_MSS", True)
    assert received.recipient == "adam.hoda@test-ci-sis.mssante.fr"
    assert hl7v2.feedback(read(ORU / "Message metier lecture MSS")).kind == "ACK_LECTURE_MSS"
    acknowledged = hl7v2.feedback(read(ORU / "ack.hl7"))
    assert (acknowledged.kind, acknowledged.of, acknowledged.accepted) == ("ACK", "015", True)


@needs_data
def test_a_document_and_where_it_may_go() -> None:
    path = next(DATA.rglob("message_MDM_CR_Radio_INIT_N1_Base64.er7"))
    message = read(path)
    found = hl7v2.transmission(message)
    assert found.visibility == {Visibility.HIDDEN_FROM_PATIENT, Visibility.HIDDEN_FROM_REPRESENTATIVES}
    assert (found.to_dmp, found.to_professionals, found.to_patient) == (True, True, False)
    assert found.secret
    assert parse(found.document).tag == "{urn:hl7-org:v3}ClinicalDocument"
    assert hl7v2.patient(message).ins.value == "279035121518989"


@pytest.mark.material("dmp/drimbox")
def test_the_message_of_drimbox() -> None:
    found = hl7v2.transmission(read(DRIMBOX))
    assert parse(found.document).tag == "{urn:hl7-org:v3}ClinicalDocument"
    assert found.visibility == frozenset()
    assert (found.to_dmp, found.to_professionals, found.to_patient) == (True, True, True)


@pytest.mark.parametrize("data", [b"", b"PID|1", b"MSH|^~", b"MSHAAAAAA", b"MSH|||||"])
def test_not_hl7(data: bytes) -> None:
    with pytest.raises(BadInput):
        hl7v2.parse(data)


def test_escapes_and_delimiters_of_the_sender() -> None:
    message = hl7v2.parse(b"MSH#*~\\&#A#B\rPID###279035121518989***x&1.2.250.1.213.1.4.10&ISO*INS##O\\S\\NEIL*ZOE*****L##19790328#F\r")
    found = hl7v2.patient(message)
    assert found.birth_name == "O*NEIL"
    assert found.ins.value == "279035121518989"


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for prefix in (b"", b"MSH|^~\\&|A|B|||||ZAM^Z01|1\r", b"MSH|^~\\&|A|B|||||ACK|1\rPID|"):
        try:
            message = hl7v2.parse(prefix + data)
        except DmpError:
            continue
        for reader in (hl7v2.patient, hl7v2.will, hl7v2.feedback, hl7v2.transmission):
            try:
                reader(message)
            except DmpError:
                continue
