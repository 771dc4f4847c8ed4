"""What every `mssgw dmp` verb stands on: its options, the session of the DMP service, a person at a terminal, the end of it all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, Protocol

import typer

from dmp_connector.dossier.access import MIN_REASON
from dmp_connector.dossier.identity import NOTHING_TYPED, Typed
from dmp_connector.errors import DmpError, Refused
from dmp_connector.model import AccessMode, Patient, Sex
from mssgw.cli.config import loaded
from mssgw.cli.dmp.hints import hint_of
from mssgw.cli.dmp.interruption import Interrupted, asking, interrupted, listening
from mssgw.cli.frame import at, both, failure, inline, of_os, output, say, warn
from mssgw.cli.opened import acting
from mssgw.cli.prompts import NO, YES, require_terminal
from mssgw.cli.terminal import terminal
from mssgw.core.texts import Message
from mssgw.dossier import Access, DmpService, DmpSession, Gesture, NotSetUp

As = Annotated[str, typer.Option("--as", metavar="ADDRESS", help="Whose acts these are: a dmp_actor of the configuration.")]
PatientIns = Annotated[str, typer.Option("--patient", metavar="INS", help="The patient's INS, 15 characters.")]
Oid = Annotated[str, typer.Option("--oid", help="OID the INS was issued under; the test OID outside production.")]
Mode = Annotated[AccessMode, typer.Option("--mode", help="Access mode.")]
ReasonText = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: obligatory for bris de glace and for closing.")]
Trace = Annotated[
    Path | None, typer.Option("--trace", metavar="DIR", help="Write each SOAP request and response, byte for byte, as files.")
]
Yes = Annotated[bool, typer.Option("--yes", help="The explicit gesture, given in advance.")]
Family = Annotated[str, typer.Option(help="Birth name, to be checked against the register first.")]
Given = Annotated[str, typer.Option(help="First given name, to be checked.")]
BirthDate = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Birth date, to be checked.")]
SexOption = Annotated[Sex | None, typer.Option("--sex", help="Sex, to be checked, M or F.")]


@dataclass(frozen=True, slots=True)
class Options:
    """The options every verb shares."""

    config: Path
    address: str
    patient: str = ""
    oid: str = ""
    mode: AccessMode = AccessMode.NORMAL
    reason: str = ""
    trace: Path | None = None
    json: bool = False
    yes: bool = False
    typed: Typed = NOTHING_TYPED

    @property
    def access(self) -> Access:
        return Access(self.patient, self.oid, self.mode, self.reason, typed=self.typed)


@dataclass
class Session:
    """One verb: its options, the open session, and the person who typed it."""

    options: Options
    dmp: DmpSession
    resume: str = ""  # id of the creation that this verb began or took up

    @property
    def access(self) -> Access:
        return self.options.access

    def urgent_access(self) -> Access:
        """The access with its gesture, which in the emergency modes is asked for once the patient's name is known. Raises BadIns."""
        self.dmp.require_patient(self.access)
        return replace(self.access, confirmed=self._urgency())

    def _urgency(self) -> Gesture:
        """In bris de glace the question comes once there is a reason worth asking about."""
        if self.options.mode is AccessMode.NORMAL:
            return True
        if self.options.mode is AccessMode.CENTRE_15:
            return self.gesture("dmp.ask.centre_15")
        return self.gesture("dmp.ask.bris_de_glace") if len(self.options.reason.strip()) >= MIN_REASON else False

    async def whose(self) -> Patient:
        """The patient, shown before anything is opened."""
        patient = await self.dmp.whose(replace(self.access, confirmed=self._urgency()))
        self.notice(say("dmp.patient", person=person(patient)))
        return patient

    @property
    def asks(self) -> bool:
        """A person sits there and has not said it in advance."""
        return not self.options.yes and terminal().asks

    def confirmed(self, key: str, **values: object) -> bool:
        """The explicit gesture: --yes, or an answer typed at a terminal. Never a default."""
        return self.options.yes or (self.asks and answered(say(key, **values)))

    def gesture(self, key: str) -> Gesture:
        """The same for an act in a patient's name: who is asked sees the name and birth date."""
        return (lambda patient: self.confirmed(key, **named(patient))) if self.asks else self.options.yes

    def tell(self, said: str | Message, document: Any) -> None:
        output(said, json=self.options.json, document=document)

    def notice(self, said: str | Message) -> None:
        """For the person beside the data: to stderr."""
        if said:
            terminal().err(f"{both(said) if isinstance(said, Message) else said}\n")


def named(patient: Patient) -> dict[str, str]:
    """Whom a question is about."""
    return {"name": f"{patient.birth_name} {patient.given_names}".strip(), "born": f"{patient.birth_date:%d/%m/%Y}"}


def person(patient: Patient) -> str:
    """For people: name, birth date, sex and INS, so that two persons of one name differ."""
    return f"{patient.birth_name} {patient.given_names} ({patient.birth_date:%d/%m/%Y}, {patient.sex.value}, INS {patient.ins.value})"


def patient_json(patient: Patient) -> dict[str, Any]:
    return {"ins": patient.ins.value, "oid": patient.ins.oid, "birth_name": patient.birth_name, "given": patient.given_names,
            "birth_date": patient.birth_date.isoformat(), "sex": patient.sex.value}  # fmt: skip


