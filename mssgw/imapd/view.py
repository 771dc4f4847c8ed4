"""View: the selected mailbox as this client knows it. RFC 3501 7.4.1, 2.3.1.2; RFC 2180.

The client's numbers change only by responses that it has received, so what other sessions do waits here until a response
may be sent: `absorb` takes changes of the store, `tell` makes the untagged responses. A message that somebody expunged keeps
its number (and its last known flags) until EXPUNGE may be sent.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from mssgw.core.changes import FlagsChanged
from mssgw.protocol import imap_responses as encode
from mssgw.protocol.imap_lexer import Range, Ranges, resolve
from mssgw.store.mailboxes import Changes, Mailbox, Snapshot

_RECENT = frozenset({"\\Recent"})
SYSTEM_FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")


class View:
    def __init__(self, name: str, snapshot: Snapshot, recent_from: int, *, read_only: bool) -> None:
        self.name, self.read_only = name, read_only
        self.mailbox: Mailbox = snapshot.mailbox
        self.modseq = snapshot.mailbox.modseq
        self.uids = snapshot.uids.copy()
        self.flags = snapshot.flags.copy()
        self.recent_from = recent_from
        self.keywords: dict[str, str] = {}  # lower case -> as first seen
        for flags in set(self.flags):
            self._learn(flags)
        self._gone: set[int] = set()  # expunged, and the client doesn't know
        self._changed: set[int] = set()  # flags the client doesn't know
        self._told = len(self.uids)  # EXISTS, as last sent
        self._new_keywords = False

    # -- what the client's numbers mean --------------------------------------------------------------

    def indices(self, ranges: Ranges, *, uid: bool, lenient: bool = False) -> list[int]:
        """Positions of the messages, ascending. Raises IndexError for a sequence number that doesn't exist, unless lenient."""
        if not uid and not lenient and any(max(pair) > self._told for pair in ranges if pair != (1, 0)):
            raise IndexError  # "1:*" is what clients ask of an empty mailbox too
        found: list[int] = []
        for low, high in self._spans(ranges, uid=uid):
            found.extend(range(low, high + 1))
        return found

    def _spans(self, ranges: Ranges, *, uid: bool) -> list[Range]:
        uids, told = self.uids, self._told
        if not uid:
            return [(low - 1, high - 1) for low, high in resolve(ranges, told)]
        spans = []
        for low, high in resolve(ranges, uids[told - 1] if told else 0):
            first, last = bisect_left(uids, low, 0, told), bisect_right(uids, high, 0, told) - 1
            if first <= last:
                spans.append((first, last))
        return spans

    def position(self, uid: int) -> int | None:
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else None

    def is_gone(self, uid: int) -> bool:
        return uid in self._gone

    @property
    def count(self) -> int:
        """Messages that the client knows of: EXISTS, as last sent."""
        return self._told

    @property
    def any_gone(self) -> bool:
        return bool(self._gone)

    def shown_flags(self, at: int) -> frozenset[str]:
        """With \\Recent, which belongs to the session."""
        flags = self.flags[at]
        return flags | _RECENT if self.uids[at] >= self.recent_from else flags

    @property
    def recent(self) -> int:
        return len(self.uids) - bisect_left(self.uids, self.recent_from)

    @property
    def first_unseen(self) -> int | None:
        return next((at + 1 for at, flags in enumerate(self.flags) if "\\Seen" not in flags), None)

    # -- what happened -------------------------------------------------------------------------------

    def absorb(self, changes: Changes) -> bool:
        """Take in changes of the store; True when messages came."""
        self.modseq = changes.modseq
        for change in changes.flags:
            self._set(change, tell=True)
        last = self.uids[-1] if self.uids else 0
        added = [message for message in changes.added if message.uid > last]
        for message in added:
            self.uids.append(message.uid)
            self.flags.append(message.flags)
            self._learn(message.flags)
        for uid in changes.expunged:
            if self.position(uid) is not None:
                self._gone.add(uid)
        return bool(added)

    def stored(self, changed: list[FlagsChanged]) -> None:
        """Our own STORE: its responses inform the client, or the client asked for none (.SILENT)."""
        for change in changed:
            self._set(change, tell=False)

    def _set(self, change: FlagsChanged, *, tell: bool) -> None:
        at = self.position(change.uid)
        if at is None or self.flags[at] == change.flags:
            return
        self.flags[at] = change.flags
        self._learn(change.flags)
        if tell:
            self._changed.add(change.uid)

    def _learn(self, flags: frozenset[str]) -> None:
        for flag in flags:
            if not flag.startswith("\\") and flag.lower() not in self.keywords:
                self.keywords[flag.lower()] = flag
                self._new_keywords = True

    def canonical(self, flags: frozenset[str]) -> frozenset[str]:
        """Keywords in the case they have in this mailbox."""
        return frozenset(flag if flag.startswith("\\") else self.keywords.get(flag.lower(), flag) for flag in flags)

    # -- what is sent --------------------------------------------------------------------------------

    def tell(self, *, expunge: bool) -> bytes:
        """Everything the client doesn't know yet; EXPUNGE only when it is allowed (RFC 3501 7.4.1)."""
        said: list[bytes] = []
        if expunge and self._gone:
            said.append(self._expunges())
        if len(self.uids) != self._told:
            self._told = len(self.uids)
            said.append(b"* %d EXISTS\r\n* %d RECENT\r\n" % (self._told, self.recent))
        said.append(self.tell_keywords())
        if self._changed:
            positions = [self.position(uid) for uid in sorted(self._changed)]
            said += [self.flags_of(at) for at in positions if at is not None]
            self._changed.clear()
        return b"".join(said)

    def tell_keywords(self) -> bytes:
        """FLAGS, when there are keywords that the client doesn't know: before a FETCH that has them."""
        return self.flags_line() if self._new_keywords else b""

    def _expunges(self) -> bytes:
        gone, told = self._gone, self._told
        positions = [at for at, uid in enumerate(self.uids) if uid in gone]
        known = [at for at in positions if at < told]  # what came and went before the client was informed is not sent at all
        said = b"".join([b"* %d EXPUNGE\r\n" % (at + 1 - before) for before, at in enumerate(known)])
        self.uids = [uid for uid in self.uids if uid not in gone]
        dropped = set(positions)
        self.flags = [flags for at, flags in enumerate(self.flags) if at not in dropped]
        self._changed -= gone
        self._told -= len(known)
        self._gone = set()
        return said

    def flags_line(self) -> bytes:
        self._new_keywords = False
        return b"* FLAGS (" + " ".join([*SYSTEM_FLAGS, *sorted(self.keywords.values())]).encode("ascii", "replace") + b")\r\n"

    def flags_of(self, at: int) -> bytes:
        """The FETCH response with the flags and the UID: every client may use the UID, UID commands must have it."""
        return b"* %d FETCH (UID %d FLAGS %s)\r\n" % (at + 1, self.uids[at], encode.flags(self.shown_flags(at)))
