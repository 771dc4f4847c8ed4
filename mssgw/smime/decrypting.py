"""EnvelopedData and AuthEnvelopedData, read (RFC 5652 6, 5083, 5084, 5753, 8418, 3560, 9629).

Order: find our RecipientInfo by its identifier, unwrap the content key, decrypt as a stream into a sink
that nobody else sees, check tag or padding last. From the moment a RecipientInfo is ours every failure
is the same `Undecryptable`, and a key that can't be unwrapped is replaced by a random one so that the
content is gone through all the same: no oracle in text or in time (crypto.md 9, 2, 3, 12, 13).

AuthEnvelopedData takes AES-GCM with a nonce of 12 octets and a tag of 16 and nothing else, EnvelopedData
never takes GCM: the lesson of CVE-2026-34182.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.ciphers import Cipher as Primitive
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from mssgw.core.config.smime import Smime
from mssgw.smime import der, legacy, oids
from mssgw.smime.algorithms import CIPHERS, Cipher, name_of, read_identifier, read_oaep
from mssgw.smime.ber import Stream
from mssgw.smime.enveloped import NONCE, TAG, Octets, Write
from mssgw.smime.errors import Reason, SmimeError, Undecryptable
from mssgw.smime.keys import Identity
from mssgw.smime.recipients import kem_info, shared_info

MAX_RECIPIENTS = 2000


@dataclass(frozen=True, slots=True)
class Decrypted:
    """How a message was hidden. The plaintext is in the sink."""

    cipher: Cipher
    transport: str  # "rsa-oaep", "ecdh-sha256", ...
    reader: Identity
    content_type: bytes  # OID of what was inside

    @property
    def authenticated(self) -> bool:
        return self.cipher.authenticated


@dataclass(frozen=True, slots=True)
class Reading:
    """What we are ready to read: policy as data."""

    legacy: bool = False  # 3DES and RC2 (crypto.md 2.1)
    experimental: bool = False  # ML-KEM, ML-DSA

    @classmethod
    def of(cls, settings: Smime) -> Reading:
        return cls(settings.legacy, settings.experimental)


MODERN: Final = Reading()


def decrypt(source: Callable[[], Stream], readers: Sequence[Identity], write: Callable[[], Write], reading: Reading = MODERN) -> Decrypted:
    """Decrypt the ContentInfo that `source()` streams into `write()`.

    Both are called again when authenticated attributes after the content make a second pass necessary.
    Raises SmimeError (NO_KEY when no recipient is one of `readers`), Undecryptable, KeyUnavailable.
    """
    found = _pass(source(), readers, write(), reading, b"")
    if isinstance(found, bytes):
        found = _pass(source(), readers, write(), reading, found)
    assert isinstance(found, Decrypted)
    return found


def _pass(stream: Stream, readers: Sequence[Identity], write: Write, reading: Reading, additional: bytes) -> Decrypted | bytes:
    """One pass. Answers the authenticated attributes when they are needed and were not given."""
    stream.enter(der.SEQUENCE)
    kind = stream.element(64)
    if kind not in (oids.ENVELOPED_DATA, oids.AUTH_ENVELOPED_DATA):
        raise SmimeError(Reason.UNSUPPORTED, f"content type {_oid_name(kind)}")
    stream.enter(0xA0)
    stream.enter(der.SEQUENCE)
    stream.element(16)  # version: says nothing the structure doesn't
    if stream.peek() == 0xA0:
        stream.element()  # originatorInfo: certificates we don't use
    infos = stream.element()
    stream.enter(der.SEQUENCE)
    content_type = stream.element(64)
    cipher, nonce = _read_cipher(stream.element(256), kind == oids.AUTH_ENVELOPED_DATA, reading)
    ours = _find(infos, readers, reading)
    key = _unwrap(ours, cipher)
    decryptor = _decryptor(cipher, key, nonce)
    if additional:
        decryptor.authenticate_additional_data(additional)
    if stream.peek() not in (0x80, 0xA0):
        raise SmimeError(Reason.MALFORMED, "no encrypted content")
    held = _pour(stream.octets(0x80), decryptor, write, cipher)
    stream.leave()
    attributes, tag = _after_content(stream, kind)
    if attributes and not additional:
        _check_attributes(attributes, content_type)
        return b"\x31" + attributes[1:]  # RFC 5083 2.2: the DER of a SET is what is authenticated
    stream.leave()
    stream.leave()
    stream.leave()
    stream.finish()
    _conclude(decryptor, cipher, tag, held, write)
    return Decrypted(cipher, ours.name, ours.reader, content_type)


def _oid_name(element: bytes) -> str:
    return name_of(element) if element[:1] == b"\x06" else "unreadable"


def _after_content(stream: Stream, kind: bytes) -> tuple[bytes, bytes]:
    """(authAttrs or b"", mac or b"")."""
    if kind == oids.ENVELOPED_DATA:
        while stream.more():
            stream.element()  # unprotectedAttrs
        return b"", b""
    attributes = stream.element() if stream.peek() == 0xA1 else b""
    mac = stream.element(64)
    while stream.more():
        stream.element()  # unauthAttrs
    return attributes, der.octet_content(mac, der.whole(mac, mac[0]))


def _check_attributes(attributes: bytes, content_type: bytes) -> None:
    """RFC 5083 2.1: a content type attribute must say what the structure says."""
    for one in der.inside(attributes, der.whole(attributes, 0xA1), 0xA1):
        oid, values = der.inside(attributes, one, der.SEQUENCE, 2, 2)
        if attributes[oid[1] : oid[3]] == oids.CONTENT_TYPE and attributes[values[2] : values[3]] != content_type:
            raise SmimeError(Reason.ATTRIBUTES, "authenticated content type differs")


# --- content cipher -----------------------------------------------------------------------------------------------------


def _read_cipher(algorithm: bytes, authenticated: bool, reading: Reading) -> tuple[Cipher, bytes]:
    oid, parameters = read_identifier(algorithm)
    cipher = CIPHERS.get(oid)
    if cipher is None or cipher.authenticated != authenticated:
        raise SmimeError(Reason.UNSUPPORTED, f"content cipher {name_of(oid)} in this structure")
    if cipher.legacy and not reading.legacy:
        raise SmimeError(Reason.WEAK, cipher.name)
    if authenticated:
        fields = der.inside(parameters, der.whole(parameters), der.SEQUENCE, 2, 1)
        nonce = der.octet_content(parameters, fields[0])
        tag = der.small_integer(parameters, fields[1]) if len(fields) > 1 else 12  # RFC 5084 3.2: DEFAULT 12
        if len(nonce) != NONCE or tag != TAG:
            raise SmimeError(Reason.WEAK, f"GCM with a nonce of {len(nonce)} and a tag of {tag} octets")
        return cipher, nonce
    if oid == oids.RC2_CBC:
        cipher, nonce = legacy.read_rc2(parameters)
    else:
        nonce = der.octet_content(parameters, der.whole(parameters, der.OCTET_STRING))
    if len(nonce) != cipher.block:
        raise SmimeError(Reason.MALFORMED, f"initialisation vector of {len(nonce)} octets")
    return cipher, nonce


def _decryptor(cipher: Cipher, key: bytes, nonce: bytes) -> Any:
    if cipher.authenticated:
        return Primitive(algorithms.AES(key), modes.GCM(nonce)).decryptor()
    if not cipher.legacy:
        return Primitive(algorithms.AES(key), modes.CBC(nonce)).decryptor()
    return legacy.decryptor(cipher, key, nonce)


def _pour(chunks: Iterable[Octets], decryptor: Any, write: Write, cipher: Cipher) -> bytes:
    """Decrypt all chunks; with CBC the last block is held back, it may be padding."""
    update = decryptor.update
    if cipher.authenticated:
        for chunk in chunks:
            write(update(chunk))
        return b""
    held = b""
    for chunk in chunks:
        if plain := update(chunk):
            if held:
                write(held)
            held = plain[-cipher.block :]
            write(memoryview(plain)[: -cipher.block])
    return held


def _conclude(decryptor: Any, cipher: Cipher, tag: bytes, held: bytes, write: Write) -> None:
    try:
        if cipher.authenticated:
            if len(tag) != TAG:
                raise Undecryptable
            decryptor.finalize_with_tag(tag)
            return
        decryptor.finalize()
    except (InvalidTag, ValueError):
        raise Undecryptable from None
    pad = held[-1] if held else 0
    if len(held) != cipher.block or not 1 <= pad <= cipher.block or not hmac.compare_digest(held[-pad:], bytes((pad,)) * pad):
        raise Undecryptable
    write(held[:-pad])


# --- recipients ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ours:
    reader: Identity
    name: str
    unwrap: Callable[[], bytes]


def _unwrap(ours: _Ours, cipher: Cipher) -> bytes:
    """The content key, or a random one when it can't be had (crypto.md 9, 12)."""
    spare = os.urandom(cipher.key_size)
    try:
        key = ours.unwrap()
    except Undecryptable:
        return spare
    if cipher.oid == oids.DES_EDE3_CBC and len(key) == 16:
        key += key[:8]
    return key if len(key) == cipher.key_size else spare


