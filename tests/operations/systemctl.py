#!/usr/bin/env python3
"""systemctl for one unit, in the root directory of a test, without systemd: it reads the installed unit and does what systemd
does with the lines that matter here (User, LoadCredential, StateDirectory, AmbientCapabilities, UMask, Type=notify).

The credential lies as systemd lays it out where the file system knows no access lists: in /run/credentials/UNIT, a file that
belongs to the user of the service, mode 0400, in a directory of mode 0500.
"""

import os
import pwd
import signal
import socket
import subprocess
import sys
from pathlib import Path

NAME = "mssgw.service"
UNIT = Path("/etc/systemd/system") / NAME
PID, LOG, NOTIFY = Path("/run/test/pid"), Path("/run/test/mssgw.log"), "/run/test/notify"
CREDENTIALS = Path("/run/credentials") / NAME
KNOWN = {
    "Type",
    "ExecStart",
    "ExecReload",
    "User",
    "Group",
    "UMask",
    "LoadCredential",
    "StateDirectory",
    "StateDirectoryMode",
    "AmbientCapabilities",
}


def lines() -> list[tuple[str, str]]:
    """Of the unit and its drop-ins."""
    files = [UNIT, *sorted(Path(f"{UNIT}.d").glob("*.conf"))]
    found = [line.strip() for file in files for line in file.read_text().splitlines()]
    return [(name, value) for name, _, value in (line.partition("=") for line in found if line and line[0] not in "#[")]


def unit() -> dict[str, str]:
    return dict(lines())


def start() -> None:
    says = unit()
    missing = KNOWN - set(says)
    if missing:
        sys.exit(f"the unit says nothing of {missing}")
    user = pwd.getpwnam(says["User"])
    state = Path("/var/lib") / says["StateDirectory"]
    if not state.exists():
        state.mkdir()
        os.chown(state, user.pw_uid, user.pw_gid)
    state.chmod(int(says["StateDirectoryMode"], 8))
    CREDENTIALS.mkdir(parents=True, exist_ok=True)
    CREDENTIALS.chmod(0o700)
    given: list[str] = []
    for value in (value for key, value in lines() if key == "LoadCredential"):
        given = [*given, value] if value else []  # an empty one takes back those before
    for old in CREDENTIALS.iterdir():
        old.unlink()
    for name, _, source in (value.partition(":") for value in given):
        (CREDENTIALS / name).write_bytes(Path(source).read_bytes())
        os.chown(CREDENTIALS / name, user.pw_uid, user.pw_gid)
        (CREDENTIALS / name).chmod(0o400)
    os.chown(CREDENTIALS, user.pw_uid, user.pw_gid)
    CREDENTIALS.chmod(0o500)
    Path(NOTIFY).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(NOTIFY)
        os.chmod(NOTIFY, 0o777)
        ready.settimeout(60)
        capability = "+" + says["AmbientCapabilities"].removeprefix("CAP_").lower()
        command = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--no-new-privs"]
        command += [f"--inh-caps={capability}", f"--ambient-caps={capability}", f"--bounding-set=-all,{capability}"]
        environment = {
            "PATH": "/usr/bin",
            "NOTIFY_SOCKET": NOTIFY,
            "CREDENTIALS_DIRECTORY": str(CREDENTIALS),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with LOG.open("ab") as log:
            started = subprocess.Popen(
                [*command, *says["ExecStart"].split()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd="/", start_new_session=True,
                umask=int(says["UMask"], 8),
            )  # fmt: skip
        PID.write_text(str(started.pid))
        wait(ready, started)


def wait(ready: socket.socket, started: "subprocess.Popen[bytes]") -> None:
    while True:
        try:
            if b"READY=1" in ready.recv(4096):
                return
        except TimeoutError:
            pass
        if started.poll() is not None or not PID.exists():
            sys.exit(f"Job for {NAME} failed:\n{LOG.read_text(errors='replace')[-3000:]}")


def stop() -> None:
    if not PID.exists():
        return
    pid = int(PID.read_text())
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        handle = -1
    if handle >= 0:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        import select

        if not select.select([handle], [], [], 60)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    PID.unlink()
    for path in CREDENTIALS.glob("*"):
        path.unlink()
    if CREDENTIALS.exists():
        CREDENTIALS.rmdir()


def main() -> None:
    match sys.argv[1:]:
        case ["daemon-reload"]:
            return
        case ["enable", "--now", "mssgw"] | ["start", "mssgw"]:
            start()
        case ["stop", "mssgw"]:
            stop()
        case ["restart", "mssgw"]:
            stop()
            start()
        case ["reload", "mssgw"]:
            reload = unit()["ExecReload"].replace("$MAINPID", PID.read_text())
            sys.exit(subprocess.run(reload.split(), check=False).returncode)
        case other:
            sys.exit(f"the test's systemctl does not know {other}")


main()
