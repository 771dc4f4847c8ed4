"""State across restarts: every record in one file, written whole after each change (tmp, fsync, rename).

A crash leaves the state before or after a change, never between. Accesses that change nothing are journaled
with the next change.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from dmp_connector.errors import BadSettings
from dmp_connector.simulator.world import Record
from dmp_connector.texts import message


def load(path: Path) -> dict[str, Record]:
    """Empty when there is no file yet. Raises BadSettings when it is not ours."""
    if not path.exists():
        return {}
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=dict[str, Record])
    except (msgspec.DecodeError, OSError) as error:
        raise BadSettings(message("simulator.not-a-state", name=path.name, error=str(error))) from error


def save(path: Path, records: dict[str, Record]) -> None:
    """Write every record to `path`, whole or not at all. Raises OSError."""
    fresh = path.with_suffix(".tmp")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.msgpack.encode(records))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
