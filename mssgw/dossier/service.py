"""The service: a session for an actor, and what needs none: the workstation, the card without its PIN, the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from dmp_connector import codes
from dmp_connector.card.cps import Card
from dmp_connector.card.pkcs11 import Pkcs11CardReader
from dmp_connector.client import Dmp
from dmp_connector.doctor import Check, examine
from dmp_connector.dossier.desk import Desk, outcome_of
from dmp_connector.errors import DmpError
from dmp_connector.model import AccessMode, Actor, Patient, Practitioner
from dmp_connector.model.audit import AuditRecord
from dmp_connector.proof.practitioner import CardHolder
from dmp_connector.store import DmpStore
from mssgw.core.config import Config
from mssgw.core.config.dmp import DmpActor
from mssgw.dossier.checks import Checks
from mssgw.dossier.creations import Creations
from mssgw.dossier.documents import Documents
from mssgw.dossier.dossiers import Dossiers
from mssgw.dossier.filing import Filings
from mssgw.dossier.letters import Letters
from mssgw.dossier.opening import holder_of
from mssgw.dossier.session import NOBODY, Interrupted, Session, finished, stopped_by
from mssgw.dossier.setup import Setup
from mssgw.dossier.trail import Trail
from mssgw.dossier.values import Access, AskPin
from mssgw.dossier.wire_settings import WireSetting, wire_settings


@dataclass(frozen=True)
class DmpSession:
    """An actor's open session: the use cases, by subject. Good for one task after another, not for two at a time."""

    core: Session
    who: DmpActor

    @cached_property
    def dossiers(self) -> Dossiers:
        return Dossiers(self.core)

    @cached_property
    def documents(self) -> Documents:
        return Documents(self.core)

    @cached_property
    def filings(self) -> Filings:
        return Filings(self.core, self.who.practice)

    @cached_property
    def letters(self) -> Letters:
        return Letters(self.core, self.documents, self.filings)

    @cached_property
    def creations(self) -> Creations:
        return Creations(self.core)

    @cached_property
    def trail(self) -> Trail:
        return Trail(self.core)

    @property
    def actor(self) -> Actor:
        return self.core.actor

    def now(self) -> datetime:
        return self.core.desk.now()

    def attempt(self, act: str, access: Access = NOBODY, *, watched: bool = False) -> AbstractAsyncContextManager[None]:
        """Everything inside is one attempt, with one row named `act`: see `Session.attempt`."""
        return self.core.attempt(act, access, watched=watched)

    async def whose(self, access: Access) -> Patient:
        """Who the patient is, by the register: see `Session.whose`."""
        return await self.core.whose(access)

    def require_patient(self, access: Access) -> None:
        """Raise BadIns, before a person is asked about an act that would not be tried."""
        self.core.call(access)


@dataclass(frozen=True, slots=True)
class Opened:
    """What an actor's acts need, open: good for several sessions, one after the other."""

    core: Session
    who: DmpActor

    def session(self) -> DmpSession:
        """One that knows nothing of patients yet."""
        return DmpSession(replace(self.core), self.who)  # with a Recognition of its own


@dataclass(frozen=True, slots=True)
class CardSeen:
    """The part of a card that can be read without its PIN. `wanted`: PS_IdNat of the actor whose card it should be, "" when nobody's."""

    card: Card
    holder: Practitioner
    wanted: str

    @property
    def mine(self) -> bool:
        return self.wanted in {"", self.holder.id}


