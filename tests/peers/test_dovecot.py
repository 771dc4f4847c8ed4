"""Dovecot as an oracle: the same messages in both servers, and ENVELOPE and BODYSTRUCTURE compared."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mssgw.core.body import Body
from mssgw.protocol import mime
from tests.imap.dialogue import Client
from tests.material import files
from tests.needs import root

FOLDERS = ("cpython-email", "ruby-mail", "mimekit", "mime4j", "mail-parser")
CONFIG = """
protocols = imap
base_dir = {home}/run
state_dir = {home}/run
log_path = {home}/log
ssl = no
listen = 127.0.0.1
disable_plaintext_auth = no
mail_location = maildir:{home}/mail
first_valid_uid = 0
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}
}}
"""


def corpus() -> list[tuple[str, bytes]]:
    """Messages with CRLF line ends, as a server keeps them."""
    paths = [path for folder in FOLDERS for path in files(f"mail/{folder}") if path.suffix in (".eml", ".msg")]
    return [(path.name, re.sub(rb"\r?\n", b"\r\n", path.read_bytes()).replace(b"\0", b"")) for path in paths]


@dataclass
class Dovecot:
    port: int
    mail: Path


@pytest.fixture
@root()
def home() -> Iterator[Path]:
    """A directory with an empty maildir, open to Dovecot's users as pytest's own are not."""
    made = Path(tempfile.mkdtemp(prefix="dovecot-"))
    made.chmod(0o755)
    for name in ("cur", "new", "tmp"):
        (made / "mail" / name).mkdir(parents=True)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
async def dovecot(home: Path) -> AsyncIterator[Dovecot]:
    """A Dovecot of our own on loopback, with one mailbox."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nobody = pwd.getpwnam("nobody")
    config = home / "dovecot.conf"
    config.write_text(CONFIG.format(home=home, port=port, uid=nobody.pw_uid, gid=nobody.pw_gid))
    process = await asyncio.create_subprocess_exec(shutil.which("dovecot") or "/usr/sbin/dovecot", "-F", "-c", str(config))
    try:
        yield Dovecot(port, home / "mail")
    finally:
        process.terminate()
        await process.wait()


def give_to_nobody(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)


async def connect(port: int) -> Client:
    async with asyncio.timeout(20):
        while True:
            try:
                client = await Client.connect(("127.0.0.1", port), None)
            except ConnectionRefusedError:
                await asyncio.sleep(0)
            else:
                assert (await client.response()).startswith(b"* OK")
                await client.ok("LOGIN someone secret")
                return client


@pytest.mark.peer("dovecot")
@pytest.mark.material(*(f"mail/{folder}" for folder in FOLDERS))
async def test_envelope_and_bodystructure_are_those_of_dovecot(dovecot: Dovecot) -> None:
    messages = corpus()
    for number, (_, data) in enumerate(messages):
        (dovecot.mail / "cur" / f"{1000000 + number}.M1P1.host:2,S").write_bytes(data)
    give_to_nobody(dovecot.mail)
    client = await connect(dovecot.port)
    await client.ok("SELECT INBOX")
    theirs = await client.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE)")
    await client.close()
    assert len(theirs) == len(messages)
    odd = []
    for (name, data), response in zip(messages, theirs, strict=True):
        summary = mime.summarise(Body.of(data))
        ours = b"ENVELOPE " + summary.envelope + b" BODYSTRUCTURE " + summary.bodystructure
        if plain(ours) != plain(response.split(b" FETCH (", 1)[1][:-1]):
            odd.append((name, plain(ours), plain(response.split(b" FETCH (", 1)[1][:-1])))
    # Where we differ on purpose: a boundary is the whole line, so "a" isn't found in "ab"; unquoted values may hold "=" and
    # blanks; the line end before a boundary isn't part of an embedded message (RFC 2046 5.1.1); wild addresses and dates.
    assert len(messages) > 300
    assert len(odd) <= 40, odd


def plain(wire: bytes) -> str:
    """One spelling: lower case, no difference between quoted strings and literals."""
    text = re.sub(rb"\{(\d+)\}\r\n", b"", wire).decode("utf-8", "replace")
    text = re.sub("missing_mailbox|missing_domain|syntax_error", "", text.replace('"', "").lower())
    return re.sub(r"\s+", "", text)
