"""What mailboxes are made of: values, flags, names."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from mssgw.core.body import BlobId
from mssgw.core.changes import FlagsChanged, MailboxId, MessageAdded
from mssgw.core.envelope import AccountId
from mssgw.core.errors import Refused, Reply
from mssgw.store.blobs import ContentId, Prepared

SEPARATOR = "/"
INBOX = "INBOX"
SEEN, DELETED, RECENT = "\\Seen", "\\Deleted", "\\Recent"
MAX_NAME = 1000  # characters
MAX_DEPTH = 32
MAX_FLAGS = 64  # on one message
_FLAGS_REMEMBERED = 4096

_SYSTEM = {flag.lower(): flag for flag in ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft")}


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


class OverQuota(Refused):
    """The account keeps as much as it may: NO [OVERQUOTA], 552 5.2.2."""

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

    modseq: int  # ask from here next time
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
    """A flag set as it is stored: system flags in their usual case, without \\Recent. Raises Refused when there are too many."""
    found = frozenset(_SYSTEM.get(flag.lower(), flag) for flag in flags if flag.lower() != "\\recent")
    if len(found) > MAX_FLAGS:
        raise Refused(f"More than {MAX_FLAGS} flags on one message")
    return read_flags(write_flags(found))


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
    if parts[0].upper() == INBOX:
        parts[0] = INBOX
    if not name or len(name) > MAX_NAME or len(parts) > MAX_DEPTH or not all(parts):
        raise Refused("Not a usable mailbox name", detail="empty, too long, too deep, or an empty level")
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise Refused("Not a usable mailbox name", detail="control character")
    return SEPARATOR.join(parts)
