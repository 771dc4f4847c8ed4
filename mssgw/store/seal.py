"""Seal: everything that holds mail content is AES-256-GCM at rest, under a key per domain.

The domain's keys are random and stand in the table `domain_key`, wrapped (AES-256-GCM) by the master key
of `seal.master_key`. Who has the database and the files but not the master key reads nothing; dropping a
domain's key erases its mail.

    sealed octets    version 1 | key id (4) | nonce (12) | ciphertext and tag
    sealed file      version 2 | key id (4) | salt (32)  | chunks of 64 KiB, each with its tag

A sealed value is bound to what it is (`purpose`) and to the hash of the message it belongs to, so rows
can't be exchanged. A file has a key of its own (HKDF of the domain's key and the salt); its chunks are
numbered and the last one is marked, so chunks can't be moved, cut or added (STREAM, Hoang et al. 2015).

Random 96-bit nonces allow 2^32 values under one key (NIST SP 800-38D 8.3): about 10^9 messages a domain.
"""

from __future__ import annotations

import os
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mssgw.core.address import Domain
from mssgw.core.config.base import Secret
from mssgw.core.errors import ConfigError, Deferred
from mssgw.observe import Event, log
from mssgw.store import schema

if TYPE_CHECKING:
    from mssgw.store.engine import Reader, Transaction

MASTER_OCTETS = 32
CHUNK = 64 * 1024
TAG = 16
_OCTETS = struct.Struct(">BI12s")
_FILE = struct.Struct(">BI32s")
FILE_HEADER = _FILE.size
_PROBE = Domain("")


class UnknownKey(Exception):
    """Sealed under a key this process hasn't loaded yet."""


class SealBroken(Deferred):
    """Sealed octets that don't open: changed, exchanged or cut. Kept as temporary: a backup may heal it."""


@dataclass(frozen=True, slots=True)
class _Key:
    id: int
    secret: bytes
    cipher: AESGCM


@dataclass(frozen=True, slots=True)
class ChunkSeal:
    """The cipher of one file. Chunk `number` of a file counts from 0."""

    header: bytes
    _cipher: AESGCM
    _bound: bytes

    def seal(self, number: int, last: bool, data: bytes) -> bytes:
        return self._cipher.encrypt(_chunk_nonce(number, last), data, self._bound)

    def open(self, number: int, last: bool, sealed: bytes) -> bytes:
        """Raises SealBroken."""
        try:
            return self._cipher.decrypt(_chunk_nonce(number, last), sealed, self._bound)
        except InvalidTag:
            raise SealBroken(detail=f"chunk {number} of a sealed file does not open") from None


def _chunk_nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


class Seal:
    """The opened domain keys of this process. Used from the loop and from the store's threads."""

    def __init__(self, master: bytes) -> None:
        if len(master) != MASTER_OCTETS:
            raise ValueError(f"expected {MASTER_OCTETS} octets, found {len(master)}")
        self._master = AESGCM(master)
        self._by_id: dict[int, _Key] = {}
        self._by_domain: dict[Domain, _Key] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, reference: Secret, *, in_use: bool) -> Seal:
        """Read the master key; `in_use` when it has sealed something already, and only that one helps. Raises ConfigError."""
        try:
            made = cls(reference.read())
        except (OSError, ValueError) as error:
            said = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            remedy = "this store is sealed: restore the key from its copy" if in_use else "`mssgw seal new-key` makes a key"
            raise ConfigError([("seal.master_key", f"{reference}: {said}; {remedy}")]) from error
        if exposure := reference.exposure:
            log(Event.KEY_EXPOSED, "warning", setting="seal.master_key", reason=exposure)
        return made

    # -- keys ----------------------------------------------------------------------------------------

    def knows(self, domain: Domain) -> bool:
        return domain in self._by_domain

    def load(self, rx: Reader) -> None:
        """Open every key of the store. Raises ConfigError when the master key is another one."""
        table = schema.domain_key.c
        for number, domain, wrapped in rx.raw(sa.select(table.id, table.domain, table.wrapped)):
            if number in self._by_id:
                continue
            try:
                secret = self._master.decrypt(wrapped[:12], wrapped[12:], _wrap_bound(domain))
            except InvalidTag:
                raise ConfigError([("seal.master_key", "this is not the key that seals this store; put the right one back")]) from None
            with self._lock:
                self._by_id[number] = self._by_domain[Domain(domain)] = _Key(number, secret, AESGCM(secret))

    def ensure(self, tx: Transaction, domain: Domain) -> None:
        """Make the domain's key unless it is there, and load it."""
        secret, nonce = os.urandom(32), os.urandom(12)
        wrapped = nonce + self._master.encrypt(nonce, secret, _wrap_bound(domain))
        tx.run(schema.insert_new(tx.dialect, schema.domain_key), {"domain": domain, "wrapped": wrapped, "created": tx.now})
        # Not loaded here: the transaction may still be rolled back, and the number with it.

    def probe(self, tx: Transaction) -> None:
        """Leave something under the master key, by which the next start recognises it."""
        self.ensure(tx, _PROBE)

    # -- values --------------------------------------------------------------------------------------

    def seal(self, domain: Domain, purpose: bytes, data: bytes) -> bytes:
        """Seal octets; `purpose` says what they are and of which message."""
        key = self._by_domain[domain]
        nonce = os.urandom(12)
        return _OCTETS.pack(1, key.id, nonce) + key.cipher.encrypt(nonce, data, purpose)

    def open(self, sealed: bytes, purpose: bytes) -> bytes:
        """Raises UnknownKey, SealBroken."""
        try:
            version, number, nonce = _OCTETS.unpack_from(sealed)
        except struct.error:
            raise SealBroken(detail="a sealed value is too short") from None
        if version != 1:
            raise SealBroken(detail=f"unknown seal version {version}")
        try:
            return self._key(number).cipher.decrypt(nonce, sealed[17:], purpose)
        except InvalidTag:
            raise SealBroken(detail=f"a sealed value does not open under key {number}") from None

    def seal_file(self, domain: Domain, purpose: bytes) -> ChunkSeal:
        key = self._by_domain[domain]
        return self._file(key, os.urandom(32), purpose)

    def open_file(self, header: bytes, purpose: bytes) -> ChunkSeal:
        """The cipher of a file that begins with `header`. Raises UnknownKey, SealBroken."""
        if len(header) != FILE_HEADER or header[0] != 2:
            raise SealBroken(detail="not a sealed file")
        _, number, salt = _FILE.unpack(header)
        return self._file(self._key(number), salt, purpose)

    def _file(self, key: _Key, salt: bytes, purpose: bytes) -> ChunkSeal:
        own = HKDF(SHA256(), 32, salt, b"mssgw sealed file").derive(key.secret)
        return ChunkSeal(_FILE.pack(2, key.id, salt), AESGCM(own), purpose)

    def _key(self, number: int) -> _Key:
        try:
            return self._by_id[number]
        except KeyError:
            raise UnknownKey(number) from None


def _wrap_bound(domain: str) -> bytes:
    return b"mssgw domain key\0" + domain.encode()
