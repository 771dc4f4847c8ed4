"""What trust keeps on disk, shared by the workers of a node: the last good list, pending ones, CRLs, overrides.

One worker at a time fetches (`lock`); the others see new files by their time stamp and load them. A file is written
beside its place, fsynced and renamed, so a reader finds the old or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


def write(path: Path, content: bytes, *, public: bool = False) -> None:
    """Replace a file durably. A `public` one may be read by everybody, whatever the umask."""
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o755 if public else 0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        os.fchmod(file.fileno(), 0o644 if public else 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: msgspec.Struct) -> None:
    write(path, msgspec.json.format(msgspec.json.encode(value), indent=1))


def read_json(path: Path, kind: type[T]) -> T | None:
    """The value, or None when the file is missing or of another form."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def stamp(path: Path) -> int:
    """Changes whenever the file does; 0 when it isn't there."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_mtime_ns ^ found.st_ino << 1


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[bool]:
    """True for the one process that may fetch now. Freed by the kernel when the process dies."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
