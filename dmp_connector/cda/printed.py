"""A CDA of any level as a PDF/A-1: what goes beside it in a mail (ECO.2.1.5), and into a paper file.

A level 1 document whose body is a PDF/A-1 is that PDF, octet for octet. Of any other the text is printed; the PDFs in it come
behind, as they are or, when they are no PDF/A-1, as pictures of their pages.
"""

from __future__ import annotations

from dmp_connector.cda.narrative import to_layout
from dmp_connector.cda.read import Cda
from dmp_connector.errors import BadDocument
from dmp_connector.model.documents import DocumentEntry
from dmp_connector.paper.pdf import require_pdfa1
from dmp_connector.paper.printer import Printer


def to_pdfa(document: Cda, printer: Printer, *, entry: DocumentEntry | None = None) -> bytes:
    """The PDF/A-1. `entry`: as in `to_html`. Blocks. Raises NotPrinted."""
    if document.media_type == "application/pdf":
        try:
            body = document.embedded()
            require_pdfa1(body)
        except BadDocument:
            pass  # it is printed as pictures, or with a sentence that it cannot be read
        else:
            return body
    return printer.print(to_layout(document, entry=entry))
