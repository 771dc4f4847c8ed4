"""The one catalogue of what people read: French first, English second.

`text(key, language, **values)`; a missing key is a bug and raises KeyError.
"""

from __future__ import annotations

from typing import Literal

Language = Literal["fr", "en"]

TEXTS: dict[str, dict[Language, str]] = {}


def text(key: str, language: Language = "fr", **values: object) -> str:
    return TEXTS[key][language].format(**values)
