"""Verbs on documents: find, get, submit, and what others see of them; the consultation they stand in."""

from __future__ import annotations

import base64
import errno
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from bilingual import local
from dmp_connector.dossier.consultation import OpenConsultation
from dmp_connector.dossier.rights import Action
from dmp_connector.dossier.service import Acted
from dmp_connector.errors import BadInput
from dmp_connector.model import AccessMode, AvailabilityStatus, DocumentEntry, Patient
from dmp_connector.model.documents import NO_MOMENT
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
    patient_json,
    typed,
    verb,
)
from mssgw.cli.frame import ConfigFile, Json, inline, output, say
from mssgw.cli.terminal import terminal, write
from mssgw.core.texts import message
from mssgw.dossier import Audience, Form, Search
from mssgw.dossier.values import Copy, Progress

app = typer.Typer()


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist already.")]
UniqueId = Annotated[
    str, typer.Argument(metavar="UNIQUE_ID|NUMBER", help="Its id, or the number of its line in the last find of this patient.")
]
AsForm = Annotated[
    Form, typer.Option("--as-form", help="cda: as it is; pdf: the PDF inside; html: readable page; pdfa: PDF/A-1 made from it.")
]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to put it; - is stdout.")]
_OF_THE_PATIENT = "90"
"""classCode of what the patient deposited (docs/reference/dmp.md 3.4)."""


def entry_json(e: DocumentEntry) -> dict[str, Any]:
    return {
        "unique_id": e.unique_id,
        "title": e.title,
        "type": e.type.code,
        "type_label": e.type.label,
        "class": e.class_code.code,
        "format": e.format.code,
        "created": e.created.at.isoformat() if e.created != NO_MOMENT else None,
        "service_start": e.service_start.at.isoformat() if e.service_start else None,
        "authors": [f"{a.person.given} {a.person.family}".strip() for a in e.authors if a.person],
        "size": e.size,
        "hash": e.hash,
        "status": e.status.value.rpartition(":")[2] if e.status else None,
        "visibility": sorted(v.value for v in e.visibility),
        "mime_type": e.mime_type,
        "entry_uuid": e.entry_uuid,
    }


def entry_lines(entries: Sequence[DocumentEntry]) -> str:
    """What was found, with the numbers that the other verbs take."""
    return "\n".join(f"{number:>3}  {_entry_line(e)}" for number, e in enumerate(entries, 1))


def _entry_line(e: DocumentEntry) -> str:
    marks = [] if e.status in {None, AvailabilityStatus.APPROVED} else [say(f"dmp.status.{e.status.name}")]
    marks += [say(f"dmp.seen.{v.name}") for v in sorted(e.visibility)]
    marks += [say("dmp.by-the-patient")] if e.class_code.code == _OF_THE_PATIENT else []
    marked = ", ".join(map(inline, marks))
    author = next((a.person.family for a in e.authors if a.person), "")
    unique_id, title, who = shown(e.unique_id), shown(e.title[:44]), shown(author[:16])
    day = f"{local(e.created.at):%Y-%m-%d}" if e.created != NO_MOMENT else "sans date "
    return f"{day}  {unique_id:44} {title:44} {who:16} {f'[{marked}]' if marked else ''}".rstrip()


async def opened(s: Session, action: Action = Action.FIND) -> OpenConsultation:
    """The consultation this verb stands in, opened with an explicit gesture when the mode asks for one; patient and banner first."""
    await s.whose()
    consultation = await s.dmp.documents.consult(s.urgent_access(), action)
    s.notice(s.dmp.documents.banner(consultation))
    return consultation


def receiving() -> AbstractContextManager[Progress | None]:
    """A bar for answers that take a while, at a terminal; it appears once there is something to wait for."""
    return terminal().bar(say("dmp.receiving").fr)


