"""A PostgreSQL of the tests' own: a temporary cluster of Debian's package, on a Unix socket, without fsync.

Started when the first test asks, stopped at the end of the session. Each test gets a database copied
from a template, which costs about 30 ms. Run as user `postgres` when the tests run as root, because
PostgreSQL refuses root.
"""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BIN = Path("/usr/lib/postgresql/15/bin")
_FAST = """
fsync = off
synchronous_commit = off
full_page_writes = off
"""
_SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{directory}'
max_connections = 60
shared_buffers = 32MB
"""


def available() -> bool:
    return (_BIN / "initdb").exists()


class Cluster:
    def __init__(self, directory: Path, *, durable: bool = False) -> None:
        self.directory, self._durable = directory, durable
        self._numbers = itertools.count(1)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def create(self, template: str = "template0") -> str:
        """A new database; its name."""
        name = f"test{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def sql(self, statement: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(host=str(self.directory), user="postgres", dbname=database, autocommit=True) as connection:
            connection.execute(statement)

    def _user(self) -> dict[str, object]:
        """Arguments of subprocess that make a command run as `postgres`."""
        if os.geteuid() != 0:
            return {}
        entry = pwd.getpwnam("postgres")
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.directory, check=False, **self._user())
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")

    def start(self) -> None:
        data = str(self.directory / "data")
        if user := self._user():
            os.chown(self.directory, user["user"], user["group"])
        self._run(str(_BIN / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        with open(self.directory / "data" / "postgresql.conf", "a") as settings:
            settings.write(_SETTINGS.format(directory=self.directory) + ("" if self._durable else _FAST))
        self.up()

    def up(self) -> None:
        self._run(str(_BIN / "pg_ctl"), "-D", str(self.directory / "data"), "-l", str(self.directory / "log"), "-w", "-s", "start")

    def down(self, mode: str = "immediate") -> None:
        self._run(str(_BIN / "pg_ctl"), "-D", str(self.directory / "data"), "-m", mode, "-w", "-s", "stop")


@contextmanager
def cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """A running cluster; `durable` keeps what it promised even when it is killed."""
    directory = Path(tempfile.mkdtemp(prefix="mssgw-pg-"))
    try:
        made = Cluster(directory, durable=durable)
        made.start()
        try:
            yield made
        finally:
            made.down()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
