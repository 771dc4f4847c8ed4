"""Files that are complete or not there: written beside their place, fsynced, renamed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

Tell = Callable[[str, int, int], None]  # which part (a word of `core.texts`), done, total

_PIECE = 1 << 20
WRITING = ".writing"  # the end of the name of a file that is not complete


class Digest(NamedTuple):
    size: int  # octets
    sha256: str


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def digest(path: Path) -> Digest:
    """Raises OSError."""
    size, found = 0, hashlib.sha256()
    for piece in _pieces(path):
        size += len(piece)
        found.update(piece)
    return Digest(size, found.hexdigest())


def copy(source: Path, target: Path) -> Digest:
    """Mode 0600. Raises OSError; nothing is at `target` then."""
    size, found = 0, hashlib.sha256()
    beside = target.with_name(target.name + WRITING)
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            for piece in _pieces(source):
                size += len(piece)
                found.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(target)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    return Digest(size, found.hexdigest())


def write(target: Path, octets: bytes) -> None:
    beside = target.with_name(target.name + WRITING)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(target)


def folder(path: Path) -> Path:
    """The directory, made with mode 0700 when it is not there, its parents too."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def sync(path: Path) -> None:
    """The names in a directory are on the disk when this returns."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(path: Path) -> None:
    for directory, _, _ in os.walk(path, topdown=False):
        sync(Path(directory))


def give(path: Path, like: Path) -> None:
    """Give `path` the owner of `like`. Only root can, and only root needs to."""
    if os.geteuid() == 0:
        found = like.stat()
        os.chown(path, found.st_uid, found.st_gid)
