"""Verbs that feed the DMP: submit, resume, and what was filed without the patient seeing it yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from bilingual import local
from dmp_connector.dossier.deposits import Receipt
from dmp_connector.errors import BadDocument, Unavailable
from dmp_connector.model import AccessMode, Patient, Visibility
from mssgw.cli.dmp.documents import entry_json, shown
from mssgw.cli.dmp.session import (
    As,
    BirthDate,
    Family,
    Given,
    Mode,
    Oid,
    Options,
    PatientIns,
    ReasonText,
    Session,
    SexOption,
    Trace,
    Yes,
    answered,
    patient_json,
    person,
    typed,
    verb,
)
from mssgw.cli.frame import ConfigFile, Json, of_os, say
from mssgw.cli.terminal import read, terminal
from mssgw.dossier import Filing
from mssgw.dossier.filing import SENT, Filings
from mssgw.dossier.values import Resumed

app = typer.Typer()


@asynccontextmanager
async def keeping(s: Session) -> AsyncIterator[None]:
    """Without an answer, or stopped by Ctrl-C, what is kept is said, and how it goes on."""
    try:
        yield
    except (Unavailable, asyncio.CancelledError):
        if count := await s.dmp.filings.kept(s.access):
            s.notice(say("dmp.kept", count=count, address=s.options.address))
        raise


@app.command()
def submit(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A PDF/A-1 or a CDA.")],
    title: Annotated[str, typer.Option("--title", metavar="T", help="Title, at most 128 octets; of a PDF it is required.")] = "",
    type_code: Annotated[str, typer.Option("--type", metavar="CODE", help="typeCode of a PDF (JDV_J66), as 11490-0.")] = "",
    day: Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Day of the act of a PDF; today.")] = None,
    replace_id: Annotated[str, typer.Option("--replace", metavar="UNIQUE_ID", help="The document this one replaces.")] = "",
    masked: Annotated[bool, typer.Option("--mask", help="Masked to professionals.")] = False,
    hidden: Annotated[bool, typer.Option("--hide-from-patient", help="Not visible to the patient yet (consultation d'annonce).")] = False,
    hidden_rl: Annotated[bool, typer.Option("--hide-from-representatives", help="Not visible to legal representatives.")] = False,
    again: Annotated[bool, typer.Option("--again", help="File a PDF as a new document although the same was filed before.")] = False,
    family: Family = "",
    given: Given = "",
    birth_date: BirthDate = None,
    sex: SexOption = None,
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD2.1: file a document once and only once; the same CDA or PDF again is the same document."""

    async def act(s: Session) -> None:
        content = await asyncio.to_thread(_read_bounded, file, s.dmp.filings)
        chosen = {Visibility.MASKED: masked, Visibility.HIDDEN_FROM_PATIENT: hidden, Visibility.HIDDEN_FROM_REPRESENTATIVES: hidden_rl}
        visibility = frozenset(v for v, on in chosen.items() if on)
        acted = day.date() if day else None
        filing = Filing(content, file.name, title, type_code, acted, replace_id, visibility, again, s.options.typed)
        access = s.urgent_access()
        async with keeping(s):
            with terminal().bar(say("dmp.sending").fr) as bar:
                _tell_receipt(s, await s.dmp.filings.submit(access, filing, right_patient=_ask(s, file), progress=bar))

    options = Options(config, address, patient, oid, mode, reason, trace, json, yes, typed(family, given, birth_date, sex))
    verb("submit", options, act)


def _ask(s: Session, file: Path) -> Callable[[Patient], bool]:
    """Is it the right person? Her name and birth date are always shown first; the question is for a person at a terminal."""

    def ask(patient: Patient) -> bool:
        if s.options.yes or not at_terminal():
            s.notice(say("dmp.for", person=person(patient)))
            return True
        return answered(say("dmp.ask.file", file=file.name, person=person(patient)))

    return ask


def at_terminal() -> bool:
    return terminal().asks


_REMARKS_SHOWN = 10


