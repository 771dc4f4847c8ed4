"""Whose keys: persons' certificates and keys, from the store and from a directory of files, found by address.

Nothing of the store is read before it is needed, and what was read is remembered until any worker changes an identity (the
doorbell): 2,000 identities cost nothing at the start, one message costs one look-up whatever their number, and what was
added or retired counts from the next message on, without a reload.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from mssgw.core.config.smime import Smime
from mssgw.core.errors import ConfigError, Deferred, MailError
from mssgw.observe import Event, log
from mssgw.pki import der
from mssgw.smime.errors import KeyUnavailable, SmimeError
from mssgw.smime.keys.certificates import Certificate, certificate
from mssgw.smime.keys.key import Identity, Key, StoredKey
from mssgw.smime.places import TokenReference
from mssgw.store import Store, identities
from mssgw.store.identities import IdentityId, Kind, State

REMEMBERED = 4096  # addresses, and keys, that are not read again for each message


@dataclass(frozen=True, slots=True)
class Held:
    """One key of ours, and what it is for. `signs`: for these addresses (`Address.key`); `opens`: mail into these mailboxes, None: any."""

    identity: Identity
    signs: frozenset[str]
    opens: frozenset[str] | None

    def valid_at(self, moment: datetime) -> bool:
        return self.identity.certificate.valid_at(moment)

    @property
    def ends(self) -> datetime:
        return self.identity.certificate.not_after


class Keyring(Protocol):
    async def at(self, keys: Collection[str]) -> Sequence[Held]:
        """What persons with these addresses (`Address.key`) sign and read with. Raises Deferred."""


class Nobody:
    async def at(self, keys: Collection[str]) -> Sequence[Held]:
        return ()


class FileKeys:
    """The directory `smime.identities`: a key opens for the addresses in its certificate, one without an address for all."""

    def __init__(self, found: Iterable[Identity]) -> None:
        by_address: dict[str, list[Held]] = {}
        everybody = []
        for one in found:
            names = one.certificate.address_keys
            held = Held(one, names if _may_sign(one.certificate) else frozenset(), names or None)
            if not names:
                everybody.append(held)
            for key in names:
                by_address.setdefault(key, []).append(held)
        self._by_address, self._everybody = by_address, tuple(everybody)

    async def at(self, keys: Collection[str]) -> Sequence[Held]:
        found = dict.fromkeys(held for key in sorted(keys) for held in self._by_address.get(key, ()))
        return (*found, *self._everybody)


class StoreKeys:
    """The identities of the accounts."""

    def __init__(self, store: Store, settings: Smime) -> None:
        self._store, self._settings = store, settings
        self._news = store.doorbell.subscribe(identities.CHANGED, "account:")
        self._known: dict[str, tuple[Held, ...]] = {}
        self._keys: dict[IdentityId, Key] = {}
        self._generation = 0

    async def at(self, keys: Collection[str]) -> Sequence[Held]:
        found: dict[Held, None] = {}
        for key in sorted(keys):
            found |= dict.fromkeys(await self._of(key))
        return tuple(found)

    async def _of(self, key: str) -> tuple[Held, ...]:
        self._hear()
        known = self._known.get(key)
        if known is None:
            generation = self._generation
            rows = await self._store.read(lambda rx: identities.at_address(rx, key))
            known = tuple(held for row in rows if (held := self._held(row, key)))
            self._hear()
            if generation == self._generation:  # else what was read may be older than the change
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        return known

    def _held(self, row: identities.Identity, key: str) -> Held | None:
        """A row that can't be used is logged and left out: it must not keep the others from their mail."""
        try:
            assert row.der is not None
            own = certificate(row.der)
            chain = tuple(certificate(one) for one in _split(row.chain))
            identity = Identity(own, self._key(row, own), chain)
            names = own.address_keys
            signs = row.state is State.ACTIVE and row.kind is not Kind.ENCRYPTION and (not names or key in names) and _may_sign(own)
            return Held(identity, frozenset((key,)) if signs else frozenset(), frozenset((key,)))
        except (SmimeError, ConfigError, ValueError) as error:
            log(Event.SMIME_DIRECTORY, "error", path=f"identity {row.id}", reason=error)
            return None

    def _key(self, row: identities.Identity, own: Certificate) -> Key:
        if row.id not in self._keys:
            if len(self._keys) >= REMEMBERED:
                self._keys.clear()
            if row.token:
                self._keys[row.id] = TokenReference.parse(row.token).key(own, self._settings)
            else:
                self._keys[row.id] = StoredKey(partial(self._private, row.id))
        return self._keys[row.id]

    def _private(self, number: IdentityId) -> bytes:
        """In a thread of cryptography, which may wait."""
        try:
            return self._store.read_now(lambda rx: identities.private(rx, number))
        except KeyUnavailable:
            raise
        except (Deferred, MailError) as error:
            raise KeyUnavailable(detail=f"identity {number}: {error.detail or error.reply.text}") from error

    def close(self) -> None:
        """End the subscription."""
        self._news.close()

    def _hear(self) -> None:
        if self._news.take():
            self._known.clear()
            self._generation += 1


class Both:
    """Several keyrings as one, the earlier first."""

    def __init__(self, *keyrings: Keyring) -> None:
        self._keyrings = keyrings

    async def at(self, keys: Collection[str]) -> Sequence[Held]:
        return [held for one in self._keyrings for held in await one.at(keys)]


def _may_sign(one: Certificate) -> bool:
    try:
        one.require_signing_use()
    except SmimeError:
        return False
    return True


def _split(chain: bytes) -> Iterable[bytes]:
    return (chain[found[1] : found[3]] for found in der.split(chain, 0, len(chain), 16)) if chain else ()
