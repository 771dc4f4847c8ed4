"""Which process holds a TCP port of this machine, as far as /proc shows it. Linux; elsewhere nobody is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_LISTEN = "0A"  # the state of proc(5), /proc/net/tcp


@dataclass(frozen=True, slots=True)
class Holder:
    pid: int
    program: str

    def __str__(self) -> str:
        return f"{self.program} (pid {self.pid})"


def holder(port: int, proc: Path = Path("/proc")) -> Holder | None:
    """The process with a socket at that port, a listening one first; None when its files are not ours to read."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    if not wanted:
        return None
    for process in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            if any(str(descriptor.readlink()) in wanted for descriptor in (process / "fd").iterdir()):
                return Holder(int(process.name), (process / "comm").read_text().strip())
        except OSError:  # it has ended, or belongs to somebody else
            continue
    return None


def _inodes(port: int, proc: Path) -> set[str]:
    """Of listening sockets when there are any; otherwise of connections that go out from this port."""
    listening: set[str] = set()
    others: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if int(fields[1].rpartition(":")[2], 16) == port:
                (listening if fields[3] == _LISTEN else others).add(fields[9])
    return (listening or others) - {"0"}
