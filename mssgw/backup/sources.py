"""The parts of a backup beside the stores and the bodies: the configuration, all files it names, the rest of `data`.

Every path and `file:` of the configuration is followed, so that no new setting is forgotten. Left out, and named: the
master key under any name, keys that stay in a token, and programs' libraries and kits, which are installed again.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssgw.backup.manifest import Left
from mssgw.core import owner
from mssgw.core.config import Config, Secret, Settings

_INSTALLED = {"smime.pkcs11_module", "dmp.card_module", "dmp.validation_kit"}
_PASSING = ("blobs", "spool", "metrics", owner.LOST_FOUND)  # of `data`: kept in another way, or of this run only
_PASSING_ENDS = (".lock", "-wal", "-shm", "-turn", "-journal")


@dataclass(frozen=True, slots=True)
class Source:
    origin: Path  # absolute
    path: str  # below the backup


def sources(config_file: Path, config: Config, stores: tuple[Path, ...]) -> tuple[list[Source], list[Left]]:
    """All of them once, and what is left out. `stores`: database files, which are copied in their own way. Raises OSError."""
    masters = [one for one in (config.seal.master_key, config.seal.former_key) if one]
    keys = _MasterKeys(*masters)
    found: dict[Path, Source] = {}
    left: dict[str, Left] = {}
    data = config.node.data.absolute()

    def add(path: Path) -> None:
        if keys.lie_at(path):
            left[str(path)] = Left(str(path), "master-key")
        else:
            inside = data in path.parents
            name = f"data/{path.relative_to(data)}" if inside else f"config/{str(path).lstrip('/')}"
            found[path] = Source(path, name)

    for path in _of_data(data, stores):
        add(path)
    add(_plain(config_file))
    for setting, value in _named(config, ""):
        where = str(value)
        if setting in _INSTALLED:
            left[where] = Left(where, "library")
        elif isinstance(value, Secret) and value.scheme == "pkcs11":
            left[where] = Left(where, "token")
        elif value in masters:
            left[where] = Left(where, "master-key")
        elif setting != "node.data":
            files = list(_files(value))
            for path in files:
                add(path)
            if not files:
                left[where] = Left(where, "not-there")
    return sorted(found.values(), key=lambda one: one.path), sorted(left.values(), key=lambda one: one.path)


def _named(value: Any, path: str) -> Iterator[tuple[str, Path | Secret]]:
    """Every path and secret of a configuration with its setting; rows of one table share a name."""
    if isinstance(value, Path | Secret):
        yield path, value
    elif isinstance(value, Settings):
        for name in value.__struct_fields__:
            yield from _named(getattr(value, name), f"{path}.{name}" if path else name)
    elif isinstance(value, tuple):
        for one in value:
            yield from _named(one, path)


def _files(value: Path | Secret) -> Iterator[Path]:
    try:
        path = _plain(value.path if isinstance(value, Secret) else value)
    except FileNotFoundError:  # a credential whose directory is unknown
        return
    if path.is_dir():
        for folder, _, names in os.walk(path, onerror=_raise):
            yield from (Path(folder) / name for name in sorted(names) if (Path(folder) / name).is_file())
    elif path.exists():
        yield path


def _of_data(data: Path, stores: tuple[Path, ...]) -> Iterator[Path]:
    """What lies in the data directory and is not kept in another way: nothing unknown is forgotten."""
    for folder, names, files in os.walk(data, onerror=_raise):
        if Path(folder) == data:
            names[:] = [name for name in names if name not in _PASSING and not name.startswith(".")]
        for name in sorted(files):
            path = Path(folder) / name
            if path not in stores and not name.endswith(_PASSING_ENDS) and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _raise(error: OSError) -> None:
    raise error


def _plain(path: Path) -> Path:
    """Absolute and without `..`; symbolic links stay, because the configuration names them."""
    return Path(os.path.abspath(path))


class _MasterKeys:
    """Recognises the master key by its content, also in a directory of identities."""

    def __init__(self, *references: Secret) -> None:
        self._octets: set[bytes] = set()
        self._places: set[Path] = set()
        for reference in references:
            with contextlib.suppress(OSError):  # a backup can be taken by a user that may not read the key
                self._places.add(reference.path.resolve())
                self._octets.add(reference.read())

    def lie_at(self, path: Path) -> bool:
        if path.resolve() in self._places:
            return True
        return path.stat().st_size in {len(one) for one in self._octets} and path.read_bytes() in self._octets
