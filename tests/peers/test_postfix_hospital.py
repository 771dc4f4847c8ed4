"""A real Postfix as the hospital's relay hands mail to the hospital port."""

import contextlib
import os
import signal
import subprocess
import tempfile
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path

import pytest

from tests.world import until

MESSAGES = 500 if os.environ.get("MSSGW_CRASH") == "long" else 100

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.hopital.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{port}
smtp_tls_security_level = encrypt
smtp_tls_CAfile = {ca}
smtp_destination_concurrency_limit = 10
maillog_file = {home}/log/mail.log
maillog_file_prefixes = {home}
alias_maps =
alias_database =
local_recipient_maps =
"""
MASTER_CF = """\
pickup    unix n - n 60  1 pickup
cleanup   unix n - n -   0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n -   - trivial-rewrite
bounce    unix - - n -   0 bounce
defer     unix - - n -   0 bounce
smtp      unix - - n -   - smtp
error     unix - - n -   - error
retry     unix - - n -   - error
showq     unix n - n -   - showq
postlog   unix-dgram n - n - 1 postlogd
tlsmgr    unix - - n 1000? 1 tlsmgr
scache    unix - - n -   1 scache
anvil     unix - - n -   1 anvil
proxymap  unix - - n -   - proxymap
"""


@pytest.fixture
def postfix(world):
    """A Postfix of its own: its queue, its configuration, nothing of the system's."""
    with tempfile.TemporaryDirectory(prefix="pf") as name:
        home = Path(name)
        home.chmod(0o755)
        for part in ("queue", "data", "etc", "log"):
            (home / part).mkdir()
        ca = home / "ca.pem"
        ca.write_bytes(world.path(world.description["ca"]).read_bytes())
        (home / "etc/main.cf").write_text(MAIN_CF.format(home=home, port=world.operator("alpha")["hospital"]["port"], ca=ca))
        (home / "etc/master.cf").write_text(MASTER_CF)
        subprocess.run(["chown", "postfix", home / "data", home / "queue"], check=True)
        (home / "etc").chmod(0o755)
        run = subprocess.run(["postfix", "-c", str(home / "etc"), "start"], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr + (home / "log/mail.log").read_text()
        try:
            yield home
        finally:
            subprocess.run(["postfix", "-c", str(home / "etc"), "stop"], capture_output=True, check=False)
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
                os.kill(int((home / "queue/pid/master.pid").read_text()), signal.SIGKILL)


@pytest.mark.peer("postfix", "sendmail")
@pytest.mark.skipif(os.geteuid() != 0, reason="Postfix wants root")
def test_postfix_hands_over_and_beta_reads(world, postfix):
    sent = []
    before = set(world.received(local="anne.leroy"))
    for number in range(MESSAGES):
        message = EmailMessage()
        message["From"], message["To"] = "dpi@alpha.mssante.test", "anne.leroy@beta.mssante.test"
        message["Subject"] = f"Compte rendu {number}"
        message["Message-ID"] = make_msgid(domain="hopital.test")
        message.set_content("Compte rendu d'hospitalisation.\n" * 20)
        subprocess.run(["/usr/sbin/sendmail", "-C", str(postfix / "etc"), "-f", "dpi@alpha.mssante.test", "-i", "-t"],
                       input=message.as_bytes(), check=True)
        sent.append(message["Message-ID"])
    until("all of Postfix's mail at beta", lambda: set(sent) <= set(world.received(local="anne.leroy")) - before, 180)
    with world.reader(local="anne.leroy") as client:
        header = client.fetch("*", "(BODY.PEEK[HEADER.FIELDS (AUTHENTICATION-RESULTS)])")[1][0][1].decode()
    assert "smime=pass" in header
