"""A mail with documents: what other readers find in it, and what is refused before anything is sent."""

from __future__ import annotations

import email
import email.policy
import io
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from dmp_connector import xdm
from dmp_connector.cda.level1 import Level1, build_level1
from dmp_connector.cda.metadata import describe
from dmp_connector.errors import BadDocument
from dmp_connector.model import Author, Code, Ins, InsKind, Institution, Person, Visibility
from dmp_connector.paper.pdf import require_pdfa1
from dmp_connector.paper.printer import Printer
from mssgw.core.address import Address, Domain
from mssgw.exchange.composing import MOST_DOCUMENTS, Enclosure, Letter, Profile, Source, compose, enclose
from mssgw.exchange.errors import NotSendable
from mssgw.exchange.naming import fields, pdf_names
from tests.dmp.documents.conftest import CABINET, DOCTOR, PATIENT, pdf, wanted  # noqa: F401 - fixtures

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DURAND = Address.parse("paul.durand@beta.mssante.test")
CITIZEN = Address.parse(f"{PATIENT.ins.value}@patient.mssante.fr")
PROFILE = Profile("1.2.250.1.999.1", Domain("patient.mssante.fr"), 35_000_000, 25_000_000, "DEV935997")
LETTER = Letter(Address.parse("jeanne.martin@alpha.mssante.test"), "Jeanne MARTIN", (DURAND,))
SOURCE = Source(Author(Person.of(DOCTOR), Institution.of(CABINET)), Code("07", "1.2.250.1.213.2.2"), "Jeanne MARTIN", "Cabinet Martin")


@pytest.fixture
def enclosure(wanted: Level1) -> Enclosure:  # noqa: F811 - a fixture
    cda = build_level1(wanted)
    with Printer() as printer:
        return enclose(describe(cda), cda, printer)


def another(one: Enclosure, **entry: object) -> Enclosure:
    return replace(one, entry=replace(one.entry, **entry))


def composed(*enclosures: Enclosure, letter: Letter = LETTER, profile: Profile = PROFILE) -> EmailMessage:
    octets = compose(letter, enclosures, PATIENT, SOURCE, profile, AT)
    assert b"\n" not in octets.replace(b"\r\n", b"")
    header, _, content = octets.partition(b"\r\n\r\n")
    assert max(map(len, header.split(b"\r\n"))) <= 200
    assert max(map(len, content.split(b"\r\n"))) <= 200
    assert octets.count(b"MIME-Version") == 1
    read = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    assert not read.defects
    return read


def attached(message: EmailMessage) -> dict[str, bytes]:
    return {part.get_filename(): part.get_content() for part in message.iter_attachments()}


def test_a_mail_has_the_archive_and_a_pdfa_of_each_document(enclosure):
    message = composed(enclosure)
    assert message["Subject"] == "XDM/1.0/DDM+Lettre de liaison a la sortie d'un etabl PAT-TROIS DOMINIQUE 28/03/1979"
    assert [message[name] for name in ("X-MSS-CODECDA", "X-MSS-INS", "X-MSS-NIL", "X-MSS-MES")] == ["11490-0", "O", "DEV935997", None]
    assert message["From"] == "Jeanne MARTIN <jeanne.martin@alpha.mssante.test>"
    assert message["To"] == str(DURAND)
    files = attached(message)
    assert list(files) == ["IHE_XDM.ZIP", "20260102_Lettre de liaison à la sortie d'un établissement de soins_PAT-TROIS_DOMINIQUE.pdf"]
    archive, paper = files.values()
    require_pdfa1(paper)
    read = xdm.read(archive)
    assert read.notes == ()
    assert read.patient == PATIENT.ins
    (document,) = read.documents
    assert document.content == enclosure.cda
    assert document.entry.unique_id == enclosure.entry.unique_id
    with zipfile.ZipFile(io.BytesIO(archive)) as listed:
        assert listed.testzip() is None
        assert "IHE_XDM/SUBSET01/METADATA.XML" in listed.namelist()
    words = message.get_body(("plain",)).get_content()
    assert "PAT-TROIS DOMINIQUE, né(e) le 28/03/1979" in words
    assert "- Lettre de liaison à la sortie, du 02/01/2026 (Jeanne MARTIN)" in words


def test_the_same_letter_gives_the_same_octets(enclosure):
    assert compose(LETTER, [enclosure], PATIENT, SOURCE, PROFILE, AT) == compose(LETTER, [enclosure], PATIENT, SOURCE, PROFILE, AT)


def test_what_the_registry_knows_of_a_document_does_not_leave(enclosure):
    known = another(
        enclosure,
        entry_uuid="urn:uuid:5c0a8a2c-5c4b-4e4b-8b0a-0a3c6d0f2b11",
        repository_id="1.2.777.1",
        version="2",
        logical_id="urn:uuid:1",
    )
    archive = attached(composed(known))["IHE_XDM.ZIP"]
    with zipfile.ZipFile(io.BytesIO(archive)) as listed:
        metadata = listed.read("IHE_XDM/SUBSET01/METADATA.XML")
    assert b"5c0a8a2c" not in metadata
    assert b"1.2.777.1" not in metadata


