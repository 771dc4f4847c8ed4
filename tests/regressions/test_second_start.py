"""A second start on the same directory or ports is refused and touches nothing. Regression: it deleted the first one's demo.json."""

import os
import socket

import pytest

from mssgw.demo import stage
from mssgw.node.parent import _holder


def test_second_demo_in_one_directory_names_the_first(tmp_path):
    with stage.alone(tmp_path), pytest.raises(OSError, match=rf"already running .*pid {os.getpid()}"), stage.alone(tmp_path):
        pass
    with stage.alone(tmp_path):
        pass


def test_taken_port_is_named_before_anything_starts():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} is taken"):
            stage.require_free(port)


def test_a_second_parent_on_one_node_names_who_holds_it(tmp_path):
    first, second = (os.open(tmp_path / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600) for _ in range(2))
    assert _holder(first) == ""
    assert _holder(second) == str(os.getpid())
    os.close(first)
    assert _holder(second) == ""
    os.close(second)


def test_store_of_the_demo_is_refused_in_a_sentence():
    with pytest.raises(OSError, match="expected sqlite:PATH or postgresql"):
        stage.own_store("mysql://x", "alpha")
