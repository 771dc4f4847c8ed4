"""The database and the data directory know each other: neither is replaced by an empty one, or by another's."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys

import pytest
import sqlalchemy as sa

from mssgw import store as store_package
from mssgw.core.clock import SystemClock
from mssgw.core.errors import ConfigError
from mssgw.store import blobs, bond, database, schema
from mssgw.store.answer import require_answer, require_own
from tests.conftest import ENGINES, make_config
from tests.crash.points import ROOT
from tests.store.messages import new_account
from tests.store.test_blobs import DOMAIN, body_of


@pytest.fixture(params=ENGINES)
def made(request, tmp_path):
    """The configuration of a store that was made, on a database of its own."""
    if request.param == "sqlite":
        config = make_config(tmp_path)
        store_package.migrate(config)
        yield config
        return
    pg = request.getfixturevalue("pg")
    name = pg.create()
    config = make_config(tmp_path, pg.url(name))
    store_package.migrate(config)
    yield config
    pg.drop(name)


async def in_use(config, *, large=1):
    """An account, and bodies in files."""
    opened = await store_package.open(config, SystemClock(), worker="w")
    await new_account(opened)
    for number in range(large):
        prepared = await opened.blobs.prepare(body_of(400_000 + number), DOMAIN)
        await opened.write(lambda tx, prepared=prepared: blobs.add(tx, prepared))
    await opened.close()


async def refused(config):
    """What `serve`, `account add`, every other verb, and `config check` say: the same."""
    said = set()
    for attempt in (
        lambda: store_package.migrate(config, make=False),
        lambda: store_package.migrate(config),
        lambda: require_answer(config),
        lambda: require_own(config),
    ):
        with pytest.raises(ConfigError) as error:
            attempt()
        said |= {what.en for _, what in error.value.problems}
    with pytest.raises(ConfigError) as error:
        await store_package.open(config, SystemClock(), worker="verb")
    said |= {what.en for _, what in error.value.problems}
    (one,) = said
    return one


def mark(config):
    return config.node.data / "store.id"


def run_sql(config, statement):
    engine = database.connect_writer(database.url_of(config))
    with engine.begin() as connection:
        connection.execute(statement)
    engine.dispose()


def forget_identity(config):
    """As a former version had left it."""
    run_sql(config, sa.delete(schema.fact).where(schema.fact.c.name == "store.id"))
    mark(config).unlink()


def test_start_makes_no_store(tmp_path):
    """Regression: an unmounted disk became a new, empty node that was ready, and mail was refused for good."""
    config = make_config(tmp_path)
    config.node.data.mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="`mssgw account add` makes it; else its disk is not mounted"):
        store_package.migrate(config, make=False)
    with pytest.raises(ConfigError, match="no store at"):
        require_answer(config)
    assert list(config.node.data.iterdir()) == []


@pytest.mark.parametrize("emptied", [False, True])
@pytest.mark.parametrize("witness", ["store.id", "bodies"])
async def test_no_store_is_made_beside_the_remains_of_one(tmp_path, emptied, witness):
    """Regression: `serve` made a new store beside the bodies of the lost one, and swept them away two days later."""
    config = make_config(tmp_path)
    store_package.migrate(config)
    await in_use(config)
    for file in config.node.data.glob("store.db*"):
        file.unlink()
    if emptied:
        (config.node.data / "store.db").touch()
    if witness == "store.id":
        shutil.rmtree(config.node.data / "blobs")
    else:
        mark(config).unlink()
    before = {path: path.read_bytes() for path in config.node.data.rglob("*") if path.is_file()}
    said = await refused(config)
    assert "shows that there was one: it is lost, or its disk is not mounted" in said
    assert {path: path.read_bytes() for path in config.node.data.rglob("*") if path.is_file()} == before


async def test_two_nodes_on_one_database_are_refused(pg, tmp_path):
    """Regression: both were ready, and bodies that one had taken could never be fetched from the other."""
    name = pg.create()
    for one in ("a", "b"):
        (tmp_path / one).mkdir()
    first, second = (make_config(tmp_path / one, pg.url(name)) for one in ("a", "b"))
    store_package.migrate(first)
    await in_use(first)
    said = await refused(second)
    assert f"is in use with another data directory: {second.node.data} has no {mark(second)}" in said
    third = pg.create()
    store_package.migrate(make_config(tmp_path / "b", pg.url(third)))  # in use with another database
    assert "do not belong together" in await refused(second)
    require_own(first)
    for one in (name, third):
        pg.drop(one)


async def test_a_lost_data_directory_beside_a_good_database(made):
    await in_use(made)
    if made.node.store.startswith("sqlite"):
        outside = made.node.data.parent / "store.db"
        shutil.copy(made.node.data / "store.db", outside)
        made = make_config(made.node.data.parent, f"sqlite:{outside}")
    identity = mark(made).read_text().strip()
    shutil.rmtree(made.node.data)
    made.node.data.mkdir(mode=0o700)
    said = await refused(made)
    assert f"write {identity} into {mark(made)}" in said
    mark(made).write_text(identity)  # what the sentence says
    store_package.migrate(made, make=False)
    require_own(made)


async def test_a_store_of_a_former_version_gets_its_identity_once(made):
    await in_use(made, large=2)
    forget_identity(made)
    require_own(made)
    assert not mark(made).exists()
    store_package.migrate(made, make=False)
    identity = mark(made).read_text()
    assert len(identity.strip()) == 32
    store_package.migrate(made, make=False)
    assert mark(made).read_text() == identity
    run_sql(made, sa.delete(schema.fact).where(schema.fact.c.name == "store.id"))  # a copy of the database of that time is put back
    store_package.migrate(made, make=False)
    mark(made).unlink()
    assert "is in use with another data directory" in await refused(made)


async def test_a_store_of_a_former_version_gets_none_with_foreign_bodies(made):
    await in_use(made, large=3)
    forget_identity(made)
    for path in list(bond.bodies_below(made.node.data))[:2]:
        path.unlink()
    assert "of 3 bodies of messages that the database names, 2 are not there" in await refused(made)
    run_sql(made, sa.delete(schema.content))
    (last,) = bond.bodies_below(made.node.data)
    os.utime(last, (0, 0))
    assert "the database has no message, but" in await refused(made)
    assert not mark(made).exists()


async def test_a_body_whose_row_is_about_to_be_committed_is_not_foreign(made):
    """Regression: a process that opened a store without identity was refused while another wrote the first body."""
    await in_use(made, large=1)
    forget_identity(made)
    run_sql(made, sa.delete(schema.content))
    (written,) = bond.bodies_below(made.node.data)
    os.utime(written)  # by this process's clock, which `make calendar` sets
    require_own(made)


@pytest.mark.parametrize("point", ["bond.before_commit", "bond.after_commit"])
def test_killed_while_a_store_is_made(tmp_path, point):
    """`account add` again makes it, and it is bound."""
    config = make_config(tmp_path)
    program = (
        "import sys; from pathlib import Path; from mssgw import store; from tests.conftest import make_config\n"
        "store.migrate(make_config(Path(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, env=os.environ | {"MSSGW_CRASH_AT": point}, check=False)
    assert done.returncode == 137
    assert not mark(config).exists()
    store_package.migrate(config)
    require_own(config)
    assert mark(config).exists()
    assert not (config.node.data / "store.id.new").exists()


async def test_a_leftover_of_a_making_never_replaces_the_identity(made):
    (made.node.data / "store.id.new").write_text("another\n")
    before = mark(made).read_text()
    store_package.migrate(made, make=False)
    assert mark(made).read_text() == before


# -- sweep -----------------------------------------------------------------------------------------------


def aged(store):
    """All bodies as old as can be."""
    found = list(store.blobs.directory.glob("??/*"))
    for path in found:
        os.utime(path, (0, 0))
    return found


async def test_a_sweep_removes_no_body_while_there_is_no_content(store):
    """Regression: a store that had become an empty one removed all bodies of the lost one, and `check` said ok."""
    for number in range(3):
        await store.blobs.prepare(body_of(400_000 + number), DOMAIN)
    files = aged(store)
    assert dataclasses.astuple(await store.sweep()) == (0, 0, 0, 0, 3)
    assert all(path.exists() for path in files)
    assert (await store.sweep(force=True)).files == 3


async def test_a_sweep_removes_no_body_when_most_are_without_a_row(store):
    for number in range(3):
        prepared = await store.blobs.prepare(body_of(400_000 + number), DOMAIN)
        if number < 1:
            await store.write(lambda tx, prepared=prepared: blobs.add(tx, prepared))
    files = aged(store)
    swept = await store.sweep()
    assert (swept.files, swept.stayed) == (0, 2)
    assert all(path.exists() for path in files)


async def test_a_sweep_removes_all_bodies_that_were_deleted_here(store, clock):
    for number in range(3):
        prepared = await store.blobs.prepare(body_of(400_000 + number), DOMAIN)
        await store.write(lambda tx, prepared=prepared: blobs.add(tx, prepared))
    clock.advance(days=2)
    swept = await store.sweep()
    assert (swept.contents, swept.files, swept.stayed) == (3, 3, 0)
    assert list(bond.bodies_below(store.config.node.data)) == []


async def test_leftovers_of_writes_are_removed_whatever_else_lies_there(store):
    left = store.blobs.directory / "tmp" / "left"
    left.write_bytes(b"x")
    os.utime(left, (0, 0))
    assert (await store.sweep()).files == 1
