"""aioimaplib, another client that uses IDLE."""

from __future__ import annotations

import asyncio

import aioimaplib

from tests.peers.imap_house import MESSAGE, MailServer, certificate, client_tls, fill, server_tls, small_house

__all__ = ["certificate", "client_tls", "server_tls", "small_house"]


async def test_aioimaplib_is_informed_of_new_mail_in_idle(small_house: MailServer) -> None:
    other = await small_house.login()
    await fill(other, 1)
    client = aioimaplib.IMAP4_SSL("127.0.0.1", small_house.implicit[1], timeout=20, ssl_context=small_house.tls)
    await client.wait_hello_from_server()
    assert (await client.login("alice@alpha.mssante.test", "secret")).result == "OK"
    assert (await client.select("INBOX")).result == "OK"
    idle = await client.idle_start(timeout=60)
    await other.append("INBOX", MESSAGE)
    heard: list[bytes] = []
    while b"2 EXISTS" not in heard:
        heard += await asyncio.wait_for(client.wait_server_push(), 20)
    client.idle_done()
    await asyncio.wait_for(idle, 20)
    fetched = await client.uid("fetch", "2", "(FLAGS BODY.PEEK[])")
    assert fetched.result == "OK"
    assert bytes(fetched.lines[1]) == MESSAGE
    assert (await client.uid("move", "2", "Archive")).result == "OK"
    await client.logout()
