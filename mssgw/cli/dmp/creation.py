"""`mssgw dmp create`: the five steps of a creation, one after the other, resumable between any two."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from dmp_connector.dossier.workflow import Confirmation
from dmp_connector.errors import BadInput, ConsentMissing, DmpError, NotConfirmed
from dmp_connector.model import ConsentMeans, Oppositions, Patient
from dmp_connector.model.creation import MANAGED, AccountAccess, Channel, Creation, WebAccess
from mssgw.cli.dmp.documents import Overwrite, require_new, write_file
from mssgw.cli.dmp.session import As, Options, Session, Trace, Yes, answered, typed_line, verb
from mssgw.cli.frame import ConfigFile, Json, of_os, say
from mssgw.cli.terminal import terminal
from mssgw.cli.usage import WrongUse
from mssgw.core.texts import Message, message
from mssgw.dossier import CreationOrder
from mssgw.dossier.creations import require_reachable
from mssgw.dossier.values import DECLINED, CreationEvent

app = typer.Typer()


@app.command()
def create(
    config: ConfigFile,
    address: As,
    rank: Annotated[int, typer.Option(min=1, help="Beneficiary on the Vitale card.")] = 1,
    vitale: Annotated[Path | None, typer.Option("--vitale", metavar="FILE", help="A simulated card as JSON instead of the reader.")] = None,
    means: Annotated[ConsentMeans | None, typer.Option("--consent", help="How the patient agreed; without it nothing is created.")] = None,
    oppose_bris_de_glace: Annotated[bool, typer.Option("--oppose-bris-de-glace", help="The patient opposes bris de glace.")] = False,
    oppose_centre_15: Annotated[bool, typer.Option("--oppose-centre-15", help="The patient opposes access by the SAMU.")] = False,
    email: Annotated[
        str,
        typer.Option(
            "--email", metavar="ADDRESS", help="Web account: one-time code by e-mail (or, with --no-account, for the confirmation)."
        ),
    ] = "",
    sms: Annotated[str, typer.Option("--sms", metavar="NUMBER", help="Web account: one-time code by SMS.")] = "",
    no_account: Annotated[bool, typer.Option("--no-account", help="The patient was asked and wants no web account.")] = False,
    by: Annotated[Channel, typer.Option("--confirm", help="How the confirmation reaches the patient.")] = Channel.LETTER,
    line: Annotated[list[str] | None, typer.Option("--address-line", help="Postal address of the patient, repeatable.")] = None,
    letter: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to put the letter (PDF/A-1); needed.")
    ] = None,
    overwrite: Overwrite = False,
    again: Annotated[str, typer.Option("--resume", metavar="ID", help="Go on with a creation begun earlier.")] = "",
    yes: Yes = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """Identify by Vitale, present, consent, account, confirm: the creation of a DMP (or today: Mon espace santé)."""

    if sms and no_account:
        raise WrongUse(say("dmp.account-one-answer"), "--sms, --no-account")
    account = DECLINED if no_account else _account_of(email, sms)
    oppositions = Oppositions(oppose_bris_de_glace, oppose_centre_15)

    async def act(s: Session) -> None:
        asked = account or (partial(_account, s) if s.asks else None)
        order = CreationOrder(vitale, rank, means, oppositions, asked, by, tuple(line or ()), email, again)
        s.dmp.creations.require_order(order)
        target = _place(s, letter, overwrite=overwrite)
        keep = partial(_written, s, target, overwrite=overwrite)
        with _resumable(s, means):
            outcome = await s.dmp.creations.create(order, agreed=partial(_agreed, s), keep=keep, told=partial(_follow, s))
        _tell(s, outcome.creation, outcome.confirmation, target)

    verb("create", Options(config, address, trace=trace, json=json, yes=yes), act)


def _agreed(s: Session, patient: Patient) -> bool:
    return s.confirmed("dmp.ask.create", **_named(patient))


def _account_of(email: str, sms: str) -> AccountAccess | None:
    return AccountAccess(Channel.EMAIL, email) if email else AccountAccess(Channel.SMS, sms) if sms else None


def _account(s: Session, patient: Patient) -> AccountAccess:
    """Step 4 as a question: yes or no, then where the one-time code goes. An empty line is no address: no account."""
    if not answered(say("dmp.ask.account", **_named(patient))):
        return DECLINED
    while reach := typed_line(say("dmp.ask.account.where")):
        found = AccountAccess(Channel.EMAIL if "@" in reach else Channel.SMS, reach)
        try:
            require_reachable(found)
        except BadInput as error:
            s.notice(error.message)
        else:
            return found
    return DECLINED


def _follow(s: Session, event: CreationEvent, creation: Creation) -> None:
    """Each step for the person at the screen, who sees whom it is about."""
    s.resume = creation.id
    key = _STEPS.get(event)
    if key is not None and (event is not CreationEvent.RESUMED or creation.patient is not None):
        s.notice(say(key, id=creation.id, **named(creation)))
    if event is CreationEvent.READY and creation.account is not None:
        s.notice(say("dmp.create.account.yes" if creation.account.channel else "dmp.create.account.no"))
    if event is CreationEvent.CREATED and creation.access is WebAccess.REFUSED:
        s.notice(say("dmp.create.account.refused"))


_STEPS = {
    CreationEvent.RESUMED: "dmp.create.resumed",
    CreationEvent.IDENTIFIED: "dmp.create.1",
    CreationEvent.PRESENTING: "dmp.create.presented",
    CreationEvent.INFORMED: "dmp.create.2",
    CreationEvent.CONSENTED: "dmp.create.3",
    CreationEvent.CREATED: "dmp.create.4",
}


@contextmanager
def _resumable(s: Session, means: ConsentMeans | None) -> Iterator[None]:
    """Without the patient's consent a creation stops before anything is sent: the sentence names the options that go on."""
    try:
        yield
    except ConsentMissing as error:
        if means is not None:
            raise
        raise ConsentMissing(message("dmp.no-dmp-created-without-patient", id=s.resume)) from error
    except NotConfirmed as error:
        raise NotConfirmed(message("dmp.no-dmp-created-confirm-patient", id=s.resume)) from error


