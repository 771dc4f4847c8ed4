"""Take a backup beside a node that runs. Mail that was acknowledged before it began is in it.

Order: hold the sweep (no body is removed) -> copy the databases, each as one moment -> configuration and the rest of
`data` -> bodies -> manifest -> rename. Bodies are never changed once they are named, so those that the backup before in
the same directory has are linked to it: a second backup writes what is new. What is linked is read and compared with its
hash before; a body that rotted there is copied anew from the node.

A backup is made as `<time>.partial` and gets its name last. One that was interrupted is taken up by the next: its bodies
stay, the databases are copied again. Two at a time in one directory are refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from mssgw import __version__
from mssgw.backup import files, manifest
from mssgw.backup.errors import BackupError
from mssgw.backup.files import Tell
from mssgw.backup.manifest import PARTIAL, Folder, Kept, Manifest, StoreCopy
from mssgw.backup.sources import sources
from mssgw.core.config import Config
from mssgw.core.errors import ConfigError
from mssgw.dossier.setup import STORE_TABLES
from mssgw.observe import crash_point
from mssgw.store import snapshot
from mssgw.store.database import StoreUrl, address, file_of, url_of
from mssgw.store.sweep import files_held


@dataclass(frozen=True, slots=True)
class Node:
    """Whose backup it is."""

    configuration: Path
    config: Config


@dataclass(frozen=True, slots=True)
class Taken:
    path: Path
    manifest: Manifest
    before: Path | None  # the backup that bodies were linked to
    damaged: tuple[str, ...]  # bodies that are no longer in `before` as it took them
    broken: tuple[Path, ...]  # backups in the directory whose manifest can't be read


def dmp_store(config: Config) -> StoreUrl | None:
    """Where the DMP store of a configuration is; None without [dmp]. Raises ConfigError."""
    return address("dmp.store", config.dmp.store, config.node.data) if config.dmp else None


def take(node: Node, target: Path, now: datetime, tell: Tell) -> Taken:
    """Make a backup of the node in the directory `target`.

    Raises BackupError, SnapshotFailed, ConfigError, OSError: what was made so far is there as `….partial`.
    """
    data = node.config.node.data.absolute()
    dmp = node.config.dmp
    if dmp and (moved := dmp.misplaced(data, node.configuration.parent.absolute())):
        raise ConfigError([("dmp.store", moved)])
    if target.resolve() == data.resolve() or data.resolve() in target.resolve().parents:
        raise BackupError("inside", path=target, data=data)
    if not data.is_dir():
        raise BackupError("no-data", path=data)
    snapshot.require_ours(url_of(node.config), data)
    files.folder(target)
    with _alone(target):
        earlier, broken = manifest.complete(target)
        before = earlier[-1].path if earlier else None
        damaged: list[str] = []
        work = _taken_up(target, now)
        with files_held(data):
            made = _fill(node, work, now, _Bodies(data / "blobs", work, before, damaged), tell)
            made = msgspec.structs.replace(made, number=1 + max((one.number for one in earlier), default=0))
        manifest.save(made, work)
        files.sync_tree(work)
        crash_point("backup.before_rename")
        final = work.with_name(work.name.removesuffix(PARTIAL))
        work.rename(final)
        files.sync(target)
        for leftover in target.glob(f"*{PARTIAL}"):
            shutil.rmtree(leftover)
    return Taken(final, made, before, tuple(damaged), tuple(broken))


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    fd = os.open(target / "backup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise BackupError("busy", path=target) from None
    try:
        yield
    finally:
        os.close(fd)


def _taken_up(target: Path, now: datetime) -> Path:
    """The directory to work in: a new one, or what an interrupted backup left, with nothing but its bodies."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    number = 1
    name = stamp
    while (target / name).exists():
        number += 1
        name = f"{stamp}-{number}"
    work = target / f"{name}{PARTIAL}"
    if left := sorted(target.glob(f"*{PARTIAL}")):
        left[-1].rename(work)
        for path in work.iterdir():
            if path.is_dir() and path.name != "blobs":
                shutil.rmtree(path)
            elif not path.is_dir():
                path.unlink()
    work.mkdir(mode=0o700, exist_ok=True)
    files.folder(work / "blobs")
    return work


