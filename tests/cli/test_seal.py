"""`mssgw seal rotate`: a new master key for all keys, bodies untouched, whatever happens meanwhile."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from dmp_connector.model.audit import AuditRecord
from mssgw import store as store_package
from mssgw.core.address import Domain
from mssgw.core.clock import SystemClock
from mssgw.core.config import load
from mssgw.core.errors import ConfigError, Deferred
from mssgw.dossier.setup import open_store
from mssgw.store import audit, keys
from tests.cli.desk import Node, mssgw
from tests.store.messages import DOMAIN

ROOT = Path(__file__).parents[2]
DMP = """
[dmp]
url = "https://dmp.test/si-dmp-server/v2/services"
anchors = "anchors"
"""


@pytest.fixture
def node(tmp_path):
    """A node with mail and DMP stores under its first key; the next key is made, nothing else done."""
    node = Node(tmp_path)
    node.config.write_text(node.config.read_text() + DMP)
    mssgw("seal", "new-key", tmp_path / "master.key")
    mssgw("seal", "new-key", tmp_path / "next.key")
    node("account", "add", f"alice@{DOMAIN}", "--no-password")
    make_key(node, DOMAIN)
    open_store(load(node.config), node.config).close()
    return node


def make_key(node, domain):
    async def work():
        store = await store_package.open(load(node.config), SystemClock(), worker="test")
        try:
            await store.write(lambda tx: keys.ensure(tx, domain))
        finally:
            await store.close()

    asyncio.run(work())


def settings(node, master, former=None):
    """Write into the configuration which keys there are."""
    lines = [line for line in node.config.read_text().splitlines() if not line.startswith(("master_key", "former_key"))]
    at = lines.index("[seal]") + 1
    lines[at:at] = [f'master_key = "file:{master}"', *([f'former_key = "file:{former}"'] if former else [])]
    node.config.write_text("\n".join(lines))


def opens(node):
    """Whether both stores open, and mail can be read."""
    node("check")
    open_store(load(node.config), node.config).close()


def wrapped(tmp_path):
    with sqlite3.connect(tmp_path / "data" / "store.db") as connection:
        found = dict(connection.execute("SELECT domain, wrapped FROM domain_key"))
    connection.close()
    return found


def acts(node):
    async def work():
        store = await store_package.open(load(node.config), SystemClock(), worker="test")
        try:
            return [(one.what, one.outcome, one.facts) for one in await store.read(lambda rx: audit.find(rx)) if one.what == "seal"]
        finally:
            await store.close()

    return asyncio.run(work())


def test_a_change_of_keys_from_begin_to_end(node, tmp_path):
    before = wrapped(tmp_path)
    settings(node, "next.key", "master.key")
    opens(node)  # both keys, before anything is rotated
    assert "2 key(s), one for each domain and that of the store itself, are now under the new master key" in node("seal", "rotate")
    after = wrapped(tmp_path)
    assert before.keys() == after.keys()
    assert all(after[domain] != before[domain] for domain in before)
    assert "already" in node("seal", "rotate")
    assert "remove former_key" in node("seal", "rotate", "--retire")
    settings(node, "next.key")
    opens(node)
    assert acts(node) == [("seal", "rotated", {"keys": 2}), ("seal", "retired", {"keys": 2})]
    settings(node, "master.key")
    assert "not the key that seals this store" in node("check", status=1)


def test_rotate_is_refused_without_the_former_key(node):
    assert "former_key is not set" in node("seal", "rotate", status=1)
    settings(node, "next.key")
    assert "former_key is not set" in node("seal", "rotate", status=1)


@pytest.mark.parametrize("octets", [None, b"short", bytes(32)], ids=["missing", "short", "another"])
def test_a_wrong_former_key_is_named_and_nothing_is_changed(node, tmp_path, octets):
    before = wrapped(tmp_path)
    settings(node, "next.key", "wrong.key")
    if octets is not None:
        (tmp_path / "wrong.key").write_bytes(octets)
        (tmp_path / "wrong.key").chmod(0o600)
    said = node("seal", "rotate", status=1)
    assert ("seal.master_key" if octets == bytes(32) else "seal.former_key") in said
    assert wrapped(tmp_path) == before


def test_retire_is_refused_before_all_is_rotated(node):
    settings(node, "next.key", "master.key")
    said = node("seal", "rotate", "--retire", status=1)
    assert "2 key(s) still lie under it (the store itself, alpha.mssante.test)" in said
    assert acts(node) == []


@pytest.mark.parametrize("point", ["seal.rewrapped:1", "seal.rewrapped:2", "seal.mail_done"])
def test_killed_at_any_point_it_is_done_again(node, tmp_path, point):
    settings(node, "next.key", "master.key")
    copy = wrapped(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "mssgw", "seal", "rotate", "--config", str(node.config)],
        cwd=ROOT,
        env=os.environ | {"MSSGW_CRASH_AT": point},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 137, done.stderr
    if point != "seal.mail_done":
        assert wrapped(tmp_path) == copy  # all or nothing
    opens(node)
    node("seal", "rotate")
    node("seal", "rotate", "--retire")
    settings(node, "next.key")
    opens(node)


def test_what_a_dmp_store_holds_stays_readable(node):
    from tests.conftest import START

    store = open_store(load(node.config), node.config)
    store.record(AuditRecord(START, "who", "structure", "", "patient^^^&1.2&ISO^NH", "normal", "TD2.1", "ok"))
    store.close()
    settings(node, "next.key", "master.key")
    node("seal", "rotate")
    settings(node, "next.key")
    store = open_store(load(node.config), node.config)
    try:
        assert [record.what for record in store.audit()] == ["TD2.1"]
    finally:
        store.close()


async def _key_of_a_new_domain(store, domain):
    await store.write(lambda tx: keys.ensure(tx, Domain(domain)))


def test_a_running_process_goes_on_and_never_makes_a_key_that_nobody_opens(node, tmp_path):
    """It holds the old key alone: what it has opened still opens; a new domain waits for its reload."""
    old = load(node.config)
    settings(node, "next.key", "master.key")

    async def work():
        store = await store_package.open(old, SystemClock(), worker="running")
        try:
            await _key_of_a_new_domain(store, "before.test")
            await asyncio.to_thread(node, "seal", "rotate")
            with pytest.raises(Deferred, match="reload"):
                await _key_of_a_new_domain(store, "after.test")
            assert await store.check() == []
            with pytest.raises(ConfigError):
                await store.keys_of(old)
            store.take_keys(await store.keys_of(load(node.config)))
            await _key_of_a_new_domain(store, "after.test")
        finally:
            await store.close()

    asyncio.run(work())
    node("seal", "rotate", "--retire")
    settings(node, "next.key")
    opens(node)
    assert set(wrapped(tmp_path)) == {"", DOMAIN, "before.test", "after.test"}


def test_a_backup_holds_neither_key(node, tmp_path):
    settings(node, "next.key", "master.key")
    (tmp_path / "anchors" / "by-mistake").write_bytes((tmp_path / "master.key").read_bytes())
    mssgw("backup", tmp_path / "backups", "--config", node.config)
    secrets = {(tmp_path / name).read_bytes() for name in ("master.key", "next.key")}
    files = [path for path in (tmp_path / "backups").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if path.read_bytes() in secrets]


def test_a_backup_of_before_is_restored_with_the_key_of_its_time(node, tmp_path):
    mssgw("backup", tmp_path / "backups", "--config", node.config)
    settings(node, "next.key", "master.key")
    node("seal", "rotate")
    settings(node, "next.key")
    shutil.rmtree(tmp_path / "data")
    done = mssgw("restore", tmp_path / "backups", "--config", node.config)
    assert done.returncode == 1
    assert b"not that of this backup" in done.stderr
    settings(node, "next.key", "master.key")
    assert mssgw("restore", tmp_path / "backups", "--config", node.config).returncode == 0
    opens(node)
