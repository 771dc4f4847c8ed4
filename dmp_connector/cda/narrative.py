"""A CDA as one HTML page that can do no harm: our tags only, every text escaped, no script, no link outside.

The narrative block (CDA R2 4.3.5) is the legal text of a level 3 document: all of it is shown, in order,
also text in elements we do not know. Images come from the document itself, as data of a known kind. A
Content-Security-Policy in the page forbids everything else a second time.
"""

from __future__ import annotations

import base64
import re
from html import escape
from pathlib import Path

from lxml import etree

from bilingual import shown
from dmp_connector.cda.metadata import entry_of
from dmp_connector.cda.read import NS, V3, Cda, text_of
from dmp_connector.errors import BadDocument, BadInput
from dmp_connector.model.documents import Dtm

STYLE = (Path(__file__).parent / "style.css").read_text("utf-8")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
_IMAGE_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF87a": "image/gif", b"GIF89a": "image/gif"}
_MAX_IMAGE = 8 * 1024 * 1024
_MAX_DEPTH = 60

# Narrative element -> HTML element. An element that is not here is shown as its text.
_TAGS = {
    "content": "span",
    "paragraph": "p",
    "sub": "sub",
    "sup": "sup",
    "table": "table",
    "thead": "thead",
    "tbody": "tbody",
    "tfoot": "tfoot",
    "tr": "tr",
    "td": "td",
    "th": "th",
    "colgroup": "colgroup",
    "col": "col",
    "footnote": "div",
}
_STYLES = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}")
_SPAN = re.compile(r"[1-9][0-9]{0,2}")


def to_html(document: Cda) -> str:
    """The whole document: patient and author banner, then every section. Level 1 bodies are announced, not shown."""
    page = _Page(document)
    body = "".join(page.section(s, 2) for s in document.all("component/structuredBody/component/section"))
    if document.unstructured is not None:
        body = f'<p class="notice">{escape(_unstructured(document))}</p>'
    language = document.find("languageCode")
    lang = (language.get("code") if language is not None else None) or "fr-FR"
    return (
        f'<!DOCTYPE html>\n<html lang="{escape(lang, quote=True)}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><meta name="referrer" content="no-referrer">'
        f"<title>{escape(document.title)}</title><style>{STYLE}</style></head><body>\n"
        f"{_banner(document)}\n{body}\n</body></html>\n"
    )


def _unstructured(document: Cda) -> str:
    if document.media_type == "text/plain":
        try:
            return document.embedded().decode("utf-8", "replace")
        except BadDocument:
            return text_of(document.unstructured)
    return f"Document joint : {document.media_type or 'type inconnu'}."


def _banner(document: Cda) -> str:
    rows: list[tuple[str, str]] = []
    patient = document.find("recordTarget/patientRole/patient")
    if patient is not None:
        names = {(etree.QName(p).localname, p.get("qualifier")): text_of(p) for p in patient.iterfind("v:name/*", NS) if text_of(p)}
        birth, used = names.get(("family", "BR")) or names.get(("family", None), ""), names.get(("family", "CL"), "")
        given = names.get(("given", "BR")) or names.get(("given", None), "")
        shown = f"{birth} {given}".strip() + (f" (nom utilisé : {used})" if used and used != birth else "")
        rows.append(("Patient", shown))
        born = patient.find("v:birthTime", NS)
        gender = patient.find("v:administrativeGenderCode", NS)
        rows.append(("Né(e) le", _day(born.get("value") if born is not None else None)))
        rows.append(("Sexe", (gender.get("displayName") or gender.get("code") or "") if gender is not None else ""))
    try:
        entry = entry_of(document)
        rows.append(("Matricule INS", entry.patient.value))
        authors = [a.person for a in entry.authors if a.person]
        rows.append(("Auteur", ", ".join(f"{p.given} {p.family}".strip() for p in authors)))
        rows += [("Structure", a.institution.name) for a in entry.authors[:1] if a.institution]
        rows.append(("Type", entry.type.label or entry.type.code))
    except BadInput:
        pass  # with a faulty header the text is still shown
    rows.append(("Date", _time(document.created)))
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows if value)
    return f"<header><h1>{escape(document.title)}</h1><dl>{listed}</dl></header>"


_DAY_DIGITS = 8  # of HL7 TS: a day without its hour


