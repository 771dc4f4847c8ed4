"""What a validator finds in a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dmp_connector.french import french

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`source`: xsd, header, or the name of a schematron; `where`: a path in the document; never patient data of ours."""

    source: str
    severity: Severity
    where: str
    message: str
    message_fr: str = ""  # where the catalogue `french` cannot know it

    def __str__(self) -> str:
        return f"[{self.source}] {self.where}: {self.message}"

    @property
    def in_french(self) -> str:
        """Source, place and sentence, for people."""
        return f"[{self.source}] {self.where} : {self.message_fr or french(self.message)}"
