"""Which handler answers which command, in which state, and whether EXPUNGE may follow. RFC 3501 6, 7.4.1."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mssgw.imapd import auth, copy, fetch, idle, listing, search, select, store
from mssgw.imapd.replies import Bad, Done
from mssgw.imapd.session import Session
from mssgw.protocol import imap_commands as commands
from mssgw.protocol.imap_search import Search


class State(enum.Enum):
    ANY = "any state"
    STRANGER = "the not authenticated state"
    AUTHENTICATED = "the authenticated state"  # the selected state too
    SELECTED = "the selected state"


@dataclass(frozen=True, slots=True)
class Verb:
    handle: Callable[[Session, Any], Awaitable[Done]]
    state: State
    expunge: bool = True  # EXPUNGE may be sent at its end
    lazy: bool = False  # see Session.push

    def require_state(self, session: Session) -> None:
        """Raises Bad."""
        if self.state is State.STRANGER and session.account is not None:
            raise Bad("already logged in")
        if self.state in (State.AUTHENTICATED, State.SELECTED) and session.account is None:
            raise Bad("log in first")
        if self.state is State.SELECTED and session.view is None:
            raise Bad("select a mailbox first")


_SIMPLE = {
    "CAPABILITY": Verb(auth.capability, State.ANY),
    "NOOP": Verb(auth.noop, State.ANY),
    "LOGOUT": Verb(auth.logout, State.ANY),
    "STARTTLS": Verb(auth.starttls, State.STRANGER),
    "NAMESPACE": Verb(listing.namespace, State.AUTHENTICATED),
    "IDLE": Verb(idle.idle, State.AUTHENTICATED),
    "CHECK": Verb(select.check, State.SELECTED),
    "CLOSE": Verb(select.close, State.SELECTED),
    "UNSELECT": Verb(select.unselect, State.SELECTED),
    "EXPUNGE": Verb(select.expunge, State.SELECTED),
}
_OTHERS: dict[type, Verb] = {
    commands.Id: Verb(auth.identify, State.ANY),
    commands.Enable: Verb(auth.enable, State.AUTHENTICATED),
    commands.Login: Verb(auth.login, State.STRANGER),
    commands.Authenticate: Verb(auth.authenticate, State.STRANGER),
    commands.Select: Verb(select.select, State.AUTHENTICATED),
    commands.Create: Verb(listing.create, State.AUTHENTICATED),
    commands.Delete: Verb(listing.delete, State.AUTHENTICATED),
    commands.Rename: Verb(listing.rename, State.AUTHENTICATED),
    commands.Subscribe: Verb(listing.subscribe, State.AUTHENTICATED),
    commands.List: Verb(listing.list_, State.AUTHENTICATED),
    commands.Status: Verb(listing.status, State.AUTHENTICATED),
    commands.Copy: Verb(copy.copy, State.SELECTED),
    commands.UidExpunge: Verb(select.uid_expunge, State.SELECTED),
}
_NUMBERED: dict[type, tuple[Verb, Verb]] = {  # by sequence number, by UID: RFC 3501 7.4.1
    kind: (Verb(handle, State.SELECTED, False, lazy), Verb(handle, State.SELECTED, True, lazy))
    for kind, handle, lazy in ((commands.Fetch, fetch.fetch, False), (commands.Store, store.store, True), (Search, search.search, False))
}


def verb_of(command: commands.Command) -> Verb:
    if isinstance(command, commands.Simple):
        return _SIMPLE[command.verb]
    if isinstance(command, commands.Fetch | commands.Store | Search):
        return _NUMBERED[type(command)][command.uid]
    return _OTHERS[type(command)]