def _find(infos: bytes, readers: Sequence[Identity], reading: Reading) -> _Ours:
    """Our RecipientInfo: matched by identifier only, never by trying keys. Raises SmimeError."""
    names, key_ids = _named(tuple(readers))
    passwords = False
    for info in der.inside(infos, der.whole(infos, der.SET), der.SET, MAX_RECIPIENTS):
        if info[0] == der.SEQUENCE:
            found = _transport(infos, info, names, key_ids)
        elif info[0] == 0xA1:
            found = _agreement(infos, info, names, key_ids, reading.legacy)
        elif info[0] == 0xA4 and reading.experimental:
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


def _transport(data: bytes, info: der.Tlv, names: Names, key_ids: Names) -> _Ours | None:
    fields = der.inside(data, info, der.SEQUENCE, 4)
    if len(fields) != 4:
        raise SmimeError(Reason.MALFORMED, "KeyTransRecipientInfo")
    reader = _match(data, fields[1], names, key_ids)
    if reader is None:
        return None
    oid, parameters = read_identifier(data[fields[2][1] : fields[2][3]])
    wrapped = der.octet_content(data, fields[3])
    if oid == oids.RSA:
        return _Ours(reader, "rsa-v1.5", lambda: reader.key.decrypt(wrapped, None))
    if oid == oids.RSA_OAEP:
        hashed = read_oaep(parameters)
        return _Ours(reader, "rsa-oaep", lambda: reader.key.decrypt(wrapped, hashed))
    raise SmimeError(Reason.UNSUPPORTED, f"key transport {name_of(oid)}")


