"""A port that is taken is named with who has it."""

import os
import socket
from pathlib import Path

import pytest

from mssgw.core.holder import Holder, holder
from mssgw.demo import stage
from mssgw.demo.play import BASE

PROC = Path("/proc")


@pytest.fixture
def busy():
    """A port on which this process listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.skipif(not (PROC / "net" / "tcp").exists(), reason="needs Linux's /proc")
def test_the_holder_of_a_port_is_found(busy):
    assert holder(busy) == Holder(os.getpid(), (PROC / "self" / "comm").read_text().strip())


def test_a_free_port_has_no_holder(tmp_path):
    assert holder(1, tmp_path) is None


def test_of_several_sockets_at_a_port_the_one_that_listens_counts(tmp_path):
    (tmp_path / "net").mkdir()
    row = "  {n}: 0100007F:5E88 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 100 0 0 10 0\n"
    rows = "sl\n" + row.format(n=0, state="01", inode=11) + row.format(n=1, state="0A", inode=22)
    (tmp_path / "net" / "tcp").write_text(rows)
    for pid, inode, name in ((100, 11, "client"), (200, 22, "server")):
        descriptors = tmp_path / str(pid) / "fd"
        descriptors.mkdir(parents=True)
        (descriptors / "3").symlink_to(f"socket:[{inode}]")
        (tmp_path / str(pid) / "comm").write_text(name + "\n")
    assert holder(0x5E88, tmp_path) == Holder(200, "server")
    assert str(holder(0x5E88, tmp_path)) == "server (pid 200)"


def test_the_demo_names_who_has_its_port(busy):
    with pytest.raises(OSError, match=rf"port {busy} is taken by .*\(pid {os.getpid()}\); choose other ports"):
        stage.require_free(busy)


def test_the_demos_ports_are_none_that_linux_hands_out_by_chance():
    assert BASE > 1024
    assert BASE + 99 < 32768
