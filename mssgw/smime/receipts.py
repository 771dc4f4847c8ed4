"""Signed receipts (RFC 2634 2): requested, made, and compared with the message they acknowledge. Pure: nothing is sent.

    original = of_message(body)                    a signed message, content and all its signers
    request  = requested(original)                 what its signers ask for, or None
    receipt  = make(original, identity, at)        a SignedData that holds a Receipt
    verify(of_message(body), original)             which signer of the original it acknowledges, and who made it

A receipt repeats the original's content type, content identifier and signature value, and signs a digest of the original's
signed attributes: it acknowledges exactly one signature. Whether the receipt's own signer is trusted is decided by
`pki.judgement.Validate`, as always.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mssgw.core.body import Body
from mssgw.pki import der
from mssgw.protocol import mime
from mssgw.smime.cms import ess, verifying
from mssgw.smime.cms.attributes import MAX_ATTRIBUTES
from mssgw.smime.cms.ess import ReceiptRequest
from mssgw.smime.cms.signed import issuer_serial
from mssgw.smime.cms.verifying import Hashing, SignedContent, SignerCheck
from mssgw.smime.entity import Kind, kind_of
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.keys.key import Identity
from mssgw.smime.wire import armour, oids
from mssgw.smime.wire.algorithms import read_digest, signature_for
from mssgw.smime.wire.ber import BerError, Stream

MAX_RECEIPT: Final = 64 * 1024  # octets of a Receipt; a signature and two identifiers


@dataclass(frozen=True, slots=True)
class Signed:
    """A SignedData with the digests of its content, and the content itself when it is a receipt's."""

    cms: SignedContent
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A receipt that matches. `signer` made the receipt, `number` is the signature of the original it is for, from 0."""

    signer: SignerCheck
    number: int
    identifier: bytes


@dataclass(frozen=True, slots=True)
class _SignerInfo:
    """What a receipt contains about a signature."""

    digest: str  # hashlib's name
    attributes: bytes  # SET OF Attribute, as it was signed; b"" when there are none
    signature: bytes

    @property
    def attributes_digest(self) -> bytes:
        """msgSigDigest (RFC 2634 2.4): what was signed, digested as the original was."""
        return hashlib.new(self.digest, self.attributes).digest()


def of_message(body: Body, limits: mime.MimeLimits = mime.DEFAULT_LIMITS) -> Signed:
    """The signature at the root of a message, multipart/signed or opaque. Raises SmimeError, TooComplex."""
    part = mime.parse(body, limits)
    kind = kind_of(part)
    if kind is Kind.CMS:
        return parse(_octets(body, part))
    if kind is not Kind.CLEAR_SIGNED or len(part.children) != 2:
        raise SmimeError(Reason.UNSIGNED, "no signature at the root of the message")
    first, second = part.children
    content = verifying.parse_detached(_octets(body, second))
    hashing = Hashing(content.digest_identifiers)
    for chunk in mime.raw_chunks(body, first.header_start, first.body_end):
        hashing.update(chunk)
    hashing.fill(content)
    return Signed(content)


def _octets(body: Body, part: mime.Part) -> bytes:
    if part.encoding == "base64":
        return b"".join(armour.decode(mime.raw_chunks(body, part.body_start, part.body_end)))
    return b"".join(mime.decoded_chunks(body, part))


def parse(data: bytes) -> Signed:
    """A SignedData with its content inside. Raises SmimeError."""
    kept: list[bytes] = []
    size = 0

    def keep(chunk: bytes | memoryview) -> None:
        nonlocal size
        size += len(chunk)
        if size <= MAX_RECEIPT:
            kept.append(bytes(chunk))

    try:
        cms = verifying.read(Stream([data]), keep)
    except BerError as error:
        raise SmimeError(Reason.LIMIT if error.limit else Reason.MALFORMED, str(error)) from error
    except der.DerError as error:
        raise SmimeError(Reason.MALFORMED, str(error)) from error
    if not cms.inside:
        raise SmimeError(Reason.MALFORMED, "a signature without its content")
    if cms.content_type == oids.RECEIPT and size > MAX_RECEIPT:
        raise SmimeError(Reason.LIMIT, "receipt over 64 kB")
    return Signed(cms, b"".join(kept) if cms.content_type == oids.RECEIPT else b"")


def requested(original: Signed) -> ReceiptRequest | None:
    """The signers' request. Raises SmimeError for a wrong request, or for two different ones (RFC 2634 2.2.1)."""
    values = [value for info in _signer_infos(original.cms) if (value := _attribute(info, oids.RECEIPT_REQUEST)) is not None]
    if not values:
        return None
    if original.cms.content_type == oids.RECEIPT:
        raise SmimeError(Reason.ATTRIBUTES, "a receipt that asks for a receipt")
    if len(set(values)) > 1:
        raise SmimeError(Reason.ATTRIBUTES, "signers who ask for different receipts")
    return ess.read_request(values[0])


