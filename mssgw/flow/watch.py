"""Our own certificates, watched: persons' identities, the domains' seals, what our TLS ports show.

Every hour, in the background: who ends within [trust] expiry_days (60, 30, 7), has ended, or was revoked, and which key
can't be used. Revocation is judged by what the trust space has fetched (CRL, OCSP); to judge a certificate is also what
makes it be fetched, so nothing here waits for a network. Each of it is told once to each reader, whatever the number of
workers and restarts (`identities.notice_once`): a log line, a mail to the owner and to the administrator. A reader without
a mailbox, or whose mailbox is full, is tried again at each look, and until then counted and logged. The metrics say how many.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Final, Literal

from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.core.clock import Clock
from mssgw.core.config import Config
from mssgw.core.envelope import Notify, Recipient
from mssgw.core.errors import MailError
from mssgw.core.failures import log_failure
from mssgw.core.texts import LANGUAGES, Message, message
from mssgw.flow.delivery import LocalDelivery
from mssgw.flow.keyring import readable, why_unusable
from mssgw.flow.transaction import new_trace
from mssgw.observe import NOTICES_UNTOLD, OWN_CERTIFICATES, OWN_EXPIRY_DAYS, Event, log
from mssgw.pki.judgement import Purpose, Validate
from mssgw.protocol import mime
from mssgw.protocol.mime import MimeLimits
from mssgw.smime.keys.certificates import Certificate
from mssgw.store import Store, Transaction, identities
from mssgw.store.identities import State
from mssgw.trust.faults import Fault, fault_of

LOOK_SECONDS: Final = 3600.0
FIRST_LOOK_SECONDS: Final = 60.0  # the first CRLs have come by then
REVOKED, ENDED, UNUSABLE = "revoked", "expired", "unusable"

Role = Literal["identity", "seal", "tls"]


@dataclass(frozen=True, slots=True)
class Own:
    """A certificate of ours, and whose it is: an account, or nobody but the administrator."""

    role: Role
    certificate: Certificate
    owner: Address | None = None

    @property
    def key(self) -> bytes:
        """What is told about it is told once for this."""
        return self.certificate.sha256

    @property
    def facts(self) -> dict[str, Any]:
        own = self.certificate
        return {"subject": own.name, "serial": own.serial_hex, "ends": f"{own.not_after:%Y-%m-%d}"}


@dataclass(frozen=True, slots=True)
class Broken:
    """An identity of ours that can't be used. Changed and broken again, it is told again."""

    name: str
    why: Message
    owner: Address | None
    since: str
    role: Role = "identity"

    @property
    def key(self) -> bytes:
        return hashlib.sha256(f"{self.name} {self.since}".encode()).digest()

    @property
    def facts(self) -> dict[str, Any]:
        return {"subject": self.name, "why": self.why}


