"""`mssgw serve`: a parent and N equal workers. The parent imports nothing but the standard library.

The parent prepares once (configuration checked, store migrated, in a child of its own), forks the workers,
sends READY to systemd when every worker is ready, and then only waits:

    SIGHUP            passed on: each worker reads configuration and certificates again, or keeps the old and logs why
    SIGTERM, SIGINT   passed on: workers stop accepting, finish what is under way, release leases; after
                      STOP_SECONDS what is left is killed (leases run out, nothing accepted is lost)
    a worker dies     restarted; at once the first time, then after 1, 2, 4 … 30 s while it keeps dying early
    a worker is stuck no heartbeat for STUCK_SECONDS: killed with SIGKILL, then as above
    the parent dies   workers see their life line close and stop by themselves

Exit status: 0 after a clean stop, 1 when the preparation failed (a mistake, a port that is taken) or the node runs already, 70 when a
worker could not even start.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mssgw.node.pulse import READY

STOP_SECONDS = 30.0
STUCK_SECONDS = 60.0
YOUNG_SECONDS = 10.0  # seconds; a worker that dies earlier is restarted with growing delays
LONGEST_DELAY = 30.0

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


@dataclass
class Worker:
    index: int
    pid: int = 0
    heartbeat: int = -1  # our end of the pipe
    started: float = 0.0
    last_beat: float = 0.0
    ready: bool = False
    deaths: int = 0
    restart_at: float = field(default=0.0)


class Parent:
    """Keeps `count` workers alive. `work(index, heartbeat_fd, lifeline_fd)` runs in the child."""

    def __init__(
        self, count: int, work: Callable[[int, int, int], None], *, metrics_dir: Path | None = None, held: tuple[int, ...] = ()
    ) -> None:
        self.workers = [Worker(index) for index in range(count)]
        self.work = work
        self.metrics_dir = metrics_dir
        self.held = held  # descriptors that only the parent may keep
        self.lifeline_read, self.lifeline_write = os.pipe()
        self.stop_deadline: float | None = None
        self.never_ready = False
        self.was_ready = False

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for worker in self.workers:
            self._start(worker)
        announced = False
        while any(worker.pid for worker in self.workers) or self.stop_deadline is None:
            self._wait()
            self._read_heartbeats()
            self._reap()
            self._kill_stuck()
            self._restart_due()
            if not announced and all(worker.ready for worker in self.workers):
                announced = True
                notify("READY=1", f"STATUS={len(self.workers)} workers")
            if announced and self.stop_deadline is None and "WATCHDOG_USEC" in os.environ:
                notify("WATCHDOG=1")
            if self.never_ready and self.stop_deadline is None:
                self._stop()
        return 70 if self.never_ready else 0

    def _wait(self) -> None:
        info = signal.sigtimedwait(SIGNALS, 0.5)
        if info is None:
            return
        if info.si_signo in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif info.si_signo == signal.SIGHUP:
            notify("RELOADING=1")
            self._signal_all(signal.SIGHUP)
            notify("READY=1")

    def _stop(self) -> None:
        if self.stop_deadline is None:
            notify("STOPPING=1")
            self.stop_deadline = time.monotonic() + STOP_SECONDS
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for worker in self.workers:
            if worker.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, number)

    def _start(self, worker: Worker) -> None:
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._child(worker.index, theirs, (ours, *(w.heartbeat for w in self.workers if w.heartbeat >= 0)))
        os.close(theirs)
        worker.pid, worker.heartbeat, worker.ready = pid, ours, False
        worker.started = worker.last_beat = time.monotonic()

    def _child(self, index: int, heartbeat: int, foreign: tuple[int, ...]) -> None:
        status = 1
        try:
            for fd in (self.lifeline_write, *self.held, *foreign):
                os.close(fd)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the worker can reload
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self.work(index, heartbeat, self.lifeline_read)
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:  # the last place that can log what ended the worker
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _read_heartbeats(self) -> None:
        pipes = {worker.heartbeat: worker for worker in self.workers if worker.heartbeat >= 0}
        for fd in select.select(list(pipes), [], [], 0)[0]:
            if data := os.read(fd, 4096):
                pipes[fd].last_beat = time.monotonic()
                pipes[fd].ready |= READY in data
                self.was_ready |= pipes[fd].ready

    def _reap(self) -> None:
        for worker in self.workers:
            if not worker.pid or os.waitpid(worker.pid, os.WNOHANG)[0] == 0:
                continue
            lived = time.monotonic() - worker.started
            worker.deaths = worker.deaths + 1 if lived < YOUNG_SECONDS else 0
            delay = min(LONGEST_DELAY, 2.0 ** (worker.deaths - 1)) if worker.deaths > 1 else 0.0
            worker.restart_at = time.monotonic() + delay
            if self.stop_deadline is None:
                news = f"worker {worker.index} (pid {worker.pid}) ended after {lived:.1f} s; restart in {delay:.0f} s"
                print(f"mssgw: {news}", file=sys.stderr)
                self.never_ready = not self.was_ready and worker.deaths >= 3
            self._forget(worker)

    def _forget(self, worker: Worker) -> None:
        if self.metrics_dir:  # what prometheus_client's mark_process_dead does
            for stale in self.metrics_dir.glob(f"gauge_live*_{worker.pid}.db"):
                stale.unlink(missing_ok=True)
        os.close(worker.heartbeat)
        worker.pid, worker.heartbeat, worker.ready = 0, -1, False

    def _kill_stuck(self) -> None:
        now = time.monotonic()
        for worker in self.workers:
            stuck = worker.ready and now - worker.last_beat > STUCK_SECONDS
            too_late = self.stop_deadline is not None and now > self.stop_deadline
            if worker.pid and (stuck or too_late):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)

    def _restart_due(self) -> None:
        if self.stop_deadline is None and not self.never_ready:
            for worker in self.workers:
                if not worker.pid and time.monotonic() >= worker.restart_at:
                    self._start(worker)


def notify(*lines: str) -> None:
    """sd_notify(3). Silent when systemd didn't start us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.setblocking(False)  # the listener may have stopped reading; that must not block us
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.send("\n".join(lines).encode())


