"""RecipientInfo, made: how the content key reaches each reader (RFC 5652 6.2, 5753, 8418, 3560, 9629).

    RSA               KeyTransRecipientInfo, OAEP with SHA-256 or PKCS#1 v1.5
    P-256/384/521     KeyAgreeRecipientInfo, ephemeral-static ECDH, X9.63 KDF with SHA-256 or SHA-384
    X25519            the same, HKDF with SHA-256
    ML-KEM            OtherRecipientInfo with KEMRecipientInfo, experimental

Everything of a RecipientInfo that does not depend on the message is DER once per certificate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, padding, rsa, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from mssgw.pki import der
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import OAEP_SHA256, identifier

_OAEP: Final = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_V15: Final = padding.PKCS1v15()


@dataclass(frozen=True, slots=True)
class Recipient:
    """A reader of one message. `wrap` makes the RecipientInfo around a content key."""

    wrap: Callable[[bytes], bytes]
    version: int  # what it asks of EnvelopedData's version: 0, 2 or 3 (RFC 5652 6.1)
    name: str  # "rsa-oaep", "ecdh-p256", for verdicts and logs


@lru_cache(maxsize=8192)
def recipient(reader: Certificate, *, oaep: bool, experimental: bool = False) -> Recipient:
    """How to reach the holder of a certificate. Raises SmimeError when it must not be encrypted to."""
    reader.require_encryption_use()
    key, kind = reader.public_key, reader.kind
    if kind.experimental and not experimental:
        raise SmimeError(Reason.UNSUPPORTED, f"{kind.name} is experimental and switched off")
    if isinstance(key, rsa.RSAPublicKey):
        return _transport(reader, key, oaep)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _elliptic(reader, key)
    if isinstance(key, x25519.X25519PublicKey):
        return _montgomery(reader, key)
    if isinstance(key, mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey):
        return _encapsulation(reader, key)
    raise SmimeError(Reason.USAGE, "no way to encrypt to this kind of key")


def _transport(reader: Certificate, key: rsa.RSAPublicKey, oaep: bool) -> Recipient:
    size = (key.key_size + 7) // 8
    way, algorithm = (_OAEP, OAEP_SHA256) if oaep else (_V15, identifier(oids.RSA, der.NULL))
    fields = der.integer(0) + reader.issuer_and_serial + algorithm + der.header(der.OCTET_STRING, size)
    prefix = der.header(der.SEQUENCE, len(fields) + size) + fields
    encrypt = key.encrypt

    def wrap(content_key: bytes) -> bytes:
        return prefix + encrypt(content_key, way)

    return Recipient(wrap, 0, "rsa-oaep" if oaep else "rsa-v1.5")


WRAPS: Final = {16: oids.AES128_WRAP, 24: oids.AES192_WRAP, 32: oids.AES256_WRAP}


def shared_info(wrap_algorithm: bytes, ukm: bytes | None, wrap_size: int) -> bytes:
    """ECC-CMS-SharedInfo (RFC 5753 7.2)."""
    return der.sequence(
        wrap_algorithm,
        der.explicit(0, der.octets(ukm)) if ukm is not None else b"",
        der.explicit(2, der.octets((wrap_size * 8).to_bytes(4, "big"))),
    )


def _agreement(
    reader: Certificate,
    scheme: bytes,
    wrap_size: int,
    *,
    key_oid: bytes,
    agree: Callable[[], tuple[bytes, bytes]],
    derive: Callable[[bytes, bytes], bytes],
    name: str,
) -> Recipient:
    """A KeyAgreeRecipientInfo; `agree` gives (ephemeral public point, shared secret), `derive` the wrapping key."""
    wrapping = identifier(WRAPS[wrap_size])
    algorithm = identifier(scheme, wrapping)
    info = shared_info(wrapping, None, wrap_size)
    version, rid, origin = der.integer(3), reader.issuer_and_serial, der.sequence(key_oid)

    def wrap(content_key: bytes) -> bytes:
        point, secret = agree()
        wrapped = aes_key_wrap(derive(secret, info), content_key)
        originator = der.explicit(0, der.explicit(1, origin, der.tlv(der.BIT_STRING, b"\x00", point)))
        return der.explicit(1, version, originator, algorithm, der.sequence(der.sequence(rid, der.octets(wrapped))))

    return Recipient(wrap, 2, name)


def _elliptic(reader: Certificate, key: ec.EllipticCurvePublicKey) -> Recipient:
    strong = key.key_size > 256
    curve, exchange = key.curve, ec.ECDH()
    wrap_size = 32

    def agree() -> tuple[bytes, bytes]:
        ephemeral = ec.generate_private_key(curve)
        point = ephemeral.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        return point, ephemeral.exchange(exchange, key)

    def derive(secret: bytes, info: bytes) -> bytes:
        return X963KDF(hashes.SHA384() if strong else hashes.SHA256(), wrap_size, info).derive(secret)

    scheme = oids.ECDH_SHA384 if strong else oids.ECDH_SHA256
    # RFC 5753 7.1.2: the originator key names no curve, it is the recipient's
    return _agreement(reader, scheme, wrap_size, key_oid=oids.EC_PUBLIC_KEY, agree=agree, derive=derive, name=f"ecdh-{reader.kind.label}")


def _montgomery(reader: Certificate, key: x25519.X25519PublicKey) -> Recipient:
    def agree() -> tuple[bytes, bytes]:
        ephemeral = x25519.X25519PrivateKey.generate()
        return ephemeral.public_key().public_bytes_raw(), ephemeral.exchange(key)

    def derive(secret: bytes, info: bytes) -> bytes:
        return HKDF(hashes.SHA256(), 32, None, info).derive(secret)  # RFC 8418 2.2: no ukm, no salt

    return _agreement(reader, oids.ECDH_HKDF_SHA256, 32, key_oid=oids.X25519, agree=agree, derive=derive, name="ecdh-x25519")


def kem_info(wrap_algorithm: bytes, size: int, ukm: bytes | None) -> bytes:
    """CMSORIforKEMOtherInfo (RFC 9629 5)."""
    return der.sequence(wrap_algorithm, der.integer(size), der.explicit(0, der.octets(ukm)) if ukm is not None else b"")


def _encapsulation(reader: Certificate, key: Any) -> Recipient:
    """RFC 9936 2.2: HKDF with SHA-256 and AES-256 key wrap."""
    wide = isinstance(key, mlkem.MLKEM1024PublicKey)
    kem = identifier(oids.ML_KEM_1024 if wide else oids.ML_KEM_768)
    wrapping = identifier(oids.AES256_WRAP)
    version, rid, kdf = der.integer(0), reader.issuer_and_serial, identifier(oids.HKDF_SHA256)
    info = kem_info(wrapping, 32, None)

    def wrap(content_key: bytes) -> bytes:
        secret, ciphertext = key.encapsulate()
        wrapped = aes_key_wrap(HKDF(hashes.SHA256(), 32, None, info).derive(secret), content_key)
        body = der.sequence(version, rid, kem, der.octets(ciphertext), kdf, der.integer(32), wrapping, der.octets(wrapped))
        return der.explicit(4, oids.ORI_KEM, body)

    return Recipient(wrap, 3, "ml-kem-1024" if wide else "ml-kem-768")
