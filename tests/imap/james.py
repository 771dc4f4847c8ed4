"""Runs Apache James' IMAP dialogues (test material beside the project) against our server.

Their texts and orders are their own, so a tagged line is compared by tag and condition only, and untagged lines are
looked for among those that came before the tagged one, without regard to case or order. Lines about extensions and
SELECT's informative codes are left out (`_NOT_ASKED`), and so is the UID we add to flags.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from tests.imap.conftest import MailServer
from tests.imap.dialogue import PATIENCE, Client
from tests.material import place

MPT = place("mail/james-mpt/imap")

_TAGGED = re.compile(r"([A-Za-z0-9.]+) \(?(OK|NO|BAD)")
_NOT_ASKED = re.compile(r"\\\* (OK|FLAGS|BYE)|\\\* \d+ RECENT|MAILBOXID|HIGHESTMODSEQ|\\\* CAPABILITY")


@dataclass
class Step:
    session: int
    kind: str  # C or S
    text: str


def parse(script: str) -> list[Step]:
    steps: list[Step] = []
    session = 1
    for line in script.splitlines():
        if line.startswith("SESSION:"):
            session = int(line.split(":")[1])
        elif line.startswith(("C:", "S:")):
            steps.append(Step(session, line[0], line[2:].removeprefix(" ")))
    return steps


_COMMAND = re.compile(
    r"C: \S+ (?i:UID STORE|STORE|STATUS|LIST|LSUB|XLIST|CREATE|DELETE|RENAME|SELECT|EXAMINE|SUBSCRIBE|UNSUBSCRIBE|APPEND|COPY) "
)


def _ours(script: str) -> str:
    """Rewrites a line: their separator `.` as our `/`, their users as ours, one space where they send several, `{n}` as literal text."""
    lines = []
    for line in script.splitlines():
        if _COMMAND.match(line):
            line = re.sub(r"\( +", "(", re.sub(r" +\)", ")", re.sub(r"  +", " ", line)))
            start = line.index(" ", 3)
            line = line[:start] + re.sub(r"\.(?!SILENT)", "/", line[start:])
        elif line.startswith(("S: \\* LIST", "S: \\* LSUB", "S: \\* STATUS")):
            line = re.sub(r"\\?\.(?![*+])", "/", line)
        elif line.startswith("S:"):
            line = re.sub(r"(?<!\\)\{(\d+)\\?\}", r"\\{\1\\}", line)
        lines.append(line.replace("imapuser", "alice@alpha.mssante.test").replace(" password", " secret"))
    return "\n".join(lines)


class Runner:
    def __init__(self, house: MailServer) -> None:
        self.house = house
        self.clients: dict[int, Client] = {}
        self.expected: dict[int, list[str]] = {}

    async def client(self, session: int) -> Client:
        if session not in self.clients:
            self.clients[session] = await self.house.login()
            self.expected[session] = []
        return self.clients[session]

    async def run(self, name: str) -> None:
        for step in parse(_ours((MPT / f"{name}.test").read_text("utf-8"))):
            client = await self.client(step.session)
            if step.kind == "C":
                client.send(step.text.encode() + b"\r\n")
            elif found := _TAGGED.match(step.text):
                lines = await self._until(client, found[1])
                assert lines[-1].startswith(f"{found[1]} {found[2]}"), f"{step.text!r}, got {lines[-1]!r}\n{client}"
                self._compare(client, self.expected[step.session], lines)
                self.expected[step.session] = []
            elif step.text.startswith(("\\+", "+")):
                await self._until(client, "+")
            elif not _NOT_ASKED.match(step.text) and step.text.strip():
                self.expected[step.session].append(step.text)

    @staticmethod
    async def _until(client: Client, tag: str) -> list[str]:
        lines: list[str] = []
        while not lines or not (lines[-1].startswith("+") if tag == "+" else re.match(re.escape(tag) + " (OK|NO|BAD)", lines[-1])):
            async with asyncio.timeout(PATIENCE):
                line = (await client.reader.readline()).decode("utf-8", "replace")
            assert line, f"the connection ended before {tag}\n{client}"
            lines.append(line.removesuffix("\r\n"))
            client.log.append(f"S: {line.strip()}")
        return lines

    @staticmethod
    def _compare(client: Client, expected: list[str], lines: list[str]) -> None:
        without_uid = [re.sub(r"\(UID \d+ FLAGS", "(FLAGS", line) for line in lines]
        for pattern in expected:
            regex = re.compile(pattern, re.IGNORECASE)
            assert any(regex.fullmatch(line) for line in (*lines, *without_uid)), f"{pattern!r} did not come\n{client}"
