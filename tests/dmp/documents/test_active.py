"""Scripts and links that lead outside are found wherever they stand, and nothing harmless is."""

from __future__ import annotations

import pytest

from dmp_connector.cda.read import read
from dmp_connector.validate.active import LINK, SCRIPT, WEB_LINK, active_content, web_links
from dmp_connector.validate.header import check_header

from .conftest import EXAMPLES, needs_examples

CDA = """<?xml version="1.0"?>{before}<ClinicalDocument xmlns="urn:hl7-org:v3"><component><structuredBody>
<component><section><text>{text}</text>{entry}</section></component></structuredBody></component></ClinicalDocument>"""
XSL = """<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0">{text}
<xsl:variable name="d"><ClinicalDocument xmlns="urn:hl7-org:v3"/></xsl:variable></xsl:stylesheet>"""
IMAGE = '<entry><observationMedia ID="a"><value><reference value="{}"/></value></observationMedia></entry>'


def found(content: str) -> list[tuple[str, str]]:
    return list(active_content(read(content.encode())))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<script>alert(1)</script>", SCRIPT),
        ('<x:SCRIPT xmlns:x="http://www.w3.org/1999/xhtml"/>', SCRIPT),
        ("<paragraph><iframe/></paragraph>", SCRIPT),
        ('<content onclick="x()">a</content>', SCRIPT),
        ('<linkHtml href="javascript:alert(1)">a</linkHtml>', SCRIPT),
        ('<linkHtml href=" java&#10;script:alert(1)">a</linkHtml>', SCRIPT),
        ('<linkHtml href="JAVASCRIPT:alert(1)">a</linkHtml>', SCRIPT),
        ('<linkHtml href="data:text/html,x">a</linkHtml>', SCRIPT),
        ('<linkHtml href="file:///etc/passwd">a</linkHtml>', LINK),
        (r'<linkHtml href="\\hote\partage">a</linkHtml>', LINK),
        ('<linkHtml href="data:application/pdf,x">a</linkHtml>', LINK),
        ('<linkHtml src="https://suivi.example/?p=1">a</linkHtml>', LINK),
        ('<linkHtml style="background: url(https://suivi.example/?p=1)">a</linkHtml>', LINK),
        ('<x:img xmlns:x="http://www.w3.org/1999/xhtml" src="http://suivi.example/1.gif"/>', LINK),
    ],
)
@pytest.mark.parametrize("around", [CDA, XSL])
def test_script_or_external_link_in_the_narrative_is_found_with_its_place(text, message, around):
    ((where, said),) = found(around.format(before="", text=text, entry=""))
    assert said == message
    assert "(l. 2)" in where or "(l. 1)" in where


WEB = [
    '<linkHtml href="https://suivi.example/?p=1">a</linkHtml>',
    '<linkHtml href="HTTP://suivi.example/?p=1">a</linkHtml>',
    '<linkHtml href="//suivi.example/">a</linkHtml>',
    '<linkHtml href="page.html">a</linkHtml>',
]


@pytest.mark.parametrize("text", WEB)
def test_a_web_address_in_the_narrative_is_reported_and_not_refused(text):
    """Regression: thirteen examples of the ANS, the imaging report among them, were refused for such a link."""
    document = read(CDA.format(before="", text=text, entry="").encode())
    ((where, said),) = web_links(document)
    assert said == WEB_LINK
    assert "linkHtml (l. 2)" in where
    assert list(active_content(document)) == []
    assert [f.severity for f in check_header(document) if f.said == WEB_LINK] == ["warning"]


@pytest.mark.parametrize("text", WEB)
def test_a_document_that_presents_itself_leads_nowhere(text):
    """EX_2.1-1115: of a self-presenting document the same link is an error, whichever namespace it stands in."""
    inside = CDA.format(before="", text=text, entry="").removeprefix('<?xml version="1.0"?>')
    around = f'<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0">{inside}</xsl:stylesheet>'
    assert [m for _, m in found(around)] == [LINK]
    assert [m for _, m in found(XSL.format(text=text))] == [LINK]


def test_an_image_or_a_style_sheet_from_outside_is_an_external_link():
    assert [m for _, m in found(CDA.format(before="", text="", entry=IMAGE.format("http://suivi.example/1.png")))] == [LINK]
    before = '<?xml-stylesheet type="text/xsl" href="http://suivi.example/cda.xsl"?>'
    assert [m for _, m in found(CDA.format(before=before, text="", entry=""))] == [LINK]
    assert [m for _, m in found(XSL.format(text="<style>a { background: url(http://suivi.example/1) }</style>"))] == [LINK]
    assert [m for _, m in found(XSL.format(text='<xsl:import href="http://suivi.example/a.xsl"/>'))] == [LINK]


def test_links_inside_the_page_and_images_of_the_document_are_no_finding():
    text = '<linkHtml href="#a">a</linkHtml><content ID="a">voir http://exemple.fr</content><renderMultiMedia referencedObject="a"/>'
    assert found(CDA.format(before='<?xml-stylesheet type="text/xsl" href="#"?>', text=text, entry=IMAGE.format("#a"))) == []
    assert found(XSL.format(text='<a href="#{@ID}"/><img src="data:image/png;base64,AA"/><style>a { color: red }</style>')) == []


@needs_examples
def test_no_example_of_the_ans_carries_a_script_or_a_load_in_its_own_part():
    for path in EXAMPLES:
        document = read(path.read_bytes())
        if not document.self_presenting:
            assert list(active_content(document)) == [], path.name
