"""Sealing at rest: patient data in the store open only with a key that is not in the store.

The embedding program gives one 32-octet key. Under it stand two random keys in `dmp_keys`, wrapped: one seals
values (AES-256-GCM, NIST SP 800-38D), one makes the tokens by which a patient's rows are found (HMAC-SHA-256 of
the CX; without the key nobody can try all INS against them).

    sealed value   version 1 | number of the key (4) | nonce (12) | ciphertext and tag
    wrapped key    nonce (12) | ciphertext and tag, bound to its kind

Every value is bound to the table, the column and the row it belongs to, so rows can't be exchanged. A new key
of the program re-wraps the two (`StoreKeys.former`); `DmpStore.rotate` replaces the two and rewrites every row.
Random nonces allow 2^32 values under one key; a store of this kind writes some thousands a day.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dmp_connector.errors import BadSettings, DmpError
from dmp_connector.texts import message

KEY_OCTETS = 32
_NONCE = 12
_HEAD = struct.Struct(">BI12s")
_VERSION = 1


class SealBroken(DmpError):
    """A value that does not open: changed, moved to another row, or cut. Nothing was changed; a backup may have the right one."""

    key = "error.seal-broken"


@dataclass(frozen=True, slots=True)
class StoreKeys:
    """The program's key, 32 octets, and those it had before (only to open a store they sealed)."""

    current: bytes = field(repr=False)
    former: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if any(len(key) != KEY_OCTETS for key in (self.current, *self.former)):
            raise BadSettings(message("store.key-store-octets", key_octets=KEY_OCTETS))


class Wrapped(NamedTuple):
    """A row of `dmp_keys`."""

    number: int
    kind: str
    wrapped: bytes


VALUES, TOKENS = "values", "tokens"


class Vault:
    """The opened keys of one store. Safe for threads: it never changes."""

    def __init__(self, number: int, values: bytes, tokens: bytes) -> None:
        self.number, self._cipher, self._tokens = number, AESGCM(values), tokens

    def token(self, cx: str) -> str:
        """64 hex digits that find the rows of a patient; "" for none."""
        return hmac.new(self._tokens, cx.encode(), hashlib.sha256).hexdigest() if cx else ""

    def seal(self, data: bytes, *bound: str) -> bytes:
        """`bound`: table, column and what names the row."""
        nonce = os.urandom(_NONCE)
        return _HEAD.pack(_VERSION, self.number, nonce) + self._cipher.encrypt(nonce, data, _joined(bound))

    def open(self, sealed: bytes, *bound: str) -> bytes:
        """Raises SealBroken naming table and column, never the row."""
        where = " ".join(bound[:2])
        try:
            version, number, nonce = _HEAD.unpack_from(sealed)
        except struct.error:
            raise SealBroken(log=f"{where}: too short") from None
        if (version, number) != (_VERSION, self.number):
            raise SealBroken(log=f"{where}: sealed in form {version} under key {number}")
        try:
            return self._cipher.decrypt(nonce, sealed[_HEAD.size :], _joined(bound))
        except InvalidTag:
            raise SealBroken(log=f"{where}: does not open") from None


def new_vault(keys: StoreKeys, number: int) -> tuple[Vault, tuple[Wrapped, Wrapped]]:
    """Two fresh keys, and the rows that keep them."""
    values, tokens = os.urandom(KEY_OCTETS), os.urandom(KEY_OCTETS)
    rows = (Wrapped(number, VALUES, _wrap(keys.current, VALUES, values)), Wrapped(number, TOKENS, _wrap(keys.current, TOKENS, tokens)))
    return Vault(number, values, tokens), rows


def open_vault(keys: StoreKeys, rows: Sequence[Wrapped]) -> tuple[Vault, tuple[Wrapped, ...]]:
    """The vault of a store, and the rows to write back when a former key opened it (else none).

    Raises BadSettings: none of the keys opens it. Nothing is changed then.
    """
    number = max(row.number for row in rows)
    kept = {row.kind: row.wrapped for row in rows if row.number == number}
    if kept.keys() != {VALUES, TOKENS}:
        raise BadSettings(message("store.store-s-own-keys-incomplete"))
    for master in (keys.current, *keys.former):
        try:
            values, tokens = (_unwrap(master, kind, kept[kind]) for kind in (VALUES, TOKENS))
        except InvalidTag:
            continue
        again = [Wrapped(number, VALUES, _wrap(keys.current, VALUES, values)), Wrapped(number, TOKENS, _wrap(keys.current, TOKENS, tokens))]
        return Vault(number, values, tokens), () if master == keys.current else tuple(again)
    raise BadSettings(message("store.not-key-seals-dmp-store"))


def _wrapping(master: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_OCTETS, None, b"dmp_connector store").derive(master))


def _wrap(master: bytes, kind: str, secret: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + _wrapping(master).encrypt(nonce, secret, kind.encode())


def _unwrap(master: bytes, kind: str, wrapped: bytes) -> bytes:
    return _wrapping(master).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], kind.encode())


def _joined(bound: Sequence[str]) -> bytes:
    """Unambiguous: each part is preceded by its length."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in (text.encode() for text in bound))
