"""What every `mssgw dmp` verb stands on: the node's file -> settings, keys, actor, desk; errors -> sentences."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from dmp_connector import codes
from dmp_connector.card.pkcs11 import KNOWN_MODULES, CardSession, Pkcs11CardReader
from dmp_connector.card.readers import pair, slots
from dmp_connector.card.tls_relay import RelaySettings, TlsRelay
from dmp_connector.card.vitale import ExternalVitaleReader, PcscVitaleReader, VitaleCard, parse_card
from dmp_connector.cda.read import INS_OIDS
from dmp_connector.client import Call, Dmp
from dmp_connector.dossier.announcement import announcements
from dmp_connector.dossier.consultation import BY_SIGNAL, Consultations
from dmp_connector.dossier.deposits import Deposits
from dmp_connector.dossier.desk import Desk, DeskRules, outcome_of
from dmp_connector.dossier.identity import Identities
from dmp_connector.dossier.service import DossierService
from dmp_connector.dossier.workflow import CreationWorkflow
from dmp_connector.errors import BadIns, DmpError, NoReader, Refused
from dmp_connector.insi import Insi, InsiSettings
from dmp_connector.model import AccessMode, Actor, AuthenticationMode, Code, Ins, InsKind, Practitioner, Structure
from dmp_connector.model.audit import AuditRecord
from dmp_connector.settings import DmpSettings, Limits, Software
from dmp_connector.signer import FileSigner, Signer
from dmp_connector.store import DmpStore
from dmp_connector.validate import Validator
from dmp_connector.wire.transport import Exchange
from mssgw import __version__
from mssgw.cli.config import loaded
from mssgw.cli.dmp.interruption import Interrupted, asking, interrupted, listening
from mssgw.cli.dmp.store import open_store
from mssgw.cli.frame import Said, at, both, failure, of_os, output, say, warn
from mssgw.core.config.dmp import Dmp as DmpTable
from mssgw.core.config.dmp import DmpActor
from mssgw.core.texts import Message

As = Annotated[str, typer.Option("--as", metavar="ADDRESS", help="Whose acts these are: a dmp_actor of the configuration.")]
PatientIns = Annotated[str, typer.Option("--patient", metavar="INS", help="The patient's INS, 15 characters.")]
Oid = Annotated[str, typer.Option("--oid", help="OID the INS was issued under; the test OID outside production.")]
Mode = Annotated[AccessMode, typer.Option("--mode", help="Access mode.")]
ReasonText = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: obligatory for bris de glace and for closing.")]
Trace = Annotated[
    Path | None, typer.Option("--trace", metavar="DIR", help="Write each SOAP request and response, byte for byte, as files.")
]
Yes = Annotated[bool, typer.Option("--yes", help="The explicit gesture, given in advance.")]

OPEN = "open_consultation"  # the verb that keeps a consultation on screen


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
    verb: str = ""


@dataclass
class Session:
    """One verb's world."""

    options: Options
    table: DmpTable
    who: DmpActor
    actor: Actor
    desk: Desk
    card: CardSession | None = None
    relay: TlsRelay | None = None
    tables: codes.CodeTables = field(default_factory=codes.load)  # with the operator's own
    resume: str = ""  # the creation that an interruption left

    @property
    def oid(self) -> str:
        return self.options.oid or (InsKind.NIR.value if self.table.production else InsKind.NIR_TEST.value)

    @property
    def ins(self) -> Ins:
        """The patient of the options: typed by a person, so its key is checked. Raises BadIns."""
        if self.oid not in INS_OIDS:
            raise BadIns(
                f"--oid: no INS is issued under {self.oid}; known: {', '.join(INS_OIDS)}",
                fr=f"--oid : aucun INS n'est émis sous {self.oid} ; connus : {', '.join(INS_OIDS)}",
            )
        return Ins.typed(self.options.patient, self.oid)

    @property
    def call(self) -> Call:
        return Call(self.actor, self.ins, self.options.mode)

    @property
    def anyone(self) -> Call:
        return Call(self.actor, None, self.options.mode)

    @property
    def service(self) -> DossierService:
        return DossierService(self.desk)

    @property
    def consultations(self) -> Consultations:
        return Consultations(self.desk)

    @property
    def deposits(self) -> Deposits:
        limit = self.table.max_pdf_octets
        validator = Validator(self.table.validation_kit, models=self.table.validation_models, max_pdf=limit)
        return Deposits(self.desk, validator=validator, tables=self.tables, identities=self.identities, max_pdf=limit)

    @property
    def identities(self) -> Identities:
        return Identities(self.desk.dmp, self.insi if self.table.insi_url else None)

    @property
    def workflow(self) -> CreationWorkflow:
        return CreationWorkflow(self.desk)

    @property
    def asks(self) -> bool:
        """A person sits there and has not said it in advance."""
        return not self.options.yes and sys.stdin.isatty()

    def confirmed(self, key: str, **values: object) -> bool:
        """The explicit gesture: --yes, or an answer typed at a terminal. Never a default."""
        return self.options.yes or (self.asks and answered(say(key, **values)))

    def tell(self, said: str | Message, document: Any) -> None:
        output(both(said) if isinstance(said, Message) else said, json=self.options.json, document=document)

    def notice(self, said: str | Message) -> None:
        """For the person beside the data: to stderr."""
        if said:
            sys.stderr.write(f"{both(said) if isinstance(said, Message) else said}\n")

    async def attempted(self, error: DmpError) -> None:
        """Whatever an attempt came to, it leaves a row: this one, unless the act left its own."""
        try:
            call = self.call if self.options.patient else self.anyone
        except BadIns:
            call = self.anyone
        await self.desk.refused(call, self.options.verb, error)

    async def stopped(self, by: Interrupted) -> None:
        """A signal came: no emergency and no watched consultation stays open, and a row tells it."""
        call = self.anyone
        with suppress(BadIns):
            call = self.call if self.options.patient else call
        if call.ins and (call.mode is not AccessMode.NORMAL or self.options.verb == OPEN):
            await self.consultations.close_of(call, by=BY_SIGNAL)
        await self.desk.note(call, self.options.verb, "interrupted", signal=str(by))
        if self.options.verb == "create":
            self.resume = await asyncio.to_thread(self._begun_creation)

    def _begun_creation(self) -> str:
        """The creation this verb began or took up, "" when none."""
        mine = [r for r in self.desk.store.audit(limit=20) if r.what == "creation" and r.who == self.actor.practitioner.id]
        return next((dict(r.facts).get("creation", "") for r in reversed(mine) if r.at >= self.actor.authenticated_at), "")

    async def remind(self) -> None:
        """Documents of mine that the patient does not see yet, when it is time (CSP R1111-53)."""
        now = self.desk.now()
        found = await asyncio.to_thread(announcements, self.desk.store, self.actor.practitioner.id, now)
        if due := sum(a.due(now) for a in found):
            warn(say("dmp.announcement.due", count=due))

    @asynccontextmanager
    async def insi(self) -> AsyncIterator[Insi]:
        """The identity teleservice over the same key. Raises NoReader when it is not configured."""
        if not self.table.insi_url:
            raise NoReader("insi_url is not configured")
        settings = InsiSettings(self.table.insi_url, self.table.insi_authorisation, self.actor.practitioner.id, version=__version__)
        async with AsyncExitStack() as stack:
            wanted = self.desk.dmp.settings
            if self.relay is not None:  # the card's line leads to the DMP only: INSi has its own
                line = await stack.enter_async_context(self.relay.towards(self.table.insi_url))
                wanted = replace(wanted, url=self.table.insi_url, relay=line.url)
            exchange = await stack.enter_async_context(Exchange.of(wanted))
            yield Insi(settings, exchange, now=self.desk.now)

    def vitale(self, file: Path | None) -> VitaleCard:
        """The card in the reader, or a card file of the simulation. Raises CardError."""
        if file is not None:
            return parse_card(file.read_bytes())
        if self.table.vitale_command:
            return ExternalVitaleReader(self.table.vitale_command).read()
        found = pair(slots(), professional=self.table.card_reader, vitale=self.table.vitale_reader)
        slot = found.vitale or found.professional
        if slot is None:
            raise NoReader("no reader is connected")
        return PcscVitaleReader(slot).read()


