"""Verbs of root on a node whose data is another user's: they work, and leave nothing of root behind.

In processes of their own, because a verb gives root away for good.
"""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mssgw.core import owner
from mssgw.core.errors import ConfigError
from mssgw.demo.pki import Pki
from tests.configurations import alpha
from tests.users import in_reach, open_directory

pytestmark = pytest.mark.slow

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
WHO = "alice@alpha.mssante.test"
NOBODY = 65534


@pytest.fixture
def node() -> Iterator[Path]:
    """A production node: root's configuration and credential, the service's data."""
    with open_directory() as base:
        given = base / "credentials"
        given.mkdir(mode=0o700)
        (given / "master.key").write_bytes(bytes(range(32)))
        (given / "master.key").chmod(0o400)
        (base / "anchors").mkdir(mode=0o755)
        config = base / "mssgw.toml"
        config.write_text(alpha().replace("file:master.key", "credential:master.key"))
        config.chmod(0o644)
        (base / "data").mkdir(mode=0o700)
        yield base


def verb(node: Path, *arguments: str, status: int = 0, user: int = 0) -> str:
    return run(node, [*arguments, "--config", str(node / "mssgw.toml")], status=status, user=user)


def run_after(node: Path, statements: str, arguments: list[str]) -> str:
    """A verb that fails, on a machine that these statements have prepared: credentials lie elsewhere."""
    given = [str(node / "mssgw.toml")] if arguments[0] == "config" else ["--config", str(node / "mssgw.toml")]
    return run(node, [*arguments, *given], status=1, before=statements)


