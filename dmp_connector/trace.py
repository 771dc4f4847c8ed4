"""Trace: each SOAP request and answer byte for byte, as files (homologation asks for them).

NNNN-TD0.2-request.http and NNNN-TD0.2-response.http: start line, headers, empty line, body as it was sent.
These files hold patient data: the directory is 0700, the files 0600, and in production the settings refuse
the whole thing without an audited switch. A trace that cannot be written stops the call: it was asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import count
from pathlib import Path


class TraceSink:
    """A directory. Numbers continue after the files already there."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        taken = (int(found[1]) for path in directory.iterdir() if (found := re.match(r"(\d{4,})-", path.name)))
        self._numbers = count(max(taken, default=0) + 1)

    def number(self) -> int:
        return next(self._numbers)

    def write(self, number: int, name: str, kind: str, start: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        head = b"\r\n".join([start.encode("latin-1", "replace"), *(key + b": " + content for key, content in headers), b"", b""])
        path = self._directory / f"{number:04d}-{re.sub(r'[^A-Za-z0-9.-]', '_', name)}-{kind}.http"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(head + body)
