"""The API page of `dmp_connector`, made from its docstrings: `python -m tools.dmp_api > docs/dmp-api.md` (`make docs`).

Read from the source, not by importing: a card or a validator that is not installed changes nothing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "dmp_connector"
_HEAD = """# The API of dmp_connector

Made by `make docs` from the docstrings; `docs/dmp.md` says what the library is for, `docs/examples/dmp_alone.py` uses it. Moments are
aware, durations `timedelta`, sizes octets, unless an entry says otherwise. Whatever is not named here is internal.
"""
_ROOMS = (
    "model", "errors", "settings", "signer", "codes", "client", "blocking", "dossier", "store", "card", "cda", "xdm", "validate", "paper",
    "insi", "doctor", "simulator", "habilitations", "hl7v2", "hl7v3", "ebxml", "proof", "wire", "child", "names",
)  # fmt: skip
"""In the order of interest: what a program that uses the library meets first."""
_PROCESSES = {"worker", "pkcs11_worker", "__main__"}
_SIMULATOR = {"__init__", "config", "server", "people"}  # the rest of it answers, nobody calls it

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Entry:
    """A public class, function or method. `name`: with its class in front; `doc`: "" when it has none."""

    module: str
    line: int
    name: str
    node: Definition
    doc: str


def modules() -> list[tuple[str, ast.Module]]:
    """Every module of the library, by its dotted name."""
    paths = sorted(LIBRARY.rglob("*.py"))
    return [(_dotted(path), ast.parse(path.read_text("utf-8"))) for path in paths]


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def entries(module: str, tree: ast.Module) -> Iterator[Entry]:
    """What of a module is public: no name, nor its class's, begins with an underscore."""
    yield from _entries(module, tree.body, "")


def _entries(module: str, body: list[ast.stmt], within: str) -> Iterator[Entry]:
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            name = within + node.name
            yield Entry(module, node.lineno, name, node, ast.get_docstring(node) or "")
            if isinstance(node, ast.ClassDef):
                yield from _entries(module, node.body, f"{name}.")


def page() -> str:
    """The page, Markdown."""
    found = [(name, tree) for name, tree in modules() if _shown(name)]
    rank = {room: place for place, room in enumerate(_ROOMS)}
    found.sort(key=lambda one: (rank[_room(one[0])], one[0]))
    return _HEAD + "".join(_section(name, tree) for name, tree in found)


def _room(module: str) -> str:
    return module.split(".")[1]


def _shown(module: str) -> bool:
    parts = module.split(".")
    if len(parts) < 2 or parts[-1] in _PROCESSES or parts[1] in {"locale", "messages", "texts", "french"}:
        return False
    return parts[1] != "simulator" or len(parts) == 2 or parts[2] in _SIMULATOR


def _section(module: str, tree: ast.Module) -> str:
    found = list(entries(module, tree))
    lines = [f"\n## {module}\n", _prose(ast.get_docstring(tree) or "")]
    lines += [line for entry in found for line in _lines(entry)]
    return "\n".join(lines).rstrip() + "\n"


def _lines(entry: Entry) -> Iterator[str]:
    node, kind = entry.node, "###" if "." not in entry.name else "####"
    yield f"\n{kind} `{_signature(entry)}`\n"
    yield _prose(entry.doc)
    if isinstance(node, ast.ClassDef) and (fields := _fields(node)):
        yield f"\n```text\n{fields}\n```"


def _signature(entry: Entry) -> str:
    node = entry.node
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {entry.name}({bases})" if bases else f"class {entry.name}"
    decorators = {ast.unparse(one) for one in node.decorator_list}
    answer = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    if decorators & {"property", "cached_property", "functools.cached_property"}:
        return f"{entry.name}{answer}"
    word = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    arguments = ast.unparse(node.args)
    for owner in ("self, ", "self", "cls, ", "cls"):
        if "." in entry.name and "staticmethod" not in decorators and arguments.startswith(owner):
            arguments = arguments.removeprefix(owner)
            break
    return f"{word}{entry.name}({arguments}){answer}"


def _fields(node: ast.ClassDef) -> str:
    """The fields of a value, or the members of an enumeration."""
    enumeration = any(ast.unparse(base).startswith("enum.") for base in node.bases)
    fields = (one for one in node.body if isinstance(one, ast.AnnAssign) or (enumeration and isinstance(one, ast.Assign)))
    return "\n".join(line for one in fields if not (line := ast.unparse(one)).startswith("_"))


def _prose(doc: str) -> str:
    """A docstring as Markdown: what is drawn in it (indented, or a table of columns) stays as it is drawn."""
    blocks = []
    for block in doc.split("\n\n"):
        drawn = any(line.startswith("    ") or "   " in line.strip() for line in block.splitlines())
        blocks.append(f"```text\n{block}\n```" if drawn else block)
    return "\n\n".join(blocks)


if __name__ == "__main__":
    sys.stdout.write(page())
