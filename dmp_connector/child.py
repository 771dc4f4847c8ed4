"""A helper process: code that may hang, crash or use up memory runs in a child, so that only the child is lost.

Wire on both pipes: a 4-byte big-endian length and that many octets. Nothing travels in argv or the environment,
so that a PIN or a document is never listed by `ps`.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import IO, Any

MAX_MESSAGE = 128 * 1024 * 1024


class ChildGone(Exception):
    """The child ended, hung, or answered nonsense. Internal to the package: callers turn it into an error for the user."""


def receive(stream: IO[bytes]) -> bytes | None:
    """One message, or None when the other side is gone."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    (size,) = struct.unpack("!I", head)
    if size > MAX_MESSAGE:
        return None
    body = stream.read(size)
    return body if len(body) == size else None


def send(stream: IO[bytes], body: bytes) -> None:
    """Write one message: its length in four octets, big-endian, then its body."""
    stream.write(struct.pack("!I", len(body)) + body)
    stream.flush()


class Child:
    """`python -m MODULE` with a question-and-answer pipe. Safe for threads; one question at a time."""

    def __init__(self, module: str) -> None:
        # The interpreter and a module of ours: no shell, no input in argv.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._lock = threading.Lock()

    @property
    def alive(self) -> bool:
        """Does the process run?"""
        return self._process.poll() is None

    def ask(self, message: bytes, *, seconds: float) -> Any:
        """The answer as JSON. Raises ChildGone; the child is ended then."""
        with self._lock:
            stdin, stdout = self._process.stdin, self._process.stdout
            if stdin is None or stdout is None or stdin.closed:
                raise ChildGone("already ended")
            try:
                send(stdin, message)
                return json.loads(self._answer(stdout, time.monotonic() + seconds))
            except (OSError, ValueError) as error:
                self._stop()
                raise ChildGone(type(error).__name__) from error

    def _answer(self, stdout: IO[bytes], until: float) -> bytes:
        """Reads from the descriptor itself, so that a child that stops in mid-answer does not block us beyond `until`."""
        buffer = b""
        wanted = 4
        while len(buffer) < wanted:
            left = until - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                raise ValueError("no answer in time")
            piece = os.read(stdout.fileno(), min(wanted - len(buffer), 1 << 20))
            if not piece:
                raise ValueError("ended")
            buffer += piece
            if wanted == 4 and len(buffer) == 4:
                (size,) = struct.unpack("!I", buffer)
                if size > MAX_MESSAGE:
                    raise ValueError("message too long")
                wanted = 4 + size
        return buffer[4:]

    def stop(self) -> None:
        """End the process; a second time does nothing."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # of a process that has ended: what it never read cannot be flushed
                    pipe.close()
        self._process.wait()
