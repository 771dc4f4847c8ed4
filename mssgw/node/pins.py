"""The PINs of persons' tokens that are unlocked now, in memory that the parent holds and its workers share.

A worker that dies takes its tokens' sessions with it; the one that is started instead logs in again with what it finds here.
The memory has no name in any directory (memfd_create(2)), ends with the node, and no program that a worker starts inherits it.
A PIN is in it while the sessions opened with it last: the first worker to see one end forgets it for all.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from mssgw.smime.errors import Lock
from mssgw.smime.keys.tokens import TokenPlace

MAX_OCTETS: Final = 256 * 1024
_CONTENT, _TRYING = 0, 1  # octets of the file whose locks stand for what is done


class _Kept(msgspec.Struct, frozen=True):
    module: str
    token: str
    serial: str | None
    pin: str | None  # None: the token refused it to a session that was open

    @property
    def place(self) -> TokenPlace:
        return TokenPlace(Path(self.module), self.token, None, self.serial)


class Pins:
    def __init__(self, memory: int) -> None:
        """`memory`: the descriptor of the parent's; shared by fork, so one lock within a process and one among them."""
        self._memory = memory
        self._here, self._one_try = threading.Lock(), threading.Lock()

    def known(self) -> list[tuple[TokenPlace, str]]:
        with self._here, self._lock(_CONTENT):
            return [(one.place, one.pin) for one in self._read() if one.pin is not None]

    def of(self, place: TokenPlace) -> str | None:
        return next((pin for known, pin in self.known() if known == place), None)

    def keep(self, place: TokenPlace, pin: str) -> None:
        """From now on a restarted worker has it. What would not fit is left out: that worker's mail waits for its owner then."""
        with self._here, self._lock(_CONTENT):
            self._write([*self._others(place), _Kept(str(place.module), place.label, place.serial, pin)])

    def forget(self, place: TokenPlace) -> None:
        with self._here, self._lock(_CONTENT):
            self._write(self._others(place))

    def sessions(self, place: TokenPlace) -> SessionsOf:
        """What the sessions of a token have in common in this node."""
        return SessionsOf(self, place)

    def refused(self, place: TokenPlace) -> bool:
        with self._here, self._lock(_CONTENT):
            return any(one.pin is None and one.place == place for one in self._read())

    def refuse(self, place: TokenPlace) -> None:
        """The PIN was changed by another program, or the card is another one: no session offers it again."""
        with self._here, self._lock(_CONTENT):
            self._write([*self._others(place), _Kept(str(place.module), place.label, place.serial, None)])

    @contextlib.contextmanager
    def trying(self) -> Iterator[None]:
        """One login at a time in the whole node: a PIN that is refused is not tried by the next."""
        with self._one_try, self._lock(_TRYING):
            yield

    def _others(self, place: TokenPlace) -> list[_Kept]:
        return [one for one in self._read() if one.place != place]

    @contextlib.contextmanager
    def _lock(self, octet: int) -> Iterator[None]:
        """Against other processes: the lock of a file is the process's (fcntl(2)), so threads need one beside it."""
        fcntl.lockf(self._memory, fcntl.LOCK_EX, 1, octet)
        try:
            yield
        finally:
            fcntl.lockf(self._memory, fcntl.LOCK_UN, 1, octet)

    def _read(self) -> list[_Kept]:
        try:
            return msgspec.json.decode(os.pread(self._memory, MAX_OCTETS, 0) or b"[]", type=list[_Kept])
        except msgspec.MsgspecError:  # a worker was killed while it wrote
            return []

    def _write(self, kept: list[_Kept]) -> None:
        octets = msgspec.json.encode(kept)
        if len(octets) <= MAX_OCTETS:
            os.ftruncate(self._memory, 0)
            os.pwrite(self._memory, octets, 0)


@dataclass(frozen=True, slots=True)
class SessionsOf:
    """`tokens.Sessions` of one token."""

    pins: Pins
    place: TokenPlace

    def ended(self, lock: Lock) -> None:
        if lock in (Lock.PIN, Lock.LAST_TRY, Lock.BLOCKED):
            self.pins.refuse(self.place)
        else:
            self.pins.forget(self.place)

    @property
    def pin_refused(self) -> bool:
        return self.pins.refused(self.place)
