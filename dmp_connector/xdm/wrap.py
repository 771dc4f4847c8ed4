"""One PDF as a mail's attachments: level 1 CDA, its metadata, IHE_XDM.ZIP, and the subject that the profile requires."""

from __future__ import annotations

from dataclasses import dataclass, field

from dmp_connector.cda.level1 import Level1, build_level1
from dmp_connector.cda.metadata import describe
from dmp_connector.codes import CodeTables, load
from dmp_connector.model.code import Code
from dmp_connector.model.documents import Author, Document, Dtm, Institution, Person, SubmissionSet
from dmp_connector.xdm.write import Sender, subject, write


@dataclass(frozen=True, slots=True)
class Wrapped:
    """`archive` is attached as IHE_XDM.ZIP beside `pdf` (ECO.2.1.1)."""

    archive: bytes = field(repr=False)
    pdf: bytes = field(repr=False)
    document: Document
    subject: str


def wrap(
    wanted: Level1,
    *,
    submission_id: str,
    source_id: str,
    content_type: Code | None = None,
    sender: Sender | None = None,
    tables: CodeTables | None = None,
) -> Wrapped:
    """Build the document and its archive. `submission_id` and `source_id` are OIDs. Raises BadDocument, BadCode."""
    codes = tables or load()
    cda = build_level1(wanted, tables=codes)
    document = Document(describe(cda, tables=codes), cda)
    submission = SubmissionSet(
        unique_id=submission_id,
        source_id=source_id,
        patient=wanted.patient.ins,
        content_type=content_type or codes.content_type.require("07"),
        author=Author(Person.of(wanted.author), Institution.of(wanted.structure), specialties=document.entry.authors[0].specialties),
        submitted=Dtm.of(wanted.created),
        title=wanted.title,
    )
    who = sender or Sender(f"{wanted.author.given} {wanted.author.family}", wanted.structure.name)
    return Wrapped(write(submission, [document], sender=who), wanted.pdf, document, subject(wanted.patient, [document]))
