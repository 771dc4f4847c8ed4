"""Trace: each SOAP request and answer byte for byte, as files (homologation asks for them).

    NNNN-TD0.2-request.http       start line, headers, empty line, body as it was sent
    NNNN-TD0.2-response.http      the same of the answer
    NNNN-TD0.2-incomplete.http    what arrived of an answer that was cut, or why none arrived

All writers into the directory share one sequence of numbers: the DMP's client and INSi's, this process and the
next. A file appears whole, under its name, or not at all. These files hold patient data: the directory is 0700,
the files 0600, and in production the settings refuse a trace without an audited switch. A trace that cannot be
written stops the call.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dmp_connector.errors import BadSettings
from dmp_connector.texts import message

Headers = Iterable[tuple[bytes, bytes]]
_NUMBERED = re.compile(r"(\d{4,})-")


class TraceSink:
    """A directory. Raises BadSettings when it cannot be made or written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with _said(directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def request(self, name: str, start: str, headers: Headers, body: bytes) -> int:
        """Write a request under the next number; the number."""
        with _said(self._directory), self._alone():
            taken = (int(found[1]) for path in self._directory.iterdir() if (found := _NUMBERED.match(path.name)))
            number = max(taken, default=0) + 1
            self._write(number, name, "request", _http(start, headers, body))
        return number

    def response(self, number: int, name: str, start: str, headers: Headers, body: bytes) -> None:
        """Write an answer, byte for byte, under the number of its request. Raises BadSettings when it cannot be written."""
        with _said(self._directory):
            self._write(number, name, "response", _http(start, headers, body))

    def incomplete(self, number: int, name: str, what: bytes) -> None:
        """Writes what arrived before the exchange failed, or why nothing did."""
        with _said(self._directory):
            self._write(number, name, "incomplete", what)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Holds a lock, so that nobody else takes a number between reading the numbers and taking the next."""
        lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, number: int, name: str, kind: str, content: bytes) -> None:
        path = self._directory / f"{number:04d}-{re.sub(r'[^A-Za-z0-9.-]', '_', name)}-{kind}.http"
        part = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)  # unlike a renaming, it never takes the place of a file
        os.unlink(part)


def _http(start: str, headers: Headers, body: bytes) -> bytes:
    head = [start.encode("latin-1", "replace"), *(key + b": " + content for key, content in headers), b"", b""]
    return b"\r\n".join(head) + body


@contextmanager
def _said(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadSettings(message("trace.trace-nothing-goes-out-untraced", directory=directory, why=error.strerror)) from error
