"""Material for the store's tests: messages as `protocol.mime` would describe them."""

from dataclasses import dataclass
from datetime import datetime

from mssgw import store as store_package
from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.changes import MailboxId
from mssgw.core.envelope import Envelope, Origin, OriginKind, Recipient
from mssgw.store import accounts, mailboxes, queue
from mssgw.store.mailboxes import NewMessage

DOMAIN = Domain("alpha.mssante.test")


@dataclass(frozen=True)
class Described:
    envelope: bytes
    bodystructure: bytes
    body: bytes
    header_size: int


def octets(number: int = 1, size: int = 300) -> bytes:
    head = f"From: alice@alpha.mssante.test\r\nSubject: test {number}\r\nMessage-ID: <{number}@alpha.mssante.test>\r\n\r\n".encode()
    return head + (b"Bonjour.\r\n" * (size // 10 + 1))[: max(0, size - len(head))]


def describe(data: bytes) -> Described:
    head = data.find(b"\r\n\r\n") + 4
    return Described(b"(envelope of %d)" % len(data), b"(structure of %d)" % len(data), b"(body of %d)" % len(data), head)


async def new_message(
    store: store_package.Store, number: int = 1, *, size: int = 300, flags: frozenset[str] = frozenset(), date: datetime | None = None
) -> NewMessage:
    data = octets(number, size)
    return NewMessage(await store.blobs.prepare(Body.of(data), DOMAIN, describe(data)), flags, date)


async def new_account(store: store_package.Store, name: str = "alice", kind: accounts.Kind = accounts.Kind.PER) -> accounts.Account:
    return await store.write(lambda tx: accounts.add(tx, accounts.NewAccount(Address(name, DOMAIN), kind)))


async def inbox_of(store: store_package.Store, account: accounts.Account) -> MailboxId:
    box = await store.read(lambda rx: mailboxes.by_name(rx, account.id, "INBOX"))
    assert box is not None
    return box.id


async def new_inbox(store: store_package.Store, name: str = "alice") -> MailboxId:
    return await inbox_of(store, await new_account(store, name))


async def fill(store: store_package.Store, box: MailboxId, count: int, *, flags: frozenset[str] = frozenset()) -> list[int]:
    news = [await new_message(store, number, flags=flags) for number in range(count)]
    return await store.write(lambda tx: mailboxes.append_many(tx, box, news))


def envelope(*recipients: str, sender: str | None = "alice@alpha.mssante.test") -> Envelope:
    return Envelope(
        Address.parse(sender) if sender else None,
        tuple(Recipient(Address.parse(one)) for one in recipients),
        Origin(OriginKind.SUBMISSION, peer="127.0.0.1"),
    )


async def enqueue(store: store_package.Store, trace: str, *recipients: str, size: int = 300) -> list[queue.DeliveryId]:
    prepared = await store.blobs.prepare(Body.of(octets(1, size)), DOMAIN)
    new = queue.NewQueued(trace, prepared, envelope(*recipients or ("bob@beta.mssante.test",)), f"<{trace}@alpha.mssante.test>")
    return await store.write(lambda tx: queue.add(tx, new))
