"""A mail with documents, in whatever shape its sender gave it: its archives, its PDF files, and where its header says something else.

An archive is a ZIP with METADATA.XML in it, called IHE_XDM.ZIP or not (docs/reference/mssante.md 5.1); one that is called so, or stands
in a mail whose subject begins with XDM/1.0/DDM, and can't be read, is `Refused` with the reason. Other ZIP files are nobody's business.
Nothing here takes the mail away from anybody: whoever reads it decides.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dmp_connector import xdm
from dmp_connector.cda import Cda
from dmp_connector.cda import read as read_cda
from dmp_connector.errors import BadArchive, DmpError
from dmp_connector.model import Ins
from dmp_connector.xdm import XdmArchive, XdmDocument, XdmLimits
from mssgw.core.body import Body
from mssgw.core.texts import Message, message
from mssgw.protocol import mime
from mssgw.protocol.mime import Part

MOST_ARCHIVES: Final = 10  # of one mail that are looked into
_NAME = re.compile(r"ihe[ _-]?xdm.*\.zip", re.IGNORECASE)
_SUBJECT = re.compile(r"\s*(?:\[[^\]]{0,80}\]\s*)*XDM/1\.0/DDM", re.IGNORECASE)
_ZIP = frozenset({"application/zip", "application/x-zip-compressed", "application/x-zip"})
_CDA = frozenset({"text/xml", "application/xslt+xml"})
_CODE, _INS = "X-MSS-CODECDA", "X-MSS-INS"


@dataclass(frozen=True, slots=True)
class Archive:
    """One that was read. `name`: of the attachment; `forwarded`: in a message inside this one, which has its own header."""

    name: str
    content: XdmArchive
    forwarded: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """One that can't be read or must not be trusted, and why."""

    name: str
    why: Message


@dataclass(frozen=True, slots=True)
class Enclosed:
    """What a mail carries. `papers`: the names of its PDF files; `differences`: what its header says of the archives and is not so."""

    archives: tuple[Archive, ...] = ()
    refused: tuple[Refused, ...] = ()
    papers: tuple[str, ...] = ()
    differences: tuple[Message, ...] = ()

    @property
    def patient(self) -> Ins | None:
        """The one patient of all archives; None for none, and for several (`differences` tells)."""
        found = {one.content.patient.value: one.content.patient for one in self.archives if one.content.patient}
        return next(iter(found.values())) if len(found) == 1 else None


def recognise(body: Body, limits: mime.MimeLimits = mime.DEFAULT_LIMITS, bounds: XdmLimits | None = None) -> Enclosed:
    """What is in the mail. Blocks: archives are unpacked in memory. Raises TooComplex."""
    root = mime.parse(body, limits)
    subject = mime.decode_words(mime.unfold(root.fields.get(b"subject") or b""))
    archives: list[Archive] = []
    refused: list[Refused] = []
    papers: list[str] = []
    for part, forwarded in _leaves(root):
        name = part.filename or ""
        if part.media == "application/pdf" or name.lower().endswith(".pdf"):
            papers.append(name)
        if not _may_be_archive(part, name) or len(archives) + len(refused) >= MOST_ARCHIVES:
            continue
        try:
            archives.append(Archive(name, xdm.read(_octets(body, part, bounds or XdmLimits()), limits=bounds), forwarded))
        except BadArchive as error:
            if _NAME.fullmatch(name.rpartition("/")[2]) or _SUBJECT.match(subject):
                refused.append(Refused(name, error.message))
    differences = tuple(_differences(root, subject, [one.content for one in archives if not one.forwarded], refused, papers))
    return Enclosed(tuple(archives), tuple(refused), tuple(papers), differences)


def _leaves(root: Part, forwarded: bool = False) -> Iterator[tuple[Part, bool]]:
    if root.message:
        yield from _leaves(root.message, True)
    elif root.is_multipart:
        for child in root.children:
            yield from _leaves(child, forwarded)
    else:
        yield root, forwarded


def _may_be_archive(part: Part, name: str) -> bool:
    return part.media in _ZIP or name.lower().endswith(".zip")


def _octets(body: Body, part: Part, bounds: XdmLimits) -> bytes:
    """Up to one octet more than is taken, which is refused then."""
    found = bytearray()
    for chunk in mime.decoded_chunks(body, part, bounds.archive_bytes + 1):
        found += chunk
    return bytes(found)


# -- what the header says


def _differences(
    root: Part, subject: str, archives: Sequence[XdmArchive], refused: Sequence[Refused], papers: Sequence[str]
) -> Iterator[Message]:
    codes, qualified = (_field(root, name) for name in (_CODE, _INS))
    if not archives:
        if not refused and (codes or qualified):
            yield message("exchange.differs.no-archive", fields=", ".join(n for n, v in ((_CODE, codes), (_INS, qualified)) if v))
        return
    documents = [one for archive in archives for one in archive.documents if not one.is_signature]
    kinds = list(dict.fromkeys(one.entry.type.code for one in documents if one.entry.mime_type in _CDA and one.entry.type.code))
    if kinds and set(filter(None, map(str.strip, codes.split(",")))) != set(kinds):
        yield message("exchange.differs.codes", said=_shown(codes), found=",".join(kinds))
    patients = {archive.patient.value for archive in archives if archive.patient}
    if len(patients) > 1:
        yield message("exchange.differs.patients", count=len(patients))
    if qualified.upper() == "O" and not patients:
        yield message("exchange.differs.no-ins")
    if kinds and not qualified:
        yield message("exchange.differs.ins-missing")
    cdas = [one for one in map(_cda, documents) if one is not None]
    if len(papers) < len(cdas):
        yield message("exchange.differs.papers", papers=len(papers), documents=len(cdas))
    if not _SUBJECT.match(subject):
        yield message("exchange.differs.subject")
    elif (name := _birth_name(cdas)) and name not in _plain(subject):
        yield message("exchange.differs.name")


def _field(root: Part, name: str) -> str:
    return mime.unfold(root.fields.get(name.lower().encode()) or b"").decode("ascii", "replace").strip()


def _shown(value: str) -> str:
    return "".join(one for one in value if one.isprintable())[:200] or "-"


def _cda(document: XdmDocument) -> Cda | None:
    if document.entry.mime_type not in _CDA:
        return None
    try:
        return read_cda(document.content)
    except DmpError:
        return None


def _birth_name(cdas: Sequence[Cda]) -> str:
    """As a subject has it: capitals without accents (docs/reference/mssante.md 5.2)."""
    for cda in cdas:
        for family in cda.all("recordTarget/patientRole/patient/name/family"):
            if family.get("qualifier") in {"BR", None} and family.text:
                return _plain(family.text)
    return ""


def _plain(text: str) -> str:
    bare = unicodedata.normalize("NFKD", text.replace("œ", "oe").replace("Œ", "OE"))
    return " ".join(re.sub(r"[^A-Z0-9]+", " ", bare.encode("ascii", "ignore").decode().upper()).split())
