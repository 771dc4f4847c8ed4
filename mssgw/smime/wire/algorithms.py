"""Algorithms: their identifiers on the wire, what we make, what we accept, what we only read.

One table for each kind. What stands in none is refused with its OID named (`Reason.UNSUPPORTED`); what
is known to be broken is refused as `Reason.WEAK` (docs/reference/crypto.md 9.16). Parameters are compared octet by octet
where only one form is right, and parsed strictly where there is a choice (PSS, OAEP): docs/reference/crypto.md 9.14.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa

from mssgw.pki import der
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.wire import oids

ABSENT: Final = b""
MAX_SALT: Final = 1024


def identifier(oid: bytes, parameters: bytes = ABSENT) -> bytes:
    """AlgorithmIdentifier, DER."""
    return der.sequence(oid, parameters)


def split_identifier(data: bytes) -> tuple[bytes, bytes]:
    """(OID with tag and length, parameters with tag and length or b"") of an AlgorithmIdentifier. Raises DerError."""
    parts = der.inside(data, der.whole(data), der.SEQUENCE, 2)
    if not parts or parts[0][0] != der.OID:
        raise der.DerError("algorithm identifier without an OID")
    return data[parts[0][1] : parts[0][3]], data[parts[1][1] : parts[1][3]] if len(parts) > 1 else ABSENT


read_identifier = der.lasting(256)(split_identifier)
"""`split_identifier` for those that come again: nearly all, but for the nonce of a content cipher."""


def name_of(oid: bytes) -> str:
    """A name for people: ours, or the dotted form."""
    return _NAMES.get(oid) or der.dotted(oid[2:])


# --- digests ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Digest:
    name: str  # hashlib's
    oid: bytes
    micalg: str  # RFC 8551 3.5.3.2

    @property
    def hash(self) -> hashes.HashAlgorithm:
        return _HASHES[self.name]

    @property
    def identifier(self) -> bytes:
        return identifier(self.oid)  # RFC 5754 2: parameters absent


_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - to read old signatures; none is made
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
SHA256 = Digest("sha256", oids.SHA256, "sha-256")
SHA384 = Digest("sha384", oids.SHA384, "sha-384")
SHA512 = Digest("sha512", oids.SHA512, "sha-512")
DIGESTS: Final = {one.oid: one for one in (SHA256, SHA384, SHA512)}
_WEAK: Final = {oids.SHA1: "SHA-1", oids.MD5: "MD5", oids.RSA_SHA1: "SHA-1", oids.SHA224: "SHA-224"}


def digest_named(name: str) -> Digest:
    return next(one for one in DIGESTS.values() if one.name == name)


def read_digest(data: bytes) -> Digest:
    """The digest an AlgorithmIdentifier names; parameters absent or NULL (RFC 5754 2). Raises SmimeError, DerError."""
    oid, parameters = read_identifier(data)
    found = DIGESTS.get(oid)
    if found is None:
        raise _refusal(oid)
    if parameters not in (ABSENT, der.NULL):
        raise SmimeError(Reason.MALFORMED, f"{found.name} with parameters")
    return found


def _refusal(oid: bytes) -> SmimeError:
    if oid in _WEAK:
        return SmimeError(Reason.WEAK, _WEAK[oid])
    return SmimeError(Reason.UNSUPPORTED, name_of(oid))


@dataclass(frozen=True, slots=True)
class Oaep:
    """RSAES-OAEP without a label: the hash, and the hash of its mask function MGF1 (RFC 4055 4.1)."""

    digest: Digest
    mask: Digest


SHA1: Final = Digest("sha1", oids.SHA1, "sha-1")  # inside OAEP only, where it is sound


def _oaep_sha256() -> bytes:
    hashed = identifier(oids.SHA256, der.NULL)
    return identifier(
        oids.RSA_OAEP,
        der.sequence(  # RFC 4055 4.1; pSource is the default
            der.explicit(0, hashed), der.explicit(1, identifier(oids.MGF1, hashed))
        ),
    )


OAEP_SHA256: Final = _oaep_sha256()  # the one we make


@der.lasting(256, 64)
def read_oaep(parameters: bytes) -> Oaep:
    """RSAES-OAEP-params (RFC 4055 4.1), empty label. SHA-1, the default, is sound here and read; so are two different hashes."""
    if parameters in (ABSENT, der.NULL):
        return Oaep(SHA1, SHA1)
    fields = {one[0]: parameters[one[2] : one[3]] for one in der.inside(parameters, der.whole(parameters), der.SEQUENCE, 3)}
    digest = _oaep_digest(fields[0xA0]) if 0xA0 in fields else SHA1
    mask = SHA1
    if 0xA1 in fields:
        oid, of = read_identifier(fields[0xA1])
        if oid != oids.MGF1 or not of:
            raise SmimeError(Reason.UNSUPPORTED, "OAEP mask function")
        mask = _oaep_digest(of)
    if 0xA2 in fields:
        oid, label = read_identifier(fields[0xA2])
        if oid != oids.P_SPECIFIED or label != der.octets(b""):
            raise SmimeError(Reason.UNSUPPORTED, "OAEP with a label")
    return Oaep(digest, mask)


def _oaep_digest(data: bytes) -> Digest:
    return SHA1 if read_identifier(data)[0] == oids.SHA1 else read_digest(data)


# --- signatures ---------------------------------------------------------------------------------------------------------


class SignatureKind(enum.Enum):
    RSA_V15 = "rsa-v1.5"
    RSA_PSS = "rsa-pss"
    ECDSA = "ecdsa"
    ED25519 = "ed25519"
    ML_DSA = "ml-dsa"


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to sign: its identifiers in the SignerInfo, and its primitive."""

    kind: SignatureKind
    digest: Digest
    identifier: bytes  # AlgorithmIdentifier, DER
    name: str
    salt: int = 0  # octets, PSS read: as the sender gives it; 0 is as long as the hash


