"""What this product claims of RFCs and of national requirements, and where each claim is kept.

`requirements.toml`, beside this file, is the only list: id, title, status, note. Where a requirement is fulfilled and tested is
read from the sources: a comment, a docstring or a setting's description that names its id (`RFC n 4.5.4`, an ANS number, a DMP
transaction, an IHE one). Text inside other strings is data and proves nothing. Facts that many places rely on stand once, in
numbered sections of `docs/reference/`; a comment cites them as `docs/reference/PAGE.md n.n`.

    requirements()                      the table; raises ConfigError
    citations(directory)                what the sources below a directory name
    sections(directory)                 what the pages of docs/reference/ define
    Evidence.of(table, code, tests)     which citation counts for which requirement, and those that count for none
    page(table)                         docs/conformity.md; `python -m mssgw.conformity` prints it

A citation of a section counts for the longest entry that contains it, and for those above: `RFC n 4.5.4.1` for `RFC n 4.5.4` and
`RFC n`. A transaction with a letter counts for its family too; a family's name alone counts for none of its members.
"""

from __future__ import annotations

import ast
import enum
import functools
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mssgw.core.errors import ConfigError
from mssgw.core.texts import message

TABLE = Path(__file__).with_name("requirements.toml")

_SECTION = r"(?:(?:[Ss]ection|[Aa]ppendix) )?(?:\d+(?:\.\d+)*|[A-Z](?:\.\d+)+|(?<=[Aa]ppendix )[A-Z])\b"
_CITED = re.compile(
    rf"\bRFCs? (?P<rfc>\d{{3,5}})\b(?P<more>(?:(?:,|;| and| to)? {_SECTION})*)"
    r"|\b(?P<id>ECO\.\d+(?:\.\d+)*|(?:EX|REC|RG)_[A-Z0-9]+(?:\.[0-9X]+)?(?:-\d+)?|TD\d\.\d+[a-d]?|ITI-\d+|VIHF|XML-DSig|ISO 19005-1"
    r"|(?:[A-Z]+\.)?(?:MSS|DMP|INS|SSI)/[A-Za-z]+\.?\d+(?:\.\d+)*|ANS (?:Ref#\d|MOTCO\d))"
    r"|\b(?P<page>docs/reference/\w+\.md)(?P<numbers>(?:,? \d+(?:\.\d+)*\b)*)"
)
_HEADING = re.compile(r"^#{2,4} (\d+(?:\.\d+)*)\.? ", re.MULTILINE)
REFERENCE = "docs/reference/"