def run(node: Path, arguments: list[str], *, status: int = 0, user: int = 0, before: str = "") -> str:
    environment = os.environ | {"CREDENTIALS_DIRECTORY": str(node / "credentials"), "PYTHONDONTWRITEBYTECODE": "1"}
    script = (
        f"import os, sys; os.setuid({user}); sys.path.insert(0, {os.getcwd()!r}); {before}from mssgw.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [*in_reach(node / "scratch"), sys.executable, "-c", script, *arguments],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def owners(directory: Path) -> set[int]:
    return {path.lstat().st_uid for path in [directory, *directory.rglob("*")]}


@ROOT
def test_verbs_of_root_leave_nothing_of_root(node):
    """Regression: `account add` before the first start left files of root, and the service died of them."""
    os.chown(node / "data", NOBODY, NOBODY)
    assert "added" in verb(node, "account", "add", WHO, "--no-password")
    for arguments in (["account", "list"], ["check"], ["queue", "list"], ["mailbox", "list", WHO], ["trace", WHO]):
        verb(node, *arguments)
    verb(node, "trust", "override", "--reason", "a test")
    assert {path.name for path in (node / "data").iterdir()} >= {"store.db", "trust"}
    assert owners(node / "data") == {NOBODY}


@ROOT
def test_the_store_of_the_dmp_belongs_to_the_service(node):
    os.chown(node / "data", NOBODY, NOBODY)
    with (node / "mssgw.toml").open("a") as config:
        config.write('[dmp]\nurl = "https://dmp.example/v2"\nanchors = "dmp.pem"\n')
    verb(node, "dmp", "store")
    assert (node / "data" / "dmp.db").exists()
    assert owners(node / "data") == {NOBODY}


@ROOT
def test_a_node_started_as_root_on_data_of_the_service_is_refused(node):
    os.chown(node / "data", NOBODY, NOBODY)
    assert "and this runs as root; start it as nobody" in verb(node, "serve", status=1)
    assert list((node / "data").iterdir()) == []


@ROOT
def test_a_demo_of_root_in_a_directory_of_another_user_leaves_nothing_of_root(node):
    (node / "demo").mkdir()
    os.chown(node / "demo", NOBODY, NOBODY)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        arguments = ["demo", "--dir", str(node / "demo"), "--port-base", str(taken.getsockname()[1])]
        assert str(taken.getsockname()[1]) in run(node, arguments, status=1)
    assert (node / "demo" / "lock").exists()
    assert owners(node / "demo") == {NOBODY}


@ROOT
def test_a_third_user_is_refused(node):
    os.chown(node / "data", NOBODY, NOBODY)
    (node / "data").chmod(0o755)
    said = verb(node, "account", "list", status=1, user=12345)
    assert f"belongs to {pwd.getpwuid(NOBODY).pw_name}; run this as root or as" in said
    assert not list((node / "data").iterdir())


@ROOT
def test_a_file_of_root_in_the_data_is_named_with_what_to_do(node):
    os.chown(node / "data", NOBODY, NOBODY)
    (node / "data" / "trust").mkdir()
    (found,) = _as(NOBODY, node / "data")
    assert f"{node}/data/trust; chown -R" in found


@ROOT
def test_a_service_that_finds_a_file_of_root_ends_in_a_sentence(node):
    """Regression: it ended in a traceback."""
    (node / "data" / "store.db").write_bytes(b"")
    os.chown(node / "data", NOBODY, NOBODY)
    said = verb(node, "serve", status=1, user=NOBODY)
    assert f"not of nobody, who keeps the data: {node}/data/store.db; chown -R nobody:nogroup {node}/data" in said
    assert "Traceback" not in said
    assert "ne sont pas à nobody, qui garde les données" in said  # Regression: `serve` spoke English alone


@ROOT
def test_the_lost_and_found_of_a_disk_of_its_own_is_no_file_of_somebody_else(node):
    """Regression: a disk mounted as the data directory was refused because ext4 has a directory of root there."""
    (node / "data" / "lost+found").mkdir(mode=0o700)
    os.chown(node / "data", NOBODY, NOBODY)
    assert _as(NOBODY, node / "data") == []
    verb(node, "account", "add", WHO, "--no-password")
    assert "node.data" not in run(node, ["config", "check", str(node / "mssgw.toml")], status=1)  # there are no anchors


@ROOT
@pytest.mark.parametrize("what", ["blobs/ab", "blobs/ab/body"])
def test_bodies_of_root_are_named(node, what):
    """Regression: the directories of bodies were not looked into, and the node deferred or lost sight of mail."""
    (node / "data" / "blobs" / "ab").mkdir(parents=True)
    (node / "data" / "blobs" / "ab" / "body").write_bytes(b"")
    for path in (node / "data", *(node / "data").rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.chown(node / "data" / what, 0, 0)
    (found,) = _as(NOBODY, node / "data")
    assert f"{node}/data/{what}; chown -R" in found


@ROOT
def test_a_directory_of_root_in_the_data_is_a_mistake_among_others(node):
    """Regression: a bare "no permission", without the file, and nothing else was checked."""
    (node / "data" / "trust" / "crl").mkdir(parents=True, mode=0o700)
    (node / "data" / "trust").chmod(0o700)
    os.chown(node / "data", NOBODY, NOBODY)
    said = run(node, ["config", "check", str(node / "mssgw.toml")], status=1)
    assert f"node.data: not of nobody, who keeps the data: {node}/data/trust; chown -R" in said
    assert "Traceback" not in said


_UNIT = "from mssgw.core import unit; unit.user = lambda: 'nobody'; "


@ROOT
def test_data_that_the_service_can_not_make_is_a_mistake_also_for_root(node):
    """Regression: "the first start makes it", status 0, and the service did not start."""
    (node / "srv").mkdir(mode=0o755)
    (node / "mssgw.toml").write_text(alpha().replace("file:master.key", "credential:master.key").replace('"data"', '"srv/mail"'))
    said = run_after(node, _UNIT, ["config", "check"])
    assert f"{node}/srv/mail is not there, and nobody can't make it in {node}/srv; as root: install -d -m 0700 -o nobody" in said


@ROOT
def test_data_where_the_unit_lets_nobody_write_is_a_mistake(node):
    os.chown(node / "data", NOBODY, NOBODY)
    said = run_after(node, f"{_UNIT}unit.runs = unit.closes = lambda path: True; ", ["config", "check"])
    assert f"the service may not write in {node}/data" in said
    assert f"[Service] ReadWritePaths={node}/data" in said


@ROOT
def test_a_key_in_the_store_of_credentials_is_named_as_a_credential(node):
    """Regression: the advice was to open /etc/credstore for the service's group, and it came twice."""
    os.chown(node / "data", NOBODY, NOBODY)
    (node / "mssgw.toml").write_text(alpha().replace("file:master.key", f"file:{node}/credentials/master.key"))
    verb(node, "account", "add", WHO, "--no-password")
    script = f"from mssgw.core.config import credentials; credentials._STORES = ({str(node / 'credentials').lstrip('/')!r},); "
    said = run_after(node, script, ["config", "check"])
    assert 'name this key "credential:master.key" in the configuration' in said
    assert said.count("seal.master_key") == 2  # French, English
    assert "chgrp" not in said


@ROOT
def test_a_service_of_another_user_is_named(node):
    os.chown(node / "data", 12345, 12345)
    (found,) = _as(NOBODY, node / "data")
    assert found.startswith(f"{node}/data belongs to 12345, and this runs as ")


def _as(uid: int, directory: Path) -> list[str]:
    os.seteuid(uid)
    try:
        return list(map(str, owner.problems(directory)))
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("file/below", "is no directory"),
        ("file", "is no directory"),
        ("/proc/mssgw", "file system of the kernel"),
        ("new/and/deep", None),
        (".", None),
    ],
)
def test_a_place_for_data(tmp_path, place, why):
    """Regression: `config check` accepted a data directory that nobody can make."""
    (tmp_path / "file").write_bytes(b"")
    found = list(map(str, owner.problems(tmp_path / place)))
    assert [why in sentence for sentence in found] == ([True] if why else [])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("place", ["/", "/etc"])
