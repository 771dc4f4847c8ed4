"""Verbs on documents: find, get, submit, and what others see of them; the consultation they stand in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from dmp_connector.cda import Level1, build_level1
from dmp_connector.cda import read as read_cda
from dmp_connector.cda.narrative import to_html
from dmp_connector.client import Call, FindDocuments
from dmp_connector.dossier.consultation import OpenConsultation
from dmp_connector.dossier.deposits import DepositRequest
from dmp_connector.errors import BadDocument, NoReader
from dmp_connector.model import AccessMode, AvailabilityStatus, DocumentEntry, Dtm, Patient, Visibility
from mssgw.cli.dmp.session import As, Mode, Oid, Options, PatientIns, ReasonText, Session, Trace, Yes, verb
from mssgw.cli.frame import ConfigFile, Json

app = typer.Typer()

UniqueId = Annotated[str, typer.Argument(metavar="UNIQUE_ID")]
_BIG = 512 * 1024
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
    return f"{e.created.at:%Y-%m-%d}  {e.unique_id:44} {e.title[:44]:44} {author[:16]:16} {f'[{marked}]' if marked else ''}".rstrip()


async def opened(s: Session) -> OpenConsultation:
    """The consultation this verb stands in, opened with an explicit gesture when the mode asks for one; its banner first."""
    urgent = s.options.mode is AccessMode.BRIS_DE_GLACE
    question = "Le patient est hors d'état d'exprimer sa volonté et sa santé est exposée à un risque immédiat : ouvrir en bris de glace ?"
    confirmed = s.confirmed(question) if urgent and s.options.reason else not urgent
    consultation = await s.consultations.open(s.call, reason=s.options.reason, confirmed=confirmed)
    s.notice(consultation.banner(s.desk.now()))
    return consultation


@contextmanager
def progress(title: str, size: int) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr for what takes a while, at a terminal."""
    if size < _BIG or not sys.stderr.isatty():
        yield None
        return
    with Progress(TextColumn(title), BarColumn(), DownloadColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=size)
        yield lambda done, total: bar.update(task, completed=done, total=total)


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
        entries = await s.consultations.find(consultation, criteria)
        document = {
            "ok": True,
            "consultation": consultation.id,
            "banner": consultation.banner(s.desk.now()),
            "documents": [entry_json(e) for e in entries],
        }
        s.tell("\n".join(map(entry_line, entries)) or "Aucun document.", document)

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
    form: Annotated[str, typer.Option("--as-form", help="cda: as it is; pdf: the PDF inside; html: readable page.")] = "cda",
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.2: one document into FILE. Nothing else of it is kept."""

    async def act(s: Session) -> None:
        consultation = await opened(s)
        (found,) = await s.consultations.retrieve(consultation, [unique_id])
        content = _in_form(found.content, form)
        if str(target) == "-":
            sys.stdout.buffer.write(content)
            return
        target.write_bytes(content)
        document = {
            "ok": True,
            "consultation": consultation.id,
            "file": str(target),
            "bytes": len(content),
            "entry": entry_json(found.entry),
        }
        s.tell(f"{target} : {len(content)} octets, {found.entry.title}", document)

    verb(Options(config, address, patient, oid, mode, reason, trace, json, yes), act)


def _in_form(content: bytes, form: str) -> bytes:
    if form == "cda":
        return content
    document = read_cda(content)
    if form == "html":
        return to_html(document).encode()
    pdfs = document.embedded_pdfs()
    if form != "pdf" or not pdfs:
        raise BadDocument("the document has no PDF inside", fr="le document ne contient pas de PDF")
    return pdfs[0]


@app.command()
def submit(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A PDF/A-1 or a CDA.")],
    title: Annotated[str, typer.Option("--title", metavar="T", help="Title; of a PDF it is required.")] = "",
    type_code: Annotated[str, typer.Option("--type", metavar="CODE", help="typeCode of a PDF (JDV_J66), as 11490-0.")] = "",
    replace_id: Annotated[str, typer.Option("--replace", metavar="UNIQUE_ID", help="The document this one replaces.")] = "",
    masked: Annotated[bool, typer.Option("--mask", help="Masked to professionals.")] = False,
    hidden: Annotated[bool, typer.Option("--hide-from-patient", help="Not visible to the patient yet (consultation d'annonce).")] = False,
    hidden_rl: Annotated[bool, typer.Option("--hide-from-representatives", help="Not visible to legal representatives.")] = False,
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD2.1: file a CDA once and only once, or a PDF as a new document."""

    async def act(s: Session) -> None:
        content = _read_bounded(file, s.table.max_pdf_octets)
        if content.startswith(b"%PDF-"):
            content = await _wrapped(s, content, title, type_code, replace_id)
        chosen = {Visibility.MASKED: masked, Visibility.HIDDEN_FROM_PATIENT: hidden, Visibility.HIDDEN_FROM_REPRESENTATIVES: hidden_rl}
        request = DepositRequest(content, frozenset(v for v, on in chosen.items() if on), replace_id, title=title)
        with progress("Envoi au DMP", len(content)) as bar:
            entry = await s.deposits.deposit(s.call, request, progress=bar)
        s.tell(f"Déposé : {entry.unique_id}  {entry.title}", {"ok": True, "unique_id": entry.unique_id, "entry": entry_json(entry)})

    verb(Options(config, address, patient, oid, mode, trace=trace, json=json), act)


