"""What makes a row of `identity` one that can't be used: derived from the row alone, and never guessed around.

A row with a fault is still somebody's key. Whoever chooses a key counts it as there and not usable (`flow.keyring`), so that
nothing weaker takes its place unseen; `identity list`, the watch and `check` tell it. What a token answers is not asked here.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from mssgw.core.errors import Mistake
from mssgw.core.texts import Message, message
from mssgw.core.tokens import TokenReference
from mssgw.pki import der
from mssgw.pki.certificates import BROKEN, Certificate
from mssgw.store.blobs import open_sealed, purpose
from mssgw.store.engine import Reader
from mssgw.store.seal import SealBroken

MAX_CHAIN = 16


class State(enum.StrEnum):
    REQUESTED = "requested"
    ACTIVE = "active"
    RETIRED = "retired"
    DAMAGED = "damaged"  # never written: the row has another word, or what it holds is not of its state


class Kind(enum.StrEnum):
    SIGNING = "signing"
    ENCRYPTION = "encryption"
    BOTH = "both"


class Fault(enum.StrEnum):
    """Why a row can't be used. Values are stable: JSON output and logs use them."""

    STATE = "state"  # no state or kind that there is, or without what its state needs
    CERTIFICATE = "certificate"  # can't be read
    CHAIN = "chain"  # a certificate that is sent along can't be read
    PUBLIC = "public"  # its certificate has another key
    SEAL = "seal"  # the sealed key does not open
    TOKEN = "token"  # noqa: S105 - the reference to a token can't be read
    USE = "use"  # today's rules do not let its certificate sign any more (`flow.keyring` finds it)

    @property
    def message(self) -> Message:
        return message(f"identity.fault.{self}")


def state_of(row: Any) -> State:
    """The state of a row, DAMAGED when it is none or the row does not hold what that state needs."""
    if row.state not in (State.REQUESTED, State.ACTIVE, State.RETIRED) or row.kind not in tuple(Kind):
        return State.DAMAGED
    requested = row.state == State.REQUESTED
    dated = None not in (row.der, row.fingerprint, row.not_before, row.not_after)
    if requested != (row.der is None) or (requested and row.csr is None) or not (requested or dated):
        return State.DAMAGED
    return State(row.state)


def faults(rx: Reader, row: Any) -> Iterator[Fault]:
    """All of a row with every column of `identity`."""
    if state_of(row) is State.DAMAGED:
        yield Fault.STATE
    if row.der is not None:
        try:
            if hashlib.sha256(_spki(Certificate.read(row.der).parsed.public_key())).digest() != row.public:
                yield Fault.PUBLIC
        except BROKEN:
            yield Fault.CERTIFICATE
    try:
        for one in chain_of(row.chain):
            Certificate.read(one)
    except (der.DerError, *BROKEN):
        yield Fault.CHAIN
    if row.token is not None:
        try:
            TokenReference.parse(row.token)
        except Mistake:
            yield Fault.TOKEN
    else:
        try:
            opened(rx, row)
        except SealBroken:
            yield Fault.SEAL


def opened(rx: Reader, row: Any) -> bytes:
    """The private key of a row, PKCS#8 in DER. Raises SealBroken."""
    return open_sealed(rx, row.sealed or b"", bound(row.account_id, row.public))


def bound(owner: int, public: bytes) -> bytes:
    """A sealed key opens for its account and its public key alone: rows can't be exchanged."""
    return purpose(b"identity %d" % owner, public)


def chain_of(chain: bytes) -> tuple[bytes, ...]:
    """The certificates of `chain`, which stand one behind the other. Raises DerError."""
    return tuple(chain[found[1] : found[3]] for found in der.split(chain, 0, len(chain), MAX_CHAIN)) if chain else ()


def is_key_of(private: bytes, public: bytes) -> bool:
    """Whether a private key (PKCS#8, DER) is that of the SHA-256 of a SubjectPublicKeyInfo."""
    try:
        key = serialization.load_der_private_key(private, None, unsafe_skip_rsa_key_validation=True)
        return hashlib.sha256(_spki(key.public_key())).digest() == public
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _spki(public: Any) -> bytes:
    octets: bytes = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return octets
