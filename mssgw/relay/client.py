"""One session with another operator's server, and one transaction in it (RFC 5321, MSSanté: mutual TLS).

Order: connect -> greeting -> EHLO -> STARTTLS -> EHLO -> `require(domain, certificate)` -> MAIL, RCPT, DATA.
Nothing of a message is sent before the peer has shown a certificate that `require` accepts for the
recipients' domain; there is no way around STARTTLS. `require` is called again for each transaction of a
reused session, because the list changes while connections stay open.

Which failure is whose:

* no TLS, a handshake that fails, a certificate that is not of this domain: **temporary**. Lists, CRLs and
  certificates are renewed while mail waits; the reason stands in `queue show`, and what is not mended is
  returned when the queue gives up.
* the domain is not in the list (5.1.2 from `require`): permanent, because the authority decides.
* a reply: its own class, for each recipient, with the peer's text. 1xx, 3xx out of place: temporary.
* connection lost before the final dot: temporary. After it: temporary too, and the peer may get the
  message twice (RFC 5321 6.1 accepts this).
* what the peer cannot take (SIZE, 8BITMIME, SMTPUTF8): permanent, found before anything is sent. Content
  is never converted: it is signed.

Commands go out together where the peer offers PIPELINING (RFC 2920): one transaction is two round trips.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from mssgw.core.address import AddressError, Domain, parse_domain
from mssgw.core.body import Body
from mssgw.core.config.relay import Relay
from mssgw.core.envelope import Envelope, Recipient
from mssgw.core.errors import Deferred, MailError, NotTrusted, PeerGone, Reply
from mssgw.protocol.smtp import encode_xtext
from mssgw.relay.content import dotted
from mssgw.relay.wire import PeerReply, Wire

Require = Callable[[Domain, bytes], object]
"""(recipients' domain, peer certificate DER): returns evidence, or raises NotTrusted or Deferred."""

RECIPIENTS = 100  # in one transaction; every server takes that many (RFC 5321 4.5.3.1.8)
HEADER_LIMIT = 1 << 20
CLOSE_SECONDS = 1
GROUP_FACTOR = 2  # commands sent together get twice the time of one: no tarpit of 100 answers
CONTENT_SECONDS = 3600  # for one message, however steadily the peer takes it


@dataclass(frozen=True, slots=True)
class Target:
    """One address to try. `host` is the name shown in reports and in the TLS handshake."""

    host: str
    port: int
    address: str | None = None  # IP, when DNS gave it; None lets the system resolve `host`

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient in one attempt."""

    recipient: Recipient
    reply: Reply  # the peer's last reply, or our own reason when `host` is None
    host: str | None = None
    dsn: bool = False  # the peer has taken over the duty to report (RFC 3461 5.2.2)

    @property
    def sent(self) -> bool:
        return self.reply.code < 400

    @property
    def temporary(self) -> bool:
        return 400 <= self.reply.code < 500


class RelaySession:
    """An open, authenticated session. One transaction at a time."""

    def __init__(self, wire: Wire, target: Target, hello: str, settings: Relay) -> None:
        self.target = target
        self._wire, self._hello, self._settings = wire, hello, settings
        self._offers: dict[str, str] = {}
        self._greeted_as = ""
        self._certificate = b""
        self._usable = True
        self.transactions = 0

    @classmethod
    async def open(cls, target: Target, context: ssl.SSLContext, hello: str, settings: Relay) -> RelaySession:
        """Connect, greet, start TLS. Raises Deferred or PeerGone: all of it is temporary."""
        wire = Wire()
        try:
            async with asyncio.timeout(settings.connect_seconds):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: wire, target.address or target.host, target.port)
        except TimeoutError:
            raise Deferred(f"No connection within {settings.connect_seconds} s", enhanced="4.4.1") from None
        except OSError as error:
            raise Deferred("No connection", enhanced="4.4.1", detail=error.strerror or str(error)) from error
        session = cls(wire, target, hello, settings)
        try:
            await session._begin(context)
        except BaseException:
            wire.abort()
            raise
        return session

    async def _begin(self, context: ssl.SSLContext) -> None:
        greeting = await self._wire.reply(self._settings.connect_seconds)
        if not greeting.ok:
            raise _said("greeting", greeting)
        await self._ehlo()
        if "STARTTLS" not in self._offers:
            raise Deferred("The server does not offer STARTTLS", enhanced="4.7.4")
        answer = (await self._exchange([b"STARTTLS"]))[0]
        if answer.code != 220:
            raise _said("STARTTLS", answer)
        await self._wire.start_tls(context, self.target.host, self._settings.connect_seconds)
        certificate = self._wire.certificate()
        if not certificate:
            raise Deferred("The server showed no certificate", enhanced="4.7.5")
        self._certificate = certificate
        try:
            await self._ehlo()  # RFC 3207 4.2: what was offered in clear is forgotten
        except PeerGone as error:  # RFC 8446 4.4.2.4: a TLS 1.3 server judges our certificate after our handshake is done
            raise PeerGone(
                "Connection lost right after the TLS handshake; our certificate may not be accepted there",
                code=421,
                enhanced="4.7.5",
                detail=error.detail,
            ) from error

    async def _ehlo(self) -> None:
        answer = (await self._exchange([b"EHLO " + self._hello.encode("ascii")]))[0]
        if not answer.ok:
            raise _said("EHLO", answer)
        self._offers, self._greeted_as = {}, answer.lines[0].partition(" ")[0]
        for line in answer.lines[1:]:
            keyword, _, parameters = line.strip().partition(" ")
            self._offers[keyword.upper()] = parameters.strip()

    # state ---------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self._usable and self._wire.alive

    @property
    def transactions_allowed(self) -> int:
        return _limit(self._offers, "MAILMAX", self._settings.messages_per_connection)

    @property
    def host(self) -> str:
        """The peer's name for reports: the name of the route, or its own in the greeting where the route is an address."""
        try:
            ip_address(self.target.host)
        except ValueError:
            return self.target.host
        try:
            return parse_domain(self._greeted_as)
        except AddressError:
            return f"[{self.target.host}]"

    # one transaction -----------------------------------------------------------------------------

    async def send(self, domain: Domain, envelope: Envelope, body: Body, require: Require) -> tuple[Outcome, ...]:
        """Hand over the message to all recipients of the envelope, which share `domain`.

        One outcome for each recipient, in their order. Raises what `require` raises, with a mismatch made
        temporary, and PeerGone or Deferred when the session ended before the peer replied anything about
        this message; both mean that another host may be tried.
        """
        self._require(require, domain)
        limit = _limit(self._offers, "RCPTMAX", RECIPIENTS)
        outcomes: list[Outcome] = []
        for start in range(0, len(envelope.recipients), limit):
            group = envelope.recipients[start : start + limit]
            try:
                outcomes += await self._transaction(envelope, group, body)
            except (Deferred, PeerGone) as error:
                if not outcomes:
                    raise
                outcomes += [Outcome(one, explained(error)) for one in envelope.recipients[start:]]
                break
        return tuple(outcomes)

    def _require(self, require: Require, domain: Domain) -> None:
        try:
            require(domain, self._certificate)
        except NotTrusted as error:
            if error.reply.enhanced == "5.1.2":
                raise
            raise Deferred(
                "The server's certificate is not trusted for this domain",
                enhanced="4.7.5",
                detail="; ".join(filter(None, (error.reply.text, error.detail))),
            ) from error

    async def _transaction(self, envelope: Envelope, recipients: tuple[Recipient, ...], body: Body) -> list[Outcome]:
        if body.in_memory:
            plan = _Plan.make(self._offers, envelope, body)
        else:  # looking at all of it means reading and unsealing all of it
            plan = await asyncio.to_thread(_Plan.make, self._offers, envelope, body)
        refused = {one: plan.refuse(one) for one in recipients}
        wanted = [one for one in recipients if refused[one] is None]
        told: dict[Recipient, Outcome] = {one: Outcome(one, reply) for one, reply in refused.items() if reply}
        if wanted:
            self.transactions += 1
            replies = await self._talk(plan.mail(), [plan.rcpt(one) for one in wanted], body)
            offers_dsn = "DSN" in self._offers
            for one, reply in zip(wanted, replies, strict=True):
                told[one] = Outcome(one, reply, self.host, dsn=offers_dsn)
        return [told[one] for one in recipients]

    async def _talk(self, mail: bytes, rcpts: list[bytes], body: Body) -> list[Reply]:
        """The last reply about each recipient."""
        together = "PIPELINING" in self._offers
        self._usable = False  # until the transaction has a clean end
        heard = await self._exchange([mail, *rcpts, b"DATA"] if together else [mail, *rcpts])
        answers = [answer if heard[0].ok else heard[0] for answer in heard[1 : len(rcpts) + 1]]
        accepted = [answer for answer in answers if answer.ok]
        go = heard[-1] if together else (await self._exchange([b"DATA"]))[0] if accepted else None
        final: Reply | None = None
        if go is not None and go.code == 354:
            final = await self._content(body if accepted else None)  # RFC 2920 3.1: nobody accepted, so an empty message
            self._usable = bool(accepted)
        elif go is not None and accepted:
            final = _as_failure(go)
        if 421 in {answer.code for answer in heard} or (final is not None and final.code == 421):
            self._usable = False  # RFC 5321 3.8: the server is about to close
        elif not self._usable:
            await self._reset()
        return [final if answer.ok and final is not None else _as_failure(answer) for answer in answers]

    async def _content(self, body: Body | None) -> Reply:
        """Send the octets and the final dot. The reply of a peer that answers early and closes is read."""
        ended = False
        end = asyncio.get_running_loop().time() + CONTENT_SECONDS
        try:
            for octets in dotted(body.chunks()) if body else [b".\r\n"]:
                self._wire.send(octets)
                await self._wire.drain(min(self._settings.block_seconds, end - asyncio.get_running_loop().time()))
                if self._wire.answered_already():
                    break
            else:
                ended = True
        except MailError:
            if not self._wire.answered_already():
                raise
        try:
            answer = await self._wire.reply(self._settings.data_seconds)
        except (PeerGone, Deferred) as error:
            if not ended:
                raise
            text = "Connection lost after the message was sent; it is sent again and may arrive twice"
            return Reply(451, error.reply.enhanced, text)
        if not ended:
            self._wire.abort()  # the rest of the content was never sent
        return answer.reply() if answer.ok and ended else _as_failure(answer)

    async def _reset(self) -> None:
        """Back to a clean state for the next message, or not usable any more."""
        try:
            self._usable = (await self._exchange([b"RSET"]))[0].ok
        except (PeerGone, Deferred):
            self._usable = False

    async def _exchange(self, commands: list[bytes]) -> list[PeerReply]:
        """Send commands, together when that is offered, and read one reply for each."""
        seconds = self._settings.command_seconds
        if "PIPELINING" in self._offers:
            self._wire.send(b"".join(command + b"\r\n" for command in commands))
            end = asyncio.get_running_loop().time() + GROUP_FACTOR * seconds
            return [await self._wire.reply(min(seconds, end - asyncio.get_running_loop().time())) for _ in commands]
        replies = []
        for command in commands:
            self._wire.send(command + b"\r\n")
            replies.append(await self._wire.reply(seconds))
        return replies

    def leave(self) -> None:
        """Send QUIT without waiting for the reply, and close."""
        if self.alive:
            self._wire.send(b"QUIT\r\n")
            self._wire.close()
        else:
            self._wire.abort()
        self._usable = False

    async def left(self) -> None:
        """After `leave`: until the connection is gone, within CLOSE_SECONDS."""
        await self._wire.closed(CLOSE_SECONDS)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The part of the envelope that this peer's extensions allow to send."""

    offers: dict[str, str]
    envelope: Envelope
    size: int
    eight_bit: bool
    utf8: bool  # the message itself needs SMTPUTF8; addresses are looked at one by one

    @classmethod
    def make(cls, offers: dict[str, str], envelope: Envelope, body: Body) -> _Plan:
        """Raises nothing: `refuse` gives the outcome of each recipient that can't be sent to."""
        header_utf8 = envelope.utf8 and not _header_is_ascii(body)
        sender_utf8 = envelope.sender is not None and not envelope.sender.ascii
        eight_bit = not all(chunk.isascii() for chunk in body.chunks())
        return cls(offers, envelope, body.size, eight_bit, header_utf8 or sender_utf8)

    def refuse(self, recipient: Recipient) -> Reply | None:
        limit = self.offers.get("SIZE", "")
        if limit.isdigit() and 0 < int(limit) < self.size:  # RFC 1870 6.1
            return Reply(552, "5.3.4", f"The message has {self.size} octets; this operator takes at most {limit}")
        if "SMTPUTF8" not in self.offers:  # RFC 6531 3.5 and 4.2
            if not recipient.address.ascii:
                return Reply(553, "5.6.7", "This operator does not take addresses with accents (SMTPUTF8)")
            if self.utf8:
                return Reply(553, "5.6.9", "This operator does not take headers with unencoded accents (SMTPUTF8)")
        if self.eight_bit and "8BITMIME" not in self.offers:  # RFC 6152 3
            return Reply(554, "5.6.3", "This operator does not take 8-bit content, and signed content can't be converted")
        return None

    def mail(self) -> bytes:
        sender, dsn = self.envelope.sender, self.envelope.dsn
        command = [f"MAIL FROM:<{sender or ''}>"]
        if "SIZE" in self.offers:
            command.append(f"SIZE={self.size}")
        if self.eight_bit:
            command.append("BODY=8BITMIME")
        if "SMTPUTF8" in self.offers and self.envelope.utf8:
            command.append("SMTPUTF8")
        if "DSN" in self.offers:  # RFC 3461 5.2.1
            if dsn.ret:
                command.append(f"RET={dsn.ret.value}")
            if dsn.envid:
                command.append(f"ENVID={encode_xtext(dsn.envid)}")
        return _line(" ".join(command))

    def rcpt(self, recipient: Recipient) -> bytes:
        command = [f"RCPT TO:<{recipient.address}>"]
        if "DSN" in self.offers:
            if recipient.notify_given:
                command.append(f"NOTIFY={','.join(sorted(recipient.notify))}")
            if recipient.original:
                command.append(f"ORCPT={_orcpt(recipient.original)}")
        return _line(" ".join(command))


def _orcpt(original: str) -> str:
    """`type;address`, the address as xtext, or as utf-8-addr-xtext that any peer takes (RFC 6533 3)."""
    kind, _, address = original.partition(";")
    if kind.lower() != "utf-8":
        return f"{kind};{encode_xtext(address)}"
    return f"{kind};" + "".join(one if 33 <= ord(one) <= 126 and one not in "+=\\" else f"\\x{{{ord(one):X}}}" for one in address)


def _line(command: str) -> bytes:
    if not command.isprintable():  # parsed values hold no control characters; checked again, because a bug here would become a command
        raise ValueError("control character in an SMTP command")
    return command.encode()


def _limit(offers: dict[str, str], name: str, ours: int) -> int:
    """A number of LIMITS (RFC 9422), or ours when that is lower."""
    for word in offers.get("LIMITS", "").upper().split():
        key, _, number = word.partition("=")
        if key == name and number.isdigit() and int(number) > 0:
            return min(int(number), ours)
    return ours


def _header_is_ascii(body: Body) -> bool:
    return body.read(0, HEADER_LIMIT).partition(b"\r\n\r\n")[0].isascii()


def _as_failure(answer: PeerReply) -> Reply:
    """A reply that is no success. Anything but 4xx and 5xx is out of place, so temporary."""
    reply = answer.reply()
    return reply if reply.code >= 400 else Reply(451, "4.5.0", f"Unexpected reply: {reply.code} {reply.text}")


def _said(where: str, answer: PeerReply) -> Deferred:
    """What ended the session before any message: temporary, whatever its class."""
    reply = answer.reply()
    return Deferred(f"{where} answered {reply.code} {reply.text}"[:500], code=450, enhanced="4.3.2")


def explained(error: MailError) -> Reply:
    """Our own reason for the queue: the sentence and its cause."""
    text = f"{error.reply.text}: {error.detail}" if error.detail else error.reply.text
    return Reply(error.reply.code, error.reply.enhanced, text[:500])
