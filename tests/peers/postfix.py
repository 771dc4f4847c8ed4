"""A private Postfix: Debian's program with its queue and configuration in a directory; nothing of the system's is touched.

Tests and benchmarks add their own lines of main.cf and services of master.cf.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
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


@contextlib.contextmanager
def running(home: Path, main_cf: str, listen: str = "", *, owned: Iterable[str] = (), before: tuple[str, ...] = ()) -> Iterator[Path]:
    """Run it in `home`. `main_cf`: lines after the common ones, with {home}. `listen`: a line of master.cf for a port.
    `owned`: more directories that are Postfix's. `before`: a command in front of `postfix` (taskset). Wants root."""
    for part in ("queue", "data", "etc", "log", *owned):
        (home / part).mkdir(parents=True)
    home.chmod(0o755)
    (home / "etc").chmod(0o755)
    (home / "etc/main.cf").write_text((MAIN_CF + main_cf).replace("{home}", str(home)))
    (home / "etc/master.cf").write_text(f"{listen}\n{SERVICES}")
    subprocess.run(["chown", "postfix", home / "data", home / "queue", *(home / part for part in owned)], check=True)
    control = ["postfix", "-c", str(home / "etc")]
    run = subprocess.run([*before, *control, "start"], capture_output=True, text=True, check=False)
    log = home / "log/mail.log"
    assert run.returncode == 0, run.stderr + (log.read_text() if log.exists() else "")
    try:
        yield home
    finally:
        subprocess.run([*control, "stop"], capture_output=True, check=False)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(int((home / "queue/pid/master.pid").read_text()), signal.SIGKILL)
