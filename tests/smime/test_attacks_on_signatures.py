"""Attacks on signed mail, each a test with the number it has in docs/reference/crypto.md 9."""

from __future__ import annotations

import datetime
import hashlib

import pytest
from cryptography import x509

from mssgw import smime
from mssgw.core.body import Body
from mssgw.pki import der
from mssgw.smime import Binding, Reason, SignatureStatus
from mssgw.smime.cms.decrypting import Reading
from mssgw.smime.directories.binding import Bound
from mssgw.smime.opening import Opened, open_now
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import SHA256, SHA384, SIGNATURES, identifier
from tests.smime import forge
from tests.smime.forge import ENTITY, attribute, clear, good, opaque, plain_attributes, signed_data, signer_info
from tests.smime.people import ALICE, DAY, NOW, Authority, Person


def opened(authority: Authority, body: Body, **more) -> Opened:
    return open_now(body, more.pop("readers", ()), authority.validate, NOW, **more)


def verdict(authority: Authority, body: Body, **more) -> smime.Verdict:
    return opened(authority, body, **more).verdict


def test_the_workshop_makes_good_mail_too(authority: Authority, alice: Person) -> None:
    for body in (clear(ENTITY, good(alice)), opaque(signed_data([signer_info(alice, plain_attributes(ENTITY))], [alice], ENTITY))):
        found = verdict(authority, body)
        assert found.valid, found


# 4 ----------------------------------------------------------------------------------------------------------------------


def test_04_detached_signature_that_carries_another_content(authority: Authority, alice: Person) -> None:
    inside = b"Content-Type: text/plain\r\n\r\nwhat was really signed\r\n"
    cms = signed_data([signer_info(alice, plain_attributes(inside))], [alice], inside)
    found = verdict(authority, clear(ENTITY, cms))
    assert found.signature is SignatureStatus.INVALID
    assert Reason.CONFUSION in found.reasons


def test_04_only_the_first_part_is_hashed_and_a_third_is_refused(authority: Authority, alice: Person) -> None:  # RFC 1847 2.1
    hidden = b"Content-Type: text/html\r\n\r\n<p>not signed</p>\r\n--b\r\n"
    found = verdict(authority, clear(ENTITY, good(alice), extra=hidden))
    assert found.signature is SignatureStatus.INVALID


def test_04_text_before_the_first_boundary_is_not_shown_as_signed(authority: Authority, alice: Person) -> None:
    got = opened(authority, clear(ENTITY, good(alice), before=b"Unsigned preamble\r\n"))
    assert got.verdict.valid  # a preamble is no content: RFC 2046 5.1.1, no reader shows it


# 5, 6 -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_05_a_second_signer_does_not_borrow_the_first_ones_name(authority: Authority, alice: Person, order: int) -> None:
    mallory = authority.issue("rsa", "mallory@alpha.mssante.test", number=3)
    infos = [signer_info(one, plain_attributes(ENTITY)) for one in (alice, mallory)][::order]
    found = verdict(authority, clear(ENTITY, signed_data(infos, [alice, mallory])))
    assert not found.valid
    assert Reason.MIXED_SIGNERS in found.reasons


@pytest.mark.parametrize("order", [1, -1])
def test_05_one_good_signer_does_not_save_a_bad_one(authority: Authority, alice: Person, order: int) -> None:
    infos = [signer_info(alice, plain_attributes(ENTITY)), signer_info(alice, plain_attributes(b"something else"))][::order]
    found = verdict(authority, clear(ENTITY, signed_data(infos, [alice])))
    assert found.signature is SignatureStatus.INVALID


def test_05_two_signatures_of_one_identity_are_one_author(authority: Authority, alice: Person) -> None:
    pss = signer_info(alice, plain_attributes(ENTITY), scheme=SIGNATURES["pss-sha256"])
    found = verdict(authority, clear(ENTITY, signed_data([signer_info(alice, plain_attributes(ENTITY)), pss], [alice])))
    assert found.valid


def test_06_no_signer_at_all(authority: Authority, alice: Person) -> None:
    for body in (clear(ENTITY, signed_data([], [alice])), opaque(signed_data([], [alice], ENTITY))):
        found = verdict(authority, body)
        assert found.signature is SignatureStatus.INVALID
        assert Reason.UNSIGNED in found.reasons


# 7 ----------------------------------------------------------------------------------------------------------------------

