"""What the session of a mail client may do with mailboxes: its own, and those of its organisations.

    own mailboxes           INBOX, Sent, …                          everything (RFC 3501)
    organisations'          Partagé/<address>/INBOX, …              messages, not the tree of folders
    DMP folders             kind DMP                                 read only until they have their writer

The organisation's mailboxes stand in a shared namespace (RFC 2342). Membership is checked at every command that
names a mailbox, so a member who is removed loses access at once. Code that reads doesn't look at `Mailbox.kind`; code
that writes does, in one place, `_require_writable`.

Raises MailError only: NotFound (no such mailbox), AlreadyExists, NotAllowed, OverQuota, TooComplex, Deferred.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mssgw.core.address import Address, AddressError, Domain
from mssgw.core.body import Body
from mssgw.core.changes import MailboxId
from mssgw.core.envelope import AccountId
from mssgw.core.errors import NoRoom, NotAllowed, NotFound, Refused, Reply
from mssgw.flow.shown import OURS
from mssgw.protocol import mime
from mssgw.protocol.imap_lexer import BadName, check_new_name
from mssgw.store import Reader, Store, Transaction, accounts, mailboxes
from mssgw.store.accounts import Account
from mssgw.store.blobs import Prepared
from mssgw.store.mailboxes import Changes, Copied, FlagOp, Kind, Mailbox, MessageRow, NewMessage, Snapshot, SpecialUse, Stored, Want

SHARED = "Partagé"
SEPARATOR = "/"
_SLOW = 256 * 1024  # octets from which a body is summarised in a thread
_REMEMBERED = 500_000  # messages in the snapshots kept for the next SELECT
_EXACT_RECENT = 2000


class AlreadyExists(Refused):
    default = Reply(550, "5.2.0", "Mailbox already exists")


class UseTaken(Refused):
    """Each special use belongs to one mailbox. RFC 6154 3."""

    default = Reply(550, "5.2.0", "Another mailbox has this special use")


class HasChildren(Refused):
    """The name is no mailbox, only the level above some: there is nothing to delete. RFC 3501 6.3.4, RFC 9051 7.1."""

    default = Reply(550, "5.2.0", "The name is no mailbox, and has mailboxes below it")


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of LIST: the full name, and the mailbox unless it is only a level of the hierarchy."""

    name: str
    mailbox: Mailbox | None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message to append."""

    body: Body
    flags: frozenset[str]
    internal_date: datetime | None


@dataclass(frozen=True, slots=True)
class _Place:
    owner: Account
    name: str  # within the owner's mailboxes
    shared: bool


class Snapshots:
    """The last snapshots of this worker's mailboxes, so that a SELECT reads only what changed since."""

    def __init__(self) -> None:
        self._kept: OrderedDict[MailboxId, Snapshot] = OrderedDict()

    def take(self, rx: Reader, mailbox: MailboxId) -> Snapshot:
        """The mailbox as it is now. In a reader's thread; the caller must not change the lists. Raises NotFound."""
        kept = self._kept.get(mailbox)
        now = mailboxes.get(rx, mailbox)
        if kept is None or kept.mailbox.uidvalidity != now.uidvalidity or kept.mailbox.modseq < now.expunged_from:
            fresh = mailboxes.snapshot(rx, mailbox)
        else:
            fresh = _brought_up_to_date(kept, now, mailboxes.changes_since(rx, mailbox, kept.mailbox.modseq))
        self._keep(fresh)
        return fresh

    def _keep(self, fresh: Snapshot) -> None:
        self._kept[fresh.mailbox.id] = fresh
        self._kept.move_to_end(fresh.mailbox.id)
        total = sum(len(kept.uids) for kept in list(self._kept.values()))
        while total > _REMEMBERED and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            total -= len(dropped.uids)