def history(outermost: Signed) -> ess.ListPolicy | None:
    """The mail lists that expanded the message, by its outermost signature (RFC 2634 4). Raises SmimeError."""
    values = [value for info in _signer_infos(outermost.cms) if (value := _attribute(info, oids.ML_EXPANSION_HISTORY)) is not None]
    if not values:
        return None
    if len(set(values)) > 1:
        raise SmimeError(Reason.ATTRIBUTES, "signers who tell different histories")
    return ess.read_history(values[0])


def verify(receipt: Signed, original: Signed, known: Sequence[Certificate] = ()) -> Acknowledged:
    """Compare a receipt with the message it should be for (RFC 2634 2.6). Raises SmimeError with what does not match.

    `known` are certificates that may sign without being in the receipt.
    """
    if receipt.cms.content_type != oids.RECEIPT:
        raise SmimeError(Reason.CONFUSION, "not a signed receipt")
    checks = verifying.signatures(receipt.cms, known)
    if len(checks) != 1:
        raise SmimeError(Reason.MIXED_SIGNERS, "a receipt with several signers")
    (check,), (own,) = checks, _signer_infos(receipt.cms)
    if check.problem:
        raise SmimeError(check.problem, check.detail)
    if _attribute(own, oids.RECEIPT_REQUEST) is not None:
        raise SmimeError(Reason.ATTRIBUTES, "a receipt that asks for a receipt")
    content_type, identifier, signature = _read_receipt(receipt.content)
    if content_type != original.cms.content_type:
        raise SmimeError(Reason.CONFUSION, "the receipt is for content of another type")
    signers = _signer_infos(original.cms)
    number = next((index for index, one in enumerate(signers) if one.signature == signature), None)
    if number is None:
        raise SmimeError(Reason.CONFUSION, "the receipt is for another signature")
    asked = _attribute(signers[number], oids.RECEIPT_REQUEST)
    if asked is None or ess.read_request(asked).identifier != identifier:
        raise SmimeError(Reason.CONFUSION, "the receipt has another content identifier")
    digest = _attribute(own, oids.MSG_SIG_DIGEST)
    if digest is None or der.octet_content(digest, der.whole(digest, der.OCTET_STRING)) != signers[number].attributes_digest:
        raise SmimeError(Reason.ATTRIBUTES, "the receipt's digest of the original's attributes is missing or another")
    return Acknowledged(check, number, identifier)


def make(original: Signed, who: Identity, at: datetime, known: Sequence[Certificate] = ()) -> bytes:
    """The SignedData of a receipt for the first signer who asks for one, DER, to be sent as smime-type=signed-receipt.

    Only for a signature that holds. Raises SmimeError, KeyUnavailable. `ess.receivers` decides whether one is due.
    """
    request = requested(original)
    if request is None:
        raise SmimeError(Reason.ATTRIBUTES, "no receipt is asked for")
    infos = _signer_infos(original.cms)
    number = next(index for index, info in enumerate(infos) if _attribute(info, oids.RECEIPT_REQUEST) is not None)
    check = verifying.signatures(original.cms, known)[number]
    if check.problem:
        raise SmimeError(check.problem, check.detail)
    content = der.sequence(der.integer(1), original.cms.content_type, der.octets(request.identifier), der.octets(infos[number].signature))
    return _sign(content, infos[number].attributes_digest, who, at)


# --- reading ------------------------------------------------------------------------------------------------------------


