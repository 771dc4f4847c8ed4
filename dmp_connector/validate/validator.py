"""Validator: the three gates in order, XSD, header rules, schematrons; the last two need what the operator installed.

`kit` is the folder of the ANS conformance kit (TestContenuCDA): `infrastructure/cda/CDA_extended.xsd` and
`schematrons/`. Without it only the header rules run, and `levels` says so. The kit's licence is not settled:
it is not shipped.
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
from dmp_connector.errors import BadDocument, BadSettings, Unavailable
from dmp_connector.pdf import MAX_PDF
from dmp_connector.validate.findings import Finding
from dmp_connector.validate.header import check_header

GENERIC = (
    "profils/structurationMinimale/ASIP-STRUCT-MIN-StrucMin.sch",
    "profils/IHE.sch",
    "profils/CI-SIS_ModelesDeContenusCDA.sch",
    "profils/CI-SIS_Modeles_ANS.sch",
)
_START_SECONDS = 120.0
_CHECK_SECONDS = 60.0


class Validator:
    """Thread-safe; `close` ends the worker. `max_pdf`, `max_bytes`: octets taken."""

    def __init__(
        self, kit: Path | None = None, *, schematrons: Sequence[str] = GENERIC, max_pdf: int = MAX_PDF, max_bytes: int = MAX_CDA
    ) -> None:
        if kit is not None and not kit.is_dir():
            raise BadSettings(f"validation kit: {kit} is not a folder")
        self._kit, self._max_pdf, self._max_bytes = kit, max_pdf, max_bytes
        paths = [kit / "schematrons" / s for s in schematrons] if kit else []
        self._worker = SchematronWorker([p for p in paths if p.is_file()]) if any(p.is_file() for p in paths) else None

    @property
    def levels(self) -> tuple[str, ...]:
        """Which gates are installed, for the audit and for `doctor`."""
        return ("header", *(("xsd",) if self._xsd_path else ()), *(("schematron",) if self._worker else ()))

    @cached_property
    def _xsd_path(self) -> Path | None:
        path = self._kit / "infrastructure" / "cda" / "CDA_extended.xsd" if self._kit else None
        return path if path and path.is_file() else None

    @cached_property
    def _xsd(self) -> etree.XMLSchema | None:
        return etree.XMLSchema(etree.parse(str(self._xsd_path))) if self._xsd_path else None

    def check(self, content: bytes, *, schematron: bool = True) -> tuple[Finding, ...]:
        """Every finding. Raises BadDocument when it is no CDA at all, Unavailable when the worker fails. Blocks."""
        document = read(content, max_bytes=self._max_bytes)
        found = [*self._check_xsd(document), *check_header(document, max_pdf=self._max_pdf)]
        if schematron and self._worker is not None:
            found += self._worker.check(etree.tostring(document.root, encoding="UTF-8"))
        return tuple(found)

    def require(self, content: bytes, *, schematron: bool = True) -> tuple[Finding, ...]:
        """Warnings, or BadDocument with the first three errors and their number."""
        found = self.check(content, schematron=schematron)
        errors = [f for f in found if f.severity == "error"]
        if errors:
            rest = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
            raise BadDocument("; ".join(str(f) for f in errors[:3]) + rest)
        return found

    def _check_xsd(self, document: Cda) -> list[Finding]:
        schema = self._xsd
        # A copy as its own tree: inside a self-presenting document the schema would see the stylesheet.
        if schema is None or schema.validate(etree.fromstring(etree.tostring(document.root), etree.XMLParser(huge_tree=True))):
            return []
        return [Finding("xsd", "error", f"line {e.line}", e.message) for e in schema.error_log]  # type: ignore[attr-defined]

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()


class SchematronWorker:
    """The warm process behind a lock: started at first use, restarted after a failure."""

    def __init__(self, schemas: Sequence[Path]) -> None:
        self._schemas = [str(p.resolve()) for p in schemas]
        self._child: Child | None = None
        self._lock = threading.Lock()

    def check(self, document: bytes) -> list[Finding]:
        """Findings of every schema. Raises Unavailable: no saxonche, a schema that does not compile, a hang."""
        with self._lock:
            answer = self._ask(self._child or self._start(), document, _CHECK_SECONDS)
        return [Finding(name, severity, where, message) for name, severity, where, message in answer["findings"]]

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _start(self) -> Child:
        self._child = Child("dmp_connector.validate.worker")
        self._ask(self._child, json.dumps(self._schemas).encode(), _START_SECONDS)
        return self._child

    def _ask(self, child: Child, message: bytes, seconds: float) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = child.ask(message, seconds=seconds)
        except ChildGone as error:
            self._stop()
            raise Unavailable(f"schematron worker: {error}", sent=False) from error
        if "error" in answer:
            if not child.alive or "schemas" not in answer:
                self._stop()
            raise Unavailable(f"schematron: {answer['error']}", sent=False)
        return answer

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.stop()
