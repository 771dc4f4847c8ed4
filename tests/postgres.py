"""A PostgreSQL of the tests' own: a temporary cluster of Debian's package, on a Unix socket, without fsync.

Started when the first test asks, stopped at the end of the session. Run as user `postgres` when the tests
run as root, because PostgreSQL refuses root.
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
from typing import Any

_BIN = Path("/usr/lib/postgresql/15/bin")
INITDB = _BIN / "initdb"
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


# Rows are deleted: on tables that hold a few, that is far faster than TRUNCATE, which makes new files.
_EMPTY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
SET session_replication_role = replica;
DO $$ DECLARE each record; BEGIN
  FOR each IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> '{keep}' LOOP
    EXECUTE format('DELETE FROM %I', each.tablename);
  END LOOP;
  FOR each IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
    EXECUTE format('ALTER SEQUENCE %I RESTART', each.sequencename);
  END LOOP;
END $$;
"""


class Cluster:
    def __init__(self, directory: Path, *, durable: bool = False) -> None:
        self.directory, self._durable = directory, durable
        self._numbers = itertools.count(1)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def create(self) -> str:
        """A new database; its name."""
        name = f"test{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def empty(self, name: str, keep: str) -> None:
        """No rows, no connections but ours, numbers from 1 again. `keep`: the one table that stays as it is."""
        self.sql(_EMPTY.format(keep=keep), name)

    def drop(self, name: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def sql(self, statement: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(host=str(self.directory), user="postgres", dbname=database, autocommit=True) as connection:
            connection.execute(statement)

    def _user(self) -> dict[str, Any]:
        """Arguments of subprocess that make a command run as `postgres`."""
        if os.geteuid() != 0:
            return {}
        entry = pwd.getpwnam("postgres")
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def _run(self, *command: str) -> None:
        # On the true date also in `make calendar`: nothing asks the database for the time, and under libfaketime its alarm
        # for a deadlock never comes.
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.directory, env=environment, check=False, **self._user())
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")

    def start(self) -> None:
        data = str(self.directory / "data")
        if user := self._user():
            os.chown(self.directory, user["user"], user["group"])
        self._run(str(INITDB), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
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
