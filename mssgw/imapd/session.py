"""ImapSession: the state of one connection: who is logged in, which mailbox is selected, what was enabled. RFC 3501 3.

Commands are in `commands/`, in the files of their families; each handler asks `Mailboxes`, writes untagged data, and
returns Done or raises No, Bad or a MailError.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from mssgw.core.config import Config
from mssgw.core.errors import MailError, NotAllowed, NotFound
from mssgw.flow.mailboxes import Mailboxes, Snapshots
from mssgw.imapd.replies import Bye, Code, Coded, line
from mssgw.imapd.view import View
from mssgw.imapd.wire import Wire
from mssgw.protocol.mime import MimeLimits
from mssgw.store import Bell, Store
from mssgw.store.accounts import Account

MAX_LINE = 65_536  # octets; RFC 2683 3.2.1.5 asks for 8,000 at least
MAX_LINE_STRANGER = 8_192  # before login
MAX_LITERAL = 65_536  # of commands other than APPEND
MAX_LITERAL_STRANGER = 4_096  # RFC 7888 5
MAX_COMMAND = 262_144  # a command with all its literals
MAX_STRANGER_COMMANDS = 30  # before login
MAX_LOGIN_FAILURES = 4
MAX_BAD = 20  # in a row
LOGIN_SECONDS = 120.0
LAZY_SECONDS = 0.2


class Login(Protocol):
    """`flow.login.Login.authenticate`. Raises NotAllowed (wrong), Deferred (not now)."""

    def __call__(self, username: str, password: str, *, protocol: str, peer: str) -> Awaitable[Account]: ...


@dataclass(frozen=True, slots=True)
class Service:
    """What all connections of one worker share."""

    config: Config
    store: Store
    login: Login
    tls: Callable[[], ssl.SSLContext]  # the context for the next handshake: it changes when certificates do
    snapshots: Snapshots = field(default_factory=Snapshots)

    @property
    def limits(self) -> MimeLimits:
        return MimeLimits.of(self.config.limits)

    @property
    def append_limit(self) -> int:
        """Octets a message may have."""
        imap = self.config.imap
        return (imap.append_limit if imap else 0) or self.config.limits.message_size

    @property
    def idle_seconds(self) -> float:
        imap = self.config.imap
        return imap.idle_seconds if imap else 1860


class ImapSession:
    def __init__(self, wire: Wire, service: Service) -> None:
        self.wire, self.service = wire, service
        self.account: Account | None = None
        self.view: View | None = None
        self.login_failures = 0
        self.waiting = False  # for the client: between commands, or in IDLE
        self.tag = ""  # of the command being answered
        self._mailboxes: Mailboxes | None = None
        self._bell: Bell | None = None
        self._news: frozenset[str] = frozenset()
        self._dirty = False  # the view may be behind the store
        self._refreshed = 0.0

    # -- states --------------------------------------------------------------------------------------

    def logged_in(self, account: Account) -> None:
        self.account = account
        self._mailboxes = Mailboxes(self.service.store, account, self.service.limits, self.service.snapshots)
        self._bell = self.service.store.doorbell.subscribe(f"account:{account.id}")

    @property
    def mailboxes(self) -> Mailboxes:
        assert self._mailboxes is not None, "the dispatcher lets nobody here before login"
        return self._mailboxes

    @property
    def bell(self) -> Bell:
        assert self._bell is not None, "the dispatcher lets nobody here before login"
        return self._bell

    @property
    def selected(self) -> View:
        assert self.view is not None, "the dispatcher lets nobody here without a mailbox"
        return self.view

    def select(self, view: View | None) -> None:
        """Open a mailbox, or none."""
        if self.view is not None:
            self.bell.remove(f"mailbox:{self.view.mailbox.id}")
        self.view = view
        if view is not None:
            self.bell.add(f"mailbox:{view.mailbox.id}")
            self._dirty = True  # what happened between the snapshot and this line

    def close(self) -> None:
        if self._bell is not None:
            self._bell.close()

    # -- news ----------------------------------------------------------------------------------------

    async def rung(self) -> None:
        """Wait until something happened that `push` may have to send."""
        self._news |= await self.bell.wait()

    async def push(self, *, expunge: bool, force: bool = False, lazy: bool = False) -> None:
        """Send what happened meanwhile: at a command's end, or in IDLE. Raises Bye when the account or mailbox is gone.

        `lazy`: after a command whose own change rang the bell; in a row of them the store is read only now and then.
        """
        rung = self._news | self.bell.take()
        self._news = frozenset()
        if rung and (f"account:{self.bell_account}" in rung or "*" in rung):
            await self._require_active()
        view = self.view
        if view is None:
            return
        if rung:
            self._dirty = True
        now = asyncio.get_running_loop().time()
        if force or (self._dirty and not (lazy and now - self._refreshed < LAZY_SECONDS)):
            self._dirty, self._refreshed = False, now
            await self._refresh(view)
        self.wire.write(view.tell(expunge=expunge))

    @property
    def bell_account(self) -> int:
        return self.mailboxes.account.id

    async def _refresh(self, view: View) -> None:
        try:
            changes = await self.mailboxes.changes_since(view.mailbox.id, view.modseq)
        except NotFound:
            raise Bye("The selected mailbox was deleted", Code.UNAVAILABLE) from None  # RFC 2180 3.3
        except MailError:
            self._dirty = True  # the store is busy; the news is sent later
            return
        if view.absorb(changes) and not view.read_only:
            # Those that came are \Recent here; the next session must not have them too (RFC 3501 2.3.2).
            with contextlib.suppress(MailError):  # then two sessions show them as \\Recent, which the RFC prefers to none
                await self.mailboxes.claim_recent(view.mailbox.id)

    async def _require_active(self) -> None:
        try:
            await self.mailboxes.require_active(self.view.mailbox if self.view else None)
        except NotAllowed as error:
            raise Bye(error.reply.text, Code.UNAVAILABLE) from None
        except MailError:
            return

    def untagged(self, condition: str, text: str, code: Code | Coded | None = None) -> None:
        self.wire.write(line("*", condition, text, code))
