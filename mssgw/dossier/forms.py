"""The forms in which a person reads a document."""

from __future__ import annotations

from dmp_connector.cda import read, to_html
from dmp_connector.cda.printed import to_pdfa
from dmp_connector.errors import BadDocument
from dmp_connector.model import DocumentEntry
from dmp_connector.paper.printer import Printer
from mssgw.core.texts import message
from mssgw.dossier.values import Form


def in_form(content: bytes, form: Form, entry: DocumentEntry | None = None) -> bytes:
    """The document in a form. `entry`: what the registry says of it, shown at the top. Blocks.

    Raises BadDocument: no CDA, or no PDF inside; NotPrinted.
    """
    match form:
        case Form.CDA:
            return content
        case Form.HTML:
            return to_html(read(content), entry=entry).encode()
        case Form.PDF:
            pdfs = read(content).embedded_pdfs()
            if not pdfs:
                raise BadDocument(message("dmp.document-no-pdf-inside"))
            return pdfs[0]
        case Form.PDFA:
            with Printer() as printer:
                return to_pdfa(read(content), printer, entry=entry)
