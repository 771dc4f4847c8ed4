"""SMTP load: N messages over S sessions to any server; rate, throughput and latency (MAIL to final reply).

python -m bench.smtp --port 2525 --sessions 20 --messages 3000 --size 10240 --keep [--starttls CA] [--auth USER:PASSWORD] [--pipeline]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import ssl
import statistics
import time
from dataclasses import dataclass, field

LINE = b"La lettre de liaison est jointe au present message, bien cordialement, le secretariat.\r\n"


@dataclass
class Load:
    port: int
    sender: str
    recipient: str
    sessions: int = 20
    messages: int = 3000
    size: int = 10_240
    keep: bool = True
    pipeline: bool = False
    starttls: ssl.SSLContext | None = None
    tls: ssl.SSLContext | None = None
    auth: tuple[str, str] | None = None
    latencies: list[float] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    _next: int = 0

    def take(self) -> int | None:
        if self._next >= self.messages:
            return None
        self._next += 1
        return self._next

    def content(self, number: int) -> bytes:
        head = (
            f"From: <{self.sender}>\r\nTo: <{self.recipient}>\r\nSubject: bench {number}\r\n"
            f"Message-ID: <{number}.{id(self)}@bench.test>\r\n"
            "Date: Mon, 02 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
        ).encode()
        rest = max(0, self.size - len(head))
        return head + (LINE * (rest // len(LINE) + 1))[:rest].rstrip(b"\r\n") + b"\r\n"


async def run(load: Load) -> dict[str, float]:
    """Do the load. Returns msgs/s, MB/s, p50 and p99 in ms, errors."""
    start = time.perf_counter()
    await asyncio.gather(*(_session(load) for _ in range(load.sessions)))
    wall = time.perf_counter() - start
    done, times = len(load.latencies), sorted(load.latencies) or [0.0]
    return {
        "rate": done / wall,
        "mb": done * load.size / wall / 1e6,
        "p50": statistics.median(times) * 1e3,
        "p99": times[int(len(times) * 0.99) - 1] * 1e3,
        "errors": float(sum(load.errors.values())),
    }


async def _session(load: Load) -> None:
    wire: _Wire | None = None
    while (number := load.take()) is not None:
        try:
            wire = wire or await _Wire.open(load)
            began = time.perf_counter()
            reply = await wire.send(load, load.content(number))
            load.latencies.append(time.perf_counter() - began)
            load.accepted.append(reply)
        except (OSError, EOFError, RuntimeError) as error:
            key = str(error)[:80]
            load.errors[key] = load.errors.get(key, 0) + 1
            wire = wire.close() if wire else None
        if wire and not load.keep:
            await wire.command(b"QUIT")
            wire = wire.close()
    if wire:
        wire.close()


class _Wire:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, load: Load) -> _Wire:
        wire = cls(*await asyncio.open_connection("127.0.0.1", load.port, ssl=load.tls, limit=1 << 20))
        await wire.reply(220)
        await wire.command(b"EHLO bench.test", 250)
        if load.starttls:
            await wire.command(b"STARTTLS", 220)
            await wire.writer.start_tls(load.starttls, server_hostname="localhost")
            await wire.command(b"EHLO bench.test", 250)
        if load.auth:
            token = base64.b64encode("\0".join(("", *load.auth)).encode())
            await wire.command(b"AUTH PLAIN " + token, 235)
        return wire

    async def send(self, load: Load, content: bytes) -> str:
        mail, rcpt = f"MAIL FROM:<{load.sender}>".encode(), f"RCPT TO:<{load.recipient}>".encode()
        if load.pipeline:
            self.writer.write(mail + b"\r\n" + rcpt + b"\r\nDATA\r\n")
            await self.reply(250)
            await self.reply(250)
            await self.reply(354)
        else:
            await self.command(mail, 250)
            await self.command(rcpt, 250)
            await self.command(b"DATA", 354)
        self.writer.write(content + b".\r\n")
        await self.writer.drain()
        return await self.reply(250)

    async def command(self, line: bytes, expected: int | None = None) -> str:
        self.writer.write(line + b"\r\n")
        return await self.reply(expected)

    async def reply(self, expected: int | None = None) -> str:
        while True:
            line = await self.reader.readline()
            if not line:
                raise EOFError("connection closed")
            if line[3:4] != b"-":
                break
        if expected and int(line[:3]) != expected:
            raise RuntimeError(line.decode("latin-1").strip())
        return line.decode("latin-1").strip()

    def close(self) -> None:
        self.writer.close()


def trusting(ca: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    return context


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--sender", default="jeanne.martin@alpha.mssante.test")
    options.add_argument("--recipient", default="paul.durand@beta.mssante.test")
    for name, default in (("sessions", 20), ("messages", 3000), ("size", 10_240)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--keep", action="store_true")
    options.add_argument("--pipeline", action="store_true")
    options.add_argument("--starttls", metavar="CA")
    options.add_argument("--tls", metavar="CA")
    options.add_argument("--auth", metavar="USER:PASSWORD")
    given = options.parse_args()
    user, _, password = (given.auth or "").partition(":")
    load = Load(
        given.port,
        given.sender,
        given.recipient,
        given.sessions,
        given.messages,
        given.size,
        given.keep,
        given.pipeline,
        trusting(given.starttls) if given.starttls else None,
        trusting(given.tls) if given.tls else None,
        (user, password) if user else None,
    )
    result = asyncio.run(run(load))
    print("{rate:.0f} msg/s  {mb:.1f} MB/s  p50 {p50:.1f} ms  p99 {p99:.1f} ms  errors {errors:.0f}".format(**result), load.errors or "")


if __name__ == "__main__":
    main()
