"""IMAP load against any server: fill a mailbox, then time what clients do. Medians are the caller's business.

python -m bench.imap --port 10993 --tls CA --user U --password P --count 10000
"""

from __future__ import annotations

import argparse
import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable

from bench.smtp import trusting

WORDS = ("patient", "courrier", "compte", "rendu", "consultation", "biologie", "imagerie", "traitement", "ordonnance", "suivi")


class Client:
    """One connection that sends a command and throws the answer away, counting its octets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.number, self.octets = reader, writer, 0, 0

    @classmethod
    async def open(cls, port: int, user: str, password: str, tls: ssl.SSLContext | None) -> Client:
        client = cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, limit=1 << 24))
        await client.reader.readline()
        await client.do(f'LOGIN "{user}" "{password}"'.encode())
        return client

    async def do(self, command: bytes) -> None:
        self.number += 1
        tag = b"a%d " % self.number
        self.writer.write(tag + command + b"\r\n")
        tail = b""
        while True:
            data = await self.reader.read(1 << 20)
            if not data:
                raise EOFError("connection closed")
            self.octets += len(data)
            tail = (tail + data)[-4096:]
            last = tail[:-2].rpartition(b"\r\n")[2]
            if tail.endswith(b"\r\n") and last.startswith(tag):
                if not last.startswith(tag + b"OK"):
                    raise RuntimeError(last.decode("latin-1"))
                return

    async def append(self, mailbox: str, message: bytes) -> None:
        await self.do(f"APPEND {mailbox} {{{len(message)}+}}".encode() + b"\r\n" + message)

    def close(self) -> None:
        self.writer.close()


def messages(count: int, seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)
    made = []
    for number in range(count):
        text = "\r\n".join(" ".join(chance.choices(WORDS, k=10)) for _ in range(chance.randint(10, 60)))
        made.append(
            (
                f"From: Dr {chance.choice(WORDS)} <a{number % 50}@bench.test>\r\nTo: <b@bench.test>\r\n"
                f"Subject: {' '.join(chance.choices(WORDS, k=5))}\r\nMessage-ID: <{number}@bench.test>\r\n"
                f"Date: Mon, 02 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n{text}\r\n"
            ).encode()
        )
    return made


async def timed(work: Callable[[], Awaitable[None]]) -> float:
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


async def run(port: int, user: str, password: str, tls: ssl.SSLContext | None, count: int) -> dict[str, float]:
    """Seconds per operation on a mailbox of `count` messages; `append` and `store` are per second."""
    client = await Client.open(port, user, password, tls)
    await client.do(b"CREATE Bench")
    batch = messages(count)

    async def fill() -> None:
        for message in batch:
            await client.append("Bench", message)

    async def store() -> None:
        for number in range(1, 501):
            await client.do(b"STORE %d +FLAGS.SILENT (\\Seen)" % number)

    result = {"append/s": count / await timed(fill)}
    await client.do(b"SELECT Bench")
    for name, command in (
        ("FLAGS", b"FETCH 1:* (UID FLAGS)"),
        ("ENVELOPE", b"FETCH 1:* (ENVELOPE)"),
        ("BODYSTRUCTURE", b"FETCH 1:* (BODYSTRUCTURE)"),
        ("headers", b"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE MESSAGE-ID)])"),
        ("bodies", b"FETCH 1:* (BODY.PEEK[])"),
        ("SEARCH SUBJECT", b"SEARCH SUBJECT biologie"),
        ("SEARCH UNSEEN", b"SEARCH UNSEEN"),
    ):
        result[name] = await timed(lambda command=command: client.do(command))
    result["store/s"] = 500 / await timed(store)
    result["push ms"] = await push(client, port, user, password, tls)
    await client.do(b"CLOSE")
    await client.do(b"DELETE Bench")
    client.close()
    return result


async def push(writer: Client, port: int, user: str, password: str, tls: ssl.SSLContext | None, rounds: int = 20) -> float:
    """Median milliseconds from a tagged OK of APPEND to EXISTS in another client's IDLE."""
    idler = await Client.open(port, user, password, tls)
    await idler.do(b"SELECT Bench")
    idler.writer.write(b"i IDLE\r\n")
    await idler.reader.readline()
    delays = []
    for message in messages(rounds, seed=2):
        await writer.append("Bench", message)
        start = time.perf_counter()
        while b"EXISTS" not in await idler.reader.readline():
            pass
        delays.append((time.perf_counter() - start) * 1e3)
    idler.close()
    return sorted(delays)[rounds // 2]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--user", required=True)
    options.add_argument("--password", required=True)
    options.add_argument("--tls", metavar="CA")
    options.add_argument("--count", type=int, default=10_000)
    given = options.parse_args()
    result = asyncio.run(run(given.port, given.user, given.password, trusting(given.tls) if given.tls else None, given.count))
    for name, value in result.items():
        print(f"{name:<16} {value:10.3f}")


if __name__ == "__main__":
    main()
