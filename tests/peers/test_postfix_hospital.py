"""A real Postfix as the hospital's relay hands mail to the hospital port."""

import os
import subprocess
import tempfile
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path

import pytest

from tests.peers.postfix import PROGRAM, SENDMAIL, environment, running
from tests.world import until

MESSAGES = 500 if os.environ.get("MSSGW_CRASH") == "long" else 100

MAIN_CF = """\
myhostname = relay.hopital.test
relayhost = [127.0.0.1]:{port}
smtp_tls_security_level = encrypt
smtp_tls_CAfile = {ca}
smtp_destination_concurrency_limit = 10
"""


@pytest.fixture
def postfix(world):
    with tempfile.TemporaryDirectory(prefix="pf") as name:
        ca = Path(name) / "ca.pem"
        ca.write_bytes(world.path(world.description["ca"]).read_bytes())
        with running(Path(name), MAIN_CF.format(port=world.operator("alpha")["hospital"]["port"], ca=ca)) as home:
            yield home


@pytest.mark.peer(PROGRAM, SENDMAIL)
@pytest.mark.root
def test_postfix_hands_over_and_beta_reads(world, postfix):
    sent = []
    before = set(world.received(local="anne.leroy"))
    for number in range(MESSAGES):
        message = EmailMessage()
        message["From"], message["To"] = "dpi@alpha.mssante.test", "anne.leroy@beta.mssante.test"
        message["Subject"] = f"Compte rendu {number}"
        message["Message-ID"] = make_msgid(domain="hopital.test")
        message.set_content("Compte rendu d'hospitalisation.\n" * 20)
        subprocess.run(
            [SENDMAIL, "-C", str(postfix / "etc"), "-f", "dpi@alpha.mssante.test", "-i", "-t"],
            input=message.as_bytes(),
            check=True,
            env=environment(),
        )
        sent.append(message["Message-ID"])
    until("all of Postfix's mail at beta", lambda: set(sent) <= set(world.received(local="anne.leroy")) - before, 180)
    with world.reader(local="anne.leroy") as client:
        header = client.fetch("*", "(BODY.PEEK[HEADER.FIELDS (AUTHENTICATION-RESULTS)])")[1][0][1].decode()
    assert "smime=pass" in header
