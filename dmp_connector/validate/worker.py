"""The schematron process: compiles once, stays warm, answers one document at a time.

Run as `python -m dmp_connector.validate.worker`. Compiling takes seconds and hundreds of megabytes, so it
never happens in the process that serves; a document that hangs or kills Saxon takes only this process along.

Wire: `child`. First the schema paths as JSON, answered
by their names; then one document per message, answered by a JSON list of [schema, severity, where, message].
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

_STEP = re.compile(r"Q\{[^}]*\}")


def main() -> None:
    inward, outward = sys.stdin.buffer, sys.stdout.buffer
    try:
        from saxonche import PySaxonProcessor
    except ImportError:
        send(outward, json.dumps({"error": "saxonche is not installed: pip install mssgw[validate]"}).encode())
        return
    opening = receive(inward)
    if opening is None:
        return
    with PySaxonProcessor(license=False) as processor:
        compiler = processor.new_xslt30_processor()
        try:
            sheets = {
                Path(p).stem: compiler.compile_stylesheet(stylesheet_text=compile_schema(Path(p)).decode()) for p in json.loads(opening)
            }
        except (DmpError, RuntimeError) as error:
            send(outward, json.dumps({"error": str(error)}).encode())
            return
        send(outward, json.dumps({"schemas": list(sheets)}).encode())
        while (document := receive(inward)) is not None:
            send(outward, json.dumps(_check(processor, sheets, document)).encode())


def _check(processor: Any, sheets: dict[str, Any], document: bytes) -> dict[str, Any]:
    try:
        node = processor.parse_xml(xml_text=document.decode("utf-8"))
        found = []
        for name, sheet in sheets.items():
            answer = sheet.transform_to_string(xdm_node=node)
            for finding in etree.fromstring(answer.encode("utf-8")).iter("finding"):
                severity = "warning" if finding.get("role") in {"warning", "warn", "info", "information"} else "error"
                where = _STEP.sub("", finding.get("location", ""))
                found.append([name, severity, where, " ".join("".join(map(str, finding.itertext())).split())])
        return {"findings": found}
    except (RuntimeError, ValueError, etree.XMLSyntaxError) as error:  # Saxon tells its errors as RuntimeError
        return {"error": f"{type(error).__name__}: {error}"[:500]}


if __name__ == "__main__":
    main()
