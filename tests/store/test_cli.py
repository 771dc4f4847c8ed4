"""The verbs of the store, as people run them."""

import os
import stat

import pytest

from mssgw import store as store_package
from mssgw.core.clock import SystemClock
from mssgw.core.config import credentials, load
from mssgw.core.errors import ConfigError
from mssgw.store.answer import require_answer, require_own


def test_master_key_is_private_and_never_overwritten(node, tmp_path, monkeypatch):
    key = tmp_path / "master.key"
    key.unlink()
    assert 'master_key = "file:' in node("seal", "new-key", "master.key")
    before = key.read_bytes()
    assert len(before) == 32
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    assert "never overwritten" in node("seal", "new-key", "master.key", status=1)
    monkeypatch.setattr(credentials, "STORE", tmp_path)
    said = node("seal", "new-key", str(tmp_path / "next.key"))
    assert 'master_key = "credential:next.key"' in said
    assert f"LoadCredential=next.key:{tmp_path}/next.key" in said
    assert key.read_bytes() == before


def test_life_of_an_account(node):
    node("account", "add", "alice@alpha.mssante.test", "--name", "Dr Alice Test", "--admin", "--password-stdin", given="correct horse\n")
    node("account", "add", "cabinet@alpha.mssante.test", "--kind", "ORG", "--no-password")
    assert "already in use" in node("account", "add", "ALICE@alpha.mssante.test", "--no-password", status=1)
    assert "does not live here" in node("account", "add", "x@elsewhere.test", "--no-password", status=1)
    node("account", "suspend", "alice@alpha.mssante.test")
    listed = {one["address"]: one for one in node("account", "list", "--json")}
    assert listed["alice@alpha.mssante.test"]["status"] == "SUSPENDED"
    assert listed["alice@alpha.mssante.test"]["role"] == "ADMIN"
    assert listed["cabinet@alpha.mssante.test"]["password"] is False
    node("account", "resume", "alice@alpha.mssante.test")
    node("account", "passwd", "alice@alpha.mssante.test", "--password-stdin", given="another horse\n")
    assert "active" in node("account", "list")


def test_members_of_an_organisation(node):
    node("account", "add", "alice@alpha.mssante.test", "--no-password")
    node("account", "add", "cabinet@alpha.mssante.test", "--kind", "ORG", "--no-password")
    node("account", "members", "add", "cabinet@alpha.mssante.test", "alice@alpha.mssante.test")
    assert "alice@" in node("account", "members", "list", "cabinet@alpha.mssante.test")
    node("account", "members", "remove", "cabinet@alpha.mssante.test", "alice@alpha.mssante.test")
    assert "Aucun membre\nNo members" in node("account", "members", "list", "cabinet@alpha.mssante.test")


def test_folders(node):
    node("account", "add", "alice@alpha.mssante.test", "--no-password")
    node("mailbox", "create", "alice@alpha.mssante.test", "Patients/2026")
    node("mailbox", "rename", "alice@alpha.mssante.test", "Patients", "Dossiers")
    names = [box["name"] for box in node("mailbox", "list", "alice@alpha.mssante.test", "--json")]
    assert "Dossiers/2026" in names
    node("mailbox", "delete", "alice@alpha.mssante.test", "Dossiers/2026", "--yes")
    assert "Dossiers/2026" not in node("mailbox", "list", "alice@alpha.mssante.test")


def test_check_prints_ok_or_what_is_wrong(node, tmp_path):
    node("account", "add", "alice@alpha.mssante.test", "--no-password")
    assert node("check", "--sweep", "--json") == {
        "problems": [],
        "swept": {"contents": 0, "files": 0, "octets": 0, "messages": 0, "stayed": 0},
    }
    import sqlite3

    with sqlite3.connect(tmp_path / "data" / "store.db") as connection:
        connection.execute("UPDATE mailbox SET messages = 5 WHERE name = 'INBOX'")
    connection.close()
    assert "messages is 5, counted 0" in node("check", status=1)


def test_a_wrong_master_key_is_an_error(node, tmp_path):
    node("account", "add", "alice@alpha.mssante.test", "--no-password")
    (tmp_path / "master.key").write_bytes(bytes(32))
    assert "not the key that seals this store" in node("account", "list", status=1)


def test_a_wrong_master_key_is_found_before_the_node_starts(node, tmp_path):
    """Regression: `config check` called it ok, and each worker died in a traceback."""
    node("account", "add", "alice@alpha.mssante.test", "--no-password")
    config = load(tmp_path / "mssgw.toml")
    require_answer(config)
    require_own(config)
    (tmp_path / "master.key").write_bytes(bytes(32))
    for check in (require_answer, require_own):
        with pytest.raises(ConfigError) as refused:
            check(config)
        assert [path for path, _ in refused.value.problems] == ["seal.master_key"]


READS = [
    ("check",),
    ("check", "--shallow"),
    ("account", "list"),
    ("account", "suspend", "alice@alpha.mssante.test"),
    ("queue", "list"),
    ("queue", "retry", "--all"),
    ("trace", "alice@alpha.mssante.test"),
    ("mailbox", "list", "alice@alpha.mssante.test"),
]


