"""XSD and schematrons of the ANS through the warm worker: the baseline, our own document, negative controls."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from lxml import etree

from dmp_connector.cda import build_level1
from dmp_connector.cda.read import read
from dmp_connector.doctor import Station, examine
from dmp_connector.errors import BadDocument, BadSettings, Unavailable
from dmp_connector.validate import GENERIC, Finding, Validator, worker
from dmp_connector.validate.kit import Models, versions_for
from dmp_connector.validate.schematron import BadSchematron, compile_schema
from dmp_connector.validate.validator import SchematronWorker
from tests.needs import package

from .conftest import EXAMPLES, KIT

pytestmark = pytest.mark.slow  # of the whole file: its tests share what was compiled

_SCHEMAS = {
    "ASIP-STRUCT-": "ASIP-STRUCT-MIN-StrucMin",
    "IHE.xsl": "IHE",
    "ModelesDeCon": "CI-SIS_ModelesDeContenusCDA",
    "ANS.xsl": "CI-SIS_Modeles_ANS",
}


@pytest.fixture(scope="module")
@package("saxonche")
def validator(kit):
    made = Validator(kit)
    yield made
    made.close()


@pytest.fixture(scope="module")
def judged(validator) -> dict[str, tuple[Finding, ...]]:
    """What each example was found to have, by the name of its file: judged once."""
    return {path.name: validator.check(path.read_bytes()) for path in EXAMPLES}


def test_the_baseline_is_reproduced_on_every_example(judged):
    """BASELINE-94-examples.json: XSD valid, and the same findings schema by schema."""
    baseline = json.loads((KIT / "BASELINE-94-examples.json").read_text())
    assert len(EXAMPLES) == 24
    for path in EXAMPLES:
        expected = baseline[path.name]
        found = judged[path.name]
        assert [f for f in found if f.source == "xsd"] == [], path.name
        if expected["root"] != "ClinicalDocument":
            assert [f for f in found if f.source in _SCHEMAS.values()] == []
            continue
        for name, schema in _SCHEMAS.items():
            ours = [f for f in found if f.source == schema]
            assert len(ours) == expected[name][0], (path.name, schema)
            for finding, text in zip(ours, expected[name][1:], strict=False):
                plain, wanted = ("".join(t.split()) for t in (str(finding.said), text))
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


def test_every_example_passes_the_schematron_of_its_model(judged):
    """The kit's own examples name the schematron they were made for; the templateId leads there."""
    wanted = {path.stem: versions_for(read(path.read_bytes()), Models()) for path in EXAMPLES}
    for path in EXAMPLES:
        models = {f"CI-SIS_{name}" for versions in wanted[path.stem] for name in versions}
        if path.stem != "01_Modèles_contenus_CDA":  # a catalogue of sections, no document of its model
            assert [f for f in judged[path.name] if f.source in models] == [], path.name
    assert wanted["VAC_2023.01"] == (("VAC_2023.01",),)
    assert wanted["CSE-CS8_2025.01"] == (("CSE-CS8_2025.01",),)
    assert wanted["TLM-CR_2022.01"] == (("TLM-CR_2022.01",),)  # by its type code: its template is every level 1 document's
    assert wanted["DOC_NON_STRUCTURE_CDA-R2-N1"] == ()
    assert len(wanted["BIO-CR-BIO_2024.01_TSH_1"][0]) == 3  # names no version: the one it fits best


def test_a_document_that_breaks_its_model_is_refused_by_its_schematron(validator):
    content = next(p for p in EXAMPLES if p.stem == "VAC_2023.01").read_bytes()
    broken = content.replace(b'<code code="11369-6"', b'<code code="87273-9"', 1)
    assert any(f.source == "CI-SIS_VAC_2023.01" and f.severity == "error" for f in validator.check(broken))


def test_only_the_models_of_the_setting_run(kit):
    document = read(next(p for p in EXAMPLES if p.stem == "VAC_2023.01").read_bytes())
    assert versions_for(document, Models.of(["auto"])) == (("VAC_2023.01",),)
    assert versions_for(document, Models.of(["none"])) == ()
    assert versions_for(document, Models.of(["VSM_2023.01"])) == ()
    assert versions_for(document, Models.of(["VSM_2023.01", "VAC_2023.01"])) == (("VAC_2023.01",),)
    with pytest.raises(BadSettings, match="VSM_1999"):
        Validator(kit, models=["VSM_1999"])


def partial_kit(tmp_path, *parts: str):
    """The installed kit with only these of its parts."""
    for part in ("infrastructure", "jeuxDeValeurs", *parts):
        target = tmp_path / part
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(KIT.resolve() / part)
    return tmp_path


@pytest.mark.package("saxonche")
def test_parts_that_are_not_installed_are_named(tmp_path, kit, wanted):
    part = partial_kit(tmp_path, "schematrons/profils/IHE.sch", "schematrons/abstract", "schematrons/include")
    validator = Validator(part)
    try:
        found = validator.check(build_level1(wanted))
        assert {(f.source, f.severity) for f in found} == {("kit", "warning")}
        assert [f.where for f in found] == [f"schematrons/{name}" for name in GENERIC if name != "profils/IHE.sch"]
        validator.require(build_level1(wanted))
        vaccines = validator.check(next(p for p in EXAMPLES if p.stem == "VAC_2023.01").read_bytes())
        assert any(f.source == "CI-SIS_VAC_2023.01" and "cannot run" in str(f.said) for f in vaccines)
    finally:
        validator.close()


