"""What a caller gives and gets back: frozen values without any behaviour of the DMP."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

from dmp_connector.dossier.identity import NOTHING_TYPED, Typed
from dmp_connector.dossier.recognition import Gesture
from dmp_connector.dossier.rights import Action
from dmp_connector.dossier.workflow import Confirmation
from dmp_connector.model import AccessMode, ConsentMeans, DocumentEntry, Dossier, Ins, Oppositions, Patient, Visibility
from dmp_connector.model.audit import AuditRecord
from dmp_connector.model.creation import NOT_OPPOSED, AccountAccess, Channel, Creation

AskPin = Callable[[int | None], Awaitable[str]]
"""Asks the holder of the card for the PIN. Given: how many tries are left, None when the card does not show it."""

Progress = Callable[[int, int], None]
"""Called with (octets so far, octets in all or 0 when unknown) while something is sent or received."""


DECLINED: Final = AccountAccess(None)
"""The patient wants no web account."""

Account = AccountAccess | Callable[[Patient], AccountAccess] | None
"""Step 4 of a creation: the patient's answer, DECLINED among them, or how this patient is asked for it; None where nobody was asked."""


@dataclass(frozen=True, slots=True)
class Access:
    """Whose dossier, how and why. `patient`: an INS as a person types it, "" for acts on nobody's dossier.

    `oid`: under which the INS was issued, "" for the usual one. `reason` and `confirmed` (the gesture) are what the
    emergency modes ask for; in normal mode nothing is to be confirmed. `typed`: what the caller knows of the patient, compared with the
    register before anything is opened; in an emergency mode a gesture given beforehand, by somebody who sees no name, needs it.
    """

    patient: str = ""
    oid: str = ""
    mode: AccessMode = AccessMode.NORMAL
    reason: str = ""
    confirmed: Gesture = False
    typed: Typed = NOTHING_TYPED


@dataclass(frozen=True, slots=True)
class Existence:
    """A dossier as TD0.2 describes it, and what the actor may do in it."""

    dossier: Dossier
    possible: frozenset[Action]


@dataclass(frozen=True, slots=True)
class Search:
    """Which documents. All defaults: those of two years that are current.

    `everything`: beyond two years, archived and replaced ones too. `since`: first day of the act, local. `type_code`: JDV_J66.
    """

    everything: bool = False
    since: date | None = None
    type_code: str = ""


class Form(enum.StrEnum):
    """In which form a document is read: as it is, the PDF inside, a page of HTML, a PDF/A-1 made from it."""

    CDA = "cda"
    PDF = "pdf"
    HTML = "html"
    PDFA = "pdfa"


class Audience(enum.StrEnum):
    """Who sees a document again."""

    PROFESSIONALS = "professionals"
    PATIENT = "patient"
    REPRESENTATIVES = "representatives"


@dataclass(frozen=True, slots=True)
class Copy:
    """One document of the DMP, in the form that was asked for."""

    entry: DocumentEntry
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Filing:
    """A PDF/A-1 or a CDA to file. Of a PDF `title` and `type_code` (JDV_J66) are needed; `act` and `again` are for a PDF only.

    `name`: of the file, for sentences. `act`: day of the act, today when None. `replaces`: uniqueId of the document that this one
    replaces. `again`: as a new document although the same was filed before. `typed`: traits to be checked against the register.
    """

    content: bytes = field(repr=False)
    name: str = ""
    title: str = ""
    type_code: str = ""
    act: date | None = None
    replaces: str = ""
    visibility: frozenset[Visibility] = frozenset()
    again: bool = False
    typed: Typed = NOTHING_TYPED


@dataclass(frozen=True, slots=True)
class Resumed:
    """The outcome of a deposit that had got no answer: "sent", or the sentence of the refusal."""

    unique_id: str
    title: str
    patient: Ins | None
    outcome: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A row of the trail. `ins` of another professional's act is masked but for its end; "" when the act was on nobody's dossier."""

    record: AuditRecord
    ins: str
    oid: str
    masked: bool


@dataclass(frozen=True, slots=True)
class CreationOrder:
    """The patient's decisions, and how the confirmation is sent. `resume`: id of a creation begun earlier.

    `vitale`: a simulated card as a file instead of the reader. `rank`: the beneficiary on the card, from 1. `means` None: no consent
    yet, so that nothing is created. `address`: postal lines of the patient, the last one "75001 PARIS". `email`: where the
    confirmation goes when that is not the address of the account. `account`: needed until the creation has the patient's answer.
    """

    vitale: Path | None = None
    rank: int = 1
    means: ConsentMeans | None = None
    oppositions: Oppositions = NOT_OPPOSED
    account: Account = None
    channel: Channel = Channel.LETTER
    address: tuple[str, ...] = ()
    email: str = ""
    resume: str = ""


class CreationEvent(enum.StrEnum):
    """Where a creation stands, for the person who follows it."""

    STARTED = "started"
    RESUMED = "resumed"
    IDENTIFIED = "identified"
    PRESENTING = "presenting"
    INFORMED = "informed"
    CONSENTED = "consented"
    READY = "ready"
    CREATED = "created"


@dataclass(frozen=True, slots=True)
class CreationOutcome:
    """Where a creation ended. `confirmation` None: Mon espace santé manages the dossier, nothing was created."""

    creation: Creation
    confirmation: Confirmation | None
