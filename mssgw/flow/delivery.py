"""Delivery to our own mailboxes: which mailbox gets a message, and its rows inside the caller's transaction.

`find` answers at RCPT, while a refusal costs the peer one line: the mailbox exists, its account is active
and has room. `deliver` runs inside the transaction that accepts the message, so that all recipients have it
or none, and a repeated message is dropped and audited (`mailboxes.deliver`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.changes import MailboxId
from mssgw.core.config import Config
from mssgw.core.envelope import AccountId, Recipient
from mssgw.core.errors import Deferred, NotFound, Refused
from mssgw.flow.shown import Show, keywords
from mssgw.protocol.mime import Summary
from mssgw.smime.verdict import Verdict
from mssgw.store import Reader, Store, Transaction, accounts, mailboxes
from mssgw.store.accounts import Account, Status
from mssgw.store.blobs import Prepared
from mssgw.store.mailboxes import NewMessage


@dataclass(frozen=True, slots=True)
class Box:
    """Where one recipient's mail goes."""

    recipient: Recipient
    account: AccountId
    mailbox: MailboxId
    addresses: frozenset[str]  # of the account (`Address.key`): whose keys may open what comes into this box


@dataclass(frozen=True, slots=True)
class Content:
    """One message, sealed for each domain that gets it."""

    readable: dict[Domain, Prepared]
    original: dict[Domain, Prepared]
    flags: dict[Domain, frozenset[str]]

    def for_box(self, box: Box) -> NewMessage:
        domain = box.recipient.address.domain
        return NewMessage(self.readable[domain], self.flags.get(domain, frozenset()), original=self.original.get(domain))


@dataclass(frozen=True, slots=True)
class Copy:
    """What goes into a mailbox, and its description."""

    readable: Body
    summary: Summary


class LocalDelivery:
    def __init__(self, config: Config, store: Store) -> None:
        self._store = store
        self._domains = {domain.name: domain for domain in config.domain}
        self._quota = config.limits.quota
        self._postmaster = Address.parse(config.node.postmaster) if config.node.postmaster else None

    def serves(self, domain: Domain) -> bool:
        return domain in self._domains

    async def find(self, recipient: Recipient, size: int) -> Box:
        """The mailbox of a recipient of ours. Raises NotFound 5.1.1, Refused 5.2.1 (suspended), Deferred 4.2.2 (full), 4.3.0."""
        return await self._store.read(lambda rx: self._find(rx, recipient, size))

    def _find(self, rx: Reader, recipient: Recipient, size: int) -> Box:
        address = recipient.address
        account = self._account(rx, address)
        if account is None:
            if not accounts.exist(rx):  # a node that is being set up, or has lost its store: nothing is refused for good
                raise Deferred("No mailbox is set up on this server yet, try again later")
            raise NotFound(f"No mailbox {_ascii(address)} here")
        if account.status is not Status.ACTIVE:
            raise Refused(f"Mailbox {_ascii(address)} is suspended", code=550, enhanced="5.2.1")
        if self._quota and mailboxes.quota_used(rx, account.id) + size > self._quota:
            raise Deferred(f"Mailbox {_ascii(address)} is full, try again later", code=452, enhanced="4.2.2")
        inbox = mailboxes.by_name(rx, account.id, "INBOX")
        assert inbox is not None
        addresses = frozenset(one.key for one in (account.address, *accounts.aliases(rx, account.id)))
        return Box(recipient, account.id, inbox.id, addresses)

    def _account(self, rx: Reader, address: Address) -> Account | None:
        found = accounts.by_address(rx, address)
        if found is None and address.local.casefold() == "postmaster":  # RFC 5321 4.5.1: postmaster always exists
            found = (accounts.by_address(rx, self._postmaster) if self._postmaster else None) or accounts.first_admin(rx)
        if found is None and (catch_all := self._domains[address.domain].catch_all):
            found = accounts.by_address(rx, Address.parse(catch_all))
        return found

    async def prepare(self, boxes: Sequence[Box], readable: Body, summary: Summary) -> Content:
        """Seal the message for every domain among the boxes; large content is on disk when this returns."""
        domains = {box.recipient.address.domain for box in boxes}
        return Content({domain: await self._store.blobs.prepare(readable, domain, summary) for domain in domains}, {}, {})

    async def prepare_judged(self, boxes: Sequence[Box], copies: Mapping[Show, Copy], original: Body | None, verdict: Verdict) -> Content:
        """The same, each domain with the copy it wants to show, its keywords, and the original beside a copy that was unwrapped."""
        blobs, domains = self._store.blobs, {box.recipient.address.domain for box in boxes}
        show = {domain: self._domains[domain].show_signature for domain in domains}
        return Content(
            {domain: await blobs.prepare(copies[show[domain]].readable, domain, copies[show[domain]].summary) for domain in domains},
            {domain: await blobs.prepare(original, domain) for domain in domains} if original is not None else {},
            {domain: keywords(verdict, show[domain]) for domain in domains},
        )

    def wanted(self, boxes: Sequence[Box]) -> frozenset[Show]:
        """The ways of showing a verdict that the domains among the boxes want."""
        return frozenset(self._domains[box.recipient.address.domain].show_signature for box in boxes)

    @staticmethod
    def deliver(
        tx: Transaction, boxes: Sequence[Box], content: Content, *, key: bytes, trace: str, sender: Address | None, message_id: str | None
    ) -> int:
        """Put the message into the boxes; how many did not have it yet. Raises OverQuota, and then nobody has it."""
        return sum(
            mailboxes.deliver(
                tx,
                box.mailbox,
                content.for_box(box),
                key=key,
                trace=trace,
                sender=sender,
                recipient=box.recipient.address,
                message_id=message_id,
            )
            is not None
            for box in boxes
        )


def whose(boxes: Sequence[Box]) -> tuple[frozenset[Domain], frozenset[str]]:
    """The domains that mail was addressed to, and every address of the accounts it goes to."""
    return frozenset(box.recipient.address.domain for box in boxes), frozenset().union(*(box.addresses for box in boxes))


def _ascii(address: Address) -> str:
    return str(address).encode("ascii", "replace").decode()
