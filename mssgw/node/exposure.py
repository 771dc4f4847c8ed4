"""Who may read or change what a node is made of, and whether what it keeps lies together: part of the remarks.

Whoever writes the configuration commands the node; whoever replaces one of the directories above it, too.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from mssgw.core import owner
from mssgw.core.config import Config, Secret
from mssgw.core.config.base import sqlite_file
from mssgw.core.errors import ConfigError, Problem
from mssgw.core.texts import message
from mssgw.smime.directories.files import key_files


def exposed(config: Config, file: Path | None) -> Iterator[Problem]:
    """Secrets, the configuration itself (`file`), the data directory, stores outside of it."""
    data = config.node.data
    for name, secret in config.secrets():
        if found := secret.exposure(data):
            yield name, found
    for key in _identity_keys(config):
        if found := key.exposure(data):
            yield "smime.identities", found
    if file is not None:
        yield from _configuration(file.absolute(), data)
    yield from _data(data)
    for setting, store in [("node.store", config.node.store), *([("dmp.store", config.dmp.store)] if config.dmp else [])]:
        place = sqlite_file(store, data)
        if place and data.resolve() not in Path(os.path.realpath(place)).parents:
            yield setting, message("remark.outside-data", path=os.path.normpath(place), data=data, name=place.name)


def _identity_keys(config: Config) -> Iterator[Secret]:
    if config.smime.identities:
        with contextlib.suppress(ConfigError, OSError):  # `require_ready` reports it
            for group in key_files(config.smime.identities):
                yield Secret("file", str(group[-1]))


def _configuration(file: Path, data: Path) -> Iterator[Problem]:
    """Whom but root and the node the file, its directory and those above it obey. A sticky directory keeps what lies in it."""
    trusted = {0, os.geteuid()}
    with contextlib.suppress(OSError):
        trusted.add(data.stat().st_uid)
    for path in (file, *file.parents):
        try:
            found = path.stat()
        except OSError:
            continue
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if found.st_mode & 0o002 and not sticky:
            who, remedy = message("remark.writes.everybody"), message("words", words=f"chmod o-w {path}")
        elif found.st_mode & 0o020 and not sticky and found.st_gid != 0:
            who = message("remark.writes.group", group=owner.group(found.st_gid))
            remedy = message("words", words=f"chmod g-w {path}")
        elif found.st_uid not in trusted:
            who, remedy = message("remark.writes.owner", user=owner.user(found.st_uid)), message("words", words=f"chown root {path}")
        else:
            continue
        yield "", message("remark.writes", path=path, who=who, remedy=remedy)


def _data(data: Path) -> Iterator[Problem]:
    if not data.exists():
        yield "node.data", message("remark.no-data", path=data)
    elif data.is_dir() and (mode := data.stat().st_mode & 0o777) & 0o077:
        yield "node.data", message("remark.data-open", path=data, mode=f"{mode:04o}")
