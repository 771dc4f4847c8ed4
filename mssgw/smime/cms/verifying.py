"""SignedData, read (RFC 5652 5, RFC 8551 2, RFC 5035, RFC 6211): who signed these octets, or why no signature holds.

`SignedContent.read` takes the structure apart (streaming its content, when it is inside, through the
digests into a sink), `signatures` then checks every SignerInfo against the digests and its `attributes`. Without
signed attributes only plain data is accepted that can't be mistaken for attributes (docs/reference/crypto.md 9.7).

Trust and address binding are not here: `opening` asks `pki.judgement.Validate` and compares with From.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa

from mssgw.pki import der
from mssgw.smime.cms import ess
from mssgw.smime.cms.attributes import MAX_ATTRIBUTES, Attributes
from mssgw.smime.cms.enveloped import Octets, Write
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.keys.certificates import Certificate, certificate
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import (
    DIGESTS,
    Signature,
    SignatureKind,
    pss_padding,
    read_digest,
    read_identifier,
    read_signature,
    require_allowed,
)
from mssgw.smime.wire.ber import BerError, Stream, may_be_indefinite

MAX_CERTIFICATES = 20  # read of one message (docs/reference/crypto.md 9.19)
MAX_SIGNERS = 8


@dataclass(frozen=True, slots=True)
class SignerCheck:
    """One SignerInfo. `problem` is None when its signature and its attributes hold."""

    certificate: Certificate | None
    algorithm: str  # "rsa-sha256"; "" when it could not be read
    signing_time: datetime | None = None
    capabilities: bytes | None = None
    reads_with: bytes | None = None  # IssuerAndSerialNumber their answers should be encrypted to
    problem: Reason | None = None
    detail: str = ""
    receipt_request: ess.ReceiptRequest | None = None  # a signed receipt they would like to have


@dataclass(slots=True)
class SignedContent:
    """A SignedData taken apart. `digests` are of its own content when `inside`, else to be filled by the caller."""

    content_type: bytes
    digest_identifiers: tuple[bytes, ...]  # the OIDs that digestAlgorithms names and we know
    inside: bool = False
    size: int = 0
    start: bytes = b""  # the first octets of the content
    digests: dict[bytes, bytes] = field(default_factory=dict)  # OID -> digest of the content
    certificates: tuple[bytes, ...] = ()
    signer_infos: bytes = b""

    @property
    def unsigned(self) -> bool:
        """Whether the SET of signers is empty."""
        return self.signer_infos[:1] == b"\x31" and len(self.signer_infos) <= 4


class Hashing:
    """Digests of content that streams by, for the algorithms the signers may use."""

    def __init__(self, identifiers: Iterable[bytes]) -> None:
        self._hashes = {oid: getattr(hashlib, DIGESTS[oid].name)() for oid in identifiers}
        self._first = b""
        self.size = 0

    def update(self, chunk: Octets) -> None:
        for one in self._hashes.values():
            one.update(chunk)
        if len(self._first) < 64:
            self._first += bytes(chunk[: 64 - len(self._first)])
        self.size += len(chunk)

    def fill(self, content: SignedContent) -> None:
        content.digests = {oid: one.digest() for oid, one in self._hashes.items()}
        content.start, content.size = self._first, self.size


def read(stream: Stream, write: Write | None) -> SignedContent:
    """Take a ContentInfo with SignedData apart; content inside goes to `write`.

    `write` is None for a detached signature: content inside is then refused (docs/reference/crypto.md 9.4).
    Raises SmimeError, BerError.
    """
    stream.enter(der.SEQUENCE)
    kind = stream.element(64)
    if kind != oids.SIGNED_DATA:
        raise SmimeError(Reason.MALFORMED, "not SignedData")
    stream.enter(0xA0)
    stream.enter(der.SEQUENCE)
    stream.element(16)  # version
    named = _digest_identifiers(stream.element(4096))
    stream.enter(der.SEQUENCE)
    content = SignedContent(stream.element(64), named)
    if stream.more():
        _read_content(stream, content, write)
    stream.leave()
    _read_rest(stream, content)
    stream.leave()
    stream.leave()
    stream.leave()
    stream.finish()
    return content


@lru_cache(maxsize=64)
def _digest_identifiers(data: bytes) -> tuple[bytes, ...]:
    found = []
    for one in der.inside(data, der.whole(data, der.SET), der.SET, 16):
        oid, _ = read_identifier(data[one[1] : one[3]])
        if oid in DIGESTS and oid not in found:
            found.append(oid)
    return tuple(found) or tuple(DIGESTS)  # an empty set: any digest may be needed


def _read_content(stream: Stream, content: SignedContent, write: Write | None) -> None:
    if write is None:
        raise SmimeError(Reason.CONFUSION, "a detached signature with content inside")
    stream.enter(0xA0)
    hashing = Hashing(content.digest_identifiers)
    if stream.peek() in (der.OCTET_STRING, der.OCTET_STRING | 0x20):
        for chunk in stream.octets():
            hashing.update(chunk)
            write(chunk)
    else:
        raise SmimeError(Reason.UNSUPPORTED, "signed content that is not an OCTET STRING")  # PKCS#7 1.5, RFC 5652 5.2.1
    stream.leave()
    content.inside = True
    hashing.fill(content)


def _read_rest(stream: Stream, content: SignedContent) -> None:
    if stream.peek() == 0xA0:
        data = stream.element()
        found = der.inside(data, der.whole(data, 0xA0), 0xA0, MAX_CERTIFICATES)
        content.certificates = tuple(data[one[1] : one[3]] for one in found if one[0] == der.SEQUENCE)
    if stream.more() and stream.peek() == 0xA1:
        stream.element()  # revocation lists in a message are ignored: trust has its own
    content.signer_infos = stream.element()


def signatures(
    content: SignedContent, known: Sequence[Certificate] = (), experimental: bool = False, at: datetime | None = None
) -> tuple[SignerCheck, ...]:
    """Check every signer against `content.digests`. `known` are certificates that may sign without being inside.

    Of several certificates with one key, as after a renewal, a signer named by the key has the one valid `at` that time.

    Raises SmimeError when there is no signer at all or the structure can't be read.
    """
    data = content.signer_infos
    infos = der.inside(data, der.whole(data, der.SET), der.SET, MAX_SIGNERS)
    if not infos:
        raise SmimeError(Reason.UNSIGNED, "SignedData without a signer")
    candidates: dict[bytes, Certificate] = {}
    for octets in content.certificates:
        try:
            one = certificate(octets)
            candidates.setdefault(one.issuer_and_serial, one)
        except SmimeError:
            continue  # one unreadable certificate affects its own signer alone
    for one in known:
        candidates.setdefault(one.issuer_and_serial, one)
    return tuple(_check(data, info, content, candidates, experimental, at) for info in infos)


def _check(
    data: bytes, info: der.Tlv, content: SignedContent, candidates: dict[bytes, Certificate], experimental: bool, at: datetime | None
) -> SignerCheck:
    signer: Certificate | None = None
    label = ""
    attributes = Attributes()
    try:
        fields = der.inside(data, info, der.SEQUENCE, 7)
        if len(fields) < 5 or (fields[3][0] == 0xA0 and len(fields) < 6):
            raise SmimeError(Reason.MALFORMED, "SignerInfo")
        signer = _find(data, fields[1], candidates, at)
        digest = read_digest(data[fields[2][1] : fields[2][3]])
        signed = fields[3] if fields[3][0] == 0xA0 else None
        algorithm, value = fields[4:6] if signed else fields[3:5]
        scheme = read_signature(data[algorithm[1] : algorithm[3]], digest)
        label = scheme.name
        if scheme.kind is SignatureKind.ML_DSA and not experimental:
            raise SmimeError(Reason.UNSUPPORTED, f"{label} is experimental and switched off")
        if fields[-1][0] == 0xA1:
            _require_unsigned(data, fields[-1])
        if signed:
            attributes = Attributes.read(data, signed)
            attributes.require(content.content_type, content.digests, digest, data, fields[2], algorithm, signer)
            message = b"\x31" + data[signed[1] + 1 : signed[3]]  # RFC 5652 5.4
        else:
            message = b""
            _require_plain(content)
        if signer is None:
            raise SmimeError(Reason.SIGNER_CERTIFICATE, "the signer's certificate is not in the message")
        signer.require_signing_use()
        require_allowed(scheme, signer.pss)
        _verify(signer.public_key, scheme, message, content.digests.get(digest.oid), data[value[2] : value[3]])
    except SmimeError as error:
        return SignerCheck(signer, label, attributes.signing_time, None, None, error.reason, error.where)
    except der.DerError as error:
        return SignerCheck(signer, label, None, None, None, Reason.MALFORMED, str(error))
    return SignerCheck(
        signer, label, attributes.signing_time, attributes.capabilities, attributes.reads_with, receipt_request=attributes.receipt_request
    )


def _find(data: bytes, sid: der.Tlv, candidates: dict[bytes, Certificate], at: datetime | None) -> Certificate | None:
    if sid[0] == der.SEQUENCE:
        return candidates.get(data[sid[1] : sid[3]])
    if sid[0] != 0x80:
        raise SmimeError(Reason.MALFORMED, "signer identifier")
    key_id = data[sid[2] : sid[3]]
    named = [one for one in candidates.values() if one.key_id == key_id]
    return next((one for one in named if at and one.valid_at(at)), named[0] if named else None)


def _require_unsigned(data: bytes, attributes: der.Tlv) -> None:
    """RFC 5652 11.1 to 11.3: these attributes may not stand among the unsigned ones."""
    for one in der.inside(data, attributes, 0xA1, MAX_ATTRIBUTES):
        oid = der.inside(data, one, der.SEQUENCE, 2, 2)[0]
        if data[oid[1] : oid[3]] in (oids.CONTENT_TYPE, oids.MESSAGE_DIGEST, oids.SIGNING_TIME):
            raise SmimeError(Reason.ATTRIBUTES, "a signed attribute among the unsigned ones")


def _require_plain(content: SignedContent) -> None:
    """RFC 5652 5.3: without signed attributes the content type is data; and it must not read as attributes."""
    if content.content_type != oids.DATA:
        raise SmimeError(Reason.ATTRIBUTES, "signed attributes are missing")
    if content.start[:1] == b"\x31" and content.start[1:12].find(b"\x30") >= 0:
        raise SmimeError(Reason.CONFUSION, "content that could be signed attributes")


def _verify(key: Any, scheme: Signature, message: bytes, digest: bytes | None, signature: bytes) -> None:
    """One signature over the attributes, or over the content whose digest is given. Raises SmimeError."""
    pure = _is_ml_dsa(key, scheme) or (scheme.kind is SignatureKind.ED25519 and isinstance(key, ed25519.Ed25519PublicKey))
    try:
        if pure and message:
            key.verify(signature, message)
        elif message and (arguments := _arguments(key, scheme, scheme.digest.hash)):
            key.verify(signature, message, *arguments)
        elif digest is not None and (arguments := _arguments(key, scheme, _prehashed(scheme))):
            key.verify(signature, digest, *arguments)
        else:
            raise SmimeError(Reason.SIGNATURE, f"{scheme.name} with a key of another kind")
    except (InvalidSignature, ValueError) as error:
        raise SmimeError(Reason.SIGNATURE, "the signature does not fit") from error


def _prehashed(scheme: Signature) -> Any:
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    return Prehashed(scheme.digest.hash)


_V15 = padding.PKCS1v15()


def _arguments(key: Any, scheme: Signature, hashed: Any) -> tuple[Any, ...] | None:
    if scheme.kind is SignatureKind.RSA_V15 and isinstance(key, rsa.RSAPublicKey):
        return _V15, hashed
    if scheme.kind is SignatureKind.RSA_PSS and isinstance(key, rsa.RSAPublicKey):
        return pss_padding(scheme.digest, scheme.salt), hashed
    if scheme.kind is SignatureKind.ECDSA and isinstance(key, ec.EllipticCurvePublicKey):
        return (ec.ECDSA(hashed),)
    return None


def _is_ml_dsa(key: Any, scheme: Signature) -> bool:
    return scheme.kind is SignatureKind.ML_DSA and isinstance(key, _ML_DSA[scheme.name])


_ML_DSA = {"ml-dsa-44": mldsa.MLDSA44PublicKey, "ml-dsa-65": mldsa.MLDSA65PublicKey, "ml-dsa-87": mldsa.MLDSA87PublicKey}


def parse_detached(data: bytes) -> SignedContent:
    """A detached SignedData in memory. Raises SmimeError."""
    try:
        return _read_definite(data)
    except der.DerError:
        pass  # indefinite lengths somewhere, or damaged: the stream reader knows
    try:
        return read(Stream([data]), None)
    except BerError as error:
        raise SmimeError(Reason.LIMIT if error.limit else Reason.MALFORMED, str(error)) from error
    except der.DerError as error:
        raise SmimeError(Reason.MALFORMED, str(error)) from error


def _read_definite(data: bytes) -> SignedContent:
    """The fast way for the form that nearly everybody sends. Raises SmimeError, DerError."""
    kind, explicit = der.inside(data, der.whole(data), der.SEQUENCE, 2, 2)
    if data[kind[1] : kind[3]] != oids.SIGNED_DATA:
        raise SmimeError(Reason.MALFORMED, "not SignedData")
    (signed,) = der.inside(data, explicit, 0xA0, 1, 1)
    fields = der.inside(data, signed, der.SEQUENCE, 6)
    if len(fields) < 4:
        raise der.DerError("SignedData is too short")
    _version, digests, encapsulated, *rest = fields
    inner = der.inside(data, encapsulated, der.SEQUENCE, 2)
    if len(inner) != 1:
        raise SmimeError(Reason.CONFUSION, "a detached signature with content inside")
    content = SignedContent(data[inner[0][1] : inner[0][3]], _digest_identifiers(data[digests[1] : digests[3]]))
    if rest[0][0] == 0xA0:
        content.certificates = tuple(
            data[one[1] : one[3]] for one in der.inside(data, rest[0], 0xA0, MAX_CERTIFICATES) if one[0] == der.SEQUENCE
        )
    infos = rest[-1]
    content.signer_infos = data[infos[1] : infos[3]]
    if may_be_indefinite(content.signer_infos):
        raise der.DerError("perhaps an indefinite length further in")
    return content
