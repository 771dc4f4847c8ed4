"""The agent's side of the socket: who may come in, what a visitor is told and asked, when the agent ends.

Each visitor has a thread that reads, one that writes, and one in which its verb runs, so that nobody waits for another's terminal.
"""

from __future__ import annotations

import fcntl
import os
import queue
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mssgw.agent import places
from mssgw.agent.frames import PROTOCOL, BadFrame, Line

VISITORS: Final = 32  # at once; who comes then works without the agent
HELLO_SECONDS: Final = 10.0
QUESTION_SECONDS: Final = 15 * 60.0  # after that the verb ends as if its terminal were gone
STOP_SECONDS: Final = 20.0
MAX_WAITING: Final = 256 * 1024 * 1024  # octets of output that a visitor has not read yet
MAX_ANSWER: Final = 1 << 16

Run = Callable[["Visitor"], int | None]
"""Runs a visitor's verb in a thread of its own: its status, or None when it was sent away (`Visitor.alone`)."""


class Occupied(Exception):
    """An agent works here already."""


class Stopped(Exception):
    """The visitor's signal, or the end of its terminal, while it was asked. `number`: of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Visitor:
    """One verb that runs here for somebody at the other end."""

    def __init__(self, line: Line, hello: Mapping[str, object]) -> None:
        self._line, self.hello = line, hello
        given = hello.get("argv")
        self.arguments = [str(one) for one in given] if isinstance(given, list) else []
        self.ended = False
        self.number = 0  # of the signal that stopped it
        self.asking = False
        self._answers: queue.SimpleQueue[tuple[dict[str, object], int | None] | None] = queue.SimpleQueue()
        self._questions = 0
        self._state = threading.Lock()
        self._on_signal: Callable[[int], None] | None = None
        self._on_entered: Callable[[], None] | None = None
        self._entered = False
        self._outgoing: queue.SimpleQueue[dict[str, object] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._writer = threading.Thread(target=self._write, name="agent writer", daemon=True)
        self._writer.start()

    # -- towards the visitor

    def tell(self, frame: dict[str, object], size: int = 256) -> None:
        """Never blocks. `size`: of the frame, about."""
        with self._state:
            self._waiting += size
            over = self._waiting > MAX_WAITING
        if over:
            self.signalled(signal.SIGHUP)
        else:
            self._outgoing.put(frame | {"size": size})

    def alone(self, why: str) -> None:
        """The verb is to be run without the agent."""
        self.tell({"alone": why})

    def ask(self, frame: dict[str, object]) -> tuple[dict[str, object], int | None]:
        """The answer and the descriptor that came with it. Blocks. Raises Stopped."""
        with self._state:
            self._questions += 1
            number, self.asking = self._questions, True
        try:
            if self.number:
                raise Stopped(self.number)
            self.tell(frame | {"n": number})
            until = time.monotonic() + QUESTION_SECONDS
            while True:
                answer = self._next(until)
                if answer is None:
                    raise Stopped(self.number or signal.SIGHUP)
                if answer[0].get("n") == number:
                    return answer
                if answer[1] is not None:
                    os.close(answer[1])
        finally:
            self.asking = False

    def _next(self, until: float) -> tuple[dict[str, object], int | None] | None:
        try:
            return self._answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return None

    def on_signal(self, came: Callable[[int], None] | None) -> None:
        """What is called, in another thread, with the signal that ends the verb: now, when it has come already."""
        with self._state:
            self._on_signal = came
            number = self.number
        if came is not None and number:
            came(number)

    def on_entered(self, came: Callable[[], None] | None) -> None:
        """What is called, in another thread, when Enter was pressed or input is at its end. The visitor is told to wait for it."""
        with self._state:
            self._on_entered = came
        if came is not None:
            self.tell({"enter": True})

    # -- from the visitor

    def signalled(self, number: int) -> None:
        """The first signal counts."""
        with self._state:
            if self.number or self.ended:
                return
            self.number, came = number, self._on_signal
        self._answers.put(None)
        if came is not None:
            came(number)

    def came(self, frame: dict[str, object], descriptor: int | None) -> None:
        """A frame of the visitor, other than its first."""
        if "cancel" in frame:
            number = getattr(signal.Signals, str(frame["cancel"])[:10], signal.SIGHUP)
            self.signalled(number if isinstance(number, signal.Signals) else signal.SIGHUP)
        elif "entered" in frame:
            with self._state:
                entered = self._on_entered
            if entered is not None:
                entered()
        elif self.asking:
            self._answers.put((frame, descriptor))
            return
        if descriptor is not None:
            os.close(descriptor)

    def finished(self, status: int | None) -> None:
        """Everything is said; the connection ends when the visitor has read it."""
        with self._state:
            self.ended = True
        if status is not None:
            self.tell({"end": status})
        self._outgoing.put(None)
        self._writer.join()
        with suppress(OSError):
            self._line.socket.shutdown(socket.SHUT_RDWR)  # the reader wakes up

    def _write(self) -> None:
        gone = False
        while (frame := self._outgoing.get()) is not None:
            size = frame.pop("size")
            try:
                if not gone:
                    self._line.send(frame)
            except (OSError, BadFrame):
                gone = True
                self.signalled(signal.SIGHUP)
            with self._state:
                self._waiting -= size  # type: ignore[operator]


class Agent:
    """Listens below `data`. `same`: the version, code and configuration that a visitor has to have, by name; `unchanged` answers
    whether the configuration is still what it was. `idle`: seconds without a visitor after which `serve` returns, 0 for never."""

    def __init__(
        self,
        data: Path,
        run: Run,
        *,
        same: Mapping[str, str],
        unchanged: Callable[[], bool] = lambda: True,
        status: Callable[[], dict[str, Any]] = dict,
        idle: float = 0.0,
    ) -> None:
        self._directory, self._run, self._same, self._unchanged, self._status, self._idle = data / "run", run, same, unchanged, status, idle
        self._lock = -1
        self._listening: socket.socket | None = None
        self._wake, self._woken = socket.socketpair()
        self._visits: dict[threading.Thread, Visitor | None] = {}
        self._state = threading.Lock()
        self._stopping = False
        self._told: list[Line] = []  # who asked for the end, and waits for it
        self._last = time.monotonic()
        self.acts = 0

    # -- its life

    def open(self) -> None:
        """Listen, in the place of an agent that was killed. Raises Occupied, OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._directory / places.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise Occupied from None
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with places.entered(str(self._directory)) as place:
            path = Path(place) / places.SOCKET
            path.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                self._listening.bind(str(path))
            finally:
                os.umask(before)
        self._listening.listen(VISITORS)

    def serve(self) -> None:
        """Until `stop`, or nobody came for the idle time. Then every verb that runs is ended, in order; `release` comes after."""
        assert self._listening is not None
        try:
            with selectors.DefaultSelector() as waits:
                waits.register(self._listening, selectors.EVENT_READ)
                waits.register(self._woken, selectors.EVENT_READ)
                while not self._over():
                    for key, _ in waits.select(self._left()):
                        if key.fileobj is self._listening:
                            self._accept(self._listening)
                        else:
                            self._woken.recv(64)
        finally:
            self.close()

    def stop(self) -> None:
        """From any thread or signal handler."""
        self._stopping = True
        self._awake()

    def _awake(self) -> None:
        with suppress(OSError):  # closed, at the very end
            self._wake.send(b".")

    def close(self) -> None:
        """No longer listen; end what runs."""
        self._stopping = True
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            with suppress(OSError):
                (self._directory / places.SOCKET).unlink()
        with self._state:
            visits = list(self._visits.items())
        for _, visitor in visits:
            if visitor is not None:
                visitor.signalled(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        for thread in (one for one, visitor in visits if visitor is not None):
            thread.join(max(0.0, until - time.monotonic()))

    def release(self) -> None:
        """The next agent may come: to be called once everything is closed that this one had open."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        for line in self._told:
            line.close()
        for end in (self._wake, self._woken):
            end.close()

    def _over(self) -> bool:
        if self._stopping:
            return True
        with self._state:
            return bool(self._idle) and not self._visits and time.monotonic() - self._last >= self._idle

    def _left(self) -> float | None:
        with self._state:
            if not self._idle or self._visits:
                return None
            return max(0.0, self._last + self._idle - time.monotonic())

    # -- visitors

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except OSError:
            return  # gone again
        if places.peer(connection) not in {0, os.geteuid()}:
            connection.close()
            return
        with self._state:
            full = len(self._visits) >= VISITORS
            if not full:
                thread = threading.Thread(target=self._visit, args=(connection,), name="agent visitor", daemon=True)
                self._visits[thread] = None
        if full:
            with connection, suppress(OSError, BadFrame):
                Line(connection).send({"alone": "full"})
            return
        thread.start()

    def _visit(self, connection: socket.socket) -> None:
        line = Line(connection)
        try:
            connection.settimeout(HELLO_SECONDS)
            hello = line.receive()
            if hello is None:
                return
            connection.settimeout(None)
            if hello.get("stop") is True:
                line.send({"stopping": True})
                self._told.append(line)
                self.stop()
            elif hello.get("status") is True:
                line.send({"status": {"acts": self.acts, **self._same, **self._status()}})
            elif (why := self._stranger(hello)) is not None:
                line.send({"alone": why})
            else:
                self._attend(line, hello)
        except (OSError, BadFrame):
            return  # gone, or no visitor of ours
        finally:
            if line not in self._told:
                line.close()
            with self._state:
                self._visits.pop(threading.current_thread(), None)
                self._last = time.monotonic()
            self._awake()

    def _stranger(self, hello: Mapping[str, object]) -> str | None:
        """Why a visitor has to work without the agent."""
        if hello.get("hello") != PROTOCOL:
            return "version"
        different = next((name for name, value in self._same.items() if hello.get(name) != value), None)
        if different is None:
            return None if self._unchanged() else "changed"
        return "version" if different in {"version", "code"} else "configuration"

    def _attend(self, line: Line, hello: Mapping[str, object]) -> None:
        visitor = Visitor(line, hello)
        with self._state:
            self._visits[threading.current_thread()] = visitor
            self.acts += 1
        if self._stopping:
            visitor.signalled(signal.SIGTERM)
        acting = threading.Thread(target=self._act, args=(visitor,), name="agent act", daemon=True)
        acting.start()
        try:
            while (frame := line.receive(descriptors=True)) is not None:
                visitor.came(frame, line.taken() if line.descriptors else None)
        except (OSError, BadFrame):
            pass
        finally:
            visitor.signalled(signal.SIGHUP)
            acting.join()

    def _act(self, visitor: Visitor) -> None:
        status: int | None = 1
        try:
            status = self._run(visitor)
        finally:
            visitor.finished(status)
