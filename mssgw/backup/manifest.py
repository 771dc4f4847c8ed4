"""The manifest of a backup: `manifest.json`, its last file. Version 1.

mail.sqlite | mail.pgdump     the mail store      blobs/      its large bodies, sealed
dmp.sqlite  | dmp.pgdump      the DMP store       data/       what else lies in the data directory (the trust space)
config/etc/mssgw/…            the configuration and what it names, under the path where it lay
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from mssgw.backup.errors import BackupError
from mssgw.backup.files import Digest, Tell, digest, write
from mssgw.core import owner
from mssgw.core.texts import message

VERSION = 1
NAME = "manifest.json"
PARTIAL = ".partial"
SKEW = timedelta(minutes=5)  # between the clocks of two machines


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of a backup. Beside bodies, which are all alike, it knows whose it was and how it was protected."""

    path: str  # below the backup
    size: int  # octets
    sha256: str
    mode: int = 0o600
    owner: str = ""
    group: str = ""

    @property
    def digest(self) -> Digest:
        return Digest(self.size, self.sha256)


class Folder(msgspec.Struct, frozen=True):
    """A directory that files of the configuration lie in, with its absolute path: who may enter it belongs to the backup."""

    path: str
    mode: int
    owner: str
    group: str


class Left(msgspec.Struct, frozen=True):
    """Something the configuration names that is not in the backup, and why, in a word of `core.texts`."""

    path: str
    why: Literal["master-key", "token", "library", "not-there"]


class StoreCopy(msgspec.Struct, frozen=True):
    path: str  # below the backup
    engine: Literal["sqlite", "postgresql"]
    pg_schema: str = ""


class Manifest(msgspec.Struct, frozen=True):
    version: int
    program: str
    made: datetime
    revision: str  # of the mail store's schema
    configuration: str  # absolute path of the file it was taken for
    data: str  # absolute path of its data directory
    owner: str
    group: str
    probe: bytes  # by which the master key is recognised
    messages: int
    mail: StoreCopy
    dmp: StoreCopy | None
    files: tuple[Kept, ...]
    folders: tuple[Folder, ...]
    missing: tuple[str, ...] = ()  # bodies that rows name and that were lost already
    left: tuple[Left, ...] = ()
    number: int = 0  # one more than the highest beside it: which came last, whatever the clock said

    @property
    def octets(self) -> int:
        return sum(one.size for one in self.files)


def save(manifest: Manifest, directory: Path) -> None:
    write(directory / NAME, msgspec.json.format(msgspec.json.encode(manifest), indent=1))


def load(directory: Path) -> Manifest:
    """Raises BackupError: no backup, unfinished, of a newer program, or broken."""
    if directory.name.endswith(PARTIAL):
        raise BackupError("unfinished", path=directory)
    try:
        octets = (directory / NAME).read_bytes()
    except FileNotFoundError:
        raise BackupError("none", path=directory) from None
    except PermissionError as error:
        raise _closed(error, directory / NAME) from error
    try:
        version = msgspec.json.decode(octets, type=_Version).version
        if version != VERSION:
            raise BackupError("version", path=directory, version=version, known=VERSION)
        found = msgspec.json.decode(octets, type=Manifest)
    except msgspec.DecodeError as error:
        raise BackupError("manifest", path=directory / NAME, why=error) from error
    for kept in found.files:  # a path in a manifest must not lead out of the backup
        if kept.path.startswith("/") or ".." in Path(kept.path).parts:
            raise BackupError("manifest", path=directory / NAME, why=message("backup.leads-out", path=kept.path))
    known = {folder.path for folder in found.folders}
    for above in _folders_of(found.files) - known:
        raise BackupError("manifest", path=directory / NAME, why=message("backup.lacks", path=above))
    return found


def _folders_of(files: Iterable[Kept]) -> set[str]:
    """The absolute paths of the directories that files of the configuration lie in, without the root."""
    lay = (Path("/" + one.path.removeprefix("config/")) for one in files if one.path.startswith("config/"))
    return {str(folder) for path in lay for folder in path.parents if folder != folder.parent}


class _Version(msgspec.Struct):
    version: int


class _Head(msgspec.Struct):
    version: int
    made: datetime
    number: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Listed:
    """A finished backup in a directory of them; they sort as they were taken."""

    number: int
    name: str
    made: datetime
    path: Path