def _brought_up_to_date(kept: Snapshot, now: Mailbox, changes: Changes) -> Snapshot:
    if not (changes.added or changes.flags or changes.expunged):
        return replace(kept, mailbox=now)
    uids, flags, modseqs = kept.uids.copy(), kept.flags.copy(), kept.modseqs.copy()
    for change in changes.flags:
        at = bisect_left(uids, change.uid)
        if at < len(uids) and uids[at] == change.uid:
            flags[at], modseqs[at] = change.flags, change.modseq
    for added in changes.added:
        uids.append(added.uid)
        flags.append(added.flags)
        modseqs.append(added.modseq)
    if changes.expunged:
        gone = set(changes.expunged)
        left = [at for at, uid in enumerate(uids) if uid not in gone]
        uids, flags, modseqs = [uids[at] for at in left], [flags[at] for at in left], [modseqs[at] for at in left]
    return Snapshot(now, uids, flags, modseqs)


class Mailboxes:
    """The mailboxes one account sees. One per session."""

    def __init__(self, store: Store, account: Account, limits: mime.MimeLimits, snapshots: Snapshots) -> None:
        self.account = account
        self._store, self._limits, self._snapshots = store, limits, snapshots

    # -- accounts and names ---------------------------------------------------------------------------

    async def require_active(self, selected: Mailbox | None) -> None:
        """Raises NotAllowed when the account was suspended, or lost its right to the mailbox it has open."""

        def look(rx: Reader) -> None:
            if accounts.by_id(rx, self.account.id).status is not accounts.Status.ACTIVE:
                raise NotAllowed("Account suspended")
            if selected is None or selected.account == self.account.id:
                return
            if all(organisation.id != selected.account for organisation in accounts.organisations_of(rx, self.account.id)):
                raise NotAllowed("No longer a member of this organisation")

        await self._store.read(look)

    def _place(self, rx: Reader, name: str) -> _Place:
        """Raises NotFound."""
        first, _, rest = name.partition(SEPARATOR)
        if first != SHARED:
            return _Place(self.account, name, False)
        address, _, inner = rest.partition(SEPARATOR)
        for organisation in accounts.organisations_of(rx, self.account.id):
            if inner and organisation.address.key == _key(address):
                return _Place(organisation, inner, True)
        raise NotFound("No such mailbox", detail="shared namespace")

    def _find(self, rx: Reader, name: str) -> tuple[_Place, Mailbox]:
        place = self._place(rx, name)
        found = mailboxes.by_name(rx, place.owner.id, place.name)
        if found is None:
            raise NotFound("No such mailbox", detail=f"account {place.owner.id}")
        return place, found

    def _own(self, rx: Reader, name: str) -> str:
        """A name in the account's own tree. Raises NotAllowed: the organisation's tree is its administrator's."""
        if name == SHARED or self._place(rx, name).shared:
            raise NotAllowed("The folders of an organisation are not yours to change")
        return name

    # -- the tree ------------------------------------------------------------------------------------

    async def list_all(self) -> tuple[list[Listed], set[str]]:
        """Every name the account sees, levels without a mailbox included, and the names it subscribed to."""

        def look(rx: Reader) -> tuple[list[Listed], set[str]]:
            found = {box.name: box for box in mailboxes.list_all(rx, self.account.id)}
            for organisation in accounts.organisations_of(rx, self.account.id):
                prefix = f"{SHARED}{SEPARATOR}{organisation.address}{SEPARATOR}"
                found.update({prefix + box.name: box for box in mailboxes.list_all(rx, organisation.id)})
            return _with_levels(found), set(mailboxes.subscribed_names(rx, self.account.id))

        return await self._store.read(look)

    async def find(self, name: str) -> Mailbox:
        """Raises NotFound."""
        return await self._store.read(lambda rx: self._find(rx, name)[1])

    async def status(self, name: str) -> tuple[Mailbox, int]:
        """The mailbox, and how many of its messages are \\Recent. Raises NotFound."""

        def look(rx: Reader) -> tuple[Mailbox, int]:
            box = self._find(rx, name)[1]
            return box, _recent(rx, box)

        return await self._store.read(look)

    async def statuses(self, boxes: Iterable[Mailbox]) -> dict[MailboxId, int]:
        """\\Recent counts of several mailboxes."""
        wanted = list(boxes)
        return await self._store.read(lambda rx: {box.id: _recent(rx, box) for box in wanted})

    async def create(self, name: str, special_use: SpecialUse | None = None) -> None:
        _check_name(name)

        def change(tx: Transaction) -> None:
            own = self._own(tx, name)
            if mailboxes.by_name(tx, self.account.id, own) is not None:
                raise AlreadyExists
            if special_use and any(box.special_use is special_use for box in mailboxes.list_all(tx, self.account.id)):
                raise UseTaken
            mailboxes.create(tx, self.account.id, own, special_use=special_use)

        await self._store.write(change)

    async def delete(self, name: str) -> None:
        """Raises NotFound, HasChildren, NotAllowed for INBOX."""

        def change(tx: Transaction) -> None:
            own = self._own(tx, name)
            below = own + SEPARATOR
            if mailboxes.by_name(tx, self.account.id, own) is None and any(
                box.name.startswith(below) for box in mailboxes.list_all(tx, self.account.id)
            ):
                raise HasChildren
            mailboxes.delete(tx, self.account.id, own)

        await self._store.write(change)

    async def rename(self, old: str, new: str) -> None:
        """RFC 3501 6.3.5; INBOX stays and its messages move. Raises NotFound, AlreadyExists, Refused."""
        _check_name(new)

        def change(tx: Transaction) -> None:
            source, target = self._own(tx, old), self._own(tx, new)
            if mailboxes.by_name(tx, self.account.id, target) is not None:
                raise AlreadyExists
            mailboxes.rename(tx, self.account.id, source, target)

        await self._store.write(change)

    async def subscribe(self, name: str, on: bool) -> None:
        """A name needs no mailbox to be subscribed (RFC 3501 6.3.6), but it must be one that could exist."""
        _check_name(name)
        change = mailboxes.subscribe if on else mailboxes.unsubscribe
        await self._store.write(lambda tx: change(tx, self.account.id, name))

    # -- messages ------------------------------------------------------------------------------------

    async def open(self, name: str, *, claim_recent: bool) -> tuple[Snapshot, int]:
        """The mailbox and the UID from which messages are \\Recent in this session (RFC 3501 2.3.2). Raises NotFound."""
        snapshot = await self._store.read(lambda rx: self._snapshots.take(rx, self._find(rx, name)[1].id))
        box = snapshot.mailbox
        if claim_recent and box.recent_from < box.uidnext:
            with contextlib.suppress(NoRoom):  # they stay \\Recent for the next session too
                return snapshot, await self.claim_recent(box.id)
        return snapshot, box.recent_from

    async def claim_recent(self, mailbox: MailboxId) -> int:
        return await self._store.write(lambda tx: mailboxes.claim_recent(tx, mailbox))

    async def changes_since(self, mailbox: MailboxId, modseq: int) -> Changes:
        """Raises NotFound when the mailbox itself is gone."""
        return await self._store.read(lambda rx: mailboxes.changes_since(rx, mailbox, modseq))

    async def rows(self, mailbox: MailboxId, uids: Sequence[int], want: Want = Want.NONE) -> list[MessageRow]:
        return await self._store.read(lambda rx: mailboxes.rows(rx, mailbox, uids, want))

    async def rows_and_bodies(
        self, mailbox: MailboxId, uids: Sequence[int], want: Want = Want.NONE, octets: int = 4 << 20
    ) -> list[tuple[MessageRow, Body]]:
        """Messages with their bodies, which are the caller's to close: the first of `uids` that have `octets` together, one
        at least unless all are gone. Large bodies are not in memory and don't count."""

        def look(rx: Reader) -> list[tuple[MessageRow, Body]]:
            taken: list[MessageRow] = []
            room = octets
            for row in mailboxes.rows(rx, mailbox, uids, want):
                room -= row.size if row.size <= _SLOW else 0
                if taken and room < 0:
                    break
                taken.append(row)
            bodies = self._store.blobs.bodies(rx, [row.content for row in taken])
            return [(row, bodies[row.content]) for row in taken if row.content in bodies]

        return await self._store.read(look)

    async def store_flags(self, mailbox: Mailbox, uids: Sequence[int], operation: FlagOp, flags: Iterable[str]) -> Stored:
        _require_writable(mailbox, flags)
        given = frozenset(flags)
        return await self._store.write(lambda tx: mailboxes.store_flags(tx, mailbox.id, uids, operation, given, kept=OURS))

    async def expunge(self, mailbox: Mailbox, uids: Sequence[int] | None) -> list[int]:
        return await self._store.write(lambda tx: mailboxes.expunge(tx, mailbox.id, uids))

    async def require_appendable(self, name: str) -> Domain:
        """The domain whose key will seal what is appended. Raises NotFound, NotAllowed, Deferred: before the client sends it."""
        self._store.blobs.require_room()

        def look(rx: Reader) -> Domain:
            place, box = self._find(rx, name)
            _require_writable(box)
            return place.owner.address.domain

        return await self._store.read(look)

    async def append(self, name: str, domain: Domain, incoming: Sequence[Incoming]) -> tuple[int, list[int]]:
        """Add messages, all or none; UIDVALIDITY and their UIDs. Raises NotFound, NotAllowed, TooComplex, OverQuota, Deferred."""
        prepared = [await self._prepare(domain, one.body) for one in incoming]
        news = [
            NewMessage(content, mailboxes.without_flags(one.flags, OURS), one.internal_date)
            for content, one in zip(prepared, incoming, strict=True)
        ]

        def change(tx: Transaction) -> tuple[int, list[int]]:
            box = self._find(tx, name)[1]
            _require_writable(box)
            return box.uidvalidity, mailboxes.append_many(tx, box.id, news)

        return await self._store.write(change)

    async def _prepare(self, domain: Domain, body: Body) -> Prepared:
        if body.size > _SLOW:
            summary = await asyncio.to_thread(mime.summarise, body, self._limits)
        else:
            summary = mime.summarise(body, self._limits)
        return await self._store.blobs.prepare(body, domain, summary)

    async def copy(self, source: Mailbox, uids: Sequence[int], target: str, *, move: bool) -> Copied:
        """Copy or move, all or none. Raises NotFound for the target, OverQuota; NotFound too when a message is gone."""

        if move:
            _require_writable(source)

        def change(tx: Transaction) -> Copied:
            box = self._find(tx, target)[1]
            _require_writable(box)
            copied = (mailboxes.move if move else mailboxes.copy)(tx, source.id, uids, box.id)
            if len(copied.uids) != len(uids) and not move:
                raise Vanished  # RFC 2180 4.4.1: nothing is copied
            return copied

        return await self._store.write(change)


