"""PC/SC readers: which there are, which holds which card, and the moment a card leaves.

One bi-slot reader or two readers: both are just slots with names here; `pair` decides which slot serves the
professional's card and which the Vitale. pyscard (extra `card`) is imported in this module and nowhere else.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from dmp_connector.errors import CardRemoved, CardUnreadable, NoCard, NoReader
from dmp_connector.texts import message

_SLOT = re.compile(r"\s\d\d(?:\s\d\d)?$")


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot: its PC/SC name, and the ATR of the card in it (b"" when empty)."""

    name: str
    atr: bytes = b""

    @property
    def device(self) -> str:
        """The reader without its slot number: the two slots of a bi-slot reader share it."""
        return _SLOT.sub("", self.name)


@dataclass(frozen=True, slots=True)
class Pair:
    """Where the two cards are. `bi_slot`: one reader with two slots."""

    professional: Slot | None
    vitale: Slot | None
    bi_slot: bool


def slots() -> tuple[Slot, ...]:
    """Every slot, in the order PC/SC names them. Raises NoReader: no pyscard, no daemon, no reader."""
    with _context() as (scard, context):
        result, names = scard.SCardListReaders(context, [])
        if result != scard.SCARD_S_SUCCESS or not names:
            raise NoReader(message("card.no-reader-connected"))
        found = []
        for name in names:
            _, states = scard.SCardGetStatusChange(context, 0, [(name, scard.SCARD_STATE_UNAWARE)])
            _, state, atr = states[0]
            found.append(Slot(name, bytes(atr) if state & scard.SCARD_STATE_PRESENT else b""))
        return tuple(found)


def pair(found: tuple[Slot, ...], *, professional: str = "", vitale: str = "") -> Pair:
    """Which slot serves which card: by configured part of the name, else first and second slot.

    Raises NoReader when a configured reader is not there.
    """
    first = _named(found, professional) if professional else next(iter(found), None)
    rest = [s for s in found if s is not first]
    second = _named(found, vitale) if vitale else next(iter(rest), None)
    return Pair(first, second, first is not None and second is not None and first is not second and first.device == second.device)


def _named(found: tuple[Slot, ...], part: str) -> Slot:
    slot = next((s for s in found if part in s.name), None)
    if slot is None:
        raise NoReader(message("card.no-reader-named-connected", part=repr(part)))
    return slot


class DriverMissing(NoReader):
    """The Python side of PC/SC, pyscard, is not installed."""


class Connection:
    """A card in a slot, shared access: `transmit` one APDU, get (data, status word)."""

    def __init__(self, scard: Any, handle: Any, protocol: Any) -> None:
        self._scard, self._handle, self._protocol = scard, handle, protocol

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """Raises CardRemoved, CardUnreadable."""
        result, answer = self._scard.SCardTransmit(self._handle, self._protocol, list(apdu))
        if result in {self._scard.SCARD_W_REMOVED_CARD, self._scard.SCARD_E_NO_SMARTCARD, self._scard.SCARD_E_READER_UNAVAILABLE}:
            raise CardRemoved(message("card.card-left-reader"))
        if result != self._scard.SCARD_S_SUCCESS or len(answer) < 2:
            raise CardUnreadable(message("card.card-did-not-answer"))
        return bytes(answer[:-2]), answer[-2] << 8 | answer[-1]


@contextmanager
def connect(slot: Slot) -> Iterator[Connection]:
    """Connect to the card in a slot. Raises NoCard, CardUnreadable."""
    with _context() as (scard, context):
        result, handle, protocol = scard.SCardConnect(
            context, slot.name, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        )
        if result in {scard.SCARD_E_NO_SMARTCARD, scard.SCARD_W_REMOVED_CARD}:
            raise NoCard(message("card.no-card", name=slot.name))
        if result != scard.SCARD_S_SUCCESS:
            raise CardUnreadable(message("at", place=slot.name, what=scard.SCardGetErrorMessage(result)))
        try:
            yield Connection(scard, handle, protocol)
        finally:
            scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD)


class Watch:
    """Calls back once when the card leaves a slot, or the reader is unplugged. Waits in PC/SC, without polling, in its own thread."""

    def __init__(self, slot: Slot, gone: Callable[[], None]) -> None:
        self._slot, self._gone = slot, gone
        self._context: Any = None
        self._scard: Any = None
        self._stopped = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="card watch", daemon=True)
        self._thread.start()
        self._ready.wait(10)

    def _run(self) -> None:
        try:
            with _context() as (scard, context):
                self._scard, self._context = scard, context
                _, states = scard.SCardGetStatusChange(context, 0, [(self._slot.name, scard.SCARD_STATE_UNAWARE)])
                self._ready.set()
                while states[0][1] & scard.SCARD_STATE_PRESENT and not self._stopped.is_set():
                    result, states = scard.SCardGetStatusChange(context, 60_000, [(self._slot.name, states[0][1])])
                    if result not in {scard.SCARD_S_SUCCESS, scard.SCARD_E_TIMEOUT}:
                        break  # cancelled, or the daemon or the reader is gone
        except NoReader:
            pass
        finally:
            self._ready.set()
            if not self._stopped.is_set():
                self._gone()

    def stop(self) -> None:
        """End the watch; it calls back no more. A cancel just before the wait begins has no effect, so it is repeated."""
        self._stopped.set()
        if threading.current_thread() is self._thread:
            return
        for _ in range(100):
            if not self._thread.is_alive():
                return
            if self._context is not None:
                with suppress(Exception):  # the context may be gone with the daemon
                    self._scard.SCardCancel(self._context)
            self._thread.join(0.1)


@contextmanager
def _context() -> Iterator[tuple[Any, Any]]:
    try:
        from smartcard import scard
    except ImportError as error:
        raise DriverMissing(message("card.pyscard-not-installed")) from error
    result, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    if result != scard.SCARD_S_SUCCESS:
        raise NoReader(message("card.pc-sc-service-pcscd-does"))
    try:
        yield scard, context
    finally:
        scard.SCardReleaseContext(context)
