"""RecipientInfo, read: which one is ours, and the content key out of it (RFC 5652 6.2, 3560, 5753, 8418, 9629).

The other half of `recipients`. A reader is found by the name that stands in the message, never by trying keys. What can't
be unwrapped after that is `Undecryptable`, whatever the reason (docs/reference/crypto.md 9.12).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from mssgw.pki import der
from mssgw.smime.cms import legacy
from mssgw.smime.cms.recipients import kem_info, shared_info
from mssgw.smime.errors import Reason, SmimeError, Undecryptable
from mssgw.smime.keys.key import Identity
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import name_of, read_identifier, read_oaep

MAX_RECIPIENTS = 2000


@dataclass(frozen=True, slots=True)
class Ours:
    """A RecipientInfo for one of our readers. `unwrap` raises Undecryptable, KeyUnavailable."""

    reader: Identity
    name: str
    unwrap: Callable[[], bytes]


def find(infos: bytes, readers: Sequence[Identity], *, old: bool = False, experimental: bool = False) -> Ours:
    """The first RecipientInfo of the SET that names one of `readers`. `old` takes 3DES key wrap, `experimental` ML-KEM.

    Raises SmimeError (NO_KEY when there is none), DerError.
    """
    names, key_ids = _named(tuple(readers))
    passwords = False
    for info in der.inside(infos, der.whole(infos, der.SET), der.SET, MAX_RECIPIENTS):
        if info[0] == der.SEQUENCE:
            found = _transport(infos, info, names, key_ids)
        elif info[0] == 0xA1:
            found = _agreement(infos, info, names, key_ids, old)
        elif info[0] == 0xA4 and experimental:
            found = _encapsulation(infos, info, names, key_ids)
        else:
            found = None
            passwords = passwords or info[0] in (0xA2, 0xA3)
        if found:
            return found
    raise SmimeError(Reason.NO_KEY, "only for a password or a shared key" if passwords else "no recipient is one of ours")


Names = dict[bytes, Identity]


@lru_cache(maxsize=32)
def _named(readers: tuple[Identity, ...]) -> tuple[Names, Names]:
    """The readers by the two ways a RecipientInfo names them."""
    key_ids = {key_id: one for one in readers if (key_id := one.certificate.key_id)}
    return {one.certificate.issuer_and_serial: one for one in readers}, key_ids


def _match(data: bytes, rid: der.Tlv, names: Names, key_ids: Names) -> Identity | None:
    if rid[0] == der.SEQUENCE:
        return names.get(data[rid[1] : rid[3]])
    return key_ids.get(data[rid[2] : rid[3]]) if rid[0] == 0x80 else None


def _transport(data: bytes, info: der.Tlv, names: Names, key_ids: Names) -> Ours | None:
    fields = der.inside(data, info, der.SEQUENCE, 4)
    if len(fields) != 4:
        raise SmimeError(Reason.MALFORMED, "KeyTransRecipientInfo")
    reader = _match(data, fields[1], names, key_ids)
    if reader is None:
        return None
    oid, parameters = read_identifier(data[fields[2][1] : fields[2][3]])
    wrapped = der.octet_content(data, fields[3])
    if oid == oids.RSA:
        return Ours(reader, "rsa-v1.5", lambda: reader.key.decrypt(wrapped, None))
    if oid == oids.RSA_OAEP:
        hashed = read_oaep(parameters)
        return Ours(reader, "rsa-oaep", lambda: reader.key.decrypt(wrapped, hashed))
    raise SmimeError(Reason.UNSUPPORTED, f"key transport {name_of(oid)}")


# dhSinglePass-stdDH and -cofactorDH are one thing on curves of cofactor 1 (RFC 5753 7.1.4)
_X963: Final[dict[bytes, hashes.HashAlgorithm]] = {
    oids.ECDH_SHA1: hashes.SHA1(),  # noqa: S303 - as a KDF, and what OpenSSL still sends by default
    oids.ECDH_SHA256: hashes.SHA256(),
    oids.ECDH_SHA384: hashes.SHA384(),
    oids.ECDH_SHA512: hashes.SHA512(),
    der.oid("1.3.132.1.14.1"): hashes.SHA256(),
    der.oid("1.3.132.1.14.2"): hashes.SHA384(),
    der.oid("1.3.132.1.14.3"): hashes.SHA512(),
}
_HKDF: Final[dict[bytes, hashes.HashAlgorithm]] = {
    oids.ECDH_HKDF_SHA256: hashes.SHA256(),
    oids.ECDH_HKDF_SHA384: hashes.SHA384(),
    oids.ECDH_HKDF_SHA512: hashes.SHA512(),
}
_WRAPS: Final = {oids.AES128_WRAP: 16, oids.AES192_WRAP: 24, oids.AES256_WRAP: 32}


def _agreement(data: bytes, info: der.Tlv, names: Names, key_ids: Names, old: bool) -> Ours | None:
    fields = der.inside(data, info, 0xA1, 5)
    ukm = None
    if len(fields) == 5 and fields[2][0] == 0xA1:
        ukm = der.octet_content(data, der.inside(data, fields[2], 0xA1, 1, 1)[0])
        del fields[2]
    if len(fields) != 4 or fields[1][0] != 0xA0:
        raise SmimeError(Reason.MALFORMED, "KeyAgreeRecipientInfo")
    _version, originator, algorithm, keys = fields
    for one in der.inside(data, keys, der.SEQUENCE, MAX_RECIPIENTS):
        rid, wrapped = der.inside(data, one, der.SEQUENCE, 2, 2)
        if rid[0] == 0xA0:  # RecipientKeyIdentifier
            key_id = der.inside(data, rid, 0xA0, 3, 1)[0]
            reader = key_ids.get(der.octet_content(data, key_id))
        else:
            reader = _match(data, rid, names, key_ids)
        if reader:
            scheme, wrapping = read_identifier(data[algorithm[1] : algorithm[3]])
            return _derived(data, originator, scheme, wrapping, ukm, reader, der.octet_content(data, wrapped), old)
    return None


def _derived(
    data: bytes, originator: der.Tlv, scheme: bytes, wrapping: bytes, ukm: bytes | None, reader: Identity, wrapped: bytes, old: bool
) -> Ours:
    wrap_oid = read_identifier(wrapping)[0] if wrapping else b""
    if wrap_oid == oids.DES3_WRAP and not old:
        raise SmimeError(Reason.WEAK, "3DES key wrap")
    if (scheme not in _X963 and scheme not in _HKDF) or (wrap_oid not in _WRAPS and wrap_oid != oids.DES3_WRAP):
        raise SmimeError(Reason.UNSUPPORTED, f"key agreement {name_of(scheme)}")
    size = _WRAPS.get(wrap_oid, 24)
    key = der.inside(data, originator, 0xA0, 1, 1)[0]
    if key[0] != 0xA1:
        raise SmimeError(Reason.UNSUPPORTED, "key agreement with a static originator key")
    _algorithm, point = der.inside(data, key, 0xA1, 2, 2)
    if point[0] != der.BIT_STRING or data[point[2] : point[2] + 1] != b"\0":
        raise SmimeError(Reason.MALFORMED, "originator key")
    raw = data[point[2] + 1 : point[3]]
    info = shared_info(wrapping, ukm, size)

    def unwrap() -> bytes:
        secret = reader.key.agree(_point(raw, reader))
        if scheme in _X963:
            wrap_key = X963KDF(_X963[scheme], size, info).derive(secret)
        else:
            wrap_key = HKDF(_HKDF[scheme], size, ukm, info).derive(secret)  # RFC 8418 2.2: ukm is the salt
        if wrap_oid == oids.DES3_WRAP:
            return legacy.unwrap_3des(wrap_key, wrapped)
        return _aes_unwrap(wrap_key, wrapped)

    return Ours(reader, name_of(scheme), unwrap)


def _point(raw: bytes, reader: Identity) -> Any:
    """The ephemeral public key, on the curve of ours: a point that is not on it is refused (docs/reference/crypto.md 9.15)."""
    mine = reader.certificate.public_key
    try:
        if isinstance(mine, ec.EllipticCurvePublicKey):
            return ec.EllipticCurvePublicKey.from_encoded_point(mine.curve, raw)
        if isinstance(mine, x25519.X25519PublicKey):
            return x25519.X25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise Undecryptable from None
    raise Undecryptable


def _aes_unwrap(wrap_key: bytes, wrapped: bytes) -> bytes:
    try:
        return aes_key_unwrap(wrap_key, wrapped)
    except (InvalidUnwrap, ValueError):
        raise Undecryptable from None


def _encapsulation(data: bytes, info: der.Tlv, names: Names, key_ids: Names) -> Ours | None:
    oid, value = der.inside(data, info, 0xA4, 2, 2)
    if data[oid[1] : oid[3]] != oids.ORI_KEM:
        return None
    fields = der.inside(data, value, der.SEQUENCE, 9, 8)
    _version, rid, kem, ciphertext, kdf, size, *rest = fields
    ukm = None
    if rest and rest[0][0] == 0xA0:
        ukm = der.octet_content(data, der.inside(data, rest[0], 0xA0, 1, 1)[0])
        del rest[0]
    if len(rest) != 2:
        raise SmimeError(Reason.MALFORMED, "KEMRecipientInfo")
    reader = _match(data, rid, names, key_ids)
    if reader is None:
        return None
    wrapping, wrapped = data[rest[0][1] : rest[0][3]], der.octet_content(data, rest[1])
    mine = {mlkem.MLKEM768PublicKey: oids.ML_KEM_768, mlkem.MLKEM1024PublicKey: oids.ML_KEM_1024}
    named = read_identifier(data[kem[1] : kem[3]])[0]
    hashed = {oids.HKDF_SHA256: hashes.SHA256()}.get(read_identifier(data[kdf[1] : kdf[3]])[0])
    length = der.small_integer(data, size)
    if hashed is None or _WRAPS.get(read_identifier(wrapping)[0]) != length:
        raise SmimeError(Reason.UNSUPPORTED, "key derivation of a KEM recipient")
    if not any(named == one for kind, one in mine.items() if isinstance(reader.certificate.public_key, kind)):
        raise SmimeError(Reason.UNSUPPORTED, f"KEM {name_of(named)}")
    offered, context = der.octet_content(data, ciphertext), kem_info(wrapping, length, ukm)

    def unwrap() -> bytes:
        secret = reader.key.decapsulate(offered)
        return _aes_unwrap(HKDF(hashed, length, None, context).derive(secret), wrapped)

    return Ours(reader, name_of(named), unwrap)