@dataclass(frozen=True, slots=True)
class DmpService:
    """The DMP of one node. `file`: where its configuration was read."""

    config: Config
    file: Path
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @asynccontextmanager
    async def session(
        self, address: str, *, pin: AskPin, act: str = "session", mode: AccessMode = AccessMode.NORMAL, trace: Path | None = None
    ) -> AsyncIterator[DmpSession]:
        """Everything an actor's acts need, closed at the end: store, key or card, relay, connections to the DMP.

        `address`: of a dmp_actor, the login of the account too. `pin` is called when the key is in a card. `act` and `mode`: for the
        row of a session that could not be opened. `trace`: a directory for every request and response. Raises NotSetUp, CardError,
        BadCertificate, BadCode, and the errors of the store.
        """
        async with self.opened(address, pin=pin, act=act, mode=mode, trace=trace) as found:
            yield found.session()

    @asynccontextmanager
    async def opened(
        self,
        address: str,
        *,
        pin: AskPin,
        act: str = "session",
        mode: AccessMode = AccessMode.NORMAL,
        trace: Path | None = None,
        checks: Checks | None = None,
    ) -> AsyncIterator[Opened]:
        """The same for several sessions, one after the other. `checks`: of whoever shares and closes them; else they end with this."""
        setup = Setup.of(self.config, self.file)
        who = setup.actor(address)
        async with AsyncExitStack() as stack:
            store = await asyncio.to_thread(setup.open_store)  # before a PIN is asked for
            stack.callback(store.close)
            try:
                if checks is None:
                    checks = Checks(setup.table)
                    stack.push_async_callback(asyncio.to_thread, checks.close)
                core = await self._core(stack, setup, who, store, pin, trace, checks)
            except DmpError as error:  # no card, a wrong PIN, a wrong key
                await asyncio.to_thread(store.record, self._not_begun(who, act, mode, outcome_of(error), error))
                raise
            except (Interrupted, asyncio.CancelledError) as error:  # at the question for the PIN
                stopped = Interrupted(stopped_by(error))
                await finished(asyncio.to_thread(store.record, self._not_begun(who, act, mode, "interrupted", stopped)))
                raise
            yield Opened(core, who)

    async def _core(
        self, stack: AsyncExitStack, setup: Setup, who: DmpActor, store: DmpStore, pin: AskPin, trace: Path | None, checks: Checks
    ) -> Session:
        tables = await asyncio.to_thread(codes.load, setup.table.value_sets)
        holder = await holder_of(stack, setup, who, tables, pin, self.now())
        settings = await asyncio.to_thread(setup.settings, holder.relay.url if holder.relay else "", trace)
        dmp = await stack.enter_async_context(Dmp(settings, holder.signer, now=self.now))
        desk = Desk(dmp, store, setup.rules, self.now)
        billing = CardHolder(holder.actor.practitioner.id, who.billing_id, who.amo_speciality, holder.actor.structure.sector.code)
        asks = billing if holder.card and who.billing_id else None
        session = Session(setup, holder.actor, desk, tables, checks, holder.card, holder.relay, asks)
        if trace is not None:
            await desk.note(session.anyone(NOBODY), "trace", "written", directory=trace.name)
        return session

    def _not_begun(self, who: DmpActor, act: str, mode: AccessMode, outcome: str, error: Exception) -> AuditRecord:
        """The row of an attempt that ended before anybody was authenticated: who was asked for, and why not."""
        facts = (("error", type(error).__name__), ("text", str(error)[:200]))
        return AuditRecord(self.now(), who.id, who.structure_id, who.address, "", mode.value, act, outcome, facts=facts)

    # -- without a session

    async def doctor(self, address: str = "") -> tuple[Check, ...]:
        """The checks of this workstation, for one actor or for all of them. Asks for no PIN. Raises NotSetUp."""
        station = Setup.of(self.config, self.file).station(address)
        return await asyncio.to_thread(examine, station, self.now())

    async def wire_settings(self) -> tuple[WireSetting, ...]:
        """What is sent to the DMP by which setting, and where each value comes from. Raises NotSetUp, BadCode, BadSettings."""
        return await asyncio.to_thread(wire_settings, Setup.of(self.config, self.file))

    async def card(self, address: str = "") -> CardSeen:
        """The professional's card in the reader, without a PIN. Raises NotSetUp, CardError, CardExpired."""
        setup = Setup.of(self.config, self.file)
        wanted = setup.actor(address).id if address else ""
        seen = await asyncio.to_thread(_seen, setup)
        holder = seen.practitioner()
        seen.require_valid(self.now())
        return CardSeen(seen, holder, wanted)

    async def check_store(self, *, rotate: bool = False) -> tuple[str, ...]:
        """Open every sealed value, derive every invariant again; what is wrong, nothing when all is well.

        `rotate`: give the store new keys first and write every row again under them. Raises NotSetUp, DmpError.
        """
        return await asyncio.to_thread(_checked, Setup.of(self.config, self.file), rotate)


def _seen(setup: Setup) -> Card:
    with Pkcs11CardReader(setup.module, reader=setup.table.card_reader) as reader:
        return reader.see()


def _checked(setup: Setup, rotate: bool) -> tuple[str, ...]:
    store = setup.open_store()
    try:
        if rotate:
            store.rotate()
        return tuple(store.check())
    finally:
        store.close()
