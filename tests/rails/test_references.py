"""Facts stand once, in docs/reference/, and are cited by the number of their section; what is cited is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mssgw.conformity import REFERENCE, citations, documented, named, sections

ROOT = Path(__file__).parents[2]
SECTIONS = sections(ROOT / REFERENCE)
SOURCES = [path for place in ("mssgw", "dmp_connector", "tests", "bench") for path in sorted((ROOT / place).rglob("*.py"))]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "config").rglob("*.md"))]
MARKDOWN = re.compile(r"(?<![\w/*.-])[\w./-]+\.md\b")
CITED = re.compile(r"docs/reference/\w+\.md(?: \d+(?:\.\d+)*)?")
THIS = "tests/rails/test_references.py"


def cited() -> dict[str, str]:
    """What is cited, and one place where."""
    code = {one.id: one.place for place in ("mssgw", "dmp_connector", "tests", "bench") for one in citations(ROOT / place)}
    pages = {key: path.relative_to(ROOT).as_posix() for path in PAGES for key in CITED.findall(path.read_text(encoding="utf-8"))}
    return {key: place for key, place in {**pages, **code}.items() if key.startswith(REFERENCE) and not place.startswith(THIS)}


def test_every_cited_section_exists() -> None:
    examples = {"docs/reference/PAGE.md"}
    missing = [f"{place}: {key}" for key, place in cited().items() if key not in SECTIONS and key not in examples]
    assert not missing, "no such section (a citation ends with the number of one):\n" + "\n".join(missing)


def test_every_page_named_in_the_sources_exists() -> None:
    missing = [
        f"{path.relative_to(ROOT)}:{line}: {found[0]}"
        for path in SOURCES
        if path.relative_to(ROOT).as_posix() != THIS
        for line, found in documented(path.read_text(encoding="utf-8"), MARKDOWN)
        if "PAGE" not in found[0] and not (ROOT / found[0]).is_file()
    ]
    assert not missing, "name a page by its path from the root of the repository:\n" + "\n".join(missing)


def test_no_source_is_named_by_a_key_that_only_its_collector_knows() -> None:
    """A ticket or a circular stands in docs/reference/ with its public title; the code cites the section."""
    private = re.compile(r"\b(?:BB|GIE)-\d+\b")
    found = [
        f"{path.relative_to(ROOT)}:{line}: {key[0]}"
        for path in SOURCES
        if path.relative_to(ROOT).as_posix() != THIS
        for line, key in documented(path.read_text(encoding="utf-8"), private)
    ]
    assert not found, "\n".join(found)


def test_numbers_are_used_once_and_stand_below_their_chapter() -> None:
    for path in sorted((ROOT / REFERENCE).glob("*.md")):
        numbers = re.findall(r"^#{2,4} (\d+(?:\.\d+)*)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(numbers) == len(set(numbers)), path.name
        assert numbers == sorted(numbers, key=lambda number: [int(each) for each in number.split(".")]), path.name
        assert {number.rpartition(".")[0] for number in numbers} - {""} <= set(numbers), path.name


def test_every_section_is_cited() -> None:
    """Soft: a section that nobody relies on is listed, to be dropped or cited."""
    used = set(cited())
    used |= {key.rpartition(".")[0] for key in used}  # a chapter is used through its sections
    if idle := sorted(SECTIONS - used):
        pytest.xfail("nobody cites " + ", ".join(idle))


def test_a_citation_names_each_of_its_sections() -> None:
    source = '"""docs/reference/crypto.md 9.2, 9.13; docs/reference/dmp.md.\n\nx"""\ny = 1  # see docs/reference/mail.md 3, then 4\n'
    assert list(named(source)) == [
        (1, "docs/reference/crypto.md 9.2"),
        (1, "docs/reference/crypto.md 9.13"),
        (1, "docs/reference/dmp.md"),
        (4, "docs/reference/mail.md 3"),
    ]


def test_sections_are_read_from_headings(tmp_path: Path) -> None:
    (tmp_path / "x.md").write_text("# X\n\n## 1. One\n\n### 1.2 Two\n\n1.3 not a heading\n", encoding="utf-8")
    assert sections(tmp_path) == {"docs/reference/x.md 1", "docs/reference/x.md 1.2"}
