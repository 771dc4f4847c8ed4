"""Migrations: numbered, transactional, one process at a time.

The parent process or the command line calls `migrate` before any worker opens the store. A store written by
a newer version is refused; nothing is changed then. Alembic is loaded only when there is something to migrate, since
that alone takes longer than most verbs need.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mssgw.core.config import Config
from mssgw.core.errors import ConfigError
from mssgw.core.texts import Message, message, of_system
from mssgw.observe import Event, log
from mssgw.store import bond, database
from mssgw.store.schema import metadata

_LOCK = 0x6D737367  # "mssg": the advisory lock of PostgreSQL; on SQLite it is `Turn`
RESTORING = ".restoring"  # in the data directory: a restore that did not end
_VERSION = "alembic_version"
_HERE = Path(__file__).parent / "migrations"


def head() -> str:
    """The revision this program works with."""
    return max(revisions())


def revisions() -> frozenset[str]:
    """The schemas this program can bring to its own: the numbers that the names of the scripts begin with."""
    return frozenset(script.name.partition("_")[0] for script in (_HERE / "versions").glob("[0-9]*.py"))


def current(connection: sa.Connection) -> str | None:
    """The revision of a database; None when there is no store in it."""
    if not sa.inspect(connection).has_table(_VERSION):
        return None
    found: str | None = connection.execute(sa.select(sa.column("version_num")).select_from(sa.table(_VERSION))).scalar()
    return found


def missing(url: sa.URL) -> Message | None:
    """Why there is no store: no file, or an empty one; None for a file with something in it, and PostgreSQL. Raises ConfigError."""
    if not (path := database.file_of(url)):
        return None
    try:
        empty = not path.stat().st_size
    except FileNotFoundError:
        return message("store.none", path=path)
    except OSError as error:
        raise ConfigError([("node.store", message("at", place=path, what=of_system(error)))]) from error
    return message("store.empty", path=path) if empty else None


def migrate(config: Config, *, make: bool = True) -> None:
    """Bring the store to the present schema, with `make` also one that isn't there yet. Raises ConfigError.

    A store is made only where nothing shows that there was one, and used only with its own data directory (`bond`).
    """
    url = database.url_of(config)
    require_restored(config.node.data)
    if found := missing(url):
        (bond.require_vacant if make else bond.require_there)(found, config.node.data)
    config.node.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if url.database and url.get_backend_name() == "sqlite":
        Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        Path(url.database).touch(mode=0o600)
    engine, turn = database.connect_writer(url), database.Turn(url)
    try:
        with turn, database.opening(), engine.begin() as connection:
            if url.get_backend_name() == "postgresql":
                connection.execute(sa.text("SET LOCAL lock_timeout = 0"))  # another process may take long to migrate
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            if current(connection) is None:
                found = without_tables(connection)
                (bond.require_vacant if make else bond.require_there)(found, config.node.data)
            _upgrade(connection)
            identity = bond.settle(connection, config.node.data)
        bond.finish(identity, config.node.data)
    finally:
        turn.close()
        engine.dispose()


def require_restored(data: Path) -> None:
    """Raises ConfigError while the restore of this data directory is not finished."""
    if (data / RESTORING).exists():
        raise ConfigError([("node.data", message("store.restoring", path=data))])


def without_tables(connection: sa.Connection) -> Message:
    return message("store.no-tables", path=connection.engine.url.database)


def require_current(connection: sa.Connection) -> None:
    """Raises ConfigError unless the store has the schema of this program."""
    found = current(connection)
    if found is None:
        raise ConfigError([("node.store", without_tables(connection))])
    if found != head():
        require_known(found)
        raise ConfigError([("node.store", message("store.schema", found=found, ours=head()))])


def require_ours(connection: sa.Connection, data: Path) -> None:
    """The same, and that the store belongs to this data directory. Raises ConfigError."""
    if current(connection) is None:
        bond.require_there(without_tables(connection), data)
    require_current(connection)
    bond.require(connection, data)


def require_known(revision: str) -> None:
    """Raises ConfigError for a store that a newer program wrote."""
    if revision not in revisions():
        raise ConfigError([("node.store", message("store.newer", schema=revision))])


def _upgrade(connection: sa.Connection) -> None:
    before = current(connection)
    if before is not None:
        require_known(before)
    if before == head():
        return
    from alembic.config import Config as AlembicConfig
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(_HERE))

    def steps(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs("head", revision)

    with EnvironmentContext(AlembicConfig(), script, fn=steps, destination_rev="head") as environment:
        environment.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
        environment.run_migrations()
    log(Event.STORE_MIGRATED, before=before, after=head())
