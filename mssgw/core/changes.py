"""Change: what a commit did to a mailbox; sessions are informed after the commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

MailboxId = NewType("MailboxId", int)


@dataclass(frozen=True, slots=True)
class MessageAdded:
    mailbox: MailboxId
    uid: int
    modseq: int
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class FlagsChanged:
    mailbox: MailboxId
    uid: int
    modseq: int
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Expunged:
    mailbox: MailboxId
    uid: int
    modseq: int


@dataclass(frozen=True, slots=True)
class MailboxChanged:
    """Created, renamed, deleted, subscribed: sessions list again."""

    mailbox: MailboxId


Change = MessageAdded | FlagsChanged | Expunged | MailboxChanged
