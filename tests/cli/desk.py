"""The command line as people meet it: run in this process, because a new one costs a second."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from mssgw.cli import main
from tests.configurations import alpha


def mssgw(*arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The program, whole: its status, and what it wrote on each stream. `given` is its standard input."""
    streams = [io.TextIOWrapper(io.BytesIO(one), encoding="utf-8") for one in (given, b"", b"")]
    old = sys.argv, sys.stdin, sys.stdout, sys.stderr
    sys.argv, sys.stdin, sys.stdout, sys.stderr = ["mssgw", *map(str, arguments)], *streams
    try:
        status = main()
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.argv, sys.stdin, sys.stdout, sys.stderr = old
    for one in streams[1:]:
        one.flush()
    out, err = (one.buffer.getvalue() for one in streams[1:])
    return subprocess.CompletedProcess([], status, out, err)


class Node:
    """A directory with a configuration and a master key, and the verbs on it. `called` has the last call whole."""

    def __init__(self, directory: Path) -> None:
        self.config = directory / "mssgw.toml"
        self.config.write_text(alpha())
        (directory / "anchors").mkdir()
        (directory / "master.key").write_bytes(bytes(range(32)))
        (directory / "master.key").chmod(0o600)
        self.called = subprocess.CompletedProcess[bytes]([], 0, b"", b"")

    def __call__(self, *arguments: str, status: int = 0, given: str = "") -> Any:
        """What it printed on both streams; with --json the document."""
        config = () if arguments[0] == "config" or arguments[:2] == ("seal", "new-key") else ("--config", self.config)
        self.called = mssgw(*arguments, *config, given=given.encode())
        said = (self.called.stdout + self.called.stderr).decode()
        assert self.called.returncode == status, said
        return json.loads(self.called.stdout) if "--json" in arguments else said
