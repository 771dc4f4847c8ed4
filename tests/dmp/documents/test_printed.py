"""CDA on paper: PDF/A-1 for every level, judged by our checks and by another maker's; nothing of a stranger's page is fetched."""

from __future__ import annotations

import io
import re
import socket
import struct
import subprocess
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pikepdf
import pytest
from lxml import etree
from PIL import Image

from dmp_connector.cda import build_level1, read
from dmp_connector.cda.printed import to_pdfa
from dmp_connector.errors import NotPrinted
from dmp_connector.paper.letters import letter
from dmp_connector.paper.pdf import require_pdfa1
from dmp_connector.paper.printer import Layout, Printer
from tests.dmp.corpus import CORPUS, FOLDERS
from tests.needs import package

from .test_pages import PNG, level1, media, structured

pytestmark = [pytest.mark.slow, pytest.mark.peer("/usr/lib/*/libpangoft2-1.0.so.0")]
JARS = [Path("/usr/share/java") / f"{name}.jar" for name in ("preflight", "pdfbox2", "xmpbox", "fontbox2", "commons-logging", "javax.activation", "jaxb-api")]  # fmt: skip


@pytest.fixture(scope="module")
@package("weasyprint", "pypdfium2")
def printer():
    with Printer() as made:
        yield made


def printed(printer: Printer, content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "printed.pdf"
    path.write_bytes(to_pdfa(read(content), printer))
    return path


def text_of(path: Path) -> str:
    return subprocess.run(["pdftotext", "-layout", path, "-"], check=True, capture_output=True, text=True).stdout


WORD = re.compile(r'xMin="([-\d.]+)" yMin="[-\d.]+" xMax="([\d.]+)"[^>]*>([^<]*)</word>')


def words_beyond_the_margins(path: Path) -> list[str]:
    """Words outside the 13 mm margins of an A4 sheet, which is 595 points wide."""
    boxes = subprocess.run(["pdftotext", "-bbox", path, "-"], check=True, capture_output=True, text=True).stdout
    found = WORD.findall(boxes)
    assert found
    return [word for left, right, word in found if float(left) < 36 or float(right) > 560]


def valid(folder: Path) -> dict[str, bool]:
    """What Apache Preflight (PDFBox) says of each file of a folder: is it a PDF/A-1b?"""
    run = ["java", "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, JARS)), "org.apache.pdfbox.preflight.Validator_A1b"]
    subprocess.run([*run, "xml", "group", folder], check=False, capture_output=True)
    said = etree.parse(folder.with_name(f"{folder.name}.preflight.xml")).getroot()
    return {one.get("name"): one.findtext("isValid") == "true" for one in said}


def test_a_pdfa1_of_level_1_is_the_pdf_octet_for_octet(printer, wanted, pdf):  # ECO.2.1.5
    assert to_pdfa(read(build_level1(wanted)), printer) == pdf


@pytest.mark.peer("pdftotext")
def test_a_level_3_document_is_text_on_sheets_with_the_patient_on_each(printer, wanted, tmp_path):  # ECO.2.1.5
    head = read(build_level1(wanted))
    person = "".join(etree.tostring(head.find(part), encoding="unicode") for part in ("recordTarget", "author", "legalAuthenticator"))
    text = "".join(f"<paragraph>Ligne {n} : œdème, ≤ 3 µg/mL, β-bloquant, Δ</paragraph>" for n in range(90))
    path = printed(printer, structured(text, head=person), tmp_path)
    shown = text_of(path)
    sheets = shown.rstrip("\f").split("\f")
    assert len(sheets) > 1
    assert all("PAT-TROIS DOMINIQUE, 28/03/1979, 279035121518989" in sheet for sheet in sheets)
    assert "Ligne 89 : œdème, ≤ 3 µg/mL, β-bloquant, Δ" in shown
    assert "Responsable du document" in shown


@pytest.mark.peer("pdftotext")
@pytest.mark.parametrize("columns", [9, 13])
def test_a_prescription_of_many_columns_fits_the_sheet(printer, tmp_path, columns):
    row = "".join(f"<td>anticonstitutionnellement {n} une fois par jour</td>" for n in range(columns))
    path = printed(printer, structured(f"<table><tbody>{f'<tr>{row}</tr>' * 4}</tbody></table>"), tmp_path)
    assert words_beyond_the_margins(path) == []


def squeezed(text: str) -> str:
    """Without blanks and hyphens: a word may be broken between two lines."""
    return re.sub(r"[\s\u00ad\u2010\u2011-]+", "", text)


def lost_words(document: bytes, path: Path) -> list[str]:
    """Words of the narrative that the sheets do not show."""
    raw = subprocess.run(["pdftotext", "-raw", path, "-"], check=True, capture_output=True, text=True).stdout
    shown = squeezed(raw)
    blocks = read(document).root.iterfind(".//{urn:hl7-org:v3}section/{urn:hl7-org:v3}text")
    words = (squeezed(word) for block in blocks for text in block.itertext() for word in text.split())
    return [word for word in words if word not in shown]


DIGITS = "".join(map(str, range(300)))


@pytest.mark.peer("pdftotext")
@pytest.mark.parametrize(
    "text",
    [
        f"<table><tr><td>{DIGITS}</td>{'<td>voisin</td>' * 8}</tr></table>",
        f"<table><tr><td><content>x {DIGITS}</content></td><td>a <br/>{DIGITS}</td>{'<td>voisin</td>' * 8}</tr></table>",
        f"<paragraph>{DIGITS}</paragraph>",
        "<list><item>a" * 50 + " fin" + "</item></list>" * 50,
        "<table><tr><td>" * 12 + "mot1 mot2 mot3" + "</td></tr></table>" * 12,
        f"<table><tr><td>{''.join(f'<paragraph>mot{n}</paragraph>' for n in range(150))}</td><td>b</td></tr></table>",
        "<table><tr><td colspan='999'>mot1</td></tr><tr><td rowspan='999'>mot2</td></tr></table>",
    ],
    ids=["long word", "long word below", "long paragraph", "deep list", "deep table", "row over two sheets", "spans"],
)
def test_no_word_leaves_the_sheet_whatever_the_text(printer, tmp_path, text):
    content = structured(text)
    path = printed(printer, content, tmp_path)
    assert lost_words(content, path) == []
    assert words_beyond_the_margins(path) == []


def test_the_same_document_gives_the_same_octets(printer):
    content = structured('<paragraph>x</paragraph><renderMultiMedia referencedObject="A"/>', media("A", "image/png", PNG))
    assert to_pdfa(read(content), printer) == to_pdfa(read(content), printer)


def test_pdfs_inside_come_behind_as_they_are_or_as_pictures(printer, pdf):
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf)) as plain:
        del plain.Root.Metadata
        plain.save(out)
    content = structured("<paragraph>x</paragraph>", media("A", "application/pdf", pdf), media("B", "application/pdf", out.getvalue()))
    with pikepdf.open(io.BytesIO(to_pdfa(read(content), printer))) as made:
        pictures = [any(str(one.operator) == "Do" for one in pikepdf.parse_content_stream(page)) for page in made.pages]
    assert pictures == [False, True, False]  # the text, the picture of the second, the first as it is


