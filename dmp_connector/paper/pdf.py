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
        raise BadDocument(
            f"PDF of {len(data)} bytes; at most {max_bytes} are taken", fr=f"PDF de {len(data)} octets ; au plus {max_bytes} sont acceptés"
        )
    if not re.match(rb"%PDF-1\.[0-7][\r\n]", data):
        raise BadDocument(
            "not a PDF: the file does not start with %PDF-1.x (ISO 19005-1 6.1.2)",
            fr="ce n'est pas un PDF : le fichier ne commence pas par %PDF-1.x (ISO 19005-1 6.1.2)",
        )
    try:
        with pikepdf.open(io.BytesIO(data), attempt_recovery=False, suppress_warnings=True) as pdf:
            return _facts(pdf, data)
    except pikepdf.PasswordError as error:
        raise BadDocument("PDF/A-1: encryption is forbidden (6.1.3)", fr="PDF/A-1 : le chiffrement est interdit (6.1.3)") from error
    except (pikepdf.PdfError, ValueError, RecursionError) as error:
        raise BadDocument("the PDF is damaged and cannot be read", fr="le PDF est endommagé et ne peut pas être lu") from error


def _facts(pdf: pikepdf.Pdf, data: bytes) -> PdfFacts:
    _check_file(pdf, data)
    conformance = _check_metadata(pdf)
    for count, found in enumerate(pdf.objects):
        if count > MAX_OBJECTS:
            raise BadDocument(f"PDF of more than {MAX_OBJECTS} objects", fr=f"PDF de plus de {MAX_OBJECTS} objets")
        for dictionary in _dictionaries(found):
            _check_dictionary(dictionary)
    if not pdf.pages:
        raise BadDocument("the PDF has no page", fr="le PDF n'a aucune page")
    _check_output_intent(pdf)
    return PdfFacts(len(pdf.pages), conformance, len(data))


def _check_file(pdf: pikepdf.Pdf, data: bytes) -> None:
    second = re.match(rb"%PDF-1\.[0-7](?:\r\n|\r|\n)%([^\r\n]*)", data)
    if not second or sum(byte > 127 for byte in second[1][:8]) < 4:
        raise BadDocument(
            "PDF/A-1: no binary comment after the header (6.1.2)", fr="PDF/A-1 : pas de commentaire binaire après l'en-tête (6.1.2)"
        )
    if pdf.is_encrypted:
        raise BadDocument("PDF/A-1: encryption is forbidden (6.1.3)", fr="PDF/A-1 : le chiffrement est interdit (6.1.3)")
    if "/ID" not in pdf.trailer:
        raise BadDocument("PDF/A-1: no file identifier in the trailer (6.1.3)", fr="PDF/A-1 : pas d'identifiant de fichier (6.1.3)")
    if not re.search(rb"%%EOF[\r\n]*\Z", data[-64:]):
        raise BadDocument(
            "PDF/A-1: octets after the last end-of-file mark (6.1.3)", fr="PDF/A-1 : des octets suivent la fin du fichier (6.1.3)"
        )
    if re.search(rb"/Type\s*/(?:ObjStm|XRef)\b", data):
        raise BadDocument(
            "PDF/A-1: object streams and cross-reference streams are not of PDF 1.4 (6.1.4)",
            fr="PDF/A-1 : flux d'objets ou de références croisées, inconnus de PDF 1.4 (6.1.4)",
        )
    root = pdf.Root
    if "/OCProperties" in root:
        raise BadDocument("PDF/A-1: optional content is forbidden (6.1.13)", fr="PDF/A-1 : le contenu optionnel est interdit (6.1.13)")
    if "/AA" in root:
        raise BadDocument(
            "PDF/A-1: additional actions are forbidden (6.6.2)", fr="PDF/A-1 : les actions supplémentaires sont interdites (6.6.2)"
        )
    names = root.get("/Names")
    if isinstance(names, pikepdf.Dictionary):
        if "/EmbeddedFiles" in names:
            raise BadDocument("PDF/A-1: embedded files are forbidden (6.1.11)", fr="PDF/A-1 : les fichiers joints sont interdits (6.1.11)")
        if "/JavaScript" in names:
            raise BadDocument("PDF/A-1: JavaScript is forbidden (6.6.1)", fr="PDF/A-1 : JavaScript est interdit (6.6.1)")


def _check_metadata(pdf: pikepdf.Pdf) -> str:
    stream = pdf.Root.get("/Metadata")
    if not isinstance(stream, pikepdf.Stream):
        raise BadDocument("PDF/A-1: no XMP metadata (6.7.2)", fr="PDF/A-1 : pas de métadonnées XMP (6.7.2)")
    if "/Filter" in stream:
        raise BadDocument("PDF/A-1: the XMP metadata are compressed (6.7.2)", fr="PDF/A-1 : les métadonnées XMP sont compressées (6.7.2)")
    raw = stream.read_raw_bytes()
    start = raw.find(b"<x:xmpmeta")
    if start < 0:
        start = raw.find(b"<rdf:RDF")
    end = raw.rfind(b"<?xpacket end")
    try:
        root = parse(raw[max(start, 0) : end if end > 0 else None], max_bytes=1_000_000)
    except BadAnswer as error:
        raise BadDocument(
            "PDF/A-1: the XMP metadata cannot be read (6.7.9)", fr="PDF/A-1 : les métadonnées XMP sont illisibles (6.7.9)"
        ) from error
    said = {"part": "", "conformance": ""}
    for description in root.iter(f"{{{_RDF}}}Description"):
        for key in said:
            child = description.find(f"{{{_PDFAID}}}{key}")
            said[key] = said[key] or description.get(f"{{{_PDFAID}}}{key}") or (child.text if child is not None and child.text else "")
    if said["part"].strip() != "1" or said["conformance"].strip() not in {"A", "B"}:
        what = f"PDF/A-{said['part']}{said['conformance']}" if said["part"] else "no PDF/A"
        raise BadDocument(
            f"PDF/A-1 is needed, the file says {what} (6.7.11)",
            fr=f"il faut un PDF/A-1, le fichier annonce : {what} (6.7.11) ; enregistrez-le en PDF/A-1",
        )
    return said["conformance"].strip()