class Watch:
    def __init__(self, config: Config, store: Store, clock: Clock, validate: Validate, own: Callable[[], Sequence[Own | Broken]]) -> None:
        """`own`: those beside the identities in the store; asked at each look, as certificate files are replaced without a reload."""
        self._config, self._store, self._clock, self._validate, self._own = config, store, clock, validate, own
        self._local = LocalDelivery(config, store)
        self._days = sorted(config.trust.expiry_days)

    async def run(self) -> None:
        """Until cancelled."""
        await self._clock.sleep(FIRST_LOOK_SECONDS)
        while True:
            try:
                await self.look()
            except MailError as error:
                log(Event.OWN_CERTIFICATE, "warning", reason=error)
            except Exception as error:  # a bug here must not stop mail
                log_failure(error)
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Once. Raises what the store raises."""
        rows = await self._store.read(identities.list_all)
        now = self._clock.now()
        words = await asyncio.to_thread(self._judge, rows, now)
        self._count(words, now)
        untold = 0
        for one, word in words:
            if word:
                untold += await self._tell(one, word)
        NOTICES_UNTOLD.set(untold)

    def _judge(self, rows: Iterable[identities.Identity], now: datetime) -> list[tuple[Own | Broken, str]]:
        """What is to be told about each; "" when nothing."""
        return [(one, self._word(one, now)) for one in (*self._own(), *_stored(rows))]

    def _word(self, one: Own | Broken, now: datetime) -> str:
        if isinstance(one, Broken):
            return UNUSABLE
        left = one.certificate.not_after - now
        if left < timedelta(0):
            return ENDED
        try:
            self._validate(one.certificate.der, Purpose.RELAY_SERVER if one.role == "tls" else Purpose.MAIL_SIGN, now)
        except MailError as error:  # of an authority elsewhere, as mail clients' may be: not for us to judge
            if fault_of(error) is Fault.REVOKED:
                return REVOKED
        return next((str(days) for days in self._days if left < timedelta(days=days)), "")

    def _count(self, words: Sequence[tuple[Own | Broken, str]], now: datetime) -> None:
        days: dict[Role, int] = {}
        for one, _ in words:
            if isinstance(one, Broken):
                continue
            left = (one.certificate.not_after - now).days
            days[one.role] = min(days.get(one.role, left), left)
        for owned, left in days.items():
            OWN_EXPIRY_DAYS.labels(owned).set(left)
        counted = Counter((one.role, word or "valid") for one, word in words)
        for role in ("identity", "seal", "tls"):
            for state in ("valid", *map(str, self._days), ENDED, REVOKED, UNUSABLE):
                OWN_CERTIFICATES.labels(role, state).set(counted[role, state])

    async def _tell(self, one: Own | Broken, word: str) -> int:
        """Each word once to each reader; a nearer threshold includes the farther ones. How many readers have still to be told."""
        included = [word] if not word.isdigit() else [word, *(str(days) for days in self._days if days > int(word))]
        if await self._store.read(lambda rx: identities.was_noticed(rx, one.key, word)):
            return 0
        if await self._store.write(lambda tx: identities.notice_once(tx, one.key, [f"{each} log" for each in included])):
            level: Literal["error", "warning"] = "warning" if word.isdigit() and int(word) > self._days[0] else "error"
            log(Event.OWN_CERTIFICATE, level, role=one.role, state=word, **one.facts)
        untold = 0
        for to in self._readers(one):
            try:
                await self._deliver(one, word, [f"{each} {to.key}" for each in included], to)
            except MailError as error:  # nobody is administrator here, or the mailbox is full
                untold += 1
                log(Event.NOTICE_UNTOLD, "warning", role=one.role, state=word, to=to, reason=error)
        if not untold:
            await self._store.write(lambda tx: identities.notice_once(tx, one.key, included))
        return untold

    @property
    def _host(self) -> str:
        return self._config.node.hostname

    def _readers(self, one: Own | Broken) -> Iterator[Address]:
        """The owner, and the administrator as `postmaster` of a domain here."""
        if one.owner is not None:
            yield one.owner
        domain: Domain = one.owner.domain if one.owner and self._local.serves(one.owner.domain) else self._config.domain[0].name
        yield Address("postmaster", domain)

    async def _deliver(self, one: Own | Broken, word: str, included: Sequence[str], to: Address) -> None:
        """One mail, unless this reader has it. Raises MailError: it can't be delivered now."""
        if await self._store.read(lambda rx: identities.was_noticed(rx, one.key, included[0])):
            return
        trace = new_trace()
        written = self._written(one, word, to, trace)
        box = await self._local.find(Recipient(to, frozenset({Notify.NEVER})), written.size)
        content = await self._local.prepare([box], written, mime.summarise(written, MimeLimits.of(self._config.limits)))

        def write(tx: Transaction) -> None:
            if identities.notice_once(tx, one.key, included):
                self._local.deliver(tx, [box], content, key=trace.encode(), trace=trace, sender=None, message_id=f"<{trace}@{self._host}>")

        await self._store.write(write)

    def _written(self, one: Own | Broken, word: str, to: Address, trace: str) -> Body:
        kind = "ending" if word.isdigit() else word
        said, about = message(f"watch.{kind}", **one.facts), message(f"watch.role.{one.role}")
        made = EmailMessage(policy=SMTP)
        made["From"] = f"postmaster@{to.domain}"
        made["To"] = str(to)
        made["Subject"] = " / ".join(message(f"watch.{kind}.subject").text(language) for language in LANGUAGES)
        made["Date"] = self._clock.now()
        made["Message-ID"] = f"<{trace}@{self._host}>"
        made["Auto-Submitted"] = "auto-generated"
        made.set_content("\n\n".join(f"{about.text(language)}\n{said.text(language)}" for language in LANGUAGES) + "\n")
        return Body.of(b"Return-Path: <>\r\n" + made.as_bytes())


def _stored(rows: Iterable[identities.Identity]) -> Iterator[Own | Broken]:
    """The active identities, and all that can't be used. Of those that only open and do, nobody has to know."""
    for row in rows:
        own = readable(row)
        if fault := why_unusable(row):
            name = own.name if own else str(row.address)
            yield Broken(name, fault.message, row.address, f"{row.id} {row.changed:%Y-%m-%dT%H:%M:%S.%f} {fault}")
        elif row.state is State.ACTIVE and own:
            yield Own("identity", own, row.address)
