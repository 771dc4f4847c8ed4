"""Use cases that feed the DMP: file a document, finish what got no answer, what its patient does not see yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial

from dmp_connector.cda import Cda
from dmp_connector.client import Call
from dmp_connector.dossier.announcement import Announcement, announcements
from dmp_connector.dossier.deposits import DepositRequest, Deposits, Receipt
from dmp_connector.dossier.identity import Identities, require_identity
from dmp_connector.dossier.pdf_document import PdfRequest
from dmp_connector.dossier.recognition import Gesture, given
from dmp_connector.errors import BadDocument
from dmp_connector.model import AccessMode, Ins
from dmp_connector.store import Deposit
from mssgw.core.texts import message
from mssgw.dossier.session import Session
from mssgw.dossier.values import Access, Filing, Progress, Resumed

_PDF = b"%PDF-"
SENT = "sent"


class Filings:
    """The methods raise the errors of `dmp_connector.dossier.deposits`, BadIns, and Unavailable when the DMP does not answer."""

    def __init__(self, session: Session, practice: str) -> None:
        """`practice`: JDV_J04, of the documents that are made from PDFs."""
        table = session.setup.table
        self._session, self._practice = session, practice
        self._identities = Identities(session.desk.dmp, session.insi if table.insi_url else None)

    @cached_property
    def _deposits(self) -> Deposits:
        session = self._session
        limit = session.setup.table.max_pdf_octets
        return Deposits(session.desk, validator=session.checks.validator, tables=session.tables, identities=self._identities, max_pdf=limit)

    @property
    def largest(self) -> int:
        """Octets of the largest file that is read: a CDA carries its PDF in base64."""
        return 2 * self._session.setup.table.max_pdf_octets

    def require_document(self, content: bytes, name: str) -> None:
        """Raise BadDocument naming the file: too large, or neither a PDF nor a CDA."""
        self.require_size(len(content), name)
        require_format(content, name)

    def require_size(self, size: int, name: str) -> None:
        """Raise BadDocument: more than `largest`."""
        limit = self._session.setup.table.max_pdf_octets
        if size > self.largest:
            raise BadDocument(message("dmp.bytes-most-taken", name=name, size=size, limit=limit))

    async def submit(self, access: Access, filing: Filing, *, right_patient: Gesture, progress: Progress | None = None) -> Receipt:
        """TD2.1: file a document once and only once; the same CDA or PDF again is the same document.

        `right_patient`: asks whether this is the person it is about, before anything is kept or sent. Raises BadDocument, BadCode,
        TraitsDiffer, NotConfirmed (nothing was sent), Unavailable (kept: `resume` goes on), Refused.
        """
        async with self._session.attempt("submit", access):
            self.require_document(filing.content, filing.name)
            call = self._session.call(access)
            confirmed = access.mode is AccessMode.NORMAL or (await self._session.recognised(access)).confirmed
            access = replace(access, confirmed=confirmed)
            ask = partial(given, right_patient)
            if filing.content.startswith(_PDF):
                return await self._deposits.deposit_pdf(call, self._pdf(access, filing), progress=progress, ask=ask)
            return await self._deposits.deposit(call, _cda(access, filing), progress=progress, ask=ask)

    def _pdf(self, access: Access, filing: Filing) -> PdfRequest:
        if not filing.title or not filing.type_code:
            raise BadDocument(message("dmp.pdf-needs-title-type"))
        tables = self._session.tables
        return PdfRequest(
            filing.content,
            filing.title,
            tables.type_code.require(filing.type_code),
            tables.practice.require(self._practice),
            filing.visibility,
            filing.replaces,
            filing.act,
            filing.again,
            access.reason,
            access.confirmed is True,
            filing.typed,
        )

    async def kept(self, access: Access) -> int:
        """How many deposits of the actor for this patient wait for an answer."""
        patient = self._session.ins(access).cx
        rows = await asyncio.to_thread(self._session.desk.store.pending_deposits)
        return sum((row.practitioner, row.patient) == (self._session.actor.practitioner.id, patient) for row in rows)

    async def resume(self) -> tuple[Resumed, ...]:
        """Send again the deposits that got no answer, never twice: the DMP is asked first."""
        async with self._session.attempt("resume"):
            actor = self._session.actor
            rows = {row.unique_id: row for row in await asyncio.to_thread(self._session.desk.store.pending_deposits)}
            done = await self._deposits.resume(lambda ins: Call(actor, ins))
            return tuple(_resumed(unique_id, rows.get(unique_id), outcome) for unique_id, outcome in done)

    async def announcements(self) -> tuple[Announcement, ...]:
        """The actor's documents that their patients do not see yet (consultation d'annonce, CSP R1111-53), oldest first."""
        async with self._session.attempt("list_announcements"):
            desk = self._session.desk
            return await asyncio.to_thread(announcements, desk.store, self._session.actor.practitioner.id, desk.now())

    def announced(self, access: Access, receipt: Receipt) -> Announcement:
        """The announcement that begins with a document just filed hidden from its patient."""
        return Announcement(receipt.unique_id, self._session.ins(access), receipt.title, self._session.desk.now())

    async def due(self) -> int:
        """How many of them it is time to announce."""
        now = self._session.desk.now()
        return sum(found.due(now) for found in await self.announcements())

    async def require_identity(self, access: Access, documents: Sequence[Cda]) -> None:
        """Each document is about the person that the register knows. Raises TraitsDiffer."""
        async with self._session.attempt("identity", access):
            known = await self._identities.qualified(self._session.call(access))
            for document in documents:
                require_identity(document, known)


def _cda(access: Access, filing: Filing) -> DepositRequest:
    if filing.again or filing.act is not None:
        raise BadDocument(message("dmp.again-date-pdf-cda-carries"))
    return DepositRequest(
        filing.content,
        filing.visibility,
        filing.replaces,
        title=filing.title,
        reason=access.reason,
        confirmed=access.confirmed is True,
        typed=filing.typed,
    )


def _resumed(unique_id: str, row: Deposit | None, outcome: str) -> Resumed:
    if row is None:
        return Resumed(unique_id, "", None, outcome)
    return Resumed(unique_id, str(row.submission["title"]), Ins.read_cx(row.patient), outcome)


def require_format(content: bytes, name: str) -> None:
    """Raise BadDocument: neither a PDF nor XML, by its first octets and its name."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff", b"<\x00", b"\x00<")):
        raise BadDocument(message("dmp.utf-16-cda-written-utf", name=name))
    if not content.startswith(_PDF) and not content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise BadDocument(message("dmp.neither-pdf-nor-cda" if content.strip() else "dmp.empty-file", name=name))
    if name.lower().endswith(".pdf") and not content.startswith(_PDF):
        raise BadDocument(message("dmp.not-pdf-but-xml-html", name=name))
