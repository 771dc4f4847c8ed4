"""COPY, MOVE and their UID forms, with COPYUID. RFC 3501 6.4.7, RFC 6851, RFC 4315 3."""

from __future__ import annotations

from mssgw.core.errors import NotFound
from mssgw.imapd.replies import Done, No
from mssgw.imapd.session import Session
from mssgw.protocol import imap_responses as encode
from mssgw.protocol.imap_commands import Copy


async def copy(session: Session, command: Copy) -> Done:
    view = session.selected
    verb = ("UID " if command.uid else "") + ("MOVE" if command.move else "COPY")
    if command.move and view.read_only:
        raise No("Mailbox was opened with EXAMINE", "NOPERM")
    uids = [view.uids[at] for at in view.indices(command.messages, uid=command.uid)]
    if not uids:
        return Done(f"{verb} completed, nothing to do")
    try:
        copied = await session.mailboxes.copy(view.mailbox, uids, command.mailbox, move=command.move)
    except NotFound as error:
        raise No(error.reply.text, "TRYCREATE") from None
    code = encode.copyuid(copied.uidvalidity, copied.uids) if copied.uids else ""
    if not command.move:
        return Done(f"{verb} completed", code)
    if code:
        session.untagged("OK", "Moved", code)  # RFC 6851 4.3: before the EXPUNGEs
    await session.push(expunge=True, force=True)
    return Done(f"{verb} completed")