DIGEST = hashlib.sha256(ENTITY).digest()
BAD_ATTRIBUTES = {
    "no content type": [attribute(oids.MESSAGE_DIGEST, der.octets(DIGEST))],
    "no message digest": [attribute(oids.CONTENT_TYPE, oids.DATA)],
    "two content types": [*plain_attributes(ENTITY), attribute(oids.CONTENT_TYPE, oids.SIGNED_DATA)],
    "two message digests": [*plain_attributes(ENTITY), attribute(oids.MESSAGE_DIGEST, der.octets(bytes(32)))],
    "content type with two values": [attribute(oids.CONTENT_TYPE, oids.DATA, oids.SIGNED_DATA), plain_attributes(ENTITY)[1]],
    "content type without a value": [attribute(oids.CONTENT_TYPE), plain_attributes(ENTITY)[1]],
    "another content type": plain_attributes(ENTITY, content_type=oids.SIGNED_DATA),
    "digest of the wrong length": plain_attributes(ENTITY, digest=DIGEST[:31]),
    "two signing times": [*plain_attributes(ENTITY), *[attribute(oids.SIGNING_TIME, der.time(NOW + n * DAY)) for n in (0, 1)]],
    "signing time in another form": [*plain_attributes(ENTITY), attribute(oids.SIGNING_TIME, der.tlv(der.UTC_TIME, b"2611200930Z"))],
    "protection of another digest": [
        *plain_attributes(ENTITY),
        attribute(oids.ALGORITHM_PROTECTION, der.sequence(SHA384.identifier, b"\xa1" + SIGNATURES["rsa-sha256"].identifier[1:])),
    ],
    "protection of another signature": [
        *plain_attributes(ENTITY),
        attribute(oids.ALGORITHM_PROTECTION, der.sequence(SHA256.identifier, b"\xa1" + SIGNATURES["pss-sha256"].identifier[1:])),
    ],
    "signing certificate of somebody else": [
        *plain_attributes(ENTITY),
        attribute(oids.SIGNING_CERTIFICATE_V2, der.sequence(der.sequence(der.sequence(der.octets(bytes(32)))))),
    ],
}


@pytest.mark.parametrize("what", BAD_ATTRIBUTES)
def test_07_signed_attributes(authority: Authority, alice: Person, what: str) -> None:  # RFC 5652 11, 5035, 6211
    found = verdict(authority, clear(ENTITY, signed_data([signer_info(alice, BAD_ATTRIBUTES[what])], [alice])))
    assert found.signature is SignatureStatus.INVALID
    assert {Reason.ATTRIBUTES, Reason.DIGEST, Reason.MALFORMED} & set(found.reasons)


def test_07_a_signed_attribute_among_the_unsigned(authority: Authority, alice: Person) -> None:
    info = signer_info(alice, plain_attributes(ENTITY), unsigned=[attribute(oids.SIGNING_TIME, der.time(NOW))])
    assert verdict(authority, clear(ENTITY, signed_data([info], [alice]))).signature is SignatureStatus.INVALID


def test_07_attributes_of_one_message_as_content_of_another(authority: Authority, alice: Person) -> None:
    """The SET OF attributes that Alice signed, sent as content with the same signature and no attributes."""
    attributes = plain_attributes(ENTITY)
    content = der.tlv(der.SET, b"".join(sorted(attributes)))
    found = verdict(authority, opaque(signed_data([signer_info(alice, None, content)], [alice], content)))
    assert found.signature is SignatureStatus.INVALID
    assert Reason.CONFUSION in found.reasons


def test_07_without_attributes_plain_content_still_verifies(authority: Authority, alice: Person) -> None:
    assert verdict(authority, clear(ENTITY, signed_data([signer_info(alice, None, ENTITY)], [alice]))).valid


def test_07_without_attributes_other_content_types_do_not(authority: Authority, alice: Person) -> None:
    cms = signed_data([signer_info(alice, None, ENTITY)], [alice], ENTITY, content_type=oids.SIGNED_DATA)
    assert verdict(authority, opaque(cms)).signature is SignatureStatus.INVALID


# 8 ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "From: mallory@alpha.mssante.test\r\n",
        f'From: "{ALICE}" <mallory@alpha.mssante.test>\r\n',
        f"From: <{ALICE}>\r\nFrom: <mallory@alpha.mssante.test>\r\n",
        f"From: <{ALICE}>, <mallory@alpha.mssante.test>\r\n",
        f"From: mallory@alpha.mssante.test\r\nSender: <{ALICE}>\r\n",
        f"From: mallory@alpha.mssante.test\r\nReply-To: <{ALICE}>\r\n",
        f"From: <{ALICE}.evil.test>\r\n",
        f"From: =?utf-8?q?=3C{ALICE}=3E?= <mallory@alpha.mssante.test>\r\n",
        f"From: <mallory@alpha.mssante.test> ({ALICE})\r\n",
        "From: Personne\r\n",
        "From: groupe:;\r\n",
        "",
    ],
)
def test_08_from_is_not_the_signer(authority: Authority, alice: Person, origin: str) -> None:
    found = verdict(authority, clear(ENTITY, good(alice), header=f"{origin}To: <bob@beta.mssante.test>\r\n"))
    assert found.signature is SignatureStatus.VALID  # the signature is mathematically right …
    assert not found.valid  # … and not the author's
    assert found.binding is Binding.NONE
    assert "smime=policy" in found.results("mx")  # RFC 7281


