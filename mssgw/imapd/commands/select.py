"""SELECT, EXAMINE, CHECK, CLOSE, UNSELECT, EXPUNGE, UID EXPUNGE. RFC 3501 6.3.1-2, 6.4.1-3; RFC 3691, 4315."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from mssgw.flow.shown import OURS
from mssgw.imapd.registry import Capability, State, command, no_arguments
from mssgw.imapd.replies import Code, Done, No
from mssgw.imapd.session import ImapSession
from mssgw.imapd.view import View
from mssgw.protocol import imap_responses as encode
from mssgw.protocol.imap_lexer import Cursor, Ranges
from mssgw.store.mailboxes import Kind


@dataclass(frozen=True, slots=True)
class Select:
    mailbox: str
    read_only: bool


def _select(cursor: Cursor, *, read_only: bool) -> Select:
    cursor.space()
    return Select(cursor.mailbox(), read_only)


@command("SELECT", partial(_select, read_only=False), State.AUTHENTICATED)
@command("EXAMINE", partial(_select, read_only=True), State.AUTHENTICATED)
async def select(session: ImapSession, given: Select) -> Done:
    session.select(None)  # RFC 3501 6.3.1: also when this fails
    snapshot, recent_from = await session.mailboxes.open(given.mailbox, claim_recent=not given.read_only)
    view = View(given.mailbox, snapshot, recent_from, read_only=given.read_only)
    box = snapshot.mailbox
    session.wire.write(view.flags_line())
    session.wire.write(b"* %d EXISTS\r\n* %d RECENT\r\n" % (len(view.uids), view.recent))
    if view.first_unseen is not None:
        session.untagged("OK", "First unseen message", Code.UNSEEN.of(view.first_unseen))
    session.untagged("OK", "UIDs valid", Code.UIDVALIDITY.of(box.uidvalidity))
    session.untagged("OK", "Predicted next UID", Code.UIDNEXT.of(box.uidnext))
    session.untagged("OK", "Flags that are kept", Code.PERMANENTFLAGS.of(_permanent(view)))
    session.select(view)
    if given.read_only:
        return Done("EXAMINE completed", Code.READ_ONLY)
    return Done("SELECT completed", Code.READ_WRITE)


def _permanent(view: View) -> str:
    if view.read_only:
        return "()"
    if view.mailbox.kind is Kind.DMP:
        return "(\\Seen \\Flagged)"
    ours = {one.lower() for one in OURS}
    keywords = frozenset(one for low, one in view.keywords.items() if low not in ours) | {
        "\\Answered",
        "\\Flagged",
        "\\Deleted",
        "\\Seen",
        "\\Draft",
    }
    return encode.flags(keywords).decode("ascii")[:-1] + " \\*)"


@command("CHECK", no_arguments, State.SELECTED)
async def check(session: ImapSession, _: None) -> Done:
    """Everything is on disk already: sends what happened, as NOOP does."""
    await session.push(expunge=True, force=True)
    return Done("CHECK completed")


@command("CLOSE", no_arguments, State.SELECTED)
async def close(session: ImapSession, _: None) -> Done:
    """Expunge silently, then leave. RFC 3501 6.4.2: read-only mailboxes are left alone, without an error."""
    view = session.selected
    session.select(None)
    if not view.read_only:
        await session.mailboxes.expunge(view.mailbox, None)
    return Done("CLOSE completed")


@command("UNSELECT", no_arguments, State.SELECTED, brings=[Capability("UNSELECT")])
async def unselect(session: ImapSession, _: None) -> Done:
    session.select(None)
    return Done("UNSELECT completed")


@command("EXPUNGE", no_arguments, State.SELECTED)
async def expunge(session: ImapSession, _: None) -> Done:
    _require_writable(session.selected)
    await session.mailboxes.expunge(session.selected.mailbox, None)
    await session.push(expunge=True, force=True)
    return Done("EXPUNGE completed")


@dataclass(frozen=True, slots=True)
class UidExpunge:  # RFC 4315 2.1
    messages: Ranges


def _uid_expunge(cursor: Cursor) -> UidExpunge:
    cursor.space()
    return UidExpunge(cursor.ranges())


@command("UID EXPUNGE", _uid_expunge, State.SELECTED, brings=[Capability("UIDPLUS")])
async def uid_expunge(session: ImapSession, given: UidExpunge) -> Done:
    view = session.selected
    _require_writable(view)
    uids = [view.uids[at] for at in view.indices(given.messages, uid=True)]
    if uids:
        await session.mailboxes.expunge(view.mailbox, uids)
    await session.push(expunge=True, force=True)
    return Done("UID EXPUNGE completed")


def _require_writable(view: View) -> None:
    if view.read_only:
        raise No("Mailbox was opened with EXAMINE", Code.NOPERM)
