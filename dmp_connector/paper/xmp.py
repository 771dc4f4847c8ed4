"""The XMP of a PDF/A-1b: the same facts as the document information dictionary (ISO 19005-1 6.7.3), and which PDF/A this is.

Each schema has its own rdf:Description with its own namespace: Apache Preflight looks for them there.
"""

from __future__ import annotations

from datetime import datetime
from xml.sax.saxutils import escape

PRODUCER = "mssgw"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC, _XMP, _PDF = "http://purl.org/dc/elements/1.1/", "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/pdf/1.3/"
_PDFAID = "http://www.aiim.org/pdfa/ns/id/"


def xmp_of(title: str, author: str, at: datetime) -> str:
    """The packet's content, without its processing instructions. `at`: of the creation, in UTC and whole seconds."""
    creator = f"<dc:creator><rdf:Seq><rdf:li>{escape(author)}</rdf:li></rdf:Seq></dc:creator>" if author else ""
    described = f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{escape(title)}</rdf:li></rdf:Alt></dc:title>{creator}'
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
        f'<rdf:Description rdf:about="" xmlns:dc="{_DC}">{described}</rdf:Description>'
        f'<rdf:Description rdf:about="" xmlns:xmp="{_XMP}"><xmp:CreateDate>{at.isoformat()}</xmp:CreateDate></rdf:Description>'
        f'<rdf:Description rdf:about="" xmlns:pdf="{_PDF}"><pdf:Producer>{PRODUCER}</pdf:Producer></rdf:Description>'
        f'<rdf:Description rdf:about="" xmlns:pdfaid="{_PDFAID}"><pdfaid:part>1</pdfaid:part>'
        "<pdfaid:conformance>B</pdfaid:conformance></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
