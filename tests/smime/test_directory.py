"""Certificates in a directory: found by address, by file name, by domain; changes are seen; rubbish is left out."""

import os

import pytest

from mssgw.core.address import Address
from mssgw.core.errors import ConfigError
from mssgw.demo.pki import Pki
from mssgw.smime.directories import files as directory
from mssgw.smime.directories.binding import Binding, Bound
from mssgw.smime.directories.files import CertificateFiles, Unread, file_problems, identities, identity_problems
from mssgw.smime.keys.certificates import certificate
from tests.smime.people import NOW

GARBAGE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def pki():
    return Pki()


@pytest.fixture(autouse=True)
def look_at_each_question(monkeypatch):
    monkeypatch.setattr(directory, "LOOK_SECONDS", -1.0)


def of(files, text):
    """The certificates, when nothing is unknown."""
    found = files.find(Address.parse(text))
    assert not any(one.unknown for one in found)
    return tuple(one.certificate for one in found)


def why_not(files, text):
    """Why the directory can't answer now; "" when it can."""
    found = files.find(Address.parse(text))
    assert all((one.unknown.reply.code, one.unknown.required) == (451, True) for one in found if one.unknown)
    return next((one.unknown.detail for one in found if one.unknown), "")


def test_by_certificate_by_name_and_by_domain(pki, tmp_path):
    person = pki.person("a.b@x.test", given="A", surname="B", identifier="801234567894", key="p256")
    card = pki.person(None, given="C", surname="D", identifier="801234567895", key="p256")
    seal = pki.organisation("organisation@x.test", key="p256")
    (tmp_path / "whatever.pem").write_bytes(person.pem)
    (tmp_path / "c.d@x.test.pem").write_bytes(card.pem)
    (tmp_path / "x.test.cer").write_bytes(seal.der)
    files = CertificateFiles(tmp_path)
    assert of(files, "A.B@x.test") == (person.der, seal.der)
    assert of(files, "c.d@x.test") == (card.der, seal.der)
    assert of(files, "other@x.test") == (seal.der,)
    assert of(files, "other@sub.x.test") == ()


def test_holder_is_what_binds_a_signature(pki, tmp_path):
    seal = pki.organisation("organisation@x.test", key="p256")
    (tmp_path / "x.test.pem").write_bytes(seal.pem)
    files = CertificateFiles(tmp_path)
    own, other = certificate(seal.der), certificate(pki.organisation("b@x.test", key="p256").der)
    (tmp_path / "sealed@x.test.pem").write_bytes(seal.pem)
    assert files.binds(own, Address.parse("anyone@x.test")) == Bound(Binding.OPERATOR, "files")  # of a whole domain: nobody's own
    assert files.binds(own, Address.parse("sealed@x.test")) == Bound(Binding.DIRECTORY, "files")
    assert files.binds(own, Address.parse("anyone@y.test")) is None
    assert files.binds(own, Address.parse("organisation@x.test"))
    assert files.binds(other, Address.parse("anyone@x.test")) is None


def test_changes_are_seen(pki, tmp_path):
    files = CertificateFiles(tmp_path)
    (tmp_path / "notes.txt").write_text("no certificate")
    (tmp_path / ".draft.pem").write_text("no certificate")
    (tmp_path / "old.pem").mkdir()
    assert of(files, "a@x.test") == ()
    seal = pki.organisation("a@x.test", key="p256")
    (tmp_path / "a.pem").write_bytes(seal.pem)
    assert of(files, "a@x.test") == (seal.der,)
    (tmp_path / "a.pem").unlink()
    assert of(files, "a@x.test") == ()


@pytest.fixture
def petit(pki):
    return pki.person("paul.petit@x.test", given="Paul", surname="Petit", identifier="801234567896", key="p256")


def test_a_file_that_broke_is_not_a_file_that_went(petit, tmp_path):
    """Regression: `paul.petit.pem` overwritten with garbage counted as no certificate, and his mail left in clear."""
    files, path = CertificateFiles(tmp_path), tmp_path / "paul.petit.pem"
    path.write_bytes(petit.pem)
    assert of(files, "paul.petit@x.test") == (petit.der,)
    for broken in (GARBAGE, b"", b"hello", b"0" * 1_100_000):
        path.write_bytes(broken)
        assert str(path) in why_not(files, "Paul.Petit@x.test")
        assert of(files, "other@x.test") == ()  # the file belonged to him alone
    assert file_problems(tmp_path)
    path.write_bytes(petit.pem)
    assert of(files, "paul.petit@x.test") == (petit.der,)
    assert not file_problems(tmp_path)
    path.write_bytes(GARBAGE)
    assert why_not(files, "paul.petit@x.test")
    path.unlink()
    assert of(files, "paul.petit@x.test") == ()