@pytest.mark.parametrize("case", ["upper", "several", "name"])
def test_08_the_same_mailbox_in_other_spellings(authority: Authority, case: str) -> None:
    alice = authority.issue("rsa", "other@alpha.mssante.test", ALICE, "third@alpha.mssante.test")
    local, domain = ALICE.split("@")
    origin = {"upper": f"From: <{local}@{domain.upper()}>", "several": f"From: {ALICE}", "name": f'From: "Dr X" <{ALICE}>'}[case]
    assert verdict(authority, clear(ENTITY, good(alice), header=f"{origin}\r\n")).valid


@pytest.mark.parametrize(
    "san",
    [
        [x509.RFC822Name._init_without_validation(f"{ALICE}\0.evil.test")],
        [x509.RFC822Name._init_without_validation(f"{ALICE}\n")],
        [x509.DNSName("alpha.mssante.test")],
        [],
    ],
)
def test_08_names_in_the_certificate_that_are_no_address(authority: Authority, san: list[x509.GeneralName]) -> None:
    alice = authority.issue("rsa", san=san, cn=f"Alice {ALICE}")
    found = verdict(authority, clear(ENTITY, good(alice)))
    assert found.binding is Binding.NONE


def test_08_a_card_without_address_is_bound_by_the_directory(authority: Authority) -> None:
    card = authority.issue("rsa", cn="899700000001")
    body = clear(ENTITY, good(card))
    assert verdict(authority, body).binding is Binding.NONE
    found = verdict(authority, body, directory=lambda one, _: Bound(Binding.DIRECTORY, "files") if one.der == card.der else None)
    assert found.binding is Binding.DIRECTORY
    assert found.valid


def test_08_utf8_mailbox(authority: Authority) -> None:  # RFC 9598
    name = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), der.tlv(0x0C, "élodie@alpha.mssante.test".encode()))
    elodie = authority.issue("rsa", san=[name])
    assert verdict(authority, clear(ENTITY, good(elodie), header="From: <élodie@alpha.mssante.test>\r\n")).valid


@pytest.mark.parametrize("serial", [b"\x02\x01\x00", b"\x02\x01\x80", b"\x02\x00", b"\x02\x15" + b"\x01" * 21])
def test_08_serial_numbers_that_are_none(authority: Authority, alice: Person, serial: bytes) -> None:
    """Regression, found by fuzzing: the library only warns of them."""
    from mssgw.smime.errors import SmimeError
    from mssgw.smime.keys.certificates import Certificate

    old = alice.certificate.serial_der
    tbs = der.inside(alice.der, der.whole(alice.der), der.SEQUENCE)[0]
    changed = alice.der[tbs[2] : tbs[3]].replace(old, serial, 1)
    with pytest.raises(SmimeError):
        Certificate(der.sequence(der.sequence(changed), alice.der[tbs[3] :]))


# 9 ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("around", ["mixed", "related", "alternative"])
def test_09_a_signed_part_does_not_sign_the_message(authority: Authority, alice: Person, around: str) -> None:
    inner = clear(ENTITY, good(alice), header="").read()
    body = Body.of(
        forge.HEADER.encode()
        + f'Content-Type: multipart/{around}; boundary="o"\r\n\r\n'.encode()
        + b"--o\r\nContent-Type: text/html\r\n\r\n<p>Transfer the money</p>\r\n--o\r\n"
        + inner
        + b"\r\n--o--\r\n"
    )
    found = verdict(authority, body)
    assert found.signature is SignatureStatus.NONE
    assert Reason.PARTIAL in found.reasons
    assert not found.valid


def test_09_a_signed_message_inside_a_message(authority: Authority, alice: Person) -> None:
    inner = clear(ENTITY, good(alice)).read()
    body = Body.of(b"From: mallory@alpha.mssante.test\r\nContent-Type: message/rfc822\r\n\r\n" + inner)
    found = verdict(authority, body)
    assert found.signature is SignatureStatus.NONE


