"""Who may read a document by mail (docs/reference/dmp.md 5.1), and whose a citizen's address is (docs/reference/mssante.md 6).

| masked | hidden from the patient | hidden from representatives | secret connection | may be sent to |
|---|---|---|---|---|
| no | no | no | any | professionals and the patient |
| no | yes | no | any | professionals |
| any | no | any | no | the patient |
| anything else | | | | nobody |
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence

from dmp_connector.model import DocumentEntry, Ins, Visibility
from mssgw.core.address import Address, Domain
from mssgw.core.texts import message
from mssgw.exchange.errors import NotSendable

_FORM = re.compile(r"(?:[0-9]{5})?([0-9AB]{15})", re.ASCII)  # a published sample has five digits before the INS


class Reader(enum.StrEnum):
    PROFESSIONAL = "professional"
    PATIENT = "patient"


_EVERYBODY, _PROFESSIONALS, _PATIENT = frozenset(Reader), frozenset({Reader.PROFESSIONAL}), frozenset({Reader.PATIENT})
_NOBODY: frozenset[Reader] = frozenset()


def reader(address: Address, citizens: Domain) -> Reader:
    """Who reads this mailbox. `citizens`: the domain of Mon espace santé."""
    return Reader.PATIENT if address.domain == citizens else Reader.PROFESSIONAL


def readers_of(visibility: frozenset[Visibility], *, secret: bool = False) -> frozenset[Reader]:
    """To whom a document of this visibility may be sent. `secret`: a minor's, whose representatives don't know of the act."""
    masked = Visibility.MASKED in visibility
    from_patient, from_representatives = Visibility.HIDDEN_FROM_PATIENT in visibility, Visibility.HIDDEN_FROM_REPRESENTATIVES in visibility
    if not masked and not from_representatives:
        return _PROFESSIONALS if from_patient else _EVERYBODY
    return _NOBODY if from_patient or secret else _PATIENT


def require_readable(entries: Iterable[DocumentEntry], recipients: Sequence[Address], citizens: Domain, *, secret: bool = False) -> None:
    """Every recipient may read every document. Raises NotSendable with the first document and recipient for whom that is not so."""
    for entry in entries:
        allowed = readers_of(entry.visibility, secret=secret)
        for address in recipients:
            kind = reader(address, citizens)
            if kind not in allowed:
                raise NotSendable(message(f"exchange.not-for-{kind}", title=entry.title[:128], why=_why(entry.visibility, secret=secret)))


def _why(visibility: frozenset[Visibility], *, secret: bool) -> str:
    return ", ".join([*sorted(visibility), *(["CONNEXION_SECRETE"] if secret else [])])


def require_own_mailbox(recipients: Iterable[Address], patient: Ins, citizens: Domain) -> None:
    """A citizen among the recipients is the patient of the documents. Raises NotSendable, also for an address of unknown form."""
    for address in recipients:
        if reader(address, citizens) is Reader.PATIENT and ins_of(address) != patient.value:
            raise NotSendable(message("exchange.other-citizen" if ins_of(address) else "exchange.unknown-citizen", domain=citizens))


def ins_of(address: Address) -> str:
    """The INS in the address of a citizen; "" when it has a form that we don't know, which makes it no wrong address."""
    found = _FORM.fullmatch(address.local.upper())
    return found[1] if found else ""
