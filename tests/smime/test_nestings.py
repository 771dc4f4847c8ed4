"""Layers in every order: whose signature counts, and what it may count for (RFC 8551 3.7, RFC 3274, RFC 5652 11.4)."""

from __future__ import annotations

import hashlib
import zlib

import pybase64
import pytest

from mssgw.core.body import Body
from mssgw.pki import der
from mssgw.smime import files
from mssgw.smime.errors import Reason
from mssgw.smime.opening import Opened, open_now
from mssgw.smime.verdict import SignatureStatus
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import identifier
from tests.smime.forge import (
    ENTITY,
    HEADER,
    attribute,
    clear,
    compressed,
    content_info,
    good,
    opaque,
    plain_attributes,
    signed_data,
    signer_info,
)
from tests.smime.people import NOW, Authority, Person

COUNTERSIGNATURE = der.oid("1.2.840.113549.1.9.6")


def entity_of(whole: Body | bytes) -> bytes:
    """A message without the fields that are not of its entity."""
    octets = whole if isinstance(whole, bytes) else whole.read()
    return octets.removeprefix(HEADER.encode())


def sign(inside: bytes, who: Person) -> bytes:
    return entity_of(
        clear(inside, good(who, inside)).read().replace(b'"b"', b'"s%d"' % len(inside)).replace(b"--b", b"--s%d" % len(inside))
    )


def seal(inside: bytes, who: Person) -> bytes:
    return entity_of(opaque(signed_data([signer_info(who, plain_attributes(inside))], [who], inside)))


def squeeze(inside: bytes, _who: Person) -> bytes:
    return entity_of(opaque(compressed(inside)))


def hide(inside: bytes, who: Person) -> bytes:
    """To the one who reads, with integrity."""
    hidden, _ = files.encrypt(Body.of(inside), [who.certificate], "aes256-gcm", oaep=False, experimental=False)
    return hidden.read().removeprefix(b"MIME-Version: 1.0\r\n")


STEPS = {"S": sign, "O": seal, "C": squeeze, "E": hide}


def nested(order: str, alice: Person, bob: Person) -> Body:
    """ENTITY within these layers, the outermost first."""
    made = ENTITY
    for step in reversed(order):
        made = STEPS[step](made, bob if step == "E" else alice)
    return Body.of(HEADER.encode() + made)


def opened(authority: Authority, body: Body, *readers: Person) -> Opened:
    return open_now(body, [one.identity for one in readers], authority.validate, NOW)


@pytest.mark.parametrize("order", ["S", "O", "CS", "SC", "CO", "OC", "ES", "EO", "ECS", "ESC", "CES", "SES", "SEO", "OCES", "SO"])
def test_the_innermost_signature_that_knows_the_text_is_a_pass(authority: Authority, alice: Person, bob: Person, order: str) -> None:
    got = opened(authority, nested(order, alice, bob), bob)
    assert got.verdict.valid, (got.verdict.reasons, got.verdict.details)
    assert len(got.verdict.layers) == len(order)
    assert b"Bonjour" in got.readable.read()


@pytest.mark.parametrize("order", ["SE", "OE", "CSE", "SCE", "OCE", "SEC", "ECSE", "SSE"])
def test_a_signature_outside_of_the_innermost_encryption_is_none(authority: Authority, alice: Person, bob: Person, order: str) -> None:
    got = opened(authority, nested(order, alice, bob), bob)
    assert not got.verdict.valid
    assert Reason.OUTSIDE in got.verdict.reasons
    assert b"Bonjour" in got.readable.read()


@pytest.mark.parametrize("order", ["CC", "SCC", "CSC", "SSSSSS", "CECS", "SCECS"])
def test_nestings_that_no_program_makes_are_no_pass(authority: Authority, alice: Person, bob: Person, order: str) -> None:
    """Compressed twice is a bomb, and more than five layers are not opened."""
    got = opened(authority, nested(order, alice, bob), bob)
    assert not got.verdict.valid
    assert set(got.verdict.reasons) & {Reason.UNSUPPORTED, Reason.LIMIT}