class LetterNotWritten(DmpError):
    """The DMP is created, its letter is nowhere: the last step is to be done again."""

    def __init__(self, creation: str, why: Message) -> None:
        super().__init__(message("dmp.create.letter.lost", id=creation, why=why))

    @property
    def message(self) -> Message:
        return self.detail or super().message


def _place(s: Session, letter: Path | None, *, overwrite: bool) -> Path:
    """Where the letter goes, looked at before the first step. Raises BadInput naming the option to mend."""
    if letter is None:
        if not s.dmp.creations.possible:  # nothing is going to be created, so nothing is confirmed
            return Path(os.devnull)
        raise BadInput(message("dmp.o-file-needed-where-put"))
    kind, placed, writable = terminal().seen(letter)
    if kind == "directory" or not letter.name:
        raise BadInput(message("dmp.o-directory-not-file", letter=letter))
    if not placed:
        raise BadInput(message("dmp.o-there-no-directory", parent=letter.parent))
    if not overwrite:
        require_new(letter)
    if not writable:
        raise BadInput(message("dmp.o-no-permission-write-there", letter=letter))
    return letter


def _written(s: Session, target: Path, content: bytes, *, overwrite: bool) -> None:
    """The letter is on the disk. Raises LetterNotWritten."""
    try:
        write_file(target, content, overwrite=overwrite, durably=True)
    except OSError as error:
        raise LetterNotWritten(s.resume, of_os(error)) from error
    except BadInput as error:  # a file of that name came meanwhile
        raise LetterNotWritten(s.resume, error.detail) from error


def _tell(s: Session, creation: Creation, done: Confirmation | None, target: Path) -> None:
    """Step 5: where the letter is, and that it is for the caller to send; or that Mon espace santé manages the dossier."""
    if done is None:
        outcome = {"outcome": creation.step.value, "creation": creation.id}
        s.tell(MANAGED, {"ok": False} | outcome | {"sentence": MANAGED.fr, "sentence_en": MANAGED.en})
        raise typer.Exit(1)
    said = say(f"dmp.create.5.{done.channel.value}", file=target, to=done.address, **named(creation))
    document: dict[str, Any] = {"ok": True, "outcome": creation.step.value, "creation": creation.id, "letter": str(target)}
    document["ins"] = creation.patient.ins.value if creation.patient else None
    if done.channel is Channel.EMAIL:
        document["email"] = {"to": done.address, "subject": done.subject, "text": done.text}
        s.tell(f"{said.fr}\n\n{done.subject}\n\n{done.text}\n{said.en}", document)
    else:
        s.tell(said, document)


def named(creation: Creation) -> dict[str, str]:
    """Who this is about, as every sentence of the five steps says it."""
    return _named(creation.patient) if creation.patient else {"patient": "?", "born": "?"}


def _named(patient: Patient) -> dict[str, str]:
    return {"patient": f"{patient.birth_name} {patient.given_names}", "born": f"{patient.birth_date:%d/%m/%Y}"}
