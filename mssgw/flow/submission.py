"""Submission: what our own clients send. A person by mail client, or the hospital by its own relay.

Order: sender belongs to the client -> each recipient's domain is listed, each mailbox of ours is there (at
RCPT) -> structure, content rules -> sign and encrypt -> seal contents (large ones are on disk) ->
one transaction: queue rows, mailboxes of ours, copy in Sent, audit -> the trace.

The content comes as `MailData`: its form was checked where it came in. What is queued is what leaves, octet for octet: a
retry signs nothing again. Nothing lasts before the transaction has committed; after it everything does, so the 250 may be
sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol

from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.config.relay import Hospital
from mssgw.core.envelope import Envelope, Origin, OriginKind, Recipient
from mssgw.core.errors import MailError, NotAllowed, NotTrusted, Refused
from mssgw.flow.bounce import Notice, Original
from mssgw.flow.content import Owns, mended, require_author, require_mss, require_no_loop
from mssgw.flow.delivery import Box, Content, LocalDelivery, whose
from mssgw.flow.head import Head, authors, message_id_of, replace
from mssgw.flow.journal import refusals
from mssgw.flow.judged import readable_copies, require_author_inside
from mssgw.flow.protection import signed_by
from mssgw.flow.received import received
from mssgw.flow.resources import Resources, off_loop
from mssgw.flow.shown import learn
from mssgw.flow.transaction import Client, Recipients, new_trace
from mssgw.observe import crash_point
from mssgw.protocol import mime
from mssgw.protocol.mail_data import MailData
from mssgw.protocol.mime import MimeLimits
from mssgw.protocol.smtp import MailFrom
from mssgw.smime.opening import Opened
from mssgw.smime.protecting import Protected
from mssgw.store import Reader, Transaction, accounts, audit, mailboxes, queue
from mssgw.store.accounts import Account, Kind, Status
from mssgw.store.blobs import Prepared
from mssgw.store.mailboxes import NewMessage, SpecialUse
from mssgw.store.queue import NewQueued


class Listed(Protocol):
    """The part of the trust space that submission needs."""

    def require_listed(self, domain: Domain) -> object:
        """Raises NotTrusted (550 5.1.2, naming the domain), or Deferred."""


class Submission:
    """Ports 587 and 465: an account, logged in."""

    def __init__(self, resources: Resources, trust: Listed) -> None:
        self._resources, self._trust = resources, trust

    async def begin(self, client: Client, mail: MailFrom) -> Outgoing:
        """MAIL. Raises NotAllowed when the sender is neither the account nor an organisation it belongs to; Deferred: no room."""
        self._resources.store.blobs.require_room(mail.size or 0)
        given = client.account
        if given is None:
            raise NotAllowed("Log in first", code=530, enhanced="5.7.0")
        async with refusals(self._resources.store, str(given.address), sender=mail.sender, peer=client.address):
            account, personal, own = await self._resources.store.read(lambda rx: _own(rx, given))
            self._require_own(mail, own)
        origin = Origin(OriginKind.SUBMISSION, client.address, client.helo, client.tls, account.id)
        domain = mail.sender.domain if mail.sender else account.address.domain
        return Outgoing(
            self._resources,
            self._trust,
            client,
            mail,
            origin,
            domain,
            who=str(account.address),
            owns=lambda address: address.key in own,
            persons=personal if account.kind is Kind.PER else frozenset(),
            keep_for=account if self._saves() else None,
        )

    def _require_own(self, mail: MailFrom, own: frozenset[str]) -> None:
        sender = mail.sender
        if sender is None:  # reports of mail programs (RFC 8098 3)
            return
        if sender.key not in own:
            raise NotAllowed(f"You may not send as {_shown(sender)}; it is neither your address nor your organisation's")
        if not self._resources.local.serves(sender.domain):
            raise NotAllowed(f"Domain {sender.domain} is not served here any more")

    def _saves(self) -> bool:
        settings = self._resources.config.submission
        return settings is not None and settings.save_sent


class HospitalRelay:
    """The hospital port: no account; the network (and certificate) identify the client, the sender's domain is one of ours."""

    def __init__(self, resources: Resources, trust: Listed, settings: Hospital) -> None:
        self._resources, self._trust, self._settings = resources, trust, settings

    async def begin(self, client: Client, mail: MailFrom) -> Outgoing:
        """MAIL. Raises NotAllowed: no certificate, not a known one, or a sender of another domain; Deferred: no room."""
        self._resources.store.blobs.require_room(mail.size or 0)
        self._require_certificate(client)
        if mail.sender is not None and not self._resources.local.serves(mail.sender.domain):
            raise NotAllowed(f"Sender domain {mail.sender.domain} is not one of this gateway's")
        origin = Origin(OriginKind.HOSPITAL, client.address, client.helo, client.tls)
        domain = mail.sender.domain if mail.sender else self._resources.config.domain[0].name
        return Outgoing(
            self._resources,
            self._trust,
            client,
            mail,
            origin,
            domain,
            who=f"hospital {client.address}",
            owns=lambda address: self._resources.local.serves(address.domain),
        )

    def _require_certificate(self, client: Client) -> None:
        if self._settings.require_certificate and (client.tls is None or client.tls.fingerprint is None):
            raise NotTrusted("Show a client certificate: configure one in your mail relay")
        allowed = self._settings.client_fingerprints
        if allowed and (client.tls is None or client.tls.fingerprint not in {one.replace(":", "").lower() for one in allowed}):
            raise NotTrusted(
                "This client certificate is not among those allowed here",
                detail=f"fingerprint {client.tls.fingerprint if client.tls else None}",
            )


