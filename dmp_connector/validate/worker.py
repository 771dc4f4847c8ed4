"""The schematron process: compiles schemas once, keeps them, answers one document at a time.

Run as `python -m dmp_connector.validate.worker`. Compiling takes seconds and hundreds of megabytes, so it
never happens in the process that serves; when a document hangs or crashes Saxon, only this process ends.

Wire: `child`. First the paths of the generic schemas as JSON, answered by their names. Then one document per
message, after a line of JSON: for each model of the document the paths of its versions. Answered by a list of
[schema, severity, where, message]; of the versions of a model the one that finds least counts. A schema of a model
is compiled when the first document needs it; one that does not compile, or is not there, is a warning.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from lxml import etree

from dmp_connector.child import receive, send
from dmp_connector.errors import DmpError
from dmp_connector.validate.schematron import compile_schema

try:
    from saxonche import PySaxonApiError, PySaxonProcessor
except ImportError:  # an extra of ours
    PySaxonApiError, PySaxonProcessor = RuntimeError, None

_MODELS = 24  # compiled schemas of models kept at once
# Saxon raises the one or the other, depending on its version.
_CANNOT_COMPILE: tuple[type[Exception], ...] = (DmpError, PySaxonApiError, RuntimeError)
_CANNOT_RUN: tuple[type[Exception], ...] = (PySaxonApiError, RuntimeError, ValueError, etree.XMLSyntaxError)
_STEP = re.compile(r"Q\{[^}]*\}")


def main() -> None:
    """Compile what the first message names, then judge one document after the other, until standard input ends."""
    inward, outward = sys.stdin.buffer, sys.stdout.buffer
    if PySaxonProcessor is None:
        send(outward, json.dumps({"error": "saxonche is not installed"}).encode())
        return
    opening = receive(inward)
    if opening is None:
        return
    with PySaxonProcessor(license=False) as processor:
        compiler = processor.new_xslt30_processor()
        models = _Models(compiler)
        try:
            sheets = {Path(p).stem: _compiled(compiler, p) for p in json.loads(opening)}
        except _CANNOT_COMPILE as error:
            send(outward, json.dumps({"error": str(error)}).encode())
            return
        send(outward, json.dumps({"schemas": list(sheets)}).encode())
        while (message := receive(inward)) is not None:
            wanted, _, document = message.partition(b"\n")
            send(outward, json.dumps(_check(processor, sheets, models, json.loads(wanted), document)).encode())


def _compiled(compiler: Any, path: str) -> Any:
    return compiler.compile_stylesheet(stylesheet_text=compile_schema(Path(path)).decode())


class _Models:
    """Schemas of models, compiled once; the least recently used ones are dropped."""

    def __init__(self, compiler: Any) -> None:
        self._compiler = compiler
        self._kept: dict[str, Any] = {}

    def get(self, path: str) -> Any:
        """The sheet, or the error why there is none."""
        sheet = self._kept.pop(path, None)
        if sheet is None:
            try:
                sheet = _compiled(self._compiler, path)
            except _CANNOT_COMPILE as error:
                sheet = error
        self._kept[path] = sheet
        if len(self._kept) > _MODELS:
            del self._kept[next(iter(self._kept))]
        return sheet


def _check(processor: Any, sheets: dict[str, Any], models: _Models, wanted: list[list[str]], document: bytes) -> dict[str, Any]:
    try:
        node = processor.parse_xml(xml_text=document.decode("utf-8"))
        found = [finding for name, sheet in sheets.items() for finding in _run(name, sheet, node)]
        for versions in wanted:
            found += _best(models, versions, node)
        return {"findings": found}
    except _CANNOT_RUN as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _best(models: _Models, versions: list[str], node: Any) -> list[list[str]]:
    """The findings of the version that finds least; when none can run, why."""
    found, broken = [], []
    for path in versions:
        sheet = models.get(path)
        if isinstance(sheet, Exception):
            broken.append([Path(path).stem, "warning", "kit", f"this schematron cannot run: {sheet}"[:500]])
        else:
            found.append(_run(Path(path).stem, sheet, node))
    return min(found, key=lambda one: sum(severity == "error" for _, severity, _, _ in one)) if found else broken


def _run(name: str, sheet: Any, node: Any) -> list[list[str]]:
    answer = sheet.transform_to_string(xdm_node=node)
    found = []
    for finding in etree.fromstring(answer.encode("utf-8")).iter("finding"):
        severity = "warning" if finding.get("role") in {"warning", "warn", "info", "information"} else "error"
        where = _STEP.sub("", finding.get("location", ""))
        found.append([name, severity, where, " ".join("".join(map(str, finding.itertext())).split())])
    return found


if __name__ == "__main__":
    main()
