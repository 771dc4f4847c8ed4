"""A CDA as one HTML page that can do no harm: our tags only, every text escaped, no script, no link outside.

The narrative block (CDA R2 4.3.5) is the legal text of a level 3 document: all of it is shown, in order,
also text in elements we do not know. Images and PDFs come from the document itself, as data of a known kind: the body of a
level 1 document, and the copies in a structured one. A Content-Security-Policy in the page forbids everything else a second time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

from lxml import etree

from dmp_connector.cda.attached import Attached, Beside, Inside, attach
from dmp_connector.cda.banner import author_of, banner, created_at, identity
from dmp_connector.cda.read import NS, V3, Cda, tag, text_of
from dmp_connector.errors import BadDocument
from dmp_connector.model.documents import DocumentEntry
from dmp_connector.paper.printer import Layout

STYLE = (Path(__file__).parent / "style.css").read_text("utf-8")
PRINT_STYLE = (Path(__file__).parent / "print.css").read_text("utf-8")
# frame-src: Chromium shows a PDF of an object in a frame of its own.
_POLICY = (
    "default-src 'none'; img-src data:; object-src data:; frame-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
)
_MAX_DEPTH = 60
_WIDE, _VERY_WIDE = 7, 12  # columns of a table that gets smaller letters
_LONG = re.compile(r"\S{17}")  # a word that may have to break anywhere, lest it push the next columns off the sheet
_CELLS = (tag("td"), tag("th"))

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


def to_html(document: Cda, *, entry: DocumentEntry | None = None) -> str:
    """The whole document for a screen: who and when, every section, images and PDFs within the page.

    `entry`: what the registry says of it, so that a reader sees that it was replaced, archived or masked.
    """
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><meta name="referrer" content="no-referrer">'
    return _page(document, entry, Inside(), f"{policy}<style>{STYLE}</style>")


def to_layout(document: Cda, *, entry: DocumentEntry | None = None) -> Layout:
    """The same for the printer: images and PDFs beside the page, the patient's identity on every sheet."""
    beside = Beside()
    on_each_sheet = f'<p class="identity">{escape(identity(document))}</p>'
    html = _page(document, entry, beside, f"<style>{STYLE}{PRINT_STYLE}</style>", on_each_sheet)
    return Layout(html, document.title, author_of(document), created_at(document), tuple(beside.images), tuple(beside.pdfs))


def _page(document: Cda, entry: DocumentEntry | None, attached: Attached, head: str, first: str = "") -> str:
    page = _Page(document, attached)
    body = "".join(page.section(s, 2) for s in document.all("component/structuredBody/component/section"))
    if document.unstructured is not None:
        body = _unstructured(document, document.unstructured, attached)
    language = document.find("languageCode")
    lang = (language.get("code") if language is not None else None) or "fr-FR"
    return (
        f'<!DOCTYPE html>\n<html lang="{escape(lang, quote=True)}"><head><meta charset="utf-8">'
        f"{head}<title>{escape(document.title)}</title></head><body>\n"
        f"{first}{banner(document, entry)}\n{body}{page.unreferenced()}\n</body></html>\n"
    )


def _unstructured(document: Cda, body: etree._Element, attached: Attached) -> str:
    if document.media_type != "text/plain":
        return attach(body, attached)
    try:
        text = document.embedded().decode("utf-8", "replace")
    except BadDocument:
        text = "".join(map(str, body.itertext()))
    return f"<pre>{escape(text)}</pre>"


class _Page:
    def __init__(self, document: Cda, attached: Attached) -> None:
        self._attached = attached
        self._media = {e.get("ID"): e for e in document.root.iter(f"{{{V3}}}observationMedia") if e.get("ID")}
        self._long = set(_long_cells(document.root))
        self._pdfs = [e for e in document.root.iter(f"{{{V3}}}value") if e.get("mediaType") == "application/pdf"]

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
            return self._multimedia(element) + inside
        if name == "footnoteRef":
            return self._link(element, inside or "*", target=f"#{element.get('IDREF', '')}")
        html = _TAGS.get(name)
        if html is None:
            return inside
        if html == "table":
            return f'<div class="table"><table{self._attributes(element)}>{inside}</table></div>'
        return f"<{html}{self._attributes(element)}>" if html == "col" else f"<{html}{self._attributes(element)}>{inside}</{html}>"

    def _attributes(self, element: etree._Element) -> str:
        found = []
        identity = element.get("ID")
        if identity:
            found.append(f' id="{escape("n-" + identity, quote=True)}"')
        styles = [f"s-{code}" for code in _STYLES.findall(element.get("styleCode", ""))]  # never a class of ours
        name = etree.QName(element).localname
        if name == "footnote":
            styles.append("footnote")
        if name == "table":
            styles += _width(element)
        if element in self._long:
            styles.append("long")
        if element.get("align") in _ALIGNED:
            styles.append(f"to-{element.get('align')}")
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

    def _multimedia(self, element: etree._Element) -> str:
        shown = []
        for reference in element.get("referencedObject", "").split():
            media = self._media.get(reference)
            value = media.find("v:value", NS) if media is not None else None
            if value in self._pdfs:
                self._pdfs.remove(value)
            shown.append(attach(value, self._attached))
        return "".join(shown)

    def unreferenced(self) -> str:
        """The copies as PDF that no section refers to."""
        return "".join(attach(value, self._attached) for value in self._pdfs)


_ALIGNED = {"left", "center", "right", "justify"}


def _width(table: etree._Element) -> list[str]:
    """The class of a table with so many columns that its letters are made smaller to fit a sheet."""
    rows = (row for part in (table, *table) for row in part if row.tag == tag("tr"))
    columns = max((sum(_span(cell) for cell in row) for row in rows), default=0)
    return ["very-wide"] if columns >= _VERY_WIDE else ["wide"] if columns >= _WIDE else []


def _long_cells(root: etree._Element) -> Iterator[etree._Element]:
    """The cell around each text with a long word."""
    for element in root.iter(etree.Element):
        within = [element] if _LONG.search(element.text or "") else []
        parent = element.getparent()
        if parent is not None and _LONG.search(element.tail or ""):
            within.append(parent)
        for inner in within:
            cell = next((e for e in (inner, *inner.iterancestors()) if e.tag in _CELLS), None)
            if cell is not None:
                yield cell


def _span(cell: etree._Element) -> int:
    spans = cell.get("colspan", "")
    return int(spans) if _SPAN.fullmatch(spans) else 1
