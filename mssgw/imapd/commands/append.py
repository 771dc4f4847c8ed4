"""APPEND, its messages streamed. RFC 3501 6.3.11, RFC 3502 (several), RFC 4315 (APPENDUID), RFC 7889 (APPENDLIMIT).

The mailbox and the size are checked before the client is asked for a literal. All messages of one command are added
in one transaction, or none.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mssgw.core.address import Domain
from mssgw.core.body import BodyWriter
from mssgw.core.errors import MailError, NotFound
from mssgw.flow.mailboxes import Incoming
from mssgw.imapd.registry import Capability, State, Streamed, streamed_command
from mssgw.imapd.replies import Bad, Bye, Code, Done, No, no_of
from mssgw.imapd.session import MAX_LINE, ImapSession
from mssgw.protocol.imap_lexer import LITERAL, BadSyntax, Cursor

_MESSAGES = 1000  # of one command
_DISCARD = 4  # times the limit are read and thrown away before the connection is cut


@dataclass(frozen=True, slots=True)
class Append:
    mailbox: str
    flags: frozenset[str]
    internal_date: datetime | None


def _append(cursor: Cursor) -> Append:
    cursor.space()
    return Append(cursor.mailbox(), *_options(cursor))


def _options(cursor: Cursor) -> tuple[frozenset[str], datetime | None]:
    """From the space before flags or date to the literal."""
    cursor.space()
    flags: frozenset[str] = frozenset()
    if cursor.peek(b"("):
        flags = cursor.flags()
        cursor.space()
    internal_date = None
    if cursor.peek(b'"'):
        internal_date = cursor.date_time()
        cursor.space()
    return flags, internal_date


@dataclass(slots=True)
class _Arriving:
    """The messages of one command."""

    domain: Domain | None = None  # whose key seals them; None when refused
    taken: list[Incoming] = field(default_factory=list)
    octets: int = 0
    refused: No | None = None


_LIMIT = Capability("APPENDLIMIT", lambda session: session.service.append_limit)


@streamed_command("APPEND", _append, State.AUTHENTICATED, brings=[Capability("MULTIAPPEND"), _LIMIT])
async def append(session: ImapSession, first: Streamed[Append]) -> Done:
    arriving, mailbox = _Arriving(), first.arguments.mailbox
    try:
        arriving.domain = await session.mailboxes.require_appendable(mailbox)
    except NotFound as error:
        arriving.refused = No(error.reply.text, Code.TRYCREATE)
    except MailError as error:
        arriving.refused = no_of(error)
    message: Streamed[Append] | None = first
    try:
        while message is not None:
            await _take(session, arriving, message)
            message = await _next(session, arriving, mailbox)
        if arriving.refused or arriving.domain is None:
            raise arriving.refused or No("Not possible", Code.CANNOT)
        uidvalidity, uids = await session.mailboxes.append(mailbox, arriving.domain, arriving.taken)
    except NotFound as error:
        raise No(error.reply.text, Code.TRYCREATE) from None
    finally:
        for incoming in arriving.taken:
            incoming.body.close()
    written = f"{uids[0]}:{uids[-1]}" if len(uids) > 1 else f"{uids[0]}"
    return Done("APPEND completed", Code.APPENDUID.of(uidvalidity, written))


async def _take(session: ImapSession, arriving: _Arriving, message: Streamed[Append]) -> None:
    """Read one literal; a refused one is read too when it is coming anyway."""
    limit = session.service.append_limit
    arriving.octets += message.size
    if message.size > limit or arriving.octets > 4 * limit:
        arriving.refused = arriving.refused or No(f"A message may have {limit} octets", Code.TOOBIG)
    elif message.size == 0:
        arriving.refused = arriving.refused or No("A message can't be empty", Code.CANNOT)
    if message.synchronizing:
        if arriving.refused:
            raise arriving.refused  # instead of the continuation
        session.wire.write(b"+ Ready for literal data\r\n")
        await session.wire.drain()
    elif message.size > _DISCARD * limit:
        raise Bye("Literal is far too large", Code.TOOBIG)
    writer = BodyWriter(_spool(session))
    try:
        async with asyncio.timeout(session.service.idle_seconds):
            async for piece in session.wire.octets(message.size):
                if not arriving.refused:
                    writer.write(piece)
        if not arriving.refused:
            arriving.taken.append(Incoming(writer.finish(), message.arguments.flags, message.arguments.internal_date))
    finally:
        writer.abort()


def _spool(session: ImapSession) -> Path | None:
    directory = Path(session.service.config.node.data) / "spool"
    return directory if directory.is_dir() else None


async def _next(session: ImapSession, arriving: _Arriving, mailbox: str) -> Streamed[Append] | None:
    """What follows a literal: the end, or the options of another message."""
    line = await session.wire.line(MAX_LINE)
    if not line:
        return None
    literal = LITERAL.search(line)
    if not literal or len(arriving.taken) >= _MESSAGES:
        raise Bad("expected the end of the command or another message")
    cursor = Cursor(line)
    try:
        flags, internal_date = _options(cursor)
    except BadSyntax as error:
        raise _after_literal(literal, Bad(str(error))) from None
    if cursor.at != literal.start():
        raise _after_literal(literal, Bad("expected a literal"))
    return Streamed(Append(mailbox, flags, internal_date), int(literal[1]), not literal[2])


def _after_literal(literal: re.Match[bytes], bad: Bad) -> Bad | Bye:
    """After a bad line whose literal is on its way, the connection can't go on in step and ends."""
    return Bye(str(bad)) if literal[2] else bad
