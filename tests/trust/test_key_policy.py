"""Trust and S/MIME use one table: a key that signs mail is accepted by trust, and the other way round."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from mssgw.core.errors import MailError
from mssgw.demo.pki import Profile, organisation_name
from mssgw.pki import der, policy
from mssgw.pki.certificates import Certificate, CertificateError
from mssgw.pki.judgement import Purpose
from mssgw.pki.policy import Problem, Use
from mssgw.smime.errors import SmimeError
from mssgw.smime.keys import certificates
from mssgw.trust import anchors
from mssgw.trust.faults import Fault, fault_of
from tests.trust.conftest import NOW

MAKE = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "brainpoolP256r1": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    "brainpoolP384r1": lambda: ec.generate_private_key(ec.BrainpoolP384R1()),
    "brainpoolP512r1": lambda: ec.generate_private_key(ec.BrainpoolP512R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "X25519": x25519.X25519PrivateKey.generate,
    "ML-DSA-44": mldsa.MLDSA44PrivateKey.generate,
    "ML-DSA-65": mldsa.MLDSA65PrivateKey.generate,
    "ML-DSA-87": mldsa.MLDSA87PrivateKey.generate,
    "ML-KEM-768": mlkem.MLKEM768PrivateKey.generate,
    "ML-KEM-1024": mlkem.MLKEM1024PrivateKey.generate,
}
USES = {
    Purpose.MAIL_SIGN: Use.SIGN,
    Purpose.MAIL_ENCRYPT: Use.ENCRYPT,
    Purpose.LIST_SIGN: Use.ISSUE,
    Purpose.RELAY_CLIENT: Use.TLS,
    Purpose.RELAY_SERVER: Use.TLS,
}
NAME = organisation_name("any.test", o="ANY", ou="318751275100020")
ANYTHING = Profile(
    ("digital_signature", "content_commitment", "key_encipherment", "key_agreement"),
    (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION),
)


@pytest.fixture(scope="module", params=policy.TABLE, ids=lambda kind: kind.name)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def leaf(world, kind):
    """A certificate of that key, by an authority of the space, whose profile allows everything."""
    return world.pki.issue(NAME, ANYTHING, world.pki.authority(), key=MAKE[kind.name]())


@pytest.mark.parametrize("purpose", list(Purpose))
def test_trust_answers_by_the_table(validator, leaf, kind, purpose):
    if USES[purpose] in kind.uses:
        assert validator(leaf.der, purpose, NOW).purpose is purpose
    else:
        with pytest.raises(MailError) as caught:
            validator(leaf.der, purpose, NOW)
        assert fault_of(caught.value) is Fault.WRONG_USAGE
        assert f"{kind.name} key, which " in caught.value.reply.text


def test_smime_answers_by_the_table(leaf, kind):
    one = certificates.certificate(leaf.der)
    for use, require in ((Use.SIGN, one.require_signing_use), (Use.ENCRYPT, one.require_encryption_use)):
        if use in kind.uses:
            require()
        else:
            with pytest.raises(SmimeError, match=f"{kind.name} key, which"):
                require()


@pytest.mark.parametrize("name", ["Ed25519", "ML-DSA-65"])
def test_an_authority_with_a_key_that_may_not_issue_is_left_out(world, name):
    key, subject = MAKE[name](), world.pki._ca_name("OTHER ROOT")
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(world.pki.made)
        .not_valid_after(world.pki.made.replace(year=world.pki.made.year + 5))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, None)
    )
    found = anchors.build([Certificate.read(made.public_bytes(Encoding.DER))])
    assert not found.roots
    ((_, why),) = found.left_out
    assert str(why) == f"{name} key, which is not accepted from an authority or a responder"


def test_a_certificate_signed_over_sha1_is_refused_whatever_its_key(world):
    """cryptography signs over SHA-1 no more, so the algorithm's identifier is exchanged: enough for who looks at it first."""
    sha256, sha1 = der.oid("1.2.840.113549.1.1.11"), der.oid("1.2.840.113549.1.1.5")
    one = Certificate.read(world.alpha.der.replace(sha256, sha1))
    with pytest.raises(CertificateError, match=r"signed with sha1 \(needed: SHA-256 or longer\)") as caught:
        one.require_strong_signature()
    assert caught.value.problem is Problem.WEAK


def test_a_curve_written_out_has_no_name(world):
    """RFC 5480 2.1.1: parameters in full could describe any curve; a compressed point stands for them here, which TLS forbids as well."""
    key = ec.generate_private_key(ec.SECP256R1())
    whole = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    short = der.sequence(der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.2.840.10045.3.1.7")), der.tlv(der.BIT_STRING, b"\0", point))
    data = world.pki.issue(NAME, ANYTHING, world.pki.authority(), key=key).der
    top = der.inside(data, der.whole(data), der.SEQUENCE)
    signed, rest = data[top[0][2] : top[0][3]].replace(whole, short), data[top[0][3] : top[2][3]]
    one = Certificate(der.sequence(der.sequence(signed), rest))
    with pytest.raises(CertificateError, match="P-256 key that is not a named curve and an uncompressed point"):
        _ = one.public_key
    assert Certificate(data).public_key == key.public_key()