class Status(enum.StrEnum):
    DONE = "done"  # everything that concerns us, in code and in tests
    PARTIAL = "partial"  # the note has what is missing, or how little of it is ours
    PLANNED = "planned"
    NO = "no"  # on purpose


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    title: str
    status: Status
    note: str = ""


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    requirements: tuple[Requirement, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    group: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Citation:
    id: str
    place: str  # file:line, relative to what holds the directory
    asks_data: bool = False  # stands in a test that is marked `material`: skipped without data that is not in the repository


def requirements(text: str | None = None) -> tuple[Group, ...]:
    """The table, by groups in the file's order. Raises ConfigError: not TOML, unknown status or key, an id twice."""
    try:
        groups = msgspec.convert(tomllib.loads(TABLE.read_text(encoding="utf-8") if text is None else text), _File).group
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError([("requirements.toml", message("words", words=str(error)))]) from error
    twice = [key for key, count in Counter(one.id for group in groups for one in group.requirements).items() if count > 1]
    if twice:
        raise ConfigError([("requirements.toml", message("conformity.twice", names=tuple(twice)))])
    return groups


@functools.cache
def citations(directory: Path) -> tuple[Citation, ...]:
    """What the comments and docstrings of the Python files below `directory` name, in the order of the files."""
    found: list[Citation] = []
    for path in sorted(directory.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        asking = _asking_data(source)
        found += [
            Citation(key, f"{path.relative_to(directory.parent).as_posix()}:{line}", any(line in lines for lines in asking))
            for line, key in named(source)
        ]
    return tuple(found)


def _asking_data(source: str) -> list[range]:
    """The lines of tests that need data from outside the repository: marked `material`, or with a name for such a mark."""
    if "material" not in source and "needs_" not in source:
        return []
    tree, marks, asking = ast.parse(source), {"needs_examples", "needs_schemas"}, []

    def asks(mark: ast.expr) -> bool:
        return any(
            (isinstance(node, ast.Attribute) and node.attr in {"material", *marks}) or (isinstance(node, ast.Name) and node.id in marks)
            for node in ast.walk(mark)
        )

    for node in tree.body:
        if isinstance(node, ast.Assign) and asks(node.value):
            names = {one.id for one in node.targets if isinstance(one, ast.Name)}
            if "pytestmark" in names:
                return [range(1, len(source.split("\n")) + 1)]
            marks |= names
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(map(asks, node.decorator_list)):
            asking.append(range(node.decorator_list[0].lineno, (node.end_lineno or node.lineno) + 1))
    return asking


def sections(directory: Path) -> frozenset[str]:
    """The numbered sections of the pages in `directory`, as they are cited: `docs/reference/PAGE.md n.n`."""
    return frozenset(
        f"{REFERENCE}{path.name} {number}"
        for path in directory.glob("*.md")
        for number in _HEADING.findall(path.read_text(encoding="utf-8"))
    )


def named(source: str) -> Iterator[tuple[int, str]]:
    """(line, id) of each requirement and each reference section that a comment or a docstring of `source` names."""
    for number, found in documented(source, _CITED):
        yield from ((number, key) for key in _ids(found))


def documented(source: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, re.Match[str]]]:
    """(line, match) where a comment, a docstring or a setting's description of `source` matches. A match never spans two lines."""
    if not pattern.search(source):
        return
    strings, docstrings = _strings(ast.parse(source))
    for number, line in enumerate(source.split("\n"), 1):
        for found in pattern.finditer(line):
            at = number, len(line[: found.start()].encode())
            described = any(start <= at < end for start, end in docstrings)
            if described or ("#" in line[: found.start()] and not any(start <= at < end for start, end in strings)):
                yield number, found


_Span = tuple[tuple[int, int], tuple[int, int]]


def _strings(tree: ast.Module) -> tuple[list[_Span], list[_Span]]:
    """Where strings stand, and those that document: docstrings, descriptions of settings. (line, octet) to (line, octet)."""

    def span(node: ast.Constant | ast.JoinedStr) -> _Span:
        return (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)

    every, docstrings = [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            every.append(span(node))
        elif isinstance(node, ast.Expr) or (isinstance(node, ast.keyword) and node.arg == "description"):
            docstrings += [span(node.value)] if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else []
    return every, docstrings


def _ids(found: re.Match[str]) -> Iterator[str]:
    """In a list, a number of four digits without a dot is another RFC, everything else a section of the last one."""
    if found["id"]:
        yield found["id"]
        return
    if found["page"]:
        numbers = re.findall(r"[\d.]+", found["numbers"])
        yield from (f"{found['page']} {number}" for number in numbers) if numbers else (found["page"],)
        return
    rfc, sections = found["rfc"], 0
    for word in re.findall(r"[\dA-Z]+(?:\.\d+)*\b", found["more"]):
        if len(word) >= 4 and word.isdigit():
            if not sections:
                yield f"RFC {rfc}"
            rfc, sections = word, 0
        else:
            yield f"RFC {rfc} {word}"
            sections += 1
    if not sections:
        yield f"RFC {rfc}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """`code` and `tests`: places by requirement id. `unknown`: citations that no entry covers. `asking_data`: places of tests
    that need data from outside the repository."""

    code: Mapping[str, tuple[str, ...]]
    tests: Mapping[str, tuple[str, ...]]
    unknown: tuple[Citation, ...] = field(default=())
    asking_data: frozenset[str] = field(default=frozenset())

    @staticmethod
    def of(groups: Iterable[Group], code: Iterable[Citation], tests: Iterable[Citation]) -> Evidence:
        ids = {one.id for group in groups for one in group.requirements}
        families = {key[:-1] for key in ids if key[-1].islower()}
        unknown: list[Citation] = []

        def places(cited: Iterable[Citation]) -> dict[str, tuple[str, ...]]:
            found: dict[str, list[str]] = {key: [] for key in ids}
            for each in cited:
                if each.id.startswith(REFERENCE):  # a fact, not a requirement
                    continue
                covering = ids & set(_upwards(each.id))
                for key in covering:
                    found[key].append(each.place)
                if not covering and each.id not in families:
                    unknown.append(each)
            return {key: tuple(dict.fromkeys(each)) for key, each in found.items()}

        tests = list(tests)
        return Evidence(places(code), places(tests), tuple(unknown), frozenset(one.place for one in tests if one.asks_data))


def _upwards(key: str) -> Iterator[str]:
    """The id and those that contain it: sections lose their last number, transactions their letter."""
    yield key
    if key.startswith("RFC "):
        while len(key.split()) == 3:
            key = key.rpartition("." if "." in key else " ")[0]
            yield key
    elif key.startswith("TD"):
        yield key.rstrip("abcd")


def evidence(groups: Iterable[Group]) -> tuple[Evidence, bool]:
    """What the installed sources show, and whether the tests are beside them: a wheel brings none."""
    here = Path(__file__).parents[1]
    tests = here / "tests"
    there = (tests / "rails" / "test_requirements.py").exists()
    code = citations(here / "mssgw") + citations(here / "dmp_connector")
    return Evidence.of(groups, code, citations(tests) if there else ()), there


def page(groups: Iterable[Group]) -> str:
    """docs/conformity.md. Without places: lines move with every change, `mssgw conformity` shows where they are now."""
    lines = [
        "# Conformity",
        "",
        "Printed from `mssgw/requirements.toml` by `make docs`. `mssgw conformity` adds where each requirement is fulfilled and tested;",
        "`tests/rails/test_requirements.py` refuses a citation that is not listed here and a *done* without code or without a test.",
        "",
        "*done*: what concerns us, in code and in tests. *partial*: the note says what is missing or how little of it is ours.",
        "*planned*: not yet. *no*: on purpose. National ids are those of the public texts; requirements we could not read are not listed.",
    ]
    for group in groups:
        lines += ["", f"## {group.name}", "", "| requirement | what | status | note |", "| --- | --- | --- | --- |"]
        lines += [f"| {one.id} | {one.title} | {one.status} | {one.note} |" for one in group.requirements]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(requirements()))
