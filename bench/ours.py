"""One node of ours for the benchmarks: the demo's alpha, on one core, signing and encrypting as told."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mssgw.demo import cast, stage
from mssgw.demo.accounts import create


@dataclass
class Node:
    directory: Path
    ports: dict[str, int]
    user: str
    password: str
    pid: int

    @property
    def ca(self) -> str:
        return str(self.directory / "pki" / "ca.pem")


@contextlib.contextmanager
def house(directory: Path, base: int, *, core: int = 0, protect: bool = False) -> Iterator[Node]:
    """Authority and alpha, ready. With `protect` it signs and encrypts what leaves; without, mail is only accepted and kept."""
    cast.make(directory, base)
    passwords = cast.passwords(directory)
    alpha = cast.OPERATORS[0]
    with stage.Stage(directory) as scene:
        listen = f"127.0.0.1:{base}"
        authority = scene.start("authority", "-m", "mssgw.demo.authority", "--directory", str(directory / "authority"), "--listen", listen)
        config = stage.write_config(directory, alpha, base, 1, None)
        text = config.read_text().replace('log_level = "info"', 'log_level = "warning"')
        text = text.replace('networks = ["127.0.0.0/8"]', 'networks = ["127.0.0.0/8"]\nrequire_tls = false')
        if not protect:
            text = text.replace('sign = "always"', 'sign = "never"').replace('encrypt = "when-possible"', 'encrypt = "never"')
        config.write_text(text)
        create(config, alpha, passwords)
        scene.wait_ready(authority)
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core} & cores or cores)  # the children inherit it
        node = scene.start("alpha", "-m", "mssgw", "serve", "--config", str(config))
        os.sched_setaffinity(0, cores - {core} or cores)
        scene.wait_ready(node)
        user = alpha.accounts[0].address
        yield Node(directory, stage.ports(alpha, base), user, passwords[user], node.popen.pid)
        os.sched_setaffinity(0, cores)
