"""What a person reads: numbered lines, documents in every form, the code tables."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from dmp_connector.cda.read import read
from dmp_connector.paper.pdf import require_pdfa1
from mssgw.cli.dmp import app
from tests.dmp.documents.test_pages import structured

from .conftest import OTHER


def plain(*arguments: str) -> tuple[int, str, str]:
    """A verb that needs neither configuration nor actor."""
    ran = CliRunner().invoke(app, list(arguments))
    return ran.exit_code, ran.stdout.replace("\N{NO-BREAK SPACE}", " "), ran.stderr.replace("\N{NO-BREAK SPACE}", " ")


def test_the_lines_of_find_are_numbered_and_get_takes_the_number(mssgw, tmp_path):
    found = mssgw.done("find", "--all", patient="PATIENT")["documents"]
    assert [d["number"] for d in found] == list(range(1, len(found) + 1))
    lines = mssgw("find", "--all", patient="PATIENT", text=True).text.splitlines()
    assert [line.split()[0] for line in lines] == [str(d["number"]) for d in found]
    for document in found[:2]:
        target = tmp_path / f"{document['number']}.xml"
        got = mssgw.done("get", str(document["number"]), "-o", str(target), patient="PATIENT")
        assert got["entry"]["unique_id"] == document["unique_id"]
        assert read(target.read_bytes()).unique_id == document["unique_id"]


def test_a_number_is_of_the_last_find_of_this_consultation_and_of_nobody_elses(mssgw, tmp_path):
    target = str(tmp_path / "x.xml")
    before = mssgw("get", "1", "-o", target, patient="PATIENT")
    assert before.status == 1
    assert "n° 1 (elle en a montré 0)" in before.document["sentence"]
    everything = mssgw.done("find", "--all", patient="PATIENT")["documents"]
    few = mssgw.done("find", "--type", everything[-1]["type"], "--all", patient="PATIENT")["documents"]
    assert len(few) < len(everything)
    assert mssgw.done("get", "1", "-o", target, patient="PATIENT")["entry"]["unique_id"] == few[0]["unique_id"]
    for number in ("0", str(len(few) + 1), "999"):
        assert mssgw("get", number, "-o", target, "--overwrite", patient="PATIENT").status == 1
    mssgw.done("end")
    assert mssgw("get", "1", "-o", target, "--overwrite", patient="PATIENT").status == 1
    assert mssgw("get", "1", "-o", target, "--overwrite", patient="PATIENT", who=OTHER).status == 1


def test_what_changes_a_document_takes_the_number_and_names_the_document(mssgw, tmp_path):
    """Regression: `hide 1` said that there is no such document."""
    found = mssgw.done("find", patient="TRAITANTE")["documents"][0]
    hidden = mssgw.done("hide", "1", patient="TRAITANTE")
    assert (hidden["unique_id"], hidden["title"], hidden["changed"]) == (found["unique_id"], found["title"], True)
    again = mssgw("hide", "1", patient="TRAITANTE", text=True).text
    assert f"{found['unique_id']}  {found['title']}" in again
    for verb in ("show", "archive"):
        assert mssgw.done(verb, "1", patient="TRAITANTE")["unique_id"] == found["unique_id"]
    assert mssgw("delete", "1", patient="TRAITANTE").document["error"] == "NotEntitled"  # another author's
    mssgw.done("end")
    lost = mssgw("hide", "1", patient="TRAITANTE")
    assert lost.status == 1
    assert "n° 1 (elle en a montré 0)" in lost.document["sentence"]


def test_get_shows_that_a_document_was_archived_and_masked(mssgw, tmp_path):
    name = mssgw.done("find", patient="TRAITANTE")["documents"][0]["unique_id"]  # a treating doctor sees what is masked
    mssgw.done("hide", name, patient="TRAITANTE")
    mssgw.done("archive", name, patient="TRAITANTE")
    page = tmp_path / "page.html"
    mssgw.done("get", name, "-o", str(page), "--as-form", "html", patient="TRAITANTE")
    assert '<p class="alert">Document archivé</p><p class="alert">Masqué aux professionnels de santé</p>' in page.read_text()


@pytest.mark.package("weasyprint", "pypdfium2")
@pytest.mark.peer("/usr/lib/*/libpangoft2-1.0.so.0")
def test_get_as_pdfa(mssgw, tmp_path):
    name = mssgw.done("find", patient="PATIENT")["documents"][0]["unique_id"]
    target = tmp_path / "document.pdf"
    mssgw.done("get", name, "-o", str(target), "--as-form", "pdfa", patient="PATIENT")
    assert require_pdfa1(target.read_bytes()).pages == 1


@pytest.mark.package("weasyprint", "pypdfium2")
@pytest.mark.peer("/usr/lib/*/libpangoft2-1.0.so.0")
def test_a_document_in_a_file_is_rendered_without_a_dmp(tmp_path):
    source, target = tmp_path / "cda.xml", tmp_path / "out.pdf"
    source.write_bytes(structured("<paragraph>x</paragraph>"))
    status, said, _ = plain("render", str(source), "-o", str(target), "--json")
    assert (status, json.loads(said)["bytes"]) == (0, target.stat().st_size)
    assert require_pdfa1(target.read_bytes()).pages == 1
    status, _, why = plain("render", str(source), "-o", str(target))
    assert status == 1
    assert "existe déjà" in why


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"<html/>", "ClinicalDocument"), (b"%PDF-1.4", "n'est pas acceptable"), (b"", "n'est pas acceptable")],
)
def test_what_is_no_document_is_refused_in_words(tmp_path, content, said):
    source = tmp_path / "x.xml"
    source.write_bytes(content)
    for form in ("html", "pdf", "pdfa"):
        status, out, why = plain("render", str(source), "-o", str(tmp_path / "out"), "--as-form", form)
        assert (status, out) == (1, "")
        assert said in why
    assert not (tmp_path / "out").exists()
    assert plain("render", str(tmp_path / "nowhere.xml"), "-o", "-")[0] == 1


TABLES = ["types", "cda-types", "classes", "formats", "contents", "facilities", "practices", "confidentialities", "specialties", "roles"]


@pytest.mark.parametrize("table", TABLES)
def test_each_code_table_is_listed(table):
    status, said, _ = plain(table, "--json")
    document = json.loads(said)
    assert status == 0
    assert document["concepts"]
    assert all(concept["code"] and concept["system"] for concept in document["concepts"])
    assert document["name"] in plain(table)[1]


def test_a_search_takes_words_in_any_case_without_accents():
    found = json.loads(plain("types", "--search", "BIOLOGIE medicale", "--json")[1])["concepts"]
    assert "Biologie médicale" in {c["label"] for c in found} or any("biologi" in c["label"].lower() for c in found)
    assert len(found) < len(json.loads(plain("types", "--json")[1])["concepts"])
    by_code = json.loads(plain("types", "-s", "11502-2", "--json")[1])["concepts"]
    assert [c["code"] for c in by_code] == ["11502-2"]
    status, said, _ = plain("types", "-s", "zzz")
    assert (status, said.startswith("0 codes")) == (0, True)


def test_the_operators_own_table_is_listed(write_config, tmp_path):
    own = tmp_path / "sets"
    own.mkdir()
    table = {"name": "JDV_X", "version": "9", "date": "2026-01-01", "concepts": [["X1", "1.2.3", "Mien"]]}
    (own / "practice-setting.json").write_text(json.dumps(table))
    config = write_config(value_sets=str(own))
    document = json.loads(plain("practices", "--config", str(config), "--json")[1])
    assert [c["code"] for c in document["concepts"]] == ["X1"]
