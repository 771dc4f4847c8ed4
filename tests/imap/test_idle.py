"""IDLE: changes by another session arrive at once, also those of another worker. RFC 2177."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.protocol import mime
from mssgw.store import Store, Transaction, accounts, mailboxes
from tests.imap.conftest import MESSAGE, MailServer, fill
from tests.imap.dialogue import Client


async def idle(client: Client) -> None:
    client.send(b"i1 IDLE\r\n")
    assert await client.response() == b"+ idling"


async def done(client: Client) -> None:
    client.send(b"done\r\n")
    assert (await client.until(b"i1"))[1].startswith(b"OK")


async def test_all_kinds_of_news(house: MailServer) -> None:
    one = await house.login()
    await fill(one, 2)
    await one.ok("SELECT INBOX")
    two = await house.login(mailbox="INBOX")
    await idle(one)
    await fill(two, 1)
    assert [await one.response(), await one.response()] == [b"* 3 EXISTS", b"* 3 RECENT"]
    await two.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    assert await one.response() == b"* 2 FETCH (UID 2 FLAGS (\\Deleted \\Recent))"
    await two.ok("EXPUNGE")
    assert await one.response() == b"* 2 EXPUNGE"
    await done(one)


async def test_news_from_before_idle_come_first(house: MailServer) -> None:
    one, two = await house.login(mailbox="INBOX"), await house.login()
    await fill(two, 1)
    await idle(one)
    assert [await one.response(), await one.response()] == [b"* 1 EXISTS", b"* 1 RECENT"]
    await done(one)


async def test_anything_but_done_is_bad(anna: Client) -> None:
    await idle(anna)
    anna.send(b"i2 NOOP\r\n")
    assert (await anna.response()).startswith(b"i1 BAD")
    await anna.ok("NOOP")


async def test_done_may_be_sent_ahead(anna: Client) -> None:
    anna.send(b"i1 IDLE\r\nDONE\r\ni2 NOOP\r\n")
    assert await anna.response() == b"+ idling"
    assert (await anna.response()).startswith(b"i1 OK")
    assert (await anna.response()).startswith(b"i2 OK")


async def test_idle_without_a_mailbox(anna: Client) -> None:
    await idle(anna)
    await done(anna)


async def test_mail_that_another_worker_delivers(house: MailServer, open_again: Callable[[str], Awaitable[Store]]) -> None:
    alice = await house.login(mailbox="INBOX")
    await idle(alice)
    other = await open_again("other")
    address = Address.parse("alice@alpha.mssante.test")
    body = Body.of(MESSAGE)
    new = mailboxes.NewMessage(
        await other.blobs.prepare(body, address.domain, mime.summarise(body)), internal_date=datetime(2026, 1, 1, tzinfo=UTC)
    )

    def deliver(tx: Transaction) -> None:
        account = accounts.by_address(tx, address)
        assert account is not None
        inbox = mailboxes.by_name(tx, account.id, "INBOX")
        assert inbox is not None
        mailboxes.append(tx, inbox.id, new)

    await other.write(deliver)
    assert [await alice.response(), await alice.response()] == [b"* 1 EXISTS", b"* 1 RECENT"]
    await done(alice)
