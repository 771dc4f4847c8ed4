"""Documents as pages for people: images and PDFs inside, the head, what became of them."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser

import pytest

from dmp_connector.cda import build_level1, describe, read, to_html
from dmp_connector.cda.narrative import to_layout
from dmp_connector.model import AvailabilityStatus, Visibility

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def structured(text: str, *entries: str, head: str = "") -> bytes:
    """A level 3 document with one section."""
    return f"""<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Titre</title>{head}<component><structuredBody><component><section>
<title>S</title><text>{text}</text>{"".join(entries)}</section></component></structuredBody></component></ClinicalDocument>""".encode()


def media(name: str, kind: str, content: bytes) -> str:
    octets = base64.b64encode(content).decode()
    value = f'<value mediaType="{kind}" representation="B64">{octets}</value>'
    return f'<entry><observationMedia ID="{name}">{value}</observationMedia></entry>'


def level1(kind: str, content: bytes) -> bytes:
    body = f'<text mediaType="{kind}" representation="B64">{base64.b64encode(content).decode()}</text>'
    return f'<ClinicalDocument xmlns="urn:hl7-org:v3"><component><nonXMLBody>{body}</nonXMLBody></component></ClinicalDocument>'.encode()


class Embedded(HTMLParser):
    """What a page carries as data: (tag, type, octets); and its words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, bytes]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in {"data", "src"}:
                kind, octets = re.fullmatch(r"data:([a-z/]+);base64,(.*)", value).groups()
                self.found.append((tag, kind, base64.b64decode(octets)))

    def handle_data(self, data):
        self.words += data


def test_a_level_1_document_shows_its_pdf(wanted, pdf):
    html = to_html(read(build_level1(wanted)))
    page = Embedded(html)
    assert page.found == [("object", "application/pdf", pdf)]
    assert "object-src data:; frame-src data:;" in html  # Chromium's viewer is a frame: without it the place stays empty
    assert "Enregistrer le PDF" in page.words


def test_a_copy_as_pdf_is_shown_where_the_text_refers_to_it_and_else_at_the_end(pdf):
    text = '<paragraph>avant</paragraph><renderMultiMedia referencedObject="A"/><paragraph>après</paragraph>'
    html = to_html(read(structured(text, media("A", "application/pdf", pdf), media("B", "application/pdf", pdf + b"\n"))))
    assert Embedded(html).found == [("object", "application/pdf", pdf), ("object", "application/pdf", pdf + b"\n")]
    assert html.index("avant") < html.index("<object") < html.index("après") < html.rindex("<object")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/pdf", b"<html><script>alert(1)</script></html>"),
        ("image/png", b"<svg onload='alert(1)'/>"),
        ("text/html", b"<script>alert(1)</script>"),
        ("text/rtf", rb"{\rtf1 x}"),
        ('x"><script>', b"x"),
    ],
)
def test_octets_that_are_not_what_they_claim_are_described_and_not_embedded(kind, content):
    for document in (level1(kind.replace('"', "&quot;").replace("<", "&lt;"), content),
                     structured('<renderMultiMedia referencedObject="A"/>', media("A", kind.replace('"', "&quot;").replace("<", "&lt;"), content))):  # fmt: skip
        html = to_html(read(document))
        assert Embedded(html).found == []
        assert "non affiché" in html
        assert "<script" not in html


def test_an_image_of_a_level_1_document_is_shown_and_its_text_keeps_its_lines():
    assert Embedded(to_html(read(level1("image/png", PNG)))).found == [("img", "image/png", PNG)]
    assert "<pre>a &lt; b\n  c</pre>" in to_html(read(level1("text/plain", b"a < b\n  c")))


def test_the_head_names_who_answers_for_the_document_and_gives_the_time_of_the_house(wanted):
    """Regression: a moment was shown in UTC, and the legal authenticator not at all."""
    at = datetime(2026, 7, 2, 23, 30, tzinfo=timezone(timedelta(hours=-4)))  # 3 July, 5:30 in Paris
    html = to_html(read(build_level1(replace(wanted, created=at, service_start=at, service_stop=None))))
    assert re.search(r"<dt>Responsable du document</dt><dd>Jeanne MARTIN, 03/07/2026 05:30 \(UTC\+2\)</dd>", html)
    assert re.search(r"<dt>Date</dt><dd>03/07/2026 05:30 \(UTC\+2\)</dd>", html)
    assert "Version" not in html


def test_a_new_version_says_which_one_it_replaces(wanted):
    html = to_html(read(build_level1(replace(wanted, version=2, replaces="1.2.3", set_id="1.2.4"))))
    assert "<dt>Version</dt><dd>2, remplace 1.2.3</dd>" in html


def test_what_the_registry_knows_stands_first(wanted):
    content = build_level1(wanted)
    entry = describe(content)
    assert 'class="alert"' not in to_html(read(content), entry=replace(entry, status=AvailabilityStatus.APPROVED))
    for status, said in ((AvailabilityStatus.DEPRECATED, "Document remplacé"), (AvailabilityStatus.ARCHIVED, "Document archivé")):
        assert f'<p class="alert">{said}' in to_html(read(content), entry=replace(entry, status=status))
    hidden = entry.with_visibility(frozenset(Visibility))
    shown = to_html(read(content), entry=hidden)
    for said in ("Masqué aux professionnels", "Non visible par le patient", "Non visible par les représentants légaux"):
        assert f'<p class="alert">{said}' in shown
    assert "Document remplacé" in to_layout(read(content), entry=replace(entry, status=AvailabilityStatus.DEPRECATED)).html


def test_a_moment_that_cannot_be_read_hinders_neither_page():
    """Regression: of a document with a faulty date nothing was shown."""
    content = structured("<paragraph>x</paragraph>", head='<effectiveTime value="2022-03-04"/>')
    assert "<p>x</p>" in to_html(read(content))
    assert to_layout(read(content)).at is None


def test_a_text_takes_no_style_of_ours():
    """A narrative cannot look like our warnings, nor name another patient at the foot of each sheet."""
    html = to_html(read(structured('<content styleCode="alert identity Bold">x</content>')))
    assert '<span class="s-alert s-identity s-Bold">x</span>' in html


@pytest.mark.parametrize(("columns", "name"), [(6, ""), (7, "wide"), (9, "wide"), (12, "very-wide")])
def test_a_table_of_many_columns_has_smaller_letters(columns, name):
    html = to_html(read(structured(f"<table><tr>{'<td>x</td>' * (columns - 2)}<td colspan='2'>y</td></tr></table>")))
    assert (f'<table class="{name}">' if name else "<table>") in html


def test_a_web_address_is_text_that_can_be_read_and_not_followed():
    html = to_html(read(structured('<linkHtml href="https://exemple.fr/a?b=1&amp;c">ici</linkHtml>')))
    assert "ici (https://exemple.fr/a?b=1&amp;c)" in html
    assert "<a " not in html
