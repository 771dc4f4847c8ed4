"""Refusals in the audit: what was not accepted can be traced as well as what was.

Only for clients that are somebody (an account, a listed operator, the hospital's network): what strangers
are refused is in the log and in the metrics, so that nobody can fill the store from outside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from mssgw.core.address import Address
from mssgw.core.errors import Deferred, MailError, PeerGone
from mssgw.store import Store, audit


@asynccontextmanager
async def refusals(store: Store, who: str, *, sender: Address | None, recipient: Address | None = None, trace: str | None = None,
                   peer: str | None = None) -> AsyncIterator[None]:
    """Whatever is refused or deferred inside gets an audit row with the words the client hears, and goes on up."""
    try:
        yield
    except PeerGone:
        raise
    except MailError as refusal:
        outcome, detail = str(refusal.reply), refusal.detail or None
        with suppress(Deferred):  # a store that can't commit is what the client hears of already
            await store.write(lambda tx: audit.add(tx, who, "refused", outcome, trace, sender=sender or "<>", recipient=recipient,
                                                   peer=peer, detail=detail))
        raise
