"""Inbound: take mail from another MSSanté operator.

Order: client certificate -> whitelist (MAIL) -> mailbox (RCPT) -> structure, loop, author's domain -> S/MIME
opened and judged -> contents sealed: the original as evidence, the readable copy -> one transaction ->
the trace. A refusal before DATA saves the peer the transfer; after DATA the whole message was sent for nothing.

Crash: nothing is visible before the transaction has committed, so the peer keeps the message; when it
comes again after a commit whose 250 was lost, the mailboxes that have it drop it, and the audit has a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.envelope import Envelope, OperatorId, Origin, OriginKind, Recipient
from mssgw.core.errors import Deferred, MailError, NotAllowed, NotTrusted, Refused
from mssgw.core.message import Headers
from mssgw.flow import reported
from mssgw.flow.bounce import Notice, Original
from mssgw.flow.content import require_no_loop
from mssgw.flow.delivery import Box, Content, Copy, LocalDelivery, whose
from mssgw.flow.head import Head, authors, message_id_of
from mssgw.flow.journal import refusals
from mssgw.flow.judged import readable_copies, require_author_inside
from mssgw.flow.received import received
from mssgw.flow.resources import Resources, off_loop
from mssgw.flow.shown import Show, learn
from mssgw.flow.transaction import Client, Recipients, new_trace
from mssgw.observe import crash_point
from mssgw.protocol.dsn import Report
from mssgw.protocol.mail_data import MailData
from mssgw.protocol.mime import MimeLimits
from mssgw.protocol.smtp import MailFrom
from mssgw.smime.judging import unsigned_remarks
from mssgw.smime.opening import Opened
from mssgw.smime.verdict import SignatureStatus
from mssgw.store import Transaction, audit, mailboxes
from mssgw.trust.decisions import Step


class Operator(Protocol):
    @property
    def id(self) -> OperatorId: ...


class Judge(Protocol):
    """Who may send to us: the trust service. Every method raises NotTrusted, or Deferred when nothing is known now."""

    def require(self, domain: Domain, certificate: bytes | None, step: Step = ...) -> Operator: ...

    def require_any(self, certificate: bytes | None) -> Operator: ...

    def require_listed(self, domain: Domain, step: Step = ...) -> Sequence[Operator]: ...


class Inbound:
    """Port 25."""

    def __init__(self, resources: Resources, trust: Judge) -> None:
        self._resources, self._trust = resources, trust

    async def begin(self, client: Client, mail: MailFrom) -> Incoming:
        """MAIL: the certificate must be listed for the sender's domain; for a report (null sender), for any (ANS Ref#1)."""
        self._resources.store.blobs.require_room(mail.size or 0)
        if mail.sender is None:
            operator = self._trust.require_any(client.certificate)
        else:
            operator = self._trust.require(mail.sender.domain, client.certificate)
        return Incoming(self._resources, self._trust, client, mail, operator)