@pytest.mark.parametrize("verb", READS, ids=" ".join)
@pytest.mark.parametrize("lost", ["never made", "deleted", "emptied", "without tables"])
def test_a_lost_store_is_an_error_and_never_made_anew(node, tmp_path, verb, lost):
    """Regression: `mssgw check` created an empty store in place of a deleted one and called it ok."""
    database = tmp_path / "data" / "store.db"
    if lost != "never made":
        node("account", "add", "alice@alpha.mssante.test", "--no-password")
        for file in database.parent.glob("store.db*"):
            file.unlink()
    if lost == "emptied":
        database.touch()
    if lost == "without tables":
        import sqlite3

        with sqlite3.connect(database) as connection:
            connection.execute("CREATE TABLE foreigner (id INTEGER)")
        connection.close()
    before = database.read_bytes() if database.exists() else None
    said = node(*verb, status=1)
    assert f"no store at {database}" in said
    assert "restore it from its copy" in said
    assert node.called.stdout == b""
    assert (database.read_bytes() if database.exists() else None) == before if lost != "without tables" else True


def test_check_does_not_migrate(node, tmp_path):
    import sqlite3

    node("account", "add", "alice@alpha.mssante.test", "--no-password")
    with sqlite3.connect(tmp_path / "data" / "store.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "written by a newer mssgw (schema 9999)" in node("check", status=1)


def test_a_lost_key_of_a_store_in_use_comes_back_from_its_copy(node, tmp_path):
    """Regression: the error advised to make a new key, which doesn't open the mail."""
    node("account", "add", "alice@alpha.mssante.test", "--no-password")
    key = tmp_path / "master.key"
    key.write_bytes(bytes(10))
    short = node("account", "list", status=1)
    key.unlink()
    gone = node("check", status=1)
    assert "expected 32 octets, found 10" in short
    assert "there is no such file" in gone
    for said in (short, gone):
        assert "restore the key from its copy" in said
        assert "new-key" not in said


def test_a_missing_key_of_a_new_store_is_made(node, tmp_path):
    (tmp_path / "master.key").unlink()
    assert "in a new installation `mssgw seal new-key` makes one" in node(
        "account", "add", "alice@alpha.mssante.test", "--no-password", status=1
    )


@pytest.mark.parametrize(
    ("mode", "why"), [(0o644, "everybody can read or change it"), (0o660, "can change it"), (0o640, None), (0o600, None), (0o400, None)]
)
def test_a_master_key_others_can_read_is_warned_of(node, tmp_path, monkeypatch, mode, why):
    """Regression: 0640 root:mssgw, which the documents ask for, was warned of, and obeying locked the service out."""
    monkeypatch.setattr("mssgw.cli.judgement.require_ready", lambda config: None)  # there are no anchors here
    node("account", "add", "alice@alpha.mssante.test", "--no-password")
    (tmp_path / "master.key").chmod(mode)
    assert "ok, 1 domain(s)" in node("config", "check", "mssgw.toml")
    warned = [line for line in node.called.stderr.decode().splitlines() if "seal.master_key" in line]
    if why is None:
        assert warned == []
    else:
        assert f"mode {mode:04o}" in warned[-1]
        assert why in warned[-1]
        assert f"chmod 640 {tmp_path}/master.key" in warned[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_master_key_of_a_group_that_is_not_the_service_s(node, tmp_path, monkeypatch):
    monkeypatch.setattr("mssgw.cli.judgement.require_ready", lambda config: None)
    node("account", "add", "alice@alpha.mssante.test", "--no-password")
    (tmp_path / "master.key").chmod(0o640)
    os.chown(tmp_path / "master.key", 0, 12)
    node("config", "check", "mssgw.toml")
    assert "which is not that of the service; chown root:root" in node.called.stderr.decode()
    os.chown(tmp_path / "master.key", 12, 0)
    (tmp_path / "master.key").chmod(0o600)
    node("config", "check", "mssgw.toml")
    assert "who is neither root nor the service; chown root:root" in node.called.stderr.decode()


def test_an_error_carries_no_smtp_code(node):
    node("account", "add", "alice@alpha.mssante.test", "--no-password")
    assert node("queue", "show", "NONE", status=1).endswith("mssgw: No such message in the queue (trace NONE)\n")


def test_a_file_that_is_not_there_is_named_once(node):
    node.config = "/nonexistent"
    for verb in (("check",), ("config", "check", "/nonexistent"), ("config", "show", "/nonexistent")):
        assert node(*verb, status=1) == "/nonexistent\N{NO-BREAK SPACE}: ce fichier n'existe pas\n/nonexistent: there is no such file\n"


def test_members_of_an_address_lists_them(node):
    node("account", "add", "alice@alpha.mssante.test", "--no-password")
    node("account", "add", "cabinet@alpha.mssante.test", "--kind", "ORG", "--no-password")
    node("account", "members", "add", "cabinet@alpha.mssante.test", "alice@alpha.mssante.test")
    assert node("account", "members", "cabinet@alpha.mssante.test") == "alice@alpha.mssante.test\n"


def test_config_show_prints_toml_not_python(node):
    shown = node("config", "show", "mssgw.toml").splitlines()
    assert 'node.hostname = "mx.alpha.mssante.test"' in shown
    assert "trust.expiry_days = [60, 30, 7]" in shown
    assert 'domain[0].name = "alpha.mssante.test"' in shown
    assert not [line for line in shown if "'" in line or "None" in line or "True" in line]


def test_a_bad_address_is_a_usage_error(node):
    assert "no @" in node("account", "suspend", "alice", status=2)


async def test_what_the_command_line_made_is_what_a_worker_sees(node, tmp_path):
    from mssgw.core.config import load

    assert store_package.accounts
    config = load(tmp_path / "mssgw.toml")
    store_package.migrate(config)
    opened = await store_package.open(config, SystemClock(), worker="w")
    assert await opened.check() == []
    await opened.close()
