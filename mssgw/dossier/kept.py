"""A session that stays open from one act to the next: the key or the card with its PIN and its relay, the connections, the store.

It ends by itself `idle` after the last act, `longest` after it was opened, when the card leaves its reader, and after an act that the
card made fail. A card that cannot be watched is not kept. What was learnt about a patient ends with each act: it may have changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from dmp_connector.card.guard import CardGuard
from dmp_connector.dossier.consultation import Consultations
from dmp_connector.errors import CardError, NoReader
from dmp_connector.model import AccessMode
from mssgw.dossier import documents
from mssgw.dossier.checks import Checks
from mssgw.dossier.service import DmpService, DmpSession, Opened
from mssgw.dossier.values import AskPin


@dataclass(frozen=True, slots=True)
class Lasting:
    """How long a session is kept: after its last act, and in all."""

    idle: timedelta = timedelta(minutes=15)
    longest: timedelta = timedelta(hours=8)


class Kept:
    """The session of one actor. Everything here happens on one event loop, and one act at a time."""

    def __init__(self, service: DmpService, address: str, checks: Checks, lasting: Lasting) -> None:
        self._service, self._address, self._checks, self._lasting = service, address, checks, lasting
        self._one = asyncio.Lock()
        self._stack: AsyncExitStack | None = None
        self._opened: Opened | None = None
        self._ends: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._watched = True
        self._since: datetime | None = None
        self._expires = 0.0  # by the loop's clock

    @property
    def since(self) -> datetime | None:
        """When it was opened; None while it is not."""
        return self._since

    @asynccontextmanager
    async def session(self, *, pin: AskPin, act: str, mode: AccessMode) -> AsyncIterator[DmpSession]:
        """See `DmpService.session`, whose errors it raises: the same, opened only where it is not open yet."""
        async with self._one:
            loop = asyncio.get_running_loop()
            if self._ends is not None:
                self._ends.cancel()
            if self._opened is None or loop.time() >= self._expires:
                await self._close()
                self._opened = await self._open(pin, act, mode)
                self._expires = loop.time() + self._lasting.longest.total_seconds()
            try:
                yield self._opened.session()
            except CardError:
                await self._close()
                raise
            finally:
                if not self._watched:
                    await self._close()
                elif self._opened is not None:
                    self._ends = loop.call_later(self._lasting.idle.total_seconds(), self._later)

    async def close(self) -> None:
        """End it, once the act that runs is over."""
        async with self._one:
            await self._close()

    async def _open(self, pin: AskPin, act: str, mode: AccessMode) -> Opened:
        stack = AsyncExitStack()
        try:
            opened = await stack.enter_async_context(self._service.opened(self._address, pin=pin, act=act, mode=mode, checks=self._checks))
            self._watched = opened.core.card is None or await self._guarded(stack, opened)
        except BaseException:
            await stack.aclose()
            raise
        self._stack, self._since = stack, self._service.now()
        return opened

    async def _guarded(self, stack: AsyncExitStack, opened: Opened) -> bool:
        """Whether the reader tells when the card leaves it."""
        core = opened.core
        assert core.card is not None
        guard = await stack.enter_async_context(CardGuard(Consultations(core.desk), core.actor, relay=core.relay, card=core.card))
        try:
            guard.watch(await asyncio.to_thread(documents.slot_of, core.card.card.reader))
        except NoReader:
            return False
        left = asyncio.ensure_future(guard.closed())
        left.add_done_callback(lambda done: None if done.cancelled() else self._later())
        stack.callback(left.cancel)
        return True

    def _later(self) -> None:
        task = asyncio.ensure_future(self.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _close(self) -> None:
        stack, self._stack, self._opened, self._since = self._stack, None, None, None
        if self._ends is not None:
            self._ends.cancel()
        if stack is not None:
            with suppress(CardError):  # a card that is gone already
                await stack.aclose()
