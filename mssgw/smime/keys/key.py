"""Key: a private key that signs, unwraps and agrees. FileKey here, Pkcs11Key in `tokens`.

A key takes octets and returns octets; it never sees a message. All its methods block (milliseconds for
RSA): callers are in a thread of `pool`. A key that can't be used now raises KeyUnavailable, which is a
451: mail waits for it and never leaves unsigned. A ciphertext that a key can't decrypt raises
Undecryptable, the same for every cause.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, padding, rsa, x25519

from mssgw.smime.errors import FileProblem, KeyFileError, KeyUnavailable, Reason, SmimeError, Undecryptable
from mssgw.smime.keys import files as keyfiles
from mssgw.smime.keys.certificates import Certificate, check_public_key
from mssgw.smime.keys.files import Material
from mssgw.smime.wire.algorithms import Oaep, Signature, SignatureKind, pss_padding

MAX_KEY_FILE = keyfiles.MAX_FILE


class Source(Protocol):
    """Where a secret is kept: a file, as the configuration names it. `str()` gives the place and never the secret."""

    @property
    def path(self) -> Path:
        """Raises FileNotFoundError: its place is unknown."""

    def read(self) -> bytes:
        """Raises OSError."""


class Key(Protocol):
    """One private key. Every method may raise KeyUnavailable."""

    @property
    def oaep(self) -> bool:
        """Whether others may use RSA-OAEP for it, which our capabilities then list."""

    @property
    def executor(self) -> Executor | None:
        """Where operations with this key run; None is the shared pool of all cores."""

    def sign(self, data: bytes, scheme: Signature) -> bytes:
        """Signature over `data` (the signed attributes), ECDSA as DER."""

    def decrypt(self, wrapped: bytes, oaep: Oaep | None) -> bytes:
        """RSA: what was wrapped with PKCS#1 v1.5 (None) or OAEP with those hashes. Raises Undecryptable."""

    def agree(self, peer: Any) -> bytes:
        """ECDH: the shared secret with a public key of the same curve. Raises Undecryptable."""

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """KEM: the shared secret. Raises Undecryptable."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who signs or reads: certificate, the chain sent along, private key."""

    certificate: Certificate
    key: Key
    chain: tuple[Certificate, ...] = ()


class SoftKey:
    """A private key in memory."""

    executor: Executor | None = None
    oaep = True

    def __init__(self, private: Any) -> None:
        self._loaded: Any = private

    @property
    def _private(self) -> Any:
        return self._loaded

    def public_key(self) -> Any:
        return self._private.public_key()

    def sign(self, data: bytes, scheme: Signature) -> bytes:
        private = self._private
        if scheme.kind is SignatureKind.RSA_V15 and isinstance(private, rsa.RSAPrivateKey):
            return private.sign(data, padding.PKCS1v15(), scheme.digest.hash)
        if scheme.kind is SignatureKind.RSA_PSS and isinstance(private, rsa.RSAPrivateKey):
            return private.sign(data, pss_padding(scheme.digest, scheme.salt), scheme.digest.hash)
        if scheme.kind is SignatureKind.ECDSA and isinstance(private, ec.EllipticCurvePrivateKey):
            return private.sign(data, ec.ECDSA(scheme.digest.hash))
        if scheme.kind is SignatureKind.ED25519 and isinstance(private, ed25519.Ed25519PrivateKey):
            return private.sign(data)
        if scheme.kind is SignatureKind.ML_DSA and isinstance(private, _ML_DSA):
            return private.sign(data)
        raise KeyUnavailable(detail=f"key of kind {type(private).__name__} can't sign {scheme.name}")

    def decrypt(self, wrapped: bytes, oaep: Oaep | None) -> bytes:
        if not isinstance(self._private, rsa.RSAPrivateKey):
            raise Undecryptable
        way: padding.AsymmetricPadding = padding.PKCS1v15()
        if oaep is not None:
            way = _oaep(oaep)
        try:
            return self._private.decrypt(wrapped, way)  # v1.5: implicit rejection inside (docs/reference/crypto.md 9.12)
        except ValueError:
            raise Undecryptable from None

    def agree(self, peer: Any) -> bytes:
        try:
            if isinstance(self._private, ec.EllipticCurvePrivateKey) and isinstance(peer, ec.EllipticCurvePublicKey):
                return self._private.exchange(ec.ECDH(), peer)
            if isinstance(self._private, x25519.X25519PrivateKey) and isinstance(peer, x25519.X25519PublicKey):
                return self._private.exchange(peer)
        except ValueError:
            raise Undecryptable from None
        raise Undecryptable

    def decapsulate(self, ciphertext: bytes) -> bytes:
        if not isinstance(self._private, mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey):
            raise Undecryptable
        try:
            return self._private.decapsulate(ciphertext)
        except ValueError:
            raise Undecryptable from None


