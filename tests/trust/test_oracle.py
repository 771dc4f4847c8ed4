"""certvalidator as oracle: on the demo PKI it and our validator accept and refuse the same."""

from __future__ import annotations

import warnings
from datetime import timedelta

import pytest
from asn1crypto import crl as asn1_crl
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.serialization import Encoding

from mssgw.core.errors import MailError
from mssgw.demo.authority import make_crl
from mssgw.demo.pki import ORG_AUTH_CLI, ORG_SIGN, Pki, organisation_name
from mssgw.pki.certificates import Certificate
from mssgw.pki.judgement import Purpose
from mssgw.trust import anchors, paths, revocation
from tests.conftest import TestClock
from tests.trust.conftest import NOW

KEY_USAGES = {
    Purpose.RELAY_CLIENT: ({"digital_signature"}, {"client_auth"}),
    Purpose.RELAY_SERVER: ({"digital_signature"}, {"server_auth"}),
    Purpose.MAIL_ENCRYPT: ({"key_encipherment"}, {"email_protection"}),
    Purpose.LIST_SIGN: ({"digital_signature"}, {"email_protection"}),
}


class Scene:
    def __init__(self):
        pki = self.pki = Pki(now=NOW - timedelta(days=30))
        foreign = Pki(now=pki.made, prefix="AUTRE")
        day = timedelta(days=1)
        self.leaves = {
            "operator": pki.operator("mx.a.test"),
            "operator-p256": pki.operator("mx.p256.test", key="p256"),
            "client-only": pki.operator("mx.client.test", profile=ORG_AUTH_CLI),
            "seal": pki.organisation("o@a.test"),
            "org-sign": pki.organisation("o@b.test", profile=ORG_SIGN),
            "signer": pki.list_signer(),
            "person": pki.person("p@a.test", given="A", surname="B", identifier="899"),
            "expired": pki.operator("mx.old.test", not_before=NOW - 9 * day, not_after=NOW - day),
            "future": pki.operator("mx.new.test", not_before=NOW + day, not_after=NOW + 9 * day),
            "revoked": pki.operator("mx.bad.test"),
            "foreign": foreign.operator("mx.a.test"),
            "impostor": foreign.issue(organisation_name("mx.a.test", o="X", ou="1"), ORG_AUTH_CLI, _named_as(foreign, pki)),
        }
        pki.revoke(self.leaves["revoked"], NOW - day)
        self.crls = {name: make_crl(each, NOW - day / 24, number=1) for name, each in pki.authorities.items()}
        self.pinned = anchors.build([Certificate.read(each.public_bytes(Encoding.DER)) for each in pki.anchors()])


def _named_as(foreign, pki):
    """A foreign authority with the name of ours."""
    from mssgw.demo.pki import Authority, Credential

    return Authority("ACI-EL-ORG", Credential(pki.authority().credential.certificate, foreign.authority().credential.key))


@pytest.fixture(scope="module")
def scene():
    return Scene()


def ours(scene, leaf, purpose):
    clock = TestClock(NOW)
    ledger = revocation.Ledger(clock)
    for octets in scene.crls.values():
        for anchor in scene.pinned.every:
            try:
                ledger.add_crl(revocation.read_crl(octets, anchor))
            except revocation.RevocationError:
                continue
    try:
        return bool(paths.Validator(scene.pinned, ledger, clock)(leaf.der, purpose, NOW))
    except MailError:
        return False


async def oracle(scene, leaf, purpose):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyhanko_certvalidator import CertificateValidator, ValidationContext
        from pyhanko_certvalidator.errors import InvalidCertificateError, PathBuildingError, PathError, ValidationError

    roots = [asn1_x509.Certificate.load(each.certificate.der) for each in scene.pinned.roots]
    others = [asn1_x509.Certificate.load(each.certificate.der) for each in scene.pinned.every if each.above]
    context = ValidationContext(
        trust_roots=roots,
        other_certs=others,
        moment=NOW,
        allow_fetching=False,
        revocation_mode="require",
        crls=[asn1_crl.CertificateList.load(octets) for octets in scene.crls.values()],
    )
    usages, extended = KEY_USAGES[purpose]
    try:
        await CertificateValidator(asn1_x509.Certificate.load(leaf.der), validation_context=context).async_validate_usage(
            key_usage=usages, extended_key_usage=extended
        )
    except (InvalidCertificateError, PathBuildingError, PathError, ValidationError):
        return False
    return True


@pytest.mark.parametrize("purpose", KEY_USAGES)
async def test_the_oracle_agrees(scene, purpose):
    verdicts = {name: (ours(scene, leaf, purpose), await oracle(scene, leaf, purpose)) for name, leaf in scene.leaves.items()}
    assert {name: first for name, (first, _) in verdicts.items()} == {name: second for name, (_, second) in verdicts.items()}
    assert any(first for first, _ in verdicts.values())


@pytest.mark.parametrize(
    "octets", [b"", b"\x30", bytes(100), b"\x30\x80" + bytes(50), b"\x30\x84\xff\xff\xff\xff" + bytes(10), bytes(70_000)]
)
def test_what_is_no_certificate(scene, octets):
    clock = TestClock(NOW)
    with pytest.raises(MailError) as caught:
        paths.Validator(scene.pinned, revocation.Ledger(clock), clock)(octets, Purpose.RELAY_CLIENT, NOW)
    assert "can't be read" in caught.value.reply.text
