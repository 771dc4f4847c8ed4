"""Whether mail is protected already is read from its content, never from its Content-Type. Regression: mail left in clear, and unsigned."""

from __future__ import annotations

import pytest

from mssgw import smime
from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.smime.opening import open_now
from mssgw.smime.protecting import Protected, protect_now
from mssgw.smime.wire import oids
from tests.smime import forge
from tests.smime.letters import letter
from tests.smime.people import ALICE, BOB, NOW, Authority, Person, private

SECRET = b"RESULTAT EN CLAIR"
TO = Address.parse(BOB)
STRICT = smime.Policy("always", "always")
HIDING = smime.Policy("never", "always")


def sent(authority: Authority, signer: Person, bob: Person, body: Body, policy: smime.Policy = STRICT) -> Protected:
    found = {TO: [smime.Candidate(bob.der, "file")]}
    (copy,) = protect_now(body, [TO], policy, NOW, signer.identity, found, authority.validate)
    return copy


def labelled(kind: str, content: bytes = SECRET, encoding: str = "7bit") -> Body:
    return Body.of(
        f"From: <{ALICE}>\r\nTo: <{BOB}>\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode()
        + content
        + b"\r\n"
    )


@pytest.mark.parametrize(
    "kind",
    [
        "application/pkcs7-mime; name=smime.p7m",
        "application/x-pkcs7-mime",
        "application/pkcs7-mime; smime-type=enveloped-data",
        "application/pkcs7-mime; smime-type=authEnveloped-data",
        "application/octet-stream; name=smime.p7m",
        'multipart/signed; protocol="application/pkcs7-signature"; boundary=x',
    ],
)
def test_text_in_clear_under_a_label_is_signed_and_encrypted(authority: Authority, alice: Person, bob: Person, kind: str) -> None:
    copy = sent(authority, alice, bob, labelled(kind))
    assert copy.cipher
    assert SECRET not in copy.body.read()
    got = open_now(copy.body, [bob.identity], authority.validate, NOW)
    assert got.verdict.layers[:2] == ("encrypted", "signed")
    assert SECRET in got.readable.read()


@pytest.mark.parametrize(
    "kind",
    [
        "application/pkcs7-mime; name=smime.p7m",
        "application/x-pkcs7-mime; name=smime.p7m",
        "application/pkcs7-mime; smime-type=enveloped-data",
        "application/pkcs7-mime; smime-type=compressed-data",
    ],
)
def test_an_opaque_signature_is_no_encryption_whatever_it_is_called(authority: Authority, alice: Person, bob: Person, kind: str) -> None:
    (opaque,) = protect_now(letter(), [TO], smime.Policy("always", "never", opaque=True), NOW, alice.identity, {}, authority.validate)
    relabelled = Body.of(opaque.body.read().replace(b"application/pkcs7-mime; smime-type=signed-data", kind.encode()))
    copy = sent(authority, alice, bob, relabelled)
    assert copy.cipher
    assert copy.signature == ""  # the client's own is good
    got = open_now(copy.body, [bob.identity], authority.validate, NOW)
    assert got.verdict.layers == ("encrypted", "opaque-signed")
    assert got.verdict.valid


def test_what_the_client_encrypted_is_not_encrypted_again(authority: Authority, alice: Person, bob: Person) -> None:
    hidden = sent(authority, alice, bob, letter(), HIDING).body
    assert sent(authority, alice, bob, hidden, HIDING).body is hidden
    for wrong in ("application/pkcs7-mime; smime-type=signed-data", "application/octet-stream; name=smime.p7m"):
        raw = hidden.read()
        kept = Body.of(raw.replace(b"application/pkcs7-mime; smime-type=enveloped-data", wrong.encode()))
        assert sent(authority, alice, bob, kept, HIDING).body is kept


def test_an_envelope_that_is_none_is_encrypted(authority: Authority, alice: Person, bob: Person) -> None:
    hidden = sent(authority, alice, bob, letter(), HIDING).body.read()
    head, _, lines = hidden.partition(b"\r\n\r\n")
    cut = Body.of(head + b"\r\n\r\n" + lines[: len(lines) // 2 // 78 * 78])
    nobody = forge.opaque(forge.content_info(oids.ENVELOPED_DATA, b"\x02\x01\x00\x31\x00\x30\x00"))
    for body in (cut, nobody):
        copy = sent(authority, alice, bob, body, HIDING)
        assert copy.cipher
        assert copy.body is not body


@pytest.mark.parametrize("protocol", ["application/pgp-signature", "application/pkcs7-signature"])
def test_a_signature_that_is_none_is_signed_over(authority: Authority, alice: Person, bob: Person, protocol: str) -> None:
    body = labelled(
        f'multipart/signed; protocol="{protocol}"; micalg=sha-256; boundary=o',
        b"--o\r\nContent-Type: text/plain\r\n\r\nbonjour\r\n--o\r\nContent-Type: " + protocol.encode() + b"; name=smime.p7s\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--o--",
    )
    copy = sent(authority, alice, bob, body, smime.Policy("always", "never"))
    assert copy.signature
    assert copy.body is not body


def test_a_stranger_s_signature_is_signed_over(authority: Authority, alice: Person, bob: Person) -> None:
    untrusted = Authority(cn="Autre AC", key=private("rsa", 98))
    stranger = untrusted.issue("rsa", ALICE, number=7)
    for other, house in ((stranger, untrusted), (bob, authority)):  # of nobody we trust; trusted, and not the author
        (signed,) = protect_now(letter(), [TO], smime.Policy("always", "never"), NOW, other.identity, {}, house.validate)
        copy = sent(authority, alice, bob, signed.body, smime.Policy("always", "never"))
        assert copy.signature
        assert open_now(copy.body, [], authority.validate, NOW).verdict.layers == ("signed", "signed")
