"""A session lasts as long as its card is in the reader: then consultations close, the TLS relay ends, the token is logged out.

    async with CardGuard(consultations, actor, relay=relay, card=session) as guard:
        guard.watch(slot)            # PC/SC signals when the card leaves
        await guard.gone.wait()      # or do the work; every act after the pull is refused

Closing happens once, whoever notices first: the watch, a failing signature, the person.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from dmp_connector.card.pkcs11 import CardSession
from dmp_connector.card.readers import Slot, Watch
from dmp_connector.card.tls_relay import TlsRelay
from dmp_connector.dossier.consultation import BY_CARD, Consultations
from dmp_connector.errors import CardRemoved, DmpError
from dmp_connector.model.people import Actor
from dmp_connector.texts import message


class CardGuard:
    """Watches one card for one actor. `relay` and `card` end when it leaves, where its keys are used for TLS and signatures."""

    def __init__(
        self, consultations: Consultations, actor: Actor, *, relay: TlsRelay | None = None, card: CardSession | None = None
    ) -> None:
        self._consultations, self._actor, self._relay, self._card = consultations, actor, relay, card
        self._watch: Watch | None = None
        self._closing: asyncio.Task[int] | None = None
        self.gone = asyncio.Event()

    async def __aenter__(self) -> CardGuard:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watch is not None:
            await asyncio.to_thread(self._watch.stop)
        if self._closing is not None:
            await self._closing

    def watch(self, slot: Slot) -> None:
        """Close everything when the card leaves `slot`."""
        loop = asyncio.get_running_loop()

        def pulled() -> None:
            with suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(self.pull)

        self._watch = Watch(slot, pulled)

    def pull(self) -> None:
        """The card is gone: start closing, once."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())

    def require_present(self) -> None:
        """Raise CardRemoved once the card was seen to leave."""
        if self._closing is not None:
            raise CardRemoved(message("card.card-left-reader"))

    async def closed(self) -> int:
        """Wait for the end; how many consultations the pull closed."""
        await self.gone.wait()
        return await self._closing if self._closing is not None else 0

    async def _close(self) -> int:
        """The relay first: after that nothing can be sent under the card's name."""
        try:
            if self._relay is not None:
                await self._relay.close()
            if self._card is not None:
                with suppress(DmpError):
                    await asyncio.to_thread(self._card.close)
            return await self._consultations.close_all(self._actor, by=BY_CARD)
        finally:
            self.gone.set()
