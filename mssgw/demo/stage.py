"""The processes of the demo, as real ones: started in order, watched, stopped together.

Each operator runs the same `mssgw serve` that production runs, with its own `mssgw.toml`. A process reports that it is
ready as it would to systemd (sd_notify), so that nobody has to guess or to sleep.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mssgw.core.holder import holder
from mssgw.demo.cast import OPERATORS, ZONE, Operator, dmp_name

START_SECONDS = 60.0
STOP_SECONDS = 35.0

CONFIG = """\
# Written by `mssgw demo`. config/mssgw.toml in the sources shows every setting.
[node]
hostname = "{operator.host}"
data = "data"
store = "{store}"
workers = {workers}
log_level = "info"
log_format = "json"

[seal]
master_key = "file:master.key"

[trust]
anchors = "../anchors"
pki = "private"
crl_urls = ["http://127.0.0.1:{base}/CRL/ACR-FO.crl", "http://127.0.0.1:{base}/CRL/ACI-FO-PP.crl"]
whitelist_url = "http://127.0.0.1:{base}/listeblanchemssante.xml"
signer_common_names = ["alb.{zone}"]
refresh_seconds = 30

[relay]
listen = ["127.0.0.1:{relay}"]
certificate = "../pki/{operator.name}.pem"
key = "file:../pki/{operator.name}.key"

[hospital]
listen = ["127.0.0.1:{hospital}"]
networks = ["127.0.0.0/8"]

[clients]
certificate = "../pki/{operator.name}.pem"
key = "file:../pki/{operator.name}.key"

[submission]
listen = ["127.0.0.1:{submission}"]
listen_tls = ["127.0.0.1:{submissions}"]

[imap]
listen = ["127.0.0.1:{imap}"]
listen_tls = ["127.0.0.1:{imaps}"]

[web]
listen = ["127.0.0.1:{web}"]

[metrics]
listen = ["127.0.0.1:{metrics}"]

[queue]
retry_seconds = [2, 5, 15, 60, 300]
lease_seconds = 20

[smime]
recipients = "recipients"
identities = "identities"

[[domain]]
name = "{operator.domain}"
certificate = "../pki/{operator.name}-seal.pem"
key = "file:../pki/{operator.name}-seal.key"
sign = "always"
encrypt = "when-possible"
"""

DMP = """
[dmp]
url = "https://127.0.0.1:{dmp}/si-dmp-server/v2/services"
anchors = "../pki/ca.pem"
certificate = "../pki/{operator.name}.pem"
key = "file:../pki/{operator.name}.key"
insi_url = "https://127.0.0.1:{dmp}/insi"
insi_authorisation = "IDAM-DEMO"
legacy_dossier_management = true
regulation_structures = ["1750712184"]
"""
ACTOR = """
[[dmp_actor]]
address = "{account.address}"
id = "{account.rpps}"
family = "{account.surname}"
given = "{account.given}"
structure_id = "{operator.ou}"
structure_name = "{operator.structure}"
sector = "SA01"
speciality = "SM26"
practice = "ETABLISSEMENT"
authentication = "card"
certificate = "../pki/{name}.pem"
key = "file:../pki/{name}.key"
"""
ROUTE = """
[[route]]
domain = "{domain}"
host = "127.0.0.1"
port = {port}
"""

OFFSETS = {"relay": 0, "submission": 1, "submissions": 2, "imap": 3, "imaps": 4, "web": 5, "metrics": 6, "hospital": 7}


def ports(operator: Operator, base: int) -> dict[str, int]:
    return {name: operator.port(base, offset) for name, offset in OFFSETS.items()}


def write_config(directory: Path, operator: Operator, base: int, workers: int, store: str | None) -> Path:
    """The operator's `mssgw.toml`, and the directory it stands in."""
    home = directory / operator.name
    home.mkdir(mode=0o700, exist_ok=True)
    url = own_store(store, operator.name) if store else "sqlite:store.db"
    text = CONFIG.format(operator=operator, store=url, workers=workers, base=base, zone=ZONE, **ports(operator, base))
    for other in OPERATORS:
        if other is not operator:
            text += ROUTE.format(domain=other.domain, port=other.port(base, OFFSETS["relay"]))
    text += ROUTE.format(domain=f"gamma.{ZONE}", port=base + 40)
    text += DMP.format(operator=operator, dmp=base + 30)
    for account in operator.accounts:
        if account.person:
            text += ACTOR.format(operator=operator, account=account, name=dmp_name(account))
    path = home / "mssgw.toml"
    path.write_text(text, encoding="utf-8")
    return path