def _dictionaries(found: Any, depth: int = 0) -> Iterator[Any]:
    """Every direct dictionary below one object. Indirect ones are in `pdf.objects`."""
    if depth > 50:
        raise BadDocument("the PDF nests its objects too deep", fr="le PDF imbrique ses objets trop profondément")
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
        raise BadDocument(
            f"PDF/A-1: action {_name(found.get('/S'))[1:]} is forbidden (6.6.1)",
            fr=f"PDF/A-1 : l'action {_name(found.get('/S'))[1:]} est interdite (6.6.1)",
        )
    if kind == "/Annot" and subtype in _FORBIDDEN_ANNOTATIONS:
        raise BadDocument(
            f"PDF/A-1: annotation {subtype[1:]} is forbidden (6.5.2)", fr=f"PDF/A-1 : l'annotation {subtype[1:]} est interdite (6.5.2)"
        )
    if "/EF" in found:
        raise BadDocument("PDF/A-1: embedded files are forbidden (6.1.11)", fr="PDF/A-1 : les fichiers joints sont interdits (6.1.11)")
    if kind == "/FontDescriptor" and not {"/FontFile", "/FontFile2", "/FontFile3"} & set(found.keys()):
        raise BadDocument(
            f"PDF/A-1: font {_name(found.get('/FontName'))[1:]} is not embedded (6.3.4)",
            fr=f"PDF/A-1 : la police {_name(found.get('/FontName'))[1:]} n'est pas incorporée (6.3.4)",
        )
    if kind == "/Font" and subtype in {"/Type1", "/TrueType", "/MMType1"} and "/FontDescriptor" not in found:
        raise BadDocument(
            f"PDF/A-1: font {_name(found.get('/BaseFont'))[1:]} is not embedded (6.3.4)",
            fr=f"PDF/A-1 : la police {_name(found.get('/BaseFont'))[1:]} n'est pas incorporée (6.3.4)",
        )
    if subtype == "/PS" or (subtype == "/Form" and "/PS" in found):
        raise BadDocument("PDF/A-1: PostScript is forbidden (6.2.7)", fr="PDF/A-1 : PostScript est interdit (6.2.7)")
    _check_transparency(found, kind)
    filters = found.get("/Filter") if isinstance(found, pikepdf.Stream) else None
    if "/LZWDecode" in {_name(f) for f in (filters if isinstance(filters, pikepdf.Array) else [filters])}:
        raise BadDocument("PDF/A-1: LZW compression is forbidden (6.1.10)", fr="PDF/A-1 : la compression LZW est interdite (6.1.10)")
    if isinstance(found, pikepdf.Stream) and "/F" in found:
        raise BadDocument(
            "PDF/A-1: content outside the file is forbidden (6.1.7)", fr="PDF/A-1 : du contenu hors du fichier est interdit (6.1.7)"
        )


def _check_transparency(found: Any, kind: str) -> None:
    """ISO 19005-1 6.4."""
    if kind == "/ExtGState" or any(key in found for key in ("/CA", "/ca")):
        for key in ("/CA", "/ca"):
            value = found.get(key)
            if value is not None and not isinstance(value, pikepdf.Object) and float(value) != 1.0:
                raise BadDocument("PDF/A-1: transparency is forbidden (6.4)", fr="PDF/A-1 : la transparence est interdite (6.4)")
        blend = _name(found.get("/BM"))
        if kind == "/ExtGState" and blend and blend not in _BLEND_NORMAL:
            raise BadDocument("PDF/A-1: blend modes are forbidden (6.4)", fr="PDF/A-1 : les modes de fusion sont interdits (6.4)")
    mask = found.get("/SMask")
    if mask is not None and _name(mask) != "/None":
        raise BadDocument("PDF/A-1: soft masks are forbidden (6.4)", fr="PDF/A-1 : les masques progressifs sont interdits (6.4)")
    group = found.get("/Group")
    if isinstance(group, pikepdf.Dictionary) and _name(group.get("/S")) == "/Transparency":
        raise BadDocument(
            "PDF/A-1: transparency groups are forbidden (6.4)", fr="PDF/A-1 : les groupes de transparence sont interdits (6.4)"
        )


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
            raise BadDocument("a page of the PDF cannot be read", fr="une page du PDF est illisible") from error
        if used & {"rg", "RG", "g", "G", "k", "K"}:
            raise BadDocument(
                "PDF/A-1: device colours without an output intent (6.2.3.3)", fr="PDF/A-1 : couleurs sans profil de sortie (6.2.3.3)"
            )
