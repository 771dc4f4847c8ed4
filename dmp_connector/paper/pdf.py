"""PDF/A-1: the form of every document a level 1 CDA carries (`urn:ihe:iti:xds-sd:pdf:2008`).

`require_pdfa1` reads a PDF of any maker and raises BadDocument with the rule it breaks. It checks the structure
(ISO 19005-1, clause in each message), not every glyph: it never refuses wrongly and seldom accepts wrongly.
Our own PDFs are made in `sheet`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pikepdf

from dmp_connector.errors import BadAnswer, BadDocument
from dmp_connector.texts import message
from dmp_connector.wire.xml import parse

MAX_PDF = 10 * 1024 * 1024
MAX_OBJECTS = 200_000

_PDFAID = "http://www.aiim.org/pdfa/ns/id/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_FORBIDDEN_ACTIONS = {"/Launch", "/Sound", "/Movie", "/ResetForm", "/ImportData", "/JavaScript"}
_FORBIDDEN_ANNOTATIONS = {"/FileAttachment", "/Sound", "/Movie"}
_BLEND_NORMAL = {"/Normal", "/Compatible"}


@dataclass(frozen=True, slots=True)
class PdfFacts:
    """What a checked PDF is: part 1, conformance A or B."""

    pages: int
    conformance: str
    size: int


def require_pdfa1(data: bytes, *, max_bytes: int = MAX_PDF) -> PdfFacts:
    """The facts of a PDF/A-1, or BadDocument naming the rule it breaks (ISO 19005-1)."""
    if len(data) > max_bytes:
        raise BadDocument(message("paper.pdf-bytes-most-taken", size=len(data), max_bytes=max_bytes))
    if not re.match(rb"%PDF-1\.[0-7][\r\n]", data):
        raise BadDocument(message("paper.not-pdf-file-does-not"))
    try:
        with pikepdf.open(io.BytesIO(data), attempt_recovery=False, suppress_warnings=True) as pdf:
            return _facts(pdf, data)
    except pikepdf.PasswordError as error:
        raise BadDocument(message("paper.pdf-1-encryption-forbidden-6")) from error
    except (pikepdf.PdfError, ValueError, RecursionError) as error:
        raise BadDocument(message("paper.pdf-damaged-cannot-read")) from error


def _facts(pdf: pikepdf.Pdf, data: bytes) -> PdfFacts:
    _check_file(pdf, data)
    conformance = _check_metadata(pdf)
    for count, found in enumerate(pdf.objects):
        if count > MAX_OBJECTS:
            raise BadDocument(message("paper.pdf-more-than-objects", max_objects=MAX_OBJECTS))
        for dictionary in _dictionaries(found):
            _check_dictionary(dictionary)
    if not pdf.pages:
        raise BadDocument(message("paper.pdf-no-page"))
    _check_output_intent(pdf)
    return PdfFacts(len(pdf.pages), conformance, len(data))


def _check_file(pdf: pikepdf.Pdf, data: bytes) -> None:
    second = re.match(rb"%PDF-1\.[0-7](?:\r\n|\r|\n)%([^\r\n]*)", data)
    if not second or sum(byte > 127 for byte in second[1][:8]) < 4:
        raise BadDocument(message("paper.pdf-1-no-binary-comment"))
    if pdf.is_encrypted:
        raise BadDocument(message("paper.pdf-1-encryption-forbidden-6"))
    if "/ID" not in pdf.trailer:
        raise BadDocument(message("paper.pdf-1-no-file-identifier"))
    if not re.search(rb"%%EOF[\r\n]*\Z", data[-64:]):
        raise BadDocument(message("paper.pdf-1-octets-after-last"))
    if re.search(rb"/Type\s*/(?:ObjStm|XRef)\b", data):
        raise BadDocument(message("paper.pdf-1-object-streams-cross"))
    root = pdf.Root
    if "/OCProperties" in root:
        raise BadDocument(message("paper.pdf-1-optional-content-forbidden"))
    if "/AA" in root:
        raise BadDocument(message("paper.pdf-1-additional-actions-forbidden"))
    names = root.get("/Names")
    if isinstance(names, pikepdf.Dictionary):
        if "/EmbeddedFiles" in names:
            raise BadDocument(message("paper.pdf-1-embedded-files-forbidden"))
        if "/JavaScript" in names:
            raise BadDocument(message("paper.pdf-1-javascript-forbidden-6"))


def _check_metadata(pdf: pikepdf.Pdf) -> str:
    stream = pdf.Root.get("/Metadata")
    if not isinstance(stream, pikepdf.Stream):
        raise BadDocument(message("paper.pdf-1-no-xmp-metadata"))
    if "/Filter" in stream:
        raise BadDocument(message("paper.pdf-1-xmp-metadata-compressed"))
    raw = stream.read_raw_bytes()
    start = raw.find(b"<x:xmpmeta")
    if start < 0:
        start = raw.find(b"<rdf:RDF")
    end = raw.rfind(b"<?xpacket end")
    try:
        root = parse(raw[max(start, 0) : end if end > 0 else None], max_bytes=1_000_000)
    except BadAnswer as error:
        raise BadDocument(message("paper.pdf-1-xmp-metadata-cannot")) from error
    said = {"part": "", "conformance": ""}
    for description in root.iter(f"{{{_RDF}}}Description"):
        for key in said:
            child = description.find(f"{{{_PDFAID}}}{key}")
            said[key] = said[key] or description.get(f"{{{_PDFAID}}}{key}") or (child.text if child is not None and child.text else "")
    if said["part"].strip() != "1" or said["conformance"].strip() not in {"A", "B"}:
        what = f"PDF/A-{said['part']}{said['conformance']}" if said["part"] else "no PDF/A"
        raise BadDocument(message("paper.pdf-1-needed-file-says", what=what))
    return said["conformance"].strip()


def _dictionaries(found: Any, depth: int = 0) -> Iterator[Any]:
    """Every direct dictionary below one object. Indirect ones are in `pdf.objects`."""
    if depth > 50:
        raise BadDocument(message("paper.pdf-nests-objects-too-deep"))
    if isinstance(found, pikepdf.Dictionary | pikepdf.Stream):
        yield found
        children: Any = [value for _key, value in found.items()]
    elif isinstance(found, pikepdf.Array):
        children = list(found)
    else:
        return
    for child in children:
        if isinstance(child, pikepdf.Object) and not child.is_indirect:
            yield from _dictionaries(child, depth + 1)


def _name(value: Any) -> str:
    return str(value) if isinstance(value, pikepdf.Name) else ""


def _check_dictionary(found: Any) -> None:
    kind, subtype = _name(found.get("/Type")), _name(found.get("/Subtype"))
    if _name(found.get("/S")) in _FORBIDDEN_ACTIONS and kind in {"", "/Action"}:
        raise BadDocument(message("paper.pdf-1-action-forbidden-6", what=_name(found.get("/S"))[1:]))
    if kind == "/Annot" and subtype in _FORBIDDEN_ANNOTATIONS:
        raise BadDocument(message("paper.pdf-1-annotation-forbidden-6", subtype=subtype[1:]))
    if "/EF" in found:
        raise BadDocument(message("paper.pdf-1-embedded-files-forbidden"))
    if kind == "/FontDescriptor" and not {"/FontFile", "/FontFile2", "/FontFile3"} & set(found.keys()):
        raise BadDocument(message("paper.pdf-1-font-not-embedded", what=_name(found.get("/FontName"))[1:]))
    if kind == "/Font" and subtype in {"/Type1", "/TrueType", "/MMType1"} and "/FontDescriptor" not in found:
        raise BadDocument(message("paper.pdf-1-font-not-embedded", what=_name(found.get("/BaseFont"))[1:]))
    if subtype == "/PS" or (subtype == "/Form" and "/PS" in found):
        raise BadDocument(message("paper.pdf-1-postscript-forbidden-6"))
    if subtype == "/Image" and found.get("/Interpolate") is True:
        raise BadDocument(message("paper.pdf-1-interpolation-forbidden"))
    _check_transparency(found, kind)
    filters = found.get("/Filter") if isinstance(found, pikepdf.Stream) else None
    if "/LZWDecode" in {_name(f) for f in (filters if isinstance(filters, pikepdf.Array) else [filters])}:
        raise BadDocument(message("paper.pdf-1-lzw-compression-forbidden"))
    if isinstance(found, pikepdf.Stream) and "/F" in found:
        raise BadDocument(message("paper.pdf-1-content-outside-file"))


def _check_transparency(found: Any, kind: str) -> None:
    """ISO 19005-1 6.4."""
    if kind == "/ExtGState" or any(key in found for key in ("/CA", "/ca")):
        for key in ("/CA", "/ca"):
            value = found.get(key)
            if value is not None and not isinstance(value, pikepdf.Object) and float(value) != 1.0:
                raise BadDocument(message("paper.pdf-1-transparency-forbidden-6"))
        blend = _name(found.get("/BM"))
        if kind == "/ExtGState" and blend and blend not in _BLEND_NORMAL:
            raise BadDocument(message("paper.pdf-1-blend-modes-forbidden"))
    mask = found.get("/SMask")
    if mask is not None and _name(mask) != "/None":
        raise BadDocument(message("paper.pdf-1-soft-masks-forbidden"))
    group = found.get("/Group")
    if isinstance(group, pikepdf.Dictionary) and _name(group.get("/S")) == "/Transparency":
        raise BadDocument(message("paper.pdf-1-transparency-groups-forbidden"))


def _check_output_intent(pdf: pikepdf.Pdf) -> None:
    """Device colours need an output intent (6.2.3.3); a file without one is accepted only when it draws no device colour."""
    intents = pdf.Root.get("/OutputIntents")
    for intent in intents if isinstance(intents, pikepdf.Array) else ():
        if isinstance(intent, pikepdf.Dictionary) and _name(intent.get("/S")) == "/GTS_PDFA1" and "/DestOutputProfile" in intent:
            return
    for page in pdf.pages:
        try:
            used = {str(i.operator) for i in pikepdf.parse_content_stream(page)}
        except pikepdf.PdfError as error:
            raise BadDocument(message("paper.page-pdf-cannot-read")) from error
        if used & {"rg", "RG", "g", "G", "k", "K"}:
            raise BadDocument(message("paper.pdf-1-device-colours-without"))