def _pss_parameters(digest: Digest, salt: int = 0) -> bytes:
    """RSASSA-PSS-params with MGF1 of the same hash and a salt of its length, or a longer one (RFC 4055 3.1)."""
    hashed = identifier(digest.oid, der.NULL)
    return der.sequence(
        der.explicit(0, hashed),
        der.explicit(1, identifier(oids.MGF1, hashed)),
        der.explicit(2, der.integer(salt or digest.hash.digest_size)),
    )


def _signatures() -> dict[str, Signature]:
    made: dict[str, Signature] = {}
    for digest in (SHA256, SHA384, SHA512):
        ecdsa = {"sha256": oids.ECDSA_SHA256, "sha384": oids.ECDSA_SHA384, "sha512": oids.ECDSA_SHA512}[digest.name]
        made[f"rsa-{digest.name}"] = Signature(SignatureKind.RSA_V15, digest, identifier(oids.RSA, der.NULL), f"rsa-{digest.name}")
        made[f"pss-{digest.name}"] = Signature(
            SignatureKind.RSA_PSS, digest, identifier(oids.RSA_PSS, _pss_parameters(digest)), f"pss-{digest.name}"
        )
        made[f"ecdsa-{digest.name}"] = Signature(SignatureKind.ECDSA, digest, identifier(ecdsa), f"ecdsa-{digest.name}")
    made["ed25519"] = Signature(SignatureKind.ED25519, SHA512, identifier(oids.ED25519), "ed25519")  # RFC 8419 3.1
    for size, oid in ((44, oids.ML_DSA_44), (65, oids.ML_DSA_65), (87, oids.ML_DSA_87)):
        made[f"ml-dsa-{size}"] = Signature(SignatureKind.ML_DSA, SHA512, identifier(oid), f"ml-dsa-{size}")  # RFC 9882
    return made


SIGNATURES: Final = _signatures()


