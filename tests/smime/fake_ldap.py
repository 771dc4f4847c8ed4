"""An LDAP server that sends whatever a test wants, well or badly formed. Loopback, one script for every connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mssgw.pki import der
from mssgw.smime.directories.ldap_messages import frame

Script = Callable[["Visit"], Awaitable[None]]


def result(number: int, tag: int, code: int = 0, text: bytes = b"") -> bytes:
    return der.sequence(der.integer(number), der.tlv(tag, der.tlv(0x0A, bytes((code,))), der.octets(b""), der.octets(text)))


def entry(number: int, values: Mapping[str, list[bytes]], name: bytes = b"cn=x") -> bytes:
    attributes = [der.sequence(der.octets(key.encode()), der.tlv(der.SET, *map(der.octets, held))) for key, held in values.items()]
    return der.sequence(der.integer(number), der.tlv(0x64, der.octets(name), der.sequence(*attributes)))


class Visit:
    """One connection, as the server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, house: FakeLdap) -> None:
        self.reader, self.writer, self.house = reader, writer, house

    async def request(self) -> tuple[int, int, bytes]:
        """(message number, tag of the operation, whole message). Raises IncompleteReadError at the end."""
        data = await self.reader.readexactly(2)
        while not (size := frame(data)):
            data += await self.reader.readexactly(1)
        data += await self.reader.readexactly(size - len(data))
        number, operation = der.inside(data, der.whole(data), der.SEQUENCE)[:2]
        self.house.asked.append(data)
        return der.small_integer(data, number), operation[0], data

    async def say(self, *octets: bytes) -> None:
        self.writer.write(b"".join(octets))
        await self.writer.drain()


class FakeLdap:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[bytes] = []
        self.visits = 0
        self.port = 0
        self.open: set[asyncio.StreamWriter] = set()

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        self.open.add(writer)
        try:
            await self.script(Visit(reader, writer, self))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    @property
    def searches(self) -> int:
        return sum(1 for data in self.asked if der.inside(data, der.whole(data), der.SEQUENCE)[1][0] == 0x63)


@asynccontextmanager
async def fake_ldap(script: Script, **server: Any) -> AsyncIterator[FakeLdap]:
    house = FakeLdap(script)
    listening = await asyncio.start_server(house.welcome, "127.0.0.1", 0, **server)
    house.port = listening.sockets[0].getsockname()[1]
    try:
        yield house
    finally:
        listening.close()
        for writer in list(house.open):
            writer.transport.abort()
        await asyncio.sleep(0)


def knows(values: Mapping[str, list[bytes]] | None, code: int = 0) -> Script:
    """Answers every bind with yes and every search with one entry, or none."""

    async def script(visit: Visit) -> None:
        while True:
            number, kind, _ = await visit.request()
            if kind == 0x60:
                await visit.say(result(number, 0x61))
            elif kind == 0x63:
                await visit.say(*([entry(number, values)] if values is not None else []), result(number, 0x65, code))
            else:
                return

    return script