def serve(path: Path) -> int:
    """Run until stopped. Returns the exit status."""
    os.umask(0o077)
    status = _in_child(lambda: _prepare(path))
    if status:
        return status
    with path.open("rb") as file:
        node = tomllib.load(file)["node"]
    data = path.parent.absolute() / node["data"]
    lock = os.open(data / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if running := _holder(lock):
        from mssgw.core.texts import both, message  # the parent that works needs no sentences

        print(both(message("serve.running", data=data, pid=running)), file=sys.stderr)
        return 1
    metrics_dir = data / "metrics"
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics_dir)
    metrics_dir.mkdir(mode=0o700, exist_ok=True)
    for stale in metrics_dir.glob("*.db"):
        stale.unlink()
    pins = os.memfd_create("mssgw-pins")  # of unlocked tokens, for workers started later: memory alone, which ends with the node
    return Parent(node.get("workers", 1), partial(_work, path, pins), metrics_dir=metrics_dir, held=(lock,)).run()


def _holder(lock: int) -> str:
    """Take the node's lock until this process ends. Returns the pid of the process that has it, if another has.

    SO_REUSEPORT would let a second parent on the same ports go unnoticed.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(lock, 20).decode().strip() or "unknown"
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return ""


def main(arguments: list[str]) -> int:
    """`serve --config FILE`, parsed without a library so that the parent stays small."""
    match arguments:
        case ["--config", path] | ["-c", path]:
            return serve(Path(path))
        case [option] if option.startswith("--config="):
            return serve(Path(option.removeprefix("--config=")))
    print("usage: mssgw serve --config FILE", file=sys.stderr)
    return 2


def _in_child(task: Callable[[], None]) -> int:
    """Run a task that imports the whole program in a process of its own, so that the parent stays small and can fork."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            task()
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _prepare(path: Path) -> None:
    from mssgw.node.worker import prepare

    prepare(path)


def _work(path: Path, pins: int, index: int, heartbeat: int, lifeline: int) -> None:
    from mssgw.node.worker import work

    work(path, index, heartbeat, lifeline, pins)
