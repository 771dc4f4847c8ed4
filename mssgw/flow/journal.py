"""Refusals in the audit: what was not accepted can be traced as well as what was.

Only for known clients (an account, a listed operator, the hospital's network): refusals of unknown ones are
in the log and in the metrics alone, so that nobody can fill the store from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from mssgw.core.address import Address
from mssgw.core.errors import Deferred, MailError, PeerGone
from mssgw.core.failures import log_failure
from mssgw.store import Store, Transaction, audit
from mssgw.trust import Decision


@asynccontextmanager
async def refusals(
    store: Store, who: str, *, sender: Address | None, recipient: Address | None = None, trace: str | None = None, peer: str | None = None
) -> AsyncIterator[None]:
    """Writes an audit row with the client's reply for whatever is refused or deferred inside; the error goes on to the caller."""
    try:
        yield
    except PeerGone:
        raise
    except MailError as refusal:
        outcome, detail = str(refusal.reply), refusal.detail or None
        with suppress(Deferred):  # the client's reply already reports that the store can't commit
            await store.write(
                lambda tx: audit.add(
                    tx, who, "refused", outcome, trace, sender=sender or "<>", recipient=recipient, peer=peer, detail=detail
                )
            )
        raise


class DecisionAudit:
    """Writes the decisions of the trust space into the audit in the background: no mail waits for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writing: set[asyncio.Task[None]] = set()

    def __call__(self, decision: Decision) -> None:
        if decision.outcome == "trusted" and decision.step == "rcpt":
            return  # the message's own rows have it already
        task = asyncio.get_running_loop().create_task(self._write(decision))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, decision: Decision) -> None:
        def add(tx: Transaction) -> None:
            audit.add(
                tx,
                decision.operator or "peer",
                f"trust.{decision.step}",
                str(decision.outcome),
                reason=str(decision.reason),
                domain=decision.domain,
                certificate=decision.certificate,
                detail=decision.detail,
            )

        try:
            await self._store.write(add)
        except Exception as error:  # an audit row that can't be written must not stop mail; the log has it
            log_failure(error)
