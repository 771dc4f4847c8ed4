"""gpgsm, both directions. It verifies PSS and ECDSA; it decrypts AES-CBC behind RSA v1.5 and nothing else, neither from us nor from
openssl: those rows show its limits, with its own error messages (docs/smime.md)."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mssgw.smime import EncryptionStatus
from tests.peers.smime_matrix import ENTITY, TEXT, Workplace, cms_of, encrypted, mail, run, signed
from tests.smime.people import ALICE, BOB, NOW, Person, usage

pytestmark = pytest.mark.peer("gpgsm")


class Gpgsm:
    def __init__(self, workplace: Workplace, home: Path) -> None:
        self.workplace, self.home = workplace, home
        self.people: dict[str, Person] = {}
        fingerprint = workplace.authority.cert.fingerprint(hashes.SHA1()).hex().upper()
        (home / "trustlist.txt").write_text(f"{fingerprint} S relax\n")
        (home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
        self("--import", workplace.path / "ca.pem")
        self.bob = self.holds(workplace.authority.issue("rsa", BOB, number=1), BOB)

    def __call__(self, *arguments: str | Path, ok: bool = True) -> subprocess.CompletedProcess[bytes]:
        return run(
            "gpgsm",
            "--homedir",
            self.home,
            "--batch",
            "--disable-crl-checks",
            "--disable-dirmngr",
            "--faked-system-time",
            NOW.strftime("%Y%m%dT%H%M%S"),
            "--pinentry-mode",
            "loopback",
            *arguments,
            ok=ok,
        )

    def holds(self, who: Person, address: str) -> Person:
        """Has it hold this certificate and its key, which is put where its agent keeps keys.

        It can't read every PKCS#12. 2.2.40 derives another key when an octet of the salted passphrase becomes zero at the left
        (the derivation of PKCS#12 in 3DES: it drops leading zeros), by chance in 2 of 100 files: "decryption failed, possibly bad passphrase".
        One with an elliptic key makes it crash.
        """
        self("--import", self.workplace.file(f"{address}.crt", who.der))
        listed = self("--with-keygrip", "--with-colons", "--list-keys", address).stdout.decode()
        found = re.search(r"^grp:+([0-9A-F]{40}):", listed, re.MULTILINE)
        assert found
        keys = self.home / "private-keys-v1.d"
        keys.mkdir(mode=0o700, exist_ok=True)
        (keys / f"{found[1]}.key").write_bytes(_private_key(who.key))
        return who

    def elliptic(self, kind: str) -> Person:
        """Somebody with a key on this curve."""
        if kind not in self.people:
            address = f"{kind}@beta.mssante.test"
            use = usage(digital_signature=True, key_agreement=True, key_encipherment=True)  # it encrypts only with the last of them
            self.people[kind] = self.holds(self.workplace.authority.issue(kind, address, number=7, ku=use), address)
        return self.people[kind]


def _private_key(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """A canonical S-expression, as libgcrypt writes keys."""

    def atom(octets: bytes) -> bytes:
        return b"%d:%b" % (len(octets), octets)

    def number(value: int) -> bytes:
        return value.to_bytes(value.bit_length() // 8 + 1, "big")  # signed: the highest bit is zero

    pairs: dict[bytes, bytes]
    if isinstance(key, rsa.RSAPrivateKey):
        own = key.private_numbers()
        p, q = sorted((own.p, own.q))
        integers = {b"n": own.public_numbers.n, b"e": own.public_numbers.e, b"d": own.d, b"p": p, b"q": q, b"u": pow(p, -1, q)}
        name, pairs = b"rsa", {letter: number(value) for letter, value in integers.items()}
    else:
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        secret = key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")
        name, pairs = b"ecc", {b"curve": b"NIST P-%d" % key.key_size, b"q": point, b"d": b"\0" + secret}
    inside = b"".join(b"(" + atom(letter) + atom(value) + b")" for letter, value in pairs.items())
    return b"(" + atom(b"private-key") + b"(" + atom(name) + inside + b"))"


@pytest.fixture(scope="module")
def gpgsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpgsm]:
    home = Path(tempfile.mkdtemp(prefix="gpgsm-", dir="/tmp"))  # the agent's socket path must be short
    try:
        yield Gpgsm(Workplace.at(tmp_path_factory.mktemp("gpgsm")), home)
    finally:
        run("gpgconf", "--homedir", home, "--kill", "all", ok=False)
        shutil.rmtree(home, ignore_errors=True)


def as_bob(message: bytes) -> bytes:
    return message.replace(ALICE.encode(), BOB.encode())


@pytest.mark.parametrize("cipher", ["aes256-cbc", "aes128-cbc"])
def test_it_decrypts_ours(gpgsm: Gpgsm, cipher: str) -> None:
    path = gpgsm.workplace.file("e.der", cms_of(encrypted([gpgsm.bob], cipher, oaep=False)))
    assert TEXT.encode() in gpgsm("--decrypt", path).stdout


def test_gcm_is_beyond_it(gpgsm: Gpgsm) -> None:
    """When this fails, a newer gpgsm reads GCM, and the safe default may change."""
    path = gpgsm.workplace.file("e.der", cms_of(encrypted([gpgsm.bob], "aes256-gcm", oaep=False)))
    assert gpgsm("--decrypt", path, ok=False).returncode


def test_it_verifies_ours(gpgsm: Gpgsm) -> None:
    who: Person = gpgsm.bob
    good = cms_of(signed(who, gpgsm.workplace.authority, opaque=True))
    assert b"Good signature" in gpgsm("--verify", gpgsm.workplace.file("s.der", good)).stderr
    bad = gpgsm.workplace.file("b.der", good.replace(b"compte rendu", b"compte vendu"))
    assert gpgsm("--verify", bad, ok=False).returncode


@pytest.mark.parametrize("options", [[], ["--include-certs", "-1"], ["--digest-algo", "SHA512"]], ids=str)
def test_we_verify_its(gpgsm: Gpgsm, options: list[str]) -> None:
    made = gpgsm("--sign", "--local-user", BOB, *options, gpgsm.workplace.file("in", ENTITY)).stdout
    found = gpgsm.workplace.opened(as_bob(mail(made))).verdict
    assert found.valid, found


def test_we_decrypt_its(gpgsm: Gpgsm) -> None:
    made = gpgsm("--encrypt", "--recipient", BOB, gpgsm.workplace.file("in", ENTITY)).stdout
    got = gpgsm.workplace.opened(mail(made), gpgsm.bob)
    assert got.verdict.encryption is EncryptionStatus.DECRYPTED
    assert TEXT.encode() in got.readable.read()


@pytest.mark.parametrize(("kind", "pss"), [("rsa", True), ("p256", False), ("p384", False)])
def test_it_verifies_our_pss_and_ecdsa(gpgsm: Gpgsm, kind: str, pss: bool) -> None:
    who = gpgsm.bob if kind == "rsa" else gpgsm.elliptic(kind)
    good = cms_of(signed(who, gpgsm.workplace.authority, opaque=True, pss=pss))
    assert b"Good signature" in gpgsm("--verify", gpgsm.workplace.file("s.der", good)).stderr
    bad = gpgsm("--verify", gpgsm.workplace.file("b.der", good.replace(b"compte rendu", b"compte vendu")), ok=False)
    assert bad.returncode
    assert b"message digest attribute does not match" in bad.stderr


def test_we_verify_its_ecdsa(gpgsm: Gpgsm) -> None:
    """P-384 is left out: gpgsm hashes with SHA-256, which its agent refuses as too short for that curve."""
    gpgsm.elliptic("p256")
    made = gpgsm("--sign", "--local-user", "p256@beta.mssante.test", gpgsm.workplace.file("in", ENTITY)).stdout
    found = gpgsm.workplace.opened(mail(made)).verdict
    assert found.intact, found
    assert found.signers[0].algorithm == "ecdsa-sha256"


def openssls(gpgsm: Gpgsm, who: Person, *options: str) -> Path:
    cert = gpgsm.workplace.file("reader.pem", who.pem())
    command = ("openssl", "cms", "-encrypt", "-aes256", "-in", gpgsm.workplace.file("in", ENTITY), "-outform", "DER")
    made = run(*command, "-recip", cert, *options).stdout
    return gpgsm.workplace.file("o.der", made)


@pytest.mark.peer("openssl")
def test_oaep_is_beyond_it(gpgsm: Gpgsm) -> None:
    """When this fails, a newer gpgsm reads OAEP."""
    ours = gpgsm.workplace.file("e.der", cms_of(encrypted([gpgsm.bob], "aes256-cbc", oaep=True)))
    for path in (ours, openssls(gpgsm, gpgsm.bob, "-keyopt", "rsa_padding_mode:oaep")):
        assert b"error getting encrypted session key" in gpgsm("--decrypt", path, ok=False).stderr


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_ecdh_is_beyond_it(gpgsm: Gpgsm, kind: str) -> None:
    """When this fails, a newer gpgsm agrees on keys. 2.2.40 finds its recipient and gets no key out of anybody's message."""
    who = gpgsm.elliptic(kind)
    ours = gpgsm.workplace.file("e.der", cms_of(encrypted([who], "aes256-cbc", oaep=False)))
    for path in (ours, openssls(gpgsm, who), openssls(gpgsm, who, "-keyopt", "ecdh_kdf_md:sha256")):
        said = gpgsm("--decrypt", path, ok=False).stderr
        assert f"encrypted to nist{kind} key".encode() in said
        assert b"message decryption failed" in said
    tried = gpgsm("--encrypt", "--recipient", f"{kind}@beta.mssante.test", gpgsm.workplace.file("in", ENTITY), ok=False)
    assert b"Invalid S-expression" in tried.stderr
