"""Fixtures that every area uses: the store on both engines, its configuration, a clock that only the test moves.

A test that takes `store` runs twice, on SQLite and on PostgreSQL, and ends with `store.check`. PostgreSQL is a temporary
cluster of Debian's package, one for each process of the run, with one database that is emptied after each test.
`sqlite_store` is for tests that don't look at the engine. `tests/needs.py` has what a test needs of the machine, and
`tests/groups.py` what runs together.
"""

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mssgw import store as store_package
from mssgw.core.config import Config, parse
from tests import fuzz, groups, needs, postgres
from tests.cli.desk import Node
from tests.configurations import alpha

fuzz.load_profile()

ENGINES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.peer(str(postgres.INITDB))))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(needs)
    config.pluginmanager.register(groups)


START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


class TestClock:
    """Time stands still until the test moves it; whoever sleeps wakes when it passes their time."""

    __test__ = False

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._order = itertools.count()
        self.changed = asyncio.Event()  # set when somebody begins to sleep; whoever waits for that clears it
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float = 0, **delta: float) -> None:
        self._now += timedelta(seconds=seconds, **delta)
        due = sorted(sleeper for sleeper in self._sleepers if sleeper[0] <= self._now)
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self._now]
        for _, _, future in due:
            if not future.done():
                future.set_result(None)

    def step(self, **delta: float) -> None:
        """The clock is set, to the past or the future: who sleeps has as long to sleep as before."""
        by = timedelta(**delta)
        self._now += by
        self._sleepers = [(until + by, order, future) for until, order, future in self._sleepers]

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + timedelta(seconds=seconds), next(self._order), future))
        self.changed.set()
        await future

    def asleep(self) -> list[datetime]:
        """When those who sleep now will wake, in order."""
        return sorted(until for until, _, future in self._sleepers if not future.done())


@pytest.fixture(autouse=True)
def _usual_umask() -> None:
    """Each test begins with the mask of a shell: a verb that runs in this process takes a stricter one for good."""
    os.umask(0o022)


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture(scope="session")
@needs.peer(str(postgres.INITDB))
def pg() -> Iterator[postgres.Cluster]:
    """The PostgreSQL cluster of this process of the run."""
    with postgres.cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def _pg_migrated(pg: postgres.Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated database, empty before each test."""
    name = pg.create()
    store_package.migrate(make_config(tmp_path_factory.mktemp("pg-migrated"), pg.url(name)))
    pg.empty(name, keep="alembic_version")
    return name


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("sqlite-template")
    store_package.migrate(make_config(base))
    return base / "data" / "store.db"


def make_config(base: Path, store: str = "sqlite:store.db", more: str = "") -> Config:
    """A configuration whose data lies below `base`; `more` is TOML to add."""
    key = base / "master.key"
    if not key.exists():
        key.write_bytes(bytes(range(32)))
        key.chmod(0o600)
    (base / "anchors").mkdir(exist_ok=True)
    return parse(alpha(more, node=f'store = "{store}"'), base)


@pytest.fixture
def sqlite_config(tmp_path: Path, _sqlite_template: Path) -> Config:
    """A migrated, empty SQLite store."""
    config = make_config(tmp_path)
    config.node.data.mkdir(mode=0o700)
    for name in ("store.db", "store.id"):
        shutil.copy(_sqlite_template.with_name(name), config.node.data / name)
    return config


@pytest.fixture(params=ENGINES)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Config]:
    """A configuration with a migrated, empty store, on each engine."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_config")
        return
    cluster: postgres.Cluster = request.getfixturevalue("pg")
    name = request.getfixturevalue("_pg_migrated")
    found = make_config(tmp_path, cluster.url(name))
    store_package.migrate(found)  # the identity that it shares with its data directory
    yield found
    cluster.empty(name, keep="alembic_version")


@pytest.fixture
async def store(config: Config, clock: TestClock) -> AsyncIterator[store_package.Store]:
    """An open store, on each engine. Checked when the test ends."""
    opened = await store_package.open(config, clock, worker="test")
    yield opened
    await _check_and_close(opened)


@pytest.fixture
async def sqlite_store(sqlite_config: Config, clock: TestClock) -> AsyncIterator[store_package.Store]:
    """An open store on SQLite only. Checked when the test ends."""
    opened = await store_package.open(sqlite_config, clock, worker="test")
    yield opened
    await _check_and_close(opened)


@pytest.fixture
async def open_again(config: Config, clock: TestClock) -> AsyncIterator[Callable[..., object]]:
    """Open the test's store once more, as another worker would: `await open_again("w2")`."""
    opened: list[store_package.Store] = []

    async def again(worker: str = "another") -> store_package.Store:
        opened.append(await store_package.open(config, clock, worker=worker))
        return opened[-1]

    yield again
    for one in opened:
        await one.close()


async def _check_and_close(opened: store_package.Store) -> None:
    try:
        problems = await opened.check()
    finally:
        await opened.close()
    assert not problems, "\n".join(map(str, problems))


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A directory as an administrator has it, where the verbs are run."""
    monkeypatch.chdir(tmp_path)
    return Node(tmp_path)
