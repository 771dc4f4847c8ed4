"""mbsync: two-way synchronisation, twice with the identical result; then changes on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.imap_house import MESSAGE, MailServer, certificate, client_tls, fill, run, server_tls, small_house

__all__ = ["certificate", "client_tls", "server_tls", "small_house"]

CONFIG = """
IMAPAccount a
Host localhost
Port {port}
User alice@alpha.mssante.test
Pass secret
SSLType IMAPS
CertificateFile {certificate}

IMAPStore far
Account a

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
"""


def tree(home: Path) -> list[tuple[str, bytes]]:
    """Folder and content of every message in the maildirs."""
    return sorted(
        (str(path.parents[1].relative_to(home)), path.read_bytes())
        for path in (home / "mail").rglob("*")
        if path.parent.name in ("cur", "new") and path.is_file()
    )


@pytest.mark.peer("mbsync")
async def test_two_way_sync_twice_is_identical(small_house: MailServer, certificate: Path, tmp_path: Path) -> None:
    alice = await small_house.login()
    await fill(alice, 20)
    await alice.ok("CREATE {8}\r\nProjet/a".replace("{8}", "{8+}"))
    await fill(alice, 3, "Projet/a")
    (tmp_path / "mail").mkdir()
    (tmp_path / ".mbsyncrc").write_text(CONFIG.format(port=small_house.implicit[1], certificate=certificate, home=tmp_path))
    await run("mbsync", "-V", "-a", home=tmp_path)
    first = tree(tmp_path)
    assert len(first) == 23
    await run("mbsync", "-V", "-a", home=tmp_path)
    assert tree(tmp_path) == first

    (tmp_path / "mail" / "Drafts" / "cur" / "1.new:2,S").write_bytes(MESSAGE.replace(b"\r\n", b"\n"))
    await alice.ok("SELECT INBOX")
    await alice.ok("STORE 1:5 +FLAGS.SILENT (\\Deleted)")
    await alice.ok("EXPUNGE")
    await run("mbsync", "-V", "-a", home=tmp_path)
    await run("mbsync", "-V", "-a", home=tmp_path)
    assert len(tree(tmp_path)) == 23 - 5 + 1
    assert await alice.ok("STATUS Drafts (MESSAGES UNSEEN)") == [b'* STATUS "Drafts" (MESSAGES 1 UNSEEN 0)']
