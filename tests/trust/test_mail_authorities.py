"""Authorities with an extended key usage, as public S/MIME authorities have: for mail they count, for nothing else."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from mssgw.core.config import parse
from mssgw.core.errors import NotTrusted
from mssgw.demo.pki import MAIL, Authority, Credential, Profile, new_key
from mssgw.node.remarks import remarks
from mssgw.pki import der
from mssgw.pki.certificates import Certificate
from mssgw.pki.judgement import Purpose
from mssgw.trust import anchors, paths, service
from mssgw.trust.faults import Fault, fault_of
from tests.configurations import alpha
from tests.trust.conftest import NONE, NOW, settings

EMAIL, ANY, TLS = ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, ExtendedKeyUsageOID.CLIENT_AUTH


def authority(world, *usages, critical=False, name="MAIL CA"):
    """An intermediate below the test's root that is restricted to these uses."""
    root, key = world.pki.root(), new_key("p256")
    above = root.credential.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(world.pki._ca_name(name))
        .issuer_name(above.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(world.pki.made - timedelta(days=1))
        .not_valid_after(world.pki.made + timedelta(days=900))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.credential.key.public_key()), critical=False)
        .add_extension(_signs(), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=critical)
    )
    return Authority(name, Credential(builder.sign(root.credential.key, hashes.SHA256()), key))


def _signs():
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(key_cert_sign=True, crl_sign=True, **dict.fromkeys(every, False))


def octets(certificate):
    return certificate.public_bytes(Encoding.DER)


def pinned(world, *authorities):
    return anchors.build(
        [Certificate.read(octets(one)) for one in (*world.pki.anchors(), *(one.credential.certificate for one in authorities))]
    )


def judged(world, ledger, clock, ca, profile, purpose):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "alb.mssante.test")])
    leaf = world.pki.issue(name, profile, ca)
    return paths.Validator(pinned(world, ca), ledger, clock, paths.Rules(NONE, NONE, NONE))(leaf.der, purpose, NOW)


@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize("usages", [(EMAIL,), (ANY,), (TLS, EMAIL)], ids=["email", "any", "both"])
@pytest.mark.parametrize("purpose", [Purpose.MAIL_SIGN, Purpose.MAIL_ENCRYPT])
def test_an_authority_for_mail_stands_for_mail(world, ledger, clock, usages, critical, purpose):
    """Regression: every public S/MIME authority was left out without a word."""
    ca = authority(world, *usages, critical=critical)
    assert pinned(world, ca).left_out == ()
    assert judged(world, ledger, clock, ca, MAIL, purpose).purpose is purpose


@pytest.mark.parametrize("purpose", [Purpose.RELAY_CLIENT, Purpose.RELAY_SERVER, Purpose.LIST_SIGN])
@pytest.mark.parametrize("usages", [(EMAIL,), (ANY,), (TLS, EMAIL)], ids=["email", "any", "both"])
def test_it_makes_no_operator_and_signs_no_list(world, ledger, clock, usages, purpose):
    every = Profile(MAIL.usages, (EMAIL, TLS, ExtendedKeyUsageOID.SERVER_AUTH))
    with pytest.raises(NotTrusted) as caught:
        judged(world, ledger, clock, authority(world, *usages), every, purpose)
    assert fault_of(caught.value) is Fault.WRONG_USAGE
    assert "restricted to other uses" in str(caught.value)


def test_an_authority_for_something_else_is_left_out_and_named(world, tmp_path, capsys):
    ca = authority(world, TLS)
    ((name, why),) = pinned(world, ca).left_out
    assert "MAIL CA" in name
    assert "lack emailProtection" in str(why)
    world.pki.write_anchors(tmp_path / "anchors")
    (tmp_path / "anchors" / "mail.pem").write_bytes(ca.credential.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "master.key").write_bytes(bytes(32))
    said = dict(remark for remark in remarks(parse(alpha(trust='pki = "private"'), tmp_path), NOW) if "left out" in str(remark[1]))
    assert "MAIL CA" in str(said["trust.anchors"])
    assert "emailProtection" in str(said["trust.anchors"])


def test_a_running_node_logs_what_is_left_out(world, tmp_path, clock, monkeypatch):
    logged = []
    monkeypatch.setattr(service, "log", lambda event, level="info", **fields: logged.append((event.value, fields["authority"])))
    world.pki.write_anchors(tmp_path / "anchors")
    (tmp_path / "anchors" / "mail.pem").write_bytes(authority(world, TLS).credential.certificate.public_bytes(Encoding.PEM))
    service.Trust(settings(tmp_path), tmp_path, clock)
    assert [(event, "MAIL CA" in name) for event, name in logged] == [("trust.anchor_left_out", True)]


def test_the_own_signature_of_a_root_proves_nothing_and_is_not_asked_for(world):
    """RFC 5280 6.1: of a trust anchor its name and its key count. The roots of old signed themselves over SHA-1."""
    root = octets(world.pki.root().credential.certificate)
    sha256, sha1 = der.oid("1.2.840.113549.1.1.11"), der.oid("1.2.840.113549.1.1.5")
    old = Certificate.read(root.replace(sha256, sha1))
    assert [one.certificate for one in anchors.build([old]).roots] == [old]


def test_what_a_root_issued_is_judged_by_its_hash(world):
    sha256, sha1 = der.oid("1.2.840.113549.1.1.11"), der.oid("1.2.840.113549.1.1.5")
    below = octets(world.pki.authority().credential.certificate).replace(sha256, sha1)
    found = anchors.build([Certificate.read(octets(world.pki.root().credential.certificate)), Certificate.read(below)])
    assert len(found.every) == 1
    assert "sha1" in str(found.left_out[0][1])
