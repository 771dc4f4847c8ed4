"""C: / S: dialogues with the real server on a socket.

    C: a1 SELECT INBOX
    S: * 2 EXISTS            a whole line, any other untagged lines may come before it
    S: a1 OK *               `*` at the end matches the rest; `{{...}}` is a regular expression

`S:` lines are looked for in order. `S!` lines must not come before the next `S:` matches. A line `C! text` is sent
without its CRLF. Literals in responses are part of the line, as `{n}⏎content`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl

PATIENCE = 20.0  # seconds until a test fails; nothing depends on how fast the server is


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.number = 0
        self.log: list[str] = []

    @classmethod
    async def connect(cls, address: tuple[str, int], tls: ssl.SSLContext | None) -> Client:
        reader, writer = await asyncio.open_connection(*address, ssl=tls, server_hostname="localhost" if tls else None, limit=1 << 26)
        return cls(reader, writer)

    def send(self, data: bytes) -> None:
        self.log.append(f"C: {data[:200]!r}")
        self.writer.write(data)

    async def response(self) -> bytes:
        """One response, literals included, without the final CRLF; b"" at the end of the connection."""
        whole = b""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    line = await self.reader.readline()
                    whole += line
                    literal = re.search(rb"\{(\d+)\}\r\n\Z", line)
                    if not literal:
                        break
                    whole += await self.reader.readexactly(int(literal[1]))
        except TimeoutError:
            raise AssertionError(f"no response in {PATIENCE} s, only {whole[:200]!r}\n{self}") from None
        self.log.append(f"S: {whole[:200]!r}")
        return whole.removesuffix(b"\r\n")

    async def command(self, text: str | bytes) -> tuple[list[bytes], bytes]:
        """Send with a fresh tag; (untagged responses, the tagged one without its tag)."""
        self.number += 1
        tag = b"t%d" % self.number
        data = text.encode() if isinstance(text, str) else text
        self.send(tag + b" " + data + b"\r\n")
        return await self.until(tag)

    async def until(self, tag: bytes) -> tuple[list[bytes], bytes]:
        untagged: list[bytes] = []
        while True:
            response = await self.response()
            assert response, f"the connection ended\n{self}"
            if response.startswith(tag + b" "):
                return untagged, response[len(tag) + 1 :]
            untagged.append(response)

    async def ok(self, text: str | bytes) -> list[bytes]:
        untagged, tagged = await self.command(text)
        assert tagged.startswith(b"OK"), f"{tagged!r}\n{self}"
        return untagged

    async def no(self, text: str | bytes, code: str = "") -> list[bytes]:
        untagged, tagged = await self.command(text)
        assert tagged.startswith(b"NO " + (f"[{code}".encode() if code else b"")), f"{tagged!r}\n{self}"
        return untagged

    async def bad(self, text: str | bytes) -> list[bytes]:
        untagged, tagged = await self.command(text)
        assert tagged.startswith(b"BAD"), f"{tagged!r}\n{self}"
        return untagged

    async def append(self, mailbox: str, message: bytes, options: str = "") -> bytes:
        """APPEND with a non-synchronising literal; the tagged response."""
        self.number += 1
        tag = b"t%d" % self.number
        self.send(tag + f" APPEND {mailbox}{options} ".encode() + b"{%d+}\r\n" % len(message) + message + b"\r\n")
        return (await self.until(tag))[1]

    async def play(self, script: str) -> None:
        """Run a dialogue."""
        forbidden: list[str] = []
        for line in filter(None, map(str.strip, script.splitlines())):
            kind, _, text = line.partition(" ")
            if kind == "C:":
                self.send(text.encode().replace(b"\\x00", b"\0") + b"\r\n")
            elif kind == "C!":
                self.send(text.encode())
            elif kind == "S!":
                forbidden.append(text)
            elif kind == "S:":
                await self._expect(text, forbidden)
                forbidden.clear()
            else:
                raise AssertionError(f"not a line of a dialogue: {line}")

    async def _expect(self, pattern: str, forbidden: list[str]) -> None:
        while True:
            response = await self.response()
            assert response or pattern == "(end)", f"the connection ended; expected {pattern}\n{self}"
            text = response.decode("utf-8", "replace").replace("\r\n", "⏎")
            assert not any(matches(one, text) for one in forbidden), f"{text!r} must not come\n{self}"
            if matches(pattern, text) or (pattern == "(end)" and not response):
                return
            tagged = pattern.split(" ")[0]
            assert text.startswith(("* ", "+")) or tagged == "*", f"expected {pattern!r}, got {text!r}\n{self}"

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()

    def __str__(self) -> str:
        return "\n".join(self.log[-40:])


def matches(pattern: str, text: str) -> bool:
    wildcard = pattern.endswith("*") and not pattern.endswith("\\*")
    pieces = re.split(r"(\{\{.*?\}\})", pattern.removesuffix("*") if wildcard else pattern)
    regex = "".join(piece[2:-2] if piece.startswith("{{") else re.escape(piece) for piece in pieces)
    return re.fullmatch(regex + (".*" if wildcard else ""), text, re.DOTALL) is not None
