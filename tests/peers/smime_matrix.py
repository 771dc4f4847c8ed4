"""What the S/MIME peers share: people written to disk, messages with CRLF, ways to run a program."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from mssgw.core.body import Body
from mssgw.smime import entity
from mssgw.smime.cms.decrypting import MODERN, Reading
from mssgw.smime.opening import Opened, open_now
from mssgw.smime.protecting import Policy, encrypt_to, protect_now
from mssgw.smime.wire.algorithms import MADE
from tests.smime.letters import letter
from tests.smime.people import ALICE, ALWAYS, BOB, NOW, Authority, Person

TEXT = "Bonjour,\r\n\r\nVoici le compte rendu.\r\n"


def run(*command: str | Path, given: bytes | None = None, cwd: Path | None = None, ok: bool = True) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run([str(one) for one in command], input=given, capture_output=True, cwd=cwd, timeout=60)
    if ok and done.returncode:
        raise AssertionError(f"{command[0]} {command[1:]}: {done.stderr.decode(errors='replace')[-2000:]}")
    return done


@dataclass
class Workplace:
    """A directory with an authority and people, as files other programs read."""

    path: Path
    authority: Authority

    @classmethod
    def at(cls, path: Path) -> Workplace:
        workplace = cls(path, Authority(**ALWAYS))
        (path / "ca.pem").write_bytes(workplace.authority.pem())
        return workplace

    def person(self, kind: str, address: str = BOB, number: int = 1) -> tuple[Person, Path, Path]:
        who = self.authority.issue(kind, address, number=number)
        return (who, *who.write(self.path, f"{kind}-{address}"))

    def pkcs12(self, who: Person, name: str) -> Path:
        """With the algorithms of old programs; its passphrase is abc."""
        way = (
            PrivateFormat.PKCS12.encryption_builder()
            .kdf_rounds(2048)
            .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
            .hmac_hash(hashes.SHA1())
            .build(b"abc")
        )
        return self.file(f"{name}.p12", pkcs12.serialize_key_and_certificates(name.encode(), who.key, who.cert, [self.authority.cert], way))

    def file(self, name: str, data: bytes | Body) -> Path:
        path = self.path / name
        path.write_bytes(data if isinstance(data, bytes) else data.read())
        return path

    def opened(self, data: bytes, *readers: Person, reading: Reading = MODERN) -> Opened:
        return open_now(Body.of(data), [one.identity for one in readers], self.authority.validate, NOW, reading=reading)


def signed(who: Person, authority: Authority, *, pss: bool = False, opaque: bool = False) -> Body:
    policy = Policy("always", "never", pss=pss, opaque=opaque)
    return protect_now(letter(TEXT), (), policy, NOW, who.identity, {}, authority.validate)[0].body


def encrypted(readers: Sequence[Person], cipher: str, oaep: bool) -> Body:
    return encrypt_to(entity.outgoing(letter(TEXT)), [one.certificate for one in readers], MADE[cipher], oaep=oaep)[0]


def cms_of(body: Body) -> bytes:
    """The CMS of a message whose root is application/pkcs7-mime."""
    import pybase64

    return pybase64.b64decode(body.read().partition(b"\r\n\r\n")[2])


def mail(content: bytes, kind: str = "application/pkcs7-mime; name=smime.p7m") -> bytes:
    """A message around a CMS that a program made."""
    import pybase64

    head = f"From: <{ALICE}>\r\nTo: <{BOB}>\r\nSubject: essai\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n"
    return head.encode() + b"Content-Transfer-Encoding: base64\r\n\r\n" + pybase64.encodebytes(content).replace(b"\n", b"\r\n")


ENTITY = f"Content-Type: text/plain; charset=utf-8\r\n\r\n{TEXT}".encode()
