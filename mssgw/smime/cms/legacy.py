"""3DES and RC2 of old messages (RFC 3370, RFC 3217, RFC 2268): read only with `smime.legacy`, never made.

Neither protects anything today. The library no longer has RC2 of less than 128 bits, so the cipher is implemented here; in
Python it takes a second for 800 kB, and longer messages are refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import struct
import warnings
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher as Primitive
from cryptography.hazmat.primitives.ciphers import modes

from mssgw.pki import der
from mssgw.smime.errors import Reason, SmimeError, Undecryptable
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import RC2, Cipher

MAX_SLOW: Final = 512 * 1024  # octets decrypted by the RC2 of this file
_BITS: Final = {160: 40, 120: 64, 58: 128}  # RC2ParameterVersion -> effective key bits (RFC 3370 5.2)


def read_rc2(parameters: bytes) -> tuple[Cipher, bytes]:
    """(cipher with its effective bits, initialisation vector) of RC2CBCParameter. Raises SmimeError, DerError."""
    version, vector = der.inside(parameters, der.whole(parameters), der.SEQUENCE, 2, 2)
    bits = _BITS.get(der.small_integer(parameters, version))
    if bits is None:
        raise SmimeError(Reason.UNSUPPORTED, "RC2 with other than 40, 64 or 128 bits")
    return dataclasses.replace(RC2, name=f"rc2-{bits}-cbc", key_size=bits // 8), der.octet_content(parameters, vector)


def decryptor(cipher: Cipher, key: bytes, vector: bytes) -> Any:
    """CBC with `update` and `finalize`. Raises SmimeError."""
    if cipher.oid == oids.RC2_CBC and cipher.key_size < 16:
        return SmallRc2(key, cipher.key_size * 8, vector)
    try:
        return Primitive(_primitive(cipher.oid, key), modes.CBC(vector)).decryptor()
    except UnsupportedAlgorithm as error:
        raise SmimeError(Reason.UNSUPPORTED, cipher.name) from error


def _primitive(oid: bytes, key: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cryptography.hazmat.decrepit.ciphers import algorithms as decrepit

        return decrepit.TripleDES(key) if oid == oids.DES_EDE3_CBC else decrepit.RC2(key)


def unwrap_3des(wrap_key: bytes, wrapped: bytes) -> bytes:
    """Triple-DES key wrap, undone (RFC 3217 3.2). Raises Undecryptable."""
    if len(wrapped) % 8 or not 32 <= len(wrapped) <= 48:  # 40 is a 3DES key; OpenSSL wraps AES keys with it too
        raise Undecryptable
    inside_out = _cbc(wrap_key, bytes.fromhex("4adda22c79e82105"), wrapped)[::-1]
    plain = _cbc(wrap_key, inside_out[:8], inside_out[8:])
    key, check = plain[:-8], plain[-8:]
    if not hmac.compare_digest(hashlib.sha1(key, usedforsecurity=False).digest()[:8], check):
        raise Undecryptable
    return key


def _cbc(key: bytes, vector: bytes, data: bytes) -> bytes:
    worker = Primitive(_primitive(oids.DES_EDE3_CBC, key), modes.CBC(vector)).decryptor()
    return worker.update(data) + worker.finalize()


# --- RC2 (RFC 2268) -----------------------------------------------------------------------------------------------------

_PI: Final = bytes.fromhex(  # RFC 2268 2: the digits of pi, as a permutation of the octets
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb6266fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ecc2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a90d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)
_HALF: Final = (63, 43, 19)  # the first round of each run of mixing, counted downwards; between them a mashing round


def expanded(key: bytes, bits: int) -> tuple[int, ...]:
    """The 64 words of a key with that many effective bits (RFC 2268 2)."""
    table = bytearray(key)
    while len(table) < 128:
        table.append(_PI[(table[-1] + table[-len(key)]) & 255])
    used = (bits + 7) // 8
    table[128 - used] = _PI[table[128 - used] & 255 >> (8 * used - bits)]
    for at in range(127 - used, -1, -1):
        table[at] = _PI[table[at + 1] ^ table[at + used]]
    return struct.unpack("<64H", table)


class SmallRc2:
    """RC2 in CBC mode, decrypting."""

    def __init__(self, key: bytes, bits: int, vector: bytes) -> None:
        self._words = expanded(key, bits)
        self._last, self._rest, self._done = vector, b"", 0

    def update(self, chunk: bytes | memoryview) -> bytes:
        data = self._rest + bytes(chunk)
        whole = len(data) // 8 * 8
        self._done += whole
        if self._done > MAX_SLOW:
            raise SmimeError(Reason.LIMIT, f"RC2 over {MAX_SLOW} octets")
        made = []
        for at in range(0, whole, 8):
            block = data[at : at + 8]
            made.append((self._block(block) ^ int.from_bytes(self._last, "little")).to_bytes(8, "little"))
            self._last = block
        self._rest = data[whole:]
        return b"".join(made)

    def finalize(self) -> bytes:
        """Raises ValueError, as the library does, when the last block is not whole."""
        if self._rest:
            raise ValueError("not whole blocks")
        return b""

    def _block(self, block: bytes) -> int:
        words = self._words
        a, b, c, d = (int.from_bytes(block[at : at + 2], "little") for at in (0, 2, 4, 6))
        for top, rounds in zip(_HALF, (5, 6, 5), strict=True):
            for at in range(top, top - 4 * rounds, -4):
                d = (d >> 5 | d << 11) - words[at] - (c & b) - (~c & a) & 65535
                c = (c >> 3 | c << 13 & 65535) - words[at - 1] - (b & a) - (~b & d) & 65535
                b = (b >> 2 | b << 14 & 65535) - words[at - 2] - (a & d) - (~a & c) & 65535
                a = (a >> 1 | a << 15 & 65535) - words[at - 3] - (d & c) - (~d & b) & 65535
            if top != 19:
                d = d - words[c & 63] & 65535
                c = c - words[b & 63] & 65535
                b = b - words[a & 63] & 65535
                a = a - words[d & 63] & 65535
        return a | b << 16 | c << 32 | d << 48
