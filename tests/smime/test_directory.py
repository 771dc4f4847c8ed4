"""Certificates in a directory: found by address, by file name, by domain; changes are seen; rubbish is left out."""

import pytest

from mssgw.core.address import Address
from mssgw.demo.pki import Pki
from mssgw.smime.directory import CertificateFiles, identities


@pytest.fixture(scope="module")
def pki():
    return Pki()


def test_by_certificate_by_name_and_by_domain(pki, tmp_path):
    person = pki.person("a.b@x.test", given="A", surname="B", identifier="801234567894", key="p256")
    card = pki.person(None, given="C", surname="D", identifier="801234567895", key="p256")
    seal = pki.organisation("organisation@x.test", key="p256")
    (tmp_path / "whatever.pem").write_bytes(person.pem)
    (tmp_path / "c.d@x.test.pem").write_bytes(card.pem)
    (tmp_path / "x.test.cer").write_bytes(seal.der)
    files = CertificateFiles(tmp_path)
    assert files.of(Address.parse("A.B@x.test")) == (person.der, seal.der)
    assert files.of(Address.parse("c.d@x.test")) == (card.der, seal.der)
    assert files.of(Address.parse("other@x.test")) == (seal.der,)
    assert files.of(Address.parse("other@sub.x.test")) == ()


def test_holder_is_what_binds_a_signature(pki, tmp_path):
    seal = pki.organisation("organisation@x.test", key="p256")
    (tmp_path / "x.test.pem").write_bytes(seal.pem)
    holder = CertificateFiles(tmp_path).holder(seal.der)
    assert Address.parse("anyone@x.test") in holder
    assert Address.parse("anyone@y.test") not in holder
    assert Address.parse("organisation@x.test") in holder
    assert Address.parse("anyone@x.test") not in CertificateFiles(tmp_path).holder(b"another certificate")


def test_changes_are_seen_and_rubbish_is_left_out(pki, tmp_path):
    files = CertificateFiles(tmp_path)
    (tmp_path / "broken.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "notes.txt").write_text("no certificate")
    assert files.of(Address.parse("a@x.test")) == ()
    seal = pki.organisation("a@x.test", key="p256")
    (tmp_path / "a.pem").write_bytes(seal.pem)
    assert files.of(Address.parse("a@x.test")) == (seal.der,)
    (tmp_path / "a.pem").unlink()
    assert files.of(Address.parse("a@x.test")) == ()


def test_missing_directory_is_an_empty_one(tmp_path):
    assert CertificateFiles(tmp_path / "absent").of(Address.parse("a@x.test")) == ()


def test_identities_are_pairs(pki, tmp_path):
    person = pki.person("a.b@x.test", given="A", surname="B", identifier="801234567894", key="p256")
    person.write(tmp_path, "a.b@x.test")
    pki.person("c.d@x.test", given="C", surname="D", identifier="801234567895", key="p256").write(tmp_path, "c.d@x.test")
    (tmp_path / "c.d@x.test.key").unlink()
    assert [one.certificate.der for one in identities(tmp_path)] == [person.der]
