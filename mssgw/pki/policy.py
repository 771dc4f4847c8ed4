"""Which keys are accepted, for what: one table, used by trust and by S/MIME (ADR 16).

For every public key from outside `kind_of` decides whether it is one of the table and large enough, and `require_use` whether
it may be used so. The table is printed in docs/trust.md; tests/rails/test_key_policy.py pins both.

Sources beside the RFCs: [ANSSI] "Recommandations de sécurité relatives à TLS", SDE-NT-35, v1.2 of 2020-03-26: RSA of 2048
bits or more, ECDSA, the curves secp256r1, secp384r1, secp521r1 and brainpool, SHA-2. [ANS] what IGC-Santé issues: RSA-2048 with SHA-256.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, rsa, x25519

PublicKey = Any  # whatever `cryptography` loads

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
MIN_RSA_EXPONENT: Final = 65537
MAX_RSA_EXPONENT_BITS: Final = 64
ISSUING_HASHES: Final = ("sha256", "sha384", "sha512")  # RFC 8551 2.1, [ANSSI]; SHA-1 and MD5 collide


class Use(enum.StrEnum):
    """What a key is to be used for."""

    SIGN = "sign"  # S/MIME signatures, ours and others'
    ENCRYPT = "encrypt"  # be the reader of an S/MIME message
    ISSUE = "issue"  # certificates, CRLs, OCSP answers, the whitelist: everything from which trust is derived
    TLS = "tls"  # be an operator at the other end of mutual TLS


class Problem(enum.StrEnum):
    """What keeps a key or a certificate from being used."""

    MALFORMED = "malformed"
    LIMIT = "limit"
    UNSUPPORTED = "unsupported-algorithm"
    WEAK = "weak-algorithm"
    USAGE = "certificate-usage"


class KeyRefused(ValueError):
    """A key that the table does not accept. The text is a noun that names the key: "RSA key of 1024 bits (…)"."""

    def __init__(self, problem: Problem, text: str) -> None:
        super().__init__(text)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table. `wraps`: the key usage that encryption to it needs (RFC 8550 4.4.2, RFC 9935)."""

    name: str
    uses: frozenset[Use]
    source: str
    wraps: Literal["", "key_encipherment", "key_agreement"] = ""
    experimental: bool = False  # S/MIME only with `smime.experimental`

    @property
    def label(self) -> str:
        """Its form in algorithm names: "p256", "ml-kem-768"."""
        return self.name.replace("P-", "p").lower()


_ALL: Final = frozenset(Use)
_NIST: Final = "RFC 8551 2.2, 2.3 (P-256); RFC 5480; RFC 5753; [ANSSI]"
_BRAINPOOL: Final = "RFC 5639; RFC 5753; [ANSSI]"
_ML_DSA: Final = "RFC 9881, RFC 9882, FIPS 204"
_ML_KEM: Final = "RFC 9935, RFC 9936, FIPS 203"

RSA: Final = Kind("RSA", _ALL, "[ANS]; RFC 8551 2.2, 2.3; [ANSSI]", "key_encipherment")
CURVES: Final = {
    "secp256r1": Kind("P-256", _ALL, _NIST, "key_agreement"),
    "secp384r1": Kind("P-384", _ALL, _NIST, "key_agreement"),
    "secp521r1": Kind("P-521", _ALL, _NIST, "key_agreement"),
    "brainpoolP256r1": Kind("brainpoolP256r1", _ALL, _BRAINPOOL, "key_agreement"),
    "brainpoolP384r1": Kind("brainpoolP384r1", _ALL, _BRAINPOOL, "key_agreement"),
    "brainpoolP512r1": Kind("brainpoolP512r1", _ALL, _BRAINPOOL, "key_agreement"),
}
OTHERS: Final[dict[type, Kind]] = {
    ed25519.Ed25519PublicKey: Kind("Ed25519", frozenset({Use.SIGN}), "RFC 8551 2.2, RFC 8410, RFC 8419"),
    x25519.X25519PublicKey: Kind("X25519", frozenset({Use.ENCRYPT}), "RFC 8551 2.3, RFC 8410, RFC 8418", "key_agreement"),
    mldsa.MLDSA44PublicKey: Kind("ML-DSA-44", frozenset({Use.SIGN}), _ML_DSA, experimental=True),
    mldsa.MLDSA65PublicKey: Kind("ML-DSA-65", frozenset({Use.SIGN}), _ML_DSA, experimental=True),
    mldsa.MLDSA87PublicKey: Kind("ML-DSA-87", frozenset({Use.SIGN}), _ML_DSA, experimental=True),
    mlkem.MLKEM768PublicKey: Kind("ML-KEM-768", frozenset({Use.ENCRYPT}), _ML_KEM, "key_encipherment", experimental=True),
    mlkem.MLKEM1024PublicKey: Kind("ML-KEM-1024", frozenset({Use.ENCRYPT}), _ML_KEM, "key_encipherment", experimental=True),
}
TABLE: Final = (RSA, *CURVES.values(), *OTHERS.values())

_REFUSED_USE: Final = {
    Use.SIGN: "does not sign mail",
    Use.ENCRYPT: "only signs",
    Use.ISSUE: "is not accepted from an authority or a responder",
    Use.TLS: "is not accepted in TLS between operators",
}


def kind_of(key: PublicKey) -> Kind:
    """The row of a public key. Raises KeyRefused: no row, too small, too large."""
    if isinstance(key, rsa.RSAPublicKey):
        _require_sizes(key)
        return RSA
    if isinstance(key, ec.EllipticCurvePublicKey):
        if (kind := CURVES.get(key.curve.name)) is None:
            raise KeyRefused(
                Problem.UNSUPPORTED, f"key on the curve {key.curve.name} (accepted: {', '.join(one.name for one in CURVES.values())})"
            )
        return kind
    for classed, kind in OTHERS.items():
        if isinstance(key, classed):
            return kind
    raise KeyRefused(Problem.UNSUPPORTED, f"key of kind {type(key).__name__.removesuffix('PublicKey')}")


def require_use(kind: Kind, use: Use) -> None:
    """That the table allows the use. Raises KeyRefused."""
    if use not in kind.uses:
        raise KeyRefused(Problem.USAGE, f"{kind.name} key, which {_REFUSED_USE[use]}")


def _require_sizes(key: rsa.RSAPublicKey) -> None:
    bits, exponent = key.key_size, key.public_numbers().e
    if bits < MIN_RSA_BITS:
        raise KeyRefused(Problem.WEAK, f"RSA key of {bits} bits (needed: {MIN_RSA_BITS} to {MAX_RSA_BITS})")
    if bits > MAX_RSA_BITS:
        raise KeyRefused(Problem.LIMIT, f"RSA key of {bits} bits (needed: {MIN_RSA_BITS} to {MAX_RSA_BITS})")
    if bits % 8:
        raise KeyRefused(Problem.UNSUPPORTED, f"RSA key of {bits} bits, which are no whole octets")
    if exponent.bit_length() > MAX_RSA_EXPONENT_BITS:
        raise KeyRefused(Problem.LIMIT, f"RSA key with an exponent of {exponent.bit_length()} bits (needed: {MIN_RSA_EXPONENT})")
    if exponent < MIN_RSA_EXPONENT or exponent % 2 == 0:
        raise KeyRefused(Problem.WEAK, f"RSA key with the exponent {exponent} (needed: {MIN_RSA_EXPONENT})")
