"""Regressions, found by fuzzing: each was an exception that came out of a reader of foreign octets."""

from __future__ import annotations

import pytest

from mssgw.core.body import Body
from mssgw.pki import der
from mssgw.smime import EncryptionStatus, Reason, SignatureStatus
from mssgw.smime.cms import recipients
from mssgw.smime.cms.enveloped import encrypt
from mssgw.smime.errors import SmimeError
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.opening import open_now
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import MADE, SHA256, identifier
from tests.smime.forge import ENTITY, attribute, clear, content_info, opaque, plain_attributes, signed_data, signer_info
from tests.smime.people import ALICE, BOB, NOW, Authority, Person

CBC = identifier(oids.AES256_CBC, der.octets(bytes(16)))


def enveloped(info: bytes, algorithm: bytes = CBC, kind: bytes = oids.ENVELOPED_DATA) -> Body:
    content = der.sequence(oids.DATA, algorithm, der.tlv(0x80, bytes(32)))
    mac = der.octets(bytes(16)) if kind == oids.AUTH_ENVELOPED_DATA else b""
    return opaque(content_info(kind, der.sequence(der.integer(2), der.tlv(der.SET, info), content, mac)))


ORIGINATOR = der.explicit(0, der.explicit(1, der.sequence(oids.EC_PUBLIC_KEY), der.tlv(der.BIT_STRING, b"\0\4")))
SCHEME = identifier(oids.ECDH_SHA256, identifier(oids.AES256_WRAP))


def agreement(*keys: bytes, originator: bytes = ORIGINATOR, ukm: bytes = b"") -> bytes:
    return der.explicit(1, der.integer(3), originator, ukm, SCHEME, der.sequence(*keys))


KEY_ID = der.sequence(der.tlv(0x80, b"1"), der.octets(b"x"))


@pytest.mark.parametrize(
    "info",
    [
        agreement(der.sequence()),
        agreement(der.sequence(der.sequence())),
        agreement(der.sequence(der.explicit(0), der.octets(b"x"))),
        agreement(KEY_ID, ukm=der.explicit(1)),
        der.explicit(4),
        der.explicit(4, oids.ORI_KEM),
        der.explicit(4, oids.ORI_KEM, der.sequence(der.integer(0))),
    ],
)
def test_recipients_that_lack_fields_are_refused(authority: Authority, info: bytes) -> None:
    from mssgw.smime.cms.decrypting import Reading

    bob = authority.issue("p256", BOB)
    got = open_now(enveloped(info), [bob.identity], authority.validate, NOW, reading=Reading(experimental=True))
    assert got.verdict.encryption is EncryptionStatus.FAILED
    assert got.verdict.reasons == (Reason.MALFORMED,)


@pytest.mark.parametrize("cut", [0, 1])
def test_an_originator_without_a_key_is_refused(authority: Authority, cut: int) -> None:
    """The recipient is ours, only the ephemeral key is missing."""
    bob = authority.issue("p256", BOB)
    ours = der.sequence(bob.certificate.issuer_and_serial, der.octets(bytes(40)))
    originator = der.explicit(0, der.explicit(1, der.sequence(oids.EC_PUBLIC_KEY))) if cut else der.explicit(0)
    got = open_now(enveloped(agreement(ours, originator=originator)), [bob.identity], authority.validate, NOW)
    assert got.verdict.encryption is EncryptionStatus.FAILED


def test_gcm_without_parameters_is_refused(authority: Authority, bob: Person) -> None:
    info = recipients.recipient(bob.certificate, oaep=True).wrap(bytes(32))
    body = enveloped(info, identifier(oids.AES256_GCM, der.sequence()), oids.AUTH_ENVELOPED_DATA)
    assert open_now(body, [bob.identity], authority.validate, NOW).verdict.encryption is EncryptionStatus.FAILED


def test_authenticated_attributes_without_a_value_are_refused(authority: Authority, bob: Person) -> None:
    out: list[bytes] = []
    encrypt([ENTITY], len(ENTITY), [recipients.recipient(bob.certificate, oaep=True)], MADE["aes256-gcm"], out.append)
    cms = b"".join(out)
    fields = der.inside(cms, der.whole(cms), der.SEQUENCE)
    (data,) = der.inside(cms, fields[1], 0xA0)
    parts = [cms[one[1] : one[3]] for one in der.inside(cms, data, der.SEQUENCE)]
    broken = content_info(oids.AUTH_ENVELOPED_DATA, der.sequence(*parts[:3], der.explicit(1, der.sequence()), parts[3]))
    got = open_now(opaque(broken), [bob.identity], authority.validate, NOW)
    assert got.verdict.encryption is EncryptionStatus.FAILED


def test_a_signer_without_a_signature_is_refused(authority: Authority, alice: Person) -> None:
    info = signer_info(alice, plain_attributes(ENTITY))
    fields = der.inside(info, der.whole(info), der.SEQUENCE)
    short = der.sequence(*(info[one[1] : one[3]] for one in fields[:5]))
    got = open_now(clear(ENTITY, signed_data([short], [alice])), (), authority.validate, NOW)
    assert got.verdict.signature is SignatureStatus.INVALID


@pytest.mark.parametrize(
    "value",
    [
        der.sequence(),
        der.sequence(der.sequence()),
        der.sequence(der.sequence(der.sequence())),
        der.sequence(der.sequence(der.sequence(SHA256.identifier))),
    ],
)
def test_a_signing_certificate_without_its_hash_is_refused(authority: Authority, alice: Person, value: bytes) -> None:
    attributes = plain_attributes(ENTITY, attribute(oids.SIGNING_CERTIFICATE_V2, value))
    got = open_now(clear(ENTITY, signed_data([signer_info(alice, attributes)], [alice])), (), authority.validate, NOW)
    assert got.verdict.signature is SignatureStatus.INVALID


def test_an_unsigned_attribute_without_a_name_is_refused(authority: Authority, alice: Person) -> None:
    info = signer_info(alice, plain_attributes(ENTITY), unsigned=[der.sequence()])
    got = open_now(clear(ENTITY, signed_data([info], [alice])), (), authority.validate, NOW)
    assert got.verdict.signature is SignatureStatus.INVALID


@pytest.mark.parametrize("tag", [0xA3, 0xA5])
def test_a_name_of_a_kind_nobody_uses_makes_the_certificate_unreadable(authority: Authority, tag: int) -> None:
    """x400Address and ediPartyName (RFC 5280 4.2.1.6)."""
    good = authority.issue("p256", ALICE).der
    name = der.tlv(0x81, ALICE.encode())
    assert name in good
    odd = Certificate(good.replace(name, bytes((tag,)) + name[1:]))
    with pytest.raises(SmimeError):
        odd.addresses  # noqa: B018
    with pytest.raises(SmimeError):
        odd.require_signing_use()
