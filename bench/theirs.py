"""Postfix and Dovecot for the benchmarks: Debian's packages, configurations of their own, nothing of the system's touched."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.peers.postfix import running

MAIN_CF = """\
myhostname = bench.test
mynetworks = 127.0.0.0/8
relay_domains =
default_transport = discard:
local_transport = discard:
in_flow_delay = 0
message_size_limit = 100000000
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
"""
DOVECOT = """\
protocols = imap
listen = 127.0.0.1
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/dovecot.log
default_internal_user = dovecot
default_internal_group = dovecot
default_login_user = dovenull
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
first_valid_uid = 1
mail_location = {format}:{home}/mail
disable_plaintext_auth = no
mailbox_list_index = yes
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={home}/home
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


@contextlib.contextmanager
def postfix(home: Path, port: int, certificate: Path, key: Path, core: int = 0) -> Iterator[None]:
    """Postfix that queues durably and then discards."""
    with running(
        home, MAIN_CF.format(certificate=certificate, key=key), f"{port} inet n - n - 100 smtpd", before=("taskset", "-c", str(core))
    ):
        yield


@contextlib.contextmanager
def dovecot(home: Path, port: int, certificate: Path, key: Path, password: str, form: str = "maildir", core: int = 0) -> Iterator[None]:
    for part in ("run", "state", "mail", "home"):
        (home / part).mkdir(parents=True)
    home.chmod(0o755)
    subprocess.run(["chown", "mail:mail", home / "mail", home / "home"], check=True)
    (home / "dovecot.conf").write_text(
        DOVECOT.format(home=home, port=port, certificate=certificate, key=key, password=password, format=form)
    )
    command = ["taskset", "-c", str(core), "dovecot", "-c", str(home / "dovecot.conf")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # it keeps what it inherits open
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((home / "run/master.pid").read_text()), signal.SIGTERM)