def test_09_attached_message_that_was_signed_by_the_sender(authority: Authority, alice: Person) -> None:
    entity = b"Content-Type: message/rfc822\r\n\r\nFrom: somebody@else.test\r\nSubject: transmis\r\n\r\nBonjour\r\n"
    found = verdict(authority, clear(entity, good(alice, entity)))
    assert found.valid  # Alice vouches for having sent it, under her own From


# 10 ---------------------------------------------------------------------------------------------------------------------


def protected(authority: Authority, signer: Person, inner: str, outer: str, *, mode: str = 'hp="clear"') -> Opened:
    to = f"To: <{forge.BOB}>\r\n"
    entity = f"{inner}{to}Content-Type: text/plain; {mode}\r\n\r\nBonjour\r\n".encode()
    return opened(authority, clear(entity, good(signer, entity), header=outer + to))


def test_10_a_subject_changed_on_the_way_is_named_and_replaced(authority: Authority, alice: Person) -> None:
    got = protected(authority, alice, f"From: <{ALICE}>\r\nSubject: vrai\r\n", f"From: <{ALICE}>\r\nSubject: faux\r\n")
    assert got.verdict.header_differences == ("subject",)
    assert Reason.HEADERS in got.verdict.reasons
    assert b"Subject: vrai" in got.readable.read()
    assert b"Subject: faux" not in got.readable.read()


@pytest.mark.parametrize("mode", ['hp="clear"', 'hp="cipher"'])
def test_10_a_field_that_stands_only_outside_is_named_and_left_out(authority: Authority, alice: Person, mode: str) -> None:
    """RFC 9788: somebody put a Reply-To in front of a message whose header is protected."""
    outer = f"Reply-To: <mallory@evil.test>\r\nCc: <carol@beta.mssante.test>\r\nFrom: <{ALICE}>\r\n"
    got = protected(authority, alice, f"From: <{ALICE}>\r\n", outer, mode=mode)
    assert got.verdict.valid
    assert Reason.HEADERS in got.verdict.reasons
    assert set(got.verdict.header_differences) == {"reply-to", "cc"}
    assert b"mallory" not in got.readable.read()
    assert b"Cc: <carol@beta.mssante.test>" in got.readable.read()  # told; people see who else was written to
    assert "ajouté après la signature" in got.verdict.banner("fr")


def test_10_fields_of_an_unbound_signer_replace_nothing(authority: Authority, alice: Person) -> None:
    mallory = authority.issue("rsa", "mallory@alpha.mssante.test", number=3)
    got = protected(authority, mallory, f"From: <{ALICE}>\r\nSubject: faux\r\n", f"From: <{ALICE}>\r\nSubject: vrai\r\n")
    assert not got.verdict.valid
    assert b"Subject: vrai" in got.readable.read()


def test_10_from_inside_never_replaces_from_outside(authority: Authority, alice: Person) -> None:
    got = protected(authority, alice, f"From: <{ALICE}>\r\n", "From: <mallory@alpha.mssante.test>\r\n")
    assert not got.verdict.valid
    assert "from" in got.verdict.header_differences
    assert got.readable.read().startswith(b"From: <mallory@")


def test_10_fields_of_an_altered_message_are_not_used(authority: Authority, alice: Person) -> None:
    entity = b'Subject: faux\r\nContent-Type: text/plain; hp="clear"\r\n\r\nBonjour\r\n'
    got = opened(authority, clear(entity, good(alice)))  # the signature is of another entity
    assert got.verdict.signature is SignatureStatus.INVALID
    assert b"Subject: essai" in got.readable.read()


# 11 ---------------------------------------------------------------------------------------------------------------------


def test_11_a_wrong_micalg_does_not_count(authority: Authority, alice: Person) -> None:
    assert verdict(authority, clear(ENTITY, good(alice), micalg="md5")).valid


def test_11_line_ends_of_a_transport_that_keeps_lf(authority: Authority, alice: Person) -> None:
    body = Body.of(clear(ENTITY, good(alice)).read().replace(b"\r\n", b"\n"))
    assert verdict(authority, body).valid


@pytest.mark.parametrize(("old", "new"), [(b"Bonjour", b"bonjour"), (b"Bonjour\r\n", b"Bonjour \r\n"), (b"Bonjour\r\n", b"Bonjour\n")])
def test_11_any_other_change_is_seen(authority: Authority, alice: Person, old: bytes, new: bytes) -> None:
    body = Body.of(clear(ENTITY, good(alice)).read().replace(old, new, 1))
    found = verdict(authority, body)
    assert found.signature is SignatureStatus.INVALID
    assert Reason.DIGEST in found.reasons


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-pkcs7-mime",
        "application/pkcs7-mime; smime-type=enveloped-data",
        "application/pkcs7-mime; name=lettre.doc",
        'application/octet-stream; name="SMIME.P7M"',
    ],
)
def test_11_any_name_and_type(authority: Authority, alice: Person, kind: str) -> None:
    cms = signed_data([signer_info(alice, plain_attributes(ENTITY))], [alice], ENTITY)
    for binary in (True, False):
        assert verdict(authority, opaque(cms, kind=kind, binary=binary)).valid


