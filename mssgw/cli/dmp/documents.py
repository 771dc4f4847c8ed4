"""Verbs on documents: find, get, submit, and what others see of them; the consultation they stand in."""

from __future__ import annotations

import base64
import enum
import errno
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from dmp_connector.cda import read as read_cda
from dmp_connector.cda.narrative import to_html
from dmp_connector.client import FindDocuments
from dmp_connector.dossier.access import MIN_REASON
from dmp_connector.dossier.consultation import OpenConsultation
from dmp_connector.dossier.rights import Action
from dmp_connector.errors import BadDocument, BadInput
from dmp_connector.model import AccessMode, AvailabilityStatus, DocumentEntry, Dtm, Visibility
from mssgw.cli.dmp.session import As, Mode, Oid, Options, PatientIns, ReasonText, Session, Trace, Yes, verb
from mssgw.cli.frame import ConfigFile, Json, say

app = typer.Typer()


class Form(enum.StrEnum):
    CDA = "cda"
    PDF = "pdf"
    HTML = "html"


class Audience(enum.StrEnum):
    """Who sees a document again."""

    PROFESSIONALS = "professionals"
    PATIENT = "patient"
    REPRESENTATIVES = "representatives"


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist already.")]
UniqueId = Annotated[str, typer.Argument(metavar="UNIQUE_ID")]
BIG = 512 * 1024
_STATUS = {"Approved": "", "Deprecated": "remplacé", "Archived": "archivé", "Deleted": "supprimé"}
_SEEN = {
    Visibility.MASKED: "masqué PS",
    Visibility.HIDDEN_FROM_PATIENT: "non visible patient",
    Visibility.HIDDEN_FROM_REPRESENTATIVES: "non visible RL",
}


def entry_json(e: DocumentEntry) -> dict[str, Any]:
    return {
        "unique_id": e.unique_id,
        "title": e.title,
        "type": e.type.code,
        "type_label": e.type.label,
        "class": e.class_code.code,
        "format": e.format.code,
        "created": e.created.at.isoformat(),
        "service_start": e.service_start.at.isoformat() if e.service_start else None,
        "authors": [f"{a.person.given} {a.person.family}".strip() for a in e.authors if a.person],
        "size": e.size,
        "hash": e.hash,
        "status": e.status.value.rpartition(":")[2] if e.status else None,
        "visibility": sorted(v.value for v in e.visibility),
        "mime_type": e.mime_type,
        "entry_uuid": e.entry_uuid,
    }


def entry_line(e: DocumentEntry) -> str:
    marks = [_STATUS.get(e.status.value.rpartition(":")[2] if e.status else "", "")] + [_SEEN[v] for v in sorted(e.visibility)]
    marks += ["déposé par le patient"] if e.class_code.code == "90" else []  # BB-134
    marked = ", ".join(m for m in marks if m)
    author = next((a.person.family for a in e.authors if a.person), "")
    unique_id, title, who = shown(e.unique_id), shown(e.title[:44]), shown(author[:16])
    return f"{e.created.at:%Y-%m-%d}  {unique_id:44} {title:44} {who:16} {f'[{marked}]' if marked else ''}".rstrip()


async def opened(s: Session, action: Action = Action.FIND) -> OpenConsultation:
    """The consultation this verb stands in, opened with an explicit gesture when the mode asks for one; its banner first."""
    consultation = await s.consultations.open(s.call, reason=s.options.reason, confirmed=urgency_confirmed(s), action=action)
    s.notice(consultation.banner(s.desk.now()))
    return consultation


def urgency_confirmed(s: Session) -> bool:
    """In the emergency modes a person says so; in bris de glace once there is a reason worth asking about."""
    if s.options.mode is AccessMode.NORMAL:
        return True
    if s.options.mode is AccessMode.CENTRE_15:
        return s.confirmed("dmp.ask.centre_15")
    return len(s.options.reason.strip()) >= MIN_REASON and s.confirmed("dmp.ask.bris_de_glace")


@contextmanager
def receiving(s: Session) -> Iterator[None]:
    """A bar on stderr for answers that take a while, at a terminal; it appears once there is something to wait for."""
    if not sys.stderr.isatty():
        yield
        return
    with bar_of() as bar:
        task = bar.add_task(say("dmp.receiving").fr, total=None, visible=False)

        def came(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None, visible=max(done, total) >= BIG)

        s.desk.dmp.watch(came)
        try:
            yield
        finally:
            s.desk.dmp.watch(None)


def bar_of() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=Console(stderr=True), transient=True)