_ML_DSA = (mldsa.MLDSA44PrivateKey, mldsa.MLDSA65PrivateKey, mldsa.MLDSA87PrivateKey)


class FileKey(SoftKey):
    """A key from a file of any shape that `keyfiles` reads.

    Read at first use; while that fails every operation raises KeyUnavailable and the next one tries again.
    """

    def __init__(self, source: Source, passphrase: Source | None = None) -> None:
        super().__init__(None)
        self._source, self._passphrase = source, passphrase
        self._lock = threading.Lock()

    @property
    def _private(self) -> Any:
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = self._load()
        return self._loaded

    def _load(self) -> Any:
        try:
            return load_private(self._source.read(), passphrase_of(self._passphrase)).key
        except KeyFileError as error:
            raise error.at(self._source) from error
        except OSError as error:
            raise KeyUnavailable(detail=f"{self._source}: {error.strerror or error}") from error


class StoredKey(SoftKey):
    """A key that was checked when it was taken in: `read` gives its PKCS#8 (DER) at first use. Blocks, as all keys do."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        super().__init__(None)
        self._read = read
        self._lock = threading.Lock()

    @property
    def _private(self) -> Any:
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = loaded_key(self._read())
        return self._loaded


class LostKey(SoftKey):
    """A key that is known and can't be used: what was encrypted to it waits (KeyUnavailable) and is not delivered unread."""

    def __init__(self, why: str) -> None:
        super().__init__(None)
        self._why = why

    @property
    def _private(self) -> Any:
        raise KeyUnavailable(detail=self._why)


def loaded_key(pkcs8: bytes) -> Any:
    """A private key that was checked before: OpenSSL's own check costs 28 ms for each RSA key. Raises KeyUnavailable."""
    try:
        return serialization.load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnavailable(detail=f"a stored key can't be read: {type(error).__name__}") from error


@cache
def _oaep(hashed: Oaep) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(hashed.mask.hash), hashed.digest.hash, None)


def passphrase_of(reference: Source | None) -> bytes | None:
    """The passphrase behind a reference, without the line end editors leave. Raises OSError."""
    return None if reference is None else reference.read().rstrip(b"\r\n")


def load_private(data: bytes, passphrase: bytes | None = None) -> Material:
    """The private key in a file of any shape, and what stands beside it. Raises KeyFileError (a KeyUnavailable)."""
    found = keyfiles.read(data, passphrase)
    _ = found.key
    return found


def load_certificates(data: bytes, passphrase: bytes | None = None) -> tuple[Certificate, ...]:
    """Certificates in a file of any shape, in its order. Raises SmimeError."""
    try:
        return keyfiles.read(data, passphrase).require_certificates()
    except KeyFileError as error:
        raise SmimeError(Reason.MALFORMED, error.detail) from error


def identity(certificates: Sequence[Certificate], key: Key, now: datetime) -> Identity:
    """A holder, in whatever order the certificates stand; self-signed roots are not sent."""
    own, *chain = keyfiles.holder_first(certificates, now)
    return Identity(own, key, tuple(one for one in chain if not one.self_issued))


def require_same_key(certificates: Sequence[Certificate], file: Path, now: datetime) -> None:
    """As `require_pair`, for many files at a time: compares public keys alone. Whoever uses an RSA key has OpenSSL check all of it (28 ms).

    Raises KeyUnavailable, OSError.
    """
    own, data = keyfiles.holder_first(certificates, now)[0], file.read_bytes()
    try:
        public = serialization.load_pem_private_key(data, None, unsafe_skip_rsa_key_validation=True).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        require_pair(Identity(own, SoftKey(load_private(data).key)))  # another shape, or broken
        return
    if not keyfiles.is_of(public, own):
        raise KeyFileError(FileProblem.NOT_OF_CERTIFICATE)
    _require_fit(public)


def require_pair(who: Identity) -> None:
    """The key in the file belongs to the certificate, and both are fit for use. Raises KeyUnavailable."""
    key = who.key
    if not isinstance(key, SoftKey):
        return
    if not keyfiles.belongs(key, who.certificate):
        raise KeyFileError(FileProblem.NOT_OF_CERTIFICATE)
    _require_fit(key.public_key())


def _require_fit(public: Any) -> None:
    try:
        check_public_key(public)
    except SmimeError as error:
        raise KeyFileError(FileProblem.WEAK, error.detail) from error
