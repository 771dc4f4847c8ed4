"""The verbs of the store, as people run them."""

import json
import os
import stat

import pytest
from typer.testing import CliRunner

from mssgw import store as store_package
from mssgw.cli import app
from mssgw.core.clock import SystemClock

TOML = """
[node]
hostname = "mx.alpha.mssante.test"
data = "data"
[seal]
master_key = "file:master.key"
[trust]
anchors = "anchors"
[[domain]]
name = "alpha.mssante.test"
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mssgw.toml").write_text(TOML)
    (tmp_path / "anchors").mkdir()
    runner = CliRunner()

    def call(*arguments, status=0, stdin=None):
        config = () if arguments[0] == "seal" else ("--config", "mssgw.toml")
        result = runner.invoke(app, [*arguments, *config], input=stdin)
        assert result.exit_code == status, (result.output, result.exception)
        return result.output

    call("seal", "new-key", "master.key")
    return call


def test_master_key_is_private_and_never_overwritten(run, tmp_path):
    key = tmp_path / "master.key"
    before = key.read_bytes()
    assert len(before) == 32
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    assert "never overwritten" in run("seal", "new-key", "master.key", status=1)
    assert key.read_bytes() == before


def test_life_of_an_account(run):
    run("account", "add", "alice@alpha.mssante.test", "--name", "Dr Alice Test", "--admin", "--password-stdin", stdin="correct horse\n")
    run("account", "add", "cabinet@alpha.mssante.test", "--kind", "ORG", "--no-password")
    assert "already in use" in str(_refused(run, "account", "add", "ALICE@alpha.mssante.test", "--no-password"))
    assert "does not live here" in run("account", "add", "x@elsewhere.test", "--no-password", status=1)
    run("account", "suspend", "alice@alpha.mssante.test")
    listed = {one["address"]: one for one in json.loads(run("account", "list", "--json"))}
    assert listed["alice@alpha.mssante.test"]["status"] == "SUSPENDED"
    assert listed["alice@alpha.mssante.test"]["role"] == "ADMIN"
    assert listed["cabinet@alpha.mssante.test"]["password"] is False
    run("account", "resume", "alice@alpha.mssante.test")
    run("account", "passwd", "alice@alpha.mssante.test", "--password-stdin", stdin="another horse\n")
    assert "active" in run("account", "list")


def test_members_of_an_organisation(run):
    run("account", "add", "alice@alpha.mssante.test", "--no-password")
    run("account", "add", "cabinet@alpha.mssante.test", "--kind", "ORG", "--no-password")
    run("account", "members", "add", "cabinet@alpha.mssante.test", "alice@alpha.mssante.test")
    assert "alice@" in run("account", "members", "list", "cabinet@alpha.mssante.test")
    run("account", "members", "remove", "cabinet@alpha.mssante.test", "alice@alpha.mssante.test")
    assert "no members" in run("account", "members", "list", "cabinet@alpha.mssante.test")


def test_folders(run):
    run("account", "add", "alice@alpha.mssante.test", "--no-password")
    run("mailbox", "create", "alice@alpha.mssante.test", "Patients/2026")
    run("mailbox", "rename", "alice@alpha.mssante.test", "Patients", "Dossiers")
    names = [box["name"] for box in json.loads(run("mailbox", "list", "alice@alpha.mssante.test", "--json"))]
    assert "Dossiers/2026" in names
    run("mailbox", "delete", "alice@alpha.mssante.test", "Dossiers/2026", "--yes")
    assert "Dossiers/2026" not in run("mailbox", "list", "alice@alpha.mssante.test")


def test_check_says_ok_and_what_is_wrong(run, tmp_path):
    run("account", "add", "alice@alpha.mssante.test", "--no-password")
    assert json.loads(run("check", "--sweep", "--json")) == {
        "problems": [], "swept": {"contents": 0, "files": 0, "octets": 0, "messages": 0}}
    import sqlite3

    with sqlite3.connect(tmp_path / "data" / "store.db") as connection:
        connection.execute("UPDATE mailbox SET messages = 5 WHERE name = 'INBOX'")
    connection.close()
    assert "messages is 5, counted 0" in run("check", status=1)


def test_wrong_master_key_is_said(run, tmp_path):
    run("account", "add", "alice@alpha.mssante.test", "--no-password")
    (tmp_path / "master.key").write_bytes(bytes(32))
    assert "not the key that seals this store" in str(_refused(run, "account", "list"))


def test_a_bad_address_is_a_usage_error(run):
    assert "no @" in run("account", "suspend", "alice", status=2)


def _refused(run, *arguments):
    """The error that `main` would print."""
    with pytest.raises(AssertionError) as caught:
        run(*arguments)
    return caught.value


async def test_what_the_command_line_made_is_what_a_worker_sees(run, tmp_path):
    from mssgw.core.config import load

    assert store_package.accounts
    config = load(tmp_path / "mssgw.toml")
    store_package.migrate(config)
    opened = await store_package.open(config, SystemClock(), worker="w")
    assert await opened.check() == []
    await opened.close()
