"""An empty machine of the test's own: a root directory, mounts, network and processes of its own, in which commands run as root.

What is the host's: /usr, read-only, with the programs of Debian; the Python of the virtual environment and the sources, at
their own places. All else is new: /etc with root and no other user, /var, /run, /tmp, one network with loopback only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parents[2]
VENV: Final = Path(sys.prefix)
INSTALLED: Final = Path("/opt/mssgw")
SECONDS: Final = 300  # for one command
HOSTS: Final = "127.0.0.1 localhost mx.chu.example mx.other.example\n"

_PATH = "/run/test/bin:/usr/sbin:/usr/bin"
_COPIED = ("ld.so.cache", "nsswitch.conf", "login.defs", "services", "protocols", "localtime")
_BOUND = ("ssl", "alternatives", "ld.so.conf.d")
_MOUNTS = r"""
set -e
umask 022
root=$1; shift
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir -p usr etc dev proc run/test tmp var/lib var/backups var/tmp root opt
chmod 1777 tmp var/tmp
mount --bind -o ro /usr usr
for one in bin sbin lib lib64; do ln -s usr/$one $one; done
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
for one in null zero full random urandom tty; do touch dev/$one; mount --bind /dev/$one dev/$one; done
ln -s /proc/self/fd dev/fd; mkdir dev/shm; chmod 1777 dev/shm
for one in ETC_BOUND; do [ -e /etc/$one ] && { mkdir -p etc/$one; mount --bind -o ro /etc/$one etc/$one; }; done
while [ $# -gt 1 ]; do mkdir -p "./$2"; mount --bind "$1" "./$2"; shift 2; done
ip link set lo up
echo up
exec sleep infinity
""".replace("ETC_BOUND", " ".join(_BOUND))


def lacking() -> str:
    """Why such a machine can't be made here; "" when it can."""
    if os.geteuid() != 0:
        return "only root makes a machine of its own"
    programs = ("unshare", "nsenter", "chroot", "mount", "ip", "setpriv", "useradd", "curl")
    if missing := [one for one in programs if shutil.which(one) is None and shutil.which(one, path="/usr/sbin") is None]:
        return f"without {', '.join(missing)}"
    if not os.path.islink("/bin"):
        return "needs a system whose /bin is /usr/bin"
    tried = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "this system lets root make no name spaces"


class Machine:
    def __init__(self, root: Path, pid: int) -> None:
        self.root, self._pid = root, pid
        self._enter = ["nsenter", "--target", str(pid), "--mount", "--net", "--pid", "chroot", str(root)]

    def run(self, command: str, *, status: int | None = 0, given: bytes = b"") -> str:
        """A command line, as root's shell takes it, in the directory of the sources; what it printed."""
        environment = ["HOME=/root", "USER=root", "LOGNAME=root", "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1", f"PATH={_PATH}"]
        shell = ["/bin/sh", "-c", f"umask 022; cd {SOURCES} && {command}"]
        done = subprocess.run(
            [*self._enter, "/usr/bin/env", "-i", *environment, *shell], input=given, capture_output=True, timeout=SECONDS, check=False
        )
        said = (done.stdout + done.stderr).decode(errors="replace")
        assert status is None or done.returncode == status, f"{command}\n{said}\n{self.log()[-3000:]}"
        return said

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """A program that goes on; it ends with the machine."""
        return subprocess.Popen([*self._enter, "/bin/sh", "-c", f"cd {SOURCES} && exec {command}"])

    def path(self, inside: str) -> Path:
        """A file of the machine, from outside."""
        return Path(f"/proc/{self._pid}/root{self.root}{inside}")

    def log(self) -> str:
        """What the node wrote."""
        file = self.path("/run/test/mssgw.log")
        return file.read_text(errors="replace") if file.exists() else ""


@contextmanager
def machine(root: Path) -> Iterator[Machine]:
    """An empty one, with the sources and what `pip install` would have put into /opt/mssgw."""
    bound = [(SOURCES, SOURCES), (VENV, VENV), (VENV, INSTALLED)]
    if not Path(sys.base_prefix).is_relative_to("/usr"):
        bound.append((Path(sys.base_prefix), Path(sys.base_prefix)))
    pairs = [str(one) for pair in bound for one in pair]
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", _MOUNTS, "sh"]
    process = subprocess.Popen([*command, str(root), *pairs], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        made = Machine(root, child)
        _furnish(made)
        yield made
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


def _furnish(made: Machine) -> None:
    etc = made.path("/etc")
    for name in _COPIED:
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), etc / name)
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n")
    (etc / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (etc / "hosts").write_text(HOSTS)
    (etc / "systemd" / "system").mkdir(parents=True)
    programs = made.path("/run/test/bin")
    programs.mkdir()
    text = Path(__file__).with_name("systemctl.py").read_text()
    (programs / "systemctl").write_text(text.replace("#!/usr/bin/env python3", f"#!{VENV}/bin/python"))
    (programs / "systemctl").chmod(0o755)
