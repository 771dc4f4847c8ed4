"""A mail that carries documents of one patient: IHE_XDM.ZIP, one PDF/A-1 for each CDA, the subject and fields of the profile.

The same documents, letter and moment give the same octets. Line ends are CRLF; Date and Message-ID are the submission's to add.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.headerregistry import Address as Mailbox
from email.message import EmailMessage
from email.policy import SMTP

from bilingual import local
from dmp_connector import xdm
from dmp_connector.cda import read
from dmp_connector.cda.printed import to_pdfa
from dmp_connector.errors import BadDocument
from dmp_connector.model import Author, Code, Document, DocumentEntry, Dtm, Patient, SubmissionSet
from dmp_connector.model.documents import NO_MOMENT
from dmp_connector.paper.printer import Printer
from mssgw.core.address import Address, Domain
from mssgw.core.texts import message
from mssgw.exchange.errors import NotSendable
from mssgw.exchange.naming import ARCHIVE, CORRECTED, fields, pdf_names
from mssgw.exchange.visibility import require_own_mailbox, require_readable

MOST_DOCUMENTS = 50
_POLICY = SMTP.clone(max_line_length=78, cte_type="7bit")
_HEADER = _POLICY.clone(max_line_length=200)  # a subject in one line: programs that look for its beginning may not unfold


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A CDA with its metadata and the PDF/A-1 made from it."""

    entry: DocumentEntry
    cda: bytes = field(repr=False)
    pdf: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Profile:
    """What is of this installation. `root`: OID of the ids made here; `citizens`: domain of Mon espace santé; `nil`: ECO.2.4.3.

    `limit` and `citizens_limit`: octets of a message, to professionals and to citizens.
    """

    root: str
    citizens: Domain
    limit: int
    citizens_limit: int
    nil: str = ""
    software: str = "mssgw"
    version: str = "1"


@dataclass(frozen=True, slots=True)
class Letter:
    """Who writes to whom, and what.

    `name`: shown beside the address of the author (ECO.2.2.7). `text`: "" for the usual words. `replaces`: Message-ID of the mail that
    this one replaces. `final`: a patient is not to answer. `receipt`: a notice of reading is asked for (RFC 8098). `reply_to`: of
    mailboxes of applications (ECO.2.2.5). `secret`: see `visibility`.
    """

    author: Address
    name: str
    recipients: tuple[Address, ...]
    text: str = field(default="", repr=False)
    replaces: str = ""
    final: bool = False
    receipt: bool = False
    reply_to: Address | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Who made the submission set: the author of its metadata, and the kind of act (JDV_J59)."""

    author: Author
    content_type: Code
    person: str
    organisation: str = ""


def enclose(entry: DocumentEntry, cda: bytes, printer: Printer) -> Enclosure:
    """With its PDF/A-1 (ECO.2.1.5). Blocks. Raises BadDocument when it is no CDA, NotPrinted."""
    if entry.mime_type not in {"text/xml", "application/xslt+xml"}:
        raise BadDocument(message("exchange.no-cda", title=entry.title[:128]))
    return Enclosure(entry, cda, to_pdfa(read(cda), printer))


def compose(letter: Letter, enclosures: Sequence[Enclosure], patient: Patient, source: Source, profile: Profile, at: datetime) -> bytes:
    """The message. `patient`: as the register knows them, so that their INS is qualified.

    Raises NotSendable: no document or too many, another patient's, a recipient who may not read one, too large; BadArchive.
    """
    entries = [one.entry for one in enclosures]
    _require_sendable(letter, entries, patient, profile)
    documents = [Document(_own(one.entry), one.cda) for one in enclosures]
    archive = _archive(documents, source, profile, at)
    found = EmailMessage(policy=_POLICY)
    found["From"] = Mailbox(letter.name, addr_spec=str(letter.author))
    found["To"] = ", ".join(map(str, letter.recipients))
    if letter.reply_to:
        found["Reply-To"] = str(letter.reply_to)
    found["Subject"] = (CORRECTED if letter.replaces else "") + xdm.subject(patient, documents)
    if letter.replaces:  # ECO.2.2.2
        found["In-Reply-To"] = found["References"] = letter.replaces
    if letter.receipt:
        found["Disposition-Notification-To"] = str(letter.reply_to or letter.author)
    for name, value in fields(entries, qualified=True, nil=profile.nil, final=letter.final):
        found[name] = value
    found.set_content(letter.text or _usual(letter, entries, patient), cte="quoted-printable")
    found.add_attachment(archive, "application", "zip", filename=ARCHIVE)
    for one, name in zip(enclosures, pdf_names(entries, patient), strict=True):
        found.add_attachment(one.pdf, "application", "pdf", filename=name)
    for part in found.iter_attachments():
        del part["MIME-Version"]
    found.set_boundary(f"=_mss_{hashlib.sha256(archive).hexdigest()[:32]}")
    octets = found.as_bytes(policy=_HEADER)
    _require_size(octets, letter, profile)
    return octets


def _own(entry: DocumentEntry) -> DocumentEntry:
    """Without what the registry of the DMP gave it: ids and state there are nobody else's."""
    return replace(entry, entry_uuid="", logical_id="", version="", repository_id="", status=None, submitted=None)