def test_of_two_signatures_one_in_the_other_the_inner_one_counts(authority: Authority, alice: Person) -> None:
    """A list or a colleague signs around what the author signed: From has to be the author."""
    mallory = authority.issue("rsa", "mallory@alpha.mssante.test", number=3)
    around, inside = seal(sign(ENTITY, alice), mallory), seal(sign(ENTITY, mallory), alice)
    assert opened(authority, Body.of(HEADER.encode() + around)).verdict.valid
    got = opened(authority, Body.of(HEADER.encode() + inside)).verdict
    assert not got.valid
    assert Reason.FROM in got.reasons


@pytest.mark.parametrize("holds", [True, False])
def test_a_countersignature_changes_nothing(authority: Authority, alice: Person, holds: bool) -> None:
    """It stands among the unsigned attributes: anybody may add one, and it is about the signature, not about the text."""
    mallory = authority.issue("rsa", "mallory@alpha.mssante.test", number=3)
    over = hashlib.sha256(b"any signature").digest() if holds else b"x" * 32
    counter = signer_info(mallory, [attribute(oids.MESSAGE_DIGEST, der.octets(over))])
    info = signer_info(alice, plain_attributes(ENTITY), unsigned=[attribute(COUNTERSIGNATURE, counter)])
    got = opened(authority, clear(ENTITY, signed_data([info], [alice, mallory]))).verdict
    assert got.valid
    assert got.reasons == ()
    assert [one.addresses for one in got.signers] == [("alice.martin@alpha.mssante.test",)]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("other", ["altered", "unknown", "weak attributes"])
def test_a_signer_who_does_not_hold_spoils_one_who_does(authority: Authority, alice: Person, other: str, order: int) -> None:
    stranger = Authority("Strangers").issue("rsa", "alice.martin@alpha.mssante.test", number=5)
    infos = {
        "altered": signer_info(alice, plain_attributes(b"another text")),
        "unknown": signer_info(stranger, plain_attributes(ENTITY)),
        "weak attributes": signer_info(alice, [attribute(oids.CONTENT_TYPE, oids.DATA)]),
    }
    both = [signer_info(alice, plain_attributes(ENTITY)), infos[other]][::order]
    got = opened(authority, clear(ENTITY, signed_data(both, [alice]))).verdict
    assert not got.valid
    assert got.signature in (SignatureStatus.INVALID, SignatureStatus.UNTRUSTED)


def test_huge_headers_around_a_signature_are_judged_whole(authority: Authority, alice: Person) -> None:
    """200,000 octets of fields, each of a kind that is looked into."""
    many = "".join(f"X-A{n}: =?utf-8?q?a?= (b) <c@d.test>, \r\n" for n in range(1500))
    fields = f"Cc: {'<a@b.test>, ' * 4000}<a@b.test>\r\nResent-From: {'<a@b.test>,' * 4000}\r\nReferences: {'<1@b.test> ' * 2000}\r\n"
    body = clear(ENTITY, good(alice), header=HEADER + many + fields)
    got = opened(authority, body)
    assert got.verdict.valid
    assert got.verdict.reasons == (Reason.RESENT,)


def test_an_encrypted_message_in_a_signed_attachment_is_not_vouched_for(authority: Authority, alice: Person, bob: Person) -> None:
    inside = (
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n"
        + hide(ENTITY, bob)
        + b"\r\n--o--\r\n"
    )
    got = opened(authority, clear(inside, good(alice, inside)), bob).verdict
    assert not got.valid
    assert Reason.OUTSIDE in got.reasons


def test_octets_after_compressed_content_are_no_pass(authority: Authority, alice: Person) -> None:
    """Octets after the end of the stream: one reader would show them, another would not."""
    stream = zlib.compress(sign(ENTITY, alice)) + zlib.compress(ENTITY.replace(b"Bonjour", b"FAUX"))
    inner = der.sequence(oids.DATA, der.explicit(0, der.octets(stream)))
    whole = content_info(oids.COMPRESSED_DATA, der.sequence(der.integer(0), identifier(oids.ZLIB), inner))
    armoured = pybase64.encodebytes(whole).replace(b"\n", b"\r\n")
    kind = b"Content-Type: application/pkcs7-mime; name=smime.p7z\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    got = opened(authority, Body.of(HEADER.encode() + kind + armoured))
    assert not got.verdict.valid
