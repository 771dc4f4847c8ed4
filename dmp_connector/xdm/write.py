"""Write an IHE_XDM.ZIP (IHE ITI-32, docs/reference/mssante.md 5.3): upper-case 8.3 names, one submission set in SUBSET01.

Deterministic: members in a fixed order, their time is the submission's, the same content gives the same octets.
"""

from __future__ import annotations

import hashlib
import html
import io
import unicodedata
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from lxml import etree

from dmp_connector.ebxml import submit_objects
from dmp_connector.ebxml.write import members as set_members
from dmp_connector.errors import BadArchive
from dmp_connector.model.documents import Association, Document, Dtm, SubmissionSet
from dmp_connector.model.people import Patient
from dmp_connector.texts import message

SIGNATURE_CLASS = "urn:oid:1.3.6.1.4.1.19376.1.2.1.1.1"
_SUBSET = "SUBSET01"
_EXTENSIONS = {
    "text/xml": "XML",
    "application/xslt+xml": "XML",
    "application/pdf": "PDF",
    "application/dicom": "DCM",
    "image/jpeg": "JPG",
    "text/plain": "TXT",
}
_INSTRUCTIONS = "Consultez les fichiers reçus par messagerie sécurisée de santé dans votre logiciel de professionnel de santé."


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends, for INDEX.HTM and README.TXT; and with which software."""

    name: str
    organisation: str = ""
    address: str = ""
    phone: str = ""
    software: str = "mssgw"
    version: str = "1"
    editor: str = "mssgw"


def write(submission: SubmissionSet, documents: Sequence[Document], *, sender: Sender) -> bytes:
    """The archive. `documents` keep their order; hash, size and URI are set here.

    Raises BadArchive: no document, two patients, or two documents of one id.
    """
    if not documents:
        raise BadArchive(message("xdm.archive-needs-document"))
    if {d.entry.patient for d in documents} != {submission.patient}:
        raise BadArchive(message("xdm.every-document-submission-set-must"))
    if len({d.entry.unique_id for d in documents}) != len(documents):
        raise BadArchive(message("xdm.two-documents-same-id"))
    named = [_named(d, number) for number, d in enumerate(documents, 1)]
    entries = [(f"Document{number:02d}", d.entry) for number, d in enumerate(named, 1)]
    metadata = submit_objects(submission, entries, _associations(named))
    members = [
        ("INDEX.HTM", _index(sender).encode()),
        ("README.TXT", _readme(sender, named).encode()),
        (f"IHE_XDM/{_SUBSET}/METADATA.XML", etree.tostring(metadata, xml_declaration=True, encoding="UTF-8")),
        *((f"IHE_XDM/{_SUBSET}/{d.entry.uri}", d.content) for d in named),
    ]
    return _zip(members, submission.submitted.at)


def submission_id(root: str, submitted: Dtm, documents: Sequence[Document]) -> str:
    """An OID below `root` (up to 48 characters) of at most 64 (ITI TF-3 4.2.3.1.1), which follows from what is submitted.

    Made of the time, the patient, and the id and hash of each document in their order: two submissions of one second, or of
    two patients, differ, and the same submission has the same id.
    """
    said = [str(submitted)]
    for document in documents:
        said += [document.entry.patient.cx, document.entry.unique_id, hashlib.sha256(document.content).hexdigest()]
    digest = hashlib.sha256("\0".join(said).encode()).digest()
    return f"{root}.{1 + int.from_bytes(digest) % 10 ** min(37, 62 - len(root))}"


def _named(document: Document, number: int) -> Document:
    extension = _EXTENSIONS.get(document.entry.mime_type, "BIN")
    entry = replace(document.entry.describing(document.content), uri=f"DOC{number:05d}.{extension}")
    return replace(document, entry=entry)


def _associations(documents: Sequence[Document]) -> list[Association]:
    symbols = [f"Document{number:02d}" for number in range(1, len(documents) + 1)]
    arrows = set_members("SubmissionSet01", symbols)
    for symbol, document in zip(symbols, documents, strict=True):
        if document.replaces:
            arrows.append(Association(Association.REPLACES, symbol, document.replaces))
        if document.entry.class_code.code == SIGNATURE_CLASS:
            arrows.append(Association(Association.SIGNS, symbol, "SubmissionSet01"))
    return arrows


def _zip(members: Sequence[tuple[str, bytes]], at: datetime) -> bytes:
    moment = at.astimezone(UTC).timetuple()[:6]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, max(moment, (1980, 1, 1, 0, 0, 0)))
            info.create_system = 0  # FAT: no Unix mode to differ
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


def _index(sender: Sender) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML Basic 1.0//EN" "http://www.w3.org/TR/xhtml-basic/xhtml-basic10.dtd">\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="fr">\n<head><title>Documents de santé</title></head>\n<body>\n'
        f"<p>Émetteur : {html.escape(', '.join(filter(None, (sender.name, sender.organisation))))}</p>\n"
        f'<p>{_INSTRUCTIONS}</p>\n<p><a href="README.TXT">README.TXT</a></p>\n</body>\n</html>\n'
    )


def _readme(sender: Sender, documents: Sequence[Document]) -> str:
    files = "\r\n".join(f"IHE_XDM/{_SUBSET}/{d.entry.uri}" for d in documents)
    lines = [
        "Emetteur",
        "========",
        f". Nom : {sender.name}",
        f". Organisme : {sender.organisation}",
        f". Adresse : {sender.address}",
        f". Téléphone : {sender.phone}",
        "",
        "Application de l'émetteur",
        "=========================",
        f". Nom : {sender.software}",
        f". Version : {sender.version}",
        f". Éditeur : {sender.editor}",
        "",
        "Instructions",
        "============",
        _INSTRUCTIONS,
        "",
        "Arborescence",
        "============",
        f"IHE_XDM/{_SUBSET}/METADATA.XML",
        files,
        "",
    ]
    return "\r\n".join(lines)


def subject(patient: Patient, documents: Sequence[Document]) -> str:
    """The subject of the mail that carries the archive (ECO.2.1.3, docs/reference/mssante.md 5.2), without INS."""
    label = documents[0].entry.type.label or documents[0].entry.title if len(documents) == 1 else f"{len(documents)} documents"
    name = f"{_plain(patient.birth_name).upper()} {_plain(patient.first_given)}"
    return f"XDM/1.0/DDM+{_plain(label)[:40].rstrip()} {name} {patient.birth_date:%d/%m/%Y}"


def _plain(text: str) -> str:
    """Without accents; anything still not ASCII is dropped."""
    bare = unicodedata.normalize("NFKD", text.replace("œ", "oe").replace("Œ", "OE").replace("’", "'"))
    return bare.encode("ascii", "ignore").decode()
