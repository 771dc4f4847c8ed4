"""Builds CMS that no honest program makes: the attacker's workshop of the tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pybase64

from mssgw.core.body import Body
from mssgw.pki import der
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import SHA256, Signature, identifier, signature_for
from tests.smime.people import ALICE, BOB, Person


def attribute(oid: bytes, *values: bytes) -> bytes:
    return der.sequence(oid, der.tlv(der.SET, *values))


def plain_attributes(content: bytes, *more: bytes, content_type: bytes = oids.DATA, digest: bytes | None = None) -> list[bytes]:
    return [
        attribute(oids.CONTENT_TYPE, content_type),
        attribute(oids.MESSAGE_DIGEST, der.octets(digest or hashlib.sha256(content).digest())),
        *more,
    ]


def signer_info(
    who: Person,
    attributes: Sequence[bytes] | None,
    content: bytes = b"",
    *,
    scheme: Signature | None = None,
    sid: bytes | None = None,
    unsigned: Sequence[bytes] = (),
    digest_algorithm: bytes = SHA256.identifier,
) -> bytes:
    """A SignerInfo; `attributes` None signs the content itself."""
    scheme = scheme or signature_for(who.certificate.public_key)
    key = who.identity.key
    joined = b"".join(sorted(attributes)) if attributes is not None else b""
    signature = key.sign(der.tlv(der.SET, joined) if attributes is not None else content, scheme)
    return der.sequence(
        der.integer(1),
        sid or who.certificate.issuer_and_serial,
        digest_algorithm,
        der.explicit(0, joined) if attributes is not None else b"",
        scheme.identifier,
        der.octets(signature),
        der.explicit(1, *unsigned) if unsigned else b"",
    )


def signed_data(
    infos: Sequence[bytes],
    people: Sequence[Person],
    content: bytes | None = None,
    content_type: bytes = oids.DATA,
    digests: Sequence[bytes] = (SHA256.identifier,),
) -> bytes:
    inner = der.sequence(content_type, der.explicit(0, der.octets(content)) if content is not None else b"")
    certificates = der.explicit(0, *(one.der for one in people))
    return content_info(oids.SIGNED_DATA, der.sequence(der.integer(1), der.set_of(digests), inner, certificates, der.tlv(der.SET, *infos)))


def content_info(oid: bytes, value: bytes) -> bytes:
    return der.sequence(oid, der.explicit(0, value))


HEADER = f"From: <{ALICE}>\r\nTo: <{BOB}>\r\nSubject: essai\r\nMIME-Version: 1.0\r\n"
ENTITY = b"Content-Type: text/plain\r\n\r\nBonjour\r\n"


def clear(
    entity: bytes, signature: bytes, *, header: str = HEADER, micalg: str = "sha-256", before: bytes = b"", extra: bytes = b""
) -> Body:
    """multipart/signed around an entity and a CMS."""
    armoured = pybase64.encodebytes(signature).replace(b"\n", b"\r\n")
    kind = f'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg={micalg}; boundary="b"\r\n\r\n'
    return Body.of(
        header.encode()
        + kind.encode()
        + before
        + b"--b\r\n"
        + entity
        + b"\r\n--b\r\n"
        + extra
        + b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + armoured
        + b"\r\n--b--\r\n"
    )


def opaque(cms: bytes, *, header: str = HEADER, kind: str = "application/pkcs7-mime; name=smime.p7m", binary: bool = False) -> Body:
    """A message whose root is this CMS."""
    encoding = "binary" if binary else "base64"
    data = cms if binary else pybase64.encodebytes(cms).replace(b"\n", b"\r\n")
    return Body.of(f"{header}Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + data)


def good(who: Person, entity: bytes = ENTITY) -> bytes:
    """A detached signature nothing is wrong with."""
    return signed_data([signer_info(who, plain_attributes(entity))], [who])


def enveloped(who: Person, kind: bytes, oid: bytes, parameters: bytes, key: bytes, ciphertext: bytes, after: bytes = b"") -> bytes:
    """EnvelopedData or AuthEnvelopedData of any cipher, RSA v1.5 to one reader."""
    from cryptography.hazmat.primitives.asymmetric import padding

    wrapped = who.key.public_key().encrypt(key, padding.PKCS1v15())
    info = der.sequence(der.integer(0), who.certificate.issuer_and_serial, identifier(oids.RSA, der.NULL), der.octets(wrapped))
    hidden = der.sequence(oids.DATA, identifier(oid, parameters), der.tlv(0x80, ciphertext))
    return content_info(kind, der.sequence(der.integer(0), der.tlv(der.SET, info), hidden, after))


def compressed(content: bytes) -> bytes:
    """CompressedData around anything."""
    import zlib

    return content_info(
        oids.COMPRESSED_DATA,
        der.sequence(
            der.integer(0), identifier(oids.ZLIB), der.sequence(oids.DATA, der.explicit(0, der.octets(zlib.compress(content, 9))))
        ),
    )
