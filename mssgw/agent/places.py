"""Where the agent of a configuration listens, who is at the other end, and the files that a command line names."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator

SOCKET = "dmp-agent.sock"
LOCK = "dmp-agent.lock"

NEW, OVER, READ = "new", "over", "read"
"""How a file is opened: it may not be there, it may be replaced, it is read."""

_FLAGS = {
    NEW: os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
    OVER: os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
    READ: os.O_RDONLY | os.O_CLOEXEC,
}
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def run_directory(data: str | os.PathLike[str]) -> str:
    """Below `node.data`, where only its owner may go."""
    return os.path.join(data, "run")


def peer(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket (SO_PEERCRED, unix(7))."""
    given = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(given)[1]
    return uid


@contextlib.contextmanager
def entered(directory: str) -> Iterator[str]:
    """The directory under a short name: a socket's path has 107 octets at most. Raises OSError."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def connected(data: str | os.PathLike[str]) -> socket.socket | None:
    """To the agent below this directory; None where none answers, or where another user than the owner or we does."""
    directory = run_directory(data)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with entered(directory) as place:
            connection.connect(os.path.join(place, SOCKET))
        if peer(connection) in {os.geteuid(), os.stat(data).st_uid}:
            return connection
    except OSError:
        pass
    connection.close()
    return None


# -- files of the command line, by the rights and from the directory of who typed it


def seen(path: str) -> tuple[str, bool, bool]:
    """What stands there ("file", "directory", "other", "" for nothing), whether its directory is there, whether one may write."""
    kind = "file" if os.path.isfile(path) else "directory" if os.path.isdir(path) else "other" if os.path.lexists(path) else ""
    above = os.path.dirname(path) or "."
    return kind, os.path.isdir(above), os.access(path if os.path.exists(path) else above, os.W_OK)


def opened(path: str, how: str) -> int:
    """A descriptor. Raises OSError."""
    return os.open(path, _FLAGS[how], 0o666)
