"""A page of ours as PDF/A-1b: embedded fonts, sRGB output intent, XMP, no transparency.

The same content and date give the same bytes. Slow to import (fpdf2, half a second): loaded where a letter is made.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Container
from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF

from dmp_connector.paper.pdf import require_pdfa1
from dmp_connector.paper.xmp import PRODUCER, xmp_of

FONTS = Path(__file__).parent / "fonts"


class Sheet(FPDF):
    """A4 portrait, DejaVu, 20 mm margins. What PDF/A-1 forbids, fpdf2 refuses to write in this mode."""

    def __init__(self, title: str, *, at: datetime, author: str = "", language: str = "fr-FR") -> None:
        super().__init__(enforce_compliance="PDFA_1B")
        self.set_title(title)
        self.set_author(author)
        self.set_lang(language)
        self.set_producer(PRODUCER)
        moment = at.astimezone(UTC).replace(microsecond=0)
        self.set_creation_date(moment)
        self.set_xmp_metadata(xmp_of(title, author, moment))  # fpdf2's own contains the time of the run
        self.add_font("dejavu", "", str(FONTS / "DejaVuSans.ttf"))
        self.add_font("dejavu", "B", str(FONTS / "DejaVuSans-Bold.ttf"))
        self.set_margins(20, 20, 20)
        self.set_auto_page_break(auto=True, margin=20)
        self.add_page()
        self.set_font("dejavu", size=10)

    def normalize_text(self, text: str) -> str:
        """What the font can show: a letter it lacks loses its accent (RNIV), anything else becomes "?" (no .notdef in PDF/A)."""
        font = self.fonts["dejavu"]
        known: Container[int] = getattr(font, "cmap", ())
        return super().normalize_text("".join(c if c in "\r\n\t" or ord(c) in known else _plainer(c, known) for c in text))

    def heading(self, text: str) -> None:
        """A line of its own, large."""
        self.set_font("dejavu", "B", 13)
        self.multi_cell(0, 7, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.set_font("dejavu", size=10)
        self.ln(2)

    def paragraph(self, text: str) -> None:
        """A text with space after it."""
        self.multi_cell(0, 5.2, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(2)

    def item(self, text: str) -> None:
        """A line of a list."""
        self._marked("•", 5, text)

    def tick(self, ticked: bool, text: str) -> None:
        """A box, ticked or not, with its sentence."""
        self._marked("☒" if ticked else "☐", 8, text)

    def _marked(self, mark: str, width: float, text: str) -> None:
        self.multi_cell(width, 5.2, mark, align="L", new_x="RIGHT", new_y="TOP")
        self.multi_cell(0, 5.2, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(1)

    def rendered(self) -> bytes:
        """The PDF/A-1 as octets. Raises BadDocument when it is none: a bug."""
        data = bytes(self.output())
        require_pdfa1(data)
        return data


def _plainer(character: str, known: Container[int]) -> str:
    bare = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
    return bare if bare and all(ord(c) in known for c in bare) else "?"
