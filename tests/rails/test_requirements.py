"""What we claim of the standards is in one table, and what it calls done is cited in the code and in a test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mssgw.cli import app
from mssgw.conformity import Citation, Evidence, Status, _asking_data, citations, named, page, requirements
from mssgw.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
TABLE = requirements()
CODE = [*citations(ROOT / "mssgw"), *citations(ROOT / "dmp_connector")]
TESTS = [one for one in citations(ROOT / "tests") if not one.place.startswith("tests/rails/test_requirements.py")]
FOUND = Evidence.of(TABLE, CODE, TESTS)
ONE = '[[group]]\nname = "x"\nrequirements = [{{ {} }}]'
EVERY = [one for group in TABLE for one in group.requirements]


def test_citations_are_listed() -> None:
    assert not FOUND.unknown, "\n".join(f"{one.place}: {one.id} is not in mssgw/requirements.toml" for one in FOUND.unknown)


@pytest.mark.parametrize("one", [one for one in EVERY if one.status is Status.DONE], ids=lambda one: one.id)
def test_done_is_in_code_and_tested(one) -> None:
    assert FOUND.code[one.id], f"no comment in the code names {one.id}"
    assert FOUND.tests[one.id], f"no comment in the tests names {one.id}"


@pytest.mark.parametrize("one", [one for one in EVERY if one.status is not Status.PLANNED], ids=lambda one: one.id)
def test_what_is_neither_done_nor_planned_has_a_reason(one) -> None:
    assert one.status is Status.DONE or one.note


def test_page_is_printed_from_the_table() -> None:
    assert (ROOT / "docs" / "conformity.md").read_text(encoding="utf-8") == page(TABLE), "run `make docs`"


def test_only_comments_and_docstrings_are_read() -> None:
    source = (
        '"""RFC 5321 4.1.1, 3461, 6531 3.3 and RFC 9051; see docs."""\n'
        "é = 'RFC 1111' + \"# RFC 2222\"  # EX_0.3-1010 (TD1.5a), docs/reference/mssante.md 3.2\n"
        "f(g(description='RFC 3333 says 1000'), f'RFC 4444 {é}')\n"
        "send('TD9.9')\n"
    )
    assert list(named(source)) == [
        (1, "RFC 5321 4.1.1"),
        (1, "RFC 3461"),
        (1, "RFC 6531 3.3"),
        (1, "RFC 9051"),
        (2, "EX_0.3-1010"),
        (2, "TD1.5a"),
        (2, "docs/reference/mssante.md 3.2"),
        (3, "RFC 3333"),
    ]


def test_what_a_citation_speaks_for() -> None:
    row = '{{ id = "{}", title = "", status = "done" }}'
    ids = ("RFC 5321", "RFC 5321 4.5", "TD1.5", "TD3.3a", "TD3.3b")
    table = requirements(f'[[group]]\nname = "x"\nrequirements = [{", ".join(row.format(one) for one in ids)}]')
    cited = [
        Citation(key, f"a.py:{line}")
        for line, key in enumerate(("RFC 5321 4.5.4.1", "RFC 5321 4.50", "TD1.5b", "TD3.3", "TD3.3a", "RFC 532", "RFC 53210", "TD1.6"), 1)
    ]
    found = Evidence.of(table, cited, [])
    assert found.code == {
        "RFC 5321": ("a.py:1", "a.py:2"),
        "RFC 5321 4.5": ("a.py:1",),
        "TD1.5": ("a.py:3",),
        "TD3.3a": ("a.py:5",),
        "TD3.3b": (),
    }
    assert [one.id for one in found.unknown] == ["RFC 532", "RFC 53210", "TD1.6"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[group]", "requirements.toml"),
        (ONE.format('id = "a", title = "", status = "nearly"'), "nearly"),
        (ONE.format('id = "a", title = "", status = "no", why = ""'), "why"),
        (ONE.format('id = "a", title = "", status = "no" }, { id = "a", title = "", status = "no"'), "twice: a"),
    ],
)
def test_a_table_with_a_mistake_names_it(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        requirements(text)


def test_the_verb_shows_every_requirement_with_its_places() -> None:
    result = CliRunner().invoke(app, ["conformity", "--json"])
    assert result.exit_code == 0, result.output
    rows = {row["id"]: row for row in json.loads(result.output)}
    assert set(rows) == {one.id for one in EVERY}
    assert rows["RFC 9422"]["status"] == "done"
    for what in ("code", "tests"):
        for place in rows["RFC 9422"][what]:
            file, _, line = place.rpartition(":")
            assert "9422" in (ROOT / file).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    text = CliRunner().invoke(app, ["conformity"]).output
    assert all(one.id in text for one in EVERY)


def test_evidence_that_asks_data_from_outside_is_told() -> None:
    """A test that is skipped without the data was counted as evidence like any other."""
    source = (
        "import pytest\n# RFC 1111\nneeds_it = pytest.mark.material('x')\n\n\n@needs_it\ndef test_a(): ...  # RFC 2222\n\n\n"
        "@pytest.mark.material('y')\n@other\nasync def test_b():\n    ...  # RFC 3333\n\n\ndef test_c(): ...  # RFC 4444\n"
    )
    asking = {key for line, key in named(source) if any(line in lines for lines in _asking_data(source))}
    assert asking == {"RFC 2222", "RFC 3333"}
    whole = "pytestmark = pytest.mark.material('x')\n# RFC 1111\n"
    assert _asking_data(whole) == [range(1, 4)]
    rows = {row["id"]: row for row in json.loads(CliRunner().invoke(app, ["conformity", "--json"]).output)}
    assert any(place.startswith("tests/trust/test_suites.py") for place in rows["RFC 5280 6.1"]["tests_with_data"])
    assert set(rows["RFC 5280 6.1"]["tests_with_data"]) <= set(rows["RFC 5280 6.1"]["tests"])
    assert "need MSSGW_DATA)" in CliRunner().invoke(app, ["conformity"]).output


def test_without_the_tests_the_verb_reports_that(monkeypatch) -> None:
    monkeypatch.setattr("mssgw.cli.conformity.evidence", lambda groups: (Evidence.of(groups, CODE, ()), False))
    assert "not installed here" in CliRunner().invoke(app, ["conformity"]).output
    rows = json.loads(CliRunner().invoke(app, ["conformity", "--json"]).output)
    assert {row["tests"] for row in rows} == {None} == {row["tests_with_data"] for row in rows}
