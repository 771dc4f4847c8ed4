"""STORE and UID STORE. RFC 3501 6.4.6."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from mssgw.imapd.registry import State, command
from mssgw.imapd.replies import Code, Done, No
from mssgw.imapd.session import ImapSession
from mssgw.protocol.imap_lexer import Cursor, Ranges
from mssgw.store.mailboxes import FlagOp

_OPERATIONS = {"+": FlagOp.ADD, "-": FlagOp.REMOVE, "=": FlagOp.SET}
_SYSTEM = frozenset({"\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"})
_LINES = 5000  # responses between two drains


@dataclass(frozen=True, slots=True)
class Store:
    messages: Ranges
    operation: str  # "+", "-" or "=": add, remove, replace
    flags: frozenset[str]
    silent: bool
    uid: bool


def _store(cursor: Cursor, *, uid: bool) -> Store:
    cursor.space()
    messages = cursor.ranges()
    cursor.space()
    operation = "+" if cursor.skip(b"+") else "-" if cursor.skip(b"-") else "="
    cursor.expect(b"FLAGS")
    silent = cursor.skip(b".SILENT")
    cursor.space()
    if cursor.peek(b"("):
        flags = cursor.flags()
    else:
        given = [cursor.flag()]
        while cursor.skip(b" "):
            given.append(cursor.flag())
        flags = frozenset(given)
    return Store(messages, operation, flags, silent, uid)


@command("STORE", partial(_store, uid=False), State.SELECTED, expunge=False, lazy=True)
@command("UID STORE", partial(_store, uid=True), State.SELECTED, lazy=True)
async def store(session: ImapSession, given: Store) -> Done:
    view = session.selected
    verb = "UID STORE" if given.uid else "STORE"
    if view.read_only:
        raise No("Mailbox was opened with EXAMINE", Code.NOPERM)
    if unknown := {flag for flag in given.flags if flag.startswith("\\")} - _SYSTEM:
        raise No(f"{min(unknown)[:30]} can't be set by a client", Code.CANNOT)  # \Recent too
    wanted = view.indices(given.messages, uid=given.uid)
    if not wanted:
        return Done(f"{verb} completed")
    uids = [view.uids[at] for at in wanted]
    flags = view.canonical(given.flags)
    stored = await session.mailboxes.store_flags(view.mailbox, uids, _OPERATIONS[given.operation], flags)
    view.stored(stored.changed)
    session.wire.write(view.tell_keywords())
    if not given.silent:
        for start in range(0, len(wanted), _LINES):
            session.wire.write(b"".join([view.flags_of(at) for at in wanted[start : start + _LINES]]))
            await session.wire.drain()
    if view.any_gone and not given.uid and any(view.is_gone(uid) for uid in uids):
        raise No("Some of the messages no longer exist", Code.EXPUNGEISSUED)  # RFC 2180 4.2.1
    return Done(f"{verb} completed")
