"""Header to metadata, level 1 built, narrative shown, header rules."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from dmp_connector import codes
from dmp_connector.cda import Level1, build_level1, describe, read, to_html
from dmp_connector.errors import BadCode, BadDocument, BadInput, BadIns
from dmp_connector.model import Code, Ins, InsKind
from dmp_connector.paper.letters import letter
from dmp_connector.validate import check_header
from tests.fuzz import examples

from .conftest import CABINET, DOCTOR, EXAMPLES, PATIENT, needs_examples

pytestmark = pytest.mark.filterwarnings("error")


@needs_examples
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_metadata_of_every_example(path):
    content = path.read_bytes()
    entry = describe(content)
    tables = codes.load()
    assert entry.size == len(content)
    assert re.fullmatch(r"[0-9a-f]{40}", entry.hash)
    assert entry.type in tables.type_code
    assert entry.class_code in tables.class_code
    assert entry.practice in tables.practice
    assert entry.facility in tables.facility
    assert entry.patient.oid in {InsKind.NIR_TEST, InsKind.NIR}
    assert entry.service_start is not None
    assert entry.authors[0].person.id
    assert entry.legal_authenticator.family
    assert entry.mime_type == ("application/xslt+xml" if "Auto-Presentable" in path.name else "text/xml")


@needs_examples
def test_metadata_in_detail():
    entry = describe(next(p for p in EXAMPLES if p.name.startswith("DOC_NON_STRUCTURE")).read_bytes())
    assert entry.unique_id == "1.3.6.1.4.1.19376.1.2.20.12345.1.1"
    assert entry.title == "Compte rendu d'examens biologiques"
    assert entry.class_code.code == "10"  # ASS_X04
    assert entry.format.code == "urn:ihe:iti:xds-sd:pdf:2008"
    assert entry.authors[0].person.xcn == "801234534765^CAMPARINI^Marcel^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS"
    assert entry.authors[0].institution.xon == "Laboratoire des charmes^^^^^&1.2.250.1.71.4.2.2&ISO^IDNST^^^1120459876"
    assert entry.authors[0].specialties == ("G15_10/SM03^Médecin - Biologie médicale (SM)^1.2.250.1.213.1.1.4.5",)
    assert str(entry.created) == "20210401124745"  # UTC
    assert str(entry.service_stop) == "20210104125500"
    assert entry.source_patient_id == "1234567890121^^^&1.2.3.4.567.8.9.10&ISO^PI"
    assert entry.source_patient_info[0] == "PID-5|PAT-TROIS^DOMINIQUE^^^^^L"


def test_our_level_1_has_the_metadata_it_was_asked_for(wanted):
    content = build_level1(wanted)
    assert build_level1(wanted) == content
    entry = describe(content)
    assert entry.unique_id == wanted.unique_id
    assert entry.patient == PATIENT.ins
    assert entry.format.code == "urn:ihe:iti:xds-sd:pdf:2008"
    assert entry.authors[0].specialties[0].startswith("G15_10/SM26^")
    assert entry.facility.code == "SA07"
    assert str(entry.service_start) == "20260102080000"
    assert read(content).embedded() == wanted.pdf
    assert check_header(read(content)) == ()


def test_a_replacement_names_what_it_replaces(wanted):
    content = build_level1(replace(wanted, unique_id="1.2.3.8", set_id=wanted.unique_id, version=2, replaces=wanted.unique_id))
    assert read(content).replaces == (wanted.unique_id,)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"type": Code("0-0", "2.16.840.1.113883.6.1")}, BadCode),
        ({"practice": Code("NIMPORTE", "1.2.250.1.213.1.1.4.9")}, BadCode),
        ({"facility": Code("SA99", "1.2.250.1.71.4.2.4")}, BadCode),
        ({"title": " "}, BadDocument),
        ({"pdf": b"%PDF-1.7\nno"}, BadDocument),
        ({"created": datetime(2026, 1, 2)}, BadDocument),
        ({"service_stop": datetime.fromisoformat("2025-01-01T00:00:00+01:00")}, BadDocument),
        ({"patient": replace(PATIENT, birth_place=None)}, BadDocument),
        ({"patient": replace(PATIENT, given_names=" ")}, BadDocument),
        ({"replaces": "1.2.250.1.213.1.1.9.1.7"}, BadDocument),
        ({"confidentiality": Code("MASQUE_ALL", "1.2.250.1.213.1.1.4.13")}, BadCode),
    ],
)
def test_what_cannot_be_built_is_refused(wanted, changes, error):
    with pytest.raises(error):
        build_level1(replace(wanted, **changes))


def edited(wanted, old: str, new: str) -> bytes:
    content = build_level1(wanted).decode()
    assert old in content
    return content.replace(old, new, 1).encode()


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('<realmCode code="FR"/>', '<realmCode code="BE"/>', "realmCode"),
        ('<templateId root="1.3.6.1.4.1.19376.1.2.20"/>', "", "templateId"),
        ('<languageCode code="fr-FR"/>', '<languageCode code="fr"/>', "languageCode"),
        ('confidentialityCode code="N"', 'confidentialityCode code="MASQUE_PS"', "confidentialityCode"),
        ('<signatureCode code="S"/>', '<signatureCode code="X"/>', "legalAuthenticator"),
        ("<county>51215</county>", "<county/>", "recordTarget/patientRole (INS)"),
        ('extension="279035121518989"', 'extension="27903512151898"', "recordTarget/patientRole (INS)"),
        ('qualifier="BR">PAT-TROIS', 'qualifier="SP">PAT-TROIS', "recordTarget/patientRole/patient/name"),
        ('<versionNumber value="1"/>', '<versionNumber value="0"/>', "versionNumber"),
        ('<telecom nullFlavor="NASK"/>', "<telecom/>", "telecom"),
    ],
)
def test_each_header_rule_finds_its_fault(wanted, old, new, where):
    findings = check_header(read(edited(wanted, old, new)))
    assert where in {f.where for f in findings}
    assert all("PAT-TROIS" not in str(f) for f in findings)


def test_a_wrong_key_in_a_received_document_is_a_warning(wanted):
    findings = check_header(read(edited(wanted, 'extension="279035121518989"', 'extension="279035121518900"')))
    assert [f.severity for f in findings] == ["warning"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not xml",
        b"<a/>",
        b'<!DOCTYPE x [<!ENTITY b "aaaa">]><ClinicalDocument xmlns="urn:hl7-org:v3"><title>&b;</title></ClinicalDocument>',
        '<?xml version="1.0" encoding="UTF-16"?><ClinicalDocument xmlns="urn:hl7-org:v3"/>'.encode("utf-16"),
        b"<a>" * 5000,
        b'<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform"/>',
    ],
)
def test_hostile_documents_are_refused_with_a_sentence(content):
    with pytest.raises(BadDocument):
        describe(content)


def test_an_entity_bomb_in_an_attribute_never_reaches_the_parser():
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "x">{levels}]><ClinicalDocument xmlns="urn:hl7-org:v3" a="&e11;"/>'
    with pytest.raises(BadDocument, match="DTD"):
        read(bomb.encode())


@given(
    st.sampled_from(
        ["id", "code", "effectiveTime", "recordTarget", "author", "documentationOf", "componentOf", "component", "confidentialityCode"]
    )
)
def test_a_document_without_a_part_is_described_or_refused(name):
    root = read(_sample()).root
    for child in root.findall(f"{{urn:hl7-org:v3}}{name}"):
        root.remove(child)
    content = etree.tostring(root)
    if name == "component":
        describe(content)  # metadata are of the header
    else:
        with pytest.raises(BadInput, match=name) if name != "author" else contextlib.nullcontext():
            describe(content)
    assert check_header(read(content))


_SAMPLE: list[bytes] = []


def _sample() -> bytes:
    if not _SAMPLE:
        at = datetime(2026, 1, 2, tzinfo=UTC)
        tables = codes.load()
        wanted = Level1(
            "1.2.3", PATIENT, DOCTOR, CABINET, tables.type_code.require("11490-0"), "T", at, letter("T", ["x"], at=at),
            tables.practice.require("AMBULATOIRE"), at,
        )  # fmt: skip
        _SAMPLE.append(build_level1(wanted))
    return _SAMPLE[0]


@given(st.binary(max_size=200), st.integers(0, 3000))
@settings(max_examples=examples(150), deadline=None)
def test_a_damaged_document_is_described_or_refused(piece, at):
    content = _sample()
    with contextlib.suppress(BadInput):
        describe(content[:at] + piece + content[at + len(piece) :])


# ------------------------------------------------------------------------------------------------ narrative


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name in {"href", "src", "data"}:
                self.links.append(value)

    def handle_data(self, data):
        self.words += data.split()


_STRUCTURE = "html head meta title style body header section div p pre span br strong a img object sub sup h1 h2 h3 h4 h5 h6"
_TABLES_AND_LISTS = "dl dt dd ul ol li table caption colgroup col thead tbody tfoot tr td th"
ALLOWED = {*_STRUCTURE.split(), *_TABLES_AND_LISTS.split()}


@needs_examples
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_word_of_the_narrative_is_shown_and_nothing_that_acts(path):
    document = read(path.read_bytes())
    page = Page(to_html(document))
    assert page.tags <= ALLOWED
    assert all(link.startswith(("#n-", "data:image/", "data:application/pdf;base64,JVBER")) for link in page.links)
    shown = " ".join(page.words)
    for text in document.root.iterfind(".//{urn:hl7-org:v3}section/{urn:hl7-org:v3}text"):
        for words in text.itertext():
            assert " ".join(words.split()) in shown


HOSTILE = """<ClinicalDocument xmlns="urn:hl7-org:v3"><title>&lt;script&gt;alert(1)&lt;/script&gt;</title>
<component><structuredBody><component><section>
<title>T</title><text><paragraph onclick="alert(1)" styleCode='x" onload="y'>P<script>alert(2)</script></paragraph>
<linkHtml href="javascript:alert(3)">L</linkHtml><linkHtml href="http://evil.example/">M</linkHtml><linkHtml href="#ok">N</linkHtml>
<content ID='a"&gt;&lt;img src=x&gt;'>C</content><iframe src="http://evil.example"/><renderMultiMedia referencedObject="I"/>
<table><tr><td colspan="2&quot; x" rowspan="3">cell</td></tr></table></text>
<entry><observationMedia ID="I"><value mediaType="image/png">PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIi8+</value></observationMedia></entry>
</section></component></structuredBody></component></ClinicalDocument>"""


def test_a_hostile_narrative_is_only_text():  # EX_2.1-1115
    shown = to_html(read(HOSTILE.encode()))
    page = Page(shown)
    assert page.tags <= ALLOWED
    assert page.links == ["#n-ok"]
    assert "img" not in page.tags  # SVG under the name of a PNG
    assert "Palert(2)" in page.words
    assert "L (javascript:alert(3))" in " ".join(page.words)
    assert "cell" in page.words
    assert "default-src 'none'" in shown


@given(
    st.text(max_size=60),
    st.sampled_from(["paragraph", "content", "linkHtml", "item", "td", "footnote", "caption", "zzz"]),
    st.text(max_size=30),
)
def test_no_text_becomes_markup(text, tag, attribute):
    root = read(HOSTILE.encode()).root
    block = root.find(".//{urn:hl7-org:v3}text")
    block.clear()
    try:
        child = etree.SubElement(block, f"{{urn:hl7-org:v3}}{tag}", ID=attribute, href=attribute, styleCode=attribute)
        child.text = text
    except ValueError:
        return  # not XML
    page = Page(to_html(read(etree.tostring(root))))
    assert page.tags <= ALLOWED


def test_the_ins_of_two_oids_is_not_one_patient(wanted):
    twice = '<id root="1.2.250.1.213.1.4.10" extension="279035121518989"/>'
    other = '<id root="1.2.250.1.213.1.4.10" extension="109076322083489"/>'
    findings = check_header(read(edited(wanted, twice, twice + other)))
    assert "two INS in one document" in {str(f.said) for f in findings}
    assert Ins.received("109076322083489")


def test_a_malformed_ins_is_bad_ins(wanted):
    with pytest.raises(BadIns):
        describe(edited(wanted, 'extension="279035121518989"', 'extension="X"'))
