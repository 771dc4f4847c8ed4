"""XSD and schematrons of the ANS through the warm worker: the baseline, our own document, negative controls."""

from __future__ import annotations

import json

import pytest

from dmp_connector.cda import build_level1
from dmp_connector.errors import BadDocument, BadSettings, Unavailable
from dmp_connector.validate import Validator
from dmp_connector.validate.schematron import BadSchematron, compile_schema
from tests.dmp.conftest import need_package

from .conftest import EXAMPLES, KIT

_SCHEMAS = {
    "ASIP-STRUCT-": "ASIP-STRUCT-MIN-StrucMin",
    "IHE.xsl": "IHE",
    "ModelesDeCon": "CI-SIS_ModelesDeContenusCDA",
    "ANS.xsl": "CI-SIS_Modeles_ANS",
}


@pytest.fixture(scope="module")
def validator(kit):
    need_package("saxonche")
    made = Validator(kit)
    yield made
    made.close()


@pytest.mark.slow
def test_the_baseline_is_reproduced_on_every_example(validator):
    """BASELINE-94-examples.json: XSD valid, and the same findings schema by schema."""
    baseline = json.loads((KIT / "BASELINE-94-examples.json").read_text())
    assert len(EXAMPLES) == 24
    for path in EXAMPLES:
        expected = baseline[path.name]
        found = validator.check(path.read_bytes())
        assert [f for f in found if f.source == "xsd"] == [], path.name
        if expected["root"] != "ClinicalDocument":
            assert [f for f in found if f.source in _SCHEMAS.values()] == []
            continue
        for name, schema in _SCHEMAS.items():
            ours = [f for f in found if f.source == schema]
            assert len(ours) == expected[name][0], (path.name, schema)
            for finding, text in zip(ours, expected[name][1:], strict=False):
                plain, wanted = ("".join(t.split()) for t in (finding.message, text))
                assert plain.startswith(wanted[:40])


def test_our_level_1_passes_xsd_header_and_the_four_schematrons(validator, wanted):
    assert validator.levels == ("header", "xsd", "schematron")
    assert validator.check(build_level1(wanted)) == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('<realmCode code="FR"/>', '<realmCode code="US"/>'),
        ('<code code="11490-0"', '<code code="99999-9"'),
        ('<languageCode code="fr-FR"/>', '<languageCode code="french"/>'),
        ('confidentialityCode code="N"', 'confidentialityCode code="MASQUE_PS"'),
    ],
)
def test_negative_controls(validator, wanted, old, new):
    content = build_level1(wanted).decode().replace(old, new, 1).encode()
    assert any(f.source == "ASIP-STRUCT-MIN-StrucMin" and f.severity == "error" for f in validator.check(content))
    with pytest.raises(BadDocument):
        validator.require(content)


def test_without_the_kit_the_header_rules_still_stand(wanted):
    bare = Validator()
    assert bare.levels == ("header",)
    assert bare.check(build_level1(wanted)) == ()
    with pytest.raises(BadSettings):
        Validator(KIT / "absent")


def test_a_killed_worker_is_started_again(validator, wanted):
    content = build_level1(wanted)
    assert validator.check(content) == ()
    validator._worker._child._process.kill()
    with pytest.raises(Unavailable):
        validator.check(content)
    assert validator.check(content) == ()


SCHEMA = """<schema xmlns="http://purl.oclc.org/dsdl/schematron" queryBinding="xslt2" defaultPhase="p"><ns prefix="c" uri="urn:c"/>
<let name="allowed" value="('a','b')"/><phase id="p"><active pattern="first"/><active pattern="made"/></phase>
<pattern id="first"><rule abstract="true" id="base"><assert test="@id" role="warning">no id on <name/></assert></rule>
<rule context="c:item[@skip]"><report test="true()">skipped</report></rule>
<rule context="c:item"><extends rule="base"/><let name="k" value="@kind"/>
<assert test="$k = $allowed">kind <value-of select="$k"/></assert></rule></pattern>
<pattern id="off"><rule context="c:item"><assert test="false()">never</assert></rule></pattern>
<pattern abstract="true" id="tpl"><rule context="$where"><assert test="$what">wrong</assert></rule></pattern>
<pattern id="made" is-a="tpl"><param name="where" value="c:other"/><param name="what" value="@ok = 'yes'"/></pattern></schema>"""


def test_the_compiler_does_what_iso_schematron_says(tmp_path):
    need_package("saxonche")
    import saxonche

    path = tmp_path / "s.sch"
    path.write_text(SCHEMA)
    document = "<c:x xmlns:c='urn:c'><c:item kind='a' id='1'/><c:item kind='z'/><c:item skip='1' kind='z'/><c:other ok='no'/></c:x>"
    with saxonche.PySaxonProcessor(license=False) as processor:
        sheet = processor.new_xslt30_processor().compile_stylesheet(stylesheet_text=compile_schema(path).decode())
        answer = sheet.transform_to_string(xdm_node=processor.parse_xml(xml_text=document))
    from lxml import etree

    found = [(f.get("role"), " ".join("".join(f.itertext()).split())) for f in etree.fromstring(answer.encode())]
    assert found == [("warning", "no id on c:item"), ("error", "kind z"), ("error", "skipped"), ("error", "wrong")]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ('<schema xmlns="http://purl.oclc.org/dsdl/schematron"><include href="gone.sch"/></schema>', "gone.sch"),
        ('<schema xmlns="http://purl.oclc.org/dsdl/schematron"><pattern is-a="x"/></schema>', "is-a"),
        ('<schema xmlns="http://purl.oclc.org/dsdl/schematron" defaultPhase="q"/>', "phase"),
        (
            '<schema xmlns="http://purl.oclc.org/dsdl/schematron"><pattern><rule context="*"><extends rule="r"/></rule></pattern></schema>',
            "abstract rule",
        ),
        ("<schema", "s.sch"),
    ],
)
def test_a_schema_that_cannot_be_compiled_says_why(tmp_path, schema, said):
    path = tmp_path / "s.sch"
    path.write_text(schema)
    with pytest.raises(BadSchematron, match=said):
        compile_schema(path)


def test_an_include_is_found_whatever_its_case(tmp_path):
    (tmp_path / "Sections").mkdir()
    (tmp_path / "Sections" / "One.sch").write_text(
        '<pattern xmlns="http://purl.oclc.org/dsdl/schematron" id="p"><rule context="x"><assert test="1"/></rule></pattern>'
    )
    path = tmp_path / "s.sch"
    path.write_text('<schema xmlns="http://purl.oclc.org/dsdl/schematron"><include href="sections/one.sch"/></schema>')
    assert b'match="x"' in compile_schema(path)
