"""COPY, MOVE and their UID forms, with COPYUID. RFC 3501 6.4.7, RFC 6851, RFC 4315 3."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from mssgw.core.errors import NotFound
from mssgw.imapd.registry import Capability, State, command
from mssgw.imapd.replies import Code, Done, No
from mssgw.imapd.session import ImapSession
from mssgw.protocol import imap_responses as encode
from mssgw.protocol.imap_lexer import Cursor, Ranges


@dataclass(frozen=True, slots=True)
class Copy:
    messages: Ranges
    mailbox: str
    uid: bool
    move: bool  # RFC 6851


def _copy(cursor: Cursor, *, uid: bool, move: bool) -> Copy:
    cursor.space()
    messages = cursor.ranges()
    cursor.space()
    return Copy(messages, cursor.mailbox(), uid, move)


@command("COPY", partial(_copy, uid=False, move=False), State.SELECTED)
@command("UID COPY", partial(_copy, uid=True, move=False), State.SELECTED)
@command("MOVE", partial(_copy, uid=False, move=True), State.SELECTED, brings=[Capability("MOVE")])
@command("UID MOVE", partial(_copy, uid=True, move=True), State.SELECTED)
async def copy(session: ImapSession, given: Copy) -> Done:
    view = session.selected
    verb = ("UID " if given.uid else "") + ("MOVE" if given.move else "COPY")
    if given.move and view.read_only:
        raise No("Mailbox was opened with EXAMINE", Code.NOPERM)
    uids = [view.uids[at] for at in view.indices(given.messages, uid=given.uid)]
    if not uids:
        return Done(f"{verb} completed, nothing to do")
    try:
        copied = await session.mailboxes.copy(view.mailbox, uids, given.mailbox, move=given.move)
    except NotFound as error:
        raise No(error.reply.text, Code.TRYCREATE) from None
    code = Code.COPYUID.of(copied.uidvalidity, *encode.uid_pairs(copied.uids)) if copied.uids else None
    if not given.move:
        return Done(f"{verb} completed", code)
    if code:
        session.untagged("OK", "Moved", code)  # RFC 6851 4.3: before the EXPUNGEs
    await session.push(expunge=True, force=True)
    return Done(f"{verb} completed")
