"""Passwords: argon2id in a thread; a verified password is remembered for a short time.

Argon2 takes a quarter of a second and 64 MiB on purpose, and mail clients log in often. So a password
that was right is remembered for some minutes as a keyed BLAKE2b of (stored hash, password), under a key
that only this process knows; a changed password changes the stored hash and is never found again.
An account without a password costs the same work as one with a password.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mssgw.core.errors import Deferred, NotAllowed

THREADS = 2  # each takes 64 MiB while it works
WAITING = 100  # verifications that may wait for a thread; more are deferred
REMEMBERED = 10_000


class Passwords:
    """Belongs to one worker; `close` ends its threads."""

    def __init__(
        self, remember_seconds: float = 300, *, hasher: PasswordHasher | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = ThreadPoolExecutor(THREADS, "argon2")
        self._seconds, self._monotonic = remember_seconds, monotonic
        self._key = os.urandom(32)
        self._known: dict[bytes, float] = {}
        self._nobody: str | None = None
        self._waiting = 0

    def hash(self, password: str) -> str:
        """What to store. Slow: for the command line, or in a thread."""
        return self._hasher.hash(_normal(password))

    async def verify(self, stored: str | None, password: str) -> None:
        """Raises NotAllowed unless this is the password. `stored` is None for an account without one, or for no account.

        Raises Deferred when too many wait already.
        """
        mark = self._mark(stored or "", password)
        if stored is not None and self._known.get(mark, 0.0) > self._monotonic():
            return
        if self._waiting >= WAITING:
            raise Deferred("Too many logins at the moment, try again later", code=454, enhanced="4.7.0")
        self._waiting += 1
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, stored, password)
        finally:
            self._waiting -= 1
        if self._seconds:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[mark] = self._monotonic() + self._seconds

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._known.clear()

    def _mark(self, stored: str, password: str) -> bytes:
        return hashlib.blake2b(f"{stored}\0{_normal(password)}".encode("utf-8", "surrogatepass"), key=self._key).digest()

    def _verify(self, stored: str | None, password: str) -> None:
        try:
            self._hasher.verify(stored or self._stand_in(), _normal(password))
        except (VerificationError, InvalidHashError) as error:
            raise wrong_password(detail="no password is set" if stored is None else type(error).__name__) from error
        if stored is None:
            raise wrong_password(detail="no password is set")

    def _stand_in(self) -> str:
        """The hash of no password, so that unknown users cost the same time."""
        if self._nobody is None:
            self._nobody = self._hasher.hash(os.urandom(32).hex())
        return self._nobody


def wrong_password(detail: str = "") -> NotAllowed:
    return NotAllowed("User name or password is wrong", code=535, enhanced="5.7.8", detail=detail)


def hash_password(password: str) -> str:
    """What to store for a new password; takes a quarter of a second."""
    return PasswordHasher().hash(_normal(password))


def _normal(password: str) -> str:
    """The same keys give the same password on every keyboard and system (RFC 8265 4.1: NFC)."""
    return unicodedata.normalize("NFC", password)
