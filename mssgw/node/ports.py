"""Whether the addresses of a configuration can be listened on: tried once before any worker, and by `config check` beside no node.

Without SO_REUSEPORT, which the workers share their ports by: a stranger who has set it as well would go unnoticed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from mssgw.core.config import Config
from mssgw.core.config.base import Listen
from mssgw.core.errors import ConfigError, Problem
from mssgw.core.holder import holder
from mssgw.core.texts import Message, message, of_system

_TABLES = ("relay", "hospital", "submission", "imap", "web", "metrics")
_FIELDS = ("listen", "listen_tls")


def require_free(config: Config, *, by_service: bool = True) -> None:
    """Raises ConfigError with every address that can't be listened on. Nothing is tried while a node runs on this data.

    `by_service`: whether a missing right for a low port counts; a verb has not that of the service.
    """
    if not _node_runs(config.node.data) and (problems := list(_problems(config, by_service=by_service))):
        raise ConfigError(problems)


def _problems(config: Config, *, by_service: bool) -> Iterator[Problem]:
    for name in _TABLES:
        for field in _FIELDS:
            for listen in getattr(getattr(config, name), field, ()):
                try:
                    _try(listen)
                except OSError as error:
                    if by_service or error.errno not in (errno.EACCES, errno.EPERM):
                        yield f"{name}.{field}", _sentence(listen, error)


def _try(listen: Listen) -> None:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have just ended hold no port
        if family == socket.AF_INET6:
            tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        tried.bind((listen.host, listen.port))
        tried.listen(1)


def _sentence(listen: Listen, error: OSError) -> Message:
    match error.errno:
        case errno.EADDRINUSE:
            found = holder(listen.port)
            return message("ports.taken", listen=listen, holder=found) if found else message("ports.taken-by-somebody", listen=listen)
        case errno.EADDRNOTAVAIL:
            return message("ports.not-local", listen=listen)
        case errno.EACCES | errno.EPERM:
            return message("ports.not-allowed", listen=listen)
        case _:
            return message("at", place=listen, what=of_system(error))


def _node_runs(data: Path) -> bool:
    """Whether the parent of a node holds its lock there."""
    try:
        fd = os.open(data / "serve.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
