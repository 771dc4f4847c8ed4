"""mutt, driven without a terminal: it opens the folder, flags, and writes what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
from pathlib import Path

import pytest

from tests.peers.imap_house import MailServer, certificate, client_tls, fill, other_day, server_tls, small_house

__all__ = ["certificate", "client_tls", "server_tls", "small_house"]


async def on_a_terminal(*command: str, home: Path) -> None:
    """Run a program that needs a terminal; its output is read, and shown only when it ends with an error."""
    master, slave = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8", **other_day()}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    screen = asyncio.create_task(asyncio.to_thread(_read_all, master))
    try:
        async with asyncio.timeout(30):
            status = await process.wait()
    except TimeoutError:
        process.kill()
        status = await process.wait()
    shown = await screen
    os.close(master)
    assert status == 0, shown[-3000:].decode("utf-8", "replace")


def _read_all(descriptor: int) -> bytes:
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other side is closed
        while piece := os.read(descriptor, 65536):
            shown += piece
    return shown


@pytest.mark.peer("mutt")
async def test_mutt_reads_flags_and_saves(small_house: MailServer, certificate: Path, tmp_path: Path) -> None:
    alice = await small_house.login()
    await fill(alice, 3)
    (tmp_path / "muttrc").write_text(f"""
set imap_user="alice@alpha.mssante.test" imap_pass="secret" ssl_force_tls=yes certificate_file="{certificate}"
set quit=yes delete=yes move=no confirmappend=no confirmcreate=no imap_check_subscribed=no
set copy=no header_cache="" mark_old=no wait_key=no
push "<next-entry><flag-message><save-message>=Archive<enter><sync-mailbox><quit>"
set folder="imaps://localhost:{small_house.implicit[1]}/"
""")
    await on_a_terminal("mutt", "-F", str(tmp_path / "muttrc"), "-f", f"imaps://localhost:{small_house.implicit[1]}/INBOX", home=tmp_path)
    assert await alice.ok("STATUS INBOX (MESSAGES)") == [b'* STATUS "INBOX" (MESSAGES 2)']
    assert await alice.ok("STATUS Archive (MESSAGES)") == [b'* STATUS "Archive" (MESSAGES 1)']
    await alice.ok("SELECT INBOX")
    assert await alice.ok("SEARCH FLAGGED") == [b"* SEARCH 2"]  # mutt goes on to the third, and saves that
