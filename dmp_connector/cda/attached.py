"""What a document carries beside its text, images and PDFs, as it goes onto a page: within the page, or beside it for the printer.

Only octets that are what they claim to be are shown; of anything else the page has a sentence with its type and size.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html import escape
from typing import Protocol

from lxml import etree

from dmp_connector.cda.read import decode_base64
from dmp_connector.errors import BadDocument
from dmp_connector.paper.pdf import MAX_PDF
from dmp_connector.texts import Message, message

_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF87a": "image/gif", b"GIF89a": "image/gif"}
_TIFF = (b"II*\0", b"MM\0*")
_PDF = b"%PDF-"
MAX_IMAGE = 8 * 1024 * 1024


class Attached(Protocol):
    """Where images and PDFs go. Both return HTML."""

    def image(self, content: bytes, kind: str) -> str:
        """`kind`: image/png, image/jpeg, image/gif or image/tiff, by its first octets."""

    def pdf(self, content: bytes) -> str:
        """A PDF, by its first octets."""


def attach(element: etree._Element | None, to: Attached) -> str:
    """The HTML for an element of type ED: an image, a PDF, or a sentence."""
    if element is None:
        return _notice(message("cda.page.missing-part"))
    kind = element.get("mediaType", "")
    try:
        content = decode_base64(element, kind or "value")
    except BadDocument as error:
        return _notice(message("cda.page.unreadable-part", kind=kind or "?", error=error.detail))
    if content.startswith(_PDF) and len(content) <= MAX_PDF:
        return to.pdf(content)
    image = next((found for magic, found in _MAGIC.items() if content.startswith(magic)), "image/tiff" if content.startswith(_TIFF) else "")
    if image and len(content) <= MAX_IMAGE:
        return to.image(content, image)
    return _notice(message("cda.page.not-shown-part", kind=kind or "?", size=len(content)))


def _notice(said: Message) -> str:
    return f'<p class="notice">{escape(said.fr)}</p>'


class Inside:
    """For a screen: everything within the page, as data."""

    def image(self, content: bytes, kind: str) -> str:
        """The image within the page, or a sentence for a TIFF."""
        if kind == "image/tiff":  # no browser shows it
            return _notice(message("cda.page.not-shown-part", kind=kind, size=len(content)))
        return f'<img alt="{escape(message("cda.page.image").fr)}" src="{_data(content, kind)}">'

    def pdf(self, content: bytes) -> str:
        """Shown by the browser's own viewer; where there is none, a link to save it."""
        address = _data(content, "application/pdf")
        save = f'<a download="document.pdf" href="{address}">{escape(message("cda.page.save-pdf").fr)}</a>'
        return f'<object class="pdf" type="application/pdf" data="{address}">{save}</object>'


@dataclass(slots=True)
class Beside:
    """For the printer: images by number, and a mark where the pages of each PDF come."""

    images: list[bytes] = field(default_factory=list)
    pdfs: list[bytes] = field(default_factory=list)

    def image(self, content: bytes, kind: str) -> str:
        """The place of the image; its octets go beside."""
        self.images.append(content)
        return f'<img alt="{escape(message("cda.page.image-unreadable").fr)}" src="part:{len(self.images) - 1}">'  # printed in its place

    def pdf(self, content: bytes) -> str:
        """A sentence that says where its pages are; its octets go beside."""
        self.pdfs.append(content)
        return _notice(message("cda.page.pdf-below", number=len(self.pdfs)))


def _data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