class Vanished(Refused):
    """Another session expunged a message that this one still sees. RFC 2180."""

    default = Reply(550, "5.2.0", "Some of the requested messages no longer exist")


def _require_writable(box: Mailbox, flags: Iterable[str] | None = None) -> None:
    if box.kind is Kind.DMP and (flags is None or frozenset(flags) - {"\\Seen", "\\Flagged"}):
        raise NotAllowed("This folder shows a patient record and takes no messages")


def _check_name(name: str) -> None:
    try:
        check_new_name(name)
    except BadName as error:
        raise Refused(str(error)) from None


def _recent(rx: Reader, box: Mailbox) -> int:
    span = box.uidnext - box.recent_from
    if 0 < span <= _EXACT_RECENT:
        return len(mailboxes.rows(rx, box.id, range(box.recent_from, box.uidnext)))
    return min(max(span, 0), box.messages)


def _with_levels(found: dict[str, Mailbox]) -> list[Listed]:
    """The mailboxes and the levels above them that aren't mailboxes; INBOX first, else by name."""
    names: dict[str, Mailbox | None] = dict(found)
    for name in found:
        levels = name.split(SEPARATOR)
        for depth in range(1, len(levels)):
            names.setdefault(SEPARATOR.join(levels[:depth]), None)
    return [Listed(name, names[name]) for name in sorted(names, key=lambda name: (name != "INBOX", name))]


def _key(address: str) -> str:
    try:
        return Address.parse(address).key
    except AddressError:
        return ""


__all__ = ["SHARED", "AccountId", "AlreadyExists", "HasChildren", "Incoming", "Listed", "Mailboxes", "Snapshots", "UseTaken", "Vanished"]