def _day(value: str | None) -> str:
    return f"{value[6:8]}/{value[4:6]}/{value[:4]}" if value and len(value) >= 8 else value or ""


def _time(moment: Dtm | None) -> str:
    if moment is None:
        return ""
    return shown(moment.at, "fr") if moment.digits > _DAY_DIGITS else f"{moment.at:%d/%m/%Y}"


class _Page:
    def __init__(self, document: Cda) -> None:
        self._media = {e.get("ID"): e for e in document.root.iter(f"{{{V3}}}observationMedia") if e.get("ID")}

    def section(self, section: etree._Element, level: int) -> str:
        heading = min(level, 6)
        title = text_of(section.find("v:title", NS))
        text = section.find("v:text", NS)
        inside = self._children(text, 0) if text is not None else ""
        deeper = "".join(self.section(s, level + 1) for s in section.findall("v:component/v:section", NS)) if level < _MAX_DEPTH else ""
        shown = f"<h{heading}>{escape(title)}</h{heading}>" if title else ""
        return f"<section>{shown}{inside}{deeper}</section>\n"

    def _children(self, element: etree._Element, depth: int) -> str:
        if depth > _MAX_DEPTH:
            return escape(text_of(element))
        parts = [escape(element.text or "")]
        for child in element:
            if isinstance(child.tag, str):
                parts.append(self._element(child, depth + 1))
            parts.append(escape(child.tail or ""))
        return "".join(parts)

    def _element(self, element: etree._Element, depth: int) -> str:
        name = etree.QName(element).localname
        inside = self._children(element, depth)
        if name == "br":
            return "<br>"
        if name == "caption":
            parent = element.getparent()
            of_table = parent is not None and etree.QName(parent).localname == "table"
            return f"<caption>{inside}</caption>" if of_table else f"<strong>{inside}</strong> "
        if name == "list":
            kind = "ol" if element.get("listType") == "ordered" else "ul"
            return f"<{kind}{self._attributes(element)}>{inside}</{kind}>"
        if name == "item":
            return f"<li{self._attributes(element)}>{inside}</li>"
        if name == "linkHtml":
            return self._link(element, inside)
        if name == "renderMultiMedia":
            return self._image(element) + inside
        if name == "footnoteRef":
            return self._link(element, inside or "*", target=f"#{element.get('IDREF', '')}")
        html = _TAGS.get(name)
        if html is None:
            return inside
        return f"<{html}{self._attributes(element)}>" if html == "col" else f"<{html}{self._attributes(element)}>{inside}</{html}>"

    def _attributes(self, element: etree._Element) -> str:
        found = []
        identity = element.get("ID")
        if identity:
            found.append(f' id="{escape("n-" + identity, quote=True)}"')
        styles = _STYLES.findall(element.get("styleCode", ""))
        if etree.QName(element).localname == "footnote":
            styles.append("footnote")
        if styles:
            found.append(f' class="{" ".join(styles)}"')
        found += [f' {n}="{element.get(n)}"' for n in ("colspan", "rowspan", "span") if _SPAN.fullmatch(element.get(n, ""))]
        return "".join(found)

    def _link(self, element: etree._Element, inside: str, target: str | None = None) -> str:
        """Links inside the page stay links; an address outside is shown as text (EX_2.1-1115: no external link)."""
        href = target if target is not None else element.get("href", "")
        if re.fullmatch(r"#[A-Za-z_][\w.-]*", href):
            return f'<a href="#n-{escape(href[1:], quote=True)}">{inside}</a>'
        return f"{inside} ({escape(href)})" if href and href not in inside else inside

    def _image(self, element: etree._Element) -> str:
        shown = []
        for reference in element.get("referencedObject", "").split():
            media = self._media.get(reference)
            value = media.find("v:value", NS) if media is not None else None
            try:
                content = base64.b64decode("".join(text_of(value).split()), validate=True)
            except ValueError:
                content = b""
            kind = next((k for magic, k in _IMAGE_MAGIC.items() if content.startswith(magic)), None)
            if kind and len(content) <= _MAX_IMAGE:
                shown.append(f'<img alt="" src="data:{kind};base64,{base64.b64encode(content).decode("ascii")}">')
            else:
                shown.append('<p class="notice">Image non affichable.</p>')
        return "".join(shown)
