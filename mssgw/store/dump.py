"""The mail of a PostgreSQL snapshot, read without a server: `pg_restore` prints the rows, and they become a SQLite file.

So single messages come out of such a backup as out of one of SQLite, and no database is made or changed for it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import sqlalchemy as sa

from mssgw.store import schema
from mssgw.store.snapshot import ProgramMissing, SnapshotFailed

_LEFT_OUT: Final = {"audit", "queued", "delivery", "recipient"}  # no part of a mailbox
_TABLES: Final = {name: table for name, table in schema.metadata.tables.items() if name not in _LEFT_OUT}
_BATCH: Final = 500  # rows
_COPY: Final = re.compile(rb'COPY (?:.*\.)?"?(\w+)"? \(([^)]*)\) FROM stdin;\n')
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def as_sqlite(file: Path, target: Path) -> None:
    """Write what `file`, made by `snapshot.take`, holds of mailboxes to the new SQLite database `target`.

    Raises ProgramMissing, SnapshotFailed: it is no such file, or of another schema.
    """
    made = sa.create_engine(sa.URL.create("sqlite", database=str(target)))
    schema.metadata.create_all(made, tables=list(_TABLES.values()))
    made.dispose()
    try:
        with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as connection, _printed(file) as lines:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("BEGIN")
            for line in lines:
                if (head := _COPY.fullmatch(line)) and head[1].decode() in _TABLES:
                    _fill(connection, head[1].decode(), head[2].decode().replace('"', "").split(", "), lines)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise SnapshotFailed(f"{file}: {error}") from error


@contextlib.contextmanager
def _printed(file: Path) -> Iterator[IO[bytes]]:
    """What pg_restore prints for the tables. Raises SnapshotFailed when it fails, before or after its first line."""
    program = shutil.which("pg_restore")
    if program is None:
        raise ProgramMissing("pg_restore")
    wanted = [f"--table={name}" for name in _TABLES]
    with tempfile.TemporaryFile() as said:
        command = [program, "--data-only", "--file=-", *wanted, str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process:  # noqa: S603 - a list of arguments, no shell
            assert process.stdout
            try:
                yield process.stdout
            except BaseException:
                process.kill()
                raise
            status = process.wait()
        if status:
            said.seek(0)
            raise SnapshotFailed(f"pg_restore: {said.read()[-2000:].decode(errors='replace').strip() or f'status {status}'}")


def _fill(connection: sqlite3.Connection, table: str, names: list[str], lines: IO[bytes]) -> None:
    """One table, from after its head to its end."""
    columns = _TABLES[table].columns
    if unknown := [name for name in names if name not in columns]:
        raise SnapshotFailed(f"{table}: unknown columns {', '.join(unknown)}")
    readers = [_reader(columns[name].type) for name in names]
    quoted = ", ".join(f'"{name}"' for name in names)
    insert = f'INSERT INTO "{table}" ({quoted}) VALUES ({", ".join("?" * len(names))})'  # noqa: S608 - names of our own schema
    rows = _rows(lines, readers)
    while batch := list(islice(rows, _BATCH)):
        connection.executemany(insert, batch)


def _rows(lines: IO[bytes], readers: list[Callable[[bytes], Any]]) -> Iterator[list[Any]]:
    """COPY in its text format: tabs between values, `\\N` for none, a line `\\.` at the end."""
    for line in lines:
        if line == b"\\.\n":
            return
        values = line[:-1].split(b"\t")
        yield [None if value == b"\\N" else read(_plain(value)) for value, read in zip(values, readers, strict=True)]
    raise SnapshotFailed("pg_restore: cut off in the middle of a table")


def _plain(value: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), value) if b"\\" in value else value


def _reader(kind: sa.types.TypeEngine[Any]) -> Callable[[bytes], Any]:
    """From PostgreSQL's text to the value that SQLite keeps."""
    kind = kind.impl_instance if isinstance(kind, sa.types.TypeDecorator) else kind
    if isinstance(kind, sa.LargeBinary):
        return lambda text: bytes.fromhex(text.decode("ascii").removeprefix("\\x"))
    if isinstance(kind, sa.Boolean):
        return lambda text: int(text == b"t")
    if isinstance(kind, sa.Integer):
        return int
    return bytes.decode
