"""A ZIP of any maker as names and octets, in memory, within limits. Nothing is ever written to disk.

Refused as BadArchive, each with its sentence: not a ZIP, octets before it, too many members, too large
(announced or real), compression over the ratio, members that overlap (nested bombs), encryption, unknown
compression, absolute or climbing paths, symbolic links and devices, two members of one name.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from dmp_connector.errors import BadArchive

_LOCAL_HEADER = 30  # fixed part, APPNOTE 4.3.7
_ENCRYPTED = 0x1 | 0x40


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
    """Path (with `/`, as the archive says) to octets, folders left out. Raises BadArchive."""
    if len(data) > limits.archive_bytes:
        raise BadArchive(
            f"archive of {len(data)} bytes; at most {limits.archive_bytes} are taken",
            fr=f"archive de {len(data)} octets ; au plus {limits.archive_bytes} sont acceptés",
        )
    if data[:4] != b"PK\x03\x04":
        raise BadArchive("not a ZIP archive", fr="ce n'est pas une archive ZIP")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_directory(infos, limits)
            return _contents(archive, [i for i in infos if not i.is_dir()], limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, UnicodeDecodeError) as error:
        raise BadArchive("the ZIP archive is damaged", fr="l'archive ZIP est endommagée") from error


def _check_directory(infos: list[zipfile.ZipInfo], limits: XdmLimits) -> None:
    if len(infos) > limits.members:
        raise BadArchive(
            f"{len(infos)} members; at most {limits.members} are taken",
            fr=f"{len(infos)} fichiers ; au plus {limits.members} sont acceptés",
        )
    seen: set[str] = set()
    end = 0
    for info in sorted(infos, key=lambda i: i.header_offset):
        name = _require_safe_path(info)
        if name.casefold() in seen:
            raise BadArchive("two members have the same name", fr="deux fichiers ont le même nom")
        seen.add(name.casefold())
        if info.flag_bits & _ENCRYPTED:
            raise BadArchive("encrypted members are not accepted", fr="les fichiers chiffrés ne sont pas acceptés")
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise BadArchive("unknown compression", fr="compression inconnue")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise BadArchive(
                "symbolic links and devices are not accepted", fr="les liens symboliques et les fichiers spéciaux ne sont pas acceptés"
            )
        if info.header_offset < end:
            raise BadArchive("members overlap: a bomb", fr="des fichiers se chevauchent : bombe de décompression")
        end = info.header_offset + _LOCAL_HEADER + info.compress_size
    announced = sum(i.file_size for i in infos)
    if announced > limits.total_bytes:
        raise BadArchive(
            f"{announced} bytes once unpacked; at most {limits.total_bytes} are taken",
            fr=f"{announced} octets une fois décompressée ; au plus {limits.total_bytes} sont acceptés",
        )


def _require_safe_path(info: zipfile.ZipInfo) -> str:
    # zipfile cuts a name at NUL; the original name has what was really written.
    name = info.orig_filename.replace("\\", "/")
    if "\0" in name or any(ord(c) < 32 for c in name):
        raise BadArchive("a member's name has control characters", fr="le nom d'un fichier a des caractères de contrôle")
    parts = name.rstrip("/").split("/")
    if not name or name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in parts or "" in parts or len(name) > 300:
        raise BadArchive("a member's path leaves the archive", fr="le chemin d'un fichier sort de l'archive")
    return "/".join(part for part in parts if part != ".")


def _contents(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], limits: XdmLimits) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    total = 0
    for info in infos:
        allowed = min(limits.member_bytes, limits.total_bytes - total)
        with archive.open(info) as member:
            content = member.read(allowed + 1)
        if len(content) > allowed:
            raise BadArchive(
                f"a member is larger than {allowed} bytes once unpacked", fr=f"un fichier dépasse {allowed} octets une fois décompressé"
            )
        if len(content) > 1_000_000 and len(content) > limits.ratio * max(info.compress_size, 1):
            raise BadArchive(
                f"a member unpacks to more than {limits.ratio} times its size: a bomb",
                fr=f"un fichier décompressé dépasse {limits.ratio} fois sa taille : bombe de décompression",
            )
        total += len(content)
        found[_require_safe_path(info)] = content
    return found
