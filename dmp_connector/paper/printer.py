"""A page of HTML, with the images and PDFs that belong to it, as one PDF/A-1b: in a process of its own, by WeasyPrint.

What comes out is checked as any PDF of a stranger is. The process loads nothing from the network or from files, has bounded
memory, and is ended when a page takes too long (`printer_worker`). Needs the extra `print` and Debian's libpango.

A PDF that is a PDF/A-1 itself is added page by page, as it is; any other is added as a picture of each of its pages.
"""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

from dmp_connector.child import Child, ChildGone
from dmp_connector.errors import BadDocument, NotPrinted
from dmp_connector.paper.pdf import require_pdfa1
from dmp_connector.paper.printing import ABSENT, FAILED, MAX_PICTURES, MEMORY, PAGES
from dmp_connector.texts import message

MAX_PRINTED: Final = 64 * 1024 * 1024
_SECONDS: Final = 90.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SAID: Final = {
    ABSENT: message("paper.print-absent"),
    MEMORY: message("paper.print-memory"),
    PAGES: message("paper.print-too-many-pages", most=MAX_PICTURES),
    FAILED: message("paper.print-failed"),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """What is printed. `html`: our own, whose only addresses are `part:N`, the images by number. `at` None: no date is known."""

    html: str = field(repr=False)
    title: str = ""
    author: str = ""
    at: datetime | None = None
    images: tuple[bytes, ...] = field(default=(), repr=False)
    pdfs: tuple[bytes, ...] = field(default=(), repr=False)


class Printer:
    """Thread-safe; one page at a time. The process starts with the first page; `close`, or `with`, ends it."""

    def __init__(self, *, seconds: float = _SECONDS) -> None:
        """`seconds`: how long one page may take."""
        self._seconds = seconds
        self._child: Child | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def print(self, layout: Layout) -> bytes:
        """The PDF/A-1b; the same octets for the same layout. Blocks.

        Raises NotPrinted: WeasyPrint or Pango is not installed, letters that no font has, too many pages, too much time or
        memory, a result that is no PDF/A-1. A PDF inside that cannot be read is a sentence.
        """
        answer = self._ask(json.dumps(_question(layout)).encode())
        if missing := answer.get("missing"):
            letters = ", ".join(f"{letter} (U+{ord(letter):04X})" for letter in missing)
            raise NotPrinted(message("paper.print-letters-missing", letters=letters))
        if refused := answer.get("refused"):
            raise NotPrinted(_SAID[refused], log=f"printer: {answer.get('log', refused)}")
        printed = base64.b64decode(answer["pdf"])
        try:
            require_pdfa1(printed, max_bytes=MAX_PRINTED)
        except BadDocument as error:
            raise NotPrinted(error.detail) from error
        return printed

    def close(self) -> None:
        """End the process; the next page starts another."""
        with self._lock:
            self._stop()

    def _ask(self, question: bytes) -> dict[str, Any]:
        with self._lock:
            if self._child is None:
                self._child = Child("dmp_connector.paper.printer_worker")
            try:
                answer: dict[str, Any] = self._child.ask(question, seconds=self._seconds)
            except ChildGone as error:
                self._stop()
                raise NotPrinted(_SAID[FAILED], log=f"printer: {error}") from error
            if answer.get("refused") in {ABSENT, MEMORY}:
                self._stop()
        return answer

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.stop()


def _question(layout: Layout) -> dict[str, Any]:
    return {
        "html": layout.html,
        "title": layout.title,
        "author": layout.author,
        "at": (layout.at or _EPOCH).replace(microsecond=0).isoformat(),
        "images": [_text(image) for image in layout.images],
        "pdfs": [_pdf(number, pdf) for number, pdf in enumerate(layout.pdfs, 1)],
    }


def _pdf(number: int, content: bytes) -> dict[str, Any]:
    unreadable = message("paper.print-pdf-unreadable", number=number).fr
    return {"content": _text(content), "as_it_is": _is_pdfa1(content), "unreadable": unreadable}


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _is_pdfa1(pdf: bytes) -> bool:
    try:
        require_pdfa1(pdf)
    except BadDocument:
        return False
    return True
