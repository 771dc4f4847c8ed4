"""Use case: documents of a dossier as a mail. What leaves is decided here; sending it is the flow's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from dmp_connector.cda import read
from dmp_connector.dossier.consultation import OpenConsultation
from dmp_connector.model import Author, DocumentEntry, Institution, Patient, Person
from dmp_connector.paper.printer import Printer
from mssgw import __version__
from mssgw.core.address import Address, Domain
from mssgw.dossier.documents import Documents
from mssgw.dossier.filing import Filings
from mssgw.dossier.session import Session
from mssgw.dossier.values import Access, Copy
from mssgw.exchange.composing import Enclosure, Letter, Profile, Source, compose, enclose
from mssgw.exchange.visibility import require_own_mailbox, require_readable

_USUAL_ACT = "07"  # JDV_J59: ambulatory care


@dataclass(frozen=True, slots=True)
class Composed:
    """A message that is complete but for Date and Message-ID."""

    octets: bytes = field(repr=False)
    entries: tuple[DocumentEntry, ...]
    patient: Patient


class Letters:
    """The methods raise the errors of `Documents.get`, NotSendable, TraitsDiffer, NotPrinted."""

    def __init__(self, session: Session, documents: Documents, filings: Filings) -> None:
        self._session, self._documents, self._filings = session, documents, filings

    async def compose(self, access: Access, consultation: OpenConsultation, names: Sequence[str], letter: Letter) -> Composed:
        """IHE_XDM.ZIP and one PDF/A-1 for each document, to recipients who may read them.

        `names`: as for `get`. The traits in each document are compared with the register's, so that the INS is qualified. Nothing
        of a document is fetched for recipients who may read none of the patient's mail; each document is asked for once.
        """
        async with self._session.attempt("send", access):
            patient = await self._session.whose(access)
            profile = self._profile()
            require_own_mailbox(letter.recipients, patient.ins, profile.citizens)
            copies = [await self._documents.get(consultation, name) for name in names]
            entries = tuple(one.entry for one in copies)
            require_readable(entries, letter.recipients, profile.citizens, secret=letter.secret)
            await self._filings.require_identity(access, [read(one.content) for one in copies])
            octets = await asyncio.to_thread(self._composed, copies, letter, patient, profile)
            return Composed(octets, entries, patient)

    async def note(self, access: Access, composed: Composed, letter: Letter, outcome: str, **facts: str) -> None:
        """A row of the trail for each document: "asked" before the message leaves, so that none leaves without, and "done" after."""
        call, citizens = self._session.call(access), self._profile().citizens
        to = " ".join(_masked(address, citizens) for address in letter.recipients)
        for entry in composed.entries:
            await self._session.desk.note(call, "send", outcome, document=entry.unique_id, recipients=to, **facts)

    def _composed(self, copies: Sequence[Copy], letter: Letter, patient: Patient, profile: Profile) -> bytes:
        session = self._session
        with Printer() as printer:
            enclosures: list[Enclosure] = [enclose(one.entry, one.content, printer) for one in copies]
        who, structure = session.actor.practitioner, session.actor.structure
        source = Source(
            Author(Person.of(who), Institution.of(structure)),
            session.tables.content_type.require(_USUAL_ACT),
            f"{who.given} {who.family}".strip(),
            structure.name,
        )
        return compose(letter, enclosures, patient, source, profile, session.desk.now())

    def _profile(self) -> Profile:
        config = self._session.setup.config
        exchange = config.exchange
        return Profile(
            root=self._session.setup.table.system_oid,
            citizens=exchange.citizens,
            limit=config.limits.message_size,
            citizens_limit=exchange.citizens_octets,
            nil=exchange.nil,
            version=__version__,
        )


def _masked(address: Address, citizens: Domain) -> str:
    """A citizen's address is their INS, which the row has already."""
    return f"(INS)@{citizens}" if address.domain == citizens else str(address)
