"""One actor at work: whose dossier is meant, the row that every attempt leaves, what a cancelled one closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from dmp_connector import codes
from dmp_connector.card.pkcs11 import CardSession
from dmp_connector.card.tls_relay import TlsRelay
from dmp_connector.client import Call
from dmp_connector.dossier.consultation import BY_SIGNAL, Consultations
from dmp_connector.dossier.desk import Desk
from dmp_connector.dossier.recognition import Recognised, Recognition
from dmp_connector.errors import BadIns, DmpError, NoReader
from dmp_connector.insi import Insi, InsiSettings
from dmp_connector.model import AccessMode, Actor, Ins, Patient
from dmp_connector.proof.practitioner import CardHolder
from dmp_connector.wire.transport import Exchange
from mssgw import __version__
from mssgw.core.texts import message
from mssgw.dossier.checks import Checks
from mssgw.dossier.setup import Setup
from mssgw.dossier.values import Access, Progress

NOBODY = Access()


class Interrupted(Exception):
    """The person stopped at a question that a callback put (a PIN, a gesture). `by`: what stopped it, for the audit."""

    def __init__(self, by: str = "") -> None:
        super().__init__(by)
        self.by = by


_within: ContextVar[object] = ContextVar("mssgw.dossier.attempt", default=None)


@dataclass(frozen=True, slots=True)
class Session:
    """What the use cases of one actor share."""

    setup: Setup
    actor: Actor
    desk: Desk
    tables: codes.CodeTables  # with the operator's own
    checks: Checks
    card: CardSession | None = None
    relay: TlsRelay | None = None
    billing: CardHolder | None = None  # as whom the card asks INSi; None: the structure's certificate does
    recognition: Recognition = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "recognition", Recognition(self.desk))

    def call(self, access: Access) -> Call:
        """The access to a patient's dossier as the connector takes it. Raises BadIns, also for none."""
        return Call(self.actor, self.ins(access), access.mode)

    def anyone(self, access: Access) -> Call:
        """The same for an act on nobody's dossier in particular."""
        return Call(self.actor, None, access.mode)

    def ins(self, access: Access) -> Ins:
        """Typed by a person, so its key is checked. Raises BadIns."""
        settings = self.desk.dmp.settings
        oid = access.oid or settings.ins_oid
        if oid not in settings.ins_oids:
            raise BadIns(message("dmp.oid-no-ins-issued-under", oid=oid, ins_oids=", ".join(settings.ins_oids)))
        return Ins.typed(access.patient, oid, policy=settings.ins_keys)

    @asynccontextmanager
    async def attempt(self, act: str, access: Access | Call = NOBODY, *, watched: bool = False) -> AsyncIterator[None]:
        """Whatever is tried inside leaves a row named `act`, unless it left its own. Of nested attempts the outermost one counts.

        Cancelled, or interrupted at a question: no emergency access stays open and, when `watched` (a consultation on a screen),
        no consultation of this patient at all.
        """
        if _within.get() is self:
            yield
            return
        token = _within.set(self)
        try:
            yield
        except DmpError as error:
            await self.desk.refused(self._meant(access), act, error)
            raise
        except (Interrupted, asyncio.CancelledError) as error:
            await finished(self._stopped(act, self._meant(access), stopped_by(error), watched=watched))
            raise
        finally:
            _within.reset(token)

    async def whose(self, access: Access) -> Patient:
        """The person that the INS belongs to, by the register, before anything is opened: see `Recognition.patient`."""
        return await self.recognition.patient(self.call(access), access.confirmed, typed=access.typed, reason=access.reason)

    async def recognised(self, access: Access) -> Recognised:
        """The same with the gesture of this access, asked for about the patient by name."""
        return await self.recognition.of(self.call(access), access.confirmed, typed=access.typed, reason=access.reason)

    def _meant(self, access: Access | Call) -> Call:
        """For the row: with the patient when the INS is one."""
        if isinstance(access, Call):
            return access
        with suppress(BadIns):
            return self.call(access) if access.patient else self.anyone(access)
        return self.anyone(access)

    async def _stopped(self, act: str, call: Call, by: str, *, watched: bool) -> None:
        if call.ins and (watched or call.mode is not AccessMode.NORMAL):
            await Consultations(self.desk).close_of(call, by=BY_SIGNAL)
        await self.desk.note(call, act, "interrupted", **({"signal": by} if by else {}))

    @contextmanager
    def receiving(self, progress: Progress | None) -> Iterator[None]:
        """`progress` is called with how much of each answer has come."""
        if progress is None:
            yield
            return
        self.desk.dmp.watch(progress)
        try:
            yield
        finally:
            self.desk.dmp.watch(None)

    @asynccontextmanager
    async def insi(self) -> AsyncIterator[Insi]:
        """The identity teleservice over the same key; with `billing`, by the card. Raises NoReader when it is not configured."""
        table = self.setup.table
        if not table.insi_url:
            raise NoReader(message("dmp.insi-url-not-configured"))
        oids = self.desk.dmp.settings.ins_oids
        settings = InsiSettings(table.insi_url, table.insi_authorisation, self.actor.practitioner.id, version=__version__, ins_oids=oids)
        async with AsyncExitStack() as stack:
            wanted = self.desk.dmp.settings
            if self.relay is not None:  # the card's line leads to the DMP only: INSi has its own
                line = await stack.enter_async_context(self.relay.towards(table.insi_url))
                wanted = replace(wanted, url=table.insi_url, relay=line.url)
            exchange = await stack.enter_async_context(Exchange.of(wanted))
            signer = self.card.signer if self.card else None
            yield Insi(settings, exchange, now=self.desk.now, holder=self.billing, signer=signer)


def stopped_by(error: BaseException) -> str:
    """What stopped an act, for the audit: the word that came with the interruption or the cancellation, "" without."""
    if isinstance(error, Interrupted):
        return error.by
    return str(error.args[0]) if error.args else ""


async def finished(work: Coroutine[Any, Any, None]) -> None:
    """Run to its end, even when this task is cancelled again meanwhile."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()
