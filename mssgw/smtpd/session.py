"""The SMTP verbs: parse, check the state, ask the flow, reply (RFC 5321 4.1, 4.3).

What a flow refuses is sent as it stands; only what is committed gets its 250.
Overrides of aiosmtpd in this file: (1) bare CR or LF in content is refused, (3) the commit is shielded,
(4, 5) own MAIL and RCPT with DSN parameters in their own case, (6) own EHLO and enhanced codes,
(8) the null sender is None, (10) large content is spooled to disk, (11) BDAT.
"""

from __future__ import annotations

import asyncio
import binascii
import time
from typing import Any, Final

from mssgw.core.body import BodyWriter
from mssgw.core.errors import Deferred, MailError, Refused
from mssgw.core.failures import log_failure
from mssgw.flow.transaction import Client, Transaction, no_recipients
from mssgw.observe import ACCEPT_SECONDS, RECEIVED, Event, crash_point, log
from mssgw.protocol import sasl, smtp
from mssgw.protocol.mail_data import DataReader, MailData, MailDataWriter
from mssgw.smtpd.connection import Connection
from mssgw.store.accounts import Account

VERBS: Final = "HELO EHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT"
LOGIN_TRIES: Final = 3  # failed logins on one connection
HOPELESS: Final = 2  # content this many times larger than the limit is not even read to its end


