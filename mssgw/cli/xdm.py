"""`mssgw xdm read|write`: IHE_XDM.ZIP archives, alone or attached to a mail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from dmp_connector import codes, xdm
from dmp_connector.cda import Cda, describe
from dmp_connector.cda import read as read_cda
from dmp_connector.dossier.identity import same_person, told_otherwise
from dmp_connector.errors import BadArchive, BadDocument, BadInput, DmpError, traits
from dmp_connector.model import Document, Dtm, SubmissionSet
from mssgw.cli.dmp.documents import Overwrite, entry_json, require_new, shown, write_file
from mssgw.cli.dmp.session import Options, Session, refused, verb
from mssgw.cli.frame import Family, Json, of_os, output
from mssgw.core.body import Body
from mssgw.core.texts import LANGUAGES, Message, message
from mssgw.exchange.recognising import recognise
from mssgw.protocol.mime import TooComplex

app = Family(help="IHE_XDM.ZIP archives.", no_args_is_help=True)

Config = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration of the node: compare with INSi.")]
Address = Annotated[str, typer.Option("--as", metavar="ADDRESS", help="Who asks INSi: a dmp_actor of the configuration.")]

_MAX_FILE = 96 * 1024 * 1024


@app.command()
def read(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip|FILE.eml")],
    extract: Annotated[
        Path | None, typer.Option("--extract", metavar="DIR", help="Write the documents there, under names of ours.")
    ] = None,
    overwrite: Overwrite = False,
    config: Config = None,
    address: Address = "",
    json: Json = False,
) -> None:
    """Documents and metadata of an archive; nothing of it is written unless --extract says where.

    With --config and --as the patient's traits are compared with INSi's first.
    """
    try:
        archives, differences = _archives(file)
        for archive in archives:
            _require_identity(config, address, _cdas(archive), json=json)
        written = _extract([d for a in archives for d in a.documents], extract, overwrite=overwrite) if extract else []
    except OSError as error:
        refused(BadInput(of_os(error)), json=json, program="mssgw xdm")
    except DmpError as error:
        refused(error, json=json, program="mssgw xdm")
    lines: list[str | Message] = []
    for archive in archives:
        lines.append(message("xdm.patient", ins=archive.patient.value) if archive.patient else message("xdm.no-patient"))
        lines += [
            f"  {shown(d.entry.title or d.path)}  {shown(d.entry.type.label)}  {shown(d.entry.mime_type)}  {len(d.content)} octets"
            for d in archive.documents
        ]
        lines += _remarks((*archive.notes, *_doubts(archive)))
    lines += _remarks(differences)
    document: dict[str, Any] = {"ok": True, "archives": [_archive_json(a) for a in archives], "written": written}
    document["differences"] = _sentences(differences)
    if len(archives) == 1:
        document |= _archive_json(archives[0])
    output(*lines, json=json, document=document)


def _archive_json(archive: xdm.XdmArchive) -> dict[str, Any]:
    return {
        "patient": {"ins": archive.patient.value, "oid": archive.patient.oid} if archive.patient else None,
        "documents": [
            {"path": d.path, "bytes": len(d.content), "signature": d.is_signature, **entry_json(d.entry)} for d in archive.documents
        ],
        "submission_sets": [
            {
                "folder": s.folder,
                "unique_id": s.submission.unique_id if s.submission else None,
                "title": s.submission.title if s.submission else None,
            }
            for s in archive.sets
        ],
        "notes": [note.en for note in (*archive.notes, *_doubts(archive))],
    }


def _cdas(archive: xdm.XdmArchive) -> list[Cda]:
    """The documents of an archive that are CDA and carry an INS."""
    kinds = {"text/xml", "application/xslt+xml"}
    read = [_cda(d.content) for d in archive.documents if d.entry.mime_type in kinds and not d.is_signature]
    return [document for document in read if document is not None]


def _cda(content: bytes) -> Cda | None:
    try:
        document = read_cda(content)
    except DmpError:
        return None
    return document if document.ins is not None else None


def _doubts(archive: xdm.XdmArchive) -> list[Message]:
    """Who the patient is, said in two ways: between two documents, and between a document and its metadata."""
    cdas = _cdas(archive)
    doubts = [names for other in cdas[1:] if (names := same_person(cdas[0], other))]
    for found in archive.documents:
        document = _cda(found.content) if not found.is_signature and found.entry.mime_type.endswith("xml") else None
        if document is not None and (names := told_otherwise(found.entry.source_patient_info, document)):
            doubts.append(names)
    return [message("xdm.doubtful-identity", names=traits(names)) for names in doubts]


def _require_identity(config: Path | None, address: str, documents: list[Cda], *, json: bool) -> None:
    """Each document is about the person INSi knows. Without configuration nobody can be asked. Raises TraitsDiffer."""
    if config is None or not documents:
        return
    ins = documents[0].ins

    async def identity(s: Session) -> None:
        await s.dmp.filings.require_identity(s.access, documents)

    verb("identity", Options(config, address, ins.value if ins else "", ins.oid if ins else "", json=json), identity)


def _remarks(notes: Sequence[Message]) -> list[str]:
    remarks = [message("xdm.remark", note=note) for note in notes]
    return [shown(one.text(language)) for language in LANGUAGES for one in remarks]


def _sentences(notes: Sequence[Message]) -> list[dict[str, str]]:
    return [{"fr": note.fr, "en": note.en} for note in notes]


def _archives(file: Path) -> tuple[list[xdm.XdmArchive], Sequence[Message]]:
    """The archive, or every archive of a mail and where its header says something else. Raises BadArchive."""
    try:
        if file.stat().st_size > _MAX_FILE:
            raise BadArchive(message("dmp.larger-than-bytes", name=file.name, max_file=_MAX_FILE))
        octets = file.read_bytes()
    except OSError as error:
        raise BadArchive(of_os(error)) from error
    if octets[:2] == b"PK" or file.suffix.lower() == ".zip":
        return [xdm.read(octets)], ()
    try:
        found = recognise(Body.of(octets if b"\r\n" in octets[:8192] else octets.replace(b"\n", b"\r\n")))  # as programs save it
    except TooComplex as error:
        raise BadArchive(error.message) from error
    if found.refused:
        raise BadArchive(found.refused[0].why)
    if not found.archives:
        raise BadArchive(message("dmp.no-ihe-xdm-zip-attached"))
    return [one.content for one in found.archives], found.differences


_KINDS = {"text/xml": "xml", "application/xslt+xml": "xml", "application/pdf": "pdf", "text/plain": "txt"}


def _extract(documents: list[xdm.XdmDocument], folder: Path, *, overwrite: bool) -> list[str]:
    """Under names of ours: the sender's never reach the file system. All or, where one stands already, none. Raises BadInput, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"document-{n:03d}.{_KINDS.get(d.entry.mime_type, 'bin')}" for n, d in enumerate(documents, 1)]
    for target in targets:
        if not overwrite:
            require_new(target)
    for target, document in zip(targets, documents, strict=True):
        write_file(target, document.content, overwrite=overwrite)
    return [str(target) for target in targets]


