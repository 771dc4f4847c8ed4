"""A page of ours as PDF/A-1b: embedded fonts, sRGB output intent, XMP, no transparency.

The same content and date give the same bytes. Slow to import (fpdf2, half a second): loaded where a letter is made.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF

from dmp_connector.pdf import require_pdfa1

FONTS = Path(__file__).parent / "fonts"


class Sheet(FPDF):
    """A4 portrait, DejaVu, 20 mm margins. What PDF/A-1 forbids, fpdf2 refuses to write in this mode."""

    def __init__(self, title: str, *, at: datetime, author: str = "", language: str = "fr-FR") -> None:
        super().__init__(enforce_compliance="PDFA_1B")
        self.set_title(title)
        self.set_author(author)
        self.set_lang(language)
        self.set_producer("mssgw")
        self.set_creation_date(at.astimezone(UTC).replace(microsecond=0))
        self.add_font("dejavu", "", str(FONTS / "DejaVuSans-Latin.ttf"))
        self.add_font("dejavu", "B", str(FONTS / "DejaVuSans-Latin-Bold.ttf"))
        self.set_margins(20, 20, 20)
        self.set_auto_page_break(auto=True, margin=20)
        self.add_page()
        self.set_font("dejavu", size=10)

    def heading(self, text: str) -> None:
        self.set_font("dejavu", "B", 13)
        self.multi_cell(0, 7, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.set_font("dejavu", size=10)
        self.ln(2)

    def paragraph(self, text: str) -> None:
        self.multi_cell(0, 5.2, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(2)

    def item(self, text: str) -> None:
        self._marked("•", 5, text)

    def tick(self, ticked: bool, text: str) -> None:
        """A box, ticked or not, with its sentence."""
        self._marked("☒" if ticked else "☐", 8, text)

    def _marked(self, mark: str, width: float, text: str) -> None:
        self.multi_cell(width, 5.2, mark, align="L", new_x="RIGHT", new_y="TOP")
        self.multi_cell(0, 5.2, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(1)

    def rendered(self) -> bytes:
        data = bytes(self.output())
        require_pdfa1(data)
        return data
