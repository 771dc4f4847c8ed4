"""`mssgw config check` as an administrator runs it: what stands outside the file counts as well."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from mssgw import store
from mssgw.core.config import load
from mssgw.demo.pki import Pki
from tests.cli.desk import mssgw
from tests.configurations import alpha


@pytest.fixture
def home(tmp_path: Path) -> Path:
    pki = Pki()
    pki.operator("mx.alpha.mssante.test", key="p256")  # the authorities are made with the first of theirs
    pki.write_anchors(tmp_path / "anchors")
    (tmp_path / "master.key").write_bytes(bytes(32))
    (tmp_path / "master.key").chmod(0o600)
    (tmp_path / "mssgw.toml").write_text(alpha())
    store.migrate(load(tmp_path / "mssgw.toml"))
    return tmp_path


def check(home: Path, more: str = "", *, node: str = "", status: int = 0) -> str:
    (home / "mssgw.toml").write_text(alpha(more, node=node, trust='pki = "private"'))
    done = mssgw("config", "check", home / "mssgw.toml")
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == status, said
    return said


def test_warnings_are_counted(home):
    assert "ok, 1 domain(s), 1 warning(s)" in check(home)
    assert "warning: no listener at all" in check(home)


def test_a_database_that_does_not_answer(home):
    with socket.socket() as taken:  # bound and not listening: nobody else can answer there
        taken.bind(("127.0.0.1", 0))
        address = f"postgresql://mail@127.0.0.1:{taken.getsockname()[1]}/mail"
        said = check(home, node=f'store = "{address}"', status=1)
        assert "node.store: the database does not answer" in said
        assert "start the database, or correct the address" in said
        dmp = f'[dmp]\nurl = "https://dmp.example/v2"\nanchors = "dmp.pem"\nstore = "{address}"\n'
        assert "dmp.store: the database does not answer" in check(home, dmp, status=1)


def test_a_file_that_is_no_database(home):
    (home / "data" / "store.db").write_bytes(b"not a database" * 100)
    assert "node.store: not a database" in check(home, status=1)


def test_a_store_that_is_not_made_yet_is_not_made_by_asking(home):
    shutil.rmtree(home / "data")
    (home / "data").mkdir(mode=0o700)
    assert "in a new installation `mssgw account add` makes it; else its disk is not mounted" in check(home, status=1)
    assert list((home / "data").iterdir()) == []


def test_a_store_of_the_dmp_that_lies_where_it_once_lay(home):
    """Relative paths of `[dmp] store` started at the file: a new, empty audit trail would have been begun."""
    dmp = '[dmp]\nurl = "https://dmp.example/v2"\nanchors = "dmp.pem"\nstore = "sqlite:dmp.db"\n'
    (home / "dmp.db").write_bytes(b"")
    said = check(home, dmp, status=1)
    assert f"dmp.store: the store lies at {home}/dmp.db and is looked for at {home}/data/dmp.db" in said
    assert f"mv {home}/dmp.db* {home}/data/" in said
    (home / "dmp.db").rename(home / "data" / "dmp.db")
    check(home, dmp)


def test_a_postmaster_without_an_account(home):
    """Regression: mail for postmaster went to whoever was the first administrator."""
    node = 'postmaster = "post@alpha.mssante.test"'
    done = mssgw("account", "add", "jeanne@alpha.mssante.test", "--no-password", "--config", home / "mssgw.toml")
    assert done.returncode == 0, done.stderr
    catch_all = 'catch_all = "all@alpha.mssante.test"'
    said = check(home, catch_all, node=node)
    for setting, address in (("node.postmaster", "post@alpha.mssante.test"), ("domain[0].catch_all", "all@alpha.mssante.test")):
        assert f"{setting}: there is no account {address}" in said
        assert f"mssgw account add {address}" in said
    done = mssgw("account", "add", "post@alpha.mssante.test", "--no-password", "--config", home / "mssgw.toml")
    assert "no account post@" not in check(home, node=node)


def test_a_configuration_that_everybody_can_write_is_warned_of(home):
    check(home)
    (home / "mssgw.toml").chmod(0o666)
    done = mssgw("config", "check", home / "mssgw.toml")
    assert f"chmod o-w {home}/mssgw.toml" in done.stderr.decode()
    assert "tout le monde peut y écrire" in done.stderr.decode()


def test_an_interrupted_restore_is_a_mistake(home):
    """Regression: ok, and the node did not start."""
    (home / "data" / ".restoring").mkdir()
    assert "a restore was interrupted; run `mssgw restore` again" in check(home, status=1)
    done = mssgw("queue", "list", "--config", home / "mssgw.toml")
    assert "a restore was interrupted; run `mssgw restore` again" in done.stderr.decode()
    assert "account add" not in done.stderr.decode()


def test_a_master_key_of_a_wrong_length_is_restored_and_not_made_anew(home):
    """Regression: "`mssgw seal new-key` makes a key" beside a store that is sealed."""
    (home / "mssgw.toml").write_text(alpha())
    done = mssgw("account", "add", "jeanne@alpha.mssante.test", "--no-password", "--config", home / "mssgw.toml")
    assert done.returncode == 0, done.stderr
    (home / "master.key").write_bytes(bytes(31))
    said = check(home, status=1)
    assert "expected 32 octets, found 31; this store is sealed: restore the key from its copy" in said
    assert "new-key" not in said
    assert said.count("seal.master_key") == 2  # French, English


def test_a_domain_with_accounts_that_is_not_in_the_file_is_named_with_their_number(home):
    """Regression: a mistyped name was taken silently, and mail for its accounts was returned."""
    (home / "mssgw.toml").write_text(alpha())
    for name in ("jeanne", "paul"):
        done = mssgw("account", "add", f"{name}@alpha.mssante.test", "--no-password", "--config", home / "mssgw.toml")
        assert done.returncode == 0, done.stderr
    assert "is not in the configuration" not in check(home)
    (home / "mssgw.toml").write_text(alpha(trust='pki = "private"').replace('name = "alpha.mssante.test"', 'name = "alhpa.mssante.test"'))
    done = mssgw("config", "check", home / "mssgw.toml")
    assert "alpha.mssante.test is not in the configuration and has 2 account(s)" in done.stderr.decode()


def test_a_disk_too_full_to_take_mail_is_warned_of(home):
    said = check(home, "[limits]\nfree_disk = 999_999_999_999_999\n")
    assert "less than limits.free_disk (953674316 MiB): mail is deferred until there is room" in said


def test_strict_counts_warnings(home):
    """Regression: an operator's certificate that all peers refuse went through `config check && reload`."""
    check(home)
    done = mssgw("config", "check", "--strict", home / "mssgw.toml")
    assert done.returncode == 1
    assert "1 warning(s), and --strict counts them" in done.stderr.decode()
    document = json.loads(mssgw("config", "check", "--strict", "--json", home / "mssgw.toml").stdout)
    assert not document["valid"]
    assert len(document["warnings"]) == 1


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://mssgw:TOPSECRET@db/mail", "postgresql://mssgw:***@db/mail"),
        ("postgresql://mssgw:TOP@SECRET@db/mail", "postgresql://mssgw:***@db/mail"),
        ("postgresql://mssgw@db/mail?sslmode=require&password=TOPSECRET", "postgresql://mssgw@db/mail?sslmode=require&password=***"),
        ("postgresql://mssgw@[::1]:5432/mail", "postgresql://mssgw@[::1]:5432/mail"),
    ],
)
@pytest.mark.parametrize("how", [(), ("--json",)])
def test_the_password_of_a_database_is_not_shown(home, address, shown, how):
    """Regression: `config show` printed it."""
    (home / "mssgw.toml").write_text(alpha(node=f'store = "{address}"'))
    said = mssgw("config", "show", home / "mssgw.toml", *how).stdout.decode()
    assert f'"{shown}"' in said
    assert "SECRET" not in said
