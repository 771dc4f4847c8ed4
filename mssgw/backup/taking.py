"""Take a backup beside a node that runs. Mail that was acknowledged before it began is in it.

Order: hold the sweep (no body is removed) -> copy the databases, each as one moment -> configuration and the rest of
`data` -> bodies -> manifest -> rename. Bodies are never changed once they are named, so those that an earlier backup in
the same directory has are linked to it: a second backup costs what is new.

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


def dmp_store(config: Config) -> StoreUrl | None:
    """Where the DMP store of a configuration is; None without [dmp]. Raises ConfigError."""
    return address("dmp.store", config.dmp.store, config.node.data) if config.dmp else None


def take(node: Node, target: Path, now: datetime, tell: Tell) -> tuple[Path, Manifest]:
    """Make a backup of the node in the directory `target`; where it is, and what it holds.

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
    files.folder(target)
    with _alone(target):
        before = manifest.complete(target)
        work = _taken_up(target, now)
        with files_held(data):
            made = _fill(node, work, now, before[-1] if before else None, tell)
        manifest.save(made, work)
        files.sync_tree(work)
        crash_point("backup.before_rename")
        final = work.with_name(work.name.removesuffix(PARTIAL))
        work.rename(final)
        files.sync(target)
        for leftover in target.glob(f"*{PARTIAL}"):
            shutil.rmtree(leftover)
    return final, made


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


def _fill(node: Node, work: Path, now: datetime, before: Path | None, tell: Tell) -> Manifest:
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
    bodies, missing = _bodies(data / "blobs", work, inside.files, before, tell)
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
        files=(*kept, *bodies),
        missing=tuple(missing),
        left=tuple(left),
        folders=tuple(folders),
    )


def _folders(files: Sequence[Path]) -> Iterator[Folder]:
    """The directories above these files, outermost first, but for the root."""
    for path in sorted({folder for file in files for folder in file.absolute().parents if folder != folder.parent}):
        status = path.stat()
        yield Folder(str(path), status.st_mode & 0o7777, *manifest.names_of(status))


def _bodies(blobs: Path, work: Path, names: tuple[str, ...], before: Path | None, tell: Tell) -> tuple[list[Kept], list[str]]:
    """Copy every body that the copied rows name; those that were lost already are reported and stop nothing."""
    known = {one.path: one for one in manifest.load(before).files} if before else {}
    kept: list[Kept] = []
    missing: list[str] = []
    for number, name in enumerate(names, 1):
        path = f"blobs/{name}"
        target = work / path
        try:
            kept.append(_body(blobs / name, target, path, before / path if before and path in known else None, known.get(path)))
        except FileNotFoundError:
            missing.append(name)
        crash_point("backup.body")
        tell("blobs", number, len(names))
    wanted = {f"blobs/{name}" for name in names}
    for found in (work / "blobs").glob("*/*"):  # of an interrupted one: deleted since, or half written
        if str(found.relative_to(work)) not in wanted:
            found.unlink()
    return kept, missing


def _body(source: Path, target: Path, path: str, earlier: Path | None, known: Kept | None) -> Kept:
    if target.exists():  # an interrupted backup brought it, whole: it was renamed into its place
        size, sha256 = files.digest(target)
        return Kept(path, size, sha256)
    files.folder(target.parent)
    if earlier is not None and known is not None:
        with contextlib.suppress(OSError):  # a file system without links, or with too many to this file: copied then
            os.link(earlier, target)
            return known
    size, sha256 = files.copy(source, target)
    return Kept(path, size, sha256)


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
