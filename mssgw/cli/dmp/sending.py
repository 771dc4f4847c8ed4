"""`mssgw dmp send`: documents of the dossier in a mail."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from dmp_connector.dossier.rights import Action
from dmp_connector.errors import BadDocument
from dmp_connector.model import AccessMode
from mssgw.cli.account import address_argument
from mssgw.cli.dmp.documents import Overwrite, entry_json, opened, receiving, require_writable, shown, write_file
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
    patient_json,
    person,
    typed,
    verb,
)
from mssgw.cli.frame import ConfigFile, Json, say
from mssgw.cli.terminal import read
from mssgw.core.address import Address
from mssgw.core.clock import SystemClock
from mssgw.core.errors import ConfigError, MailError, located
from mssgw.core.texts import message
from mssgw.dossier.letters import Composed
from mssgw.exchange.composing import Letter
from mssgw.exchange.errors import NotSendable
from mssgw.node.posting import post

app = typer.Typer()
_MAX_TEXT = 1 << 20


@app.command()
def send(
    config: ConfigFile,
    address: As,
    patient: PatientIns,
    unique_ids: Annotated[list[str], typer.Argument(metavar="UNIQUE_ID|NUMBER…", help="Ids, or numbers of lines in the last find.")],
    to: Annotated[list[Address], typer.Option("--to", metavar="ADDRESS", parser=address_argument, help="A recipient; repeat.")],
    text: Annotated[Path | None, typer.Option("--text", metavar="FILE", help="The words of the mail, UTF-8; else the usual ones.")] = None,
    target: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.eml", help="Write the message there instead of sending it.")
    ] = None,
    replaces: Annotated[str, typer.Option("--replaces", metavar="MESSAGE_ID", help="The mail that this one cancels and replaces.")] = "",
    receipt: Annotated[bool, typer.Option("--ask-receipt", help="Ask for a notice that it was read (RFC 8098).")] = False,
    no_answer: Annotated[bool, typer.Option("--no-answer", help="To a patient: no answer is wanted (X-MSS-MES: FIN).")] = False,
    secret: Annotated[bool, typer.Option("--secret", help="A minor's act that the legal representatives do not know of.")] = False,
    overwrite: Overwrite = False,
    family: Family = "",
    given: Given = "",
    birth_date: BirthDate = None,
    sex: SexOption = None,
    oid: Oid = "",
    mode: Mode = AccessMode.NORMAL,
    reason: ReasonText = "",
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """Send documents by MSSanté: IHE_XDM.ZIP and one PDF/A-1 each, to who may read them."""

    async def act(s: Session) -> None:
        if target:
            require_writable(target, overwrite=overwrite)
        words = await asyncio.to_thread(_words, text) if text else ""
        author = Address.parse(s.options.address)
        name = f"{s.dmp.actor.practitioner.given} {s.dmp.actor.practitioner.family}".strip()
        letter = Letter(author, name, tuple(to), words, replaces, no_answer, receipt, secret=secret)
        consultation = await opened(s, Action.RETRIEVE)
        with receiving():
            composed = await s.dmp.letters.compose(s.urgent_access(), consultation, unique_ids, letter)
        await _require_meant(s, composed, to)
        await s.dmp.letters.note(s.access, composed, letter, "asked")
        done = await _sent(s, composed, letter, target, overwrite=overwrite)
        await s.dmp.letters.note(s.access, composed, letter, "done", trace=done)
        _tell(s, composed, to, done, target)

    options = Options(config, address, patient, oid, mode, reason, trace, json, yes, typed(family, given, birth_date, sex))
    verb("send", options, act)


def _words(file: Path) -> str:
    try:
        return read(file, _MAX_TEXT, _require_short).decode()
    except UnicodeDecodeError as error:
        raise BadDocument(message("exchange.text-not-utf8", name=file.name)) from error


def _require_short(size: int) -> None:
    if size > _MAX_TEXT:
        raise BadDocument(message("exchange.text-too-long", size=size, most=_MAX_TEXT))


async def _require_meant(s: Session, composed: Composed, to: list[Address]) -> None:
    """A person at a terminal sees whose documents go to whom, and says yes. Raises NotSendable."""
    titles = ", ".join(shown(entry.title) for entry in composed.entries)
    if s.asks and not s.confirmed("exchange.ask", person=person(composed.patient), titles=titles, to=", ".join(map(str, to))):
        raise NotSendable(message("exchange.not-confirmed"))


async def _sent(s: Session, composed: Composed, letter: Letter, target: Path | None, *, overwrite: bool) -> str:
    if target:
        await asyncio.to_thread(write_file, target, composed.octets, overwrite=overwrite)
        return target.name
    config = s.dmp.core.setup.config
    try:
        return await post(config, SystemClock(), composed.octets, letter.author, letter.recipients)
    except MailError as error:
        raise NotSendable(error.message) from error
    except ConfigError as error:  # the mail store, which no other verb of the DMP needs
        raise NotSendable(located(*error.problems[0])) from error


def _tell(s: Session, composed: Composed, to: list[Address], done: str, target: Path | None) -> None:
    who, titles = person(composed.patient), ", ".join(shown(entry.title) for entry in composed.entries)
    document = {
        "ok": True,
        "trace": None if target else done,
        "file": str(target) if target else None,
        "bytes": len(composed.octets),
        "to": [str(one) for one in to],
        "documents": [entry_json(entry) for entry in composed.entries],
        "patient": patient_json(composed.patient),
    }
    key = "exchange.written" if target else "exchange.sent"
    s.tell(say(key, titles=titles, person=who, to=", ".join(map(str, to)), done=str(target) if target else done), document)
