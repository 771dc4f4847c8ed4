"""Seal: everything that holds mail content is AES-256-GCM at rest, under a key per domain.

The domain's keys are random and stand in the store (`store.keys`), wrapped (AES-256-GCM) by the master key.
Whoever has the database and the files but not the master key reads nothing; dropping a domain's key erases its mail.
This module is cryptography alone: octets in, octets out.

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
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mssgw.core.address import Domain
from mssgw.core.errors import Deferred, Mistake

KEY_OCTETS = 32  # of the master key and of a domain's
CHUNK = 64 * 1024
TAG = 16
_OCTETS = struct.Struct(">BI12s")
_FILE = struct.Struct(">BI32s")
FILE_HEADER = _FILE.size
_NONCE = 12


class UnknownKey(Exception):
    """Sealed under a key this process hasn't loaded yet."""


class SealBroken(Deferred):
    """Sealed octets that don't open: changed, exchanged or cut. Treated as temporary, because a backup may bring them back."""


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


class MasterKey:
    """Wraps the domain keys, each bound to its domain. A wrapped key: nonce (12) | ciphertext and tag."""

    def __init__(self, octets: bytes) -> None:
        """Raises Mistake: not 32 octets."""
        if len(octets) != KEY_OCTETS:
            raise Mistake("seal.octets", wanted=KEY_OCTETS, found=len(octets))
        self._cipher = AESGCM(octets)

    def wrap(self, domain: str, secret: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, secret, _wrap_bound(domain))

    def unwrap(self, domain: str, wrapped: bytes) -> bytes:
        """Raises SealBroken: wrapped by another master key, for another domain, or changed."""
        try:
            return self._cipher.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], _wrap_bound(domain))
        except (InvalidTag, ValueError):
            raise SealBroken(detail=f"the key of {domain!r} does not open under this master key") from None


class MasterKeys:
    """The master key, and the one before it while a change of keys is under way (`seal.former_key`). Safe for threads."""

    def __init__(self, current: MasterKey, former: MasterKey | None = None) -> None:
        self._keys = (current,) if former is None else (current, former)

    @property
    def current(self) -> MasterKey:
        return self._keys[0]

    def replace(self, others: MasterKeys) -> None:
        """Take up other keys, at a reload."""
        self._keys = others._keys

    def that_wrapped(self, domain: str, wrapped: bytes) -> MasterKey:
        """The key that opens it. Raises SealBroken: none does."""
        for key in self._keys:
            try:
                key.unwrap(domain, wrapped)
            except SealBroken:
                continue
            return key
        raise SealBroken(detail=f"the key of {domain!r} does not open under this master key")

    def unwrap(self, domain: str, wrapped: bytes) -> bytes:
        """Raises SealBroken."""
        return self.that_wrapped(domain, wrapped).unwrap(domain, wrapped)


def _wrap_bound(domain: str) -> bytes:
    return b"mssgw domain key\0" + domain.encode()


class Seal:
    """The domain keys that this process has opened. Used from the loop and from the store's threads; keys are only added."""

    def __init__(self) -> None:
        self._by_id: dict[int, _Key] = {}
        self._by_domain: dict[Domain, _Key] = {}

    def has(self, number: int) -> bool:
        return number in self._by_id

    def knows(self, domain: Domain) -> bool:
        return domain in self._by_domain

    def add(self, number: int, domain: Domain, secret: bytes) -> None:
        key = _Key(number, secret, AESGCM(secret))
        self._by_id[number] = key  # before `_by_domain`, because another thread may open at once what that seals
        self._by_domain[domain] = key

    def seal(self, domain: Domain, purpose: bytes, data: bytes) -> bytes:
        """Seal octets; `purpose` names what they are and of which message."""
        key = self._by_domain[domain]
        nonce = os.urandom(_NONCE)
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
            return self._key(number).cipher.decrypt(nonce, sealed[_OCTETS.size :], purpose)
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