def signature_for(public: Any, pss: bool = False, restricted: bytes | None = None) -> Signature:
    """The signature we make with a key of this kind. Raises SmimeError when it can't sign.

    `restricted` are the parameters of an id-RSASSA-PSS key (`Certificate.pss`): it signs that way and no other (RFC 4055 1.2, 3.1).
    """
    if restricted is not None:
        digest, salt = (SHA256, 0) if restricted == ABSENT else _read_pss(restricted, key=True)
        salt = max(salt, digest.hash.digest_size)  # a key states the shortest salt (RFC 4055 3.3)
        return Signature(SignatureKind.RSA_PSS, digest, identifier(oids.RSA_PSS, _pss_parameters(digest, salt)), f"pss-{digest.name}", salt)
    if isinstance(public, rsa.RSAPublicKey):
        return SIGNATURES["pss-sha256" if pss else "rsa-sha256"]
    if isinstance(public, ec.EllipticCurvePublicKey):
        return SIGNATURES[{256: "ecdsa-sha256", 384: "ecdsa-sha384"}.get(public.key_size, "ecdsa-sha512")]
    if isinstance(public, ed25519.Ed25519PublicKey):
        return SIGNATURES["ed25519"]
    for kind, size in ((mldsa.MLDSA44PublicKey, 44), (mldsa.MLDSA65PublicKey, 65), (mldsa.MLDSA87PublicKey, 87)):
        if isinstance(public, kind):
            return SIGNATURES[f"ml-dsa-{size}"]
    raise SmimeError(Reason.USAGE, "this kind of key does not sign")


def require_allowed(scheme: Signature, restricted: bytes | None) -> None:
    """Check that a signature keeps to the parameters of an id-RSASSA-PSS key (RFC 4055 3.3): same hash, no shorter salt.

    Raises SmimeError.
    """
    if restricted is None:
        return
    if scheme.kind is not SignatureKind.RSA_PSS:
        raise SmimeError(Reason.USAGE, f"{scheme.name} by a key that is for RSASSA-PSS alone")
    if restricted != ABSENT:
        digest, salt = _read_pss(restricted, key=True)
        if scheme.digest != digest or scheme.salt < salt:
            raise SmimeError(Reason.USAGE, f"{scheme.name} by a key for RSASSA-PSS with {digest.name} and a salt of {salt} octets")


_BY_OID: Final = {
    oids.RSA_SHA256: (SignatureKind.RSA_V15, SHA256),
    oids.RSA_SHA384: (SignatureKind.RSA_V15, SHA384),
    oids.RSA_SHA512: (SignatureKind.RSA_V15, SHA512),
    oids.ECDSA_SHA256: (SignatureKind.ECDSA, SHA256),
    oids.ECDSA_SHA384: (SignatureKind.ECDSA, SHA384),
    oids.ECDSA_SHA512: (SignatureKind.ECDSA, SHA512),
}
_ML_DSA: Final = {oids.ML_DSA_44: "ml-dsa-44", oids.ML_DSA_65: "ml-dsa-65", oids.ML_DSA_87: "ml-dsa-87"}


@der.lasting(256, 256)
def read_signature(data: bytes, digest: Digest) -> Signature:
    """The signature algorithm of a SignerInfo whose digestAlgorithm is `digest`.

    Raises SmimeError when it is not one we accept or contradicts the digest; DerError.
    """
    oid, parameters = read_identifier(data)
    salt = 0
    if oid == oids.RSA:
        kind, hashed = SignatureKind.RSA_V15, digest
        _require(parameters in (ABSENT, der.NULL))
    elif oid == oids.RSA_PSS:
        kind = SignatureKind.RSA_PSS
        hashed, salt = _read_pss(parameters)
    elif oid in _BY_OID:
        kind, hashed = _BY_OID[oid]
        _require(parameters in (ABSENT, der.NULL))
    elif oid == oids.ED25519:
        kind, hashed = SignatureKind.ED25519, digest  # RFC 8419 3.1: SHA-512 when signed attributes are there
        _require(parameters == ABSENT)
    elif oid in _ML_DSA:
        _require(parameters == ABSENT)
        return Signature(SignatureKind.ML_DSA, digest, data, _ML_DSA[oid])
    else:
        raise _refusal(oid)
    if hashed != digest:
        raise SmimeError(Reason.ATTRIBUTES, "digest and signature algorithm name different hashes")
    label = {SignatureKind.RSA_V15: "rsa", SignatureKind.RSA_PSS: "pss", SignatureKind.ECDSA: "ecdsa"}.get(kind)
    return Signature(kind, digest, data, f"{label}-{digest.name}" if label else "ed25519", salt)


