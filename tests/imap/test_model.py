"""Strict clients on one mailbox, random commands: their numbers always name the message they believe, and all agree in the end.

Each client keeps the view that RFC 3501 7.4.1 lets it keep: EXISTS only grows, EXPUNGE shifts, FETCH names a message by
number. Every FETCH is checked against it, every EXPUNGE against the command it came with; after NOOP all views equal the
mailbox, and the mailbox equals the model.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import examples
from tests.imap.conftest import MESSAGE, MailServer
from tests.imap.dialogue import Client

_FETCH = re.compile(rb"\* (\d+) FETCH \(UID (\d+)(?: FLAGS \(([^)]*)\))?")
FLAGS = ["\\Seen", "\\Deleted", "\\Flagged", "$Work"]

numbers = st.integers(1, 6)
OPERATIONS = st.one_of(
    st.tuples(st.just("append"), st.just(0), st.sampled_from(FLAGS)),
    st.tuples(st.sampled_from(["add", "remove", "replace", "silent"]), numbers, st.sampled_from(FLAGS)),
    st.tuples(
        st.sampled_from(["expunge", "noop", "copy", "move", "fetch", "search", "uid fetch", "select", "status"]), numbers, st.just("")
    ),
)


@dataclass
class Strict:
    """A client whose view is made of the server's responses alone."""

    client: Client
    uids: list[int | None] = field(default_factory=list)  # None: the message exists, its UID is not known yet

    def take(self, untagged: list[bytes], *, expunge: bool) -> None:
        for response in untagged:
            words = response.split()
            if words[2:] == [b"EXISTS"]:
                count = int(words[1])
                assert count >= len(self.uids), f"EXISTS shrank\n{self.client}"
                self.uids += [None] * (count - len(self.uids))
            elif words[2:] == [b"EXPUNGE"]:
                assert expunge, f"EXPUNGE at the wrong time\n{self.client}"
                assert 1 <= int(words[1]) <= len(self.uids), f"EXPUNGE of nothing\n{self.client}"
                del self.uids[int(words[1]) - 1]
            elif found := _FETCH.match(response):
                at, uid = int(found[1]) - 1, int(found[2])
                assert at < len(self.uids), f"FETCH of nothing\n{self.client}"
                assert self.uids[at] in (None, uid), f"{self.uids}: number {at + 1} is another message\n{self.client}"
                self.uids[at] = uid

    async def say(self, command: str, *, expunge: bool = True) -> bytes:
        untagged, tagged = await self.client.command(command)
        assert not tagged.startswith(b"BAD"), f"{command}: {tagged!r}\n{self.client}"
        self.take(untagged, expunge=expunge)
        return tagged

    async def select(self) -> None:
        self.uids = []
        await self.say("SELECT INBOX")
        await self.say("UID FETCH 1:* (UID FLAGS)")

    async def do(self, operation: tuple[str, int, str]) -> None:
        what, number, flag = operation
        number = min(number, len(self.uids))
        match what:
            case "append":
                self.client.send(b"m1 APPEND INBOX (%s) {%d+}\r\n%s\r\n" % (flag.encode(), len(MESSAGE), MESSAGE))
                untagged, tagged = await self.client.until(b"m1")
                assert tagged.startswith(b"OK"), tagged
                self.take(untagged, expunge=True)
            case "expunge" | "noop":
                await self.say(what)
            case "select":
                await self.select()
            case "status":
                await self.say("STATUS Archive (MESSAGES)")
            case "uid fetch":
                await self.say("UID FETCH 1:* (UID FLAGS)")
            case "search":
                await self.say("SEARCH NOT DELETED", expunge=False)
            case _ if number:
                await self._with_number(what, number, flag)

    async def _with_number(self, what: str, number: int, flag: str) -> None:
        match what:
            case "copy":
                await self.say(f"COPY 1:{number} Archive")
            case "move":
                await self.say(f"MOVE {number} INBOX")
            case "fetch":
                await self.say(f"FETCH {number}:* (UID FLAGS RFC822.SIZE)", expunge=False)
            case "silent":
                await self.say(f"STORE 1:{number} +FLAGS.SILENT ({flag})", expunge=False)
            case _:
                sign = {"add": "+", "remove": "-", "replace": ""}[what]
                await self.say(f"STORE {number} {sign}FLAGS ({flag})", expunge=False)


async def truth(client: Client) -> list[tuple[int, bytes]]:
    await client.ok("EXAMINE INBOX")
    found = [_FETCH.match(line) for line in await client.ok("UID FETCH 1:* (UID FLAGS)")]
    return [(int(one[2]), one[3].replace(b"\\Recent", b"").strip()) for one in found if one]


async def test_clients_and_mailbox_agree(small_house: MailServer) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(0, 2), OPERATIONS), max_size=40))
    def walk(steps: list[tuple[int, tuple[str, int, str]]]) -> None:
        asyncio.run_coroutine_threadsafe(_walk(small_house, steps), loop).result(120)

    await asyncio.to_thread(walk)


async def _walk(house: MailServer, steps: list[tuple[int, tuple[str, int, str]]]) -> None:
    watcher = await house.login()
    await watcher.ok("SELECT INBOX")
    await watcher.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    await watcher.ok("CLOSE")
    await watcher.append("INBOX", MESSAGE)
    await watcher.append("INBOX", MESSAGE)
    clients = [Strict(await house.login()) for _ in range(3)]
    for client in clients:
        await client.select()
    for who, operation in steps:
        await clients[who].do(operation)
    expected = await truth(watcher)
    for client in clients:
        await client.say("NOOP")
        await client.say("UID FETCH 1:* (UID FLAGS)")
        assert client.uids == [uid for uid, _ in expected], client.client
    assert [uid for uid, _ in expected] == sorted({uid for uid, _ in expected})
    for client in (watcher, *(one.client for one in clients)):
        await client.close()
