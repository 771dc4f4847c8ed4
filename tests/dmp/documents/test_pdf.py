"""PDF/A-1: what we make is one, what is none is refused with the rule it breaks."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
from datetime import UTC, datetime

import pikepdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_connector.cda import read
from dmp_connector.errors import BadDocument
from dmp_connector.model import Consent, ConsentBasis, ConsentMeans, Oppositions
from dmp_connector.paper.letters import Letterhead, closing_letter, creation_letter, letter
from dmp_connector.paper.pdf import require_pdfa1
from tests.fuzz import examples

from .conftest import CABINET, DOCTOR, EXAMPLES, PATIENT, needs_examples

AT = datetime(2026, 11, 22, tzinfo=UTC)


def words(pdf: bytes) -> str:
    return subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True, timeout=30).stdout.decode()


@pytest.mark.peer("pdftotext")
def test_a_letter_is_pdfa1_and_the_same_each_time(pdf):
    assert require_pdfa1(pdf).conformance == "B"
    assert (
        letter(
            "Lettre de liaison", ["Cher confrère,", "L'œdème a régressé ; l'évolution est favorable."], at=datetime(2026, 1, 2, tzinfo=UTC)
        )
        == pdf
    )
    assert "œdème" in words(pdf)


@pytest.mark.parametrize(("emergency", "samu"), [(False, True), (True, False), (False, False), (True, True)])
@pytest.mark.peer("pdftotext")
def test_the_creation_letter_shows_each_opposition_ticked_or_not(emergency, samu):  # EX_1.X-1320
    consent = Consent(PATIENT.ins, ConsentBasis.EXPLICIT, DOCTOR, ConsentMeans.ORAL, AT, AT.replace(year=2027))
    head = Letterhead(DOCTOR, CABINET, ("12 rue de la Paix", "75002 PARIS"))
    made = creation_letter(head, PATIENT, consent, Oppositions(emergency, samu), ("28 avenue de Breteuil", "75007 PARIS"), at=AT)
    require_pdfa1(made)
    shown = words(made)
    boxes = re.findall("[☐☒]", shown)
    assert boxes == ["☒" if opposed else "☐" for opposed in (emergency, samu)]
    assert "bris de glace" in shown
    assert "centre 15" in shown
    assert PATIENT.ins.value not in shown  # a letter is carried by post
    assert "Madame," in shown


@pytest.mark.peer("pdftotext")
def test_the_closing_letter_explains_what_becomes_of_the_data():
    shown = words(closing_letter(Letterhead(DOCTOR, CABINET), PATIENT, (), at=AT))
    assert "dix ans" in shown


@pytest.mark.peer("pdftotext")
def test_letters_the_font_lacks_lose_their_accent_and_never_become_notdef():
    shown = words(letter("Ștefan Ćosić Œuvre", ["Ḥassan β-bloquant ⓐⓞ 漢 🙂"], at=AT))
    assert "Ștefan Ćosić Œuvre" in shown
    assert "Ḥassan β-bloquant ao ? ?" in shown


def changed(pdf: bytes, change) -> bytes:
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        change(opened)
        out = io.BytesIO()
        opened.save(out, object_stream_mode=pikepdf.ObjectStreamMode.disable, fix_metadata_version=False)
    # qpdf writes its own binary comment and keeps the rest
    return out.getvalue()


def _javascript(pdf):
    pdf.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=pikepdf.String("app.alert(1)"))


def _embedded(pdf):
    pdf.attachments["x.txt"] = b"x"


def _font(pdf):
    font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
    pdf.pages[0].Resources.Font.F99 = pdf.make_indirect(font)


def _transparency(pdf):
    pdf.pages[0].Resources.ExtGState = pikepdf.Dictionary(G0=pikepdf.Dictionary(Type=pikepdf.Name.ExtGState, ca=0.5))


def _no_metadata(pdf):
    del pdf.Root.Metadata


def _launch(pdf):
    pdf.pages[0].Annots = pikepdf.Array(
        [pikepdf.Dictionary(Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Link, A=pikepdf.Dictionary(S=pikepdf.Name.Launch))]
    )


def _interpolated(pdf):
    image = pdf.make_stream(b"\0\0\0", Type=pikepdf.Name.XObject, Subtype=pikepdf.Name.Image, Interpolate=True)
    pdf.pages[0].Resources.XObject = pikepdf.Dictionary(I=image)


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (_interpolated, "6.2.4"),
        (_javascript, "6.6.1"),
        (_embedded, "6.1.11"),
        (_font, "6.3.4"),
        (_transparency, "6.4"),
        (_no_metadata, "6.7.2"),
        (_launch, "6.6.1"),
    ],
)
def test_what_pdfa1_forbids_is_named_by_its_clause(pdf, change, clause):  # ISO 19005-1
    with pytest.raises(BadDocument, match=re.escape(clause)):
        require_pdfa1(changed(pdf, change))


def test_pdfa2_is_not_pdfa1(pdf):
    with pytest.raises(BadDocument, match="PDF/A-2B"):
        require_pdfa1(pdf.replace(b"<pdfaid:part>1<", b"<pdfaid:part>2<"))


def test_a_plain_pdf_an_encrypted_one_and_no_pdf_are_refused(pdf):
    with pikepdf.new() as plain:
        plain.add_blank_page()
        out, locked = io.BytesIO(), io.BytesIO()
        plain.save(out)
        plain.save(locked, encryption=pikepdf.Encryption(owner="o", user="u"))
    for hostile in (out.getvalue(), locked.getvalue(), b"", b"%PDF-1.4\n", b"PK\x03\x04", pdf[: len(pdf) // 2], pdf + b"trailing"):
        with pytest.raises(BadDocument):
            require_pdfa1(hostile)


def test_a_100_mb_pdf_is_refused_without_being_read(pdf):
    with pytest.raises(BadDocument, match="at most"):
        require_pdfa1(pdf + b"\0" * 100 * 1024 * 1024)


@needs_examples
def test_pdfs_by_other_makers_are_distinguished():
    """Those inside the examples of the ANS: five claim PDF/A-1b and are, the others have object streams or claim PDF/A-2."""
    verdicts = {}
    for path in EXAMPLES:
        for content in read(path.read_bytes()).embedded_pdfs():
            try:
                verdicts[path.name] = require_pdfa1(content).conformance
            except BadDocument as error:
                verdicts[path.name] = re.search(r"\((6[.\d]+)\)", str(error))[1]
    assert sorted(verdicts.values()) == ["6.1.4"] * 5 + ["6.7.11"] + ["B"] * 4


def test_an_output_intent_that_is_no_dictionary_is_none(pdf):
    """Regression, found by fuzzing: a null in /OutputIntents ended in a traceback."""
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        opened.Root.OutputIntents = pikepdf.Array([None, 5, pikepdf.Name("/GTS_PDFA1")])
        written = io.BytesIO()
        opened.save(written, object_stream_mode=pikepdf.ObjectStreamMode.disable, force_version="1.4", fix_metadata_version=False)
    with contextlib.suppress(BadDocument):  # a letter that draws no device colour needs none
        require_pdfa1(written.getvalue())


@given(st.binary(max_size=400))
@settings(max_examples=examples(100))
def test_any_octets_are_refused_with_a_sentence(data):
    with pytest.raises(BadDocument):
        require_pdfa1(b"%PDF-1.4\n" + data)


@given(st.integers(0, 12000), st.binary(min_size=1, max_size=8))
@settings(max_examples=examples(100), deadline=None)
def test_a_damaged_pdf_is_accepted_or_refused_and_nothing_else(at, piece):
    good = letter("x", ["y"], at=AT)
    at %= len(good)
    with contextlib.suppress(BadDocument):
        require_pdfa1(good[:at] + piece + good[at + len(piece) :])
