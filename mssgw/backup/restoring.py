"""Put a whole backup back: into an empty data directory, and every file to where it lay.

Order: all checks (each file read and compared with its hash, the master key, the data directory, a running node, a
database that is not empty) -> files written into `data/.restoring` -> PostgreSQL loaded -> names moved to
their places, the mail store's last. As long as `.restoring` is there the restore is not finished: no node starts on it,
and the next restore begins again. Nothing that is there is overwritten: `force` moves it aside.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mssgw.backup import files, manifest
from mssgw.backup.errors import BackupError
from mssgw.backup.files import Tell
from mssgw.backup.manifest import Folder, Kept, Manifest, StoreCopy
from mssgw.backup.taking import dmp_store
from mssgw.core import owner
from mssgw.core.config import Config, parse
from mssgw.core.texts import message
from mssgw.dossier.setup import STORE_TABLES
from mssgw.observe import crash_point
from mssgw.store import keys, migration, snapshot
from mssgw.store.database import StoreUrl, file_of, url_of
from mssgw.store.migration import RESTORING
from mssgw.store.seal import MasterKeys

_LOCK = "serve.lock"  # of the node's parent process
_LOADING = "loading"  # in the working directory: a mark that the tables in PostgreSQL were loaded by us


@dataclass(frozen=True, slots=True)
class Restored:
    data: Path
    aside: Path | None  # where the old data directory is now
    kept: tuple[Path, ...]  # files of the configuration that were there, and are another; they were left
    put: tuple[Path, ...]  # files of the configuration that were put back


def configuration(found: Manifest, backup: Path) -> Config:
    """The configuration as it was backed up, its paths those it had. Raises BackupError, ConfigError."""
    path = backup / "config" / found.configuration.lstrip("/")
    try:
        return parse(path.read_text(encoding="utf-8"), Path(found.configuration).parent)
    except FileNotFoundError:
        raise BackupError("manifest", path=backup / manifest.NAME, why=message("backup.lacks", path=path)) from None


def require_intact(found: Manifest, backup: Path, tell: Tell) -> None:
    """Raises BackupError naming what is gone or changed."""
    manifest.refuse(backup, manifest.verify(found, backup, tell))


def require_key(found: Manifest, config: Config, *, beside: bool = False) -> MasterKeys:
    """The configured master key, which must be the backup's. Raises ConfigError, BackupError.

    `beside`: for a node whose own key stays: a backup from before a rotation is opened by `former_key`.
    """
    master = keys.read_masters(config.seal, config.node.data, in_use=True)
    if found.probe and not keys.is_of(master, found.probe):
        raise BackupError("wrong-key-beside" if beside else "wrong-key", master=config.seal.master_key)
    return master


def restore(found: Manifest, backup: Path, config: Config, *, place_files: bool, force: bool, now: datetime, tell: Tell) -> Restored:
    """Put everything into the data directory and the stores of `config`; with `place_files` the configuration's files too.

    The caller has verified the backup (`require_intact`). Raises BackupError, SnapshotFailed, ConfigError, OSError.
    """
    require_key(found, config)
    if found.revision not in migration.revisions():
        raise BackupError("newer", path=backup, revision=found.revision)
    data = config.node.data.absolute()
    loading = data / RESTORING / _LOADING
    begun = loading.exists()
    stores = _stores(found, backup, url_of(config), dmp_store(config), ours=begun)
    outside = [store.file for store in stores if store.file and data not in store.file.parents and store.file.exists()]
    if outside and not force:
        raise BackupError("store-there", path=outside[0])
    aside = _emptied(data, force=force, now=now)
    for file in outside:
        file.rename(file.with_name(f"{file.name}.{_stamp(now)}"))
    if not data.exists():
        files.folder(data)
        _owned(data, found.owner, found.group)
    files.give(files.folder(data / RESTORING), data)
    with _not_running(data):
        for store in stores:
            if store.file is None:
                loading.touch()
                files.sync(data / RESTORING)
                snapshot.put_back(store.copy, store.url, replace=begun)
        names = _unpacked(found, backup, data, tell)
        crash_point("restore.before_places")
        put, kept = _placed(found, backup, force=force, now=now) if place_files else ((), ())
        _move(data, names, {store.copy.name: store.file for store in stores if store.file})
    return Restored(data, aside, kept, put)


@dataclass(frozen=True, slots=True)
class _Store:
    copy: Path  # in the backup
    url: StoreUrl
    file: Path | None  # where SQLite's goes


def _stores(found: Manifest, backup: Path, mail: StoreUrl, dmp: StoreUrl | None, *, ours: bool) -> list[_Store]:
    """Which copy goes where. `ours`: the tables in PostgreSQL were loaded by a restore that did not end. Raises BackupError, Occupied."""
    pairs = [(found.mail, mail, snapshot.TABLES)]
    if found.dmp:
        if dmp is None:
            raise BackupError("no-dmp", path=backup)
        pairs.append((found.dmp, dmp, STORE_TABLES))
    for stored, url, tables in pairs:
        _require_alike(stored, url)
        if stored.engine == "postgresql" and not ours:
            snapshot.require_empty(url, tables)
    return [_Store(backup / stored.path, url, file_of(url)) for stored, url, _ in pairs]


def _require_alike(stored: StoreCopy, url: StoreUrl) -> None:
    if (stored.engine == "sqlite") != snapshot.is_sqlite(url):
        raise BackupError("engine", engine=stored.engine, here="sqlite" if snapshot.is_sqlite(url) else "postgresql")
    if stored.pg_schema and (here := snapshot.schema_of(url)) != stored.pg_schema:
        raise BackupError("schema", stored=stored.pg_schema, here=here)


def _emptied(data: Path, *, force: bool, now: datetime) -> Path | None:
    """Ensure that the data directory is empty or missing, else refuse or move it aside. Returns where the old one is now."""
    if not data.exists():
        return None
    if (data / RESTORING).exists():  # what lies here was put by a restore that did not end
        with _not_running(data):
            for path in data.iterdir():
                if path.name not in (RESTORING, _LOCK, owner.LOST_FOUND):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            for path in (data / RESTORING).iterdir():
                if path.name != _LOADING:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        return None
    if not any(path.name not in (_LOCK, owner.LOST_FOUND) for path in data.iterdir()):
        return None
    if not force:
        raise BackupError("not-empty", path=data)
    with _not_running(data):
        aside = data.with_name(f"{data.name}.{_stamp(now)}")
        try:
            data.rename(aside)
        except OSError as error:  # a file system of its own is mounted there
            raise BackupError("cannot-move", path=data, why=error.strerror or error) from error
    data.mkdir(mode=aside.stat().st_mode & 0o777)
    files.give(data, aside)
    return aside


@contextlib.contextmanager
def _not_running(data: Path) -> Iterator[None]:
    """No node runs on the directory, and none starts. Raises BackupError."""
    fd = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        files.give(data / _LOCK, data)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError("running", path=data, pid=os.read(fd, 20).decode().strip()) from None
        yield
    finally:
        os.close(fd)


def _unpacked(found: Manifest, backup: Path, data: Path, tell: Tell) -> list[str]:
    """Copy what belongs below `data` into its working directory, on the disk; the names at its top."""
    work = data / RESTORING
    stores = {one.path for one in (found.mail, found.dmp) if one and one.engine == "sqlite"}
    wanted = [one for one in found.files if one.path.startswith(("blobs/", "data/")) or one.path in stores]
    done, total = 0, sum(one.size for one in wanted)
    for one in wanted:
        target = work / one.path.removeprefix("data/")
        for folder in [*reversed(target.parent.relative_to(work).parents), target.parent.relative_to(work)]:
            if not (work / folder).exists():
                files.give(files.folder(work / folder), data)
        if files.copy(backup / one.path, target).sha256 != one.sha256:
            raise BackupError("damaged", path=backup, count=1, names=one.path)
        target.chmod(one.mode)
        files.give(target, data)
        done += one.size
        tell("restore", done, total)
    files.sync_tree(work)
    return sorted(path.name for path in work.iterdir() if path.name != _LOADING)


def _move(data: Path, names: list[str], stores: dict[str, Path]) -> None:
    """Move everything into place, the stores last: while they are missing, nothing can be mistaken for a complete restore."""
    work = data / RESTORING
    for name in sorted(names, key=lambda name: (name in stores, name.startswith("mail."))):
        target = stores.get(name, data / name)
        if not target.parent.exists():
            files.give(files.folder(target.parent), data)
        try:
            (work / name).rename(target)
        except OSError:  # a store on another file system than `data`
            files.copy(work / name, target)
            files.give(target, data)
            (work / name).unlink()
        files.sync(target.parent)
        crash_point("restore.moved")
    shutil.rmtree(work)
    files.sync(data)


def _placed(found: Manifest, backup: Path, *, force: bool, now: datetime) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The configuration and what it names, to where they lay. What is there and differs stays, or is moved aside by `force`."""
    folders = {Path(one.path): one for one in found.folders}
    put: list[Path] = []
    kept: list[Path] = []
    for one in found.files:
        if not one.path.startswith("config/"):
            continue
        target = Path("/" + one.path.removeprefix("config/"))
        if target.exists():
            if files.digest(target).sha256 == one.sha256:
                continue
            if not force:
                kept.append(target)
                continue
            target.rename(target.with_name(f"{target.name}.{_stamp(now)}"))
        _put(one, backup, target, folders)
        put.append(target)
    return tuple(put), tuple(kept)


def _put(one: Kept, backup: Path, target: Path, folders: Mapping[Path, Folder]) -> None:
    for folder in reversed(target.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700)
            known = folders[folder]
            _owned(folder, known.owner, known.group)
            folder.chmod(known.mode)
    files.copy(backup / one.path, target)
    _owned(target, one.owner, one.group)
    target.chmod(one.mode)
    files.sync(target.parent)


def _owned(path: Path, owner: str, group: str) -> None:
    """Give a file its former owner. Only root can; when this machine doesn't know the name, the file stays root's."""
    if os.geteuid() == 0:
        for keyword, name in (("user", owner), ("group", group)):
            if name:
                with contextlib.suppress(LookupError):
                    shutil.chown(path, **{keyword: name})


def _stamp(now: datetime) -> str:
    return f"before-restore-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
