"""`openssl cms`, both directions: it reads what we make, we read what it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssgw.smime import EncryptionStatus, Reason
from mssgw.smime.cms.decrypting import Reading
from tests.peers.smime_matrix import ENTITY, TEXT, Workplace, encrypted, mail, run, signed
from tests.smime.people import ALICE, NOW

pytestmark = pytest.mark.peer("openssl")
SECONDS = str(int(NOW.timestamp()))


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace.at(tmp_path)


@pytest.mark.parametrize(
    ("kind", "pss"),
    [("rsa", False), ("rsa", True), ("rsa3072", False), ("p256", False), ("p384", False), ("brainpool256", False), ("brainpool512", False)],
)
@pytest.mark.parametrize("form", ["clear", "opaque"])
def test_it_verifies_ours(workplace: Workplace, kind: str, form: str, pss: bool) -> None:
    who, *_ = workplace.person(kind, ALICE)
    message = workplace.file("m.eml", signed(who, workplace.authority, pss=pss, opaque=form == "opaque"))
    out = workplace.path / "out"
    check = ("openssl", "cms", "-verify", "-CAfile", workplace.path / "ca.pem", "-attime", SECONDS, "-purpose", "smimesign")
    run(*check, "-in", message, "-out", out)
    assert TEXT.encode() in out.read_bytes()
    altered = workplace.file("a.eml", message.read_bytes().replace(b"compte rendu", b"compte vendu", 1))
    if form == "clear":
        assert run(*check, "-in", altered, ok=False).returncode


@pytest.mark.parametrize(
    ("kind", "oaep"), [("rsa", False), ("rsa", True), ("p256", False), ("p384", False), ("brainpool256", False), ("brainpool512", False)]
)
@pytest.mark.parametrize("cipher", ["aes256-gcm", "aes128-gcm", "aes256-cbc", "aes128-cbc"])
def test_it_decrypts_ours(workplace: Workplace, kind: str, cipher: str, oaep: bool) -> None:
    who, cert, key = workplace.person(kind)
    other, *_ = workplace.person("rsa", "other@beta.mssante.test", 3)
    message = workplace.file("m.eml", encrypted([other, who], cipher, oaep))
    done = run("openssl", "cms", "-decrypt", "-in", message, "-recip", cert, "-inkey", key)
    assert TEXT.encode() in done.stdout.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


PSS = ["-keyopt", "rsa_padding_mode:pss"]
SIGN_OPTIONS = [[], ["-nodetach"], ["-nodetach", "-stream"], ["-nosmimecap"], ["-noattr"], ["-keyid"], ["-md", "sha512"], ["-cades"]]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *[(kind, options) for kind in ("rsa", "p256", "p384") for options in SIGN_OPTIONS],
        ("brainpool256", []),
        ("brainpool512", ["-md", "sha512"]),
        ("rsa", PSS),
        ("rsa", [*PSS, "-keyopt", "rsa_pss_saltlen:digest"]),
        ("rsa", [*PSS, "-md", "sha384"]),
    ],
    ids=str,
)
def test_we_verify_its(workplace: Workplace, kind: str, options: list[str]) -> None:
    _, cert, key = workplace.person(kind, ALICE)
    source = workplace.file("in", ENTITY)
    run(
        "openssl", "cms", "-sign", "-in", source, "-signer", cert, "-inkey", key, "-out", workplace.path / "m.eml", "-from", ALICE, *options
    )
    found = workplace.opened((workplace.path / "m.eml").read_bytes()).verdict
    assert found.intact, found
    assert found.valid


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("rsa", ["-aes256"]),
        ("rsa", ["-aes128"]),
        ("rsa", ["-aes-256-gcm"]),
        ("rsa", ["-aes256", "-stream"]),
        ("rsa", ["-aes256", "-keyid"]),
        ("rsa", ["-aes-256-gcm", "-stream"]),
        ("p256", ["-aes256"]),
        ("p256", ["-aes-256-gcm"]),
        ("brainpool256", ["-aes256"]),
        ("brainpool512", ["-aes-256-gcm"]),
        ("p384", ["-aes256", "-keyid"]),
    ],
    ids=str,
)
def test_we_decrypt_its(workplace: Workplace, kind: str, options: list[str]) -> None:
    who, cert, _ = workplace.person(kind)
    source = workplace.file("in", ENTITY)
    run("openssl", "cms", "-encrypt", "-in", source, "-out", workplace.path / "m.eml", *options, "-recip", cert)
    got = workplace.opened((workplace.path / "m.eml").read_bytes(), who)
    assert got.verdict.encryption is EncryptionStatus.DECRYPTED, got.verdict
    assert TEXT.encode() in got.readable.read()


@pytest.mark.parametrize(
    "options",
    [
        ["-keyopt", "rsa_padding_mode:oaep"],
        ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"],
        ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha512"],
        ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256", "-keyopt", "rsa_mgf1_md:sha1"],
        ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha384", "-keyopt", "rsa_mgf1_md:sha512"],
    ],
    ids=str,
)
def test_we_decrypt_its_oaep(workplace: Workplace, options: list[str]) -> None:
    who, cert, _ = workplace.person("rsa")
    run(
        "openssl",
        "cms",
        "-encrypt",
        "-in",
        workplace.file("in", ENTITY),
        "-out",
        workplace.path / "m.eml",
        "-aes256",
        "-recip",
        cert,
        *options,
    )
    assert workplace.opened((workplace.path / "m.eml").read_bytes(), who).verdict.encryption is EncryptionStatus.DECRYPTED


@pytest.mark.parametrize("curve_hash", ["sha256", "sha384", "sha512"])
def test_we_decrypt_its_ecdh_with_other_hashes(workplace: Workplace, curve_hash: str) -> None:
    who, cert, _ = workplace.person("p256")
    run(
        "openssl",
        "cms",
        "-encrypt",
        "-in",
        workplace.file("in", ENTITY),
        "-out",
        workplace.path / "m.eml",
        "-aes256",
        "-recip",
        cert,
        "-keyopt",
        f"ecdh_kdf_md:{curve_hash}",
    )
    assert workplace.opened((workplace.path / "m.eml").read_bytes(), who).verdict.encryption is EncryptionStatus.DECRYPTED


def test_triple_wrap(workplace: Workplace) -> None:
    """Signed, encrypted, signed again, each by openssl."""
    _, cert, key = workplace.person("rsa", ALICE)
    bob, his, _ = workplace.person("p256")
    first = run("openssl", "cms", "-sign", "-in", workplace.file("in", ENTITY), "-signer", cert, "-inkey", key, "-crlfeol").stdout
    second = run("openssl", "cms", "-encrypt", "-aes256", "-in", workplace.file("one", first), his).stdout
    third = run("openssl", "cms", "-sign", "-in", workplace.file("two", second), "-signer", cert, "-inkey", key, "-from", ALICE).stdout
    got = workplace.opened(third, bob)
    assert got.verdict.layers == ("signed", "encrypted", "signed")
    assert got.verdict.valid, got.verdict
    assert got.verdict.reasons == ("signing-time-far-off",) or got.verdict.reasons == ()


def test_compressed(workplace: Workplace) -> None:
    done = run("openssl", "cms", "-compress", "-in", workplace.file("in", ENTITY), "-outform", "DER", ok=False)
    if done.returncode:
        pytest.skip("this openssl has no zlib")
    assert workplace.opened(mail(done.stdout)).verdict.layers == ("compressed",)


def test_what_is_only_for_a_password_is_named_as_such(workplace: Workplace) -> None:
    done = run("openssl", "cms", "-encrypt", "-aes256", "-in", workplace.file("in", ENTITY), "-pwri_password", "secret", "-outform", "DER")
    found = workplace.opened(mail(done.stdout)).verdict
    assert found.encryption is EncryptionStatus.NO_KEY
    assert "password" in found.details[0]


OLD = ["-provider", "legacy", "-provider", "default"]


@pytest.mark.parametrize(
    ("kind", "options", "cipher"),
    [
        ("rsa", ["-rc2-40"], "rc2-40-cbc"),
        ("rsa", ["-rc2-64"], "rc2-64-cbc"),
        ("rsa", ["-rc2-128"], "rc2-128-cbc"),
        ("rsa", ["-des3"], "des-ede3-cbc"),
        ("p256", ["-rc2-128"], "rc2-128-cbc"),
        ("p256", ["-des3"], "des-ede3-cbc"),
        ("p256", ["-des3", "-des3-wrap"], "des-ede3-cbc"),
        ("p384", ["-aes256", "-des3-wrap"], "aes256-cbc"),
    ],
    ids=str,
)
def test_we_decrypt_its_old_ciphers_when_asked(workplace: Workplace, kind: str, options: list[str], cipher: str) -> None:  # RFC 3370, 3217
    who, cert, _ = workplace.person(kind)
    run("openssl", "cms", "-encrypt", *OLD, "-in", workplace.file("in", ENTITY), "-out", workplace.path / "m.eml", *options, "-recip", cert)
    message = (workplace.path / "m.eml").read_bytes()
    got = workplace.opened(message, who, reading=Reading(legacy=True))
    assert got.verdict.ciphers[0].endswith(f"+{cipher}")
    assert TEXT.encode() in got.readable.read()
    assert workplace.opened(message, who).verdict.reasons == (Reason.WEAK,)