def own_store(url: str, name: str) -> str:
    """Two operators, one `--store`: each gets its own file, or its own schema of the PostgreSQL database."""
    if not url.startswith(("sqlite:", "postgresql:")):
        raise OSError("--store: expected sqlite:PATH or postgresql://HOST/DATABASE")
    if url.startswith("sqlite:"):
        path = Path(url.removeprefix("sqlite:"))
        return f"sqlite:{path.with_name(f'{path.stem}-{name}{path.suffix}')}"
    import psycopg  # the extra `postgres`; whoever names a PostgreSQL URL has it

    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"')  # our own names, never input
    except psycopg.Error as error:
        raise OSError(f"--store {url.rpartition('@')[2]}: {str(error).splitlines()[0]}") from error
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """One demo per directory. Raises OSError that names the one that runs; nothing of it is touched."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            raise OSError(f"already running in {directory} (pid {pid}); stop it, or choose another --dir") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def require_free(base: int) -> None:
    """Raises OSError naming the first of the demo's ports that somebody else holds."""
    for port in (base, base + 30, *(port for operator in OPERATORS for port in ports(operator, base).values())):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken = holder(port) or "another program"
                raise OSError(f"port {port} is taken by {taken}; choose other ports with --port-base") from None


def _die_with_parent() -> None:
    """In the child, before exec: SIGTERM when the demo itself is killed, so that nothing stays behind (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


@dataclass
class Process:
    name: str
    popen: subprocess.Popen[bytes]
    ready: socket.socket


@dataclass
class Stage:
    """A group of processes. Use as a context manager: leaving it stops them all."""

    directory: Path
    processes: list[Process] = field(default_factory=list)

    def start(self, name: str, *arguments: str) -> Process:
        """Start `python ARGUMENTS`, its output in DIR/log/NAME.log."""
        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ready.bind("")  # an abstract address of the kernel's choice
        logs = self.directory / "log"
        logs.mkdir(mode=0o700, exist_ok=True)
        with (logs / f"{name}.log").open("ab") as log:
            popen = subprocess.Popen(  # noqa: S603 - our own interpreter, our own arguments
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                env=os.environ | {"NOTIFY_SOCKET": "@" + ready.getsockname()[1:].decode()},
            )
        process = Process(name, popen, ready)
        self.processes.append(process)
        return process

    def wait_ready(self, process: Process, port: int | None = None) -> None:
        """Waits until the process sends READY or answers at `port`. Raises ChildProcessError with the end of its log when it doesn't."""
        deadline = time.monotonic() + START_SECONDS
        process.ready.settimeout(0.05)
        while time.monotonic() < deadline and process.popen.poll() is None:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in process.ready.recv(4096):
                    return
            if port:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    return
        tail = (self.directory / "log" / f"{process.name}.log").read_text(errors="replace").splitlines()[-15:]
        raise ChildProcessError(f"{process.name} did not start:\n  " + "\n  ".join(tail))

    def ended(self) -> Process | None:
        """A process that ended by itself."""
        return next((process for process in self.processes if process.popen.poll() is not None), None)

    def stop(self) -> None:
        """SIGTERM to all, the last started first; SIGKILL to what is left."""
        for process in reversed(self.processes):
            if process.popen.poll() is None:
                process.popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in reversed(self.processes):
            try:
                process.popen.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.popen.pid, signal.SIGKILL)
                process.popen.wait()
            process.ready.close()
        self.processes.clear()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
