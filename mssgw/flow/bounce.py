"""When and to whom a report is due, and how it gets there (RFC 3461 5.2, 6; RFC 3464).

    failed      NOTIFY asks for FAILURE, or is absent
    delayed     once, when NOTIFY asks for DELAY or is absent, at [queue] delay_notice_hours
    relayed     NOTIFY asks for SUCCESS and the next hop does not offer DSN
    delivered   NOTIFY asks for SUCCESS and the mailbox is here

Never for NOTIFY=NEVER, and never for a message with the null reverse-path: a report causes no report. One
report has one action and names all recipients of a delivery that share it. It carries the original up to
[queue] bounce_body_octets when something failed, its header otherwise; of a large header only the beginning, and never a
whole message that would put the report over the limits of [limits]. So a report can be made of anything that was accepted.

`prepare` makes the report and seals it; `commit` puts it into the transaction that records the outcome it reports,
so there is exactly one. A sender of ours gets it in the mailbox; when that is full or gone, postmaster does
(RFC 5321 4.5.5 leaves no third place); other senders get it by the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.clock import Clock
from mssgw.core.config import Config
from mssgw.core.envelope import Envelope, Notify, Origin, OriginKind, Recipient, Ret
from mssgw.core.errors import MailError, Reply
from mssgw.core.texts import Language, has, text
from mssgw.flow.delivery import Box, Content, LocalDelivery
from mssgw.flow.transaction import new_trace
from mssgw.observe import Event, log
from mssgw.protocol import mime
from mssgw.protocol.dsn import Action, Letter, RecipientStatus, Report, Returned, build
from mssgw.protocol.mime import MimeLimits, TooComplex
from mssgw.store import Store, Transaction, audit, queue
from mssgw.store.blobs import Prepared
from mssgw.store.queue import NewQueued

_ASKED_BY = {Action.FAILED: Notify.FAILURE, Action.DELAYED: Notify.DELAY, Action.RELAYED: Notify.SUCCESS, Action.DELIVERED: Notify.SUCCESS}
_LANGUAGES: tuple[Language, ...] = ("fr", "en")
DELIVERED = Reply(250, "2.1.5", "Delivered")


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one recipient."""

    recipient: Recipient
    action: Action
    reply: Reply
    host: str | None = None  # the host whose reply it is; None: our own reason
    expired: bool = False  # given up after the time allowed; `reply` is the last one


@dataclass(frozen=True, slots=True)
class Original:
    """The message a report is about."""

    trace: str
    envelope: Envelope
    message_id: str | None
    received: datetime
    body: Callable[[], Body]  # asked only when there is a report


@dataclass(frozen=True, slots=True)
class Notice:
    """A report, sealed, with its destination. It is sent by `Reports.commit`."""

    trace: str
    about: Original
    to: Address
    action: Action
    boxes: tuple[Box, ...]
    content: Content | None
    queued: NewQueued | None