@asynccontextmanager
async def session(options: Options) -> AsyncIterator[Session]:
    """Everything a verb needs, closed at its end. Raises DmpError; a wrong configuration ends the program."""
    config = loaded(options.config)
    if config.dmp is None:
        raise failure(say("dmp.no-table", file=options.config))
    who = next((a for a in config.dmp_actor if a.address.casefold() == options.address.casefold()), None)
    if who is None:
        raise failure(say("dmp.no-actor", file=options.config, address=options.address))
    async with AsyncExitStack() as stack:
        store = open_store(config, options.config)  # before a PIN is asked for
        stack.callback(store.close)
        try:
            found = await _begun(stack, options, config.dmp, who, store)
        except DmpError as error:  # no card, a wrong PIN, a wrong key
            await asyncio.to_thread(store.record, _not_begun(options, who, outcome_of(error), error))
            raise
        except (Interrupted, asyncio.CancelledError) as error:  # at the question for the PIN
            if (by := interrupted(error)) is not None:
                store.record(_not_begun(options, who, "interrupted", by))
            raise
        yield found


async def _begun(stack: AsyncExitStack, options: Options, table: DmpTable, who: DmpActor, store: DmpStore) -> Session:
    now, tables = datetime.now(UTC), codes.load(table.value_sets)
    card, pin = await _card(stack, table, now) if who.key is None else (None, "")
    signer: Signer = card.signer if card else _file_signer(who)
    relay = await _relay(stack, table, card, pin) if card and table.certificate is None else None
    actor = _card_actor(card, who, now) if card else _actor(who, now, tables)
    dmp = await stack.enter_async_context(Dmp(_settings(table, options, relay), signer))
    desk = Desk(dmp, store, _rules(table))
    found = Session(options, table, who, actor, desk, card, relay, tables)
    if options.trace is not None:
        await desk.note(found.anyone, "trace", "written", directory=str(options.trace.name))
    return found