@pytest.mark.parametrize(("kind", "form"), [("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/tiff", "TIFF"), ("image/gif", "GIF")])
def test_an_image_is_printed_whatever_its_form(printer, kind, form):
    out = io.BytesIO()
    Image.new("CMYK" if form in {"JPEG", "TIFF"} else "P", (40, 30), 3).save(out, form)
    with pikepdf.open(io.BytesIO(to_pdfa(read(level1(kind, out.getvalue())), printer))) as made:
        (image,) = made.pages[0].Resources.XObject.values()
    assert (int(image.Width), int(image.Height), image.ColorSpace) == (40, 30, "/DeviceRGB")


def refused(printer: Printer, content: bytes) -> str:
    with pytest.raises(NotPrinted) as raised:
        to_pdfa(read(content), printer)
    return raised.value.message.en


def test_what_stands_against_printing_is_named(printer):
    assert "(U+10FFFD); install one that has them" in refused(printer, structured("<paragraph>x\U0010fffd</paragraph>"))
    many, out = pikepdf.new(), io.BytesIO()
    for _ in range(201):
        many.add_blank_page(page_size=(50, 50))
    many.save(out)
    assert "more than 200 pages" in refused(printer, structured("<paragraph/>", media("A", "application/pdf", out.getvalue())))
    assert to_pdfa(read(structured("<paragraph>x</paragraph>")), printer)  # the process goes on


@pytest.mark.peer("pdftotext")
def test_a_pdf_that_cannot_be_read_is_a_sentence_behind_the_text(printer, pdf, tmp_path):
    content = structured(
        "<paragraph>texte</paragraph>", media("A", "application/pdf", pdf), media("B", "application/pdf", b"%PDF-1.4 nothing")
    )
    shown = text_of(printed(printer, content, tmp_path))
    assert "Le PDF n° 2 du document est illisible." in shown.replace("\N{NO-BREAK SPACE}", " ")
    assert shown.index("texte") < shown.index("illisible") < shown.index("Cher confrère")