@app.command()
def find(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    family: Family = "",
    given: Given = "",
    birth_date: BirthDate = None,
    sex: SexOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Also beyond two years, archived and replaced ones.")] = False,
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Act begun on this day or later, YYYY-MM-DD.")] = None,
    type_code: Annotated[str, typer.Option("--type", metavar="CODE", help="typeCode, as 11502-2.")] = "",
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.1: the documents of the dossier; without options, two years and what is current. Other verbs take the numbers of its lines."""

    async def act(s: Session) -> None:
        consultation = await opened(s)
        search = Search(everything, since.date() if since else None, type_code)
        with receiving() as bar:
            entries = await s.dmp.documents.find(consultation, search, progress=bar)
        banner = s.dmp.documents.banner(consultation)
        documents = [{"number": number, **entry_json(e)} for number, e in enumerate(entries, 1)]
        document = {"ok": True, "consultation": consultation.id, "banner": banner, "documents": documents}
        document["patient"] = patient_json(await s.dmp.whose(s.access))
        s.tell(entry_lines(entries) or say("dmp.no-document"), document)

    verb("find", Options(config, address, patient, oid, mode, reason, trace, json, yes, typed(family, given, birth_date, sex)), act)


@app.command()
def get(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    unique_id: UniqueId,
    target: Output,
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    family: Family = "",
    given: Given = "",
    birth_date: BirthDate = None,
    sex: SexOption = None,
    form: AsForm = Form.CDA,
    overwrite: Overwrite = False,
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.2: one document into FILE. Nothing else of it is kept."""

    async def act(s: Session) -> None:
        require_writable(target, overwrite=overwrite)
        consultation = await opened(s, Action.RETRIEVE)
        with receiving() as bar:
            found = await s.dmp.documents.get(consultation, unique_id, form, progress=bar)
        _put(s, found, target, consultation.id, await s.dmp.whose(s.access), overwrite=overwrite)

    verb("get", Options(config, address, patient, oid, mode, reason, trace, json, yes, typed(family, given, birth_date, sex)), act)


def _put(s: Session, found: Copy, target: Path, consultation: str, patient: Patient, *, overwrite: bool) -> None:
    document = {"ok": True, "consultation": consultation, "entry": entry_json(found.entry), "patient": patient_json(patient)}
    write_form(target, found.content, document, found.entry.title, overwrite=overwrite, json=s.options.json)


def write_form(target: Path, content: bytes, document: dict[str, Any], title: str, *, overwrite: bool, json: bool) -> None:
    """Into the file, or to standard output. `document`: what `--json` has beside file and size. Raises BadInput, OSError."""
    document = document | {"file": str(target), "bytes": len(content)}
    if str(target) != "-":
        write_file(target, content, overwrite=overwrite)
        output(say("dmp.written", file=target, size=len(content), title=shown(title)), json=json, document=document)
    elif json:
        output("", json=True, document=document | {"content": base64.b64encode(content).decode("ascii")})
    else:
        terminal().octets(content)


def require_writable(target: Path, *, overwrite: bool) -> None:
    """Before a document is asked for: there is somewhere to put it. Raises OSError, BadInput."""
    if str(target) == "-":
        return
    if not overwrite:
        require_new(target)
    kind, placed, _ = terminal().seen(target)
    if kind == "directory":
        raise IsADirectoryError(errno.EISDIR, "", str(target))
    if not placed:
        raise FileNotFoundError(errno.ENOENT, "", str(target.parent))


def require_new(target: Path) -> None:
    """Raise BadInput: a file of this name may be another patient's document. Devices and pipes hold nothing."""
    if terminal().seen(target)[0] == "file":
        raise _exists(target)


def write_file(target: Path, content: bytes, *, overwrite: bool, durably: bool = False) -> None:
    """Raises BadInput where a file stands already, unless `overwrite`; also when it came meanwhile. Raises OSError."""
    try:
        write(target, content, over=overwrite or terminal().seen(target)[0] not in {"", "file"}, durably=durably)
    except FileExistsError as error:
        raise _exists(target) from error


def _exists(target: Path) -> BadInput:
    return BadInput(message("dmp.exists-already-left-choose-another", target=target))


def shown(text: str) -> str:
    """A stranger's text for a terminal: controls, also C1, and signs that turn the direction of writing are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


# -- what others see of a document


def _change(name: str, options: Options, said: str, change: Callable[[Session], Awaitable[Acted]]) -> None:
    """One change of a document, told as done or as so already. `said`: keys of the catalogue begin with it."""

    async def act(s: Session) -> None:
        patient = await s.whose()
        done = await change(s)
        key = f"dmp.{said}" if done.changed else f"dmp.{said}.already"
        document = {"ok": True, "unique_id": done.unique_id, "title": done.title, "changed": done.changed, "patient": patient_json(patient)}
        s.tell(say(key, id=f"{shown(done.unique_id)}  {shown(done.title)}".rstrip()), document)

    verb(name, options, act)


Undo = Annotated[bool, typer.Option("--undo", help="The other way round.")]


@app.command()
def hide(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    unique_id: UniqueId,
    oid: Oid = "",
    undo: Undo = False,
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    family: Family = "",
    given: Given = "",
    birth_date: BirthDate = None,
    sex: SexOption = None,
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.3a: mask to professionals; --undo unmasks."""
    options = Options(config, address, patient, oid, mode, reason, trace, json, yes, typed(family, given, birth_date, sex))

    async def change(s: Session) -> Acted:
        return await s.dmp.documents.hide(s.urgent_access(), unique_id, hidden=not undo)

    _change("hide", options, "visible.professionals" if undo else "masked", change)


@app.command()
def archive(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    unique_id: UniqueId,
    oid: Oid = "",
    undo: Undo = False,
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    family: Family = "",
    given: Given = "",
    birth_date: BirthDate = None,
    sex: SexOption = None,
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.3d: archive; --undo brings it back."""
    options = Options(config, address, patient, oid, mode, reason, trace, json, yes, typed(family, given, birth_date, sex))

    async def change(s: Session) -> Acted:
        return await s.dmp.documents.archive(s.urgent_access(), unique_id, archived=not undo)

    _change("archive", options, "unarchived" if undo else "archived", change)


@app.command()
def delete(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    unique_id: UniqueId,
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    family: Family = "",
    given: Given = "",
    birth_date: BirthDate = None,
    sex: SexOption = None,
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.3c: delete one's own document."""
    options = Options(config, address, patient, oid, mode, reason, trace, json, yes, typed(family, given, birth_date, sex))

    async def change(s: Session) -> Acted:
        return await s.dmp.documents.delete(s.urgent_access(), unique_id)

    _change("delete", options, "deleted", change)


@app.command()
def show(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    unique_id: UniqueId,
    oid: Oid = "",
    to: Annotated[Audience, typer.Option("--to", help="Who sees it again; for the last two it cannot be undone.")] = Audience.PROFESSIONALS,
    family: Family = "",
    given: Given = "",
    birth_date: BirthDate = None,
    sex: SexOption = None,
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.3a, TD3.3b: make visible again to professionals, to the patient, to legal representatives."""

    async def change(s: Session) -> Acted:
        agreed = to is not Audience.PROFESSIONALS and s.gesture("dmp.ask.visible")
        return await s.dmp.documents.show(s.access, unique_id, to=to, agreed=agreed)

    known = typed(family, given, birth_date, sex)
    options = Options(config, address, patient, oid, trace=trace, json=json, yes=yes, typed=known)
    _change("show", options, f"visible.{to.value}", change)


@app.command()
def end(config: ConfigFile, address: As, json: Json = False) -> None:
    """Close every consultation of mine that is still open."""

    async def act(s: Session) -> None:
        closed = await s.dmp.documents.end()
        s.tell(say("dmp.closed-consultations", count=closed), {"ok": True, "closed": closed})

    verb("end", Options(config, address, json=json), act)