def complete(target: Path) -> tuple[list[Listed], list[Path]]:
    """The finished backups in a directory, in the order in which they were taken, and those whose manifest can't be read."""
    listed: list[Listed] = []
    broken: list[Path] = []
    for path in sorted(target.glob(f"*/{NAME}")):
        if path.parent.name.endswith(PARTIAL):
            continue
        try:
            head = msgspec.json.decode(path.read_bytes(), type=_Head)
        except PermissionError as error:
            raise _closed(error, path) from error
        except (msgspec.DecodeError, OSError):
            broken.append(path.parent)
        else:
            listed.append(Listed(head.number, path.parent.name, head.made, path.parent))
    return sorted(listed), broken


def ahead(source: Path, now: datetime) -> list[Listed]:
    """The backups, of a directory or the one that is named, whose date is still to come: a clock was or is wrong."""
    listed, _ = complete(source.parent if (source / NAME).exists() else source)
    return [one for one in listed if one.made > now + SKEW and source in (one.path, one.path.parent)]


def find(source: Path) -> Path:
    """A backup itself, or the one in a directory of them that was taken last, by its number. Raises BackupError."""
    try:
        inside = [source / name for name in os.listdir(source)]
        is_backup = source.name.endswith(PARTIAL) or source / NAME in inside
        if not is_backup:  # what can't be looked into may be the newest
            for one in inside:
                if one.is_dir() and not one.name.endswith(PARTIAL):
                    os.listdir(one)
    except PermissionError as error:
        raise _closed(error, source) from error
    except OSError:
        raise BackupError("none", path=source) from None
    if is_backup:
        return source
    listed, broken = complete(source)
    if not listed and not broken:
        raise BackupError("none", path=source)
    if not listed or (broken and broken[-1].name > listed[-1].name):  # it may be the newest: `load` says what is wrong with it
        return broken[-1]
    return listed[-1].path


def verify(manifest: Manifest, directory: Path, tell: Tell) -> list[str]:
    """Read every file again. The paths, below the backup, of those that are gone, changed or not in the manifest."""
    wrong = _changed(manifest.files, directory, tell)
    known = {kept.path for kept in manifest.files} | {NAME}
    return [*wrong, *(path for path in _below(directory) if path not in known)]


def require(manifest: Manifest, directory: Path, paths: Collection[str], tell: Tell) -> None:
    """Some files of the backup are as they were taken. Raises BackupError naming what is gone or changed."""
    wanted = set(paths)
    refuse(directory, _changed([one for one in manifest.files if one.path in wanted], directory, tell))


def refuse(directory: Path, wrong: Sequence[str]) -> None:
    """Raises BackupError when something is wrong."""
    if wrong:
        raise BackupError("damaged", path=directory, count=len(wrong), names=", ".join(wrong[:5]) + (" …" if len(wrong) > 5 else ""))


def _changed(kept: Sequence[Kept], directory: Path, tell: Tell) -> list[str]:
    """The paths of those that are gone or have another hash."""
    wrong: list[str] = []
    done, total = 0, sum(one.size for one in kept)
    for one in kept:
        try:
            same = digest(directory / one.path) == one.digest
        except PermissionError as error:
            raise _closed(error, directory / one.path) from error
        except OSError:
            same = False
        if not same:
            wrong.append(one.path)
        done += one.size
        tell("verify", done, total)
    return wrong


def _closed(error: OSError, path: Path) -> BackupError:
    """Backups are their owner's alone, as a rule root's."""
    place = Path(error.filename or path)
    owner_of = next((one for one in (place, *place.parents) if _stat(one)), place)
    known = _stat(owner_of)
    return BackupError("closed", path=place, user=owner.user(os.geteuid()), owner=owner.user(known.st_uid) if known else "root")


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _below(directory: Path) -> Iterator[str]:
    for folder, _, names in os.walk(directory):
        for name in names:
            yield str((Path(folder) / name).relative_to(directory))


def names_of(status: os.stat_result) -> tuple[str, str]:
    """Owner and group of a file, by name, because numbers differ between machines; "" for those without a name."""
    try:
        user = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        user = ""
    try:
        return user, grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        return user, ""