def typed(family: str, given: str, birth_date: datetime | None, sex: Sex | None) -> Typed:
    return Typed(family, given, birth_date.date() if birth_date else None, sex)


async def ask_pin(tries_left: int | None) -> str:
    """From the descriptor named by MSSGW_PIN_FD, else typed at the terminal; tries left are shown first.

    It blocks the event loop: no other thread than this one can be interrupted at a terminal.
    """
    if (given := terminal().pin()) is not None:
        return given
    question = say("dmp.ask.pin") if tries_left is None else say("dmp.ask.pin-tries", count=tries_left)
    require_terminal("MSSGW_PIN_FD")
    with asking():
        return terminal().hidden(inline(question))


def answered(question: Message) -> bool:
    """oui or non, typed; an empty line and the end of input are no. A word that is neither is asked about again."""
    warn(question)
    while True:
        with asking():
            line = terminal().line("[oui/non] ")
        word = line.strip().casefold()
        if word in YES or word in NO or not line:
            return word in YES
        warn(say("dmp.answer"))


def typed_line(question: Message) -> str:
    """What is typed after the question, without blanks around it; "" for an empty line and the end of input."""
    warn(question)
    with asking():
        return terminal().line("> ").strip()


def service(path: Path) -> DmpService:
    """The DMP of the node whose configuration this is; a wrong configuration ends the program."""
    return DmpService(loaded(path), path)


def working(path: Path) -> DmpService:
    """The same for a verb that opens the store: from here on this process is the owner of the data. Raises ConfigError."""
    found = service(path)
    acting(found.config, make=True)
    return found


class House(Protocol):
    """Where a verb runs: in this process alone, or in an agent that keeps its session."""

    def run(self, options: Options, whole: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """To its end. Raises what it raises, and Interrupted."""

    def session(self, name: str, options: Options) -> AbstractAsyncContextManager[DmpSession]:
        """See `DmpService.session`."""


class _Own:
    """This process."""

    def __init__(self, dmp: DmpService) -> None:
        self._dmp = dmp

    def run(self, options: Options, whole: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run(whole())

    def session(self, name: str, options: Options) -> AbstractAsyncContextManager[DmpSession]:
        return self._dmp.session(options.address, pin=ask_pin, act=name, mode=options.mode, trace=options.trace)


_house: Final[ContextVar[House | None]] = ContextVar("mssgw.cli.dmp.house", default=None)


@contextmanager
def housed(house: House) -> Iterator[None]:
    """Verbs that run inside run there."""
    token = _house.set(house)
    try:
        yield
    finally:
        _house.reset(token)


def verb(name: str, options: Options, act: Callable[[Session], Awaitable[None]], *, watched: bool = False) -> None:
    """Run one verb; a refusal ends in its sentence and status 1, as JSON when asked for, and in the audit under `name`.

    `watched`: a consultation on the screen ends with the verb.
    """
    place = _house.get() or _Own(working(options.config))
    resume = ""

    async def within(opened: DmpSession) -> None:
        nonlocal resume
        session = Session(options, opened)
        try:
            async with opened.attempt(name, options.access, watched=watched):
                await act(session)
        finally:
            resume = session.resume
        if due := await opened.filings.due():
            warn(say("dmp.announcement.due", count=due))

    async def whole() -> None:
        with listening():
            try:
                async with place.session(name, options) as opened:
                    await within(opened)
            except asyncio.CancelledError as error:
                raise interrupted(error) or error from None

    try:
        place.run(options, whole)
    except DmpError as error:
        refused(error, json=options.json)
    except Interrupted as error:
        raise _ended(error, resume) from None
    except OSError as error:
        raise failure(at("mssgw dmp", of_os(error)), fault="file") from error


def _ended(by: Interrupted, resume: str) -> typer.Exit:
    said = say("dmp.interrupted.asked" if by.asked else "dmp.interrupted")
    if resume:
        said = say("sentences", first=said, then=say("dmp.interrupted.resume", id=resume))
    with suppress(OSError):  # the terminal may be gone: SIGHUP
        failure(at("mssgw dmp", said), fault="interrupted", detail=str(by))
    return typer.Exit(by.status)


def refused(error: DmpError, *, json: bool, program: str = "mssgw dmp") -> NoReturn:
    """Print a refusal, every reason of it, and end with status 1."""
    if isinstance(error, NotSetUp):
        raise failure(error.message) from error
    said = error.message
    if (hint := hint_of(error)) is not None:
        said = say("sentences", first=said, then=hint)
    if json:
        document = {"ok": False, "error": type(error).__name__, "sentence": said.fr, "sentence_en": said.en, "detail": str(error)}
        document["reasons"] = [[name, holds, why.fr] for name, holds, why in error.reasons]
        document["reasons_en"] = [[name, holds, why.en] for name, holds, why in error.reasons]
        if isinstance(error, Refused):
            document |= {"code": error.code, "text": error.text}
        output("", json=True, document=document)
        raise typer.Exit(1)
    several = len({why for _, _, why in error.reasons}) > 1
    reasons = [say("dmp.reason", name=name, why=why) for name, _, why in error.reasons] if several else []
    raise failure(at(program, said), *reasons)
