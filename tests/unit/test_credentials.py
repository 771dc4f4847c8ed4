"""Where credentials of systemd are looked for, and which files are refused. Each test has a root directory of its own."""

import os
from pathlib import Path

import pytest

from mssgw.core import unit
from mssgw.core.config import credentials
from mssgw.core.config.base import Secret

NAME = "mssgw.master.key"


@pytest.fixture(autouse=True)
def _no_systemd(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def put(path, content=b"secret", mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def install(root, *lines, name=unit.NAME):
    put(root / "etc/systemd/system" / name, "\n".join(["[Service]", *lines, ""]).encode(), 0o644)


def test_the_order_of_looking(tmp_path, monkeypatch):
    """What systemd gave this process, the running unit's, what the unit loads, the store: the first one counts."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "given"))
    install(tmp_path, f"LoadCredential={NAME}:/etc/mssgw/master.key")
    order = ["given", "run/credentials/mssgw.service", "etc/mssgw", "etc/credstore", "run/credstore"]
    files = [put(tmp_path / where / ("master.key" if where == "etc/mssgw" else NAME)) for where in order]
    for file in files:
        assert credentials.find(NAME, tmp_path) == file
        file.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        credentials.find(NAME, tmp_path)
    for file in files:
        assert str(file) in str(caught.value)


def test_a_drop_in_of_the_unit_counts(tmp_path):
    install(tmp_path, "User=mssgw", "# LoadCredential=x:/etc/commented")
    install(tmp_path, "LoadCredential=x:/srv/key", "User=mail", name=f"{unit.NAME}.d/own.conf")
    assert credentials.find("x", tmp_path) if put(tmp_path / "srv/key") else None
    assert unit.user(tmp_path) == "mail"
    assert [place.path for place in credentials.places("x", tmp_path) if "commented" in str(place.path)] == []


def test_without_a_unit_there_is_no_user(tmp_path):
    assert unit.user(tmp_path) == ""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_credential_that_others_can_read_is_refused_and_not_passed_over(tmp_path, mode):
    put(tmp_path / "etc/credstore" / NAME, mode=mode)
    put(tmp_path / "run/credstore" / NAME, b"another")
    with pytest.raises(PermissionError, match=f"mode {mode:04o}, others can read or change it; chmod 600"):
        credentials.find(NAME, tmp_path)


def test_the_access_list_of_systemd_shows_as_bits_of_the_group(tmp_path):
    """systemd lets the service read by an ACL: stat(2) shows 0440."""
    file = put(tmp_path / "run/credentials/mssgw.service" / NAME, mode=0o440)
    assert credentials.find(NAME, tmp_path) == file
    file.chmod(0o444)
    with pytest.raises(PermissionError, match="others can read or change it"):
        credentials.find(NAME, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_credential_of_a_stranger_is_refused(tmp_path):
    file = put(tmp_path / "etc/credstore" / NAME)
    os.chown(file, 65534, 65534)
    with pytest.raises(PermissionError, match="belongs to user 65534"):
        credentials.find(NAME, tmp_path)


def test_an_encrypted_credential_is_decrypted_by_systemd_s_program(tmp_path, monkeypatch):
    sealed = put(tmp_path / "etc/credstore.encrypted" / NAME, b"sealed", 0o644)  # as systemd-creds writes it
    program = put(tmp_path / "bin/systemd-creds", b'#!/bin/sh\n[ "$1 $2" = "decrypt --name=mssgw.master.key" ] && printf opened\n', 0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    found = credentials.find(NAME, tmp_path)
    assert (found.read_bytes(), found.read_bytes()) == (b"opened", b"opened")
    sealed.chmod(0o666)
    with pytest.raises(PermissionError, match="others can read or change it"):
        credentials.find(NAME, tmp_path)
    sealed.chmod(0o644)
    program.write_text("#!/bin/sh\necho 'no such TPM' >&2; exit 1\n")
    with pytest.raises(PermissionError, match="systemd-creds can't decrypt it: no such TPM"):
        credentials.find(NAME, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match="is encrypted, and systemd-creds"):
        credentials.find(NAME, tmp_path)


@pytest.mark.parametrize("text", ["credential:../etc/shadow", "credential:a/b", "credential:.hidden"])
def test_a_credential_is_a_name_and_no_path(text):
    with pytest.raises(ValueError, match="takes a name, not a path"):
        Secret.parse(text)


def test_a_secret_that_is_held_outlives_its_file(tmp_path):
    file = put(tmp_path / "key", b"octets")
    secret = Secret.parse(f"file:{file}")
    secret.hold()
    file.unlink()
    assert (secret.read(), secret.path.read_bytes()) == (b"octets", b"octets")


def test_a_unit_that_is_strict_closes_all_but_its_state_and_what_it_opens(tmp_path):
    """Regression: `config check` said ok to data where the service may not write."""
    install(tmp_path, "ProtectSystem=strict", "StateDirectory=mssgw", "ExecStart=/opt/mssgw serve --config /etc/m.toml")
    state, srv = Path("/var/lib/mssgw"), Path("/srv/mail")
    assert not unit.closes(state, tmp_path)
    assert not unit.closes(state / "below", tmp_path)
    assert unit.makes(state, tmp_path)
    assert not unit.makes(state / "below", tmp_path)
    assert unit.closes(srv, tmp_path)
    assert unit.runs(Path("/etc/m.toml"), tmp_path)
    assert not unit.runs(Path("/etc/m"), tmp_path)
    install(tmp_path, "ReadWritePaths=-/srv", name=f"{unit.NAME}.d/data.conf")
    assert not unit.closes(srv, tmp_path)
    install(tmp_path, "ProtectSystem=full", name=f"{unit.NAME}.d/full.conf")
    assert not unit.closes(Path("/opt/mail"), tmp_path)


def test_an_empty_assignment_takes_back_the_credentials_before_it(tmp_path):
    """systemd.exec(5): after a rotation a drop-in names the new key and no longer the old one."""
    install(tmp_path, "LoadCredential=x:/srv/old")
    install(tmp_path, "LoadCredential=", "LoadCredential=y:/srv/new", name=f"{unit.NAME}.d/key.conf")
    for name, found in (("x", False), ("y", True)):
        assert any("srv" in str(place.path) for place in credentials.places(name, tmp_path)) is found