def test_words_of_the_author_and_what_they_ask_for(enclosure):
    letter = replace(LETTER, text="Cher confrère,\n\nÀ bientôt.\n", receipt=True, reply_to=Address.parse("secretariat@alpha.mssante.test"))
    message = composed(enclosure, letter=letter)
    assert message.get_body(("plain",)).get_content().splitlines() == ["Cher confrère,", "", "À bientôt."]
    assert message.get_body(("plain",)).get_content_charset() == "utf-8"
    assert message["Disposition-Notification-To"] == message["Reply-To"] == "secretariat@alpha.mssante.test"


def test_a_replacement_is_told_in_the_subject_and_refers_to_the_mail_before(enclosure):
    message = composed(enclosure, letter=replace(LETTER, replaces="<T1@mx.alpha.mssante.test>"))
    assert message["Subject"].startswith("[Annule et remplace] XDM/1.0/DDM+")
    assert message["In-Reply-To"] == message["References"] == "<T1@mx.alpha.mssante.test>"
    assert "annule et remplace" in message.get_body(("plain",)).get_content()


def test_a_patient_gets_their_documents_and_need_not_answer(enclosure):
    message = composed(enclosure, letter=replace(LETTER, recipients=(CITIZEN,), final=True))
    assert message["X-MSS-MES"] == "FIN"


def test_a_name_beyond_ascii_and_one_with_a_comma_are_read_back(enclosure):
    for name in ("Dr Hélène ŒUVRARD", "MARTIN, Jeanne", 'Jeanne "JM" MARTIN', "Dr_Jeanne_MARTIN_Cabinet Médical"):
        (author,) = composed(enclosure, letter=replace(LETTER, name=name))["From"].addresses
        assert (author.display_name, author.addr_spec) == (name, "jeanne.martin@alpha.mssante.test")


@pytest.mark.parametrize(
    ("change", "recipients", "said"),
    [
        ({Visibility.HIDDEN_FROM_PATIENT}, (DURAND, CITIZEN), "may not be sent to the patient (INVISIBLE_PATIENT)"),
        ({Visibility.MASKED}, (DURAND,), "may not be sent to a professional (MASQUE_PS)"),
        ({Visibility.MASKED, Visibility.HIDDEN_FROM_PATIENT}, (CITIZEN,), "may not be sent to the patient (INVISIBLE_PATIENT, MASQUE_PS)"),
    ],
)
def test_who_may_not_read_a_document_gets_none(enclosure, change, recipients, said):
    hidden = replace(enclosure, entry=enclosure.entry.with_visibility(frozenset(change)))
    with pytest.raises(NotSendable) as refused:
        compose(replace(LETTER, recipients=recipients), [enclosure, hidden], PATIENT, SOURCE, PROFILE, AT)
    assert said in refused.value.message.en


def test_one_patient_in_a_mail(enclosure):
    other = another(enclosure, patient=Ins.typed("146026322000196", InsKind.NIR_TEST), unique_id="1.2.3.4")
    with pytest.raises(NotSendable, match="another patient's"):
        compose(LETTER, [enclosure, other], PATIENT, SOURCE, PROFILE, AT)


@pytest.mark.parametrize(
    ("count", "letter", "said"),
    [(0, LETTER, "No document"), (MOST_DOCUMENTS + 1, LETTER, "at most"), (1, replace(LETTER, recipients=()), "No recipient")],
)
def test_nothing_and_too_much(enclosure, count, letter, said):
    with pytest.raises(NotSendable, match=said):
        compose(letter, [another(enclosure, unique_id=f"1.2.3.{number}") for number in range(count)], PATIENT, SOURCE, PROFILE, AT)


def test_the_size_is_told_before_it_is_sent(enclosure):
    small = replace(PROFILE, citizens_limit=10_000)
    assert composed(enclosure, profile=small)
    with pytest.raises(NotSendable, match="Mon espace santé refuses more than 10000"):
        compose(replace(LETTER, recipients=(CITIZEN,)), [enclosure], PATIENT, SOURCE, small, AT)
    with pytest.raises(NotSendable, match="the limit is 9000"):
        compose(LETTER, [enclosure], PATIENT, SOURCE, replace(PROFILE, limit=9_000), AT)


def test_what_is_no_cda_is_not_enclosed(enclosure):
    with Printer() as printer, pytest.raises(BadDocument, match="is no CDA"):
        enclose(replace(enclosure.entry, mime_type="application/dicom"), b"DICM", printer)


def test_pdf_files_have_names_that_every_system_takes(enclosure):
    odd = another(enclosure, type=replace(enclosure.entry.type, label='CR/op: "x" <1>\u202egpj.exe'))
    names = pdf_names([odd.entry, odd.entry, enclosure.entry], PATIENT)
    assert names[0] == "20260102_CR op x 1 gpj.exe_PAT-TROIS_DOMINIQUE.pdf"
    assert names[1] == "20260102_CR op x 1 gpj.exe_PAT-TROIS_DOMINIQUE (2).pdf"
    assert len(set(names)) == 3


def test_each_code_stands_once(enclosure):
    entries = [enclosure.entry, replace(enclosure.entry, type=Code("PRESC-BIO", "1.2.250.1.213.1.1.4.12")), enclosure.entry]
    assert fields(entries, qualified=False, nil="", final=True) == [
        ("X-MSS-CODECDA", "11490-0,PRESC-BIO"),
        ("X-MSS-INS", "N"),
        ("X-MSS-MES", "FIN"),
    ]