class Outgoing:
    """One transaction of one of our clients."""

    def __init__(
        self,
        resources: Resources,
        trust: Listed,
        client: Client,
        mail: MailFrom,
        origin: Origin,
        domain: Domain,
        *,
        who: str,
        owns: Owns,
        persons: frozenset[str] = frozenset(),
        keep_for: Account | None = None,
    ) -> None:
        """`persons`: the addresses (keys) that belong to the person who is logged in, and to nobody else."""
        self._resources, self._trust = resources, trust
        self._client, self._mail, self._origin = client, mail, origin
        self._domain, self._who, self._owns, self._persons, self._keep_for = domain, who, owns, persons, keep_for
        self._remote: list[Recipient] = []
        self._boxes: list[Box] = []
        self._recipients = Recipients(resources.config.limits.recipients)

    async def recipient(self, recipient: Recipient) -> None:
        """RCPT. Raises NotTrusted 5.1.2 for a domain that is not listed, NotFound for a mailbox that is not here, Deferred 4.5.3."""
        self._recipients.require_room()
        if all(known.address != recipient.address for known in self._all()):  # named twice, sent once
            await self._add(recipient)
        self._recipients.took_one()

    async def _add(self, recipient: Recipient) -> None:
        address = recipient.address
        async with self._refusals(address):
            if self._resources.local.serves(address.domain):
                self._boxes.append(await self._resources.local.find(recipient, self._mail.size or 0))
            else:
                self._trust.require_listed(address.domain)  # ANS: mail leaves for listed domains only
                self._remote.append(recipient)

    def _refusals(self, recipient: Address | None = None, trace: str | None = None) -> AbstractAsyncContextManager[None]:
        return refusals(
            self._resources.store, self._who, sender=self._mail.sender, recipient=recipient, trace=trace, peer=self._client.address
        )

    async def accept(self, data: MailData) -> str:
        """The content. Returns the trace after the commit."""
        trace = new_trace()
        self._recipients.require_any()
        async with self._refusals(trace=trace):
            await self._accept(data.body, trace)
        return trace

    async def _accept(self, body: Body, trace: str) -> None:
        resources = self._resources
        message, message_id, author = await off_loop(body, lambda: self._compose(body, trace))
        addresses = [recipient.address for recipient in self._remote]
        in_person = author.key in self._persons
        leaving = await resources.protection.protect(message, self._domain, author, addresses, in_person=in_person) if addresses else ()
        self._require_size(message, leaving)
        by_address = {recipient.address: recipient for recipient in self._remote}
        queued = [
            NewQueued(
                trace if number == 0 else f"{trace}-{number}",
                await resources.store.blobs.prepare(copy.body, self._domain),
                self._envelope(tuple(by_address[address] for address in copy.recipients)),
                message_id,
            )
            for number, copy in enumerate(leaving)
        ]
        opened, content, kept = await self._for_boxes(message, author, in_person=in_person)
        signed = signed_by((*leaving, *kept))
        sent = await self._sent(message) if self._keep_for else None
        notices = await resources.reports.delivered(
            Original(trace, self._envelope(self._here()), message_id, resources.clock.now(), lambda: message)
        )
        crash_point("submission.before_commit")
        await resources.store.write(
            lambda tx: self._commit(tx, trace, queued, content, sent, opened, notices, message_id, message.size, signed)
        )
        crash_point("submission.committed")

    def _require_size(self, message: Body, leaving: Sequence[Protected]) -> None:
        """Base64 makes a message larger. Refused now, while the client is connected, and not by a report after the peer refused."""
        limit, largest = self._resources.config.limits.message_size, max((copy.body.size for copy in leaving), default=0)
        if largest > limit:
            usable = message.size * limit // largest * 99 // 100
            raise Refused(
                f"Signed and encrypted, this message has {largest} octets; the limit is {limit}, so about {usable} octets "
                "can be sent; send fewer attachments at a time",
                code=552,
                enhanced="5.3.4",
            )

    def _compose(self, body: Body, trace: str) -> tuple[Body, str | None, Address]:
        """Check and mend the header. Returns the message, its Message-ID and its author."""
        resources, now = self._resources, self._resources.clock.now()
        limits = MimeLimits.of(resources.config.limits).with_room()
        head = Head.read(body, limits)  # with room for what we and others add on the way
        require_no_loop(head.headers)
        require_author(head.headers, self._owns)
        require_mss(head.headers)
        hostname = resources.config.node.hostname
        trace_field = received(self._client, hostname, trace, now, self._all(), utf8=self._mail.utf8, hide_client=True)
        headers = mended(head.headers, trace, hostname, now).prepend(("Received", trace_field))
        message = replace(body, head, headers, resources.spool)
        mime.parse(message, limits)
        return message, message_id_of(headers), authors(head.headers)[0]

    async def _sent(self, message: Body) -> Prepared:
        limits = MimeLimits.of(self._resources.config.limits)
        summary = await off_loop(message, lambda: mime.summarise(message, limits))
        return await self._resources.store.blobs.prepare(message, self._domain, summary)

    async def _for_boxes(
        self, message: Body, author: Address, *, in_person: bool
    ) -> tuple[Opened | None, Content | None, tuple[Protected, ...]]:
        """The same message for mailboxes here: signed as for others, then opened and judged as mail from others."""
        if not self._boxes:
            return None, None, ()
        resources, here = self._resources, [recipient.address for recipient in self._here()]
        (signed,) = await resources.protection.protect(message, self._domain, author, here, in_person=in_person, here=True)
        opened = await resources.protection.open(signed.body, *whose(self._boxes))
        limits = MimeLimits.of(resources.config.limits)
        if opened.unwrapped:
            require_author_inside(opened, limits, partial(require_author, owns=self._owns), _hidden_author)
        method = "auth=pass" if self._origin.account is not None else "x-mssgw=pass"
        proved = f"{method} smtp.mailfrom={self._mail.sender or '<>'}"
        copies = await off_loop(message, lambda: readable_copies(resources, opened, self._boxes, self._mail.sender, proved, limits))
        original = signed.body if opened.unwrapped else None
        return opened, await resources.local.prepare_judged(self._boxes, copies, original, opened.verdict), (signed,)

    def _commit(
        self,
        tx: Transaction,
        trace: str,
        queued: list[NewQueued],
        content: Content | None,
        sent: Prepared | None,
        opened: Opened | None,
        notices: Sequence[Notice],
        message_id: str | None,
        size: int,
        signed: Mapping[str, str],
    ) -> None:
        sender = self._mail.sender
        audit.add(
            tx,
            self._who,
            "submitted",
            "ok",
            trace,
            sender=sender or "<>",
            message_id=message_id,
            port=self._origin.kind,
            peer=self._client.address,
            recipients=len(self._remote) + len(self._boxes),
            size=size,
            **signed,
        )
        for new in queued:
            queue.add(tx, new)
        if content is not None:
            LocalDelivery.deliver(tx, self._boxes, content, key=trace.encode(), trace=trace, sender=sender, message_id=message_id)
            self._resources.reports.commit(tx, notices)
            if opened is not None and opened.verdict.valid and not opened.verdict.sealed and self._resources.config.smime.harvest:
                learn(tx, opened)
        if sent is not None and self._keep_for is not None:
            _keep(tx, self._keep_for, sent)

    def _envelope(self, recipients: tuple[Recipient, ...]) -> Envelope:
        mail = self._mail
        return Envelope(mail.sender, recipients, self._origin, mail.dsn, mail.utf8, mail.body_8bit)

    def _here(self) -> tuple[Recipient, ...]:
        return tuple(box.recipient for box in self._boxes)

    def _all(self) -> list[Recipient]:
        return [*self._remote, *self._here()]


def _own(rx: Reader, given: Account) -> tuple[Account, frozenset[str], frozenset[str]]:
    """The account as it is now, its own addresses, and every address it may write as. Raises NotAllowed when it was suspended meanwhile."""
    account = accounts.by_id(rx, given.id)
    if account.status is not Status.ACTIVE:
        raise NotAllowed("This account is suspended", detail=str(account.address))
    owners = [account, *(one for one in accounts.organisations_of(rx, account.id) if one.status is Status.ACTIVE)]
    addresses = [frozenset(address.key for address in (owner.address, *accounts.aliases(rx, owner.id))) for owner in owners]
    return account, addresses[0], frozenset().union(*addresses)


def _keep(tx: Transaction, account: Account, sent: Prepared) -> None:
    folder = next((box for box in mailboxes.list_all(tx, account.id) if box.special_use is SpecialUse.SENT), None)
    if folder is not None:
        mailboxes.append(tx, folder.id, NewMessage(sent, frozenset({"\\Seen"})))


def _shown(address: Address) -> str:
    return str(address).encode("ascii", "replace").decode()


def _hidden_author(error: MailError) -> MailError:
    return NotAllowed("The author inside the encrypted message is not the sender", detail=str(error))
