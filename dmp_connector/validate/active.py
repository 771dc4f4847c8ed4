"""Nothing in a document runs, and nothing in it loads from outside (docs/reference/dmp.md 4.3, EX_2.1-1115).

The requirement is written for self-presenting documents; a script, a frame or a load in a narrative is refused in the
same way, since all reach the reader's browser. A web address in `linkHtml` is what a reader may choose to follow: outside
self-presenting documents it is reported, not refused. Every place is named by its path and line, never by its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from dmp_connector.cda.read import Cda, tag
from dmp_connector.texts import Message, message

_RUNS = {"script", "iframe", "frame", "embed", "applet"}
_ADDRESSES = {"href", "src", "action", "formaction", "data", "background", "poster"}
_HANDLER = re.compile(r"on[a-z]+", re.IGNORECASE)
_CODE = re.compile(r"(javascript|vbscript|livescript|data:text/html)\b", re.IGNORECASE)
_INSIDE = re.compile(r"#|mailto:|tel:|data:image/|\{|$", re.IGNORECASE)  # {: computed by the style sheet from the document
_CSS_OUTSIDE = re.compile(r"@import|url\(\s*['\"]?\s*(?!['\"]|#|data:image/)|expression\(", re.IGNORECASE)
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
_WEB = re.compile(r"https?:|ftp:|(?![a-z][a-z0-9+.-]*:|\\)", re.IGNORECASE)  # or relative; not file:, data:, UNC paths
_PSEUDO = re.compile(r"""href\s*=\s*["']([^"']*)["']""")

SCRIPT = message("validate.no-script")
LINK = message("validate.no-external-link")
WEB_LINK = message("validate.web-link")


def active_content(document: Cda) -> Iterator[tuple[str, Message]]:
    """(where, message) for each script, each load from outside, and each link that is more than a web address in the narrative."""
    return (found for found in _places(document) if found[1] is not WEB_LINK)


def web_links(document: Cda) -> Iterator[tuple[str, Message]]:
    """(where, message) for each web address in the narrative."""
    return (found for found in _places(document) if found[1] is WEB_LINK)


def _places(document: Cda) -> Iterator[tuple[str, Message]]:
    root = document.root.getroottree().getroot()
    for before in root.itersiblings(etree.ProcessingInstruction, preceding=True):
        target = _PSEUDO.search(before.text or "")
        if target and _ABSOLUTE.match(_bare(target.group(1))):
            yield f"xml-stylesheet (l. {before.sourceline})", LINK
    web = LINK if document.self_presenting else WEB_LINK
    for element in root.iter(etree.Element):
        for found in dict.fromkeys(_of(element, web)):
            yield _where(element), found


def _of(element: etree._Element, web: Message) -> Iterator[Message]:
    """What is found in one element. `web`: what a web address in linkHtml is."""
    name = etree.QName(element).localname.lower()
    if name in _RUNS:
        yield SCRIPT
    if name == "style" and _CSS_OUTSIDE.search(element.text or ""):
        yield LINK
    for key, value in element.attrib.items():
        attribute, address = etree.QName(str(key)).localname.lower(), _bare(str(value))
        if _HANDLER.fullmatch(attribute) or (attribute in _ADDRESSES | {"value"} and _CODE.match(address)):
            yield SCRIPT
        elif element.tag == tag("linkHtml") and attribute == "href" and not _INSIDE.match(address):
            yield web if _WEB.match(address) else LINK
        elif (attribute in _ADDRESSES and not _INSIDE.match(address)) or (attribute == "style" and _CSS_OUTSIDE.search(str(value))):
            yield LINK
    if element.tag == tag("reference") and _is_of_image(element) and not _INSIDE.match(_bare(element.get("value", ""))):
        yield LINK


def _is_of_image(reference: etree._Element) -> bool:
    return any(e.tag == tag("observationMedia") for e in reference.iterancestors())


def _bare(address: str) -> str:
    """Without blanks and control characters, which browsers ignore."""
    return re.sub(r"[\x00-\x20\x7f-\xa0]+", "", address)


def _where(element: etree._Element) -> str:
    """The last steps of the path, and the line."""
    steps = [etree.QName(e).localname for e in (element, *element.iterancestors())]
    shown = "/".join(reversed(steps[:5]))
    return f"{'…/' if len(steps) > 5 else ''}{shown} (l. {element.sourceline})"