class Reports:
    def __init__(self, config: Config, store: Store, clock: Clock, local: LocalDelivery) -> None:
        self._store, self._clock, self._local = store, clock, local
        self._hostname, self._own = config.node.hostname, config.domain[0].name
        self._cap, self._limits = config.queue.bounce_body_octets, MimeLimits.of(config.limits)
        self._give_up = timedelta(hours=config.queue.give_up_hours)

    async def prepare(self, original: Original, fates: Iterable[Fate]) -> tuple[Notice, ...]:
        """The reports that are due, ready to commit. Raises nothing but what the store raises."""
        sender = original.envelope.sender
        if sender is None:
            return ()
        wanted = [fate for fate in fates if _ASKED_BY[fate.action] in fate.recipient.notify]
        return tuple(
            [
                await self._notice(original, sender, action, told)
                for action in Action
                if (told := [fate for fate in wanted if fate.action is action])
            ]
        )

    async def delivered(self, original: Original) -> tuple[Notice, ...]:
        """The report that is due when all recipients of the envelope have the message in a mailbox here."""
        if all(Notify.SUCCESS not in one.notify for one in original.envelope.recipients):
            return ()
        return await self.prepare(original, [Fate(one, Action.DELIVERED, DELIVERED) for one in original.envelope.recipients])

    def commit(self, tx: Transaction, notices: Sequence[Notice]) -> None:
        """Put reports into the transaction that records the outcomes they report."""
        for notice in notices:
            where = "mailbox" if notice.content else "queue" if notice.queued else "nowhere"
            audit.add(
                tx,
                "queue",
                "reported",
                notice.action.value,
                notice.about.trace,
                sender="<>",
                recipient=notice.to,
                message_id=notice.about.message_id,
                report=notice.trace,
                where=where,
            )
            if notice.content is not None:
                self._local.deliver(
                    tx,
                    notice.boxes,
                    notice.content,
                    key=notice.trace.encode(),
                    trace=notice.trace,
                    sender=None,
                    message_id=_message_id(notice.trace, self._hostname),
                )
            elif notice.queued is not None:
                queue.add(tx, notice.queued)

    def lost(self, tx: Transaction, about: Original, reason: str) -> None:
        """Write into the audit that a failure was recorded without a report, because none could be delivered."""
        audit.add(
            tx,
            "queue",
            "reported",
            "lost",
            about.trace,
            sender="<>",
            recipient=about.envelope.sender,
            message_id=about.message_id,
            where="nowhere",
            reply=reason,
        )

    async def _notice(self, original: Original, sender: Address, action: Action, fates: list[Fate]) -> Notice:
        trace = new_trace()
        body = Body.of(self._write(original, sender, action, fates, trace))
        log(Event.REPORT_MADE, trace=original.trace, report=trace, action=action, recipient=sender)
        if not self._local.serves(sender.domain):
            return Notice(trace, original, sender, action, (), None, await self._by_queue(trace, sender, body))
        boxes = await self._boxes(sender, body.size)
        if not boxes:
            log(Event.REPORT_LOST, "error", trace=original.trace, report=trace, recipient=sender)
            return Notice(trace, original, sender, action, (), None, None)
        return Notice(trace, original, sender, action, boxes, await self._sealed(boxes, sender, body), None)

    async def _boxes(self, sender: Address, size: int) -> tuple[Box, ...]:
        for address in (sender, Address("postmaster", sender.domain)):
            try:
                return (await self._local.find(Recipient(address, frozenset({Notify.NEVER})), size),)
            except MailError:
                continue
        return ()

    async def _sealed(self, boxes: tuple[Box, ...], sender: Address, body: Body) -> Content:
        local = Body.of(b"Return-Path: <>\r\n" + body.read())  # RFC 5321 4.4: final delivery adds it
        return await self._local.prepare(boxes, local, mime.summarise(local, self._limits))

    async def _by_queue(self, trace: str, sender: Address, body: Body) -> NewQueued:
        prepared: Prepared = await self._store.blobs.prepare(body, self._own)
        never = Recipient(sender, frozenset({Notify.NEVER}), notify_given=True)  # RFC 3461 5.2.9
        envelope = Envelope(None, (never,), Origin(OriginKind.LOCAL), utf8=not sender.ascii)
        return NewQueued(trace, prepared, envelope, _message_id(trace, self._hostname))

    # the message ---------------------------------------------------------------------------------

    def _write(self, original: Original, sender: Address, action: Action, fates: list[Fate], trace: str) -> bytes:
        now = self._clock.now()
        until = original.received + self._give_up if action is Action.DELAYED else None
        report = Report(
            reporting_mta=self._hostname,
            recipients=tuple(_status(fate, now, until) for fate in fates),
            envid=original.envelope.dsn.envid,
            arrival=original.received,
        )
        returned = self._returned(original, action)
        letter = Letter(
            sender=f"Service de messagerie <postmaster@{self._domain_for(sender)}>",
            to=str(sender),
            subject=" / ".join(text(f"dsn.{action}.subject", language) for language in _LANGUAGES),
            text="\n\n".join(_letter(language, original, action, fates, until, returned) for language in _LANGUAGES) + "\n",
            message_id=_message_id(trace, self._hostname).strip("<>"),
            date=now,
            references=original.message_id,
        )
        return build(report, letter, returned)

    def _domain_for(self, sender: Address) -> Domain:
        return sender.domain if self._local.serves(sender.domain) else self._own

    def _returned(self, original: Original, action: Action) -> Returned:
        envelope, body = original.envelope, original.body()
        whole = action is Action.FAILED and envelope.dsn.ret is not Ret.HDRS and body.size <= self._cap  # RFC 3461 4.3, 6.2
        if whole and self._fits(body):
            return Returned(body.read(), whole=True, utf8=envelope.utf8)
        return Returned.header_of(body, utf8=envelope.utf8)

    def _fits(self, body: Body) -> bool:
        """Whether a report that holds it is within the limits of the next servers."""
        try:
            mime.parse(body, self._limits.with_room())
        except TooComplex:
            return False
        return True


def _status(fate: Fate, now: datetime, until: datetime | None) -> RecipientStatus:
    reply = fate.reply
    return RecipientStatus(
        final=str(fate.recipient.address),
        action=fate.action,
        status="4.4.7" if fate.expired else reply.enhanced,
        original=fate.recipient.original,
        remote_mta=fate.host,
        diagnostic=None if fate.action is Action.DELIVERED else f"smtp; {reply}" if fate.host else f"x-mssgw; {reply.text}",
        last_attempt=now,
        will_retry_until=until,
    )


def _letter(language: Language, original: Original, action: Action, fates: list[Fate], until: datetime | None, returned: Returned) -> str:
    lines = [text(f"dsn.{action}.intro", language, date=original.received, until=until or "")]
    for fate in fates:
        lines += ["", f"  <{fate.recipient.address}>"]
        if action in (Action.FAILED, Action.DELAYED):
            causes = ["4.7"] if fate.expired else []
            for cause in [*causes, fate.reply.enhanced.partition(".")[2]]:
                if has(why := f"dsn.why.{cause}"):
                    lines.append("    " + text(why, language))
            said = "dsn.said" if fate.host else "dsn.found"
            lines.append("    " + text(said, language, host=fate.host, reply=str(fate.reply)))
    if returned.cut:
        lines += ["", text("dsn.cut", language)]
    return "\n".join([*lines, "", text("dsn.trace", language, trace=original.trace)])


def _message_id(trace: str, hostname: str) -> str:
    return f"<{trace}@{hostname}>"