# 16 ---------------------------------------------------------------------------------------------------------------------


def test_16_sha1_is_refused(authority: Authority, alice: Person) -> None:  # RFC 5754
    info = signer_info(alice, plain_attributes(ENTITY, digest=hashlib.sha1(ENTITY).digest()), digest_algorithm=identifier(oids.SHA1))
    found = verdict(authority, clear(ENTITY, signed_data([info], [alice], digests=[identifier(oids.SHA1)])))
    assert found.signature is SignatureStatus.INVALID
    assert Reason.WEAK in found.reasons


def test_16_small_rsa_keys_are_refused(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    from tests.smime import people

    monkeypatch.setitem(people.MAKE, "rsa1024", lambda: rsa.generate_private_key(65537, 1024))
    small = authority.issue("rsa1024", ALICE)
    info = signer_info(small, plain_attributes(ENTITY), scheme=SIGNATURES["rsa-sha256"])
    found = verdict(authority, clear(ENTITY, signed_data([info], [small])))
    assert found.signature is SignatureStatus.INVALID
    assert Reason.WEAK in found.reasons


def test_16_ml_dsa_is_off_by_default(authority: Authority) -> None:
    alice = authority.issue("mldsa65", ALICE)
    body = clear(ENTITY, good(alice))
    assert verdict(authority, body).signature is SignatureStatus.INVALID
    assert verdict(authority, body, reading=Reading(experimental=True)).valid


# 17, 30, 31 -------------------------------------------------------------------------------------------------------------


def test_17_expired_not_yet_valid_revoked_and_unknown(authority: Authority, alice: Person) -> None:
    expired = authority.issue("rsa", ALICE, end=NOW - DAY)
    future = authority.issue("rsa", ALICE, start=NOW + DAY)
    foreign = Authority(cn="Other CA", key=alice.key).issue("rsa", ALICE, number=5)
    for who in (expired, future, foreign):
        found = verdict(authority, clear(ENTITY, good(who)))
        assert found.signature is SignatureStatus.UNTRUSTED
        assert Reason.NOT_TRUSTED in found.reasons
        assert not found.valid
    body = clear(ENTITY, good(alice))
    authority.silent = True
    assert verdict(authority, body).signature is SignatureStatus.UNDECIDED
    assert "smime=temperror" in verdict(authority, body).results("mx")
    authority.silent = False
    authority.revoked.add(alice.cert.serial_number)
    assert verdict(authority, body).signature is SignatureStatus.UNTRUSTED


def test_30_same_issuer_name_and_serial_with_another_key(authority: Authority, alice: Person) -> None:
    """A forged authority of the same name: its certificate has the right issuer and serial, and another signature."""
    forged = Authority(key=alice.key).issue("rsa", ALICE, number=4, cn=ALICE)
    found = verdict(authority, clear(ENTITY, good(forged)))
    assert found.signature is SignatureStatus.UNTRUSTED


@pytest.mark.parametrize("when", [NOW + 400 * DAY, NOW - 400 * DAY, NOW.replace(year=2051), NOW.replace(year=1951)])
def test_31_a_signing_time_far_off_is_remarked_upon(authority: Authority, alice: Person, when: datetime.datetime) -> None:
    info = signer_info(alice, plain_attributes(ENTITY, attribute(oids.SIGNING_TIME, der.time(when))))
    found = verdict(authority, clear(ENTITY, signed_data([info], [alice])))
    assert found.valid  # it is only the signer's claim
    assert Reason.SIGNING_TIME in found.reasons


# 32 ---------------------------------------------------------------------------------------------------------------------


def test_32_names_can_not_write_into_logs_headers_or_terminals(authority: Authority) -> None:
    evil = authority.issue("rsa", ALICE, cn="Alice\x1b[2J\r\nX-Injected: yes\u202e")
    found = verdict(authority, clear(ENTITY, good(evil)))
    assert found.signers[0].subject.isprintable()
    header = found.results("mx")
    assert all(line.startswith(" ") for line in header.split("\r\n")[1:])
    assert header.isascii()
    assert "\x1b" not in found.banner("fr") + header
