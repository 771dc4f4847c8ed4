"""Connection: read a command, answer it, again. RFC 3501 2.2, 5.5, 7.1; RFC 7888.

Commands are answered one after the other in the order they came, so pipelining needs no further care (5.5). Whatever
the client sends, the answer is OK, NO, BAD or BYE; anything unforeseen is logged and answered NO [SERVERBUG].
"""

from __future__ import annotations

import asyncio
import re

from mssgw.core.errors import MailError, PeerGone
from mssgw.imapd.append import LITERAL, Announced, append
from mssgw.imapd.commands import State, Verb, verb_of
from mssgw.imapd.replies import Bad, Bye, No, line, no_of
from mssgw.imapd.session import (
    LOGIN_SECONDS,
    MAX_BAD,
    MAX_COMMAND,
    MAX_LINE,
    MAX_LINE_STRANGER,
    MAX_LITERAL,
    MAX_LITERAL_STRANGER,
    MAX_STRANGER_COMMANDS,
    Service,
    Session,
)
from mssgw.imapd.wire import LineTooLong, Wire
from mssgw.observe import log_bug
from mssgw.protocol.imap_commands import Command, Simple, parse_append, parse_command, split_tag
from mssgw.protocol.imap_lexer import BadName, BadSyntax
from mssgw.protocol.imap_search import BadCharset

_APPEND = Verb(append, State.AUTHENTICATED)
# A browser that was led here (cross-protocol attacks, ALPACA): no tag is followed by such a word.
_WEB = re.compile(rb"(?:GET|POST|HEAD|PUT|DELETE|OPTIONS|CONNECT|TRACE|PATCH|PRI) (?:[/*]|\S+://|\S+ HTTP/)|(?i:HOST|USER-AGENT): ")
_DISCARDED = 1 << 20  # octets of refused literals read and thrown away


class Connection:
    def __init__(self, wire: Wire, service: Service) -> None:
        self.wire, self.service = wire, service
        self.session = Session(wire, service)
        self._bad_in_a_row = self._stranger_commands = 0
        self.dismissed = False

    async def run(self) -> None:
        """Until the client leaves or is sent away."""
        try:
            self.session.untagged("OK", "mssgw ready", f"CAPABILITY {self.session.capabilities}")
            while await self._one():
                pass
        except (PeerGone, ConnectionError):
            pass
        except Bye as bye:
            self.say_bye(bye)
        except TimeoutError:
            self.say_bye(Bye("Idle for too long", "UNAVAILABLE"))
        except LineTooLong:
            self.say_bye(Bye("Command line is too long"))
        except Exception as error:  # a bug outside any command
            log_bug(error, peer=self.wire.peer)
            self.say_bye(Bye("Internal error", "SERVERBUG"))
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
                tag, command = await self._read()
            self.session.waiting = False
        except BadSyntax as error:  # no tag to answer to
            self._count_bad()
            self.session.untagged("BAD", str(error))
            return True
        if stranger:
            self._stranger_commands += 1
            if self._stranger_commands > MAX_STRANGER_COMMANDS:
                raise Bye("Too many commands before login")
        if command is not None:
            await self._answer(tag, command)
            await self.wire.drain()
            if isinstance(command, Simple) and command.verb == "LOGOUT":
                return False
        return True

    # -- reading -------------------------------------------------------------------------------------

    async def _read(self) -> tuple[str, Command | Announced | None]:
        """The next command; None when it was answered BAD or NO already. Raises BadSyntax when it has no tag."""
        data = await self.wire.line(self._line_limit)
        if _WEB.match(data):
            raise Bye("This is a mail server")
        tag, start = split_tag(data)
        try:
            while literal := LITERAL.search(data):
                size, synchronizing = int(literal[1]), not literal[2]
                if start.peek(b"APPEND ") and not _is_mailbox(start.at, data, literal.start()):
                    return tag, await self._append(data, literal.start(), size, synchronizing)
                await self._check_literal(len(data), size, synchronizing)
                pieces = [piece async for piece in self.wire.octets(size)]
                data = b"".join([data, b"\r\n", *pieces, await self.wire.line(self._line_limit)])
            cursor = split_tag(data)[1]
            return tag, parse_command(cursor)
        except (BadSyntax, Bad) as error:
            self._count_bad()
            self.wire.write(line(tag, "BAD", str(error)))
        except BadName as error:
            self.wire.write(line(tag, "NO", str(error), "CANNOT"))
        except BadCharset:
            self.wire.write(line(tag, "NO", "Charset is not supported", "BADCHARSET (US-ASCII UTF-8)"))
        return tag, None

    @property
    def _line_limit(self) -> int:
        return MAX_LINE_STRANGER if self.session.account is None else MAX_LINE

    async def _append(self, data: bytes, literal: int, size: int, synchronizing: bool) -> Announced:
        """An APPEND that has arrived up to its message. Raises BadSyntax, BadName, when the literal is out of the way."""
        cursor = split_tag(data)[1]
        cursor.keyword()
        try:
            command = parse_append(cursor)
            if cursor.at != literal:
                cursor.fail("a literal")
        except (BadSyntax, BadName):
            if not synchronizing:
                await self._throw_away(size)
            raise
        return Announced(command, size, synchronizing)

    async def _check_literal(self, so_far: int, size: int, synchronizing: bool) -> None:
        """Ask for a literal, or refuse it. Raises Bad; Bye for one that comes unasked and is too much to throw away."""
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
        """A literal that comes unasked, and the rest of its line. Raises Bye for one that is too much even for that."""
        if size > _DISCARDED:
            raise Bye("Literal is too large", "TOOBIG")
        async for _ in self.wire.octets(size):
            pass
        if LITERAL.search(await self.wire.line(self._line_limit)):
            raise Bye("Command is not understood, and more of it is coming")

    def _count_bad(self) -> None:
        self._bad_in_a_row += 1
        if self._bad_in_a_row > MAX_BAD:
            raise Bye("Too many errors")

    # -- answering -----------------------------------------------------------------------------------

    async def _answer(self, tag: str, command: Command | Announced) -> None:
        """Check state, ask the session, push changes, reply."""
        session = self.session
        session.tag = tag
        verb = _APPEND if isinstance(command, Announced) else verb_of(command)
        try:
            verb.require_state(session)
            done = await verb.handle(session, command)
            self._bad_in_a_row = 0
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
            log_bug(error, command=type(command).__name__, account=session.account and session.account.id)
            reply = line(tag, "NO", "Internal error", "SERVERBUG")
        if session.account is not None and not _leaves(command):
            await session.push(expunge=verb.expunge, lazy=verb.lazy)
        self.wire.write(reply)
        if isinstance(command, Simple) and command.verb == "STARTTLS" and reply.startswith(f"{tag} OK".encode()):
            await self.wire.start_tls(self.service.tls())


def _is_mailbox(verb: int, data: bytes, literal: int) -> bool:
    """Whether the literal is the mailbox of the APPEND at `verb`, and not its message."""
    return literal == verb + len(b"APPEND ") and data[literal : literal + 1] == b"{"


def _leaves(command: Command | Announced) -> bool:
    return isinstance(command, Simple) and command.verb == "LOGOUT"
