"""Which SMTP replies the code can make: read from its syntax trees, with the defaults of the exception classes that it names."""

from __future__ import annotations

import ast
import importlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from mssgw.core.errors import MailError
from mssgw.trust.faults import Fault

ROOT = Path(__file__).parents[2]
Pair = tuple[int, str]  # reply code, enhanced status code
PASSED_ON = {"mssgw.protocol.smtp._address": 501, "mssgw.trust.faults.rewritten": 550}  # given the enhanced code, last, for this code
POSITIVE = re.compile(r"(\d{3}) (\d\.\d+\.\d+) ")


class Unreadable(Exception):
    """A reply whose codes don't stand where they are given."""


def modules(*patterns: str, but: Iterable[str] = ()) -> list[Path]:
    """Files below mssgw/ that match, without those named."""
    left_out = {ROOT / "mssgw" / name for name in but}
    return sorted({path for pattern in patterns for path in (ROOT / "mssgw").glob(pattern)} - left_out)


def sent(paths: Iterable[Path]) -> tuple[dict[Pair, list[str]], list[str]]:
    """Every pair with the places that make it; and the places whose codes are computed."""
    found: dict[Pair, list[str]] = defaultdict(list)
    computed: list[str] = []
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        known = vars(importlib.import_module(name))
        function_of = {
            id(node): function.name
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(function)
        }
        for node in ast.walk(tree):
            where = f"{path.relative_to(ROOT / 'mssgw')}:{function_of.get(id(node), '')}"
            try:
                for pair in _pairs(node, known):
                    found[pair].append(where)
            except Unreadable:
                computed.append(where)
    return found, sorted(set(computed))


def _pairs(node: ast.AST, known: dict[str, object]) -> Iterator[Pair]:
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and (kind := _error(node.exc, known)):
        yield kind.default.code, kind.default.enhanced
    if not isinstance(node, ast.Call):
        return
    if kind := _error(node.func, known):
        yield from _of_error(node, kind)
    elif any(keyword.arg in ("code", "enhanced") for keyword in node.keywords):
        raise Unreadable  # type(error)(…, code=…)
    elif isinstance(node.func, ast.Name) and node.func.id == "Reply":
        yield _constants(node.args[0], node.args[1])
    elif isinstance(node.func, ast.Name) and (code := PASSED_ON.get(_full_name(known.get(node.func.id)))):
        yield _constants(ast.Constant(code), node.args[-1])
    elif isinstance(node.func, ast.Attribute) and node.func.attr == "fault" and len(node.args) == 3:
        yield _constants(node.args[1], node.args[2])
    elif isinstance(node.func, ast.Attribute) and node.func.attr == "say" and (positive := POSITIVE.match(_start(node.args[0]))):
        yield int(positive[1]), positive[2]


def _full_name(function: object) -> str:
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', '')}"


def _of_error(node: ast.Call, kind: type[MailError]) -> Iterator[Pair]:
    given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg in ("code", "enhanced")}
    default = kind.default
    yield _constants(given.get("code", ast.Constant(default.code)), given.get("enhanced", ast.Constant(default.enhanced)))


def _error(node: ast.AST, known: dict[str, object]) -> type[MailError] | None:
    found = known.get(node.id) if isinstance(node, ast.Name) else None
    return found if isinstance(found, type) and issubclass(found, MailError) else None


def _constants(code: ast.AST, enhanced: ast.AST) -> Pair:
    if isinstance(code, ast.Constant) and isinstance(enhanced, ast.Constant):
        return code.value, enhanced.value
    raise Unreadable


def _start(node: ast.AST) -> str:
    """The text that a string, or an f-string, begins with."""
    if isinstance(node, ast.JoinedStr) and node.values:
        return _start(node.values[0])
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def of_faults() -> set[Pair]:
    return {(fault.code, fault.enhanced) for fault in Fault}


def documented(page: str) -> set[Pair]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return {
        (int(code), enhanced)
        for code, enhanced in re.findall(r"\b(\d{3}) (\d\.\d+\.\d+)", text.partition("\n## Replies\n")[2].partition("\n## ")[0])
    }
