"""`mssgw xdm read|write`: IHE_XDM.ZIP archives, alone or attached to a mail."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from dmp_connector import codes, xdm
from dmp_connector.cda import describe
from dmp_connector.cda import read as read_cda
from dmp_connector.errors import BadArchive, BadInput, DmpError
from dmp_connector.model import Document, Dtm, SubmissionSet
from mssgw.cli.dmp.documents import entry_json
from mssgw.cli.dmp.session import refused
from mssgw.cli.frame import Family, Json, output

app = Family(help="IHE_XDM.ZIP archives.", no_args_is_help=True)

_NAME = re.compile(r"ihe[_-]xdm.*\.zip", re.IGNORECASE)
_MAX_FILE = 96 * 1024 * 1024


@app.command()
def read(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip|FILE.eml")],
    extract: Annotated[
        Path | None, typer.Option("--extract", metavar="DIR", help="Write the documents there, under names of ours.")
    ] = None,
    json: Json = False,
) -> None:
    """Documents and metadata of an archive; nothing of it is written unless --extract says where."""
    try:
        archives = [xdm.read(octets) for octets in _archives(file)]
    except DmpError as error:
        refused(error, json=json)
        return
    written = [_extract(d, extract, n) for n, d in enumerate((d for a in archives for d in a.documents), 1)] if extract else []
    lines = []
    for archive in archives:
        lines.append(f"Patient : {archive.patient.value if archive.patient else 'sans INS'}")
        lines += [
            f"  {d.entry.title or d.path}  {d.entry.type.label}  {d.entry.mime_type}  {len(d.content)} octets" for d in archive.documents
        ]
        lines += [f"  remarque : {note}" for note in archive.notes]
    document: dict[str, Any] = {"ok": True, "archives": [_archive_json(a) for a in archives], "written": written}
    if len(archives) == 1:
        document |= _archive_json(archives[0])
    output("\n".join(lines), json=json, document=document)


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
        "notes": list(archive.notes),
    }


def _archives(file: Path) -> Iterator[bytes]:
    """The archive, or every archive attached to a mail. Raises BadArchive."""
    try:
        if file.stat().st_size > _MAX_FILE:
            raise BadArchive(f"{file.name}: larger than {_MAX_FILE} bytes", fr=f"{file.name} : plus de {_MAX_FILE} octets")
        octets = file.read_bytes()
    except OSError as error:
        raise BadArchive(f"{file}: {error.strerror}") from error
    if octets[:2] == b"PK" or file.suffix.lower() == ".zip":
        yield octets
        return
    found = False
    for part in email.message_from_bytes(octets, policy=email.policy.compat32).walk():
        name = str(part.get_filename() or part.get_param("name") or "")
        if _NAME.fullmatch(name.rpartition("/")[2]) and not part.is_multipart():
            found = True
            payload = part.get_payload(decode=True)
            yield payload if isinstance(payload, bytes) else b""
    if not found:
        raise BadArchive("no IHE_XDM.ZIP is attached", fr="aucun IHE_XDM.ZIP n'est joint")


def _extract(document: xdm.XdmDocument, folder: Path, number: int) -> str:
    """A name of ours: the sender's never reaches the file system."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = {"text/xml": "xml", "application/xslt+xml": "xml", "application/pdf": "pdf", "text/plain": "txt"}.get(
        document.entry.mime_type, "bin"
    )
    target = folder / f"document-{number:03d}.{kind}"
    target.write_bytes(document.content)
    return str(target)


@app.command()
def write(
    files: Annotated[list[Path], typer.Argument(metavar="CDA.xml...", help="CDA documents of one patient.")],
    target: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.zip")],
    sender: Annotated[str, typer.Option("--sender", help="Name shown in README.TXT.")] = "mssgw",
    root: Annotated[str, typer.Option("--root", metavar="OID", help="OID of this system.")] = "1.2.250.1.213.1.1.9.1",
    at: Annotated[str, typer.Option("--at", help="Submission time, ISO 8601; default now.")] = "",
    json: Json = False,
) -> None:
    """An archive of CDA documents; the same input and --at give the same octets."""
    try:
        moment = Dtm.of(datetime.fromisoformat(at).astimezone(UTC) if at else datetime.now(UTC))
        documents = [Document(describe(content), content) for content in (f.read_bytes() for f in files)]
        first = documents[0].entry
        submission = SubmissionSet(
            f"{root}.{moment}", root, first.patient, codes.load().content_type.require("07"), replace(first.authors[0]), moment, first.title
        )
        archive = xdm.write(submission, documents, sender=xdm.Sender(sender))
        target.write_bytes(archive)
    except (OSError, ValueError) as error:
        refused(BadInput(str(error)), json=json)
    except DmpError as error:
        refused(error, json=json)
    else:
        patient = read_cda(documents[0].content).title
        document = {"ok": True, "file": str(target), "bytes": len(archive), "documents": [entry_json(d.entry) for d in documents]}
        output(f"{target} : {len(archive)} octets, {len(documents)} document(s), {patient}", json=json, document=document)