# dhSinglePass-stdDH and -cofactorDH are one thing on curves of cofactor 1 (RFC 5753 7.1.4)
_X963: Final[dict[bytes, hashes.HashAlgorithm]] = {
    oids.ECDH_SHA1: hashes.SHA1(),  # noqa: S303 - as a KDF, and what OpenSSL still sends by default
    oids.ECDH_SHA256: hashes.SHA256(), oids.ECDH_SHA384: hashes.SHA384(), oids.ECDH_SHA512: hashes.SHA512(),
    der.oid("1.3.132.1.14.1"): hashes.SHA256(), der.oid("1.3.132.1.14.2"): hashes.SHA384(), der.oid("1.3.132.1.14.3"): hashes.SHA512(),
}
_HKDF: Final[dict[bytes, hashes.HashAlgorithm]] = {
    oids.ECDH_HKDF_SHA256: hashes.SHA256(), oids.ECDH_HKDF_SHA384: hashes.SHA384(), oids.ECDH_HKDF_SHA512: hashes.SHA512(),
}
_WRAPS: Final = {oids.AES128_WRAP: 16, oids.AES192_WRAP: 24, oids.AES256_WRAP: 32}


def _agreement(data: bytes, info: der.Tlv, names: Names, key_ids: Names, old: bool) -> _Ours | None:
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


def _derived(data: bytes, originator: der.Tlv, scheme: bytes, wrapping: bytes, ukm: bytes | None,
             reader: Identity, wrapped: bytes, old: bool) -> _Ours:
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

    return _Ours(reader, name_of(scheme), unwrap)


def _point(raw: bytes, reader: Identity) -> Any:
    """The ephemeral public key, on the curve of ours: a point that is not on it is refused (crypto.md 9, 15)."""
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


def _encapsulation(data: bytes, info: der.Tlv, names: Names, key_ids: Names) -> _Ours | None:
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

    return _Ours(reader, name_of(named), unwrap)
