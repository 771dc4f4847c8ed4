"""A client that talks to an SMTP port line by line, and a fake of the flow behind the port."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mssgw.core.envelope import Recipient
from mssgw.flow.transaction import Client
from mssgw.protocol.mail_data import MailData
from mssgw.protocol.smtp import MailFrom

T = TypeVar("T")
PATIENCE = 20  # seconds until a test fails; only a hang takes that long


@dataclass
class Reply:
    code: int
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class Dialogue:
    """One client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.log: list[str] = []

    @classmethod
    async def open(cls, address: tuple[str, int], **named: Any) -> Dialogue:
        return cls(*await asyncio.open_connection(*address, limit=2**20, **named))

    async def send(self, octets: bytes) -> None:
        self.log.append(f"C: {octets[:200]!r}")
        self.writer.write(octets)
        await self.writer.drain()

    async def reply(self) -> Reply:
        lines: list[str] = []
        while True:
            line = (await self._in_time(self.reader.readuntil(b"\r\n"))).decode()
            self.log.append(f"S: {line[:200]!r}")
            lines.append(line[4:].rstrip())
            if line[3] == " ":
                return Reply(int(line[:3]), lines)

    async def say(self, line: str) -> Reply:
        await self.send(line.encode() + b"\r\n")
        return await self.reply()

    async def hello(self) -> Reply:
        """Greeting and EHLO."""
        assert (await self.reply()).code == 220
        return await self.say("EHLO client.test")

    async def start_tls(self, context: ssl.SSLContext) -> None:
        assert (await self.say("STARTTLS")).code == 220
        await self.upgrade(context)

    async def upgrade(self, context: ssl.SSLContext) -> None:
        self.log.append("C: (handshake)")
        await self._in_time(self.writer.start_tls(context, server_hostname="mx.alpha.mssante.test"))

    async def envelope(self, sender: str = "a@b.fr", *recipients: str) -> None:
        assert (await self.say(f"MAIL FROM:<{sender}>")).code == 250
        for recipient in recipients or ("c@d.fr",):
            assert (await self.say(f"RCPT TO:<{recipient}>")).code == 250

    async def message(self, content: bytes = b"Subject: x\r\n\r\nhello\r\n") -> Reply:
        assert (await self.say("DATA")).code == 354
        await self.send(content + b".\r\n")
        return await self.reply()

    async def ended(self) -> bytes:
        """What is left until the server closes."""
        return await self._in_time(self.reader.read())

    async def _in_time(self, what: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(what, PATIENCE)
        except TimeoutError:
            raise AssertionError(f"nothing in {PATIENCE} s\n{self}") from None

    def __str__(self) -> str:
        return "\n".join(self.log[-40:])

    async def close(self) -> None:
        self.writer.close()


@dataclass
class Accepted:
    client: Client
    mail: MailFrom
    recipients: list[Recipient]
    content: bytes


@dataclass
class Flow:
    """A flow that accepts everything but the steps in `failures`, which maps a step to what it raises."""

    accepted: list[Accepted] = field(default_factory=list)
    failures: dict[str, BaseException] = field(default_factory=dict)
    committing: asyncio.Event = field(default_factory=asyncio.Event)
    may_commit: asyncio.Event = field(default_factory=asyncio.Event)
    committed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_commit.set()

    async def begin(self, client: Client, mail: MailFrom) -> FlowTransaction:
        if "begin" in self.failures:
            raise self.failures["begin"]
        return FlowTransaction(self, client, mail)


class FlowTransaction:
    def __init__(self, flow: Flow, client: Client, mail: MailFrom) -> None:
        self.flow, self.client, self.mail = flow, client, mail
        self.recipients: list[Recipient] = []

    async def recipient(self, recipient: Recipient) -> None:
        if "recipient" in self.flow.failures:
            raise self.flow.failures["recipient"]
        self.recipients.append(recipient)

    async def accept(self, data: MailData) -> str:
        self.flow.committing.set()
        await self.flow.may_commit.wait()
        if "accept" in self.flow.failures:
            raise self.flow.failures["accept"]
        self.flow.accepted.append(Accepted(self.client, self.mail, self.recipients, data.body.read()))
        self.flow.committed.set()
        return f"TRACE{len(self.flow.accepted)}"
