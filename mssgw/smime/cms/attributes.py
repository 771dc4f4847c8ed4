"""The signed attributes of one signer (RFC 5652 11, RFC 8551 2.5, RFC 5035, RFC 6211): read strictly, held against the message.

Exactly one content type and one message digest, both right; every attribute that we use at most once and with one
value; algorithm protection and signing certificate must agree when they are there (docs/reference/crypto.md 9.4, 9.5, 9.6, 9.7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mssgw.pki import der
from mssgw.smime.cms import capabilities, ess
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import Digest, read_digest

MAX_ATTRIBUTES = 32  # of one signer
MAX_NAMED = 20  # certificates in one SigningCertificate


@dataclass(slots=True)
class Attributes:
    """The signed attributes of one signer, those we use."""

    content_type: bytes | None = None
    message_digest: bytes | None = None
    signing_time: datetime | None = None
    capabilities: bytes | None = None
    reads_with: bytes | None = None
    protection: bytes | None = None
    signing_certificate: tuple[str, bytes] | None = None
    receipt_request: ess.ReceiptRequest | None = None

    @classmethod
    def read(cls, data: bytes, signed: der.Tlv) -> Attributes:
        """Each attribute at most once, with exactly one value (RFC 5652 11). Raises SmimeError, DerError."""
        found: dict[bytes, bytes] = {}
        for one in der.inside(data, signed, 0xA0, MAX_ATTRIBUTES):
            attribute = _attribute(data[one[1] : one[3]])
            if attribute is None:
                continue
            name, value = attribute
            if name in found:
                raise SmimeError(Reason.ATTRIBUTES, "an attribute twice")
            found[name] = value
        made = cls(content_type=found.get(oids.CONTENT_TYPE), capabilities=found.get(oids.SMIME_CAPABILITIES))
        made._read_values(found)
        return made

    def _read_values(self, found: dict[bytes, bytes]) -> None:
        if digest := found.get(oids.MESSAGE_DIGEST):
            self.message_digest = der.octet_content(digest, der.whole(digest, digest[0]))
        if moment := found.get(oids.SIGNING_TIME):
            self.signing_time = _moment(moment)
        self.protection = found.get(oids.ALGORITHM_PROTECTION)
        for oid, hashed in ((oids.SIGNING_CERTIFICATE, "sha1"), (oids.SIGNING_CERTIFICATE_V2, "sha256")):
            if value := found.get(oid):
                self.signing_certificate = _certificate_hash(value, hashed)
        if preference := found.get(oids.ENCRYPTION_KEY_PREFERENCE):
            # Advice only: a form we don't use is no reason to refuse the message (RFC 8551 2.5.3)
            self.reads_with = b"\x30" + preference[1:] if preference[:1] == b"\xa0" else None
        if request := found.get(oids.RECEIPT_REQUEST):
            self.receipt_request = ess.read_request(request)
        if lists := found.get(oids.ML_EXPANSION_HISTORY):
            ess.read_history(lists)  # `receipts` uses it; a wrong one is refused here as there
        if self.capabilities is not None:
            try:
                capabilities.read(self.capabilities)
            except der.DerError:
                self.capabilities = None

    def require(
        self,
        content_type: bytes,
        digests: Mapping[bytes, bytes],
        digest: Digest,
        data: bytes,
        digest_algorithm: der.Tlv,
        algorithm: der.Tlv,
        signer: Certificate | None,
    ) -> None:
        """Checks that attributes, content and certificate agree (RFC 5652 5.4, 11; RFC 6211 2; RFC 5035 5.4). Raises SmimeError."""
        if self.content_type != content_type:
            raise SmimeError(Reason.ATTRIBUTES, "content type attribute missing or different")
        if self.message_digest is None:
            raise SmimeError(Reason.ATTRIBUTES, "message digest attribute missing")
        if digest.oid not in digests:
            raise SmimeError(
                Reason.ATTRIBUTES,
                "digest algorithm was not announced" if digests else "a detached signature, without the content that it is about",
            )
        if self.protection is not None:
            expected = data[digest_algorithm[1] : digest_algorithm[3]] + b"\xa1" + data[algorithm[1] + 1 : algorithm[3]]
            inside = der.whole(self.protection)
            if self.protection[inside[2] :] != expected:
                raise SmimeError(Reason.ATTRIBUTES, "algorithm protection differs from the algorithms used")
        if self.signing_certificate and signer:
            name, value = self.signing_certificate
            if (signer.sha256 if name == "sha256" else hashlib.new(name, signer.der, usedforsecurity=False).digest()) != value:
                raise SmimeError(Reason.ATTRIBUTES, "signing certificate attribute names another certificate")
        if self.message_digest != digests[digest.oid]:
            raise SmimeError(Reason.DIGEST, "the content was changed after signing")


_SINGLE = frozenset(
    (
        oids.CONTENT_TYPE,
        oids.MESSAGE_DIGEST,
        oids.SIGNING_TIME,
        oids.SMIME_CAPABILITIES,
        oids.SIGNING_CERTIFICATE,
        oids.SIGNING_CERTIFICATE_V2,
        oids.ALGORITHM_PROTECTION,
        oids.ENCRYPTION_KEY_PREFERENCE,
        oids.RECEIPT_REQUEST,
        oids.ML_EXPANSION_HISTORY,
        oids.MSG_SIG_DIGEST,
    )
)


_LASTING = 1024  # octets; most attributes of a signer are the same in all their messages


@der.lasting(_LASTING)
def _attribute(octets: bytes) -> tuple[bytes, bytes] | None:
    """(type, its one value) of an attribute that we use. Raises SmimeError, DerError."""
    parts = der.inside(octets, der.whole(octets), der.SEQUENCE, 2)
    if len(parts) != 2 or parts[1][0] != der.SET:
        raise SmimeError(Reason.ATTRIBUTES, "attribute")
    name = octets[parts[0][1] : parts[0][3]]
    if name not in _SINGLE:
        return None
    value = der.read(octets, parts[1][2], parts[1][3]) if parts[1][2] < parts[1][3] else None
    if value is None or value[3] != parts[1][3]:
        raise SmimeError(Reason.ATTRIBUTES, "an attribute without exactly one value")
    return name, octets[value[1] : value[3]]


def _moment(value: bytes) -> datetime:
    """Signing time in the forms of RFC 5652 11.3. Raises SmimeError."""
    element = der.whole(value, value[0])
    try:
        return der.read_time(value[0], value[element[2] :])
    except der.DerError as error:
        raise SmimeError(Reason.ATTRIBUTES, str(error)) from error


@der.lasting(_LASTING)
def _certificate_hash(value: bytes, default: str) -> tuple[str, bytes]:
    """(hash name, hash of the first certificate) of SigningCertificate or -V2 (RFC 5035 3, 4)."""
    certs = der.inside(value, der.whole(value), der.SEQUENCE, 2, 1)[0]
    first = der.inside(value, certs, der.SEQUENCE, MAX_NAMED, 1)[0]
    fields = der.inside(value, first, der.SEQUENCE, 3, 1)
    if fields[0][0] == der.SEQUENCE:
        default = read_digest(value[fields[0][1] : fields[0][3]]).name
        del fields[0]
    if not fields:
        raise SmimeError(Reason.ATTRIBUTES, "signing certificate attribute without a hash")
    return default, der.octet_content(value, fields[0])
