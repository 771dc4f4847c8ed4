"""SignedData, made (RFC 5652 5, RFC 8551 2).

A `Signer` is prepared once per identity: certificates, identifiers and the attributes that never change
are DER already; to sign a message means to fill in digest and time, one private operation, one join. The
content itself never comes here; the caller streams it and gives its digest.

Signed attributes: content type, signing time, message digest, capabilities, signing certificate v2,
algorithm protection, encryption key preference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from mssgw.pki import der
from mssgw.smime.cms import capabilities
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.keys.key import Identity
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import Digest, Signature, signature_for


class Signer:
    """Signs digests for one identity with one algorithm. Safe to share between threads."""

    def __init__(self, who: Identity, *, pss: bool = False, scheme: Signature | None = None, reads_with: Certificate | None = None) -> None:
        """`reads_with` is the certificate answers should be encrypted to. Raises SmimeError when the key can't sign."""
        who.certificate.require_signing_use()
        self.identity = who
        self.scheme = scheme or signature_for(who.certificate.public_key, pss, who.certificate.pss)
        self.digest: Digest = self.scheme.digest
        self._attributes = self._prepare_attributes(reads_with or who.certificate)
        self._head = der.integer(1) + der.set_of([self.digest.identifier])
        self._certificates = der.explicit(0, *dict.fromkeys(one.der for one in (who.certificate, *who.chain)))
        self._signer_head = der.integer(1) + who.certificate.issuer_and_serial + self.digest.identifier
        self._encapsulated = der.sequence(oids.DATA)

    def _prepare_attributes(self, reads_with: Certificate) -> tuple[bytes, bytes, bytes, bool]:
        """The sorted attributes cut at the two values that change: (before, between, after, digest first)."""
        digest = der.octets(bytes(self.digest.hash.digest_size))
        moment = der.tlv(der.UTC_TIME, b"000101000000Z")
        protection = self.digest.identifier + b"\xa1" + self.scheme.identifier[1:]  # RFC 6211: [1] IMPLICIT
        certificate_hash = hashlib.sha256(self.identity.certificate.der).digest()
        fixed = [
            (oids.CONTENT_TYPE, oids.DATA),
            (oids.SIGNING_TIME, moment),
            (oids.MESSAGE_DIGEST, digest),
            (oids.SMIME_CAPABILITIES, capabilities.own(self.identity.certificate, self.identity.key.oaep)),
            (
                oids.SIGNING_CERTIFICATE_V2,
                der.sequence(der.sequence(der.sequence(der.octets(certificate_hash), issuer_serial(self.identity.certificate)))),
            ),  # RFC 5035 3: SHA-256 is the default
            (oids.ALGORITHM_PROTECTION, der.sequence(protection)),
        ]
        if reads_with.pss is None:
            fixed.append((oids.ENCRYPTION_KEY_PREFERENCE, b"\xa0" + reads_with.issuer_and_serial[1:]))  # RFC 8551 2.5.3
        # Lengths are the same for every message, so is the DER order of the set.
        joined = b"".join(sorted(der.sequence(oid, der.tlv(der.SET, value)) for oid, value in fixed))
        at_digest = joined.index(oids.MESSAGE_DIGEST) + len(oids.MESSAGE_DIGEST) + 2
        at_time = joined.index(oids.SIGNING_TIME) + len(oids.SIGNING_TIME) + 2
        (first, size), (second, other) = sorted([(at_digest, len(digest)), (at_time, len(moment))])
        return joined[:first], joined[first + size : second], joined[second + other :], at_digest < at_time

    def attributes(self, digest: bytes, when: datetime) -> bytes:
        """The content of SignedAttributes, without its tag and length."""
        before, between, after, digest_first = self._attributes
        values = (der.octets(digest), der.time(when))
        first, second = values if digest_first else values[::-1]
        return b"".join((before, first, between, second, after))

    def sign(self, digest: bytes, when: datetime) -> bytes:
        """ContentInfo with a detached SignedData over the content of that digest. Raises KeyUnavailable."""
        return _content_info(self._signed_data(self._encapsulated, digest, when))

    def _signed_data(self, encapsulated: bytes, digest: bytes, when: datetime) -> tuple[bytes, ...]:
        return (self._head, encapsulated, self._certificates, self.signer_infos(digest, when))

    def signer_infos(self, digest: bytes, when: datetime) -> bytes:
        """The SET OF SignerInfo with our one signature."""
        attributes = self.attributes(digest, when)
        size = der.length(len(attributes))
        signature = self.identity.key.sign(b"\x31" + size + attributes, self.scheme)  # RFC 5652 5.4: signed as SET OF
        return der.tlv(der.SET, der.sequence(self._signer_head, b"\xa0", size, attributes, self.scheme.identifier, der.octets(signature)))

    def opaque(self, size: int, digest: bytes, when: datetime) -> tuple[bytes, bytes]:
        """The octets before and after `size` octets of content in an opaque SignedData (application/pkcs7-mime)."""
        infos = self.signer_infos(digest, when)
        content = der.header(der.OCTET_STRING, size)
        wrapped = der.header(0xA0, len(content) + size)
        inner = oids.DATA + wrapped + content
        encapsulated = der.header(der.SEQUENCE, len(inner) + size) + inner
        after = self._certificates + infos
        fields = self._head + encapsulated
        signed_data = der.header(der.SEQUENCE, len(fields) + size + len(after)) + fields
        explicit = der.header(0xA0, len(signed_data) + size + len(after)) + signed_data
        start = oids.SIGNED_DATA + explicit
        return der.header(der.SEQUENCE, len(start) + size + len(after)) + start, after


def issuer_serial(one: Certificate) -> bytes:
    """IssuerSerial of RFC 5035: GeneralNames with the directory name, serial."""
    return der.sequence(der.sequence(der.explicit(4, one.issuer_der)), one.serial_der)


def _content_info(fields: Sequence[bytes]) -> bytes:
    return der.sequence(oids.SIGNED_DATA, der.explicit(0, der.sequence(*fields)))


def certificates_only(certificates: Sequence[Certificate]) -> bytes:
    """A certs-only SignedData (RFC 8551 3.8), a .p7c."""
    return _content_info(
        (der.integer(1), der.set_of([]), der.sequence(oids.DATA), der.explicit(0, *(one.der for one in certificates)), der.set_of([]))
    )
