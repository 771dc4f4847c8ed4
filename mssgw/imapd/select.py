"""SELECT, EXAMINE, CHECK, CLOSE, UNSELECT, EXPUNGE, UID EXPUNGE. RFC 3501 6.3.1-2, 6.4.1-3; RFC 3691, 4315."""

from __future__ import annotations

from mssgw.imapd.replies import Done, No
from mssgw.imapd.session import Session
from mssgw.imapd.view import View
from mssgw.protocol import imap_responses as encode
from mssgw.protocol.imap_commands import Select, Simple, UidExpunge
from mssgw.store.mailboxes import Kind


async def select(session: Session, command: Select) -> Done:
    session.select(None)  # RFC 3501 6.3.1: also when this fails
    snapshot, recent_from = await session.mailboxes.open(command.mailbox, claim_recent=not command.read_only)
    view = View(command.mailbox, snapshot, recent_from, read_only=command.read_only)
    box = snapshot.mailbox
    session.wire.write(view.flags_line())
    session.wire.write(b"* %d EXISTS\r\n* %d RECENT\r\n" % (len(view.uids), view.recent))
    if view.first_unseen is not None:
        session.untagged("OK", "First unseen message", f"UNSEEN {view.first_unseen}")
    session.untagged("OK", "UIDs valid", f"UIDVALIDITY {box.uidvalidity}")
    session.untagged("OK", "Predicted next UID", f"UIDNEXT {box.uidnext}")
    session.untagged("OK", "Flags that are kept", f"PERMANENTFLAGS {_permanent(view)}")
    session.select(view)
    if command.read_only:
        return Done("EXAMINE completed", "READ-ONLY")
    return Done("SELECT completed", "READ-WRITE")


def _permanent(view: View) -> str:
    if view.read_only:
        return "()"
    if view.mailbox.kind is Kind.DMP:
        return "(\\Seen \\Flagged)"
    keywords = frozenset(view.keywords.values()) | {"\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"}
    return encode.flags(keywords).decode("ascii")[:-1] + " \\*)"


async def check(session: Session, _: Simple) -> Done:
    """Everything is durable already; tell what happened, as NOOP does."""
    await session.push(expunge=True, force=True)
    return Done("CHECK completed")


async def close(session: Session, _: Simple) -> Done:
    """Expunge silently, then leave. RFC 3501 6.4.2: read-only mailboxes are left alone, without an error."""
    view = session.selected
    session.select(None)
    if not view.read_only:
        await session.mailboxes.expunge(view.mailbox, None)
    return Done("CLOSE completed")


async def unselect(session: Session, _: Simple) -> Done:
    session.select(None)
    return Done("UNSELECT completed")


async def expunge(session: Session, _: Simple) -> Done:
    _require_writable(session.selected)
    await session.mailboxes.expunge(session.selected.mailbox, None)
    await session.push(expunge=True, force=True)
    return Done("EXPUNGE completed")


async def uid_expunge(session: Session, command: UidExpunge) -> Done:
    view = session.selected
    _require_writable(view)
    uids = [view.uids[at] for at in view.indices(command.messages, uid=True)]
    if uids:
        await session.mailboxes.expunge(view.mailbox, uids)
    await session.push(expunge=True, force=True)
    return Done("UID EXPUNGE completed")


def _require_writable(view: View) -> None:
    if view.read_only:
        raise No("Mailbox was opened with EXAMINE", "NOPERM")