def _not_begun(options: Options, who: DmpActor, outcome: str, error: Exception) -> AuditRecord:
    """The row of an attempt that ended before anybody was authenticated: who was asked for, and why not."""
    facts = (("error", type(error).__name__), ("text", str(error)[:200]))
    return AuditRecord(datetime.now(UTC), who.id, who.structure_id, who.address, "", options.mode.value, options.verb, outcome, facts=facts)


def _settings(table: DmpTable, options: Options, relay: TlsRelay | None) -> DmpSettings:
    homologation = table.homologation.read().decode().strip() if table.homologation else ""
    return DmpSettings(
        url=table.url,
        anchors=table.anchors,
        certificate=None if relay else table.certificate,
        key=None if relay or table.key is None else table.key.path,
        relay=relay.url if relay else "",
        system_oid=table.system_oid,
        software=Software("mssgw", __version__, homologation=homologation),
        legacy_dossier_management=table.legacy_dossier_management,
        production=table.production,
        limits=Limits(document_bytes=2 * table.max_pdf_octets),
        trace=options.trace,
        trace_in_production=table.trace_in_production,
    )


def _rules(table: DmpTable) -> DeskRules:
    return DeskRules(
        consultation=timedelta(minutes=table.consultation_minutes),
        emergency=timedelta(minutes=table.emergency_minutes),
        consent=timedelta(days=table.consent_days),
        regulation_structures=frozenset(table.regulation_structures),
        production=table.production,
        same_deposit=timedelta(days=table.same_deposit_days),
        letter_address=table.letter_address,
    )


def _file_signer(who: DmpActor) -> Signer:
    if who.certificate is None or who.key is None:
        raise AssertionError("the configuration is checked for this")
    return FileSigner.load(who.certificate, who.key.path)


_G15 = "1.2.250.1.71.1.2.7"


def _actor(who: DmpActor, now: datetime, tables: codes.CodeTables) -> Actor:
    kind = {"card": AuthenticationMode.DIRECT, "psc": AuthenticationMode.AIR, "structure": AuthenticationMode.INDIRECT}[who.authentication]
    known = tables.subject_role
    speciality = (known.find(who.speciality) or Code(who.speciality, "1.2.250.1.71.4.2.5")) if who.speciality else None
    profession = known.find(who.profession, _G15) or known.require(who.profession)  # a secretary, an automaton: A00
    practitioner = Practitioner(who.id, who.family, who.given, profession, speciality)
    return Actor(practitioner, _structure(who, tables), kind, now, staff_card=who.staff_card, evidence=who.address)


def _structure(who: DmpActor, tables: codes.CodeTables) -> Structure:
    sector = tables.facility.find(who.sector) or Code(who.sector, "1.2.250.1.71.4.2.4")
    return Structure(who.structure_id, who.structure_name, sector)