@app.command()
def write(
    files: Annotated[list[Path], typer.Argument(metavar="CDA.xml...", help="CDA documents of one patient.")],
    target: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.zip")],
    sender: Annotated[str, typer.Option("--sender", help="Name shown in README.TXT.")] = "mssgw",
    root: Annotated[str, typer.Option("--root", metavar="OID", help="OID of this system.")] = "1.2.250.1.213.1.1.9.1",
    at: Annotated[str, typer.Option("--at", help="Submission time, ISO 8601; default now.")] = "",
    config: Config = None,
    address: Address = "",
    json: Json = False,
) -> None:
    """An archive of CDA documents of one person; the same input and --at give the same octets.

    With --config and --as the patient's traits are compared with INSi's first.
    """
    try:
        _require_oid(root)
        moment = Dtm.of(_moment(at))
        documents = [Document(describe(content), content) for content in (f.read_bytes() for f in files)]
        _require_one_person([read_cda(d.content) for d in documents])
        _require_identity(config, address, [read_cda(d.content) for d in documents], json=json)
        first = documents[0].entry
        submission = SubmissionSet(
            xdm.submission_id(root, moment, documents),
            root,
            first.patient,
            codes.load().content_type.require("07"),
            replace(first.authors[0]),
            moment,
            first.title,
        )
        archive = xdm.write(submission, documents, sender=xdm.Sender(sender))
        target.write_bytes(archive)
    except OSError as error:
        refused(BadInput(of_os(error)), json=json, program="mssgw xdm")
    except DmpError as error:
        refused(error, json=json, program="mssgw xdm")
    else:
        title = shown(read_cda(documents[0].content).title)
        document = {"ok": True, "file": str(target), "bytes": len(archive), "documents": [entry_json(d.entry) for d in documents]}
        output(message("xdm.written", file=target, size=len(archive), count=len(documents), title=title), json=json, document=document)


_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")


def _require_oid(root: str) -> None:
    """Room is left for the number that makes an id of it: 64 characters in all. Raises BadInput."""
    if not _OID.fullmatch(root) or len(root) > 48:
        raise BadInput(message("dmp.root-not-oid-digits-points"))


def _moment(at: str) -> datetime:
    try:
        return datetime.fromisoformat(at).astimezone(UTC) if at else datetime.now(UTC)
    except ValueError as error:
        raise BadInput(message("dmp.not-iso-8601-2026-11")) from error


def _require_one_person(documents: list[Cda]) -> None:
    """One INS under two sets of traits is two persons. Raises BadDocument naming the traits."""
    for other in documents[1:]:
        if names := same_person(documents[0], other):
            raise BadDocument(message("dmp.documents-name-their-patient-differently", names=traits(names)))
