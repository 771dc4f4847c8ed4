"""Programs of the tests as another user, who may not see the directories in which root keeps its Python."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HIDDEN = """
set -e
mkdir -p "$2" && mount -t tmpfs tmpfs "$2" && mkdir "$2/python" && mount --bind "$1" "$2/python"
mount -t tmpfs -o mode=755 tmpfs "$3"
mkdir -p "$1" && mount --bind "$2/python" "$1"
shift 3
exec "$@"
"""


def in_reach(scratch: Path) -> list[str]:
    """What to put before a command so that any user can run our Python: nothing, or a mount name space of its own."""
    base = Path(sys.base_prefix)
    hidden = next((one for one in reversed(base.parents) if not one.stat().st_mode & 0o001), None)
    if hidden is None:
        return []
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", _HIDDEN, "sh", str(base), str(scratch), str(hidden)]


@contextmanager
def open_directory() -> Iterator[Path]:
    """A new directory that every user may enter: those of pytest are their owner's alone, again at each start of a session."""
    with tempfile.TemporaryDirectory(prefix="mssgw-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
