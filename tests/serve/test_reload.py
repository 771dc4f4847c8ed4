"""SIGHUP on a running node, as docs/operations.md describes it: all of the new configuration is in force, or all of the old stays."""

from __future__ import annotations

import json
import os
import signal
import smtplib
from pathlib import Path

import pytest

from tests.world import World, descendants, free_base, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    one = World(tmp_path_factory.mktemp("reload") / "world", free_base()).start()
    yield one
    one.stop()


def reload(world: World) -> dict[str, str]:
    """What the node logs after a SIGHUP."""
    assert world.process
    config, log = f"{world.directory}/alpha/mssgw.toml", world.path("log/alpha.log")
    parent = min(pid for pid in descendants(world.process.pid) if config in Path(f"/proc/{pid}/cmdline").read_text())
    read = log.stat().st_size
    os.kill(parent, signal.SIGHUP)

    def answer() -> dict[str, str] | None:
        lines = log.read_bytes()[read:].decode().splitlines(keepends=True)
        said = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        return next((one for one in said if one["event"] in ("node.config_refused", "node.config_reloaded")), None)

    found: dict[str, str] = until("an answer to SIGHUP", answer)
    return found


def send(world: World) -> None:
    with world.submission() as client:
        client.send_message(world.message())


BROKEN = {
    "no TOML": ("alpha/mssgw.toml", "not TOML"),
    "seal": ("pki/alpha-seal.pem", "domain[0].certificate"),
    "key of the seal": ("pki/alpha-seal.key", "domain[0].key"),
    "TLS certificate": ("pki/alpha.pem", "relay.certificate"),
    "TLS key": ("pki/alpha.key", "relay.certificate"),
    "identity": ("alpha/identities/jeanne.martin.pem", "smime.identities"),
    "key of an identity": ("alpha/identities/jeanne.martin.key", "smime.identities"),
    "master key": ("alpha/master.key", "seal.master_key"),
}


@pytest.mark.parametrize(("file", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_what_can_not_be_used_is_refused_and_the_old_stays_in_force(world: World, file: str, reason: str) -> None:
    path = world.path(file)
    good = path.read_bytes()
    path.write_text("garbage")
    try:
        said = reload(world)
        assert said["event"] == "node.config_refused"
        assert reason in said["reason"]
        send(world)  # signed with what was read before
    finally:
        path.write_bytes(good)
    assert reload(world)["event"] == "node.config_reloaded"
    send(world)


def test_a_missing_directory_of_recipients_is_refused(world: World) -> None:
    there = world.path("alpha/recipients")
    there.rename(there.with_name("moved"))
    assert "smime.recipients" in reload(world)["reason"]
    there.with_name("moved").rename(there)
    assert reload(world)["event"] == "node.config_reloaded"


def test_a_broken_file_of_a_recipient_makes_their_mail_wait_and_nothing_else(world: World) -> None:
    path = world.path("alpha/recipients/paul.petit.pem")
    good = path.read_bytes()
    path.write_text("garbage")
    assert reload(world)["event"] == "node.config_reloaded"
    send(world)  # another file has this recipient's certificate
    with world.submission() as client, pytest.raises(smtplib.SMTPDataError) as refusal:
        client.send_message(world.message(to="nobody.known@gamma.mssante.test"))
    assert (refusal.value.smtp_code, refusal.value.smtp_error[:6]) == (451, b"4.4.3 ")
    path.write_bytes(good)
    assert reload(world)["event"] == "node.config_reloaded"


def test_what_config_check_warns_of_is_logged_after_a_reload(world: World) -> None:
    """Regression: a mistyped domain that has accounts, or an expired certificate, was taken silently."""
    path, log = world.path("alpha/mssgw.toml"), world.path("log/alpha.log")
    good, read = path.read_text(), log.stat().st_size
    path.write_text(good.replace('name = "alpha.mssante.test"', 'name = "alhpa.mssante.test"'))
    try:
        assert reload(world)["event"] == "node.config_reloaded"
        until("the warning", lambda: b"alpha.mssante.test is not in the configuration and has" in log.read_bytes()[read:])
        assert b"node.config_warning" in log.read_bytes()[read:]
    finally:
        path.write_text(good)
        assert reload(world)["event"] == "node.config_reloaded"


def test_a_refused_reload_names_the_file(world: World) -> None:
    """Regression: "there is no such file", and no word which."""
    path = world.path("alpha/mssgw.toml")
    path.rename(path.with_name("moved"))
    try:
        assert str(path) in reload(world)["reason"]
    finally:
        path.with_name("moved").rename(path)


def test_what_waits_for_a_restart_is_named(world: World) -> None:
    path = world.path("alpha/mssgw.toml")
    good = path.read_text()
    path.write_text(good.replace("workers = 1", "workers = 2").replace("file:master.key", "file:../alpha/master.key"))
    assert reload(world)["needs_restart"] == "node.workers"
    path.write_text(good)
    assert "needs_restart" not in reload(world)