def test_a_file_broken_from_the_start_belongs_to_the_address_in_its_name_or_to_anybody(petit, tmp_path):
    files = CertificateFiles(tmp_path)
    (tmp_path / "paul.petit@x.test.pem").write_bytes(GARBAGE)
    assert why_not(files, "paul.petit@x.test")
    assert of(files, "other@x.test") == ()
    (tmp_path / "paul.petit.pem").write_bytes(GARBAGE)
    assert str(tmp_path / "paul.petit.pem") in why_not(files, "other@y.test")


def test_what_is_known_of_others_counts_beside_a_broken_file(pki, petit, tmp_path):
    (tmp_path / "paul.petit.pem").write_bytes(petit.pem)
    (tmp_path / "broken.pem").write_bytes(GARBAGE)
    found = CertificateFiles(tmp_path).find(Address.parse("paul.petit@x.test"))
    assert [one.certificate for one in found] == [petit.der, b""]
    assert found[1].unknown


def test_a_link_to_nothing_is_a_file_that_can_not_be_read(petit, tmp_path):
    (tmp_path / "recipients").mkdir()
    files, link = CertificateFiles(tmp_path / "recipients"), tmp_path / "recipients" / "paul.petit@x.test.pem"
    link.symlink_to(tmp_path / "elsewhere.pem")
    assert "no such file" in why_not(files, "paul.petit@x.test")
    (tmp_path / "elsewhere.pem").write_bytes(petit.pem)
    assert of(files, "paul.petit@x.test") == (petit.der,)


def test_a_fifo_stops_nobody(tmp_path):
    os.mkfifo(tmp_path / "paul.petit@x.test.pem")
    assert "not a file" in why_not(CertificateFiles(tmp_path), "paul.petit@x.test")


def test_while_the_directory_is_missing_nobody_is_without_a_certificate(petit, tmp_path):
    """Regression: `recipients = "nope"` was an empty directory, and all mail left in clear."""
    files = CertificateFiles(tmp_path / "absent")
    assert "absent: No such file" in why_not(files, "anybody@x.test")
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "paul.petit.pem").write_bytes(petit.pem)
    assert of(files, "paul.petit@x.test") == (petit.der,)
    assert of(files, "anybody@x.test") == ()
    (tmp_path / "absent").rename(tmp_path / "moved")
    assert why_not(files, "paul.petit@x.test")
    assert files.binds(certificate(petit.der), Address.parse("paul.petit@x.test"))  # what was read before still binds his signatures
    (tmp_path / "moved").rename(tmp_path / "absent")
    assert of(files, "paul.petit@x.test") == (petit.der,)


def test_identities_are_pairs(pki, tmp_path):
    person = pki.person("a.b@x.test", given="A", surname="B", identifier="801234567894", key="p256")
    person.write(tmp_path, "a.b@x.test")
    pki.person("c.d@x.test", given="C", surname="D", identifier="801234567895", key="p256").write(tmp_path, "c.d@x.test")
    (tmp_path / "c.d@x.test.key").unlink()
    assert [one.certificate.der for one in identities(tmp_path, NOW)] == [person.der]


def test_identities_that_can_not_be_used_are_named(pki, tmp_path):
    for number, name in enumerate(("good", "garbage", "foreign", "keyless")):
        pki.person(f"{name}@x.test", given=name, surname="B", identifier=f"80123456790{number}", key="p256").write(tmp_path, name)
    (tmp_path / "garbage.pem").write_bytes(GARBAGE)
    (tmp_path / "foreign.key").write_bytes((tmp_path / "good.key").read_bytes())
    (tmp_path / "keyless.key").write_text("hello")
    found = [str(one) for one in identity_problems(tmp_path, NOW)]
    assert len(found) == 3
    for name in ("foreign.key", "garbage.pem", "keyless.key"):
        assert any(str(tmp_path / name) in sentence for sentence in found)
    made = list(identities(tmp_path, NOW))  # keys are read when they are used; mail for them waits then
    assert [one.path.name for one in made if isinstance(one, Unread)] == ["garbage.pem"]
    assert len(made) == 4


def test_a_directory_of_identities_that_is_missing_is_no_empty_one(tmp_path):
    with pytest.raises(ConfigError, match=r"smime\.identities: .*absent: there is no such file"):
        list(identities(tmp_path / "absent", NOW))
    assert list(map(str, identity_problems(tmp_path / "absent", NOW))) == [f"{tmp_path}/absent: there is no such file"]