class SmtpSession(Connection):
    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._helo = ""
        self._extended = False
        self._account: Account | None = None
        self._failed_logins = 0
        self._end_transaction()

    def _end_transaction(self) -> None:
        self._transaction: Transaction | None = None
        self._mail: smtp.MailFrom | None = None
        self._has_recipients = False
        self._bdat: MailDataWriter | None = None

    def _forget(self) -> None:
        """RSET, in whatever state."""
        if self._bdat is not None:
            self._bdat.abort()
        self._end_transaction()

    def longest(self, verb: str) -> int:
        return smtp.LONGER_COMMANDS.get(verb, smtp.COMMAND_OCTETS)

    # --- greeting --------------------------------------------------------------------------------

    async def smtp_HELO(self, argument: str) -> None:
        self._greet(argument, extended=False)
        self.say(f"250 {self.profile.hostname}")

    async def smtp_EHLO(self, argument: str) -> None:
        """Override 6."""
        self._greet(argument, extended=True)
        lines = [self.profile.hostname, *self._extensions()]
        self.say("\r\n".join(f"250-{line}" for line in lines[:-1]) + f"\r\n250 {lines[-1]}")

    def _greet(self, argument: str, *, extended: bool) -> None:
        self._helo = smtp.parse_helo(argument)
        self._extended = extended
        self._forget()  # RFC 5321 4.1.4: as RSET

    def _extensions(self) -> list[str]:
        limits = self.profile.limits
        lines = [
            "PIPELINING",
            f"SIZE {limits.message_size}",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "DSN",
            "ENHANCEDSTATUSCODES",
            f"LIMITS RCPTMAX={limits.recipients}",
        ]  # RFC 9422
        if self.tls is None:
            lines.append("STARTTLS")
        elif self.profile.login is not None:
            lines.append(f"AUTH {' '.join(sasl.MECHANISMS)}")  # RFC 4954 4: only where TLS is
        return lines

    async def smtp_STARTTLS(self, argument: str) -> None:
        """RFC 3207."""
        if argument:
            raise self.fault("STARTTLS takes no argument", 501, "5.5.4")
        if self.tls is not None:
            raise self.fault("TLS is already there", 503, "5.5.1")
        self.say("220 2.0.0 Start TLS now")
        await self.start_tls()
        self._helo, self._extended = "", False  # RFC 3207 4.2, docs/reference/crypto.md 9.25: what came in clear is forgotten
        self._forget()

    # --- AUTH ------------------------------------------------------------------------------------

    async def smtp_AUTH(self, argument: str) -> None:
        """RFC 4954."""
        login = self.profile.login
        if login is None:
            raise self.fault("AUTH is not offered here", 502, "5.5.1")
        if not self._extended or self._mail is not None or self._account is not None:
            raise self.fault("AUTH comes once, after EHLO and before MAIL", 503, "5.5.1")
        if self.tls is None:
            raise Refused("Start TLS first", code=538, enhanced="5.7.11")
        credentials = await self._credentials(argument)
        try:
            self._account = await self.work(login(credentials.username, credentials.password, protocol="smtp", peer=self.peer))
        except Refused:
            self._failed_logins += 1
            self._closing = self._failed_logins >= LOGIN_TRIES
            raise
        self.say("235 2.7.0 Welcome")

    async def _credentials(self, argument: str) -> sasl.Credentials:
        mechanism, _, initial = argument.partition(" ")
        exchange = sasl.start(mechanism)
        step = exchange.step(sasl.decode64(initial.encode()) if initial else None)
        while isinstance(step, bytes):
            self.say(f"334 {_base64(step)}")
            line = await self.next_line()
            if not line.endswith(b"\r\n") or len(line) > self.longest("AUTH"):
                raise self.fault("Authentication exchange line is too long or not a line", 500, "5.5.6")
            if line == b"*\r\n":
                raise Refused("Authentication cancelled", code=501, enhanced="5.7.0")
            step = exchange.step(sasl.decode64(line[:-2]))
        return step

    # --- envelope --------------------------------------------------------------------------------

    async def smtp_MAIL(self, argument: str) -> None:
        """Overrides 4 and 8."""
        self._require_ready()
        mail = smtp.parse_mail(argument)
        limit = self.profile.limits.message_size
        if mail.size is not None and mail.size > limit:  # RFC 1870 6.1
            raise Refused(f"Message is larger than {limit} octets", code=552, enhanced="5.3.4")
        self._transaction = await self.work(self.profile.begin(self._client(), mail))
        self._mail = mail
        self.say("250 2.1.0 Sender ok")

    def _require_ready(self) -> None:
        if not self._helo:
            raise self.fault("Say EHLO first", 503, "5.5.1")
        if self.profile.tls_required and self.tls is None:
            raise Refused(self.profile.certificate_hint or "Start TLS first: issue STARTTLS", code=530, enhanced="5.7.0")  # RFC 3207 4
        if self.profile.login is not None and self._account is None:
            raise Refused("Log in first: issue AUTH", code=530, enhanced="5.7.0")  # RFC 4954 6
        if self._mail is not None:
            raise self.fault("A message has already begun; RSET ends it", 503, "5.5.1")

    def _client(self) -> Client:
        keyword = "SMTP" if not self._extended else f"ESMTP{'S' if self.tls else ''}{'A' if self._account else ''}"  # RFC 3848
        return Client(self.peer, self._helo, keyword, self.tls, self.certificate, self._account)

    async def smtp_RCPT(self, argument: str) -> None:
        """Override 5."""
        if self._transaction is None or self._mail is None:
            raise self.fault("Say MAIL first", 503, "5.5.1")
        if self._bdat is not None:
            raise self.fault("The content has begun", 503, "5.5.1")
        recipient = smtp.parse_rcpt(argument, self.profile.domain, utf8=self._mail.utf8)
        await self.work(self._transaction.recipient(recipient))
        self._has_recipients = True
        self.say("250 2.1.5 Recipient ok")

    # --- content ---------------------------------------------------------------------------------

    async def smtp_DATA(self, argument: str) -> None:
        """Overrides 1, 3, 9, 10."""
        if argument:
            raise self.fault("DATA takes no argument", 501, "5.5.4")
        if self._bdat is not None:
            raise self.fault("BDAT has begun; DATA can't be mixed with it", 503, "5.5.1")  # RFC 3030 2
        self._require_recipients()
        self.say("354 End with CRLF.CRLF")
        writer = self._mail_data()
        try:
            await self._receive(DataReader(writer), writer)
        except BaseException:
            writer.abort()
            raise
        await self._finish(writer)

    def _mail_data(self) -> MailDataWriter:
        return MailDataWriter(BodyWriter(self.profile.spool), self.profile.limits)

    def _require_recipients(self) -> None:
        if self._transaction is None:
            raise self.fault("Say MAIL first", 503, "5.5.1")
        if not self._has_recipients:
            raise no_recipients()

    async def _receive(self, reader: DataReader, writer: MailDataWriter) -> None:
        latest = self.loop.time() + self.profile.limits.data_seconds
        self._receiving = True
        try:
            while (rest := reader.feed(await self.next_chunk())) is None:
                self._hurry(latest, writer.size)
            self.unread(rest)
        finally:
            self._receiving = False

    def _hurry(self, latest: float, size: int) -> None:
        """Override 9: each chunk gives new time, up to the total. A peer that sends without end is disconnected."""
        left = latest - self.loop.time()
        if left <= 0:
            self._closing = True
            raise Deferred("The message took too long", code=421, enhanced="4.4.2")
        self._reset_timeout(min(self._timeout_duration, left))
        if size > HOPELESS * self.profile.limits.message_size:
            self._closing = True
            raise Refused(f"Message is much larger than {self.profile.limits.message_size} octets", code=552, enhanced="5.3.4")

    async def smtp_BDAT(self, argument: str) -> None:
        """Override 11. The octets are read whatever the state: they are not commands (RFC 3030 2)."""
        chunk = smtp.parse_bdat(argument)
        limits = self.profile.limits
        if chunk.size > HOPELESS * limits.message_size:
            self._closing = True
            raise Refused(f"Message is larger than {limits.message_size} octets", code=552, enhanced="5.3.4")
        if self._bdat is None and self._transaction is not None and self._has_recipients:
            self._bdat = self._mail_data()
        await self._receive_chunk(chunk.size)
        if self._bdat is None:
            self._require_recipients()
            raise self.fault("BDAT out of order", 503, "5.5.1")
        if chunk.last or self._bdat.failure:
            await self._finish(self._bdat)
        else:
            self.say(f"250 2.0.0 {chunk.size} octets received")

    async def _receive_chunk(self, left: int) -> None:
        latest = self.loop.time() + self.profile.limits.data_seconds
        self._receiving = True
        try:
            while left:
                octets = await self.next_chunk(left)
                left -= len(octets)
                if self._bdat is not None:
                    self._bdat.put(octets)
                    self._hurry(latest, self._bdat.size)
                else:
                    self._hurry(latest, 0)
        finally:
            self._receiving = False

    async def _finish(self, writer: MailDataWriter) -> None:
        """The content is complete: commit it and reply 250, or reply why not. The transaction is over either way."""
        transaction, started = self._transaction, time.perf_counter()
        assert transaction is not None
        self._end_transaction()
        commit = asyncio.create_task(self._commit(transaction, writer.finish()))
        self.port.commits.add(commit)
        commit.add_done_callback(self._committed)
        trace = await self.work(asyncio.shield(commit))  # override 3: the client may leave, the commit goes on
        self._budget = self.profile.error_budget
        crash_point("smtpd.before_250")
        self.say(f"250 2.0.0 queued as {trace}")
        ACCEPT_SECONDS.labels(self.profile.name).observe(time.perf_counter() - started)
        RECEIVED.labels(self.profile.name).inc()

    async def _commit(self, transaction: Transaction, data: MailData) -> str:
        with data.body:
            trace = await transaction.accept(data)
            log(Event.SMTP_ACCEPTED, port=self.profile.name, peer=self.peer, trace=trace, size=data.body.size)
            return trace

    def _committed(self, commit: asyncio.Task[str]) -> None:
        self.port.commits.discard(commit)
        if commit.cancelled() or self.transport is not None:
            return  # reported by whoever awaits the task
        if (error := commit.exception()) is not None and not isinstance(error, MailError):
            log_failure(error, port=self.profile.name, peer=self.peer, client="gone")

    # --- the rest --------------------------------------------------------------------------------

    async def smtp_RSET(self, argument: str) -> None:
        if argument:
            raise self.fault("RSET takes no argument", 501, "5.5.4")
        self._forget()
        self.say("250 2.0.0 Forgotten")

    async def smtp_NOOP(self, argument: str) -> None:
        self.say("250 2.0.0 Ok")

    async def smtp_VRFY(self, argument: str) -> None:
        if not argument:
            raise self.fault("VRFY takes an address", 501, "5.5.4")
        self.say("252 2.5.2 Send a message and see")  # RFC 5321 7.3

    async def smtp_EXPN(self, argument: str) -> None:
        raise self.fault("EXPN is not offered", 502, "5.5.1")

    async def smtp_HELP(self, argument: str) -> None:
        self.say(f"214 2.0.0 {VERBS}")

    async def smtp_QUIT(self, argument: str) -> None:
        if argument:
            raise self.fault("QUIT takes no argument", 501, "5.5.4")
        self.say("221 2.0.0 Goodbye")
        self._closing = self._goodbye = True

    def connection_lost(self, error: Exception | None) -> None:
        self._forget()
        super().connection_lost(error)


def _base64(octets: bytes) -> str:
    return binascii.b2a_base64(octets, newline=False).decode("ascii")
