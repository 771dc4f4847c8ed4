"""bond: the database and the data directory that belong together have one random identity, in a row and in a file.

The row is the fact `store.id`; the file is `data/store.id`, beside the bodies, and so in every backup. A store that is not
there beside bodies, a directory without its file beside a database in use, or two different identities, are refused with a
sentence: an unmounted disk looks like that, and mail would be refused for good and swept away.

Written at the making of a store: `store.id.new`, the row's commit, the rename to `store.id`; a crash in between is finished
by the next `settle`. A store of a former version gets its identity when rows and bodies agree.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NoReturn

import msgspec
import sqlalchemy as sa

from mssgw.core.errors import ConfigError
from mssgw.core.texts import Message, message, of_system
from mssgw.observe import crash_point
from mssgw.store import schema

MARK = "store.id"
_NEW = "store.id.new"  # written, and its row perhaps not committed
_FACT = "store.id"
_LOOKED_AT = 200  # bodies that are looked for when a store gets its identity
_COMMITTING = 60.0  # seconds in which the row of a body that was just written may still come
_OCTETS = 200

_content, _fact = schema.content.c, schema.fact.c


def require(connection: sa.Connection, data: Path) -> None:
    """Raises ConfigError when the database and the directory carry different identities, or the directory has lost its own.

    A store of a former version has none: `settle` gives it one.
    """
    identity, mark = _of_database(connection), _read(data / MARK)
    if identity is None:
        if mark is None:
            _require_agreement(connection, data)
    elif mark is None and _read(data / _NEW) != identity:
        place = connection.engine.url.database
        raise _refused(message("store.data-lost", path=place, data=data, mark=data / MARK, identity=identity))
    elif mark not in (None, identity):
        raise _refused(message("store.other", data=data, theirs=identity, ours=mark))


def settle(connection: sa.Connection, data: Path) -> str:
    """The same, and gives an identity to a store that has none, in the caller's transaction; `finish` follows its commit.

    Raises ConfigError, OSError.
    """
    require(connection, data)
    identity = _of_database(connection)
    if identity is None:
        identity = _read(data / MARK)
        if identity is None:
            identity = uuid.uuid4().hex
            _write(data / _NEW, identity)
            crash_point("bond.before_commit")
        row = {"name": _FACT, "value": msgspec.json.encode(identity).decode(), "at": datetime.now(UTC)}
        connection.execute(sa.insert(schema.fact), row)
    return identity


def finish(identity: str, data: Path) -> None:
    """After the commit of `settle`. Raises ConfigError, OSError."""
    crash_point("bond.after_commit")
    if _read(data / _NEW) == identity:
        (data / _NEW).rename(data / MARK)
        _sync(data)


def require_vacant(absent: Message, data: Path) -> None:
    """Raises ConfigError when the directory shows that the store which is `absent` was there: no new one is made beside it."""
    witness = data / MARK if (data / MARK).exists() else next(bodies_below(data), None)
    if witness:
        raise _refused(message("store.lost", found=absent, witness=witness))


def require_there(absent: Message, data: Path) -> NoReturn:
    """To be called where a store is `absent` and none may be made. Raises ConfigError."""
    require_vacant(absent, data)
    raise _refused(message("store.make", found=absent))


def bodies_below(data: Path) -> Iterator[Path]:
    """The files of bodies below the data directory, without leftovers of writes."""
    return (path for path in (data / "blobs").glob("??/*") if path.is_file())


def _require_agreement(connection: sa.Connection, data: Path) -> None:
    """Raises ConfigError when the rows are those of other bodies: of the latest that they name most are not there, or they name none."""
    named = list(
        connection.execute(
            sa.select(_content.file).where(_content.file.is_not(None)).order_by(_content.id.desc()).limit(_LOOKED_AT)
        ).scalars()
    )
    missing = sum(not (data / "blobs" / one).is_file() for one in named)
    if 2 * missing > len(named):
        raise _refused(message("store.bodies-missing", named=len(named), missing=missing, data=data))
    if not named and connection.execute(sa.select(_content.id).limit(1)).first() is None:
        bodies = len(list(islice(filter(_is_settled, bodies_below(data)), _LOOKED_AT)))
        if bodies:
            raise _refused(message("store.bodies-alone", bodies=bodies, data=data))


def _is_settled(body: Path) -> bool:
    """Whether its row would be there by now: a body is written before its row is committed."""
    try:
        return body.stat().st_mtime < time.time() - _COMMITTING
    except FileNotFoundError:
        return False


def _of_database(connection: sa.Connection) -> str | None:
    found = connection.execute(sa.select(_fact.value).where(_fact.name == _FACT)).scalar()
    return None if found is None else str(msgspec.json.decode(found))


def _read(path: Path) -> str | None:
    """None when it is not there. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            return file.read(_OCTETS).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(message("at", place=path, what=of_system(error))) from error


def _write(path: Path, identity: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="ascii") as file:
        file.write(f"{identity}\n")
        file.flush()
        os.fsync(fd)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refused(sentence: Message) -> ConfigError:
    return ConfigError([("node.store", sentence)])
