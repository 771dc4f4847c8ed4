"""docs/operations.md, run: every indented line, in its order, by root, on an empty machine (machine.py).

What the test does instead of, or beside, the page, and nothing else:

* apt-get, `python3 -m venv` and `pip` are not run: /opt/mssgw is the virtual environment of `make dev`, and the files
  they name must exist. `systemctl` is the test's own (systemctl.py): it reads the installed unit.
* What an administrator receives (/root/received) and chooses (/root/jeanne.password) is put there.
* The authority is the demo's, so `[trust]` gets the lines that the page names for another PKI, and `import-anchors` a file.
* After the first hour another operator sends mail, which is read by IMAP, then and after the restore. The data directory is lost
  where the page stops the node to restore it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from mssgw.demo.authority import publish
from mssgw.demo.pki import Pki, listed_name
from mssgw.demo.whitelist import ListEntry
from tests.operations.machine import SOURCES, VENV, Machine, lacking, machine
from tests.world import until

pytestmark = [
    pytest.mark.wall_clock("each command has an environment of its own, as systemd gives it"),
    pytest.mark.slow,
    pytest.mark.skipif(lacking() != "", reason=lacking()),
]

PAGE: Final = SOURCES / "docs" / "operations.md"
AUTHORITY: Final = "127.0.0.1:8000"
PASSWORD: Final = "correct horse battery"
MAIL_ID: Final = "<1@chu.example>"  # the page restores this one
NOT_RUN: Final = re.compile(r"apt-get install|python3 -m venv |\S+/pip (install|wheel) ")
TRUST: Final = f"""\
anchors = "anchors"
pki = "private"
signer_common_names = ["alb.mssante.test"]
whitelist_url = "http://{AUTHORITY}/listeblanchemssante.xml"
"""

SEND: Final = f"""
import smtplib, ssl
context = ssl.create_default_context(cafile="/root/other/ca.pem")
context.load_cert_chain("/root/other/peer.pem", "/root/other/peer.key")
with smtplib.SMTP("mx.chu.example", 25, local_hostname="mx.other.example", timeout=60) as client:
    client.starttls(context=context)
    client.sendmail("paul@other.example", ["jeanne.martin@chu.example"],
        b"From: paul@other.example\\r\\nTo: jeanne.martin@chu.example\\r\\nSubject: resultats\\r\\nMessage-ID: {MAIL_ID}\\r\\n"
        b"Date: Sun, 22 Nov 2026 08:00:00 +0000\\r\\n\\r\\nTout va bien.\\r\\n")
"""
READ: Final = f"""
import imaplib, ssl
context = ssl.create_default_context(cafile="/root/other/ca.pem")
client = imaplib.IMAP4_SSL("mx.chu.example", 993, ssl_context=context, timeout=60)
client.login("jeanne.martin@chu.example", {PASSWORD!r})
for _, name in ((line, line.decode().split(' "/" ')[1]) for line in client.list()[1]):
    print("folder", name, client.status(name, "(MESSAGES)")[1][0].decode())
client.select("INBOX", readonly=True)
for number in client.search(None, "ALL")[1][0].split():
    print(client.fetch(number, "(BODY.PEEK[])")[1][0][1].decode())
"""


def chapters() -> dict[str, list[str]]:
    """The commands of each chapter, in order."""
    found: dict[str, list[str]] = {}
    title = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        elif line.startswith("    "):
            found.setdefault(title, []).append(line.strip())
    return found


@pytest.fixture
def empty() -> Iterator[Machine]:
    """The machine, and the world around it: an authority, and another operator's certificate."""
    with ExitStack() as stack:
        made = stack.enter_context(machine(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mssgw-machine-")))))
        _around(made)
        authority = made.start(f"{VENV}/bin/python -m mssgw.demo.authority --directory /root/authority --listen {AUTHORITY}")
        stack.callback(authority.wait)
        stack.callback(authority.terminate)
        until("the authority", lambda: "200" in made.run(f"curl -sI -X GET http://{AUTHORITY}/listeblanchemssante.xml", status=None))
        yield made


def _around(made: Machine) -> None:
    pki = Pki(f"http://{AUTHORITY}")
    ours, theirs = (pki.operator(f"mx.{name}.example", ou=ou) for name, ou in (("chu", "318751275100020"), ("other", "318751275100038")))
    signer = pki.list_signer()
    received, other, authority = (made.path(f"/root/{name}") for name in ("received", "other", "authority"))
    for directory in (received, other, authority):
        directory.mkdir()
    ours.write(received, "operator")
    ours.write(received, "clients")
    theirs.write(other, "peer")
    pki.save(authority)
    anchors = "".join(one.credential.pem.decode() for one in pki.authorities.values())
    (received / "anchors.pem").write_text(anchors)
    (other / "ca.pem").write_text(anchors)
    publish(
        authority, [ListEntry("chu.example", listed_name(ours)), ListEntry("other.example", listed_name(theirs))], signer, datetime.now(UTC)
    )
    made.path("/root/jeanne.password").write_text(PASSWORD + "\n")


def run(made: Machine, command: str) -> str:
    if NOT_RUN.match(command):
        for name in re.findall(r"requirements\S*\.lock", command):
            assert (SOURCES / name).is_file(), f"{command}: there is no {name}"
        return ""
    if "trust import-anchors" in command:
        config = made.path("/etc/mssgw/mssgw.toml")
        config.write_text(config.read_text().replace('anchors = "anchors"\n', TRUST))
        command += " /root/received/anchors.pem"
    return made.run(command)


def python(made: Machine, script: str) -> str:
    return made.run(f"{VENV}/bin/python -", given=script.encode())


def owners(made: Machine, directory: str) -> set[str]:
    return set(made.run(f"find {directory} -printf '%u:%g\\n'").split())


def test_from_an_empty_machine_to_mail_received_lost_and_restored(empty: Machine) -> None:
    page = chapters()
    for command in page.pop("Install"):
        run(empty, command)
    said = {command: run(empty, command) for command in page.pop("The first hour")}
    first, checked, healthy = (
        next(text for command, text in said.items() if part in command) for part in ("init", "config check", "/health")
    )
    assert "chu.example. IN MX 10 mx.chu.example." in first
    assert "operator.pem" in first  # still missing
    assert "ok, 1 domain(s)" in checked
    assert "0 warning(s)" in checked, checked
    assert '"status":"ready"' in healthy.replace(" ", "")
    assert "no account" not in (again := empty.run("/opt/mssgw/bin/mssgw init"))
    assert "Nothing is missing" in again

    python(empty, SEND)
    until("the mail", lambda: MAIL_ID in python(empty, READ))

    for title, commands in page.items():
        for command in commands:
            run(empty, command)
            if (title, command) == ("Restore", "systemctl stop mssgw"):
                empty.run("rm -rf /var/lib/mssgw")  # the loss
        if title == "Restore":
            assert MAIL_ID in python(empty, READ)
            assert "Restaur" not in python(empty, READ)
    assert "Restaur" in python(empty, READ)
    assert owners(empty, "/var/lib/mssgw") == {"mssgw:mssgw"}
    assert "ok" in empty.run("/opt/mssgw/bin/mssgw check --config /etc/mssgw/mssgw.toml")
