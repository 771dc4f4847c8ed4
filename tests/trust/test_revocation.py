"""Revocation: which data counts, for how long, and what happens without it (docs/reference/crypto.md 9.17, 9.18)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from mssgw.core.errors import Deferred, NotTrusted
from mssgw.demo.authority import make_answer, make_crl
from mssgw.demo.pki import Pki, Profile
from mssgw.pki.certificates import Certificate
from mssgw.pki.judgement import Purpose
from mssgw.trust import anchors, paths, revocation
from mssgw.trust.faults import Fault, fault_of
from mssgw.trust.revocation import RevocationError, Rule, read_answer, read_crl
from tests.trust.conftest import NOW


@pytest.fixture(scope="module")
def scene():
    """A PKI of its own, because these tests revoke."""
    pki = Pki(now=NOW - timedelta(days=30))
    return pki, pki.operator("mx.good.test"), pki.operator("mx.bad.test")


@pytest.fixture
def pinned(scene):
    return anchors.build([Certificate.read(each.public_bytes(Encoding.DER)) for each in scene[0].anchors()])


@pytest.fixture
def issuer(pinned):
    return next(each for each in pinned.every if each.above)


@pytest.fixture
def validator(pinned, ledger, clock):
    return paths.Validator(pinned, ledger, clock)


def feed(ledger, pinned, pki, now=NOW - timedelta(hours=1), life=timedelta(days=1), number=1):
    for anchor in pinned.every:
        authority = next(
            each for each in pki.authorities.values() if each.credential.certificate.public_bytes(Encoding.DER) == anchor.certificate.der
        )
        ledger.add_crl(read_crl(make_crl(authority, now, life=life, number=number), anchor))


def refused(validator, credential, fault, purpose=Purpose.RELAY_CLIENT, at=NOW):
    with pytest.raises((NotTrusted, Deferred)) as caught:
        validator(credential.der, purpose, at)
    assert fault_of(caught.value) is fault
    return caught.value


def test_without_data_hard_defers_soft_remarks_it_none_does_not_look(scene, pinned, ledger, clock):
    good = scene[1]
    for mode, expected in (("soft", "soft: no fresh data"), ("none", "none")):
        rule = Rule(mode)
        evidence = paths.Validator(pinned, ledger, clock, paths.Rules(rule, rule, rule))(good.der, Purpose.RELAY_CLIENT, NOW)
        assert evidence.revocation == expected
    error = refused(paths.Validator(pinned, ledger, clock), good, Fault.REVOCATION_UNKNOWN)
    assert (error.reply.code, error.reply.enhanced) == (451, "4.7.5")


def test_fresh_crl_is_evidence_and_grace_ends(scene, pinned, ledger, validator, clock):
    pki, good, _ = scene
    feed(ledger, pinned, pki, number=7)
    assert validator(good.der, Purpose.RELAY_CLIENT, NOW).revocation == "crl 7 of 2026-11-22T11:00Z"
    clock.advance(hours=24)  # nextUpdate was an hour ago
    assert "in its time of grace" in validator(good.der, Purpose.RELAY_CLIENT, clock.now()).revocation
    clock.advance(hours=4)
    refused(validator, good, Fault.REVOCATION_UNKNOWN, at=clock.now())


def test_revoked_is_refused_at_once_even_by_old_data(scene, pinned, ledger, validator, clock):
    pki, _, bad = scene
    feed(ledger, pinned, pki)
    assert validator(bad.der, Purpose.RELAY_CLIENT, NOW)
    pki.revoke(bad, NOW)
    feed(ledger, pinned, pki, now=NOW, number=2)
    refused(validator, bad, Fault.REVOKED)
    clock.advance(days=30)
    error = refused(validator, bad, Fault.REVOKED, at=clock.now())
    assert error.reply.code == 550
    assert "revoked on 2026-11-22" in error.reply.text


def test_news_empties_the_cache_of_good_judgements(scene, pinned, ledger, validator):
    pki = scene[0]
    late = pki.operator("mx.late.test")
    feed(ledger, pinned, pki, number=10)
    for _ in range(2):
        assert validator(late.der, Purpose.RELAY_CLIENT, NOW)
    pki.revoke(late, NOW)
    feed(ledger, pinned, pki, now=NOW, number=11)
    refused(validator, late, Fault.REVOKED)


def test_mail_signed_before_the_revocation_stays_good(scene, pinned, ledger, validator):
    pki = scene[0]
    seal = pki.organisation("seal@late.test")
    pki.revoke(seal, NOW - timedelta(hours=6))
    feed(ledger, pinned, pki, number=20)
    assert validator(seal.der, Purpose.MAIL_SIGN, NOW - timedelta(hours=7))
    refused(validator, seal, Fault.REVOKED, Purpose.MAIL_SIGN, NOW - timedelta(hours=5))
    refused(validator, seal, Fault.REVOKED, Purpose.MAIL_ENCRYPT, NOW - timedelta(hours=7))  # encrypting happens now


def test_a_revoked_intermediate_takes_all_with_it(pinned, ledger, clock):
    pki = Pki(now=NOW - timedelta(days=30))
    leaf = pki.operator("mx.a.test")
    pki.revoke(pki.authority().credential, NOW - timedelta(days=1))
    built = anchors.build([Certificate.read(each.public_bytes(Encoding.DER)) for each in pki.anchors()])
    feed(ledger, built, pki)
    error = refused(paths.Validator(built, ledger, clock), leaf, Fault.REVOKED)
    assert "AC IGC-SANTE" in error.reply.text


# -- CRLs that must not count ----------------------------------------------------------------------------------------


def test_an_older_crl_cannot_be_played_again(scene, pinned, ledger):
    pki = scene[0]
    feed(ledger, pinned, pki, now=NOW, number=31)
    with pytest.raises(RevocationError, match="older than the one in force"):
        feed(ledger, pinned, pki, now=NOW, number=30)
    with pytest.raises(RevocationError, match="older than the one in force"):
        feed(ledger, pinned, pki, now=NOW - timedelta(hours=1), number=32)


def test_a_crl_of_the_future(scene, pinned, ledger):
    with pytest.raises(RevocationError, match="future"):
        feed(ledger, pinned, scene[0], now=NOW + timedelta(hours=1))


def crl_of(pki, *extensions, issuer=None, number=True):
    authority = pki.authority()
    builder = x509.CertificateRevocationListBuilder().issuer_name((issuer or authority).credential.certificate.subject)
    builder = builder.last_update(NOW).next_update(NOW + timedelta(days=1))
    if number:
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(authority.credential.key, hashes.SHA256()).public_bytes(Encoding.DER)


def distribution(**given):
    usual = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(usual | given))


@pytest.mark.parametrize(
    ("extension", "critical", "why"),
    [
        (x509.DeltaCRLIndicator(1), True, "delta"),
        (distribution(indirect_crl=True), True, "not a complete CRL"),
        (distribution(only_contains_attribute_certs=True), True, "not a complete CRL"),
        (distribution(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})), True, "not a complete CRL"),
        (distribution(full_name=[x509.DirectoryName(x509.Name([]))]), True, "no address"),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True, "unknown critical"),
    ],
)
def test_incomplete_crls_are_refused(scene, issuer, extension, critical, why):  # RFC 5280 5.2
    with pytest.raises(RevocationError, match=why):
        read_crl(crl_of(scene[0], (extension, critical)), issuer)


def test_a_crl_without_number_or_of_another_authority_or_forged(scene, issuer):
    with pytest.raises(RevocationError, match="no CRL number"):
        read_crl(crl_of(scene[0], number=False), issuer)
    with pytest.raises(RevocationError, match="another authority"):
        read_crl(crl_of(scene[0], issuer=scene[0].root()), issuer)
    other = Pki(now=NOW - timedelta(days=30))
    with pytest.raises(RevocationError, match="signature does not hold"):
        read_crl(crl_of(other), issuer)


def test_a_crl_for_authorities_only_does_not_count_for_a_peer(scene, pinned, ledger, validator, issuer):
    feed(ledger, pinned, scene[0])
    ledger.add_crl(read_crl(crl_of(scene[0], (distribution(only_contains_ca_certs=True), True)), issuer))
    good = scene[0].operator("mx.other.test")
    assert validator(good.der, Purpose.RELAY_CLIENT, NOW)  # by the complete one, which is still in force


def test_a_crl_of_another_address_does_not_count(scene, pinned, ledger, validator, issuer):
    elsewhere = distribution(full_name=[x509.UniformResourceIdentifier("http://else.test/x.crl")])
    ledger.add_crl(read_crl(crl_of(scene[0], (elsewhere, True)), issuer))
    refused(validator, scene[1], Fault.REVOCATION_UNKNOWN)


# -- OCSP ------------------------------------------------------------------------------------------------------------


def answer(scene, issuer, leaf, now=NOW, **options):
    certificate = Certificate.read(leaf.der)
    return read_answer(make_answer(scene[0], revocation.ocsp_request(certificate, issuer), now, **options), certificate, issuer, NOW)


def test_an_answer_is_preferred_to_a_crl(scene, pinned, ledger, validator, issuer):
    pki, good, _ = scene
    feed(ledger, pinned, pki)
    ledger.add_answer(answer(scene, issuer, good))
    assert validator(good.der, Purpose.RELAY_CLIENT, NOW).revocation.startswith("ocsp of 2026-11-22T12:00Z")


def test_a_good_answer_does_not_save_whom_the_crl_revoked(scene, pinned, ledger, validator, issuer):
    pki = scene[0]
    leaf = pki.operator("mx.contested.test")
    ledger.add_answer(answer(scene, issuer, leaf))
    pki.revoke(leaf, NOW)
    feed(ledger, pinned, pki, now=NOW)
    refused(validator, leaf, Fault.REVOKED)


def test_a_revoked_answer_counts_without_any_crl(scene, ledger, validator, issuer):
    pki = scene[0]
    leaf = pki.operator("mx.gone.test")
    pki.revoke(leaf, NOW)
    ledger.add_answer(answer(scene, issuer, leaf))
    refused(validator, leaf, Fault.REVOKED)


def test_an_answer_that_has_run_out_or_of_the_future(scene, ledger, issuer):
    with pytest.raises(RevocationError, match="run out"):
        answer(scene, issuer, scene[1], now=NOW - timedelta(days=2))
    with pytest.raises(RevocationError, match="future"):
        ledger.add_answer(answer(scene, issuer, scene[1], now=NOW + timedelta(hours=1)))


def responder(pki, *extended):
    from mssgw.demo.pki import organisation_name

    profile = Profile(("digital_signature",), tuple(extended))
    return pki.issue(organisation_name("ocsp.test", o="X", ou="1"), profile, pki.authority())


def test_a_delegated_responder_must_be_made_for_it(scene, issuer):  # RFC 6960 4.2.2.2
    pki, good, _ = scene
    assert answer(scene, issuer, good, responder=responder(pki, ExtendedKeyUsageOID.OCSP_SIGNING)).revoked_at is None
    with pytest.raises(RevocationError, match="not a responder of this authority"):
        answer(scene, issuer, good, responder=responder(pki, ExtendedKeyUsageOID.SERVER_AUTH))
    with pytest.raises(RevocationError, match="not a responder of this authority"):
        answer(scene, issuer, good, responder=responder(Pki(now=NOW - timedelta(days=30)), ExtendedKeyUsageOID.OCSP_SIGNING))


def test_the_answers_of_a_revoked_responder_do_not_count(scene, pinned, ledger, issuer):
    pki, good, _ = scene
    delegated = responder(pki, ExtendedKeyUsageOID.OCSP_SIGNING)
    answered = answer(scene, issuer, good, responder=delegated)
    ledger.add_answer(answered)
    pki.revoke(delegated, NOW)
    feed(ledger, pinned, pki, number=50)
    with pytest.raises(RevocationError, match="responder is revoked"):
        ledger.add_answer(answered)


def test_an_answer_about_another_certificate(scene, issuer):
    pki, good, bad = scene
    about_bad = make_answer(pki, revocation.ocsp_request(Certificate.read(bad.der), issuer), NOW)
    with pytest.raises(RevocationError, match="not about this certificate"):
        read_answer(about_bad, Certificate.read(good.der), issuer, NOW)


@pytest.mark.parametrize("octets", [b"", b"<html>Incapsula</html>", b"\x30\x03\x0a\x01\x03", b"\x30\x84\xff\xff\xff\xff", bytes(70_000)])
def test_what_is_no_answer(scene, issuer, octets):
    with pytest.raises(RevocationError):
        read_answer(octets, Certificate.read(scene[1].der), issuer, NOW)
