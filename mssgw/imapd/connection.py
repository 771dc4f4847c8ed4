"""Connection: read a command, answer it, again. RFC 3501 2.2, 5.5, 7.1; RFC 7888.

Commands are answered one after the other in the order they came, so pipelining needs no further care (5.5). Whatever
the client sends, the answer is OK, NO, BAD or BYE; anything unforeseen is logged and answered NO [SERVERBUG].
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import mssgw.imapd.commands  # noqa: F401  they are declared there
from mssgw.core.errors import MailError, PeerGone
from mssgw.core.failures import log_failure
from mssgw.imapd.registry import Command, Streamed, capabilities, find, find_streamed
from mssgw.imapd.replies import After, Bad, Bye, Code, No, line, no_of
from mssgw.imapd.session import (
    LOGIN_SECONDS,
    MAX_BAD,
    MAX_COMMAND,
    MAX_LINE,
    MAX_LINE_STRANGER,
    MAX_LITERAL,
    MAX_LITERAL_STRANGER,
    MAX_STRANGER_COMMANDS,
    ImapSession,
    Service,
)
from mssgw.imapd.wire import LineTooLong, Wire
from mssgw.protocol.imap_lexer import LITERAL, BadName, BadSyntax, Cursor, split_tag
from mssgw.protocol.imap_search import BadCharset

# A browser that was led here (cross-protocol attacks, ALPACA): no tag is followed by such a word.
_WEB = re.compile(rb"(?:GET|POST|HEAD|PUT|DELETE|OPTIONS|CONNECT|TRACE|PATCH|PRI) (?:[/*]|\S+://|\S+ HTTP/)|(?i:HOST|USER-AGENT): ")
_DISCARDED = 1 << 20  # octets of refused literals read and thrown away


@dataclass(frozen=True, slots=True)
class _Request:
    """A command as it was read."""

    tag: str
    command: Command
    arguments: Any


class Connection:
    def __init__(self, wire: Wire, service: Service) -> None:
        self.wire, self.service = wire, service
        self.session = ImapSession(wire, service)
        self._bad_in_a_row = self._stranger_commands = 0
        self.dismissed = False

    async def run(self) -> None:
        """Serves the connection until the client or the server ends it."""
        try:
            self.session.untagged("OK", "mssgw ready", Code.CAPABILITY.of(capabilities(self.session)))
            while await self._one():
                pass
        except (PeerGone, ConnectionError):
            pass
        except Bye as bye:
            self.say_bye(bye)
        except TimeoutError:
            self.say_bye(Bye("Idle for too long", Code.UNAVAILABLE))
        except LineTooLong:
            self.say_bye(Bye("Command line is too long"))
        except Exception as error:  # a bug outside any command
            log_failure(error, peer=self.wire.peer)
            self.say_bye(Bye("Internal error", Code.SERVERBUG))
        finally:
            self.session.close()
            await self.wire.close()

    @property
    def waiting(self) -> bool:
        """Nothing is being answered: the server may stop this connection."""
        return self.session.waiting

    def say_bye(self, bye: Bye) -> None:
        self.wire.write(line("*", "BYE", bye.text, bye.code))

    async def _one(self) -> bool:
        """Read and answer one command; False after LOGOUT."""
        stranger = self.session.account is None
        try:
            self.session.waiting = True
            async with asyncio.timeout(LOGIN_SECONDS if stranger else self.service.idle_seconds):
                request = await self._read()
            self.session.waiting = False
        except BadSyntax as error:  # no tag to answer to
            self._count_bad()
            self.session.untagged("BAD", str(error))
            return True
        if stranger:
            self._stranger_commands += 1
            if self._stranger_commands > MAX_STRANGER_COMMANDS:
                raise Bye("Too many commands before login")
        if request is None:
            return True
        after = await self._answer(request)
        await self.wire.drain()
        return after is not After.LEAVE

    # -- reading -------------------------------------------------------------------------------------

    async def _read(self) -> _Request | None:
        """The next command; None when it was answered BAD or NO already. Raises BadSyntax when it has no tag."""
        data = await self.wire.line(self._line_limit)
        if _WEB.match(data):  # a browser sent here by an attacker: docs/reference/crypto.md 9.26
            raise Bye("This is a mail server")
        tag, start = split_tag(data)
        try:
            return await self._request(tag, start.at, data)
        except (BadSyntax, Bad) as error:
            self._count_bad()
            self.wire.write(line(tag, "BAD", str(error)))
        except BadName as error:
            self.wire.write(line(tag, "NO", str(error), Code.CANNOT))
        except BadCharset:
            self.wire.write(line(tag, "NO", "Charset is not supported", Code.BADCHARSET.of("(US-ASCII UTF-8)")))
        return None

    async def _request(self, tag: str, start: int, data: bytes) -> _Request:
        """The command whose first line is `data`, with its literals. Raises Bad, BadSyntax, BadName, BadCharset."""
        while literal := LITERAL.search(data):
            size, synchronizing = int(literal[1]), not literal[2]
            cursor = Cursor(data, start)
            if (command := find_streamed(cursor)) and not _is_first_argument(cursor.at, data, literal.start()):
                return _Request(tag, command, await self._streamed(command, cursor, literal.start(), size, synchronizing))
            await self._check_literal(len(data), size, synchronizing)
            pieces = [piece async for piece in self.wire.octets(size)]
            data = b"".join([data, b"\r\n", *pieces, await self.wire.line(self._line_limit)])
        cursor = Cursor(data, start)
        command = find(cursor)
        return _Request(tag, command, command.parse(cursor))

    @property
    def _line_limit(self) -> int:
        return MAX_LINE_STRANGER if self.session.account is None else MAX_LINE

    async def _streamed(self, command: Command, cursor: Cursor, literal: int, size: int, synchronizing: bool) -> Streamed[Any]:
        """A command that has arrived up to its message. Raises BadSyntax, BadName, when the literal is out of the way."""
        try:
            arguments = command.parse_streamed(cursor, literal)
        except (BadSyntax, BadName):
            if not synchronizing:
                await self._throw_away(size)
            raise
        return Streamed(arguments, size, synchronizing)

    async def _check_literal(self, so_far: int, size: int, synchronizing: bool) -> None:
        """Ask for a literal, or refuse it. Raises Bad; Bye for a non-synchronizing one that is too large to read and drop."""
        limit = MAX_LITERAL_STRANGER if self.session.account is None else MAX_LITERAL
        if size <= limit and so_far + size <= MAX_COMMAND:
            if synchronizing:
                self.wire.write(b"+ Ready for literal data\r\n")
                await self.wire.drain()
            return
        if not synchronizing:
            await self._throw_away(size)
        raise Bad("Literal is too large")

    async def _throw_away(self, size: int) -> None:
        """Read and drop a non-synchronizing literal and the rest of its line. Raises Bye when it is too large even for that."""
        if size > _DISCARDED:
            raise Bye("Literal is too large", Code.TOOBIG)
        async for _ in self.wire.octets(size):
            pass
        if LITERAL.search(await self.wire.line(self._line_limit)):
            raise Bye("Command is not understood, and more of it is coming")

    def _count_bad(self) -> None:
        self._bad_in_a_row += 1
        if self._bad_in_a_row > MAX_BAD:
            raise Bye("Too many errors")

    # -- answering -----------------------------------------------------------------------------------

    async def _answer(self, request: _Request) -> After:
        """Check state, ask the session, push changes, reply."""
        session, tag, command, after = self.session, request.tag, request.command, After.GO_ON
        session.tag = tag
        try:
            command.require_state(session)
            done = await command.handle(session, request.arguments)
            self._bad_in_a_row = 0
            after = done.after
            reply = line(tag, "OK", done.text, done.code)
        except No as no:
            reply = line(tag, "NO", no.text, no.code)
        except Bad as bad:
            self._count_bad()
            reply = line(tag, "BAD", str(bad))
        except IndexError:
            reply = line(tag, "BAD", "no such message number")
        except PeerGone:
            raise
        except MailError as error:
            mapped = no_of(error)
            reply = line(tag, "NO", mapped.text, mapped.code)
        except (Bye, TimeoutError, LineTooLong, ConnectionError):
            raise
        except Exception as error:
            log_failure(error, command=command.name, account=session.account and session.account.id)
            reply = line(tag, "NO", "Internal error", Code.SERVERBUG)
        if session.account is not None and after is not After.LEAVE:
            await session.push(expunge=command.expunge, lazy=command.lazy)
        self.wire.write(reply)
        if after is After.START_TLS:
            await self.wire.start_tls(self.service.tls())
        return after


def _is_first_argument(name_end: int, data: bytes, literal: int) -> bool:
    """Whether the literal is the mailbox of the command whose name ends there, and not its message."""
    return literal == name_end + 1 and data[name_end : name_end + 1] == b" "
