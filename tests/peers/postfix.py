"""A private Postfix: Debian's program with its queue and configuration in a directory; nothing of the system's is touched.

The program is the one that is installed, or where the machine has another mail server, the same package unpacked by
`tests/peers/install` (MSSGW_POSTFIX names the directory). Tests and benchmarks add their own lines of main.cf and services of master.cf.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

UNPACKED = Path(os.environ.get("MSSGW_POSTFIX") or "/var/lib/mssgw-peers/postfix")
ROOT = UNPACKED if (UNPACKED / "usr/sbin/postfix").exists() else Path("/")
PROGRAM, SENDMAIL = str(ROOT / "usr/sbin/postfix"), str(ROOT / "usr/sbin/sendmail")
MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {meta}
sendmail_path = {root}/usr/sbin/sendmail
mail_owner = {owner}
setgid_group = {group}
default_privs = daemon
import_environment = MAIL_CONFIG MAIL_LOGTAG TZ LD_LIBRARY_PATH LD_PRELOAD FAKETIME FAKETIME_DONT_FAKE_MONOTONIC FAKETIME_DISABLE_SHM
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = {home}/log/mail.log
maillog_file_prefixes = {home}
alias_maps =
alias_database =
local_recipient_maps =
"""
# Every service that a test or benchmark needs; those that listen are added by name.
SERVICES = """\
pickup    unix n - n 60  1 pickup
cleanup   unix n - n -   0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n -   - trivial-rewrite
bounce    unix - - n -   0 bounce
defer     unix - - n -   0 bounce
trace     unix - - n -   0 bounce
verify    unix - - n -   1 verify
smtp      unix - - n -   - smtp
virtual   unix - n n -   - virtual
discard   unix - - n -   - discard
error     unix - - n -   - error
retry     unix - - n -   - error
showq     unix n - n -   - showq
postlog   unix-dgram n - n - 1 postlogd
tlsmgr    unix - - n 1000? 1 tlsmgr
scache    unix - - n -   1 scache
anvil     unix - - n -   1 anvil
proxymap  unix - - n -   - proxymap
"""


def owner() -> str:
    """The user that Postfix runs as: its own, or where the package is only unpacked, one that owns nothing of it."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postfix").pw_name
    return "nobody"


def _group() -> str:
    with contextlib.suppress(KeyError):
        return grp.getgrnam("postdrop").gr_name
    return "games"


def _meta(home: Path) -> Path:
    """Where Postfix looks for the list of its own files and its dynamic maps."""
    if Path("/") == ROOT:
        return Path("/etc/postfix")
    meta = home / "meta"
    shutil.copytree(ROOT / "etc/postfix", meta)
    shutil.copy(ROOT / "usr/share/postfix/dynamicmaps.cf", meta)
    return meta


def environment() -> dict[str, str]:
    """For its programs: an unpacked one finds its libraries."""
    return dict(os.environ) if Path("/") == ROOT else os.environ | {"LD_LIBRARY_PATH": str(ROOT / "usr/lib/postfix")}


@contextlib.contextmanager
def running(home: Path, main_cf: str, listen: str = "", *, owned: Iterable[str] = (), before: tuple[str, ...] = ()) -> Iterator[Path]:
    """Run it in `home`. `main_cf`: lines after the common ones, with {home}. `listen`: a line of master.cf for a port.
    `owned`: more directories that are Postfix's. `before`: a command in front of `postfix` (taskset). Wants root."""
    for part in ("queue", "data", "etc", "log", *owned):
        (home / part).mkdir(parents=True)
    home.chmod(0o755)
    (home / "etc").chmod(0o755)
    text = MAIN_CF + main_cf
    for name, value in {"home": home, "root": str(ROOT).rstrip("/"), "owner": owner(), "group": _group(), "meta": _meta(home)}.items():
        text = text.replace(f"{{{name}}}", str(value))
    (home / "etc/main.cf").write_text(text)
    (home / "etc/master.cf").write_text(f"{listen}\n{SERVICES}")
    subprocess.run(["chown", owner(), home / "data", home / "queue", *(home / part for part in owned)], check=True)
    control = [PROGRAM, "-c", str(home / "etc")]
    run = subprocess.run([*before, *control, "start"], capture_output=True, text=True, check=False, env=environment())
    log = home / "log/mail.log"
    assert run.returncode == 0, run.stderr + (log.read_text() if log.exists() else "")
    try:
        yield home
    finally:
        subprocess.run([*control, "stop"], capture_output=True, check=False, env=environment())
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(int((home / "queue/pid/master.pid").read_text()), signal.SIGKILL)
