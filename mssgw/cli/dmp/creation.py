"""`mssgw dmp create`: the five steps of a creation, one after the other, resumable between any two."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dmp_connector.card.vitale import VitaleCard
from dmp_connector.dossier.contacts import require_contacts
from dmp_connector.dossier.workflow import Confirmation, mail_address
from dmp_connector.errors import BadInput, ConsentMissing, DmpError, Language, NoCard, NoReader, NotConfirmed
from dmp_connector.model import ConsentMeans, Oppositions, Patient
from dmp_connector.model.creation import MANAGED_SENTENCES, AccountAccess, Channel, Creation, Step, WebAccess
from mssgw.cli.dmp.documents import Overwrite, require_new, write_file
from mssgw.cli.dmp.session import As, Options, Session, Trace, Yes, verb
from mssgw.cli.frame import ConfigFile, Json, Said, of_os, say
from mssgw.core.texts import Message

app = typer.Typer()

INFORMATION = "DMP-information-patient-2021"


@app.command()
def create(
    config: ConfigFile,
    address: As,
    rank: Annotated[int, typer.Option(min=1, help="Beneficiary on the Vitale card.")] = 1,
    vitale: Annotated[Path | None, typer.Option("--vitale", metavar="FILE", help="A simulated card as JSON instead of the reader.")] = None,
    means: Annotated[ConsentMeans | None, typer.Option("--consent", help="How the patient agreed; without it nothing is created.")] = None,
    oppose_bris_de_glace: Annotated[bool, typer.Option("--oppose-bris-de-glace", help="The patient opposes bris de glace.")] = False,
    oppose_centre_15: Annotated[bool, typer.Option("--oppose-centre-15", help="The patient opposes access by the SAMU.")] = False,
    email: Annotated[str, typer.Option("--email", metavar="ADDRESS", help="Web account: one-time code by e-mail.")] = "",
    sms: Annotated[str, typer.Option("--sms", metavar="NUMBER", help="Web account: one-time code by SMS.")] = "",
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

    async def act(s: Session) -> None:
        require_contacts(email=email, mobile=sms)
        if by is Channel.EMAIL and not email and not again:
            raise _NO_EMAIL
        target = _place(s, by, letter, overwrite=overwrite)
        flow = s.workflow
        creation = await _resumed(s, again, vitale, rank) if again else await flow.start(s.actor)
        if by is Channel.EMAIL and not email and not mail_address(creation):
            raise _NO_EMAIL
        oppositions = Oppositions(oppose_bris_de_glace, oppose_centre_15)
        account = AccountAccess(Channel.EMAIL, email) if email else AccountAccess(Channel.SMS, sms) if sms else AccountAccess(None)
        creation = await _to_ready(s, creation, vitale=vitale, rank=rank, means=means, oppositions=oppositions, account=account)
        if creation.step is Step.READY:
            creation = await flow.create(s.actor, creation, address=tuple(line or ()))
        elif creation.owed_access:
            creation = await flow.open_account(s.actor, creation)
        if creation.step is Step.MANAGED_BY_MES:
            fr, en = MANAGED_SENTENCES["fr"], MANAGED_SENTENCES["en"]
            document = {"ok": False, "outcome": creation.step.value, "creation": creation.id, "sentence": fr, "sentence_en": en}
            s.tell(Said(fr, en), document)
            raise typer.Exit(1)
        s.notice(say("dmp.create.4", id=creation.id, **named(creation)))
        if creation.access is WebAccess.REFUSED:
            s.notice(say("dmp.create.account.refused"))
        keep = partial(_written, creation.id, target, overwrite=overwrite)
        creation, confirmation = await flow.confirm(s.actor, creation, by, tuple(line or ()), keep=keep, email=email)
        _tell(s, creation, confirmation, target)

    verb(Options(config, address, trace=trace, json=json, yes=yes), act)


_NO_EMAIL = BadInput("--confirm email needs --email", fr="--confirm email demande --email")


class LetterNotWritten(DmpError):
    """The DMP is created, its letter is nowhere: the last step is to be done again."""

    def __init__(self, creation: str, why: Message) -> None:
        super().__init__(why.en)
        self._creation, self._why = creation, why

    def sentence(self, language: Language = "fr") -> str:
        said = say("dmp.create.letter.lost", id=self._creation, why=self._why.fr if language == "fr" else self._why.en)
        return said.fr if language == "fr" else said.en


def _place(s: Session, by: Channel, letter: Path | None, *, overwrite: bool) -> Path:
    """Where the letter goes, looked at before the first step. Raises BadInput naming the option to mend."""
    if by is Channel.SMS:
        raise BadInput("--confirm is letter or email: no confirmation goes by SMS", fr="--confirm vaut letter ou email : pas de SMS")
    if letter is None:
        if not s.table.legacy_dossier_management:  # nothing is going to be created, so nothing is confirmed
            return Path(os.devnull)
        raise BadInput("-o FILE is needed: where to put the letter", fr="-o FICHIER est nécessaire : où mettre la lettre de confirmation")
    if letter.is_dir() or not letter.name:
        raise BadInput(f"-o {letter} is a directory, not a file", fr=f"-o {letter} est un répertoire, pas un fichier")
    if not letter.parent.is_dir():
        raise BadInput(f"-o: there is no directory {letter.parent}", fr=f"-o : le répertoire {letter.parent} n'existe pas")
    if not overwrite:
        require_new(letter)
    if not os.access(letter if letter.exists() else letter.parent, os.W_OK):
        raise BadInput(f"-o {letter}: no permission to write there", fr=f"-o {letter} : pas le droit d'écrire à cet endroit")
    return letter


def _written(creation: str, target: Path, content: bytes, *, overwrite: bool) -> None:
    """The letter is on the disk. Raises LetterNotWritten."""
    try:
        write_file(target, content, overwrite=overwrite)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise LetterNotWritten(creation, of_os(error)) from error
    except BadInput as error:  # a file of that name came meanwhile
        raise LetterNotWritten(creation, Said(error.detail_fr, str(error))) from error


def _tell(s: Session, creation: Creation, done: Confirmation, target: Path) -> None:
    """Step 5: where the letter is, and that it is for the caller to send."""
    said = say(f"dmp.create.5.{done.channel.value}", file=target, to=done.address, **named(creation))
    document: dict[str, object] = {"ok": True, "outcome": creation.step.value, "creation": creation.id, "letter": str(target)}
    document["ins"] = creation.patient.ins.value if creation.patient else None
    if done.channel is Channel.EMAIL:
        said = Said(f"{said.fr}\n\n{done.subject}\n\n{done.text}", said.en)
        document["email"] = {"to": done.address, "subject": done.subject, "text": done.text}
    s.tell(said, document)


async def _to_ready(
    s: Session,
    creation: Creation,
    *,
    vitale: Path | None,
    rank: int,
    means: ConsentMeans | None,
    oppositions: Oppositions,
    account: AccountAccess,
) -> Creation:
    """Steps 1 to 4, from wherever the creation stands."""
    flow = s.workflow
    if creation.step is Step.STARTED:
        creation = await _identified(s, creation, vitale, rank)
        s.notice(say("dmp.create.1", **named(creation)))
    if creation.step is Step.IDENTIFIED:
        s.notice(say("dmp.create.presented"))
        creation = await flow.present(s.actor, creation, INFORMATION)
        s.notice(say("dmp.create.2", **named(creation)))
    if creation.step is Step.INFORMED:
        if means is None:
            raise ConsentMissing(
                "--consent is needed (EX_1.1-1010)",
                fr="Le DMP n'est pas créé sans le consentement du patient : dites comment il l'a donné (--consent oral). "
                f"La création se reprend par --resume {creation.id}.",
                en="No DMP is created without the patient's consent: say how it was given (--consent oral). "
                f"The creation goes on with --resume {creation.id}.",
            )
        if not s.confirmed("dmp.ask.create", **named(creation)):
            raise NotConfirmed(
                "creation not confirmed",
                fr="Le DMP n'est pas créé : confirmez que le patient y consent (répondez « oui », ou ajoutez --yes). "
                f"La création se reprend par --resume {creation.id}.",
                en="No DMP was created: confirm that the patient consents (answer yes, or add --yes). "
                f"The creation goes on with --resume {creation.id}.",
            )
        creation = await flow.consent(s.actor, creation, means=means, oppositions=oppositions)
        s.notice(say("dmp.create.3", **named(creation)))
    if creation.step is Step.CONSENTED:
        creation = await flow.account(s.actor, creation, account)
    return creation


async def _identified(s: Session, creation: Creation, vitale: Path | None, rank: int) -> Creation:
    card = s.vitale(vitale)
    person = card.beneficiary(rank)
    async with s.insi() as insi:
        register = (await insi.by_vitale(card.identity(rank))).require_found()
    on_card = person.as_patient(card.oid) if person.nir else register
    return await s.workflow.identify(s.actor, creation, on_card, register, card_for_tests=card.kind.value != "real")


async def _resumed(s: Session, identity: str, vitale: Path | None, rank: int) -> Creation:
    """A creation begun earlier, and its patient said before anything else. A card that is there must be that patient's."""
    creation = await s.workflow.load(s.actor, identity)
    if creation.patient is None:
        return creation
    s.notice(say("dmp.create.resumed", id=creation.id, **named(creation)))
    card = s.vitale(vitale) if vitale is not None else _in_reader(s, creation)
    if card is not None:
        person = card.beneficiary(rank)
        number = person.as_patient(card.oid).ins if person.nir else (creation.vitale or creation.patient).ins
        creation.require_card(Patient(number, person.birth_name, person.given, person.birth_date, person.sex, used_name=person.used_name))
    return creation


def _in_reader(s: Session, creation: Creation) -> VitaleCard | None:
    """The card in the configured reader, while the DMP is not created: none is needed any more to go on, another's is refused."""
    if creation.step in {Step.CREATED, Step.CONFIRMED} or not (s.table.vitale_command or s.table.vitale_reader):
        return None
    with suppress(NoReader, NoCard):
        return s.vitale(None)
    return None


def named(creation: Creation) -> dict[str, str]:
    """Who this is about, as every sentence of the five steps says it."""
    who = creation.patient
    return (
        {"patient": f"{who.birth_name} {who.given_names}", "born": f"{who.birth_date:%d/%m/%Y}"} if who else {"patient": "?", "born": "?"}
    )