class Incoming:
    """One transaction of an operator that may send to us."""

    def __init__(self, resources: Resources, trust: Judge, client: Client, mail: MailFrom, operator: Operator) -> None:
        self._resources, self._trust = resources, trust
        self._client, self._mail, self._operator = client, mail, operator
        self._boxes: list[Box] = []
        self._recipients = Recipients(resources.config.limits.recipients)

    async def recipient(self, recipient: Recipient) -> None:
        """RCPT. Raises NotAllowed for a domain that is not ours: we relay for nobody. Deferred 4.5.3 for one too many."""
        self._recipients.require_room()
        if all(box.recipient.address != recipient.address for box in self._boxes):  # named twice, delivered once
            await self._add(recipient)
        self._recipients.took_one()

    async def _add(self, recipient: Recipient) -> None:
        address = recipient.address
        async with self._refusals(address):
            if not self._resources.local.serves(address.domain):
                raise NotAllowed(f"Domain {address.domain} is not served here")
            self._boxes.append(await self._resources.local.find(recipient, self._mail.size or 0))

    def _refusals(self, recipient: Address | None = None, trace: str | None = None) -> AbstractAsyncContextManager[None]:
        return refusals(
            self._resources.store,
            f"operator {self._operator.id}",
            sender=self._mail.sender,
            recipient=recipient,
            trace=trace,
            peer=self._client.address,
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
        limits = MimeLimits.of(resources.config.limits)
        head = Head.read(body, limits)
        require_no_loop(head.headers)
        self._require_author(head.headers)
        opened = await resources.protection.open(body, *whose(self._boxes))
        if opened.unwrapped:
            require_author_inside(opened, limits, self._require_author, _hidden_author)
        copies = await off_loop(body, lambda: self._compose(opened, trace, limits))
        content = await resources.local.prepare_judged(self._boxes, copies, body if opened.unwrapped else None, opened.verdict)
        message_id = next(iter(copies.values())).summary.message_id
        # Of the message as it came, not as we decrypted it: the report goes to whoever sent it (docs/reference/crypto.md 9.28).
        outside = message_id_of(head.headers)
        notices = await resources.reports.delivered(Original(trace, self._envelope(), outside, resources.clock.now(), lambda: body))
        told = reported.read(opened.readable) if self._mail.sender is None else None
        crash_point("inbound.before_commit")
        await resources.store.write(lambda tx: self._commit(tx, trace, body, content, opened, notices, told, message_id))
        crash_point("inbound.committed")

    def _require_author(self, headers: Headers) -> None:
        """Whoever is named in From must belong to the operator that sends: docs/reference/mssante.md 1.5.

        A report (null sender) may come from a host name that is on no list; one that is listed is judged like any.
        """
        try:
            claimed = authors(headers)
        except Refused:
            if self._mail.sender is None:
                return
            raise
        for domain in {address.domain for address in claimed}:
            if self._mail.sender is not None and domain == self._mail.sender.domain:
                continue
            if self._mail.sender is None and not self._is_listed(domain):
                continue
            self._trust.require(domain, self._client.certificate, Step.FROM)

    def _is_listed(self, domain: Domain) -> bool:
        try:
            self._trust.require_listed(domain, Step.FROM)
        except NotTrusted:
            return False
        return True

    def _compose(self, opened: Opened, trace: str, limits: MimeLimits) -> dict[Show, Copy]:
        """The readable copies with our findings on top."""
        resources = self._resources
        recipients = [box.recipient for box in self._boxes]
        field = received(self._client, resources.config.node.hostname, trace, resources.clock.now(), recipients, utf8=self._mail.utf8)
        proved = self._peer_result(opened, limits)
        return readable_copies(resources, opened, self._boxes, self._mail.sender, proved, limits, [("Received", field)])

    def _peer_result(self, opened: Opened, limits: MimeLimits) -> str:
        """What mutual TLS proved, as a result with our own name in Authentication-Results (RFC 8601 2.7.6).

        Remarks about the header are here when no signature was judged, whose own would be the place.
        """
        operator = str(self._operator.id).encode("ascii", "replace").decode().replace("\\", "\\\\").replace('"', '\\"')[:200].rstrip("\\")
        unsigned = opened.verdict.signature is SignatureStatus.NONE
        remarks = unsigned_remarks(Head.read(opened.readable, limits).headers) if unsigned else ()
        remark = f'\r\n  policy.remark="{" ".join(remarks)}"' if remarks else ""
        domain = self._mail.sender.domain if self._mail.sender else "<>"
        return f'x-mssante=pass smtp.mailfrom={domain}\r\n  policy.operator="{operator}"{remark}'

    def _commit(
        self,
        tx: Transaction,
        trace: str,
        body: Body,
        content: Content,
        opened: Opened,
        notices: Sequence[Notice],
        told: Report | None,
        message_id: str | None,
    ) -> None:
        sender, verdict = self._mail.sender, opened.verdict
        origin = self._origin()
        audit.add(
            tx,
            f"operator {self._operator.id}",
            "received",
            "ok",
            trace,
            sender=sender or "<>",
            message_id=message_id,
            port=origin.kind,
            peer=origin.peer,
            certificate=origin.tls and origin.tls.fingerprint,
            size=body.size,
            recipients=len(self._boxes),
            signature=verdict.signature,
            encryption=verdict.encryption,
            binding=verdict.binding,
            reasons=" ".join(verdict.reasons) or None,
        )
        key = mailboxes.duplicate_key(sender, message_id, body.blob)
        if LocalDelivery.deliver(tx, self._boxes, content, key=key, trace=trace, sender=sender, message_id=message_id):
            self._resources.reports.commit(tx, notices)
            if told is not None:
                reported.note(tx, told, trace, f"operator {self._operator.id}")
        if verdict.valid and not verdict.sealed and self._resources.config.smime.harvest:
            learn(tx, opened)

    def _envelope(self) -> Envelope:
        mail = self._mail
        return Envelope(mail.sender, tuple(box.recipient for box in self._boxes), self._origin(), mail.dsn, mail.utf8, mail.body_8bit)

    def _origin(self) -> Origin:
        client = self._client
        return Origin(OriginKind.RELAY, client.address, client.helo, client.tls, operator=self._operator.id)


def _hidden_author(error: MailError) -> MailError:
    kind = Deferred if error.temporary else NotTrusted
    return kind("The author inside the encrypted message can't be vouched for", detail=str(error))