def _read_bounded(file: Path, limit: int) -> bytes:
    """A CDA carries its PDF in base64 and a header: a third more and some."""
    try:
        size = file.stat().st_size
    except OSError as error:
        raise BadDocument(f"{file}: {error.strerror}") from error
    if size > limit * 2:
        raise BadDocument(
            f"{file.name}: {size} bytes; at most {limit} are taken", fr=f"{file.name} : {size} octets ; au plus {limit} sont acceptés"
        )
    return file.read_bytes()


async def _wrapped(s: Session, pdf: bytes, title: str, type_code: str, replaced: str) -> bytes:
    """The PDF in a level 1 CDA whose patient is the one INSi or the DMP's administrative data know."""
    if not title or not type_code:
        raise BadDocument("a PDF needs --title and --type", fr="un PDF demande --title et --type")
    call = s.call
    now = s.desk.now().astimezone()
    set_id, version = await s.deposits.lineage(replaced) if replaced else ("", 1)
    wanted = Level1(
        unique_id=s.desk.dmp.new_oid(),
        patient=await qualified(s, call),
        author=s.actor.practitioner,
        structure=s.actor.structure,
        type=s.tables.type_code.require(type_code),
        title=title,
        created=now,
        pdf=pdf,
        practice=s.tables.practice.require(s.who.practice),
        service_start=now,
        set_id=set_id,
        version=version,
        replaces=replaced,
    )
    return build_level1(wanted, tables=s.tables, max_pdf=s.table.max_pdf_octets)


async def qualified(s: Session, call: Call) -> Patient:
    """The five traits of the patient: administrative data (TD1.3a), birth place from INSi when the DMP has none.

    Raises TraitsDiffer when INSi knows another person, BadInput when it knows nobody.
    """
    known = (await s.desk.dmp.td13a_read(call)).patient
    try:
        async with s.insi() as insi:
            answer = await insi.by_traits(known.birth_name, known.first_given, known.sex, known.birth_date)
    except NoReader:
        return known
    register = answer.require_found()
    known.require_same_traits(register)
    return replace(register, local_id=known.local_id)


def _state_verb(name: str, sentence: str, help_text: str, change: Callable[[Session, str, bool], Any]) -> None:
    def command(
        config: ConfigFile,
        address: As,
        patient: PatientIns,
        unique_id: UniqueId,
        oid: Oid = "",
        undo: Annotated[bool, typer.Option("--undo", help="The other way round.")] = False,
        mode: Mode = AccessMode.NORMAL,
        trace: Trace = None,
        json: Json = False,
    ) -> None:
        async def act(s: Session) -> None:
            await change(s, unique_id, undo)
            s.tell(f"{sentence} : {unique_id}", {"ok": True, "unique_id": unique_id})

        verb(Options(config, address, patient, oid, mode, trace=trace, json=json), act)

    app.command(name, help=help_text)(command)


_state_verb(
    "hide", "Masqué aux professionnels", "TD3.3a: mask to professionals.", lambda s, u, undo: s.service.mask(s.call, u, masked=not undo)
)
_state_verb(
    "archive", "Archivé", "TD3.3d: archive; --undo brings it back.", lambda s, u, undo: s.service.archive(s.call, u, archived=not undo)
)
_state_verb("delete", "Supprimé", "TD3.3c: delete one's own document.", lambda s, u, _undo: s.service.delete(s.call, u))


@app.command()
def show(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    unique_id: UniqueId,
    oid: Oid = "",
    to: Annotated[
        str, typer.Option("--to", help="professionals, patient or representatives; the last two cannot be undone.")
    ] = "professionals",
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """TD3.3a, TD3.3b: make visible again to professionals, to the patient, to legal representatives."""

    async def act(s: Session) -> None:
        if to == "professionals":
            await s.service.mask(s.call, unique_id, masked=False)
        else:
            target = Visibility.HIDDEN_FROM_PATIENT if to == "patient" else Visibility.HIDDEN_FROM_REPRESENTATIVES
            agreed = s.confirmed("Rendre ce document visible est définitif. Continuer ?")
            await s.service.make_visible(s.call, unique_id, to=target, confirmed=agreed)
        s.tell(f"Visible ({to}) : {unique_id}", {"ok": True, "unique_id": unique_id, "to": to})

    verb(Options(config, address, patient, oid, trace=trace, json=json, yes=yes), act)


@app.command()
def end(config: ConfigFile, address: As, json: Json = False) -> None:
    """Close every consultation of mine that is still open."""

    async def act(s: Session) -> None:
        await s.consultations.sweep()
        closed = await s.consultations.close_all(s.actor, by="hand")
        s.tell(f"Consultations fermées : {closed}", {"ok": True, "closed": closed})

    verb(Options(config, address, json=json), act)


@app.command()
def resume(config: ConfigFile, address: As, trace: Trace = None, json: Json = False) -> None:
    """Send again the deposits that got no answer."""

    async def act(s: Session) -> None:
        done = await s.deposits.resume(lambda ins: Call(s.actor, ins))
        s.tell("\n".join(f"{u} : {o}" for u, o in done) or "Aucun dépôt en attente.", {"ok": True, "deposits": [list(d) for d in done]})

    verb(Options(config, address, trace=trace, json=json), act)
