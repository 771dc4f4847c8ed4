"""OpenSSL 3.5: Ed25519 and ML-DSA signatures in CMS, both directions; and what it still can't read."""

from __future__ import annotations

import hashlib

import pytest

from mssgw.smime import recipients, verifying
from mssgw.smime.algorithms import MADE
from mssgw.smime.ber import Stream
from mssgw.smime.decrypting import Reading, decrypt
from mssgw.smime.enveloped import encrypt
from mssgw.smime.signed import Signer
from tests.peers.newer_openssl import NewerOpenSsl
from tests.peers.smime_matrix import ENTITY
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
