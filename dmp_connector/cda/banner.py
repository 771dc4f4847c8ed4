"""The head of a document as people read it: whose it is, who wrote and who answers for it, when, and what became of it.

What a faulty header lacks is left out; the text below is shown all the same. Moments are in the time of the house.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from html import escape

from lxml import etree

from bilingual import shown
from dmp_connector.cda.metadata import entry_of, person_of
from dmp_connector.cda.read import NS, Cda, code_of, moment, text_of
from dmp_connector.errors import BadDocument, BadInput
from dmp_connector.model.documents import AvailabilityStatus, DocumentEntry, Dtm, Person, Visibility
from dmp_connector.texts import Message, message

_STATES = {
    AvailabilityStatus.DEPRECATED: message("cda.page.replaced"),
    AvailabilityStatus.ARCHIVED: message("cda.page.archived"),
    AvailabilityStatus.DELETED: message("cda.page.deleted"),
}
_VISIBILITIES = {
    Visibility.MASKED: message("cda.page.masked"),
    Visibility.HIDDEN_FROM_PATIENT: message("cda.page.hidden-patient"),
    Visibility.HIDDEN_FROM_REPRESENTATIVES: message("cda.page.hidden-representatives"),
}
_NORMAL = "N"  # confidentialityCode: nothing to be shown
_DAY_DIGITS = 8  # of HL7 TS: a day without its hour


def banner(document: Cda, entry: DocumentEntry | None = None) -> str:
    """The head as HTML. `entry`: what the registry says of the document; its state and visibility stand first."""
    alerts = "".join(f'<p class="alert">{escape(said.fr)}</p>' for said in _of_registry(entry))
    rows = [(label.fr, value) for label, value in _rows(document) if value]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    title = document.title or message("cda.page.untitled").fr
    return f"<header><h1>{escape(title)}</h1>{alerts}<dl>{listed}</dl></header>"


def identity(document: Cda) -> str:
    """One line that stands on each sheet of paper: the patient's name, birth date and INS."""
    patient = document.find("recordTarget/patientRole/patient")
    born = patient.find("v:birthTime", NS) if patient is not None else None
    day = _day(born.get("value") if born is not None else None)
    return ", ".join(part for part in (_name_of(patient), day, _ins(document)) if part)


def author_of(document: Cda) -> str:
    """The authors' names, "" where the header has none that can be read."""
    try:
        return ", ".join(_named(a.person) for a in entry_of(document).authors if a.person)
    except BadInput:
        return ""


def created_at(document: Cda) -> datetime | None:
    """effectiveTime; None where the header has none that can be read."""
    try:
        return document.created.at if document.created else None
    except BadDocument:
        return None


def _of_registry(entry: DocumentEntry | None) -> Iterator[Message]:
    if entry is None:
        return
    if entry.status in _STATES:
        yield _STATES[entry.status]
    for visibility in sorted(entry.visibility):
        yield _VISIBILITIES[visibility]


def _rows(document: Cda) -> Iterator[tuple[Message, str]]:
    patient = document.find("recordTarget/patientRole/patient")
    yield message("cda.page.patient"), _name_of(patient)
    if patient is not None:
        born, gender = patient.find("v:birthTime", NS), patient.find("v:administrativeGenderCode", NS)
        yield message("cda.page.born"), _day(born.get("value") if born is not None else None)
        yield message("cda.page.sex"), (gender.get("displayName") or gender.get("code") or "") if gender is not None else ""
    yield message("cda.page.ins"), _ins(document)
    yield message("cda.page.author"), author_of(document)
    yield message("cda.page.structure"), text_of(document.find("author/assignedAuthor/representedOrganization/name"))
    yield message("cda.page.legal"), _legal(document)
    kind = document.type
    yield message("cda.page.type"), (kind.label or kind.code) if kind else ""
    yield message("cda.page.date"), _created(document)
    yield message("cda.page.version"), _version(document)
    seen = code_of(document.find("confidentialityCode"))
    yield message("cda.page.confidentiality"), (seen.label or seen.code) if seen and seen.code != _NORMAL else ""


def _name_of(patient: etree._Element | None) -> str:
    if patient is None:
        return ""
    names = {(etree.QName(p).localname, p.get("qualifier")): text_of(p) for p in patient.iterfind("v:name/*", NS) if text_of(p)}
    birth, used = names.get(("family", "BR")) or names.get(("family", None), ""), names.get(("family", "CL"), "")
    given = names.get(("given", "BR")) or names.get(("given", None), "")
    name = f"{birth} {given}".strip()
    return message("cda.page.used-name", name=name, used=used).fr if used and used != birth else name


def _ins(document: Cda) -> str:
    try:
        return document.ins.value if document.ins else ""
    except BadInput:
        return ""


def _named(person: Person | None) -> str:
    return f"{person.given} {person.family}".strip() if person else ""


def _legal(document: Cda) -> str:
    """Who answers for the document, and when it was signed."""
    legal = document.find("legalAuthenticator")
    if legal is None:
        return ""
    name = _named(person_of(legal.find("v:assignedEntity", NS)))
    return ", ".join(part for part in (name, _time_of(legal.find("v:time", NS))) if part)


def _version(document: Cda) -> str:
    if document.version == 1 and not document.replaces:
        return ""
    replaced = ", ".join(document.replaces)
    return message("cda.page.version-of", version=document.version, replaced=replaced).fr if replaced else str(document.version)


def _day(value: str | None) -> str:
    return f"{value[6:8]}/{value[4:6]}/{value[:4]}" if value and len(value) >= 8 else value or ""


def _created(document: Cda) -> str:
    return _time_of(document.find("effectiveTime"))


def _time_of(element: etree._Element | None) -> str:
    try:
        return _time(moment(element))
    except BadDocument:
        return ""


def _time(at: Dtm | None) -> str:
    if at is None:
        return ""
    return shown(at.at, "fr") if at.digits > _DAY_DIGITS else f"{at.at:%d/%m/%Y}"