def _require(holds: bool) -> None:
    if not holds:
        raise SmimeError(Reason.MALFORMED, "algorithm parameters")


def _read_pss(parameters: bytes, *, key: bool = False) -> tuple[Digest, int]:
    """(hash, salt length): MGF1 with the same hash, a salt at least as long as the hash, trailer 1 (docs/reference/crypto.md 9.14).

    OpenSSL makes the longest salt there is room for unless told otherwise, so longer ones are read. `key`: of a key, which states
    the shortest salt it allows, and any is fine.
    """
    if parameters == ABSENT:
        raise SmimeError(Reason.WEAK, "PSS with SHA-1 by default")
    fields = {one[0]: parameters[one[2] : one[3]] for one in der.inside(parameters, der.whole(parameters), der.SEQUENCE, 4)}
    if 0xA0 not in fields or 0xA1 not in fields:
        raise SmimeError(Reason.WEAK, "PSS with SHA-1 by default")
    digest = read_digest(fields[0xA0])
    mask, of = read_identifier(fields[0xA1])
    if mask != oids.MGF1 or of == ABSENT or read_digest(of) != digest:
        raise SmimeError(Reason.UNSUPPORTED, "PSS with two different hashes")
    stated = fields.get(0xA2, der.integer(20))
    salt = der.small_integer(stated, der.whole(stated, der.INTEGER))
    if not (0 if key else digest.hash.digest_size) <= salt <= MAX_SALT:
        raise SmimeError(Reason.WEAK, f"PSS with a salt of {salt} octets")
    _require(fields.get(0xA3, der.integer(1)) == der.integer(1))
    return digest, salt


def pss_padding(digest: Digest, salt: int = 0) -> padding.PSS:
    return padding.PSS(padding.MGF1(digest.hash), salt or digest.hash.digest_size)


# --- content encryption -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cipher:
    name: str
    oid: bytes
    key_size: int  # octets
    authenticated: bool
    block: int = 16
    legacy: bool = False  # read behind a setting, never made


AES256_GCM = Cipher("aes256-gcm", oids.AES256_GCM, 32, True)
AES192_GCM = Cipher("aes192-gcm", oids.AES192_GCM, 24, True)
AES128_GCM = Cipher("aes128-gcm", oids.AES128_GCM, 16, True)
AES256_CBC = Cipher("aes256-cbc", oids.AES256_CBC, 32, False)
AES192_CBC = Cipher("aes192-cbc", oids.AES192_CBC, 24, False)
AES128_CBC = Cipher("aes128-cbc", oids.AES128_CBC, 16, False)
TRIPLE_DES = Cipher("des-ede3-cbc", oids.DES_EDE3_CBC, 24, False, 8, True)
RC2 = Cipher("rc2-cbc", oids.RC2_CBC, 16, False, 8, True)
CIPHERS: Final = {one.oid: one for one in (AES256_GCM, AES192_GCM, AES128_GCM, AES256_CBC, AES192_CBC, AES128_CBC, TRIPLE_DES, RC2)}
MADE: Final = {one.name: one for one in (AES256_GCM, AES128_GCM, AES256_CBC, AES128_CBC)}

_NAMES: Final = {
    **{one.oid: one.name for one in CIPHERS.values()},
    **{one.oid: one.name for one in DIGESTS.values()},
    **_WEAK,
    oids.RSA: "rsa",
    oids.RSA_PSS: "rsa-pss",
    oids.RSA_OAEP: "rsa-oaep",
    oids.ED25519: "ed25519",
    oids.ECDH_SHA1: "ecdh-sha1",
    oids.ECDH_SHA256: "ecdh-sha256",
    oids.ECDH_SHA384: "ecdh-sha384",
    oids.ECDH_SHA512: "ecdh-sha512",
    oids.ECDH_HKDF_SHA256: "ecdh-hkdf-sha256",
    oids.ML_KEM_768: "ml-kem-768",
    oids.ML_KEM_1024: "ml-kem-1024",
}
