"""Verbs of the workstation: `doctor`, `card`, and `open`, a consultation one can watch."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

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
from mssgw.cli.frame import ConfigFile, Json, failure, output, say
from mssgw.core.config.dmp import Dmp as DmpTable
from mssgw.core.config.dmp import DmpActor

app = typer.Typer()


Who = Annotated[str, typer.Option("--as", metavar="ADDRESS", help="For this dmp_actor of the configuration; else for all of them.")]


def _table(config: Path, address: str) -> tuple[DmpTable, tuple[DmpActor, ...]]:
    """The [dmp] table and the actors meant: one, or all."""
    node = loaded(config)
    if node.dmp is None:
        raise failure(say("dmp.no-table", file=config))
    actors = tuple(a for a in node.dmp_actor if not address or a.address.casefold() == address.casefold())
    if address and not actors:
        raise failure(say("dmp.no-actor", file=config, address=address))
    return node.dmp, actors


@app.command()
def doctor(config: ConfigFile, address: Who = "", json: Json = False) -> None:
    """Is this workstation ready: readers, components, cards, certificates. Asks for no PIN. Status 1 when something needed is missing."""
    table, actors = _table(config, address)
    station = Station(table.card_module, table.card_reader, table.vitale_reader, table.vitale_command, table.certificate, table.anchors,
                      table.validation_kit, production=table.production, by_card=any(a.key is None for a in actors),
                      value_sets=table.value_sets)  # fmt: skip
    checks = examine(station, datetime.now(UTC))
    text = "\n".join(f"{c.mark} {c.name} : {c.seen}{f' — {c.advice}' if c.advice else ''}" for c in checks)
    document = [{"name": c.name, "holds": c.holds, "seen": c.seen, "advice": c.advice, "needed": c.needed} for c in checks]
    bad = [c for c in checks if c.needed and not c.holds]
    output(text, json=json, document={"ok": not bad, "checks": document})
    raise typer.Exit(1 if bad else 0)


_CARD_NAMES = {
    "serial": "N° de série",
    "reader": "Lecteur",
    "id": "Identifiant national",
    "family": "Nom",
    "given": "Prénom",
    "profession": "Profession",
    "speciality": "Spécialité",
    "staff_card": "Carte de personnel (CPE)",
    "valid_until": "Valable jusqu'au",
    "tries_left": "Essais restants",
}
_CARD_WORDS = {True: "oui", False: "non", None: "inconnu", "": "aucune"}


@app.command()
def card(config: ConfigFile, address: Who = "", json: Json = False) -> None:
    """The professional's card in the reader, as it shows itself without PIN; with --as, whether it is that actor's."""
    table, actors = _table(config, address)
    module: Path = table.card_module or next((m for m in KNOWN_MODULES if m.is_file()), KNOWN_MODULES[0])
    try:
        with Pkcs11CardReader(module, reader=table.card_reader) as reader:
            seen = reader.see()
        who = seen.practitioner()
        document: dict[str, Any] = {
            "ok": True,
            "serial": seen.serial,
            "reader": seen.reader,
            "id": who.id,
            "family": who.family,
            "given": who.given,
            "profession": who.profession.code,
            "speciality": seen.speciality,
            "staff_card": seen.is_staff_card,
            "valid_until": seen.valid_until.isoformat(),
            "tries_left": seen.tries_left,
        }
        seen.require_valid(datetime.now(UTC))
    except DmpError as error:
        refused(error, json=json)
        return
    mine = not address or who.id == actors[0].id
    text = "\n".join(f"{name} : {_CARD_WORDS.get(document[key], document[key])}" for key, name in _CARD_NAMES.items())
    output(text, json=json, document=document | {"ok": mine})
    if not mine:
        raise failure(say("dmp.card.other", seen=who.id, address=address, wanted=actors[0].id))


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
        s.notice(say("dmp.enter-closes"))
        async with CardGuard(s.consultations, s.actor, relay=s.relay, card=s.card) as guard:
            if presence or s.card is not None:
                guard.watch(_slot(presence or (s.card.card.reader if s.card else "")))
            left = (consultation.value.closes - s.desk.now()).total_seconds()
            ended = await _first(guard, max(left, 0.0))
            if ended != "card removed":
                await s.consultations.close(consultation, by=ended)
        document = {"ok": True, "consultation": consultation.id, "ended_by": ended, "documents": [entry_json(e) for e in entries]}
        by = say(f"dmp.by.{ended}")
        s.tell(say("dmp.consultation-closed", by=by), document)

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
