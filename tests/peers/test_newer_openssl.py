"""OpenSSL 3.5: Ed25519 and ML-DSA signatures in CMS, both directions; what it can't read; and its ML-KEM beside asn1crypto."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from asn1crypto import algos, cms, core
from asn1crypto import x509 as asn1
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from mssgw.pki import der
from mssgw.smime.cms import recipients, verifying
from mssgw.smime.cms.decrypting import Reading, decrypt
from mssgw.smime.cms.enveloped import encrypt
from mssgw.smime.cms.signed import Signer
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import MADE, identifier
from mssgw.smime.wire.ber import Stream
from tests.peers.newer_openssl import NewerOpenSsl
from tests.peers.smime_matrix import ENTITY
from tests.smime.forge import content_info
from tests.smime.people import ALICE, BOB, NOW, Authority, Person


@pytest.fixture(scope="module")
def openssl() -> NewerOpenSsl:
    return NewerOpenSsl.found()


@pytest.fixture
def authority() -> Authority:
    return Authority()


def signed(who: Person) -> bytes:
    signer = Signer(who.identity)
    before, after = signer.opaque(len(ENTITY), hashlib.new(signer.digest.name, ENTITY).digest(), NOW)
    return before + ENTITY + after


def hidden(who: Person, cipher: str) -> bytes:
    out: list[bytes] = []
    encrypt([ENTITY], len(ENTITY), [recipients.recipient(who.certificate, oaep=True, experimental=True)], MADE[cipher], out.append)
    return b"".join(out)


KINDS = ["rsa", "p256", "p384", "ed25519", "mldsa44", "mldsa65", "mldsa87"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_verifies_ours(openssl: NewerOpenSsl, authority: Authority, kind: str) -> None:
    made = signed(authority.issue(kind, ALICE))
    assert openssl.verify(made) == ENTITY
    with pytest.raises(openssl.Refused, match="verification failure"):
        openssl.verify(made.replace(b"compte rendu", b"compte vendu"))


@pytest.mark.parametrize("kind", KINDS)
def test_we_verify_its(openssl: NewerOpenSsl, authority: Authority, kind: str) -> None:
    who = authority.issue(kind, ALICE)
    made = openssl.sign(ENTITY, who.pem(), who.key_pem(), "SHA512")
    (check,) = verifying.signatures(verifying.read(Stream([made]), len), experimental=True)
    assert check.problem is None, check.detail
    assert check.certificate == who.certificate
    (check,) = verifying.signatures(verifying.read(Stream([made.replace(b"compte rendu", b"compte vendu")]), len), experimental=True)
    assert check.problem is verifying.Reason.DIGEST


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
@pytest.mark.parametrize("cipher", ["aes256-gcm", "aes256-cbc"])
def test_both_decrypt(openssl: NewerOpenSsl, authority: Authority, kind: str, cipher: str) -> None:
    who = authority.issue(kind, BOB, number=1)
    assert openssl.decrypt(hidden(who, cipher), who.pem(), who.key_pem()) == ENTITY
    made = openssl.encrypt(ENTITY, who.pem(), {"aes256-gcm": "aes-256-gcm", "aes256-cbc": "aes-256-cbc"}[cipher])
    plain: list[bytes] = []
    decrypt(lambda: Stream([made]), [who.identity], lambda: lambda chunk: plain.append(bytes(chunk)), Reading())
    assert b"".join(plain) == ENTITY


@pytest.mark.parametrize("kind", ["x25519", "mlkem768"])
def test_what_is_beyond_it(openssl: NewerOpenSsl, authority: Authority, kind: str) -> None:
    """When this fails, a newer OpenSSL knows X25519 or KEM recipients, and the matrix gains a row."""
    who = authority.issue(kind, BOB, number=1)
    with pytest.raises(openssl.Refused, match="no matching recipient"):
        openssl.decrypt(hidden(who, "aes256-gcm"), who.pem(), who.key_pem())
    with pytest.raises(openssl.Refused, match="not supported for this keytype"):
        openssl.encrypt(ENTITY, who.pem(), "aes-256-cbc")


class KemRecipientInfo(core.Sequence):  # type: ignore[misc]
    """KEMRecipientInfo (RFC 9629 3) as asn1crypto classes."""

    _fields = [  # noqa: RUF012 - asn1crypto's way
        ("version", core.Integer),
        ("rid", cms.RecipientIdentifier),
        ("kem", algos.AlgorithmIdentifier),
        ("kemct", core.OctetString),
        ("kdf", algos.AlgorithmIdentifier),
        ("kek_length", core.Integer),
        ("ukm", core.OctetString, {"explicit": 0, "optional": True}),
        ("wrap", algos.AlgorithmIdentifier),
        ("encrypted_key", core.OctetString),
    ]


class OtherInfo(core.Sequence):  # type: ignore[misc]
    """CMSORIforKEMOtherInfo (RFC 9629 5)."""

    _fields = [  # noqa: RUF012 - asn1crypto reads it
        ("wrap", algos.AlgorithmIdentifier),
        ("kek_length", core.Integer),
        ("ukm", core.OctetString, {"explicit": 0, "optional": True}),
    ]


def hkdf_sha256(secret: bytes, info: bytes) -> bytes:
    """HKDF with no salt, one block."""
    return hmac.digest(hmac.digest(bytes(32), secret, "sha256"), info + b"\1", "sha256")


def kek(secret: bytes, info: KemRecipientInfo) -> bytes:
    there = [name for name in ("wrap", "kek_length", "ukm") if info[name].native is not None]
    return hkdf_sha256(secret, OtherInfo({name: info[name] for name in there}).dump())


def test_its_kem_and_asn1crypto_read_our_recipient(openssl: NewerOpenSsl, authority: Authority) -> None:  # RFC 9629, 9936
    """Neither program reads KEM recipients: OpenSSL does ML-KEM, asn1crypto the ASN.1, and the standard library derives the key."""
    who, content_key = authority.issue("mlkem768", BOB, number=1), bytes(range(32))
    other = cms.RecipientInfo.load(recipients.recipient(who.certificate, oaep=False, experimental=True).wrap(content_key)).chosen
    assert other["ori_type"].dotted == "1.2.840.113549.1.9.16.13.3"
    info = KemRecipientInfo.load(other["ori_value"].dump(), strict=True)
    assert (info["version"].native, info["kem"]["algorithm"].dotted, info["kdf"]["algorithm"].dotted, info["kek_length"].native) == (
        0,
        "2.16.840.1.101.3.4.4.2",
        "1.2.840.113549.1.9.16.3.28",
        32,
    )
    assert info["rid"].chosen["serial_number"].native == who.cert.serial_number
    secret = openssl.decapsulate(info["kemct"].native, who.pem(), who.key_pem())
    assert aes_key_unwrap(kek(secret, info), info["encrypted_key"].native) == content_key


@pytest.mark.parametrize("material", [None, b"material"], ids=["plain", "with keying material"])
def test_we_read_what_its_kem_and_asn1crypto_make(openssl: NewerOpenSsl, authority: Authority, material: bytes | None) -> None:
    who, content_key, vector = authority.issue("mlkem768", BOB, number=1), bytes(range(32)), bytes(16)
    secret, ciphertext = openssl.encapsulate(who.pem())
    ours = asn1.Certificate.load(who.der)
    fields: dict[str, object] = {
        "version": 0,
        "kem": {"algorithm": "2.16.840.1.101.3.4.4.2"},
        "kemct": ciphertext,
        "kek_length": 32,
        "encrypted_key": b"",
        "kdf": {"algorithm": "1.2.840.113549.1.9.16.3.28"},
        "wrap": {"algorithm": "2.16.840.1.101.3.4.1.45"},
        "rid": cms.RecipientIdentifier("issuer_and_serial_number", {"issuer": ours.issuer, "serial_number": ours.serial_number}),
    }
    info = KemRecipientInfo(fields | ({"ukm": material} if material else {}))
    info["encrypted_key"] = aes_key_wrap(kek(secret, info), content_key)
    ori = der.explicit(4, oids.ORI_KEM, info.dump())
    padded = ENTITY + bytes((16 - len(ENTITY) % 16,)) * (16 - len(ENTITY) % 16)
    hidden = der.sequence(
        oids.DATA,
        identifier(oids.AES256_CBC, der.octets(vector)),
        der.tlv(0x80, Cipher(AES(content_key), CBC(vector)).encryptor().update(padded)),
    )
    made = content_info(oids.ENVELOPED_DATA, der.sequence(der.integer(3), der.tlv(der.SET, ori), hidden))
    plain: list[bytes] = []
    found = decrypt(lambda: Stream([made]), [who.identity], lambda: lambda chunk: plain.append(bytes(chunk)), Reading(experimental=True))
    assert (found.transport, b"".join(plain)) == ("ml-kem-768", ENTITY)