def _signer_infos(content: SignedContent) -> list[_SignerInfo]:
    data = content.signer_infos
    try:
        return [_signer_info(data, info) for info in der.inside(data, der.whole(data, der.SET), der.SET, verifying.MAX_SIGNERS, 1)]
    except der.DerError as error:
        raise SmimeError(Reason.MALFORMED, str(error)) from error


def _signer_info(data: bytes, info: der.Tlv) -> _SignerInfo:
    fields = der.inside(data, info, der.SEQUENCE, 7, 5)
    signed = fields[3] if fields[3][0] == 0xA0 else None
    if signed and len(fields) < 6:
        raise SmimeError(Reason.MALFORMED, "SignerInfo")
    value = fields[5] if signed else fields[4]
    attributes = b"\x31" + data[signed[1] + 1 : signed[3]] if signed else b""
    return _SignerInfo(read_digest(data[fields[2][1] : fields[2][3]]).name, attributes, data[value[2] : value[3]])


def _attribute(info: _SignerInfo, name: bytes) -> bytes | None:
    """The one value of a signed attribute that stands there once, or None. Raises SmimeError."""
    if not info.attributes:
        return None
    data, found = info.attributes, None
    try:
        for one in der.inside(data, der.whole(data, der.SET), der.SET, MAX_ATTRIBUTES):
            oid, values = der.inside(data, one, der.SEQUENCE, 2, 2)
            if data[oid[1] : oid[3]] != name:
                continue
            (value,) = der.inside(data, values, der.SET, 1, 1)
            if found is not None:
                raise der.DerError("twice")
            found = data[value[1] : value[3]]
    except der.DerError as error:
        raise SmimeError(Reason.ATTRIBUTES, "an attribute that does not stand there exactly once") from error
    return found


def _read_receipt(content: bytes) -> tuple[bytes, bytes, bytes]:
    """(content type, content identifier, signature value of the original) of a Receipt (RFC 2634 2.8)."""
    try:
        version, kind, identifier, signature = der.inside(content, der.whole(content), der.SEQUENCE, 4, 4)
        if der.small_integer(content, version) != 1 or kind[0] != der.OID:
            raise der.DerError("version or content type")
        return content[kind[1] : kind[3]], der.octet_content(content, identifier), der.octet_content(content, signature)
    except der.DerError as error:
        raise SmimeError(Reason.MALFORMED, f"Receipt: {error}") from error


# --- making -------------------------------------------------------------------------------------------------------------


def _sign(content: bytes, attributes_digest: bytes, who: Identity, at: datetime) -> bytes:
    who.certificate.require_signing_use()
    scheme = signature_for(who.certificate.public_key, restricted=who.certificate.pss)
    digest = scheme.digest
    attributes = b"".join(
        sorted(
            der.sequence(oid, der.tlv(der.SET, value))
            for oid, value in (
                (oids.CONTENT_TYPE, oids.RECEIPT),
                (oids.MESSAGE_DIGEST, der.octets(hashlib.new(digest.name, content).digest())),
                (oids.SIGNING_TIME, der.time(at)),
                (oids.MSG_SIG_DIGEST, der.octets(attributes_digest)),
                (oids.ALGORITHM_PROTECTION, der.sequence(digest.identifier, b"\xa1" + scheme.identifier[1:])),
                (
                    oids.SIGNING_CERTIFICATE_V2,
                    der.sequence(der.sequence(der.sequence(der.octets(who.certificate.sha256), issuer_serial(who.certificate)))),
                ),
            )
        )
    )
    signature = who.key.sign(der.tlv(der.SET, attributes), scheme)
    info = der.sequence(
        der.integer(1),
        who.certificate.issuer_and_serial,
        digest.identifier,
        der.tlv(0xA0, attributes),
        scheme.identifier,
        der.octets(signature),
    )
    certificates = der.explicit(0, *dict.fromkeys(one.der for one in (who.certificate, *who.chain)))
    return der.sequence(
        oids.SIGNED_DATA,
        der.explicit(
            0,
            der.sequence(
                der.integer(3),
                der.set_of([digest.identifier]),  # version 3: the content is not data (RFC 5652 5.1)
                der.sequence(oids.RECEIPT, der.explicit(0, der.octets(content))),
                certificates,
                der.tlv(der.SET, info),
            ),
        ),
    )
