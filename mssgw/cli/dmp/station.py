"""Verbs of the workstation: `doctor`, `card`, and `open`, a consultation one can watch."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dmp_connector.doctor import Check
from dmp_connector.errors import DmpError
from dmp_connector.model import AccessMode
from mssgw.cli.dmp.documents import entry_json, entry_lines, opened
from mssgw.cli.dmp.session import (
    As,
    BirthDate,
    Family,
    Given,
    Mode,
    Oid,
    Options,
    PatientIns,
    ReasonText,
    Session,
    SexOption,
    Trace,
    Yes,
    refused,
    service,
    typed,
    verb,
)
from mssgw.cli.frame import ConfigFile, Json, both, failure, labelled, output, run, say
from mssgw.cli.terminal import terminal
from mssgw.core.texts import Message
from mssgw.dossier.service import CardSeen
from mssgw.dossier.wire_settings import WireSetting

app = typer.Typer()


Who = Annotated[str, typer.Option("--as", metavar="ADDRESS", help="For this dmp_actor of the configuration; else for all of them.")]


def _line(one: Check) -> Message:
    values = {"mark": one.mark, "name": one.name, "seen": one.seen}
    return say("dmp.check-advice", **values, advice=one.advice) if one.advice else say("dmp.check", **values)


def _check(one: Check) -> dict[str, Any]:
    words = {"name": one.name, "seen": one.seen, "advice": one.advice}
    french = {name: said.fr if said else "" for name, said in words.items()}
    return french | {"holds": one.holds, "needed": one.needed} | {f"{name}_en": said.en if said else "" for name, said in words.items()}


def _setting_line(one: WireSetting) -> Message:
    return say("dmp.setting", name=one.name, value=one.value, origin=one.origin)


def _setting(one: WireSetting) -> dict[str, Any]:
    return {"name": one.name, "value": one.value.fr, "origin": one.origin.fr, "value_en": one.value.en, "origin_en": one.origin.en}


@app.command()
def doctor(config: ConfigFile, address: Who = "", json: Json = False) -> None:
    """Is this workstation ready: readers, components, cards, certificates, and what is sent to the DMP by which setting. Asks for no PIN.
    Status 1 when something needed is missing."""
    try:
        checks = run(service(config).doctor(address))
        settings = run(service(config).wire_settings())
    except DmpError as error:
        refused(error, json=json)
    text = both(*map(_line, checks), *map(_setting_line, settings))
    document = [_check(c) for c in checks]
    bad = [c for c in checks if c.needed and not c.holds]
    output(text, json=json, document={"ok": not bad, "checks": document, "settings": [_setting(s) for s in settings]})
    raise typer.Exit(1 if bad else 0)


@app.command()
def card(config: ConfigFile, address: Who = "", json: Json = False) -> None:
    """The professional's card in the reader, as it shows itself without PIN; with --as, whether it is that actor's."""
    try:
        seen = run(service(config).card(address))
    except DmpError as error:
        refused(error, json=json)
    document = _card_json(seen)
    shown = {name: _card_value(value) for name, value in document.items() if name != "ok"}
    output(labelled(shown, lambda name: say(f"dmp.card.field.{name}")), json=json, document=document | {"ok": seen.mine})
    if not seen.mine:
        raise failure(say("dmp.card.other", seen=seen.holder.id, address=address, wanted=seen.wanted))


def _card_value(value: Any) -> Any:
    """For people: a number of tries that the card does not show is unknown, an empty speciality is none."""
    return say("word.no") if value is False else say("dmp.card.unknown") if value is None else value or "—"


def _card_json(seen: CardSeen) -> dict[str, Any]:
    card, who = seen.card, seen.holder
    return {
        "ok": True,
        "serial": card.serial,
        "reader": card.reader,
        "id": who.id,
        "family": who.family,
        "given": who.given,
        "profession": who.profession.code,
        "speciality": card.speciality,
        "staff_card": card.is_staff_card,
        "valid_until": card.valid_until.isoformat(),
        "tries_left": card.tries_left,
    }


@app.command("open")
def open_consultation(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    family: Family = "",
    given: Given = "",
    birth_date: BirthDate = None,
    sex: SexOption = None,
    presence: Annotated[str, typer.Option("--presence", metavar="READER", help="End when the card leaves this PC/SC reader.")] = "",
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """A consultation that stays: banner and list, until Enter, the end of its time, or the card is pulled."""

    async def act(s: Session) -> None:
        consultation = await opened(s)
        entries = await s.dmp.documents.find(consultation)
        s.notice(entry_lines(entries))
        s.notice(say("dmp.enter-closes"))
        ended = await s.dmp.documents.watch(consultation, presence=presence, until=terminal().entered())
        document = {"ok": True, "consultation": consultation.id, "ended_by": ended, "documents": [entry_json(e) for e in entries]}
        by = say(f"dmp.by.{ended}")
        s.tell(say("dmp.consultation-closed", by=by), document)

    options = Options(config, address, patient, oid, mode, reason, trace, json, yes, typed(family, given, birth_date, sex))
    verb("open_consultation", options, act, watched=True)
