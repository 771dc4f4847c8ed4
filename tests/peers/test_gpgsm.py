"""gpgsm, both directions. It reads AES-CBC with RSA v1.5 and no GCM: that row is its limit, not ours (docs/smime.md)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from mssgw.smime import EncryptionStatus
from tests.peers.smime_matrix import ENTITY, TEXT, Desk, cms_of, encrypted, mail, run, signed
from tests.smime.people import ALICE, BOB, NOW, Person

pytestmark = pytest.mark.peer("gpgsm")


class Gpgsm:
    def __init__(self, desk: Desk, home: Path) -> None:
        self.desk, self.home = desk, home
        fingerprint = desk.authority.cert.fingerprint(hashes.SHA1()).hex().upper()
        (home / "trustlist.txt").write_text(f"{fingerprint} S relax\n")
        (home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
        self.bob, *_ = desk.person("rsa", BOB)
        self("--import", desk.path / "ca.pem")
        self("--passphrase-fd", "0", "--import", desk.pkcs12(self.bob, "bob"))

    def __call__(self, *arguments: str | Path, ok: bool = True) -> subprocess.CompletedProcess[bytes]:
        return run("gpgsm", "--homedir", self.home, "--batch", "--disable-crl-checks", "--disable-dirmngr", "--faked-system-time",
                   NOW.strftime("%Y%m%dT%H%M%S"), "--pinentry-mode", "loopback", *arguments, given=b"abc\n", ok=ok)

    def secret(self, *arguments: str | Path, ok: bool = True) -> subprocess.CompletedProcess[bytes]:
        return self("--passphrase-fd", "0", *arguments, ok=ok)


@pytest.fixture(scope="module")
def gpgsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpgsm]:
    home = Path(tempfile.mkdtemp(prefix="gpgsm-", dir="/tmp"))  # the agent's socket path must be short
    try:
        yield Gpgsm(Desk.at(tmp_path_factory.mktemp("gpgsm")), home)
    finally:
        run("gpgconf", "--homedir", home, "--kill", "all", ok=False)
        shutil.rmtree(home, ignore_errors=True)


def as_bob(message: bytes) -> bytes:
    return message.replace(ALICE.encode(), BOB.encode())


@pytest.mark.parametrize("cipher", ["aes256-cbc", "aes128-cbc"])
def test_it_decrypts_ours(gpgsm: Gpgsm, cipher: str) -> None:
    path = gpgsm.desk.file("e.der", cms_of(encrypted([gpgsm.bob], cipher, oaep=False)))
    assert TEXT.encode() in gpgsm.secret("--decrypt", path).stdout


def test_gcm_is_beyond_it(gpgsm: Gpgsm) -> None:
    """When this fails, a newer gpgsm reads GCM, and the safe default may change."""
    path = gpgsm.desk.file("e.der", cms_of(encrypted([gpgsm.bob], "aes256-gcm", oaep=False)))
    assert gpgsm.secret("--decrypt", path, ok=False).returncode


def test_it_verifies_ours(gpgsm: Gpgsm) -> None:
    who: Person = gpgsm.bob
    good = cms_of(signed(who, gpgsm.desk.authority, opaque=True))
    assert b"Good signature" in gpgsm("--verify", gpgsm.desk.file("s.der", good)).stderr
    bad = gpgsm.desk.file("b.der", good.replace(b"compte rendu", b"compte vendu"))
    assert gpgsm("--verify", bad, ok=False).returncode


@pytest.mark.parametrize("options", [[], ["--include-certs", "-1"], ["--digest-algo", "SHA512"]], ids=str)
def test_we_verify_its(gpgsm: Gpgsm, options: list[str]) -> None:
    made = gpgsm.secret("--sign", "--local-user", BOB, *options, gpgsm.desk.file("in", ENTITY)).stdout
    found = gpgsm.desk.opened(as_bob(mail(made))).verdict
    assert found.valid, found


def test_we_decrypt_its(gpgsm: Gpgsm) -> None:
    made = gpgsm("--encrypt", "--recipient", BOB, gpgsm.desk.file("in", ENTITY)).stdout
    got = gpgsm.desk.opened(mail(made), gpgsm.bob)
    assert got.verdict.encryption is EncryptionStatus.DECRYPTED
    assert TEXT.encode() in got.readable.read()
