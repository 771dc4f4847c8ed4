"""Verbs of the workstation: `doctor`, `card`, and `open`, a consultation one can watch."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dmp_connector.card.guard import CardGuard
from dmp_connector.card.pkcs11 import KNOWN_MODULES, Pkcs11CardReader
from dmp_connector.card.readers import Slot, pair, slots
from dmp_connector.doctor import Station, examine
from dmp_connector.dossier.consultation import BY_HAND, BY_TIME
from dmp_connector.errors import DmpError, NoReader
from dmp_connector.model import AccessMode
from mssgw.cli.config import loaded
from mssgw.cli.dmp.documents import entry_json, entry_line, opened
from mssgw.cli.dmp.session import As, Mode, Oid, Options, PatientIns, ReasonText, Session, Trace, Yes, refused, verb
from mssgw.cli.frame import ConfigFile, Json, failure, output

app = typer.Typer()


@app.command()
def doctor(config: ConfigFile, json: Json = False) -> None:
    """Is this workstation ready: readers, components, cards, certificates. Asks for no PIN."""
    table = loaded(config).dmp
    if table is None:
        raise failure(f"{config}: there is no [dmp] table")
    station = Station(table.card_module, table.card_reader, table.vitale_reader, table.vitale_command, table.certificate, table.anchors,
                      table.validation_kit, table.production)  # fmt: skip
    checks = examine(station, datetime.now(UTC))
    text = "\n".join(f"{'✔' if c.holds else '✘'} {c.name} : {c.seen}{f' — {c.advice}' if c.advice else ''}" for c in checks)
    document = [{"name": c.name, "holds": c.holds, "seen": c.seen, "advice": c.advice, "needed": c.needed} for c in checks]
    bad = [c for c in checks if c.needed and not c.holds]
    output(text, json=json, document={"ok": not bad, "checks": document})
    raise typer.Exit(1 if bad else 0)


@app.command()
def card(config: ConfigFile, json: Json = False) -> None:
    """The professional's card in the reader, as it shows itself without PIN."""
    table = loaded(config).dmp
    module: Path = (table.card_module if table else None) or next((m for m in KNOWN_MODULES if m.is_file()), KNOWN_MODULES[0])
    try:
        with Pkcs11CardReader(module, reader=table.card_reader if table else "") as reader:
            seen = reader.see()
        who = seen.practitioner()
        document = {"ok": True, "serial": seen.serial, "reader": seen.reader, "id": who.id, "family": who.family, "given": who.given,
                    "profession": who.profession.code, "speciality": seen.speciality, "staff_card": seen.is_staff_card,
                    "valid_until": seen.valid_until.isoformat(), "tries_left": seen.tries_left}  # fmt: skip
        seen.require_valid(datetime.now(UTC))
    except DmpError as error:
        refused(error, json=json)
        return
    output("\n".join(f"{k} : {v}" for k, v in document.items() if k != "ok"), json=json, document=document)


@app.command("open")
def open_consultation(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    presence: Annotated[str, typer.Option("--presence", metavar="READER", help="End when the card leaves this PC/SC reader.")] = "",
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """A consultation that stays: banner and list, until Enter, the end of its time, or the card is pulled."""

    async def act(s: Session) -> None:
        consultation = await opened(s)
        entries = await s.consultations.find(consultation)
        s.notice("\n".join(map(entry_line, entries)))
        async with CardGuard(s.consultations, s.actor, relay=s.relay, card=s.card) as guard:
            if presence or s.card is not None:
                guard.watch(_slot(presence or (s.card.card.reader if s.card else "")))
            left = (consultation.value.closes - s.desk.now()).total_seconds()
            ended = await _first(guard, max(left, 0.0))
            if ended != "card removed":
                await s.consultations.close(consultation, by=ended)
        document = {"ok": True, "consultation": consultation.id, "ended_by": ended, "documents": [entry_json(e) for e in entries]}
        s.tell(f"Consultation fermée ({ended}).", document)

    verb(Options(config, address, patient, oid, mode, reason, trace, json, yes), act)


def _slot(part: str) -> Slot:
    found = pair(slots(), professional=part).professional
    if found is None:
        raise NoReader("no reader is connected")
    return found


async def _first(guard: CardGuard, seconds: float) -> str:
    """Enter (or the end of stdin), the clock, or the card: whichever comes first."""
    loop = asyncio.get_running_loop()
    entered = asyncio.Event()
    with suppress(OSError, ValueError):  # a file or /dev/null cannot be waited for: then the clock or the card ends it
        loop.add_reader(sys.stdin, entered.set)
    try:
        waits = {asyncio.create_task(entered.wait()): BY_HAND, asyncio.create_task(guard.closed()): "card removed"}
        done, pending = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return waits[next(iter(done))] if done else BY_TIME
    finally:
        with suppress(OSError, ValueError):
            loop.remove_reader(sys.stdin)