def _require_sendable(letter: Letter, entries: Sequence[DocumentEntry], patient: Patient, profile: Profile) -> None:
    if not entries:
        raise NotSendable(message("exchange.no-document"))
    if len(entries) > MOST_DOCUMENTS:
        raise NotSendable(message("exchange.too-many-documents", count=len(entries), most=MOST_DOCUMENTS))
    if not letter.recipients:
        raise NotSendable(message("exchange.no-recipient"))
    if any(not entry.patient.same_as(patient.ins) for entry in entries):
        raise NotSendable(message("exchange.another-patient"))
    require_own_mailbox(letter.recipients, patient.ins, profile.citizens)
    require_readable(entries, letter.recipients, profile.citizens, secret=letter.secret)


def _require_size(octets: bytes, letter: Letter, profile: Profile) -> None:
    """Told before it is sent: Mon espace santé returns what is larger than 25 MB."""
    citizen = any(one.domain == profile.citizens for one in letter.recipients)
    limit = min(profile.limit, profile.citizens_limit) if citizen else profile.limit
    if len(octets) > limit:
        raise NotSendable(message("exchange.too-large-for-citizen" if citizen else "exchange.too-large", size=len(octets), limit=limit))


def _archive(documents: Sequence[Document], source: Source, profile: Profile, at: datetime) -> bytes:
    submitted = Dtm.of(at)
    title = documents[0].entry.title if len(documents) == 1 else f"{len(documents)} documents"
    submission = SubmissionSet(
        unique_id=xdm.submission_id(profile.root, submitted, documents),
        source_id=profile.root,
        patient=documents[0].entry.patient,
        content_type=source.content_type,
        author=source.author,
        submitted=submitted,
        title=title,
    )
    sender = xdm.Sender(source.person, source.organisation, software=profile.software, version=profile.version)
    return xdm.write(submission, documents, sender=sender)


def _usual(letter: Letter, entries: Sequence[DocumentEntry], patient: Patient) -> str:
    """In French, the language of who reads: people of the French health system."""
    lines = [message("exchange.line", title=entry.title, day=_day(entry), author=_author(entry)).fr for entry in entries]
    name = f"{patient.birth_name} {patient.first_given}".strip()
    born, author = f"{patient.birth_date:%d/%m/%Y}", letter.name or str(letter.author)
    key = "exchange.letter-replacing" if letter.replaces else "exchange.letter"
    return message(key, name=name, born=born, documents="\n".join(lines), author=author).fr


def _day(entry: DocumentEntry) -> str:
    moment = entry.service_start or entry.created
    return f"{local(moment.at):%d/%m/%Y}" if moment != NO_MOMENT else "?"


def _author(entry: DocumentEntry) -> str:
    found = next((one.person for one in entry.authors if one.person), None)
    return f"{found.given} {found.family}".strip() if found else "?"
