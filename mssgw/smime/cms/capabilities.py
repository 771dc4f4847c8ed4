"""SMIMECapabilities: ours, those of others, and the choice that follows from them (RFC 8551 2.5.2, 2.7.1).

Choice per recipient: the capabilities in their last valid mail, then those in the directory, then the safe default
that today's NSS and gpgsm read, AES-256-CBC with RSA PKCS#1 v1.5 (docs/reference/crypto.md 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, x25519

from mssgw.pki import der
from mssgw.smime.errors import SmimeError
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import (
    AES128_CBC,
    AES128_GCM,
    AES256_CBC,
    AES256_GCM,
    CIPHERS,
    OAEP_SHA256,
    SHA256,
    Cipher,
    Oaep,
    identifier,
    read_identifier,
    read_oaep,
)

MAX_CAPABILITIES = 64


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a recipient can read. `ciphers` in the order of their preference, only those we make."""

    ciphers: tuple[Cipher, ...] = ()
    oaep: bool = False


SAFE: Final = Capabilities((AES256_CBC,), oaep=False)
MODERN: Final = Capabilities((AES256_GCM, AES128_GCM, AES256_CBC, AES128_CBC), oaep=True)


@lru_cache(maxsize=256)
def own(holder: Certificate, oaep: bool = True) -> bytes:
    """Our own list, for the signed attribute: strongest first, key management last. `oaep`: the key can unwrap it."""
    entries = [identifier(one.oid) for one in (AES256_GCM, AES128_GCM, AES256_CBC, AES128_CBC)]
    if isinstance(holder.public_key, ec.EllipticCurvePublicKey | x25519.X25519PublicKey):
        entries.append(identifier(oids.ECDH_SHA256, identifier(oids.AES256_WRAP)))  # RFC 5753 6
    elif holder.pss is None:
        if oaep:
            entries += [OAEP_SHA256, identifier(oids.RSA_OAEP, der.sequence())]  # RFC 3560 5: each set of parameters by itself
        entries.append(identifier(oids.RSA, der.NULL))
    return der.sequence(*entries)


@der.lasting(2048)
def read(data: bytes) -> Capabilities:
    """Parse SMIMECapabilities; what we don't know is skipped. Raises DerError."""
    ciphers: list[Cipher] = []
    oaep = False
    for one in der.inside(data, der.whole(data), der.SEQUENCE, MAX_CAPABILITIES):
        oid, parameters = read_identifier(data[one[1] : one[3]])
        cipher = CIPHERS.get(oid)
        if cipher is not None and cipher in MODERN.ciphers and cipher not in ciphers:
            ciphers.append(cipher)
        oaep = oaep or (oid == oids.RSA_OAEP and _with_sha256(parameters))
    return Capabilities(tuple(ciphers), oaep)


def _with_sha256(parameters: bytes) -> bool:
    """Whether these are the parameters of the OAEP that we make: the default ones (RFC 3560 5) mean SHA-1 only."""
    try:
        return read_oaep(parameters) == Oaep(SHA256, SHA256)
    except (SmimeError, der.DerError):
        return False


def stated(data: bytes | None) -> Capabilities | None:
    """The capabilities in stored octets; None when there are none or they can't be read."""
    try:
        return None if data is None else read(data)
    except der.DerError:
        return None


def choose(stated: Capabilities | None, wanted: str = "auto") -> Capabilities:
    """What to use for a recipient with these capabilities, under the setting `smime.cipher`.

    `auto`: AES-256-GCM when they list it, else AES-256-CBC. A forced cipher is used as it is.
    """
    if wanted == "aes256-gcm":
        return MODERN if stated is None else Capabilities((AES256_GCM,), stated.oaep)
    if wanted == "aes256-cbc":
        return Capabilities((AES256_CBC,), bool(stated and stated.oaep))
    if stated is None or not stated.ciphers:
        return SAFE
    best = next((one for one in (AES256_GCM, AES128_GCM, AES256_CBC, AES128_CBC) if one in stated.ciphers), AES256_CBC)
    return Capabilities((best,), stated.oaep)
