"""The languages people read."""

from __future__ import annotations

from typing import Final, Literal

Language = Literal["fr", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("fr", "en")  # people read French first
