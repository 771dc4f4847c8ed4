"""A ZIP of any maker as names and octets, in memory, within limits. Nothing is ever written to disk.

Refused as BadArchive, each with its sentence: not a ZIP, octets before it, too many members, too large
(announced or real), compression over the ratio, members that overlap (nested bombs), encryption, unknown
compression, absolute or climbing paths, symbolic links and devices, two members of one name.

A name without the flag of UTF-8 is read as UTF-8, else as cp1252, which is what senders mean, else as cp437, which is the rule.
"""

from __future__ import annotations

import io
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from dmp_connector.errors import BadArchive
from dmp_connector.texts import message

_LOCAL_HEADER = 30  # fixed part, APPNOTE 4.3.7
_ENCRYPTED = 0x1 | 0x40
_UTF_8 = 0x800  # APPNOTE 4.4.4, bit 11


@dataclass(frozen=True, slots=True)
class XdmLimits:
    """Octets and counts. `ratio`: octets out per octet in, asked of members over 1 MB only."""

    archive_bytes: int = 64 * 1024 * 1024
    members: int = 500
    member_bytes: int = 64 * 1024 * 1024
    total_bytes: int = 128 * 1024 * 1024
    ratio: int = 200
    metadata_bytes: int = 8 * 1024 * 1024


def members(data: bytes, limits: XdmLimits) -> Mapping[str, bytes]:
    """Path (with `/`, as in the archive) to octets, folders left out. Raises BadArchive."""
    if len(data) > limits.archive_bytes:
        raise BadArchive(message("xdm.archive-bytes-most-taken", size=len(data), archive_bytes=limits.archive_bytes))
    if data[:4] != b"PK\x03\x04":
        raise BadArchive(message("xdm.not-zip-archive"))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_directory(infos, limits)
            return _contents(archive, [i for i in infos if not i.is_dir()], limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, UnicodeDecodeError) as error:
        raise BadArchive(message("xdm.zip-archive-damaged")) from error


def _check_directory(infos: list[zipfile.ZipInfo], limits: XdmLimits) -> None:
    if len(infos) > limits.members:
        raise BadArchive(message("xdm.members-most-taken", count=len(infos), members=limits.members))
    seen: set[str] = set()
    end = 0
    for info in sorted(infos, key=lambda i: i.header_offset):
        spellings = {folded(_require_safe_path(name)) for name in (_name(info), info.orig_filename)}
        if spellings & seen:
            raise BadArchive(message("xdm.two-members-same-name"))
        seen |= spellings
        if info.flag_bits & _ENCRYPTED:
            raise BadArchive(message("xdm.encrypted-members-not-accepted"))
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise BadArchive(message("xdm.unknown-compression"))
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise BadArchive(message("xdm.symbolic-links-devices-not-accepted"))
        if info.header_offset < end:
            raise BadArchive(message("xdm.members-overlap-bomb"))
        end = info.header_offset + _LOCAL_HEADER + info.compress_size
    announced = sum(i.file_size for i in infos)
    if announced > limits.total_bytes:
        raise BadArchive(message("xdm.bytes-once-unpacked-most-taken", announced=announced, total_bytes=limits.total_bytes))


def _name(info: zipfile.ZipInfo) -> str:
    """As the sender meant it. zipfile cuts a name at NUL; the original name has what was really written."""
    if info.flag_bits & _UTF_8:
        return info.orig_filename
    written = info.orig_filename.encode("cp437")  # how zipfile reads a name without the flag: each octet has its character
    for encoding in ("utf-8", "cp1252"):
        with suppress(UnicodeDecodeError):
            return written.decode(encoding)
    return info.orig_filename


def folded(name: str) -> str:
    """A name as it is compared: in any case, and composed, since macOS writes accents apart."""
    return unicodedata.normalize("NFC", name).casefold()


def _require_safe_path(name: str) -> str:
    name = name.replace("\\", "/")
    if any(unicodedata.category(c) in {"Cc", "Cs"} for c in name):
        raise BadArchive(message("xdm.member-s-name-control-characters"))
    parts = name.rstrip("/").split("/")
    if not name or name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in parts or "" in parts or len(name) > 300:
        raise BadArchive(message("xdm.member-s-path-leaves-archive"))
    return "/".join(part for part in parts if part != ".")


def _contents(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], limits: XdmLimits) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    total = 0
    for info in infos:
        allowed = min(limits.member_bytes, limits.total_bytes - total)
        with archive.open(info) as member:
            content = member.read(allowed + 1)
        if len(content) > allowed:
            raise BadArchive(message("xdm.member-larger-than-bytes-once", allowed=allowed))
        if len(content) > 1_000_000 and len(content) > limits.ratio * max(info.compress_size, 1):
            raise BadArchive(message("xdm.member-unpacks-more-than-times", ratio=limits.ratio))
        total += len(content)
        found[_require_safe_path(_name(info))] = content
    return found
