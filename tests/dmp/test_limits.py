"""The limit on the size of a document is defined once: the settings, their page and the verbs agree."""

from __future__ import annotations

from pathlib import Path

from dmp_connector.paper.pdf import MAX_PDF
from dmp_connector.settings import Limits
from mssgw.core.config.dmp import Dmp

PAGE = (Path(__file__).parents[2] / "config" / "dmp" / "settings.md").read_text("utf-8")
MIB = 2**20


def test_the_page_lists_the_limits_in_force():
    limits, pdf = Limits(), Dmp.__struct_defaults__[Dmp.__struct_fields__.index("max_pdf_octets") - len(Dmp.__struct_fields__)]
    assert pdf == MAX_PDF
    assert limits.document_bytes == 2 * MAX_PDF
    assert f"{limits.document_bytes // MIB} MiB a document filed" in PAGE
    assert f"max_pdf_octets` ({pdf // MIB} MiB)" in PAGE
    assert f"{limits.answer_bytes // MIB} MiB an answer, {limits.xml_bytes // MIB} MiB of XML, depth {limits.xml_depth}" in PAGE
    assert f"{limits.connect_seconds:.0f} s / {limits.answer_seconds:.0f} s" in PAGE