def test_a_directory_of_the_system_is_no_place_for_data(place):
    """Regression: the advice was `chown -R root:root /`."""
    (found,) = map(str, owner.problems(Path(place)))
    assert "directory of the system" in found
    assert "chown" not in found


@ROOT
def test_a_data_directory_of_the_wrong_user_is_given_to_the_service(tmp_path, monkeypatch):
    """Regression: the advice was to give everything to whoever had the directory by mistake."""
    monkeypatch.setattr("mssgw.core.unit.user", lambda: "daemon")
    (tmp_path / "store.db").write_bytes(b"")
    os.chown(tmp_path / "store.db", 1, 1)  # daemon's, in a directory of root
    (found,) = map(str, owner.problems(tmp_path))
    assert f"chown -R daemon: {tmp_path}" in found


@ROOT
def test_root_makes_the_data_directory_for_the_user_of_the_unit(tmp_path, monkeypatch):
    monkeypatch.setattr("mssgw.core.unit.user", lambda: "no-such-user-here")
    with pytest.raises(ConfigError, match="there is no such user: useradd --system no-such-user-here"):
        owner.make(tmp_path / "data")
    assert not (tmp_path / "data").exists()


@ROOT
@pytest.mark.parametrize("mode", [0o640, 0o644])
def test_a_credential_that_others_can_read_is_named_with_chmod_and_nothing_else(node, mode):
    """Regression: "no such credential … restore the key from its copy", after root had become the service."""
    os.chown(node / "data", NOBODY, NOBODY)
    verb(node, "account", "add", WHO, "--no-password")
    (node / "credentials" / "master.key").chmod(mode)
    os.chown(node / "credentials" / "master.key", 0, 4)
    os.rename(node / "credentials", node / "etc")
    credstore = node / "etc"
    script = f"from mssgw.core.config import credentials; credentials._STORES = ({str(credstore).lstrip('/')!r},); "
    for arguments in (["account", "list"], ["config", "check"]):
        said = run_after(node, script, arguments)
        assert f"mode {mode:04o}, others can read or change it; chmod 600 {node}/etc/master.key" in said
        assert "from its copy" not in said
        assert "no such credential" not in said


@ROOT
def test_a_key_that_the_service_can_not_read_is_named_with_user_and_command(node):
    os.chown(node / "data", NOBODY, NOBODY)
    (node / "keys").mkdir(mode=0o755)
    (node / "keys" / "master.key").write_bytes(bytes(range(32)))
    (node / "keys" / "master.key").chmod(0o600)
    (node / "mssgw.toml").write_text(alpha().replace("file:master.key", "file:keys/master.key"))
    said = run(node, ["config", "check", str(node / "mssgw.toml")], status=1)
    assert f"nobody can't read {node}/keys/master.key; chown root:nogroup {node}/keys/master.key && chmod 640" in said
    assert "nobody ne peut pas lire" in said
    (node / "keys").chmod(0o700)
    said = run(node, ["config", "check", str(node / "mssgw.toml")], status=1)
    assert f"nobody can't enter {node}/keys; chgrp nogroup {node}/keys && chmod g+x {node}/keys" in said
    assert "nobody can't enter" in verb(node, "serve", status=1, user=NOBODY)


@ROOT
def test_certificates_that_the_service_can_not_read_are_named_once_with_the_command(node):
    """Regression: "no permission to read or write this file", and the pair again as "[Errno 13] Permission denied"."""
    os.chown(node / "data", NOBODY, NOBODY)
    pki = Pki()
    pki.operator("mx.alpha.mssante.test", key="p256").write(node, "relay")
    pki.organisation("contact@alpha.mssante.test", key="p256").write(node, "seal")
    pki.write_anchors(node / "anchors")
    (node / "seal.pem").chmod(0o600)
    (node / "anchors").chmod(0o700)
    more = 'certificate = "seal.pem"\nkey = "file:seal.key"\n[relay]\ncertificate = "relay.pem"\nkey = "file:relay.key"\n'
    (node / "mssgw.toml").write_text(alpha(more, trust='pki = "private"').replace("file:master.key", "credential:master.key"))
    said = run(node, ["config", "check", str(node / "mssgw.toml")], status=1)
    assert f"domain[0].certificate: {node}/seal.pem: nobody can't read {node}/seal.pem; chmod 644 {node}/seal.pem" in said
    assert f"nobody can't enter {node}/anchors" in said or f"nobody can't read {node}/anchors; chmod 755 {node}/anchors" in said
    assert said.count(f"chown root:nogroup {node}/relay.key && chmod 640 {node}/relay.key") == 2  # French, English
    assert "relay.certificate" not in said
    assert "Errno" not in said