def test_the_doctor_names_the_missing_parts(tmp_path, kit):
    (part,) = [c for c in examine(Station(kit=partial_kit(tmp_path)), datetime.now(UTC)) if c.name.fr == "kit de validation"]
    assert not part.holds
    assert "1 parties communes sur 5" in part.seen.fr
    assert "schematrons/profils/IHE.sch" in part.advice.fr
    assert "CI-SIS_VAC_2023.01.sch" in part.advice.fr
    (whole,) = [c for c in examine(Station(kit=kit), datetime.now(UTC)) if c.name.fr == "kit de validation"]
    assert (whole.holds, whole.advice) == (True, None)


def test_the_worker_keeps_a_bounded_number_of_models(monkeypatch):
    compiled = []
    monkeypatch.setattr(worker, "_compiled", lambda _compiler, path: compiled.append(path) or path)
    monkeypatch.setattr(worker, "_MODELS", 2)
    models = worker._Models(None)
    for path in ("a", "b", "a", "c", "a", "b"):
        assert models.get(path) == path
    assert compiled == ["a", "b", "c", "b"]


@pytest.mark.package("saxonche")
def test_a_schema_saxon_cannot_compile_is_named_with_its_reason(tmp_path):
    """Regression: Saxon's own error ended the worker and nothing was reported."""
    (tmp_path / "bad.sch").write_text(
        '<schema xmlns="http://purl.oclc.org/dsdl/schematron"><pattern><rule context="*"><assert test="((">x</assert></rule>'
        "</pattern></schema>"
    )
    worker = SchematronWorker([tmp_path / "bad.sch"])
    with pytest.raises(Unavailable, match=r"XPST0003|syntax|compil"):
        worker.check(b"<a/>")
    worker.close()


def test_without_the_kit_the_header_rules_still_stand(wanted):
    bare = Validator()
    assert bare.levels == ("header",)
    assert bare.check(build_level1(wanted)) == ()
    with pytest.raises(BadSettings):
        Validator(KIT / "absent")


@pytest.mark.package("saxonche")
def test_a_killed_worker_is_started_again(tmp_path):
    """With a schema of its own: those of the kit take many seconds to compile, each time."""
    (tmp_path / "small.sch").write_text(
        '<schema xmlns="http://purl.oclc.org/dsdl/schematron"><pattern><rule context="a"><assert test="@id">no id</assert></rule>'
        "</pattern></schema>"
    )
    worker = SchematronWorker([tmp_path / "small.sch"])
    (found,) = worker.check(b"<a/>")
    assert (found.source, found.severity) == ("small", "error")
    worker._child._process.kill()
    worker._child._process.wait()  # regression: closing the pipe of a process that is gone was an error of its own
    with pytest.raises(Unavailable):
        worker.check(b"<a/>")
    assert worker.check(b"<a/>") == [found]
    worker.close()


SCHEMA = """<schema xmlns="http://purl.oclc.org/dsdl/schematron" queryBinding="xslt2" defaultPhase="p"><ns prefix="c" uri="urn:c"/>
<let name="allowed" value="('a','b')"/><phase id="p"><active pattern="first"/><active pattern="made"/></phase>
<pattern id="first"><rule abstract="true" id="base"><assert test="@id" role="warning">no id on <name/></assert></rule>
<rule context="c:item[@skip]"><report test="true()">skipped</report></rule>
<rule context="c:item"><extends rule="base"/><let name="k" value="@kind"/>
<assert test="$k = $allowed">kind <value-of select="$k"/></assert></rule></pattern>
<pattern id="off"><rule context="c:item"><assert test="false()">never</assert></rule></pattern>
<pattern abstract="true" id="tpl"><rule context="$where"><assert test="$what">wrong</assert></rule></pattern>
<pattern id="made" is-a="tpl"><param name="where" value="c:other"/><param name="what" value="@ok = 'yes'"/></pattern></schema>"""


@pytest.mark.package("saxonche")
def test_the_compiler_does_what_iso_schematron_defines(tmp_path):
    import saxonche

    path = tmp_path / "s.sch"
    path.write_text(SCHEMA)
    document = "<c:x xmlns:c='urn:c'><c:item kind='a' id='1'/><c:item kind='z'/><c:item skip='1' kind='z'/><c:other ok='no'/></c:x>"
    with saxonche.PySaxonProcessor(license=False) as processor:
        sheet = processor.new_xslt30_processor().compile_stylesheet(stylesheet_text=compile_schema(path).decode())
        answer = sheet.transform_to_string(xdm_node=processor.parse_xml(xml_text=document))

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
def test_a_schema_that_cannot_be_compiled_gives_the_reason(tmp_path, schema, said):
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
