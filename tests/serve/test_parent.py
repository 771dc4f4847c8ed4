"""The parent: restarts what dies, passes signals on, stops cleanly, imports the standard library alone.

Each test runs a real parent with real children that write what happens to them into a pipe.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from mssgw.node.parent import notify

WORK = """
    import os, signal, sys
    from mssgw.node import parent, pulse

    out = int(sys.argv[1])
    def say(text): os.write(out, (text + "\\n").encode())

    def work(index, heartbeat, lifeline):
        signal.signal(signal.SIGTERM, lambda *_: (say(f"term {{index}}"), os._exit(0)))
        signal.signal(signal.SIGHUP, lambda *_: say(f"hup {{index}}"))
        say(f"start {{index}} {{os.getpid()}}")
        {body}

    say(f"parent {{os.getpid()}}")
    sys.exit(parent.Parent({count}, work).run())
"""
READY_AND_WAIT = """
        os.write(heartbeat, pulse.READY)
        while not os.read(lifeline, 1) == b"": pass
        say(f"orphan {index}")
"""


class Scene:
    def __init__(self, count: int, body: str):
        self.read, write = os.pipe()
        script = textwrap.dedent(WORK.format(count=count, body=textwrap.indent(textwrap.dedent(body), "        ").strip()))
        self.parent = subprocess.Popen([sys.executable, "-c", script, str(write)], pass_fds=[write], stderr=subprocess.PIPE)
        os.close(write)
        self.buffer = b""

    def line(self) -> list[str]:
        while b"\n" not in self.buffer:
            assert select.select([self.read], [], [], 20)[0], "the parent or its workers said nothing for 20 s"
            data = os.read(self.read, 4096)
            assert data, "everybody is gone"
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode().split()

    def starts(self, count: int) -> dict[int, int]:
        found = {}
        while len(found) < count:
            word, index, pid = (*self.line(), "", "")[:3]
            if word == "start":
                found[int(index)] = int(pid)
        return found


@pytest.fixture
def scene():
    scenes = []

    def make(count, body=READY_AND_WAIT):
        scenes.append(Scene(count, body))
        return scenes[-1]

    yield make
    for one in scenes:
        one.parent.kill()
        one.parent.communicate()
        os.close(one.read)


def test_dead_worker_is_restarted_and_its_neighbour_left_alone(scene):
    one = scene(2)
    workers = one.starts(2)
    os.kill(workers[0], signal.SIGKILL)
    word, index, pid = one.line()
    assert (word, index) == ("start", "0")
    assert int(pid) != workers[0]
    os.kill(workers[1], 0)


def test_term_stops_all_workers_and_ends_with_0(scene):
    one = scene(2)
    one.starts(2)
    one.parent.terminate()
    assert sorted([one.line(), one.line()]) == [["term", "0"], ["term", "1"]]
    assert one.parent.wait(20) == 0


def test_hup_reaches_every_worker(scene):
    one = scene(2)
    one.starts(2)
    one.parent.send_signal(signal.SIGHUP)
    assert sorted([one.line(), one.line()]) == [["hup", "0"], ["hup", "1"]]


def test_workers_notice_that_the_parent_died(scene):
    one = scene(2, READY_AND_WAIT.replace("os.write(heartbeat, pulse.READY)", ""))  # whether anybody reads it does not matter here
    one.starts(2)
    one.parent.kill()
    assert sorted([one.line(), one.line()]) == [["orphan", "0"], ["orphan", "1"]]


def test_worker_that_never_gets_ready_ends_the_parent(scene):
    one = scene(1, "raise SystemExit(3)")
    assert one.parent.wait(30) == 70
    assert b"worker 0" in one.parent.stderr.read()


def test_workers_killed_young_many_times_do_not_end_a_parent_that_was_ready(scene, tmp_path):
    """Regression: three early deaths while no other worker was ready ended a node that had been working."""
    body = f"""
        try:
            os.close(os.open({str(tmp_path / "worked")!r}, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            os._exit(3)
        os.write(heartbeat, pulse.READY)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    one = scene(1, body)
    for _ in range(4):
        one.starts(1)
    one.parent.terminate()
    assert one.parent.wait(20) == 0


def test_exception_in_a_worker_is_logged_and_the_worker_restarted(scene):
    one = scene(1, 'os.write(heartbeat, pulse.READY); raise RuntimeError("boom")')
    first = one.starts(1)
    second = one.starts(1)
    assert first != second
    one.parent.terminate()
    assert one.parent.wait(20) == 0
    assert b"RuntimeError: boom" in one.parent.stderr.read()


def test_parent_imports_only_the_standard_library():
    code = "import sys, mssgw.node.parent; print('\\n'.join(name for name in sys.modules if '.' not in name))"
    output = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=os.getcwd()).stdout
    foreign = {name for name in output.split() if name not in sys.stdlib_module_names and not name.startswith("_")}
    assert foreign == {"mssgw"}


def test_notify_does_not_wait_for_a_listener_that_stopped_reading(monkeypatch):
    """Regression: `serve` hung in its stop once the queue of the notification socket was full."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind("")
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + listener.getsockname()[1:].decode())
    for _ in range(2000):
        notify("WATCHDOG=1")
    assert listener.recv(100) == b"WATCHDOG=1"
    listener.close()
