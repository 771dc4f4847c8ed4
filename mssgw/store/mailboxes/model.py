"""What mailboxes are made of: values, flags, names."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from mssgw.core.body import BlobId
from mssgw.core.changes import FlagsChanged, MailboxId, MessageAdded
from mssgw.core.envelope import AccountId
from mssgw.core.errors import Deferred, Refused, Reply
from mssgw.store.blobs import ContentId, Prepared

SEPARATOR = "/"
INBOX = "INBOX"
SEEN, DELETED, RECENT = "\\Seen", "\\Deleted", "\\Recent"
MAX_NAME = 1000  # characters
MAX_DEPTH = 32
MAX_FLAGS = 64  # on one message
_FLAGS_REMEMBERED = 4096

_FLAG = re.compile(r"\\?[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,200}\Z")  # RFC 3501 9: atom, with \ in front of system flags
_USUAL = {
    flag.lower(): flag
    for flag in (  # flags ignore case (RFC 5788 2); these have a usual spelling
        "\\Seen",
        "\\Answered",
        "\\Flagged",
        "\\Deleted",
        "\\Draft",
        "$Forwarded",
        "$MDNSent",
        "$Junk",
        "$NotJunk",
        "$Phishing",
        "$Important",
        "$SubmitPending",
        "$Submitted",
    )
}


class Kind(enum.StrEnum):
    MAIL = "MAIL"
    DMP = "DMP"  # a projection of a patient's dossier


class SpecialUse(enum.StrEnum):  # RFC 6154
    SENT = "\\Sent"
    DRAFTS = "\\Drafts"
    TRASH = "\\Trash"
    JUNK = "\\Junk"
    ARCHIVE = "\\Archive"


class FlagOp(enum.Enum):  # RFC 3501 6.4.6
    SET = "FLAGS"
    ADD = "+FLAGS"
    REMOVE = "-FLAGS"


class Want(enum.IntFlag):
    """Which sealed parts of a message `rows` opens."""

    NONE = 0
    ENVELOPE = 1
    BODYSTRUCTURE = 2
    BODY = 4
    ALL = 7


class LogTooShort(Deferred):
    """The log of what was expunged since then is no longer complete: take a new snapshot."""


class OverQuota(Refused):
    """The account's quota is used up: NO [OVERQUOTA], 552 5.2.2."""

    default = Reply(552, "5.2.2", "Mailbox full")


@dataclass(frozen=True, slots=True)
class Mailbox:
    id: MailboxId
    account: AccountId
    name: str
    kind: Kind
    uidvalidity: int
    uidnext: int
    modseq: int  # HIGHESTMODSEQ
    messages: int
    unseen: int
    size: int  # octets
    special_use: SpecialUse | None
    subscribed: bool
    recent_from: int  # the first UID that is \Recent for the next session
    expunged_from: int  # QRESYNC: the log of expunged UIDs is complete for modseqs above this


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A mailbox at one moment. The lists run in parallel; equal flag sets are one object."""

    mailbox: Mailbox
    uids: list[int]
    flags: list[frozenset[str]]
    modseqs: list[int]


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened after a modseq. A message that came and changed is in `added` with its present flags."""

    modseq: int  # the modseq to ask from next time
    added: list[MessageAdded]
    flags: list[FlagsChanged]
    expunged: list[int]  # UIDs; may name some that came and went in between


@dataclass(frozen=True, slots=True)
class NewMessage:
    content: Prepared  # prepared with a summary
    flags: frozenset[str] = frozenset()
    internal_date: datetime | None = None  # now
    original: Prepared | None = None  # as it came, before decryption: evidence


class MessageRow(NamedTuple):
    uid: int
    flags: frozenset[str]
    modseq: int
    internal_date: datetime
    size: int
    header_size: int  # octets up to and with the empty line
    content: ContentId  # store.blobs.read
    original: ContentId | None
    blob: BlobId
    envelope: bytes  # empty unless wanted
    bodystructure: bytes
    body: bytes


class Copied(NamedTuple):
    uidvalidity: int  # of the target
    uids: list[tuple[int, int]]  # (old, new), ascending


@dataclass(frozen=True, slots=True)
class Stored:
    modseq: int
    changed: list[FlagsChanged]
    modified: list[int]  # UNCHANGEDSINCE failed for these, RFC 7162 3.1.3


_sets: dict[str, frozenset[str]] = {"": frozenset()}


def flag_set(flags: Iterable[str]) -> frozenset[str]:
    """A flag set as it is stored: one spelling of each, without \\Recent. Raises Refused: not a flag, too many."""
    return with_flags(frozenset(), flags)


def with_flags(old: frozenset[str], added: Iterable[str]) -> frozenset[str]:
    """`old` and more; what is there keeps its spelling. Raises Refused."""
    found = {flag.lower(): flag for flag in old}
    for flag in added:
        if not _FLAG.match(flag):
            raise Refused("Not a usable flag")
        low = flag.lower()
        if low != "\\recent":
            found.setdefault(low, _USUAL.get(low, flag))
    if len(found) > MAX_FLAGS:
        raise Refused(f"More than {MAX_FLAGS} flags on one message")
    return read_flags(write_flags(frozenset(found.values())))


def without_flags(old: frozenset[str], removed: Iterable[str]) -> frozenset[str]:
    low = {flag.lower() for flag in removed}
    return read_flags(write_flags(frozenset(flag for flag in old if flag.lower() not in low)))


def write_flags(flags: frozenset[str]) -> str:
    return " ".join(sorted(flags))


def read_flags(text: str) -> frozenset[str]:
    """The one object for these flags."""
    found = _sets.get(text)
    if found is None:
        if len(_sets) >= _FLAGS_REMEMBERED:
            _sets.clear()
        found = _sets[text] = frozenset(text.split(" ")) if text else frozenset()
    return found


def canonical(name: str) -> str:
    """A mailbox name as it is stored. Raises Refused for one that can't be (RFC 3501 5.1)."""
    parts = name.split(SEPARATOR)
    if parts[0].isascii() and parts[0].upper() == INBOX:  # upper() of a dotless i is I
        parts[0] = INBOX
    if not name or len(name) > MAX_NAME or len(parts) > MAX_DEPTH or not all(parts):
        raise Refused("Not a usable mailbox name", detail="empty, too long, too deep, or an empty level")
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise Refused("Not a usable mailbox name", detail="control character")
    return SEPARATOR.join(parts)
