"""What the printer and its process say to each other.

Question: JSON with `html`, `title`, `author`, `at`, `images` (base64), `pdfs` ({`content`: base64, `as_it_is`: a PDF/A-1,
`unreadable`: the sentence that takes the place of one that cannot be read}).
Answer: `pdf` (base64), or `missing` (letters that no font has), or `refused` (a word below) with `log`.
"""

from __future__ import annotations

from typing import Final

ABSENT: Final = "absent"
MEMORY: Final = "memory"
PAGES: Final = "pages"
FAILED: Final = "failed"

MAX_PICTURES: Final = 200
"""Pages of PDFs that become pictures, in one document."""