@pytest.mark.peer("pdftotext")
def test_an_image_that_cannot_be_shown_is_a_sentence(printer, tmp_path):
    """One that would fill the memory, and one that is cut."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    for broken in (bomb, PNG[:-24], b"II*\0nothing"):
        assert "Image illisible" in text_of(printed(printer, level1("image/png", broken), tmp_path))
    assert "Image illisible" not in text_of(printed(printer, level1("image/png", PNG), tmp_path))


STYLE = "<style>img, p { image-rendering: crisp-edges }</style>"  # an image that was loaded would be printed


@pytest.mark.parametrize(
    "html",
    [
        '<img src="{}">',
        '<style>@import url("{}");</style>',
        "<p style='background: url({})'>x</p>",
        "<style>@font-face {{ font-family: x; src: url({}) }} p {{ font-family: x }}</style><p>x</p>",
        '<link rel="stylesheet" href="{}">',
        '<object data="{}"></object>',
        '<a rel="attachment" href="{}">x</a>',
        '<link rel="attachment" href="{}">',
    ],
)
@pytest.mark.parametrize("kind", ["network", "file"])
def test_a_page_loads_nothing_from_network_or_files(printer, tmp_path, html, kind):
    """Even if our own page had such an address: the process refuses to fetch what did not come with it."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (1, 1)).save(secret)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        addresses = {"network": f"http://127.0.0.1:{listener.getsockname()[1]}/x.png", "file": secret.as_uri()}
        try:
            made = printer.print(Layout(f"<html><head>{STYLE}</head><body>{html.format(addresses[kind])}<p>texte</p></body></html>"))
        except NotPrinted as error:
            made, why = b"", error.message.en
        with pytest.raises(BlockingIOError):
            listener.accept()
    if not made:
        assert "layout failed" in why
    else:
        with pikepdf.open(io.BytesIO(made)) as pdf:
            assert not pdf.pages[0].Resources.get("/XObject", {})
            assert "/EmbeddedFiles" not in pdf.Root.get("/Names", {})


def test_a_page_that_takes_too_long_is_given_up():
    with Printer(seconds=0.0) as hasty, pytest.raises(NotPrinted) as raised:
        hasty.print(Layout("<p>x</p>"))
    assert "took too long" in raised.value.message.en


def test_without_its_libraries_the_reason_is_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "weasyprint.py").write_text("raise OSError('cannot load library libpango-1.0-0')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Printer() as bare, pytest.raises(NotPrinted, match="libpango") as raised:
        bare.print(Layout("<p>x</p>"))
    assert "n'est pas installé" in raised.value.message.fr


@pytest.fixture(scope="module")
@package("weasyprint", "pypdfium2")
def corpus(printer, tmp_path_factory) -> list[Path]:
    """Every public example on paper, and one document of each kind of ours."""
    folder = tmp_path_factory.mktemp("printed")
    made = []
    for source in CORPUS:
        target = folder / f"{len(made):03d}-{source.stem}.pdf"
        target.write_bytes(to_pdfa(read(source.read_bytes()), printer))
        made.append(target)
    return made


@pytest.mark.material(*FOLDERS)
def test_every_document_of_the_corpus_is_a_pdfa1(corpus):
    assert len(corpus) >= 34
    for path in corpus:
        require_pdfa1(path.read_bytes())


@pytest.mark.material(*FOLDERS)
@pytest.mark.peer("pdftotext")
def test_every_word_of_the_corpus_is_on_its_sheets(corpus):
    lost = {path.name: lost_words(source.read_bytes(), path) for source, path in zip(CORPUS, corpus, strict=True)}
    assert {name: words for name, words in lost.items() if words} == {}


@pytest.mark.material(*FOLDERS)
@pytest.mark.peer("java", *map(str, JARS))
def test_every_document_of_the_corpus_is_a_pdfa1_for_another_maker_too(corpus):
    judged = valid(corpus[0].parent)
    assert judged.keys() == {path.name for path in corpus}
    assert [name for name, holds in judged.items() if not holds] == []


@pytest.mark.peer("java", *map(str, JARS))
def test_another_maker_agrees_about_our_letters_and_pages(printer, tmp_path):
    folder = tmp_path / "judged"
    folder.mkdir()
    ours = letter("Lettre", ["Cher confrère,"], at=datetime(2026, 1, 2, tzinfo=UTC), author="Dr Jeanne Martin")
    (folder / "letter.pdf").write_bytes(ours)
    link = '<linkHtml href="#a">x</linkHtml><content ID="a"/><renderMultiMedia referencedObject="A"/>'
    printed(printer, structured(link, media("A", "image/png", PNG)), folder)
    with pikepdf.open(io.BytesIO(ours)) as pdf:
        del pdf.Root.Metadata
        pdf.save(folder / "broken.pdf")
    assert valid(folder) == {"letter.pdf": True, "printed.pdf": True, "broken.pdf": False}
