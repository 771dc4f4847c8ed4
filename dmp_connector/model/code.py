"""Coded values, as every table of the DMP writes them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Code:
    """A coded value: code, OID (or URN, LOINC ...) of its code system, and the label for people."""

    code: str
    system: str
    label: str = field(default="", compare=False)
