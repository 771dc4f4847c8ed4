"""Mailboxes (folders) and their messages.

Names are hierarchical with "/"; INBOX is found in any case, and stored as "INBOX". UIDs of a mailbox ascend
and are never given twice under one UIDVALIDITY (RFC 3501 2.3.1.1); every change raises the mailbox's
modseq (RFC 7162); what was expunged stays in a log (QRESYNC). Functions take the transaction (`tx`) or the
reader (`rx`) first and run inside `store.write` or `store.read`. Every change rings `mailbox:ID`, changes
of the tree ring `account:ID`.

Raises NotFound for a mailbox that isn't there, Refused for a name that can't be, OverQuota.
"""

from mssgw.store.mailboxes.changes import changes_since, claim_recent, copy, expunge, move, remove, snapshot, store_flags, trim_log
from mssgw.store.mailboxes.content import append, append_many, deliver, duplicate_key, forget_deliveries, rows
from mssgw.store.mailboxes.model import (
    Changes,
    Copied,
    FlagOp,
    Kind,
    LogTooShort,
    Mailbox,
    MessageRow,
    NewMessage,
    OverQuota,
    Snapshot,
    SpecialUse,
    Stored,
    Want,
    flag_set,
    without_flags,
)
from mssgw.store.mailboxes.renaming import rename
from mssgw.store.mailboxes.tree import (
    by_name,
    create,
    create_defaults,
    delete,
    get,
    list_all,
    quota_used,
    subscribe,
    subscribed_names,
    unsubscribe,
)

__all__ = [
    "Changes",
    "Copied",
    "FlagOp",
    "Kind",
    "LogTooShort",
    "Mailbox",
    "MessageRow",
    "NewMessage",
    "OverQuota",
    "Snapshot",
    "SpecialUse",
    "Stored",
    "Want",
    "append",
    "append_many",
    "by_name",
    "changes_since",
    "claim_recent",
    "copy",
    "create",
    "create_defaults",
    "delete",
    "deliver",
    "duplicate_key",
    "expunge",
    "flag_set",
    "forget_deliveries",
    "get",
    "list_all",
    "move",
    "quota_used",
    "remove",
    "rename",
    "rows",
    "snapshot",
    "store_flags",
    "subscribe",
    "subscribed_names",
    "trim_log",
    "unsubscribe",
    "without_flags",
]
