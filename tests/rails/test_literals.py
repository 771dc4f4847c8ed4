"""No sentence for people stands in the code: errors of the DMP and refusals of the command line take keys of the catalogues.

The replies of SMTP and IMAP are exempt: they go over the wire to other programs, in English.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.dmp.test_messages import classes
from tools.messages import ROOT, looks_like_a_key

FOR_THE_LOG = {"Unavailable", "CreationUnanswered"}
"""Their first argument is for the log alone; the user reads the sentence of the kind."""
CODES = {"Refused", "NoDossier", "DossierExists", "DossierClosed", "ManagedByMes", "AccessDenied", "AssertionRefused"} | {
    "CertificateRefused",
    "DocumentUnknown",
    "DuplicateDocument",
    "RegistryRefused",
}
"""They carry the words of the server."""


def sentences(folder: str, names: set[str], *, without: str = "simulator") -> Iterator[str]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        if without in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.JoinedStr() | ast.Constant(value=str()), *_]):
                    if name in names:
                        yield f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("folder", ["dmp_connector", "mssgw/cli", "mssgw/dossier"])
def test_errors_of_the_dmp_take_messages(folder):
    kinds = {kind.__name__ for kind in classes()} - FOR_THE_LOG - CODES
    if folder == "mssgw/cli":
        kinds -= {"NotAllowed"}  # the mail side has a class of this name
    assert list(sentences(folder, kinds)) == []


def test_refusals_of_the_command_line_take_messages():
    assert list(sentences("mssgw/cli", {"failure", "warn", "BadParameter", "WrongUse"})) == []


def words_in_values(tree: ast.AST) -> Iterator[ast.Call]:
    """Values of a sentence that are words of one language: what stands in another sentence is a message itself."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="refusal" | "message" | "say" | "BackupError"), keywords=values):
                if any(one.arg in {"what", "why", "how", "problem"} and _is_clause(one.value) for one in values):
                    yield node


def _is_clause(value: ast.expr) -> bool:
    parts = value.values if isinstance(value, ast.JoinedStr) else [value]
    return any(isinstance(one, ast.Constant) and " " in str(one.value).strip() for one in parts)


def test_the_values_of_a_sentence_are_no_words_of_one_language():
    paths = [path for room in ("mssgw", "dmp_connector") for path in sorted((ROOT / room).rglob("*.py")) if "simulator" not in path.parts]
    found = [f"{path}: {ast.unparse(node)}" for path in paths for node in words_in_values(ast.parse(path.read_text("utf-8")))]
    assert found == []


def test_the_search_sees_words_in_a_value():
    assert len(list(words_in_values(ast.parse('refusal(fault, what=f"more than {most} entries")')))) == 1


def words_shown(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that print or ask, whose words stand there as a literal."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="output" | "inline") | ast.Attribute(attr="prompt" | "confirm" | "tell" | "notice"), args=args):
                if any(_has_words(one) for one in args):
                    yield node


def _has_words(shown: ast.expr) -> bool:
    match shown:
        case ast.Constant(value=str() as text):
            return any(c.isalpha() for c in text)
        case ast.JoinedStr(values=parts):
            return any(_has_words(one) for one in parts if isinstance(one, ast.Constant))
        case ast.BoolOp(values=several) | ast.Tuple(elts=several) | ast.List(elts=several):
            return any(map(_has_words, several))
        case ast.IfExp(body=first, orelse=second) | ast.BinOp(left=first, right=second):
            return _has_words(first) or _has_words(second)
        case ast.Starred(value=inner):
            return _has_words(inner)
    return False


def test_what_a_verb_prints_and_asks_are_messages():
    paths = sorted((ROOT / "mssgw" / "cli").rglob("*.py"))
    found = [f"{path}: {ast.unparse(node)}" for path in paths for node in words_shown(ast.parse(path.read_text("utf-8")))]
    assert found == []


@pytest.mark.parametrize("code", ['output(f"{a} added")', 'output(text or "nothing")', 'typer.prompt("PIN")', 's.tell(f"{n} octets", {})'])
def test_the_search_sees_words_that_are_shown(code):
    assert len(list(words_shown(ast.parse(code)))) == 1


def words_in_problems(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls of ConfigError and Mistakes with a problem whose sentence is written there; of Mistake with words instead of a key."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="ConfigError" | "Mistakes"), args=[problems, *_]):
                for one in ast.walk(problems):
                    if isinstance(one, ast.Tuple) and len(one.elts) == 2 and isinstance(one.elts[1], ast.JoinedStr | ast.Constant):
                        yield node
            case ast.Call(func=ast.Name(id="Mistake" | "AddressError" | "FilterError" | "NotThere" | "NotPermitted"), args=[first, *_]):
                if isinstance(first, ast.JoinedStr) or (isinstance(first, ast.Constant) and not looks_like_a_key(str(first.value))):
                    yield node


def test_problems_of_a_configuration_take_messages():
    paths = sorted((ROOT / "mssgw").rglob("*.py"))
    found = [f"{path}: {ast.unparse(node)}" for path in paths for node in words_in_problems(ast.parse(path.read_text("utf-8")))]
    assert found == []


@pytest.mark.parametrize("code", ['ConfigError([("node.data", f"{a} is bad")])', 'Mistakes([("x", "bad")])', 'Mistake("is bad")'])
def test_the_search_sees_words_in_a_problem(code):
    assert len(list(words_in_problems(ast.parse(code)))) == 1


def test_the_search_sees_a_sentence():
    """The replies of SMTP are sentences in the code: it would find them."""
    assert len(list(sentences("mssgw/smtpd", {"Refused", "Deferred"}))) > 5
