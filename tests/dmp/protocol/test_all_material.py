"""Every file of others for this part is read by a test, or listed here with the reason why it is not.

A file that appears in one of the folders and is in no list fails: material that nobody reads proves nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dmp_connector import hl7v2
from dmp_connector.cda.metadata import describe
from dmp_connector.cda.narrative import to_html
from dmp_connector.cda.read import read as read_cda
from dmp_connector.errors import BadDocument, BadInput
from tests.material import files

FOLDERS = (
    "dmp/drimbox",
    "dmp/hl7v2-exemples",
    "dmp/tlsi-ins",
    "mssante/hl7v2-mdm-courriel-mss",
    "mssante/hl7v2-outbound-dmp-mss",
    "schemas/ipf-samples",
)
PROSE = {".md", ""}  # explanations and licences; messages without ending are named in FEEDBACK
FEEDBACK = {"Message metier lecture MSS", "Message metier reception DMP", "Message metier reception MSS"}
READ_ELSEWHERE = {  # protocol/test_reading_others.py, with what they say
    "REP_CR01.xml", "TEST_2.04_cas2.xml", "TEST_2.05.xml", "TEST_2.08_cas1.xml", "TEST_2.08_cas2.xml", "siram_100-desir_550.fixture.ts",
    "SubmitObjectsRequest_ebrs30.xml", "SubmitObjectsRequest_ebrs3_extra_metadata.xml", "iti18request.xml", "saml2-assertion-for-xua.xml",
}  # fmt: skip
NOT_READ = {
    "kos.dcm": "a DICOM object: the connector carries it as octets and never looks inside",
}
BROKEN = {  # their base64 ends in the middle; a deletion needs only the ids of TXA
    "message_MDM_CR_Radio_DEL_N1.er7": "not base64",
    "mdm_T04_delete_CRRadio_full.er7": "not base64",
}
NO_PATIENT = {"patient1.hl7": "no PID"}  # of the DRIMbox: a document without the identity it belongs to

pytestmark = pytest.mark.material(*FOLDERS)


def material() -> list[Path]:
    return [path for folder in FOLDERS for path in files(folder)]


def is_message(path: Path) -> bool:
    return path.suffix in {".er7", ".hl7"} or path.name in FEEDBACK


def is_document(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and path.name not in READ_ELSEWHERE


MESSAGES = [path for path in material() if is_message(path)]
DOCUMENTS = [path for path in material() if is_document(path)]


def test_every_file_is_accounted_for():
    known = {*READ_ELSEWHERE, *NOT_READ}
    strange = [p.name for p in material() if not is_message(p) and not is_document(p) and p.name not in known and p.suffix not in PROSE]
    assert strange == []
    assert {p.name for p in material()} >= known
    assert (len(MESSAGES), len(DOCUMENTS)) == (30, 9)


@pytest.mark.parametrize("path", MESSAGES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_message_is_read(path: Path) -> None:
    message = hl7v2.parse(path.read_bytes())
    family = message.kind.partition("^")[0]
    if family in {"ACK", "ZAM"}:
        assert hl7v2.feedback(message).of == "015"
        return
    if path.name in NO_PATIENT:
        with pytest.raises(BadInput, match=NO_PATIENT[path.name]):
            hl7v2.patient(message)
    else:
        assert hl7v2.patient(message).ins.value == "279035121518989"
    if family == "ADT":
        assert hl7v2.will(message) is not None
    elif path.name in BROKEN:
        with pytest.raises(BadDocument, match=BROKEN[path.name]):
            hl7v2.transmission(message)
    else:
        assert hl7v2.transmission(message).document


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_document_is_read(path: Path) -> None:
    content = path.read_bytes()
    entry = describe(content)
    assert entry.patient.value
    assert entry.unique_id
    document = read_cda(content)
    assert document.embedded() if document.unstructured is not None else to_html(document)