def _tell_receipt(s: Session, receipt: Receipt) -> None:
    before = receipt.filed_before
    document = {
        "ok": True,
        "unique_id": receipt.unique_id,
        "already": before is not None,
        "filed_at": before.isoformat() if before else None,
        "entry": entry_json(receipt.entry) if receipt.entry else _receipt_json(receipt),
        "patient": patient_json(receipt.patient) if receipt.patient else None,
        "remarks": [remark.en for remark in receipt.remarks],
    }
    who = person(receipt.patient) if receipt.patient else s.options.patient
    if before is None:
        s.tell(say("dmp.filed", id=receipt.unique_id, title=receipt.title, person=who), document)
    else:
        at = f"{local(before):%d/%m/%Y %H:%M}"
        s.tell(say("dmp.filed-before", id=receipt.unique_id, title=receipt.title, at=at, person=who), document)
    for remark in receipt.remarks[:_REMARKS_SHOWN]:
        s.notice(say("dmp.remark", remark=remark))
    if (more := len(receipt.remarks) - _REMARKS_SHOWN) > 0:
        s.notice(say("dmp.remarks-more", count=more))
    if before is None and Visibility.HIDDEN_FROM_PATIENT in receipt.visibility:
        hidden = s.dmp.filings.announced(s.access, receipt)
        s.notice(say("dmp.announcement.begun", told=f"{hidden.told:%d/%m/%Y}", visible=f"{hidden.visible:%d/%m/%Y}", id=receipt.unique_id))


def _receipt_json(receipt: Receipt) -> dict[str, Any]:
    return {"unique_id": receipt.unique_id, "title": receipt.title, "type": receipt.type.code, "type_label": receipt.type.label,
            "visibility": sorted(v.value for v in receipt.visibility)}  # fmt: skip


def _read_bounded(file: Path, filings: Filings) -> bytes:
    """The file, a PDF or XML. Raises BadDocument: not there, too large, neither."""
    try:
        content = read(file, filings.largest, lambda size: filings.require_size(size, file.name))
    except OSError as error:
        raise BadDocument(of_os(error)) from error
    filings.require_document(content, file.name)
    return content


@app.command("announcements")
def list_announcements(config: ConfigFile, address: As, json: Json = False) -> None:
    """My documents that their patients do not see yet, and until when (consultation d'annonce, CSP R1111-53)."""

    async def act(s: Session) -> None:
        now, found = s.dmp.now(), await s.dmp.filings.announcements()
        lines = [
            f"{'!' if a.due(now) else ' '} {a.patient.value}  {a.unique_id}  {a.title}\n"
            + "  " + say("dmp.announcement.dates", told=f"{a.told:%d/%m/%Y}", visible=f"{a.visible:%d/%m/%Y}").fr
            for a in found
        ]  # fmt: skip
        document = [
            {"unique_id": a.unique_id, "ins": a.patient.value, "oid": a.patient.oid, "title": a.title, "hidden": a.hidden.isoformat(),
             "patient_told": a.told.isoformat(), "visible": a.visible.isoformat(), "due": a.due(now)}
            for a in found
        ]  # fmt: skip
        s.tell("\n".join(lines) or say("dmp.announcement.none"), {"ok": True, "announcements": document})

    verb("list_announcements", Options(config, address, json=json), act)


def _resumed_line(done: Resumed) -> str:
    """A deposit for people: its title, its patient's INS, its id, and what became of it."""
    name = f"{shown(done.title)}, INS {done.patient.value}, {done.unique_id}" if done.patient else done.unique_id
    return f"{name} : {say('dmp.sent').fr if done.outcome == SENT else done.outcome}"


@app.command()
def resume(config: ConfigFile, address: As, trace: Trace = None, json: Json = False) -> None:
    """Send again the deposits that got no answer."""

    async def act(s: Session) -> None:
        done = await s.dmp.filings.resume()
        ok = all(d.outcome == SENT for d in done)
        document = {"ok": ok, "deposits": [[d.unique_id, d.outcome] for d in done]}
        s.tell("\n".join(map(_resumed_line, done)) or say("dmp.no-deposit"), document)
        if not ok:
            raise typer.Exit(1)

    verb("resume", Options(config, address, trace=trace, json=json), act)
