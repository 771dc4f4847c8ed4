"""Messages by others: each is read, or refused for the reason in the table (docs/smime.md shows the same table)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pybase64
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mssgw.core.body import Body
from mssgw.pki import der
from mssgw.pki.judgement import Evidence, Purpose
from mssgw.smime import Reason
from mssgw.smime.cms.decrypting import Reading
from mssgw.smime.cms.recipients import kem_info
from mssgw.smime.errors import SmimeError, Undecryptable
from mssgw.smime.keys import key as keys
from mssgw.smime.keys.certificates import Certificate, certificate
from mssgw.smime.keys.key import Identity, SoftKey, load_private
from mssgw.smime.opening import Opened, open_now
from mssgw.smime.verdict import EncryptionStatus, SignatureStatus
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import DIGESTS, SHA1, SHA256, Oaep, identifier, pss_padding, read_signature
from tests.material import OURS, place

DATA = OURS / "crypto"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def believe(octets: bytes, purpose: Purpose, at: datetime) -> Evidence:
    """A validator that accepts every certificate: the messages are under test here, not certification paths."""
    return Evidence("", "", "", "", at, purpose, "none")


def message(path: Path) -> Body:
    data = path.read_bytes()
    if b"-----BEGIN" in data:
        data = pybase64.b64decode(b"".join(data.partition(b"-----BEGIN")[2].split(b"-----")[1].split()))
    if not data.startswith(b"0"):
        return Body.of(data)
    return Body.of(
        b"From: a@b.test\r\nMIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; name=smime.p7m\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n" + data
    )


def opened(name: str, *readers: Identity, known: tuple[Certificate, ...] = ()) -> Opened:
    return open_now(message(DATA / name), readers, believe, NOW, reading=Reading(legacy=True, experimental=True), known=known)


VALID, INVALID, NO_KEY, FAILED = SignatureStatus.VALID, SignatureStatus.INVALID, EncryptionStatus.NO_KEY, EncryptionStatus.FAILED
UNSIGNED, UNENCRYPTED = SignatureStatus.NONE, EncryptionStatus.NONE

TABLE: dict[str, tuple[SignatureStatus, EncryptionStatus, Reason | None]] = {
    # RFC 4134: algorithms of 2005. Taken apart whole, refused for SHA-1.
    **{
        f"rfc4134/4.{number}": (INVALID, UNENCRYPTED, Reason.WEAK)
        for number in ("1.bin", "2.bin", "3.bin", "4.bin", "5.bin", "6.bin", "7.bin", "8.eml", "9.eml", "10.bin")
    },
    "rfc4134/4.11.bin": (UNSIGNED, UNENCRYPTED, Reason.UNSIGNED),  # certificates only
    "rfc4134/3.1.bin": (UNSIGNED, UNENCRYPTED, Reason.UNSUPPORTED),  # Data, no S/MIME type
    "rfc4134/3.2.bin": (UNSIGNED, UNENCRYPTED, Reason.UNSUPPORTED),
    "rfc4134/6.0.bin": (UNSIGNED, UNENCRYPTED, Reason.UNSUPPORTED),  # DigestedData
    "rfc4134/7.1.bin": (UNSIGNED, UNENCRYPTED, Reason.UNSUPPORTED),  # EncryptedData
    "rfc4134/7.2.bin": (UNSIGNED, UNENCRYPTED, Reason.UNSUPPORTED),
    # OpenSSL: hostile and odd structures
    "openssl-cms/bad_signtime_attr.cms": (INVALID, UNENCRYPTED, Reason.ATTRIBUTES),
    "openssl-cms/ct_multiple_attr.cms": (INVALID, UNENCRYPTED, Reason.ATTRIBUTES),
    "openssl-cms/no_ct_attr.cms": (INVALID, UNENCRYPTED, Reason.ATTRIBUTES),
    "openssl-cms/no_md_attr.cms": (INVALID, UNENCRYPTED, Reason.ATTRIBUTES),
    "openssl-cms/pkcs7-md4.pem": (INVALID, UNENCRYPTED, Reason.UNSUPPORTED),
    "openssl-cms/pkcs7-empty-digest-set.eml": (VALID, UNENCRYPTED, None),
    "openssl-cms/SignedInvalidMappingFromanyPolicyTest7.eml": (VALID, UNENCRYPTED, None),  # only its certification path is wrong
    "openssl-cms/encDataWithTooLongIV.pem": (UNSIGNED, FAILED, Reason.WEAK),  # CVE-2025-15467
    "openssl-cms/authenveloped_attrs.pem": (UNSIGNED, NO_KEY, Reason.NO_KEY),  # for a shared key
    "openssl-cms/bad_authenveloped_attrs.pem": (UNSIGNED, NO_KEY, Reason.NO_KEY),
    "openssl-cms/cms_pwri_kek_oob.der": (UNSIGNED, NO_KEY, Reason.NO_KEY),  # for a password
    "openssl-cms/authenticated_attrs.pem": (UNSIGNED, UNENCRYPTED, Reason.UNSUPPORTED),  # AuthenticatedData
    "openssl-cms/encryptedData.der": (UNSIGNED, UNENCRYPTED, Reason.UNSUPPORTED),
    "openssl-cms/rsa-malformed.der": (UNSIGNED, NO_KEY, Reason.NO_KEY),
    "openssl-cms/dh-malformed.der": (UNSIGNED, NO_KEY, Reason.NO_KEY),
    "openssl-cms/ecdh-malformed.der": (UNSIGNED, NO_KEY, Reason.NO_KEY),
    "openssl-cms/ciphertext_from_1_1_1.cms": (UNSIGNED, NO_KEY, Reason.NO_KEY),
    # notmuch
    "notmuch-smime/smime-multipart-signed.eml": (VALID, UNENCRYPTED, None),
    "notmuch-smime/smime-onepart-signed.eml": (VALID, UNENCRYPTED, None),
}


@pytest.mark.parametrize("name", TABLE)
def test_each_message(name: str) -> None:
    found = opened(name).verdict
    signature, encryption, reason = TABLE[name]
    assert (found.signature, found.encryption) == (signature, encryption), found
    assert reason is None or reason in found.reasons


def test_every_message_is_in_the_table() -> None:
    there = {
        f"{folder.name}/{path.name}"
        for folder in (DATA / "rfc4134", DATA / "openssl-cms", DATA / "notmuch-smime")
        for path in folder.iterdir()
        if path.suffix in (".eml", ".cms", ".bin")
    } - {"rfc4134/ExContent.bin", "openssl-cms/smcont.bin"}
    tested_below = {name for name in there if "rfc4134/5" in name or "smime-enc+" in name or "smime-sign+" in name}
    assert there - tested_below <= set(TABLE)


# --- messages with keys ---------------------------------------------------------------------------------------------------


def test_rfc4134_triple_des_of_bob() -> None:
    bob = Identity(
        certificate((DATA / "rfc4134/BobRSASignByCarl.cer").read_bytes()),
        SoftKey(load_private((DATA / "rfc4134/BobPrivRSAEncrypt.pri").read_bytes()).key),
    )
    plain: list[bytes] = []
    from mssgw.smime.cms.decrypting import decrypt
    from mssgw.smime.wire.ber import Stream

    data = (DATA / "rfc4134/5.1.bin").read_bytes()
    found = decrypt(lambda: Stream([data]), [bob], lambda: plain.append, Reading(legacy=True))
    assert b"".join(plain) == (DATA / "rfc4134/ExContent.bin").read_bytes()
    assert found.cipher.name == "des-ede3-cbc"
    whole = opened("rfc4134/5.3.eml", bob)
    assert whole.verdict.encryption is EncryptionStatus.DECRYPTED, whole.verdict
    assert b"This is some sample content." in whole.readable.read()
    rc2 = (DATA / "rfc4134/5.2.bin").read_bytes()  # 40 bits
    plain.clear()
    assert decrypt(lambda: Stream([rc2]), [bob], lambda: plain.append, Reading(legacy=True)).cipher.name == "rc2-40-cbc"
    assert b"".join(plain) == (DATA / "rfc4134/ExContent.bin").read_bytes()
    with pytest.raises(SmimeError) as caught:
        decrypt(lambda: Stream([data]), [bob], lambda: plain.append)
    assert caught.value.reason is Reason.WEAK
    with pytest.raises(SmimeError) as caught:
        decrypt(lambda: Stream([rc2]), [bob], lambda: plain.append)
    assert caught.value.reason is Reason.WEAK


def bob_of_rfc9216() -> Identity:
    found = load_private((DATA / "notmuch-smime/bob.p12").read_bytes(), b"")
    assert found.certificate is not None
    return Identity(found.certificate, SoftKey(found.key), found.chain)


@pytest.mark.parametrize(
    ("name", "layers", "signature"),
    [
        ("smime-sign+enc.eml", ("encrypted", "opaque-signed"), VALID),
        ("smime-sign+enc+legacy-disp.eml", ("encrypted", "opaque-signed"), VALID),
        ("smime-enc+legacy-disp.eml", ("encrypted",), UNSIGNED),
    ],
)
def test_rfc9216_protected_headers(name: str, layers: tuple[str, ...], signature: SignatureStatus) -> None:
    """The old protected-headers="v1": the real subject was inside, "..." outside."""
    got = opened(f"notmuch-smime/{name}", bob_of_rfc9216())
    assert got.verdict.layers == layers
    assert got.verdict.signature is signature
    text = got.readable.read()
    assert b"\nSubject: ..." not in text.partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n")


@pytest.mark.parametrize("level", [44, 65, 87])
def test_ml_dsa_of_bouncy_castle(level: int) -> None:  # RFC 9882
    (signer,) = keys.load_certificates((DATA / f"bc-pqc-cms/ML-DSA-{level}-cert.pem").read_bytes())
    name = f"bc-pqc-cms/SignedData_ML-DSA-{level}.pem"
    found = opened(name, known=(signer,)).verdict
    assert found.signature is VALID, found
    assert found.signers[0].algorithm == f"ml-dsa-{level}"
    off = open_now(message(DATA / name), (), believe, NOW, known=(signer,)).verdict
    assert off.signature is INVALID


# --- Wycheproof: our handling of parameters and keys on top of the library ------------------------------------------------


def groups(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(place("crypto/wycheproof") / f"{name}.json.gz") as file:
        yield from json.load(file)["testGroups"]


@pytest.mark.material("crypto/wycheproof")
def test_pss_parameters() -> None:
    """Accepted: SHA-2, MGF1 of the same hash, a salt at least as long. All else is refused by name."""
    accepted = refused = 0
    for group in groups("rsa_pss_misc_params_test"):
        spki = bytes.fromhex(group["publicKeyDer"])
        algorithm = der.inside(spki, der.whole(spki), der.SEQUENCE)[0]
        digest = next((one for one in DIGESTS.values() if one.name == group["sha"].replace("-", "").lower()), None)
        fits = digest is not None and group["mgfSha"] == group["sha"] and group["sLen"] >= digest.hash.digest_size
        try:
            assert digest is not None or not fits
            scheme = read_signature(spki[algorithm[1] : algorithm[3]], digest or DIGESTS[next(iter(DIGESTS))])
        except SmimeError:
            assert not fits, group["tests"][0]["comment"]
            refused += 1
            continue
        assert fits
        accepted += 1
        public = load_der_public_key(spki)
        for case in group["tests"]:
            arguments = bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"]), pss_padding(scheme.digest, scheme.salt), scheme.digest.hash
            if case["result"] == "valid":
                public.verify(*arguments)  # type: ignore[union-attr,call-arg,arg-type]
            else:
                with pytest.raises(InvalidSignature):
                    public.verify(*arguments)  # type: ignore[union-attr,call-arg,arg-type]
    assert accepted > 5
    assert refused > 5


@pytest.mark.parametrize(
    ("name", "oaep"),
    [
        ("rsa_pkcs1_2048_test", None),
        ("rsa_oaep_2048_sha256_mgf1sha256_test", Oaep(SHA256, SHA256)),
        ("rsa_oaep_2048_sha1_mgf1sha1_test", Oaep(SHA1, SHA1)),
        ("rsa_oaep_2048_sha256_mgf1sha1_test", Oaep(SHA256, SHA1)),
    ],
)
@pytest.mark.material("crypto/wycheproof")
def test_rsa_decryption(name: str, oaep: Oaep | None) -> None:  # RFC 3560, 4055 4.1
    for group in groups(name):
        key = SoftKey(load_private(bytes.fromhex(group["privateKeyPkcs8"])).key)
        for case in group["tests"]:
            if case.get("label"):
                continue  # a label is refused while parameters are read
            try:
                plain = key.decrypt(bytes.fromhex(case["ct"]), oaep)
            except Undecryptable:
                assert case["result"] != "valid", case["comment"]
                continue
            if case["result"] == "valid":
                assert plain == bytes.fromhex(case["msg"])
            else:
                assert oaep is None, case["comment"]  # v1.5 gives random octets instead of an error: no oracle
                assert plain != bytes.fromhex(case["msg"]) or not case["msg"] or case["result"] == "acceptable"


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("rsa_signature_2048_sha256_test", "rsa-sha256"),
        ("ecdsa_secp256r1_sha256_test", "ecdsa-sha256"),
        ("ecdsa_secp384r1_sha384_test", "ecdsa-sha384"),
        ("ed25519_test", "ed25519"),
    ],
)
@pytest.mark.material("crypto/wycheproof")
def test_signatures(name: str, scheme: str) -> None:
    from mssgw.smime.cms.verifying import _verify
    from mssgw.smime.wire.algorithms import SIGNATURES

    counted = 0
    for group in groups(name):
        public = load_der_public_key(bytes.fromhex(group.get("publicKeyDer") or group["keyDer"]))
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            if not message:
                continue  # signed attributes are never empty
            counted += 1
            try:
                _verify(public, SIGNATURES[scheme], message, None, signature)
                holds = True
            except SmimeError:
                holds = False
            assert holds == (case["result"] == "valid") or case["result"] == "acceptable", case["comment"]
    assert counted > 50


def test_key_derivation_of_the_example_in_rfc9936() -> None:  # RFC 9936 C, RFC 9629 5
    """The library has no ML-KEM-512, so decapsulation is left out: from its shared secret to the content key."""
    wrapping = identifier(oids.AES128_WRAP)
    info = kem_info(wrapping, 16, None)
    assert info.hex() == "3010300b0609608648016503040105020110"
    secret = bytes.fromhex("7df12d412ae299a24fde6d7c3bb8e3194c80ad3c733dcf2775e09fe8bedb86d8")
    key = HKDF(hashes.SHA256(), 16, None, info).derive(secret)
    assert key.hex() == "cf453a3e2bae0a78701b8206c185a008"
    content_key = aes_key_unwrap(key, bytes.fromhex("c050e4392f9c14dd0ac2220203f317d701f94f9dd92778f5"))
    sealed = bytes.fromhex("94c8689a99d2c38e192fa6ba085cf1786c57c7402b54fc93c30a4a4533")
    assert AESGCM(content_key).decrypt(bytes.fromhex("5ca57468b81bf03b8da7186c"), sealed, None) == b"Hello, world!"
