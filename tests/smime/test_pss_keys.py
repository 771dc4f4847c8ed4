"""Keys for RSASSA-PSS alone (id-RSASSA-PSS in the certificate, RFC 4055 1.2): what they may sign and what not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mssgw.pki import der
from mssgw.smime import files
from mssgw.smime.cms import capabilities, signed
from mssgw.smime.cms.recipients import recipient
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.opening import open_now
from mssgw.smime.verdict import Verdict
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import SIGNATURES, identifier, signature_for
from tests.cli.desk import mssgw
from tests.smime.forge import ENTITY, clear, plain_attributes, signed_data, signer_info
from tests.smime.letters import letter
from tests.smime.people import ALICE, NOW, Authority, Person


def parameters(digest: bytes = oids.SHA256, salt: int = 32) -> bytes:
    hashed = identifier(digest, der.NULL)
    return der.sequence(der.explicit(0, hashed), der.explicit(1, identifier(oids.MGF1, hashed)), der.explicit(2, der.integer(salt)))


def restricted(authority: Authority, given: bytes = b"") -> Person:
    """Alice with the same RSA key, marked for PSS alone."""
    alice = authority.issue("rsa", ALICE)
    tbs = der.inside(alice.der, der.whole(alice.der), der.SEQUENCE)[0]
    fields = [alice.der[one[1] : one[3]] for one in der.inside(alice.der, tbs, der.SEQUENCE)]
    bits = der.inside(fields[6], der.whole(fields[6]), der.SEQUENCE)[1]
    fields[6] = der.sequence(identifier(oids.RSA_PSS, given), fields[6][bits[1] : bits[3]])
    changed = der.sequence(*fields)
    signature = authority.key.sign(changed, padding.PKCS1v15(), SHA256())
    made = der.sequence(changed, identifier(oids.RSA_SHA256, der.NULL), der.tlv(der.BIT_STRING, b"\0", signature))
    return Person(alice.key, x509.load_der_x509_certificate(made), alice.chain)


def verdict(authority: Authority, who: Person, name: str) -> Verdict:
    info = signer_info(who, plain_attributes(ENTITY), scheme=SIGNATURES[name])
    return open_now(clear(ENTITY, signed_data([info], [who])), [], authority.validate, NOW).verdict


def test_a_signature_by_a_pss_key_never_uses_v15(authority: Authority) -> None:
    who = restricted(authority)
    assert who.certificate.pss == b""
    assert signature_for(who.certificate.public_key, restricted=who.certificate.pss).name == "pss-sha256"
    assert signed.Signer(who.identity).scheme.name == "pss-sha256"
    assert verdict(authority, who, "pss-sha256").valid
    found = verdict(authority, who, "rsa-sha256")
    assert not found.intact
    assert Reason.USAGE in found.reasons
    assert "RSASSA-PSS" in found.signers[0].detail


@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        (parameters(), "pss-sha256"),
        (parameters(oids.SHA384, 48), "pss-sha384"),
        (parameters(oids.SHA512, 24), "pss-sha512"),
        (parameters(oids.SHA256, 0), "pss-sha256"),
    ],
)
def test_a_pss_key_signs_with_its_own_parameters(authority: Authority, given: bytes, accepted: str) -> None:
    who = restricted(authority, given)
    assert signed.Signer(who.identity).scheme.name == accepted
    assert verdict(authority, who, "pss-sha256").valid == (accepted == "pss-sha256")
    assert files.sign(letter(), who.identity, NOW, pss=False, opaque=False, header_protection=True)[1]["algorithms"] == [accepted]
    made, _ = files.sign(letter(), who.identity, NOW, pss=True, opaque=True, header_protection=True)
    assert open_now(made, [], authority.validate, NOW).verdict.valid


def test_a_pss_key_that_asks_for_a_longer_salt_gets_it(authority: Authority) -> None:
    who = restricted(authority, parameters(salt=48))
    scheme = signed.Signer(who.identity).scheme
    assert scheme.salt == 48
    assert not verdict(authority, who, "pss-sha256").intact  # with 32
    info = signer_info(who, plain_attributes(ENTITY), scheme=scheme)
    assert open_now(clear(ENTITY, signed_data([info], [who])), [], authority.validate, NOW).verdict.valid


@pytest.mark.parametrize(
    "given",
    [
        der.sequence(),
        parameters().replace(  # SHA-1 by default; two different hashes
            oids.MGF1 + identifier(oids.SHA256, der.NULL), oids.MGF1 + identifier(oids.SHA384, der.NULL)
        ),
    ],
)
def test_pss_parameters_we_do_not_use_are_refused(authority: Authority, given: bytes) -> None:
    who = restricted(authority, given)
    with pytest.raises((SmimeError, der.DerError)):
        signature_for(who.certificate.public_key, restricted=who.certificate.pss)
    assert not verdict(authority, who, "pss-sha256").intact


def test_a_pss_key_is_never_encrypted_to(authority: Authority) -> None:
    who = restricted(authority)
    with pytest.raises(SmimeError) as raised:
        recipient(who.certificate, oaep=True)
    assert raised.value.reason is Reason.USAGE
    own = capabilities.own(who.certificate)
    assert oids.RSA not in own  # … and nobody is invited to
    assert oids.RSA_OAEP not in own


def test_keys_of_every_other_kind_are_not_restricted(authority: Authority) -> None:
    for kind in ("rsa", "p256", "ed25519"):
        assert authority.issue(kind, ALICE).certificate.pss is None


@pytest.mark.parametrize("more", [(), ("rsa_pss_keygen_md:sha384", "rsa_pss_keygen_mgf1_md:sha384", "rsa_pss_keygen_saltlen:50")])
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_openssl_accepts_what_a_pss_key_of_its_own_signs(tmp_path: Path, more: tuple[str, ...]) -> None:
    def openssl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["openssl", *arguments], cwd=tmp_path, capture_output=True, check=False)

    made = openssl(
        "genpkey",
        "-algorithm",
        "RSA-PSS",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        *[word for one in more for word in ("-pkeyopt", one)],
        "-out",
        "k.key",
    )
    assert made.returncode == 0, made.stderr
    assert (
        openssl(
            "req",
            "-x509",
            "-new",
            "-key",
            "k.key",
            "-subj",
            "/CN=pss",
            *(["-sha384"] if more else []),
            "-days",
            "2",
            "-addext",
            f"subjectAltName=email:{ALICE}",
            "-out",
            "k.pem",
        ).returncode
        == 0
    )
    (tmp_path / "m.eml").write_bytes(letter().read())
    done = mssgw("smime", "sign", tmp_path / "m.eml", "--key", tmp_path / "k.key", "--cert", tmp_path / "k.pem", "-o", tmp_path / "s.eml")
    assert done.returncode == 0, done.stderr
    said = openssl("cms", "-verify", "-in", "s.eml", "-CAfile", "k.pem", "-purpose", "any")
    assert said.returncode == 0, said.stderr
    refused = mssgw("smime", "encrypt", tmp_path / "m.eml", "--to", tmp_path / "k.pem", "-o", tmp_path / "e.eml")
    assert refused.returncode == 1
    assert not (tmp_path / "e.eml").exists()
    assert Certificate(x509.load_pem_x509_certificate((tmp_path / "k.pem").read_bytes()).public_bytes(Encoding.DER)).pss is not None
