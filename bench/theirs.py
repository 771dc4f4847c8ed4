"""Postfix and Dovecot for the benchmarks: Debian's packages, configurations of their own, nothing of the system's touched."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.test
mydestination =
mynetworks = 127.0.0.0/8
relay_domains =
default_transport = discard:
local_transport = discard:
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
in_flow_delay = 0
message_size_limit = 100000000
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
maillog_file = {home}/log/mail.log
maillog_file_prefixes = {home}
alias_maps =
alias_database =
local_recipient_maps =
"""
MASTER_CF = """\
{port}    inet n - n -   100 smtpd
cleanup   unix n - n -   0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n -   - trivial-rewrite
bounce    unix - - n -   0 bounce
defer     unix - - n -   0 bounce
discard   unix - - n -   - discard
error     unix - - n -   - error
retry     unix - - n -   - error
postlog   unix-dgram n - n - 1 postlogd
tlsmgr    unix - - n 1000? 1 tlsmgr
scache    unix - - n -   1 scache
anvil     unix - - n -   1 anvil
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
    for part in ("queue", "data", "etc", "log"):
        (home / part).mkdir(parents=True)
    home.chmod(0o755)
    (home / "etc/main.cf").write_text(MAIN_CF.format(home=home, certificate=certificate, key=key))
    (home / "etc/master.cf").write_text(MASTER_CF.format(port=port))
    subprocess.run(["chown", "postfix", home / "data", home / "queue"], check=True)
    command = ["taskset", "-c", str(core), "postfix", "-c", str(home / "etc"), "start"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        subprocess.run(["postfix", "-c", str(home / "etc"), "stop"], check=False, capture_output=True)


@contextlib.contextmanager
def dovecot(home: Path, port: int, certificate: Path, key: Path, password: str, form: str = "maildir", core: int = 0) -> Iterator[None]:
    for part in ("run", "state", "mail", "home"):
        (home / part).mkdir(parents=True)
    home.chmod(0o755)
    subprocess.run(["chown", "mail:mail", home / "mail", home / "home"], check=True)
    (home / "dovecot.conf").write_text(
        DOVECOT.format(home=home, port=port, certificate=certificate, key=key, password=password, format=form))
    command = ["taskset", "-c", str(core), "dovecot", "-c", str(home / "dovecot.conf")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # it keeps what it inherits open
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((home / "run/master.pid").read_text()), signal.SIGTERM)
