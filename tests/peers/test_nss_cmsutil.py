"""NSS (what Thunderbird uses), by its `cmsutil`, both directions. 3.87 reads neither GCM, nor OAEP, nor ECDH (docs/smime.md)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mssgw.smime import EncryptionStatus
from tests.peers.smime_matrix import ENTITY, TEXT, Workplace, cms_of, encrypted, mail, run, signed
from tests.smime.people import ALICE, Person

pytestmark = pytest.mark.peer("cmsutil", "certutil", "pk12util")


class Nss:
    def __init__(self, workplace: Workplace) -> None:
        self.workplace, self.people = workplace, {}
        (workplace.path / "db").mkdir()
        self.db = f"sql:{workplace.path / 'db'}"
        run("certutil", "-N", "-d", self.db, "--empty-password")
        run("certutil", "-A", "-d", self.db, "-n", "ca", "-t", "CT,C,C", "-i", workplace.path / "ca.pem")
        for kind in ("rsa", "p256", "p384"):
            who, *_ = workplace.person(kind, f"{kind}@beta.mssante.test", 7)
            self.people[kind] = who
            run("pk12util", "-d", self.db, "-i", workplace.pkcs12(who, kind), "-W", "abc")

    def cmsutil(self, *arguments: str | Path, ok: bool = True) -> subprocess.CompletedProcess[bytes]:
        return run("cmsutil", arguments[0], "-d", self.db, *arguments[1:], ok=ok)


@pytest.fixture(scope="module")
def nss(tmp_path_factory: pytest.TempPathFactory) -> Nss:
    return Nss(Workplace.at(tmp_path_factory.mktemp("nss")))


@pytest.mark.parametrize("cipher", ["aes256-cbc", "aes128-cbc"])
def test_it_decrypts_ours(nss: Nss, cipher: str) -> None:
    path = nss.workplace.file("e.der", cms_of(encrypted([nss.people["rsa"]], cipher, oaep=False)))
    assert TEXT.encode() in nss.cmsutil("-D", "-i", path).stdout


@pytest.mark.parametrize(
    ("kind", "cipher", "oaep"), [("rsa", "aes256-gcm", False), ("rsa", "aes256-cbc", True), ("p256", "aes256-cbc", False)]
)
def test_what_is_beyond_it(nss: Nss, kind: str, cipher: str, oaep: bool) -> None:
    """When one of these fails, a newer NSS reads it, and the safe default may change."""
    path = nss.workplace.file("e.der", cms_of(encrypted([nss.people[kind]], cipher, oaep)))
    assert nss.cmsutil("-D", "-i", path, ok=False).returncode


@pytest.mark.parametrize(("kind", "pss"), [("rsa", False), ("rsa", True), ("p256", False), ("p384", False)])
def test_it_verifies_ours(nss: Nss, kind: str, pss: bool) -> None:
    good = cms_of(signed(nss.people[kind], nss.workplace.authority, opaque=True, pss=pss))
    assert b"GoodSignature" in nss.cmsutil("-D", "-h", "0", "-i", nss.workplace.file("s.der", good)).stdout
    bad = nss.workplace.file("b.der", good.replace(b"compte rendu", b"compte vendu"))
    assert b"GoodSignature" not in nss.cmsutil("-D", "-h", "0", "-i", bad, ok=False).stdout


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
@pytest.mark.parametrize("options", [[], ["-G"], ["-G", "-H", "SHA512"], ["-G", "-P"]], ids=str)
def test_we_verify_its(nss: Nss, kind: str, options: list[str]) -> None:
    out = nss.workplace.path / "out"
    nss.cmsutil("-S", "-N", kind, "-i", nss.workplace.file("in", ENTITY), "-o", out, *options)
    who: Person = nss.people[kind]
    found = nss.workplace.opened(mail(out.read_bytes()).replace(ALICE.encode(), str(who.certificate.addresses[0]).encode())).verdict
    assert found.valid, found


def test_we_decrypt_its(nss: Nss) -> None:
    out = nss.workplace.path / "out"
    nss.cmsutil("-E", "-r", "rsa@beta.mssante.test", "-i", nss.workplace.file("in", ENTITY), "-o", out)
    got = nss.workplace.opened(mail(out.read_bytes()), nss.people["rsa"])
    assert got.verdict.encryption is EncryptionStatus.DECRYPTED
    assert TEXT.encode() in got.readable.read()