def _module(table: DmpTable) -> Path:
    return table.card_module or next((m for m in KNOWN_MODULES if m.is_file()), KNOWN_MODULES[0])


async def _card(stack: AsyncExitStack, table: DmpTable, now: datetime) -> tuple[CardSession, str]:
    """The PIN is asked for in this thread: no other one can be interrupted at a terminal."""
    reader = stack.enter_context(await asyncio.to_thread(Pkcs11CardReader, _module(table), reader=table.card_reader))
    seen = await asyncio.to_thread(reader.see)
    pin = _pin(seen.tries_left)
    return await asyncio.to_thread(reader.open, pin, now), pin


def _pin(tries_left: int | None) -> str:
    """From the descriptor named by MSSGW_PIN_FD, else typed at the terminal; tries left are shown first."""
    descriptor = os.environ.get("MSSGW_PIN_FD")
    if descriptor:
        with os.fdopen(int(descriptor)) as given:
            return given.readline().strip()
    shown = "" if tries_left is None else f" (essais restants : {tries_left})"
    with asking():
        typed: str = typer.prompt(f"Code porteur{shown}", hide_input=True, err=True)
    return typed


def _card_actor(card: CardSession, who: DmpActor, now: datetime) -> Actor:
    """Card data are forced (EX_2.1-1140); the configuration only chooses among the card's places of work."""
    places = [a.structure for a in card.card.activities]
    return card.card.actor(places.index(who.structure_id) if who.structure_id in places else 0, now)


async def _relay(stack: AsyncExitStack, table: DmpTable, card: CardSession, pin: str) -> TlsRelay:
    """Mutual TLS with the card's own key, when the structure has no certificate of its own."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mssgw-card-")))
    certificate = folder / "authentication.pem"
    certificate.write_bytes(x509.load_der_x509_certificate(card.card.authentication).public_bytes(Encoding.PEM))
    address = urlsplit(table.url)
    settings = RelaySettings(
        _module(table),
        card.card.serial,
        card.card.authentication_id,
        certificate,
        address.hostname or "",
        address.port or 443,
        table.anchors,
    )
    return await stack.enter_async_context(TlsRelay(settings, pin))


def answered(question: Message) -> bool:
    """oui or non, typed; an empty line and the end of input are no. A word that is neither is asked about again."""
    warn(question)
    while True:
        with asking():  # from before the person sees that an answer is waited for
            sys.stderr.write("[oui/non] ")
            sys.stderr.flush()
            line = sys.stdin.readline()
        word = line.strip().casefold()
        if word in _YES or word in _NO or not line:
            return word in _YES
        warn(say("dmp.answer"))


_YES, _NO = frozenset({"o", "oui", "y", "yes"}), frozenset({"n", "non", "no", ""})


def verb(options: Options, act: Callable[[Session], Awaitable[None]]) -> None:
    """Run one verb; a refusal ends in its sentence and status 1, as JSON when asked for, and in the audit.

    The verb of the audit is the function in which `act` is written.
    """

    named = replace(options, verb=act.__qualname__.partition(".")[0])

    resume = ""

    async def within(found: Session) -> None:
        nonlocal resume
        try:
            await act(found)
        except DmpError as error:
            await found.attempted(error)
            raise
        except (Interrupted, asyncio.CancelledError) as error:
            if (by := interrupted(error)) is not None:
                await found.stopped(by)
                resume = found.resume
            raise
        await found.remind()

    async def whole() -> None:
        with listening():
            try:
                async with session(named) as found:
                    await within(found)
            except asyncio.CancelledError as error:
                raise interrupted(error) or error from None

    try:
        asyncio.run(whole())
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


def refused(error: DmpError, *, json: bool, program: str = "mssgw dmp") -> None:
    """Print a refusal, every reason of it, and end with status 1."""
    fr, en = error.sentence("fr"), error.sentence("en")
    if json:
        document = {"ok": False, "error": type(error).__name__, "sentence": fr, "sentence_en": en, "detail": str(error)}
        document["reasons"] = [list(reason) for reason in error.reasons]
        if isinstance(error, Refused):
            document |= {"code": error.code, "text": error.text}
        output("", json=True, document=document)
        raise typer.Exit(1)
    several = len({text for _, _, text in error.reasons}) > 1
    reasons = "".join(f"\n  ✘ {name} : {text}" for name, _, text in error.reasons) if several else ""
    raise failure(at(program, Said(fr + reasons, en)))
