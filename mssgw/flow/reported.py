"""What other operators report about mail of ours: kept with the trace of the message it is about.

Their reports go to people's mailboxes like any mail. Beside that, each recipient they name becomes an audit
row on the trace of the original, found by its Message-ID, so that `mssgw trace` shows what happened after
our queue was done. Only mail that was queued here, to a recipient of that address or ORCPT, gets such a row:
a report can't write about anything else.
"""

from __future__ import annotations

from mssgw.core.body import Body
from mssgw.protocol import dsn
from mssgw.store import Transaction, audit

MOST = 100  # rows that one report may write
ROWS = 1000


def read(body: Body) -> dsn.Report | None:
    """The message as a report; None when it is none, or when it does not name the message it is about."""
    try:
        report = dsn.parse(body.read(0, dsn.PARSE_LIMIT))
    except dsn.NotAReport:
        return None
    return report if report.original_message_id else None


def note(tx: Transaction, report: dsn.Report, trace: str, who: str) -> int:
    """Write a row for each recipient in the report; returns how many. `trace` is the report's own, `who` brought it."""
    sent = {
        (row.recipient or "").casefold(): row.trace
        for row in audit.find(tx, message_id=report.original_message_id, limit=ROWS)
        if row.what == audit.Act.RECIPIENT and row.message_id == report.original_message_id
    }
    told = 0
    for one in report.recipients[:MOST]:
        original = (one.original or "").partition(";")[2]
        about = sent.get(one.final.casefold()) or sent.get(original.strip().casefold())
        if about is None:
            continue
        audit.add(
            tx,
            who,
            "reported",
            one.action.value,
            about,
            sender="<>",
            recipient=one.final,
            message_id=report.original_message_id,
            status=one.status,
            diagnostic=one.diagnostic,
            by=report.reporting_mta or None,
            report=trace,
        )
        told += 1
    return told
