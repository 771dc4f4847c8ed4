"""A PDF that becomes a document of the DMP: what was asked for, the id that follows from it, the CDA around it."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass, field
from datetime import date, datetime, time

from dmp_connector.cda.level1 import Level1
from dmp_connector.client import Call
from dmp_connector.dossier.identity import NOTHING_TYPED, Qualified, Typed
from dmp_connector.errors import BadDocument
from dmp_connector.model.code import Code
from dmp_connector.model.documents import Visibility
from dmp_connector.texts import message

MAX_TITLE = 128  # octets of UTF-8, what the DMP takes of an XDS title


@dataclass(frozen=True, slots=True)
class PdfRequest:
    """A PDF/A-1 to file in a level 1 CDA. `practice`: JDV_J04. `act`: day of the act, today when None."""

    pdf: bytes = field(repr=False)
    title: str
    type: Code
    practice: Code
    visibility: frozenset[Visibility] = frozenset()
    replaces: str = ""
    act: date | None = None
    again: bool = False
    reason: str = ""
    confirmed: bool = False
    typed: Typed = NOTHING_TYPED  # traits a person typed beside it


def document_id(root: str, call: Call, request: PdfRequest, generation: int) -> str:
    """An OID below `root` of at most 64 characters (ITI TF-3 4.2.3.1.1): a digest of all that makes the document.

    `generation` counts the times it was asked for anew.
    """
    actor, ins = call.actor, call.ins.cx if call.ins else ""
    said = (ins, hashlib.sha256(request.pdf).hexdigest(), request.title, request.type.code, actor.practitioner.id, actor.structure.id,
            str(request.act or ""), request.replaces, str(generation))  # fmt: skip
    digest = hashlib.sha256("\0".join(said).encode()).digest()
    return f"{root}.{1 + int.from_bytes(digest) % 10 ** min(37, 62 - len(root))}"


def level1_of(call: Call, request: PdfRequest, known: Qualified, unique_id: str, lineage: tuple[str, int], now: datetime) -> Level1:
    """The header; its patient is the register's. `lineage`: setId and version. `now`: with its offset."""
    return Level1(
        unique_id=unique_id,
        patient=known.patient,
        author=call.actor.practitioner,
        structure=call.actor.structure,
        type=request.type,
        title=request.title,
        created=now,
        pdf=request.pdf,
        practice=request.practice,
        service_start=datetime.combine(request.act, time(0), now.tzinfo) if request.act else now,
        set_id=lineage[0],
        version=lineage[1],
        replaces=request.replaces,
    )


def require_title(title: str) -> None:
    """Raise BadDocument: empty, with control characters, or longer than the DMP takes."""
    if not title.strip():
        raise BadDocument(message("cda.title-empty"))
    if any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for c in title):
        raise BadDocument(message("dossier.title-control-characters-line-ends"))
    size = len(title.encode())
    if size > MAX_TITLE:
        raise BadDocument(message("dossier.title-octets-utf-8-dmp", size=size, max_title=MAX_TITLE))


def require_day(act: date | None, *, born: date, today: date) -> None:
    """Raise BadDocument: an act of the future, or before the patient was born."""
    if act is not None and act > today:
        raise BadDocument(message("dossier.act-lies-future-date"))
    if act is not None and act < born:
        raise BadDocument(message("dossier.act-lies-before-patient-s"))
