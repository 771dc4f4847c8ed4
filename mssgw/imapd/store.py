"""STORE and UID STORE. RFC 3501 6.4.6."""

from __future__ import annotations

from mssgw.imapd.replies import Done, No
from mssgw.imapd.session import Session
from mssgw.protocol.imap_commands import Store
from mssgw.store.mailboxes import FlagOp

_OPERATIONS = {"+": FlagOp.ADD, "-": FlagOp.REMOVE, "=": FlagOp.SET}
_SYSTEM = frozenset({"\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"})
_LINES = 5000  # responses between two drains


async def store(session: Session, command: Store) -> Done:
    view = session.selected
    verb = "UID STORE" if command.uid else "STORE"
    if view.read_only:
        raise No("Mailbox was opened with EXAMINE", "NOPERM")
    if unknown := {flag for flag in command.flags if flag.startswith("\\")} - _SYSTEM:
        raise No(f"{min(unknown)[:30]} can't be set by a client", "CANNOT")  # \Recent too
    wanted = view.indices(command.messages, uid=command.uid)
    if not wanted:
        return Done(f"{verb} completed")
    uids = [view.uids[at] for at in wanted]
    flags = view.canonical(command.flags)
    stored = await session.mailboxes.store_flags(view.mailbox, uids, _OPERATIONS[command.operation], flags)
    view.stored(stored.changed)
    session.wire.write(view.tell_keywords())
    if not command.silent:
        for start in range(0, len(wanted), _LINES):
            session.wire.write(b"".join([view.flags_of(at) for at in wanted[start : start + _LINES]]))
            await session.wire.drain()
    if view.any_gone and not command.uid and any(view.is_gone(uid) for uid in uids):
        raise No("Some of the messages no longer exist", "EXPUNGEISSUED")  # RFC 2180 4.2.1
    return Done(f"{verb} completed")
