"""`mssgw queue …` and `mssgw trace`: the outbound queue, and what happened to a message.

A message is named by its trace: the word in the 250 of its acceptance, in its Received field, in logs and
in reports. Whatever a verb changes is audited under the name of who ran it, and running workers hear of it.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from bilingual import moment
from mssgw.cli.frame import ConfigFile, Family, Json, failure, inline, output, table
from mssgw.cli.opened import reading, writing
from mssgw.cli.usage import WrongUse
from mssgw.core.address import Address, AddressError, Domain
from mssgw.core.errors import NotFound
from mssgw.core.texts import Message, message
from mssgw.store import Reader, Transaction, audit, queue
from mssgw.store.audit import Entry
from mssgw.store.queue import Delivery, DeliveryId, Queued

app = Family(help="The outbound queue.", no_args_is_help=True)

ROWS = 1000
_Traces = Annotated[list[str] | None, typer.Argument(metavar="[TRACE]...", help="Messages, by their trace.", show_default=False)]
_OfDomain = Annotated[str | None, typer.Option("--domain", metavar="DOMAIN", help="All that wait for this domain.")]
_Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]
_All = Annotated[bool, typer.Option("--all", help="All that wait.")]


@app.command("list")
def list_(
    config: ConfigFile,
    domain: _OfDomain = None,
    held: Annotated[bool, typer.Option("--held", help="Only what is held.")] = False,
    limit: _Limit = ROWS,
    json: Json = False,
) -> None:
    """What waits, the earliest due first."""
    wanted = Domain(domain) if domain else None
    found = reading(config, lambda rx: queue.list_all(rx, domain=wanted, held=True if held else None, limit=limit))
    output(_waiting(found) if found else message("queue.nothing-waits"), json=json, document=[_delivery(one) for one in found])


@app.command()
def show(trace: str, config: ConfigFile, json: Json = False) -> None:
    """One message: every recipient, its state and the last words about it."""
    found = reading(config, lambda rx: queue.show(rx, trace))
    output(*_shown(found), json=json, document=_queued(found))


@app.command()
def retry(config: ConfigFile, traces: _Traces = None, domain: _OfDomain = None, all_: _All = False, json: Json = False) -> None:
    """Try again now."""
    _change(config, "due now", "queue.due-now", queue.retry, _chosen(traces, domain, all_), json)


@app.command()
def hold(config: ConfigFile, traces: _Traces = None, domain: _OfDomain = None, all_: _All = False, json: Json = False) -> None:
    """Keep messages here until `release`."""
    _change(config, "held", "queue.held", queue.hold, _chosen(traces, domain, all_), json)


@app.command()
def release(config: ConfigFile, traces: _Traces = None, domain: _OfDomain = None, all_: _All = False, json: Json = False) -> None:
    """Undo `hold`."""
    _change(config, "released", "queue.released", queue.unhold, _chosen(traces, domain, all_), json)


@app.command()
def drop(config: ConfigFile, traces: _Traces = None, domain: _OfDomain = None, all_: _All = False, json: Json = False) -> None:
    """End messages without sending them. Their senders hear nothing."""
    _change(config, "dropped", "queue.dropped", queue.drop, _chosen(traces, domain, all_), json)


def trace(
    what: Annotated[str, typer.Argument(metavar="MESSAGE-ID|ADDRESS|TRACE")], config: ConfigFile, limit: _Limit = ROWS, json: Json = False
) -> None:
    """What happened to a message, hop by hop, with times."""
    entries, waiting = reading(config, lambda rx: _history(rx, what, limit))
    if not entries:
        raise failure(message("queue.nothing-known", what=what))
    document = {"entries": [_entry(one) for one in entries], "waiting": [_delivery(one) for one in waiting]}
    output(
        table(message("queue.trace-columns"), map(_told, entries)), *([_waiting(waiting)] if waiting else []), json=json, document=document
    )


# which deliveries ----------------------------------------------------------------------------------


def _chosen(traces: list[str] | None, domain: str | None, everything: bool) -> Callable[[Reader], list[DeliveryId]]:
    """The deliveries meant, as a question to the store. Exactly one way of saying it, so that nothing is dropped by accident."""
    if sum((bool(traces), domain is not None, everything)) != 1:
        raise WrongUse(message("queue.which"))
    if not traces:
        wanted = Domain(domain) if domain else None
        return lambda rx: [one.id for one in queue.list_all(rx, domain=wanted, limit=1_000_000)]
    return lambda rx: [one.id for name in traces for one in queue.show(rx, name).deliveries if one.finished is None]


def _change(
    config: Any,
    done: str,
    said: str,
    change: Callable[[Transaction, Iterable[DeliveryId], str], int],
    chosen: Callable[[Reader], list[DeliveryId]],
    json: bool,
) -> None:
    count = writing(config, lambda tx: change(tx, chosen(tx), f"admin {getpass.getuser()}"))
    if not count:
        raise failure(message("queue.none-changed"))
    output(message(said, count=count), json=json, document={"changed": count, "what": done})


def _history(rx: Reader, what: str, limit: int) -> tuple[list[Entry], list[Delivery]]:
    entries = _find(rx, what, limit)
    waiting: list[Delivery] = []
    for name in dict.fromkeys(one.trace for one in entries if one.trace):
        try:
            waiting += [one for one in queue.show(rx, name).deliveries if one.finished is None]
        except NotFound:
            continue
    return entries, waiting


def _find(rx: Reader, what: str, limit: int) -> list[Entry]:
    """A trace, with the copies made of it; else an address; else a Message-ID, brackets or not."""
    if "@" not in what:
        return _with_copies(rx, what.upper(), limit)
    if not what.startswith("<"):
        try:
            found = audit.find(rx, address=Address.parse(what), limit=limit)
        except AddressError:
            found = []
        if found:
            return found
        what = f"<{what}>"
    traces = dict.fromkeys(one.trace for one in audit.find(rx, message_id=what, limit=limit) if one.trace)
    return sorted({one.id: one for name in traces for one in audit.find(rx, trace=name, limit=limit)}.values(), key=lambda one: one.id)


def _with_copies(rx: Reader, name: str, limit: int) -> list[Entry]:
    entries = audit.find(rx, trace=name, limit=limit)
    number = 1
    while copies := audit.find(rx, trace=f"{name}-{number}", limit=limit):
        entries += copies
        number += 1
    return sorted(entries, key=lambda one: one.id)


# how it looks --------------------------------------------------------------------------------------


def _waiting(found: Iterable[Delivery]) -> str:
    return table(message("queue.columns"), map(_row, found))


def _row(one: Delivery) -> tuple[object, ...]:
    sender, words = one.envelope.sender or "<>", next((who.reply for who in one.pending if who.reply), None)
    return one.trace, one.domain, len(one.pending), sender, one.size, one.attempts, _state(one), words or inline(message("queue.not-tried"))


def _state(one: Delivery) -> str:
    if one.held:
        return inline(message("queue.state.held"))
    if one.lease_until and one.lease_until > datetime.now(UTC):
        return inline(message("queue.state.sending"))
    return inline(message("queue.state.due", at=moment(one.due, "en")))


def _shown(found: Queued) -> Iterator[str | Message]:
    yield message("queue.received", trace=found.trace, at=found.received)
    if found.finished:
        yield message("queue.finished", at=found.finished)
    rows = [
        (
            one.domain,
            who.address,
            inline(message(f"queue.recipient.{who.state}")),
            one.attempts,
            "" if one.finished else _state(one),
            moment(who.changed, "en") if who.changed else "",
            who.reply or inline(message("queue.not-tried")),
        )
        for one in found.deliveries
        for who in one.recipients
    ]
    yield table(message("queue.recipient-columns"), rows)


def _told(one: Entry) -> tuple[object, ...]:
    way = " -> ".join(filter(None, (one.sender, one.recipient)))
    facts = "  ".join(f"{name}={value}" for name, value in one.facts.items())
    return moment(one.at, "en"), one.trace or "", one.what, one.outcome, way, one.message_id or "", facts


def _queued(found: Queued) -> dict[str, Any]:
    return {
        "trace": found.trace,
        "received": _iso(found.received),
        "finished": _iso(found.finished),
        "deliveries": [_delivery(one) for one in found.deliveries],
    }


def _delivery(one: Delivery) -> dict[str, Any]:
    recipients = [
        {"address": str(who.address), "state": who.state, "reply": who.reply, "changed": _iso(who.changed)} for who in one.recipients
    ]
    return {
        "id": one.id,
        "trace": one.trace,
        "domain": one.domain,
        "sender": str(one.envelope.sender or ""),
        "message_id": one.message_id,
        "size": one.size,
        "received": _iso(one.received),
        "due": None if one.finished else _iso(one.due),
        "attempts": one.attempts,
        "held": one.held,
        "leased_until": _iso(one.lease_until),
        "finished": _iso(one.finished),
        "recipients": recipients,
    }


def _entry(one: Entry) -> dict[str, Any]:
    return {
        "at": _iso(one.at),
        "who": one.who,
        "what": one.what,
        "outcome": one.outcome,
        "trace": one.trace,
        "sender": one.sender,
        "recipient": one.recipient,
        "message_id": one.message_id,
        "facts": one.facts,
    }


def _iso(when: datetime | None) -> str | None:
    return when.isoformat() if when else None