def _fill(node: Node, work: Path, now: datetime, bodies: _Bodies, tell: Tell) -> Manifest:
    url = url_of(node.config)
    data = node.config.node.data.absolute()
    mail = StoreCopy(_name("mail", url), _engine(url), snapshot.schema_of(url))
    inside = snapshot.take(url, work / mail.path, snapshot.TABLES, lambda done, total: tell("mail", done, total), snapshot.look)
    crash_point("backup.database")
    kept = [_described(work, mail.path)]
    dmp = None
    url_dmp = dmp_store(node.config)
    if url_dmp is not None and is_made(url_dmp):
        dmp = StoreCopy(_name("dmp", url_dmp), _engine(url_dmp), snapshot.schema_of(url_dmp))
        snapshot.take(url_dmp, work / dmp.path, STORE_TABLES, lambda done, total: tell("dmp", done, total), lambda _: None)
        kept.append(_described(work, dmp.path))
    stores = tuple(path for path in (file_of(url), url_dmp and file_of(url_dmp)) if path)
    wanted, left = sources(node.configuration, node.config, stores)
    for number, source in enumerate(wanted, 1):
        status = source.origin.stat()
        files.folder((work / source.path).parent)
        copied = files.copy(source.origin, work / source.path)
        owner, group = manifest.names_of(status)
        kept.append(Kept(source.path, copied.size, copied.sha256, status.st_mode & 0o777, owner, group))
        tell("files", number, len(wanted))
    folders = _folders([source.origin for source in wanted if source.path.startswith("config/")])
    kept_bodies, missing = bodies.take(inside.files, tell)
    owner, group = manifest.names_of(data.stat())
    return Manifest(
        version=manifest.VERSION,
        program=__version__,
        made=now,
        revision=inside.revision,
        configuration=os.path.abspath(node.configuration),
        data=str(data),
        owner=owner,
        group=group,
        probe=inside.probe,
        messages=inside.messages,
        mail=mail,
        dmp=dmp,
        files=(*kept, *kept_bodies),
        missing=tuple(missing),
        left=tuple(left),
        folders=tuple(folders),
    )


def _folders(files: Sequence[Path]) -> Iterator[Folder]:
    """The directories above these files, outermost first, but for the root."""
    for path in sorted({folder for file in files for folder in file.absolute().parents if folder != folder.parent}):
        status = path.stat()
        yield Folder(str(path), status.st_mode & 0o7777, *manifest.names_of(status))


class _Bodies:
    """The bodies on their way into `work`. `damaged` gets those that rotted in the backup before."""

    def __init__(self, blobs: Path, work: Path, before: Path | None, damaged: list[str]) -> None:
        self._blobs, self._work, self._before, self._damaged = blobs, work, before, damaged
        self._known: dict[str, Kept] = {}
        if before:
            with contextlib.suppress(BackupError):  # its manifest is of another version: everything is copied
                self._known = {one.path: one for one in manifest.load(before).files}

    def take(self, names: tuple[str, ...], tell: Tell) -> tuple[list[Kept], list[str]]:
        """Copy every body that the copied rows name; those that were lost already are reported and stop nothing."""
        kept: list[Kept] = []
        missing: list[str] = []
        for number, name in enumerate(names, 1):
            try:
                kept.append(self._one(name))
            except FileNotFoundError:
                missing.append(name)
            crash_point("backup.body")
            tell("blobs", number, len(names))
        wanted = {f"blobs/{name}" for name in names}
        for found in (self._work / "blobs").glob("*/*"):  # of an interrupted one: deleted since, or half written
            if str(found.relative_to(self._work)) not in wanted:
                found.unlink()
        return kept, missing

    def _one(self, name: str) -> Kept:
        """Raises FileNotFoundError: it is nowhere as it was."""
        path = f"blobs/{name}"
        source, target, known = self._blobs / name, self._work / path, self._known.get(path)
        files.folder(target.parent)
        if target.exists():  # an interrupted backup brought it; it may have rotted since
            have = files.digest(target)
            if have == (known.digest if known else files.digest(source) if source.exists() else have):
                return Kept(path, *have)
            target.unlink()
        if self._before and known:
            if _same(self._before / path, known):
                with contextlib.suppress(OSError):  # a file system without links, or with too many to this file: copied then
                    os.link(self._before / path, target)
                    return known
            else:
                self._damaged.append(path)
        return Kept(path, *files.copy(source, target))


def _same(path: Path, known: Kept) -> bool:
    try:
        return files.digest(path) == known.digest
    except OSError:
        return False


def _described(work: Path, path: str) -> Kept:
    size, sha256 = files.digest(work / path)
    return Kept(path, size, sha256)


def _name(store: str, url: StoreUrl) -> str:
    return f"{store}.sqlite" if snapshot.is_sqlite(url) else f"{store}.pgdump"


def _engine(url: StoreUrl) -> Literal["sqlite", "postgresql"]:
    return "sqlite" if snapshot.is_sqlite(url) else "postgresql"


def is_made(url: StoreUrl) -> bool:
    """The DMP store is made by its first use; a SQLite one that nobody used is no file yet."""
    path = file_of(url)
    return path is None or path.is_file()
