"""The folders themselves: CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. RFC 3501 6.3.3-6.3.7; RFC 6154."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial

from mssgw.core.errors import NotFound
from mssgw.flow.mailboxes import SHARED
from mssgw.imapd.registry import Capability, State, command
from mssgw.imapd.replies import Code, Done, No
from mssgw.imapd.session import ImapSession
from mssgw.protocol.imap_lexer import Cursor
from mssgw.store.mailboxes import SpecialUse


@dataclass(frozen=True, slots=True)
class Create:
    mailbox: str
    hierarchy_only: bool  # the name ended in "/": a declaration of intent, RFC 3501 6.3.3
    special_use: str | None = None  # RFC 6154 3


def _create(cursor: Cursor) -> Create:
    cursor.space()
    start = cursor.at
    mailbox = cursor.mailbox()
    hierarchy_only = cursor.data[start : cursor.at].rstrip(b'"').endswith(b"/")
    use = None
    if cursor.skip(b" (USE ("):  # RFC 6154 3, exactly so in its grammar
        use = cursor.flag()
        cursor.expect(b"))")
    return Create(mailbox, hierarchy_only, use)


@command("CREATE", _create, State.AUTHENTICATED, brings=[Capability("CREATE-SPECIAL-USE")])
async def create(session: ImapSession, given: Create) -> Done:
    use = None
    if given.special_use is not None:
        try:
            use = SpecialUse(given.special_use)
        except ValueError:
            raise No("No such special use", Code.USEATTR) from None  # RFC 6154 3
    await session.mailboxes.create(given.mailbox, use)
    return Done("CREATE completed")


def _delete(cursor: Cursor) -> str:
    cursor.space()
    return cursor.mailbox()


@command("DELETE", _delete, State.AUTHENTICATED)
async def delete(session: ImapSession, mailbox: str) -> Done:
    """RFC 3501 6.3.4. A session that has the mailbox open leaves it first, so that its owner isn't thrown out."""
    if session.view is not None:
        with contextlib.suppress(NotFound):  # `delete` raises the right error
            if (await session.mailboxes.find(mailbox)).id == session.view.mailbox.id:
                session.select(None)
    await session.mailboxes.delete(mailbox)
    return Done("DELETE completed")


@dataclass(frozen=True, slots=True)
class Rename:
    old: str
    new: str


def _rename(cursor: Cursor) -> Rename:
    cursor.space()
    old = cursor.mailbox()
    cursor.space()
    return Rename(old, cursor.mailbox())


@command("RENAME", _rename, State.AUTHENTICATED)
async def rename(session: ImapSession, given: Rename) -> Done:
    await session.mailboxes.rename(given.old, given.new)
    return Done("RENAME completed")


@dataclass(frozen=True, slots=True)
class Subscribe:
    mailbox: str
    on: bool


def _subscribe(cursor: Cursor, *, on: bool) -> Subscribe:
    cursor.space()
    return Subscribe(cursor.mailbox(), on)


@command("SUBSCRIBE", partial(_subscribe, on=True), State.AUTHENTICATED)
@command("UNSUBSCRIBE", partial(_subscribe, on=False), State.AUTHENTICATED)
async def subscribe(session: ImapSession, given: Subscribe) -> Done:
    if given.on and given.mailbox.split("/")[0] == SHARED:
        try:
            await session.mailboxes.find(given.mailbox)
        except NotFound:
            raise No("No such mailbox", Code.NONEXISTENT) from None
    await session.mailboxes.subscribe(given.mailbox, given.on)
    return Done("SUBSCRIBE completed" if given.on else "UNSUBSCRIBE completed")
