"""The public examples of CDA of every source, shared by the tests that need all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dmp_connector.cda import read
from dmp_connector.errors import BadDocument
from tests.material import place

FOLDERS = (
    "dmp/testcontenucda-3.0/ExemplesCDA",
    "dmp/hl7v2-exemples",
    "dmp/drimbox",
    "mssante/hl7v2-mdm-courriel-mss",
    "mssante/hl7v2-outbound-dmp-mss",
    "hl7/ans",
)


def _documents() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted(place(folder).rglob("*.[xX][mM][lL]")):
            with suppress(BadDocument):
                read(path.read_bytes())
                yield path


CORPUS = tuple(_documents())
