"""Read a CDA R2 of any maker: header values as they stand, nothing repaired.

A self-presenting document (an XSLT that carries its ClinicalDocument) is read like the document inside it.
Missing parts are None or empty here; what must be there is decided in `rules` and in `metadata`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import cached_property

from lxml import etree

from dmp_connector.errors import BadAnswer, BadDocument
from dmp_connector.model.code import Code
from dmp_connector.model.documents import Dtm
from dmp_connector.model.people import INS_OIDS, Ins
from dmp_connector.texts import message
from dmp_connector.wire.xml import parse

MAX_CDA = 64 * 1024 * 1024

V3 = "urn:hl7-org:v3"
NS = {"v": V3, "sdtc": "urn:hl7-org:sdtc"}
_XSL = "{http://www.w3.org/1999/XSL/Transform}stylesheet"


def tag(name: str) -> str:
    """The name in the namespace of HL7 v3, as lxml writes it."""
    return f"{{{V3}}}{name}"


@dataclass(frozen=True)
class Cda:
    """A parsed document. `root` is the ClinicalDocument; `self_presenting` when an XSLT was around it."""

    root: etree._Element
    self_presenting: bool

    def find(self, path: str) -> etree._Element | None:
        """First element at a path of local names from the root, e.g. `recordTarget/patientRole`."""
        return self.root.find("/".join(f"v:{step}" for step in path.split("/")), NS)

    def all(self, path: str) -> list[etree._Element]:
        """Every element at this path of local names, `a/b/c`, below the root."""
        return self.root.findall("/".join(f"v:{step}" for step in path.split("/")), NS)

    @cached_property
    def unique_id(self) -> str:
        """OID, or OID^extension (docs/reference/dmp.md 3.2)."""
        return identifier(self.find("id")) or ""

    @cached_property
    def title(self) -> str:
        """The title, "" when there is none."""
        return text_of(self.find("title"))

    @cached_property
    def templates(self) -> tuple[str, ...]:
        """OIDs of the templates that the document claims to follow."""
        return tuple(t.get("root", "") for t in self.all("templateId"))

    @cached_property
    def type(self) -> Code | None:
        """ClinicalDocument/code: the type (JDV_J66), None when it is not there."""
        return code_of(self.find("code"))

    @cached_property
    def created(self) -> Dtm | None:
        """effectiveTime, None when it is not there or no moment."""
        return moment(self.find("effectiveTime"))

    @cached_property
    def ins(self) -> Ins | None:
        """The patient's INS, when one of its identifiers is one. Raises BadIns on a wrong shape."""
        for found in self.all("recordTarget/patientRole/id"):
            if found.get("root") in INS_OIDS and found.get("extension"):
                return Ins.received(found.get("extension", ""), found.get("root", ""))
        return None

    @cached_property
    def set_id(self) -> str:
        """What all versions of the document share."""
        return identifier(self.find("setId")) or ""

    @cached_property
    def version(self) -> int:
        """versionNumber, 1 when it is not there or no number."""
        found = self.find("versionNumber")
        value = found.get("value", "") if found is not None else ""
        return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 1

    @cached_property
    def replaces(self) -> tuple[str, ...]:
        """uniqueIds of the documents this one replaces (relatedDocument RPLC)."""
        return tuple(
            identifier(parent) or ""
            for related in self.all("relatedDocument")
            if related.get("typeCode") == "RPLC"
            for parent in related.findall("v:parentDocument/v:id", NS)
        )

    @cached_property
    def unstructured(self) -> etree._Element | None:
        """nonXMLBody/text of a level 1 document."""
        return self.find("component/nonXMLBody/text")

    @cached_property
    def media_type(self) -> str | None:
        """Media type of a level 1 body; None when the body is structured."""
        return self.unstructured.get("mediaType", "") if self.unstructured is not None else None

    def embedded(self) -> bytes:
        """The octets of a level 1 body. Raises BadDocument."""
        if self.unstructured is None:
            raise BadDocument(message("cda.cda-carries-no-unstructured-body"))
        return decode_base64(self.unstructured, "nonXMLBody")

    def embedded_pdfs(self) -> list[bytes]:
        """Every PDF the document carries: the level 1 body, or copies in a structured one."""
        found = [e for e in self.root.iter(tag("text"), tag("value")) if e.get("mediaType") == "application/pdf"]
        return [decode_base64(e, "application/pdf") for e in found]


def read(content: bytes, *, max_bytes: int = MAX_CDA) -> Cda:
    """Parse a document. Raises BadDocument: not XML we take, or no ClinicalDocument in it."""
    try:
        root = parse(content, max_bytes=max_bytes, max_depth=200, huge_text=True)
    except BadAnswer as error:
        raise BadDocument(error.detail) from error
    if root.tag == tag("ClinicalDocument"):
        return Cda(root, self_presenting=False)
    if root.tag == _XSL:
        inside = root.find(f".//{tag('ClinicalDocument')}")
        if inside is not None:
            return Cda(inside, self_presenting=True)
    raise BadDocument(message("cda.not-cda-document-root-not"))


def text_of(element: etree._Element | None) -> str:
    """All text below, blanks folded; "" for None."""
    return " ".join("".join(map(str, element.itertext())).split()) if element is not None else ""


def identifier(element: etree._Element | None) -> str | None:
    """An HL7 II as XDS writes it: root, or root^extension. None for nullFlavor or nothing."""
    if element is None or not element.get("root"):
        return None
    extension = element.get("extension")
    return f"{element.get('root')}^{extension}" if extension else str(element.get("root"))


def code_of(element: etree._Element | None) -> Code | None:
    """A coded element, or None for nullFlavor or nothing."""
    if element is None or not element.get("code"):
        return None
    return Code(element.get("code", ""), element.get("codeSystem", ""), element.get("displayName", ""))


def moment(element: etree._Element | None) -> Dtm | None:
    """A TS, or the low end of an interval. None for nullFlavor or nothing. Raises BadDocument."""
    if element is None:
        return None
    value = element.get("value")
    if value is None:
        low = element.find("v:low", NS)
        value = low.get("value") if low is not None else None
    return Dtm.parse(value) if value else None


def decode_base64(element: etree._Element, where: str) -> bytes:
    """The octets of an element of type ED. Raises BadDocument naming `where`: no base64, compressed, or with markup inside."""
    if element.get("representation") not in {"B64", None} or len(element):
        raise BadDocument(message("cda.base64-expected", where=where))
    if element.get("compression"):
        raise BadDocument(message("cda.compressed-content-not-accepted", where=where))
    try:
        return base64.b64decode("".join("".join(map(str, element.itertext())).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadDocument(message("cda.not-base64", where=where)) from error
