"""Every detail the connector can raise has its French: in the call, or in the catalogue."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import dmp_connector
import dmp_connector.simulator
from dmp_connector.errors import BadInput, CardError, CardUnreadable, DmpError, NotAllowed, Refused, WrongPin
from dmp_connector.french import CATALOGUE, french

ROOT = Path(dmp_connector.__file__).parent
OURS = [p for p in sorted(ROOT.rglob("*.py")) if "simulator" not in p.parts]
WORDS = re.compile(r"\b(the|is|are|of|not|needs?|must|with|which|this|no|and|cannot|only)\b")


@cache
def classes() -> list[type[DmpError]]:
    for module in pkgutil.walk_packages(dmp_connector.__path__, "dmp_connector."):
        if not module.name.startswith("dmp_connector.simulator") and not module.name.endswith(("__main__", "worker")):
            importlib.import_module(module.name)
    found, todo = [], [DmpError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += [k for k in kind.__subclasses__() if not k.__module__.startswith(("tests.", "dmp_connector.simulator"))]
    return found


def template(node: ast.expr) -> str | None:
    """The words of a message, `{}` for what is filled in; None when it is not written here."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
    if isinstance(node, ast.BinOp):
        left, right = template(node.left), template(node.right)
        return None if left is None or right is None else left + right
    return None


def said() -> Iterator[tuple[str, str]]:
    """(where, words) of every detail shown to a user without French beside it."""
    shown = {c.__name__ for c in classes() if issubclass(c, BadInput | CardError) and c is not WrongPin}
    for path in OURS:
        kinds = shown | ({"HostileXml", "BadAnswer"} if path.name == "xml.py" else set())  # BadDocument quotes these
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds and node.args:
                words = template(node.args[0])
                if words is not None and not any(k.arg == "fr" for k in node.keywords):
                    yield f"{path.name}:{node.lineno}", words
            if path.name == "header.py" and isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
                words = template(node.value.elts[1])
                if words is not None:
                    yield f"{path.name}:{node.lineno}", words
            if path.parent.name == "xdm" and isinstance(node, ast.Call) and ast.unparse(node.func) == "notes.append":
                words = template(node.args[0])
                assert words is not None
                yield f"{path.name}:{node.lineno}", words


def test_no_message_is_without_french():
    missing = [f"{where}: {words}" for where, words in said() if re.search("[a-z]{3}", words) and words not in CATALOGUE]
    assert not missing, "\n".join(missing)


def test_the_scan_sees_the_messages():
    """The scan would find nothing if errors were raised in another way."""
    assert len({words for _, words in said()}) > 80


def test_french_given_beside_a_message_is_french():
    english = []
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for keyword in node.keywords if isinstance(node, ast.Call) else ():
                words = template(keyword.value) if keyword.arg in {"fr", "message_fr"} else None
                if words and WORDS.search(words):
                    english.append(f"{path.name}:{node.lineno}: {words}")
    assert english == []


@pytest.mark.parametrize("kind", classes(), ids=lambda k: k.__name__)
def test_each_error_speaks_both_languages(kind):
    assert kind.fr
    assert kind.en
    assert not WORDS.search(kind.fr), kind.fr
    if kind is not Refused:
        assert kind.fr != kind.en


def test_the_catalogue_says_french_and_fills_in_as_many_pieces():
    for words, wording in CATALOGUE.items():
        assert words.count("{}") == wording.count("{}"), words
        assert not WORDS.search(wording.replace("use inconnu", "")), wording


def test_details_inside_details_are_turned_and_strangers_words_pass():
    assert french("METADATA.XML: a DTD is not accepted") == "METADATA.XML : une DTD n'est pas acceptée"
    assert french("ZFA: PID-7: not a date") == "ZFA : PID-7 : ce n'est pas une date"
    assert french("SCARD_E_TIMEOUT (0x8010000A)") == "SCARD_E_TIMEOUT (0x8010000A)"
    assert "le champ kind" in CardUnreadable("the field kind of the card is missing").sentence("fr")
    assert "the field kind" in CardUnreadable("the field kind of the card is missing").sentence("en")


def test_rules_that_refuse_say_their_own_cause_in_both_languages():
    """A NotAllowed raised with words of its own has them in French and in English."""
    rules = {c.__name__ for c in classes() if issubclass(c, NotAllowed)}
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            keys = {k.arg for k in node.keywords} if isinstance(node, ast.Call) else set()
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if name in rules and "fr" in keys:
                assert "en" in keys, f"{path.name}:{node.lineno}"


def test_no_verb_writes_a_sentence_past_the_catalogue():
    """`tell` and `notice` get data, or words of the catalogue."""
    import mssgw.cli.dmp as verbs

    past = []
    for path in sorted(Path(inspect.getfile(verbs)).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"tell", "notice"}:
                words = template(node.args[0]) if node.args else None
                if words and re.search(r"[A-Za-zÀ-ÿ]{4,} [A-Za-zÀ-ÿ]{2,}", words.replace("{}", "")):
                    past.append(f"{path.name}:{node.lineno}: {words}")
    assert past == []
