"""Migrations: the scripts make what the code expects, on both engines; one process at a time; never backwards."""

import shutil
import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from mssgw import store as store_package
from mssgw.core.errors import ConfigError
from mssgw.store import database, migration
from mssgw.store.schema import metadata
from tests.conftest import ENGINES, make_config


@pytest.fixture(params=ENGINES)
def unmade(request, tmp_path):
    """A store that isn't there yet."""
    if request.param == "sqlite":
        yield make_config(tmp_path)
        return
    cluster = request.getfixturevalue("pg")
    name = cluster.create()
    yield make_config(tmp_path, cluster.url(name))
    cluster.drop(name)


def _engine(config):
    return database.connect_writer(database.url_of(config))


def test_the_scripts_make_what_the_code_expects(config):
    engine = _engine(config)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_names_of_the_scripts_are_their_revisions():
    scripts = ScriptDirectory(str(migration._HERE))
    assert migration.head() == scripts.get_current_head()
    assert migration.revisions() == {script.revision for script in scripts.walk_revisions()}


def test_sqlite_tables_are_exactly_those_of_the_code(sqlite_config):
    """What comparison can't see: WITHOUT ROWID, partial indexes, checks."""

    def shape(connection):
        return {
            name: " ".join(sorted(sql.replace("\n", " ").replace("\t", " ").replace(",", " ").split()))
            for name, sql in connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            if not name.startswith("alembic")
        }

    engine, fresh = _engine(sqlite_config), sa.create_engine("sqlite://")
    metadata.create_all(fresh)
    with engine.connect() as made, fresh.connect() as expected:
        assert shape(made) == shape(expected)
    engine.dispose()
    fresh.dispose()


def test_migrating_twice_changes_nothing(unmade):
    store_package.migrate(unmade)
    store_package.migrate(unmade)
    engine = _engine(unmade)
    with engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == migration.head()
    engine.dispose()


def test_several_processes_may_start_at_once(unmade):
    failures = []

    def start():
        try:
            store_package.migrate(unmade)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


async def test_a_newer_store_is_refused_and_left_alone(unmade, clock):
    store_package.migrate(unmade)
    engine = _engine(unmade)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for attempt in (lambda: store_package.migrate(unmade), None):
        with pytest.raises(ConfigError, match="newer mssgw"):
            attempt() if attempt else await store_package.open(unmade, clock, worker="w")
    with engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == "9999"
    engine.dispose()


async def test_opening_what_was_never_made(unmade, clock):
    with pytest.raises(ConfigError, match=r"node\.store"):
        await store_package.open(unmade, clock, worker="w")


@pytest.fixture
def next_script(tmp_path, monkeypatch):
    """Make the program one version newer, with the test's own migration."""
    directory, head = tmp_path / "migrations", migration.head()
    shutil.copytree(migration._HERE, directory, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migration, "_HERE", directory)

    def write(body):
        (directory / "versions" / "9998_next.py").write_text(
            f"import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = '9998', '{head}'\n\n\ndef upgrade():\n" + body
        )

    return write


_MAKE = "    op.create_table('half', sa.Column('id', sa.Integer))\n"


def test_a_store_of_yesterday_is_brought_up_to_date(unmade, next_script):
    store_package.migrate(unmade)
    next_script(_MAKE)
    store_package.migrate(unmade)
    engine = _engine(unmade)
    with engine.connect() as connection:
        assert sa.inspect(connection).has_table("half")
        assert MigrationContext.configure(connection).get_current_revision() == "9998"
    engine.dispose()


def test_a_migration_that_fails_leaves_nothing(unmade, next_script):
    """Transactional: half a schema is worse than none."""
    store_package.migrate(unmade)
    before = migration.head()
    next_script(_MAKE + "    raise RuntimeError('power cut')\n")
    with pytest.raises(RuntimeError):
        store_package.migrate(unmade)
    engine = _engine(unmade)
    with engine.connect() as connection:
        assert not sa.inspect(connection).has_table("half")
        assert MigrationContext.configure(connection).get_current_revision() == before
    engine.dispose()


async def test_a_store_of_yesterday_is_not_opened_before_migration(config, clock, next_script):
    before = migration.head()
    next_script(_MAKE)
    with pytest.raises(ConfigError, match=f"schema {before}, this program 9998"):
        await store_package.open(config, clock, worker="w")


@pytest.mark.parametrize("address", ["mysql://x", "sqlite", "postgresql://user@host:port/x"])
def test_an_address_that_cant_be(tmp_path, address):
    with pytest.raises(ConfigError, match=r"node\.store"):
        store_package.migrate(make_config(tmp_path, address))


def test_a_server_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="can't be opened"):
        store_package.migrate(make_config(tmp_path, f"postgresql://x@/db?host={tmp_path}"))


def test_a_file_that_is_no_database(tmp_path):
    config = make_config(tmp_path)
    config.node.data.mkdir()
    (config.node.data / "store.db").write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigError, match="can't be opened"):
        store_package.migrate(config)
