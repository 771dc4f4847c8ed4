"""Whose keys: persons' certificates and keys, from the store and from a directory of files, found by address.

Nothing of the store is read before it is needed, and what was read is remembered until any worker changes an identity (the
doorbell): 2,000 identities cost nothing at the start, one message costs one look-up whatever their number, and what was
added or retired counts from the next message on, without a reload.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from mssgw.core.config.smime import Smime
from mssgw.core.errors import ConfigError, Deferred, MailError
from mssgw.core.texts import Message
from mssgw.core.tokens import TokenReference
from mssgw.pki.der import DerError
from mssgw.smime.directories.files import Unread
from mssgw.smime.errors import KeyUnavailable, SmimeError
from mssgw.smime.keys.certificates import Certificate, certificate
from mssgw.smime.keys.key import Identity, Key, LostKey, StoredKey
from mssgw.smime.places import key_in
from mssgw.store import Store, identities
from mssgw.store.identities import Fault, IdentityId, Kind, State
from mssgw.store.usable import chain_of

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
    def name(self) -> str:
        return self.identity.certificate.name

    @property
    def ends(self) -> datetime:
        return self.identity.certificate.not_after


@dataclass(frozen=True, slots=True)
class Lost:
    """A key of ours that should sign and can't be used. It counts as there, so that nothing weaker takes its place unseen."""

    name: str
    signs: frozenset[str] | None  # None: whose it is can't be found out, so it may be anybody's
    starts: datetime | None
    ends: datetime | None
    why: Message

    def counts_at(self, moment: datetime) -> bool:
        return (self.starts is None or self.starts <= moment) and (self.ends is None or moment <= self.ends)


@dataclass(frozen=True, slots=True)
class Found:
    held: tuple[Held, ...] = ()
    lost: tuple[Lost, ...] = ()

    def __add__(self, other: Found) -> Found:
        return Found(tuple(dict.fromkeys(self.held + other.held)), tuple(dict.fromkeys(self.lost + other.lost)))

    def signing(self, key: str) -> Found:
        """What signs for one address (`Address.key`), or should."""
        return Found(
            tuple(one for one in self.held if key in one.signs), tuple(one for one in self.lost if one.signs is None or key in one.signs)
        )

    def ends(self) -> list[tuple[datetime, str]]:
        """When each ends, and whose it is."""
        dated = [(one.ends, one.name) for one in self.lost if one.ends]
        return [*((one.ends, one.name) for one in self.held), *dated]


NOTHING: Final = Found()


class Keyring(Protocol):
    async def at(self, keys: Collection[str]) -> Found:
        """What persons with these addresses (`Address.key`) sign and read with. Raises Deferred."""


class Nobody:
    async def at(self, keys: Collection[str]) -> Found:
        return NOTHING


class FileKeys:
    """The directory `smime.identities`: a key opens for the addresses in its certificate, one without an address for all."""

    def __init__(self, found: Iterable[Identity | Unread]) -> None:
        by_address: dict[str, Found] = {}
        self._everybody = NOTHING
        for one in found:
            if isinstance(one, Unread):
                names = one.owners
                found_one = Found(lost=(Lost(str(one.path), names, None, None, one.why),))
            else:
                names = one.certificate.address_keys
                found_one = Found((Held(one, names if _may_sign(one.certificate) else frozenset(), names or None),))
            if not names:
                self._everybody += found_one
            for key in names or ():
                by_address[key] = by_address.get(key, NOTHING) + found_one
        self._by_address = by_address

    async def at(self, keys: Collection[str]) -> Found:
        return sum((self._by_address.get(key, NOTHING) for key in sorted(keys)), NOTHING) + self._everybody


class StoreKeys:
    """The identities of the accounts."""

    def __init__(self, store: Store, settings: Smime) -> None:
        self._store, self._settings = store, settings
        self._news = store.doorbell.subscribe(identities.CHANGED, "account:")
        self._known: dict[str, Found] = {}
        self._keys: dict[tuple[IdentityId, datetime], Key] = {}
        self._generation = 0

    async def at(self, keys: Collection[str]) -> Found:
        found = NOTHING
        for key in sorted(keys):
            found += await self._of(key)
        return found

    async def _of(self, key: str) -> Found:
        self._hear()
        known = self._known.get(key)
        if known is None:
            generation = self._generation
            rows = await self._store.read(lambda rx: identities.at_address(rx, key))
            known = sum((self._found(row, key) for row in rows), NOTHING)
            self._hear()
            # What was read may be older than the change; what can't be used is read again, because it may have been mended.
            if generation == self._generation and not known.lost:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        return known

    def _found(self, row: identities.Identity, key: str) -> Found:
        """A row that can't be used keeps its owner from signing with something weaker, and the others from nothing."""
        wanted = row.state in (State.ACTIVE, State.DAMAGED) and row.kind is not Kind.ENCRYPTION
        own = readable(row)
        if own is None:
            return self._lost(row, key, str(row.address), row.fault or Fault.CERTIFICATE) if wanted else NOTHING
        names = own.address_keys
        wanted = wanted and (not names or key in names)
        fault, opener = row.fault, None
        chain: tuple[Certificate, ...] = ()
        if fault in (None, Fault.CHAIN):  # what is sent along matters to signatures alone
            try:
                opener = self._key(row, own)
            except ConfigError:
                fault = Fault.TOKEN
        try:
            chain = tuple(certificate(one) for one in chain_of(row.chain))
        except (SmimeError, DerError):
            fault = fault or Fault.CHAIN
        if wanted:
            fault = fault or why_unusable(row)
        opens, signs = frozenset((key,)), wanted and fault is None
        held = Held(Identity(own, opener or LostKey(f"identity {row.id}: {fault}"), chain), opens if signs else frozenset(), opens)
        return Found((held,)) + (self._lost(row, key, own.name, fault) if wanted and fault else NOTHING)

    def _lost(self, row: identities.Identity, key: str, name: str, fault: Fault) -> Found:
        return Found(lost=(Lost(name, frozenset((key,)), row.not_before, row.not_after, fault.message),))

    def _key(self, row: identities.Identity, own: Certificate) -> Key:
        """Raises ConfigError: a token without a module."""
        name = row.id, row.changed
        if name not in self._keys:
            if len(self._keys) >= REMEMBERED:
                self._keys.clear()
            self._keys[name] = (
                key_in(TokenReference.parse(row.token), own, self._settings) if row.token else StoredKey(partial(self._private, row.id))
            )
        return self._keys[name]

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

    async def at(self, keys: Collection[str]) -> Found:
        found = NOTHING
        for one in self._keyrings:
            found += await one.at(keys)
        return found


def readable(row: identities.Identity) -> Certificate | None:
    """The certificate of an identity, None when there is none or it can't be read."""
    try:
        return certificate(row.der) if row.der is not None else None
    except SmimeError:
        return None


def why_unusable(row: identities.Identity) -> Fault | None:
    """Why an identity can't be used, as the rules of today have it: None when it can."""
    own = readable(row)
    if row.fault is None and own is None and row.state is not State.REQUESTED:
        return Fault.CERTIFICATE
    signs = row.state is State.ACTIVE and row.kind is not Kind.ENCRYPTION
    return row.fault or (Fault.USE if signs and own and not _may_sign(own) else None)


def _may_sign(one: Certificate) -> bool:
    try:
        one.require_signing_use()
    except SmimeError:
        return False
    return True