@app.command()
def find(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    everything: Annotated[bool, typer.Option("--all", help="Also beyond two years, archived and replaced ones.")] = False,
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Act begun on this day or later, YYYY-MM-DD.")] = None,
    type_code: Annotated[str, typer.Option("--type", metavar="CODE", help="typeCode, as 11502-2.")] = "",
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.1: the documents of the dossier; without options, two years and what is current."""

    async def act(s: Session) -> None:
        consultation = await opened(s)
        criteria = None
        if everything or since or type_code:
            statuses = (AvailabilityStatus.APPROVED, *((AvailabilityStatus.ARCHIVED, AvailabilityStatus.DEPRECATED) if everything else ()))
            first = Dtm.of(since.astimezone(), 8) if since else None
            criteria = FindDocuments(statuses, service_from=first, types=(s.tables.type_code.require(type_code),) if type_code else ())
        with receiving(s):
            entries = await s.consultations.find(consultation, criteria)
        document = {
            "ok": True,
            "consultation": consultation.id,
            "banner": consultation.banner(s.desk.now()),
            "documents": [entry_json(e) for e in entries],
        }
        s.tell("\n".join(map(entry_line, entries)) or say("dmp.no-document"), document)

    verb(Options(config, address, patient, oid, mode, reason, trace, json, yes), act)


@app.command()
def get(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    unique_id: UniqueId,
    target: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to put it; - is stdout.")],
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    form: Annotated[Form, typer.Option("--as-form", help="cda: as it is; pdf: the PDF inside; html: readable page.")] = Form.CDA,
    overwrite: Overwrite = False,
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.2: one document into FILE. Nothing else of it is kept."""

    async def act(s: Session) -> None:
        _require_writable(target, overwrite=overwrite)
        consultation = await opened(s, Action.RETRIEVE)
        with receiving(s):
            (found,) = await s.consultations.retrieve(consultation, [unique_id])
        content = _in_form(found.content, form)
        document = {
            "ok": True,
            "consultation": consultation.id,
            "file": str(target),
            "bytes": len(content),
            "entry": entry_json(found.entry),
        }
        if str(target) != "-":
            write_file(target, content, overwrite=overwrite)
            s.tell(f"{target} : {len(content)} octets, {shown(found.entry.title)}", document)
        elif s.options.json:
            s.tell("", document | {"content": base64.b64encode(content).decode("ascii")})
        else:
            sys.stdout.buffer.write(content)

    verb(Options(config, address, patient, oid, mode, reason, trace, json, yes), act)


def _require_writable(target: Path, *, overwrite: bool) -> None:
    """Before a document is asked for: there is somewhere to put it. Raises OSError, BadInput."""
    if str(target) == "-":
        return
    if not overwrite:
        require_new(target)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "", str(target))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "", str(target.parent))


def require_new(target: Path) -> None:
    """Raise BadInput: a file of this name may be another patient's document. Devices and pipes hold nothing."""
    if target.is_file():
        raise _exists(target)


def write_file(target: Path, content: bytes, *, overwrite: bool) -> None:
    """Raises BadInput where a file stands already, unless `overwrite`; also when it came meanwhile. Raises OSError."""
    try:
        with target.open("wb" if overwrite or (target.exists() and not target.is_file()) else "xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise _exists(target) from error


def _exists(target: Path) -> BadInput:
    return BadInput(
        f"{target} exists already and is left as it is; choose another name, or add --overwrite",
        fr=f"{target} existe déjà et reste tel quel ; choisissez un autre nom, ou ajoutez --overwrite",
    )


def shown(text: str) -> str:
    """A stranger's text for a terminal: controls, also C1, and signs that turn the direction of writing are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _in_form(content: bytes, form: Form) -> bytes:
    if form is Form.CDA:
        return content
    document = read_cda(content)
    if form is Form.HTML:
        return to_html(document).encode()
    pdfs = document.embedded_pdfs()
    if not pdfs:
        raise BadDocument("the document has no PDF inside", fr="le document ne contient pas de PDF")
    return pdfs[0]


# -- what others see of a document


def _change(options: Options, unique_id: str, said: str, change: Callable[[Session], Awaitable[bool]], name: str) -> None:
    """One change of a document, told as done or as so already. `said`: keys of the catalogue begin with it."""

    async def act(s: Session) -> None:
        changed = await change(s)
        key = f"dmp.{said}" if changed else f"dmp.{said}.already"
        s.tell(say(key, id=unique_id), {"ok": True, "unique_id": unique_id, "changed": changed})

    act.__qualname__ = f"{name}.act"
    verb(options, act)


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
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.3a: mask to professionals; --undo unmasks."""
    options = Options(config, address, patient, oid, mode, reason, trace, json, yes)

    async def change(s: Session) -> bool:
        return await s.service.mask(s.call, unique_id, masked=not undo, reason=reason, confirmed=urgency_confirmed(s))

    _change(options, unique_id, "visible.professionals" if undo else "masked", change, "hide")


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
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.3d: archive; --undo brings it back."""
    options = Options(config, address, patient, oid, mode, reason, trace, json, yes)

    async def change(s: Session) -> bool:
        return await s.service.archive(s.call, unique_id, archived=not undo, reason=reason, confirmed=urgency_confirmed(s))

    _change(options, unique_id, "unarchived" if undo else "archived", change, "archive")


@app.command()
def delete(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    unique_id: UniqueId,
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.3c: delete one's own document."""
    options = Options(config, address, patient, oid, mode, reason, trace, json, yes)

    async def change(s: Session) -> bool:
        return await s.service.delete(s.call, unique_id, reason=reason, confirmed=urgency_confirmed(s))

    _change(options, unique_id, "deleted", change, "delete")


@app.command()
def show(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    unique_id: UniqueId,
    oid: Oid = "",
    to: Annotated[Audience, typer.Option("--to", help="Who sees it again; for the last two it cannot be undone.")] = Audience.PROFESSIONALS,
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.3a, TD3.3b: make visible again to professionals, to the patient, to legal representatives."""

    async def change(s: Session) -> bool:
        if to is Audience.PROFESSIONALS:
            return await s.service.mask(s.call, unique_id, masked=False)
        target = Visibility.HIDDEN_FROM_PATIENT if to is Audience.PATIENT else Visibility.HIDDEN_FROM_REPRESENTATIVES
        return await s.service.make_visible(s.call, unique_id, to=target, confirmed=s.confirmed("dmp.ask.visible"))

    _change(Options(config, address, patient, oid, trace=trace, json=json, yes=yes), unique_id, f"visible.{to.value}", change, "show")


@app.command()
def end(config: ConfigFile, address: As, json: Json = False) -> None:
    """Close every consultation of mine that is still open."""

    async def act(s: Session) -> None:
        await s.consultations.sweep()
        closed = await s.consultations.close_all(s.actor, by="hand")
        s.tell(say("dmp.closed-consultations", count=closed), {"ok": True, "closed": closed})

    verb(Options(config, address, json=json), act)
