"""`mssgw init`: from nothing to a configuration that lacks only what others have to give."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path

import pytest

from mssgw.core.config import load
from mssgw.node import setup
from tests.cli.desk import mssgw

GIVEN = ("--hostname", "mx.hospital.example", "--domain", "hospital.example", *(("--user", "root") if os.geteuid() == 0 else ()))


@pytest.fixture
def run(tmp_path: Path):
    def call(*more: str, status: int = 0) -> str:
        arguments = ["init", "-c", tmp_path / "etc" / "mssgw.toml", "--data", tmp_path / "var" / "mssgw", *more]
        done = mssgw(*(one for one in arguments if one != ""))
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == status, said
        return said

    return call


def key(tmp_path: Path) -> tuple[str, str]:
    return "--master-key", f"file:{tmp_path}/master.key"


def test_from_nothing(run, tmp_path):
    said = run(*GIVEN, *key(tmp_path))
    config = load(tmp_path / "etc" / "mssgw.toml")
    assert (config.node.hostname, [one.name for one in config.domain]) == ("mx.hospital.example", ["hospital.example"])
    assert stat.S_IMODE((tmp_path / "etc" / "mssgw.toml").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "master.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(config.node.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(config.trust.anchors.stat().st_mode) == 0o755
    assert "hospital.example. IN MX 10 mx.hospital.example." in said
    assert "_imaps._tcp.hospital.example. IN SRV 0 1 993 mx.hospital.example." in said
    assert "autoconfig.hospital.example. IN CNAME mx.hospital.example." in said
    assert "; mx.hospital.example. : il lui faut son adresse" in said.replace("\N{NO-BREAK SPACE}", " ")
    assert "; the autoconfig lines: when [web] listens on port 443" in said
    for missing in ("operator.pem", "clients.key", "no root certificate", "no account yet"):
        assert missing in said
    assert "Il manque encore" in said


def test_again_it_changes_nothing_and_names_what_is_missing(run, tmp_path):
    run(*GIVEN, *key(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = run("--hostname", "mx.other.example", "--domain", "other.example", *GIVEN[4:])
    assert "node.hostname = mx.hospital.example" in said
    assert "domain.name = hospital.example" in said
    document = json.loads(run("--json", *GIVEN[4:]))
    assert document["made"] == []
    assert "relay.certificate" in [one["where"] for one in document["missing"]]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_lost_key_of_data_in_use_is_not_replaced(run, tmp_path):
    run(*GIVEN, *key(tmp_path))
    (tmp_path / "master.key").unlink()
    (tmp_path / "var" / "mssgw" / "store.db").write_bytes(b"mail")
    assert "restore the key from its copy" in run(*GIVEN[4:], status=1)
    assert not (tmp_path / "master.key").exists()


def test_without_a_terminal_what_is_needed_is_named(run):
    assert "--hostname" in run(*GIVEN[4:], status=2)
    assert "--domain" in run("--hostname", "mx.hospital.example", *GIVEN[4:], status=2)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("--hostname", "not a name"), "is not a host name"),
        (("--domain", "Not A Domain"), "domain label 'not a domain' is not letters"),
        (("--store", "mysql://x"), "node.store"),
        (("--domain", 'x"y'), "no quotes"),
    ],
)
def test_answers_that_can_not_be(run, tmp_path, given, why):
    assert why in run(*GIVEN, *given, status=1)
    assert not (tmp_path / "etc").exists()


def test_a_user_that_is_not_there(run):
    assert "useradd --system" in run(*GIVEN[:4], "--user", "no-such-user-here", status=1)


def test_only_ports_that_listen_are_published(run, tmp_path):
    run(*GIVEN, *key(tmp_path))
    text = (tmp_path / "etc" / "mssgw.toml").read_text()
    (tmp_path / "etc" / "mssgw.toml").write_text(text.replace('listen = ["0.0.0.0:587"]', "") + '\n[web]\nlisten = ["0.0.0.0:443"]\n')
    records = "\n".join(setup.dns_records(load(tmp_path / "etc" / "mssgw.toml")))
    assert "_submission._tcp" not in records
    assert "_submissions._tcp" in records
    assert "\nautoconfig.hospital.example." in records


def test_nothing_is_in_it_that_is_not_needed(run, tmp_path):
    run(*GIVEN, *key(tmp_path))
    found = tomllib.loads((tmp_path / "etc" / "mssgw.toml").read_text())
    assert set(found) == {"node", "seal", "trust", "relay", "clients", "submission", "imap", "metrics", "domain"}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("/proc/mssgw", "file system of the kernel"),
        ("mssgw.toml", "would be the configuration and the data as well"),
        ("/etc/passwd", "is no directory"),
    ],
)
def test_a_place_where_no_data_can_be_is_refused_before_anything_is_written(tmp_path, data, why):
    """Regression: a configuration with this place was left, and a second `init` kept it."""
    place = tmp_path / data  # an absolute one stands for itself
    done = mssgw("init", "-c", tmp_path / "mssgw.toml", "--data", place, *GIVEN)
    assert done.returncode == 1
    assert why in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_names_without_a_dot_are_warned_of(tmp_path):
    """Regression: `--hostname localhost --domain gamma` was taken silently."""
    user = ("--user", "root") if os.geteuid() == 0 else ()
    said = mssgw(
        "init", "-c", tmp_path / "m.toml", "--data", tmp_path / "var", "--hostname", "localhost", "--domain", "gamma", *user
    ).stdout.decode()
    assert "node.hostname: localhost has no dot" in said
    assert "domain[0].name: gamma has no dot" in said


def test_what_an_outsider_meets_first_is_said_in_both_languages(tmp_path):
    """Regression: replies made for mail programs were shown in English alone."""
    user = ("--user", "root") if os.geteuid() == 0 else ()
    mssgw("init", "-c", tmp_path / "m.toml", "--data", tmp_path / "var", "--hostname", "mx.a.example", "--domain", "a.example", *user)
    account = ("account", "add", "jeanne@a.example", "--no-password", "-c", tmp_path / "m.toml")
    assert mssgw(*account).returncode == 0
    said = mssgw(*account).stderr.decode()
    assert "Cette adresse est déjà prise" in said
    assert "This address is already in use" in said
    done = mssgw("trust", "import-anchors", "-c", tmp_path / "m.toml", "http://127.0.0.1:9/")
    assert done.returncode == 1
    assert "bring the file and name it at the end" in done.stderr.decode()
    assert "apportez le fichier" in done.stderr.decode()
