"""What a validator finds in a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dmp_connector.texts import Message, message

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`source`: xsd, header, or the name of a schematron; `where`: a path in the document; never patient data of ours.

    `said`: ours, or the words of the schematron and of libxml2 as they came.
    """

    source: str
    severity: Severity
    where: str
    said: Message

    def __str__(self) -> str:
        return str(self.message)

    @property
    def message(self) -> Message:
        """With its source and its place."""
        return message("validate.finding", source=self.source, where=self.where, said=self.said)
