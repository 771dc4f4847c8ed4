"""Validator: the three checks in order, XSD, header rules, schematrons.

`kit` is the folder of the ANS conformance kit (`Kit`). Without it only the header rules run, and `levels` shows that.
With it the generic schematrons check every document, and those of a model the documents that follow it. The
kit's licence is not settled: it is not shipped.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lxml import etree

from dmp_connector.cda.read import MAX_CDA, Cda, read
from dmp_connector.child import Child, ChildGone
from dmp_connector.errors import BadDocument, Unavailable
from dmp_connector.paper.pdf import MAX_PDF
from dmp_connector.texts import message
from dmp_connector.validate.findings import Finding
from dmp_connector.validate.header import check_header
from dmp_connector.validate.kit import Kit, Models, versions_for

_START_SECONDS = 120.0
_CHECK_SECONDS = 60.0


class Validator:
    """Thread-safe; `close` ends the worker. `max_pdf`, `max_bytes`: octets taken."""

    def __init__(
        self, kit: Path | None = None, *, models: Sequence[str] = ("auto",), max_pdf: int = MAX_PDF, max_bytes: int = MAX_CDA
    ) -> None:
        self._kit, self._models = Kit(kit) if kit is not None else None, Models.of(models)
        self._max_pdf, self._max_bytes = max_pdf, max_bytes
        self._worker = SchematronWorker(self._kit.generic) if self._kit and self._kit.generic else None

    @property
    def levels(self) -> tuple[str, ...]:
        """Which checks are installed, for the audit and for `doctor`."""
        return ("header", *(("xsd",) if self._kit and self._kit.xsd else ()), *(("schematron",) if self._worker else ()))

    @cached_property
    def _xsd(self) -> etree.XMLSchema | None:
        path = self._kit.xsd if self._kit else None
        return etree.XMLSchema(etree.parse(str(path))) if path else None

    def check(self, content: bytes, *, schematron: bool = True) -> tuple[Finding, ...]:
        """Every finding. Raises BadDocument when it is no CDA at all, Unavailable when the worker fails. Blocks."""
        document = read(content, max_bytes=self._max_bytes)
        found = [*self._absent, *self._check_xsd(document), *check_header(document, max_pdf=self._max_pdf)]
        if schematron and self._worker is not None and self._kit is not None:
            paths = [[str(self._kit.model(name)) for name in versions] for versions in versions_for(document, self._models)]
            found += self._worker.check(etree.tostring(document.root, encoding="UTF-8"), paths)
        return tuple(found)

    @cached_property
    def _absent(self) -> tuple[Finding, ...]:
        """The checks that every document needs and that are not installed: shown with each result, so that it is not taken for complete."""
        parts = self._kit.missing_for_all if self._kit else ()
        return tuple(Finding("kit", "warning", part, message("validate.not-installed")) for part in parts)

    def require(self, content: bytes, *, schematron: bool = True) -> tuple[Finding, ...]:
        """Warnings, or BadDocument with the first three errors and their number."""
        found = self.check(content, schematron=schematron)
        errors = [f for f in found if f.severity == "error"]
        if errors:
            more = len(errors) - 3
            first = tuple(f.message for f in errors[:3])
            raise BadDocument(message("validate.more", first=first, count=more) if more > 0 else message("words", words=first))
        return found

    def _check_xsd(self, document: Cda) -> list[Finding]:
        schema = self._xsd
        # A copy as its own tree: inside a self-presenting document the schema would see the stylesheet.
        if schema is None or schema.validate(etree.fromstring(etree.tostring(document.root), etree.XMLParser(huge_tree=True))):
            return []
        return [Finding("xsd", "error", f"line {e.line}", message("words", words=e.message)) for e in schema.error_log]  # type: ignore[attr-defined]

    def close(self) -> None:
        """End the schematron process, when one runs."""
        if self._worker is not None:
            self._worker.close()


class SchematronWorker:
    """The schematron process behind a lock: started at first use, restarted after a failure."""

    def __init__(self, schemas: Sequence[Path]) -> None:
        self._schemas = [str(p.resolve()) for p in schemas]
        self._child: Child | None = None
        self._lock = threading.Lock()

    def check(self, document: bytes, models: Sequence[Sequence[str]] = ()) -> list[Finding]:
        """Findings of every generic schema, and of each model's best version (`models`: paths). Raises Unavailable: no
        saxonche, a generic schema that does not compile, a hang."""
        request = json.dumps([list(map(str, versions)) for versions in models]).encode() + b"\n" + document
        with self._lock:
            answer = self._ask(self._child or self._start(), request, _CHECK_SECONDS)
        return [Finding(name, severity, where, message("words", words=said)) for name, severity, where, said in answer["findings"]]

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._stop()

    def _start(self) -> Child:
        self._child = Child("dmp_connector.validate.worker")
        try:
            self._ask(self._child, json.dumps(self._schemas).encode(), _START_SECONDS)
        except Unavailable:
            self._stop()
            raise
        return self._child

    def _ask(self, child: Child, request: bytes, seconds: float) -> dict[str, Any]:
        """Raises Unavailable. A document that Saxon cannot judge leaves the worker warm."""
        try:
            answer: dict[str, Any] = child.ask(request, seconds=seconds)
        except ChildGone as error:
            self._stop()
            raise Unavailable(f"schematron worker: {error}", sent=False) from error
        if "error" in answer:
            raise Unavailable(f"schematron: {answer['error']}", sent=False)
        return answer

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.stop()
