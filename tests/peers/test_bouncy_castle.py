"""Bouncy Castle 1.72, both directions, by a small program of ours over it (tests/peers/java).

It knows X25519 and HKDF, but not RFC 8418's OIDs: there the structure is read and written with its ASN.1 classes, and keys are
agreed, derived and wrapped with its engines; only the order of the steps is ours.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from mssgw.pki import der
from mssgw.smime.cms import recipients, verifying
from mssgw.smime.cms.decrypting import Decrypted, Reading, decrypt
from mssgw.smime.cms.enveloped import encrypt
from mssgw.smime.cms.signed import Signer
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import CIPHERS, MADE, identifier
from mssgw.smime.wire.ber import Stream
from tests.peers.smime_matrix import ENTITY, run
from tests.smime.forge import content_info
from tests.smime.people import ALICE, BOB, NOW, Authority, Person

JARS = [Path(f"/usr/share/java/{name}.jar") for name in ("bcprov", "bcpkix", "bcutil")]
pytestmark = pytest.mark.peer("java", "javac", *map(str, JARS))


class Refused(Exception):
    pass


class Bouncy:
    def __init__(self, path: Path) -> None:
        self.path, self.authority = path, Authority()
        classes = ":".join([str(path), *map(str, JARS)])
        run("javac", "-nowarn", "-cp", classes, "-d", path, Path(__file__).parent / "java" / "Bouncy.java")
        self.process = subprocess.Popen(
            ["java", "-XX:TieredStopAtLevel=1", "-cp", classes, "Bouncy"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __call__(self, verb: str, data: bytes, *words: str | Path) -> bytes:
        (self.path / "in").write_bytes(data)
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\t".join(map(str, (verb, self.path / "in", *words))).encode() + b"\n")
        self.process.stdin.flush()
        word, _, rest = self.process.stdout.readline().partition(b" ")
        if word != b"OK":
            raise Refused(rest.decode().strip())
        return self.process.stdout.read(int(rest))

    def person(self, kind: str, address: str = BOB) -> tuple[Person, Path, Path]:
        who = self.authority.issue(kind, address, number=1)
        cert, key = self.path / f"{kind}.der", self.path / f"{kind}.key"
        cert.write_bytes(who.der)
        key.write_bytes(who.key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return who, cert, key


@pytest.fixture(scope="module")
def bouncy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bouncy]:
    one = Bouncy(tmp_path_factory.mktemp("bouncy"))
    yield one
    one.process.kill()
    one.process.communicate()


def hidden(who: Person, cipher: str, oaep: bool) -> bytes:
    out: list[bytes] = []
    encrypt([ENTITY], len(ENTITY), [recipients.recipient(who.certificate, oaep=oaep)], MADE[cipher], out.append)
    return b"".join(out)


def read(data: bytes, who: Person, reading: Reading = Reading()) -> tuple[Decrypted, bytes]:  # noqa: B008 - frozen
    plain: list[bytes] = []

    def fresh():
        plain.clear()
        return lambda chunk: plain.append(bytes(chunk))

    return decrypt(lambda: Stream([data]), [who.identity], fresh, reading), b"".join(plain)


@pytest.mark.parametrize(
    ("kind", "cipher", "oaep"),
    [
        *[("rsa", cipher, oaep) for cipher in MADE for oaep in (False, True)],
        *[(kind, cipher, False) for kind in ("p256", "p384") for cipher in ("aes256-cbc", "aes128-cbc")],
    ],
)
def test_it_decrypts_ours(bouncy: Bouncy, kind: str, cipher: str, oaep: bool) -> None:
    who, _, key = bouncy.person(kind)
    assert bouncy("decrypt", hidden(who, cipher, oaep), key) == ENTITY


def dotted(oid: bytes) -> str:
    return der.dotted(oid[2:])


X963 = {
    name: f"{dotted(oid)}:{dotted(oids.AES256_WRAP)}"
    for name, oid in (("sha1", oids.ECDH_SHA1), ("sha256", oids.ECDH_SHA256), ("sha384", oids.ECDH_SHA384), ("sha512", oids.ECDH_SHA512))
}


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("rsa", "v1.5"),
        ("rsa", "oaep:SHA-1:SHA-1"),
        ("rsa", "oaep:SHA-256:SHA-256"),
        ("rsa", "oaep:SHA-256:SHA-1"),
        ("rsa", "oaep:SHA-512:SHA-384"),
        *[(kind, way) for kind in ("p256", "p384") for way in X963.values()],
        ("p256", f"{X963['sha256']}:material"),
    ],
    ids=str,
)
@pytest.mark.parametrize("cipher", ["aes256-gcm", "aes128-cbc"])
def test_we_decrypt_its(bouncy: Bouncy, kind: str, how: str, cipher: str) -> None:
    who, cert, _ = bouncy.person(kind)
    made = bouncy("encrypt", ENTITY, cert, how, dotted(MADE[cipher].oid))
    found, plain = read(made, who)
    assert (found.cipher, plain) == (MADE[cipher], ENTITY)


def test_we_decrypt_its_authenticated_attributes(bouncy: Bouncy) -> None:  # RFC 5083 2.1
    who, cert, _ = bouncy.person("p256")
    made = bouncy("encrypt", ENTITY, cert, X963["sha256"], dotted(oids.AES256_GCM), "attributes")
    assert read(made, who)[1] == ENTITY


def test_it_agrees_with_us_on_x25519(bouncy: Bouncy) -> None:  # RFC 8418
    who, *_ = bouncy.person("x25519")
    content_key = bytes(range(32))
    info = recipients.recipient(who.certificate, oaep=False).wrap(content_key)
    hidden = der.sequence(oids.DATA, identifier(oids.AES256_CBC, der.octets(bytes(16))), der.tlv(0x80, bytes(32)))
    made = content_info(oids.ENVELOPED_DATA, der.sequence(der.integer(2), der.tlv(der.SET, info), hidden))
    (bouncy.path / "secret").write_bytes(who.key.private_bytes_raw())
    assert bouncy("agree", made, bouncy.path / "secret") == content_key


@pytest.mark.parametrize("material", [[], ["material"]], ids=["plain", "with keying material"])
def test_we_agree_with_it_on_x25519(bouncy: Bouncy, material: list[str]) -> None:
    who, cert, _ = bouncy.person("x25519")
    content_key, vector = bytes(range(32)), bytes(16)
    info = bouncy("offer", content_key, cert, *material)
    padded = ENTITY + bytes((16 - len(ENTITY) % 16,)) * (16 - len(ENTITY) % 16)
    cbc = Cipher(AES(content_key), CBC(vector)).encryptor()
    hidden = der.sequence(oids.DATA, identifier(oids.AES256_CBC, der.octets(vector)), der.tlv(0x80, cbc.update(padded)))
    made = content_info(oids.ENVELOPED_DATA, der.sequence(der.integer(2), der.tlv(der.SET, info), hidden))
    found, plain = read(made, who)
    assert (found.transport, plain) == ("ecdh-hkdf-sha256", ENTITY)


@pytest.mark.parametrize("cipher", [oids.DES_EDE3_CBC, oids.RC2_CBC], ids=["3des", "rc2"])
def test_we_decrypt_its_old_ciphers_when_asked(bouncy: Bouncy, cipher: bytes) -> None:
    who, cert, _ = bouncy.person("rsa")
    made = bouncy("encrypt", ENTITY, cert, "v1.5", dotted(CIPHERS[cipher].oid))
    assert read(made, who, Reading(legacy=True))[1] == ENTITY


@pytest.mark.parametrize(("kind", "pss"), [("rsa", False), ("rsa", True), ("p256", False), ("p384", False), ("ed25519", False)])
def test_it_verifies_ours(bouncy: Bouncy, kind: str, pss: bool) -> None:
    who, *_ = bouncy.person(kind, ALICE)
    signer = Signer(who.identity, pss=pss)
    before, after = signer.opaque(len(ENTITY), hashlib.new(signer.digest.name, ENTITY).digest(), NOW)
    assert bouncy("verify", before + ENTITY + after) == ENTITY
    with pytest.raises(Refused):
        bouncy("verify", before + ENTITY.replace(b"compte", b"conte ") + after)


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        ("rsa", "SHA256WITHRSA"),
        ("rsa", "SHA512WITHRSA"),
        ("rsa", "SHA256WITHRSAANDMGF1"),
        ("p256", "SHA256WITHECDSA"),
        ("p384", "SHA384WITHECDSA"),
        ("ed25519", "Ed25519"),
    ],
)
def test_we_verify_its(bouncy: Bouncy, kind: str, algorithm: str) -> None:
    _, cert, key = bouncy.person(kind, ALICE)
    made = bouncy("sign", ENTITY, cert, key, algorithm)
    (check,) = verifying.signatures(verifying.read(Stream([made]), len))
    assert check.problem is None, check.detail
