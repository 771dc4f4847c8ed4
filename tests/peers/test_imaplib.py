"""Python's imaplib, which many scripts use."""

from __future__ import annotations

import asyncio
import imaplib

from tests.peers.imap_house import MESSAGE, MailServer, certificate, client_tls, fill, server_tls, small_house

__all__ = ["certificate", "client_tls", "server_tls", "small_house"]


async def test_imaplib_reads_and_changes_a_mailbox(small_house: MailServer) -> None:
    await fill(await small_house.login(), 3)

    def session() -> None:
        with imaplib.IMAP4_SSL("127.0.0.1", small_house.implicit[1], ssl_context=small_house.tls, timeout=20) as client:
            client.login("alice@alpha.mssante.test", "secret")
            assert client.select("INBOX") == ("OK", [b"3"])
            assert client.search(None, "SUBJECT", '"number 2"') == ("OK", [b"2"])
            kind, data = client.fetch("2", "(BODY.PEEK[])")
            assert kind == "OK"
            assert data[0][1] == MESSAGE.replace(b"afternoon", b"number 2")
            assert client.append("Drafts", "\\Draft", imaplib.Time2Internaldate(0), MESSAGE)[0] == "OK"
            assert client.store("1:2", "+FLAGS", "\\Deleted")[0] == "OK"
            assert client.expunge() == ("OK", [b"1", b"1"])
            assert client.uid("COPY", "3", "Archive")[0] == "OK"
            assert b"(\\HasNoChildren \\Sent)" in b"\n".join(client.list()[1])
            assert client.status("Archive", "(MESSAGES UIDNEXT)") == ("OK", [b'"Archive" (MESSAGES 1 UIDNEXT 2)'])
            assert client.namespace() == ("OK", [b'(("" "/")) NIL (("Partag&AOk-/" "/"))'])
            assert client.close()[0] == "OK"

    await asyncio.to_thread(session)


async def test_imaplib_by_starttls(small_house: MailServer) -> None:
    def session() -> None:
        with imaplib.IMAP4("127.0.0.1", small_house.plain[1], timeout=20) as client:
            assert "LOGINDISABLED" in client.capabilities
            assert client.starttls(small_house.tls)[0] == "OK"
            assert "LOGINDISABLED" not in client.capabilities
            client.authenticate("PLAIN", lambda _: b"\0alice@alpha.mssante.test\0secret")
            assert client.select("INBOX", readonly=True) == ("OK", [b"0"])

    await asyncio.to_thread(session)
