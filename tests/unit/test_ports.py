"""A port that can't be listened on is told in a sentence, before any worker is started and by `config check`."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

import pytest

from mssgw.core.config import load
from mssgw.core.errors import ConfigError
from mssgw.node import ports, worker
from mssgw.store import migrate
from tests.configurations import alpha


@pytest.fixture
def shared():
    """A port that a stranger holds, with SO_REUSEPORT as our own workers would."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def configured(home: Path, listen: str, more: str = "") -> Path:
    (home / "master.key").write_bytes(bytes(32))
    (home / "master.key").chmod(0o600)
    (home / "anchors").mkdir()
    path = home / "mssgw.toml"
    path.write_text(alpha(f'[metrics]\nlisten = ["{listen}"]\n{more}'))
    migrate(load(path))
    return path


def test_a_taken_port_is_named_with_its_holder(tmp_path, shared):
    """Regression: each worker died in a traceback, for ever."""
    config = load(configured(tmp_path, f"127.0.0.1:{shared}"))
    with pytest.raises(ConfigError) as refused:
        ports.require_free(config)
    ((where, what),) = refused.value.problems
    assert where == "metrics.listen"
    assert f"127.0.0.1:{shared} is already taken by " in what.en
    assert f"(pid {os.getpid()})" in what.en


def test_an_address_of_another_machine_is_named(tmp_path):
    relay = '[relay]\ncertificate = "operator.pem"\nkey = "file:operator.key"\nlisten = ["192.0.2.1:2525"]\n'
    config = load(configured(tmp_path, "127.0.0.1:0", relay))
    with pytest.raises(ConfigError, match=r"relay\.listen: 192\.0\.2\.1:2525 is no address of this machine"):
        ports.require_free(config)


def test_the_start_ends_with_one_sentence_before_any_worker(tmp_path, shared, monkeypatch, capfd):
    path = configured(tmp_path, f"127.0.0.1:{shared}")
    monkeypatch.setattr(worker, "require_ready", lambda config: None)  # there are no anchors here
    with pytest.raises(SystemExit) as ended:
        worker.prepare(path)
    assert ended.value.code == 1
    said = capfd.readouterr().err
    assert f"127.0.0.1:{shared} is already taken" in said
    assert f"127.0.0.1:{shared} est déjà pris" in said
    assert "Traceback" not in said


def test_a_running_node_holds_its_own_ports(tmp_path, shared):
    config = load(configured(tmp_path, f"127.0.0.1:{shared}"))
    with (config.node.data / "serve.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ports.require_free(config)
    with pytest.raises(ConfigError):
        ports.require_free(config)


def test_a_right_that_only_the_service_has_is_no_mistake_of_a_verb(tmp_path, monkeypatch):
    config = load(configured(tmp_path, "127.0.0.1:0"))

    def refuse(self, address):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    ports.require_free(config, by_service=False)
    with pytest.raises(ConfigError, match="CAP_NET_BIND_SERVICE"):
        ports.require_free(config)
