"""APPEND, its messages streamed. RFC 3501 6.3.11, RFC 3502 (several), RFC 4315 (APPENDUID), RFC 7889 (APPENDLIMIT).

The mailbox and the size are checked before the client is asked for a literal. All messages of one command are added
in one transaction, or none.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path

from mssgw.core.address import Domain
from mssgw.core.body import BodyWriter
from mssgw.core.errors import MailError, NotFound
from mssgw.flow.mailboxes import Incoming
from mssgw.imapd.replies import Bad, Bye, Done, No, no_of
from mssgw.imapd.session import MAX_LINE, Session
from mssgw.protocol.imap_commands import Append, parse_append_options
from mssgw.protocol.imap_lexer import BadSyntax, Cursor

LITERAL = re.compile(rb"\{(\d{1,100})(\+?)\}\Z")  # far too large a number is a size, too: it is refused as one
_MESSAGES = 1000  # of one command
_DISCARD = 4  # times the limit are read and thrown away before the connection is cut


@dataclass(slots=True)
class Announced:
    """An APPEND that has arrived up to a literal."""

    command: Append
    size: int
    synchronizing: bool
    taken: list[Incoming] = field(default_factory=list)
    refused: No | None = None
    domain: Domain | None = None  # whose key seals the messages; None when refused


async def append(session: Session, announced: Announced) -> Done:
    total = 0
    try:
        announced.domain = await session.mailboxes.require_appendable(announced.command.mailbox)
    except NotFound as error:
        announced.refused = No(error.reply.text, "TRYCREATE")
    except MailError as error:
        announced.refused = no_of(error)
    command: Append | None = announced.command
    try:
        while command is not None:
            total += announced.size
            await _take(session, announced, command, total)
            command = await _next(session, announced)
        if announced.refused or announced.domain is None:
            raise announced.refused or No("Not possible", "CANNOT")
        uidvalidity, uids = await session.mailboxes.append(announced.command.mailbox, announced.domain, announced.taken)
    except NotFound as error:
        raise No(error.reply.text, "TRYCREATE") from None
    finally:
        for incoming in announced.taken:
            incoming.body.close()
    written = f"{uids[0]}:{uids[-1]}" if len(uids) > 1 else f"{uids[0]}"
    return Done("APPEND completed", f"APPENDUID {uidvalidity} {written}")


async def _take(session: Session, announced: Announced, command: Append, total: int) -> None:
    """Read one literal; a refused one is read too when it is coming anyway."""
    limit = session.service.append_limit
    if announced.size > limit or total > 4 * limit:
        announced.refused = announced.refused or No(f"A message may have {limit} octets", "TOOBIG")
    elif announced.size == 0:
        announced.refused = announced.refused or No("A message can't be empty", "CANNOT")
    if announced.synchronizing:
        if announced.refused:
            raise announced.refused  # instead of the continuation
        session.wire.write(b"+ Ready for literal data\r\n")
        await session.wire.drain()
    elif announced.size > _DISCARD * limit:
        raise Bye("Literal is far too large", "TOOBIG")
    writer = BodyWriter(_spool(session))
    try:
        async with asyncio.timeout(session.service.idle_seconds):
            async for piece in session.wire.octets(announced.size):
                if not announced.refused:
                    writer.write(piece)
        if not announced.refused:
            announced.taken.append(Incoming(writer.finish(), command.flags, command.internal_date))
    finally:
        writer.abort()


def _spool(session: Session) -> Path | None:
    directory = Path(session.service.config.node.data) / "spool"
    return directory if directory.is_dir() else None


async def _next(session: Session, announced: Announced) -> Append | None:
    """What follows a literal: the end, or the options of another message."""
    line = await session.wire.line(MAX_LINE)
    if not line:
        return None
    literal = LITERAL.search(line)
    if not literal or len(announced.taken) >= _MESSAGES:
        raise Bad("expected the end of the command or another message")
    cursor = Cursor(line)
    try:
        flags, internal_date = parse_append_options(cursor)
    except BadSyntax as error:
        raise _after_literal(literal, Bad(str(error))) from None
    if cursor.at != literal.start():
        raise _after_literal(literal, Bad("expected a literal"))
    announced.size, announced.synchronizing = int(literal[1]), not literal[2]
    return Append(announced.command.mailbox, flags, internal_date)


def _after_literal(literal: re.Match[bytes], bad: Bad) -> Bad | Bye:
    """A bad line whose literal is coming anyway leaves no way to go on in step."""
    return Bye(str(bad)) if literal[2] else bad
