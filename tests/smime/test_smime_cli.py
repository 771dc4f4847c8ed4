"""The verbs `mssgw smime …` as DEMO.md promises them: output, --json, exit status, - for standard input and output."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mssgw.cli import main
from mssgw.smime.certificates import Certificate
from tests.smime.letters import letter
from tests.smime.people import ALICE, BOB, NOW, Authority

AT = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Desk:
    path: Path
    authority: Authority

    def __call__(self, *arguments: object, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """In this process, because a new one costs a second; the command itself is run by `test_as_a_command`."""
        streams = [io.TextIOWrapper(io.BytesIO(one), encoding="utf-8") for one in (given or b"", b"", b"")]
        old = sys.argv, sys.stdin, sys.stdout, sys.stderr
        sys.argv, sys.stdin, sys.stdout, sys.stderr = ["mssgw", "smime", *map(str, arguments)], *streams
        try:
            status = main()
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            sys.argv, sys.stdin, sys.stdout, sys.stderr = old
        for one in streams[1:]:
            one.flush()
        out, err = (one.buffer.getvalue() for one in streams[1:])  # type: ignore[attr-defined]
        return subprocess.CompletedProcess([], status, out, err)

    def json(self, *arguments: object, status: int = 0) -> dict[str, Any]:
        done = self(*arguments, "--json")
        assert done.returncode == status, done.stderr.decode()
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    path = tmp_path_factory.mktemp("cli")
    made = Desk(path, Authority())
    (path / "anchors").mkdir()
    (path / "anchors" / "ca.pem").write_bytes(made.authority.pem())
    made.authority.issue("rsa", ALICE).write(path, "alice")
    made.authority.issue("p256", BOB).write(path, "bob")
    (path / "m.eml").write_bytes(letter().read())
    done = made("sign", path / "m.eml", "--cert", path / "alice.pem", "--key", path / "alice.key", "-o", path / "s.eml")
    assert done.returncode == 0, done.stderr.decode()
    done = made("encrypt", path / "s.eml", "--to", path / "bob.pem", "--cipher", "aes256-gcm", "-o", path / "e.eml")
    assert done.returncode == 0, done.stderr.decode()
    return made


def test_verify_speaks_one_language(desk: Desk) -> None:
    """The verdict was French, its reasons English."""
    done = desk("verify", desk.path / "s.eml", "--anchors", desk.path / "anchors", "--at", AT)
    assert done.stdout.decode().startswith("Valid signature of the sender: ")


def test_verify(desk: Desk) -> None:
    found = desk.json("verify", desk.path / "s.eml", "--anchors", desk.path / "anchors", "--at", AT)
    assert found["valid"] is True
    assert found["from_matches"] is True
    assert found["algorithms"] == ["rsa-sha256"]
    assert found["signers"][0]["addresses"] == [ALICE]
    assert set(found["reasons"]) <= {"signing-time-far-off"}


def test_verify_says_what_does_not_hold(desk: Desk) -> None:
    message = (desk.path / "s.eml").read_bytes()
    for name, data, reason in (("altered", message.replace(b"compte rendu.", b"compte vendu."), "content-altered"),
                               ("spoofed", message.replace(b"From: Alice Martin <alice.", b"From: <mallory.", 1), "from-not-signer"),
                               ("plain", letter().read(), "")):
        path = desk.path / f"{name}.eml"
        path.write_bytes(data)
        found = desk.json("verify", path, "--anchors", desk.path / "anchors", "--at", AT, status=1)
        assert not (found["valid"] and found["from_matches"])
        assert reason in [*found["reasons"], ""]
    strangers = desk.path / "strangers"
    strangers.mkdir(exist_ok=True)
    (strangers / "ca.pem").write_bytes(Authority(cn="Other CA").pem())
    found = desk.json("verify", desk.path / "s.eml", "--anchors", strangers, "--at", AT, status=1)
    assert found["reasons"][0] == "certificate-not-trusted"


def test_decrypt(desk: Desk) -> None:
    done = desk("decrypt", "-", "--cert", desk.path / "bob.pem", "--key", desk.path / "bob.key", given=(desk.path / "e.eml").read_bytes())
    assert done.returncode == 0, done.stderr.decode()
    assert b"multipart/signed" in done.stdout
    assert b"Voici le compte rendu" in done.stdout
    again = desk("verify", "-", "--anchors", desk.path / "anchors", "--at", AT, given=done.stdout)
    assert again.returncode == 0, again.stderr.decode()


def test_decrypt_with_the_wrong_key_writes_nothing(desk: Desk) -> None:
    out = desk.path / "never.eml"
    done = desk("decrypt", desk.path / "e.eml", "--cert", desk.path / "alice.pem", "--key", desk.path / "alice.key", "-o", out)
    assert done.returncode == 1
    assert b"no-key-for-this-message" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("arguments", [
    ("verify", "s.eml"), ("decrypt", "e.eml", "--cert", "bob.pem"), ("encrypt", "m.eml"), ("sign", "m.eml", "--nonsense"),
    ("encrypt", "m.eml", "--to", "bob.pem", "--cipher", "rot13")])
def test_usage(desk: Desk, arguments: tuple[str, ...]) -> None:
    assert desk(*arguments).returncode == 2


def test_what_can_not_be_read_is_a_sentence(desk: Desk) -> None:
    (desk.path / "garbage.pem").write_bytes(b"garbage")
    for arguments in (("verify", desk.path / "absent.eml", "--anchors", desk.path / "anchors"),
                      ("sign", desk.path / "m.eml", "--cert", desk.path / "garbage.pem", "--key", desk.path / "alice.key"),
                      ("sign", desk.path / "m.eml", "--cert", desk.path / "alice.pem", "--key", desk.path / "bob.key"),
                      ("encrypt", desk.path / "m.eml", "--to", desk.path / "garbage.pem")):
        done = desk(*arguments)
        assert done.returncode == 1, arguments
        assert b"Traceback" not in done.stderr
        assert done.stderr.strip()


def test_encrypted_keys(desk: Desk) -> None:
    from cryptography.hazmat.primitives import serialization

    key = desk.authority.issue("rsa", ALICE).key
    (desk.path / "sealed.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"geheim")))
    (desk.path / "pass").write_bytes(b"geheim\n")
    base = ("sign", desk.path / "m.eml", "--cert", desk.path / "alice.pem", "--key", desk.path / "sealed.key", "-o", desk.path / "p.eml")
    assert desk(*base, "--passphrase-file", desk.path / "pass").returncode == 0
    done = desk(*base)
    assert done.returncode == 1
    assert b"geheim" not in done.stderr


def test_as_a_command(desk: Desk) -> None:
    done = subprocess.run([sys.executable, "-m", "mssgw", "smime", "verify", "-", "--anchors", desk.path / "anchors", "--at", AT, "--json"],
                          input=(desk.path / "s.eml").read_bytes(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["valid"] is True


def test_names_of_people_have_no_numbers_in_them() -> None:
    """`2.5.4.4=MARTIN+2.5.4.42=JEANNE` was what people read."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.RelativeDistinguishedName([
        x509.NameAttribute(x509.NameOID.SURNAME, "MARTIN"), x509.NameAttribute(x509.NameOID.GIVEN_NAME, "JEANNE")])])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1)).sign(key, SHA256())
    certificate = Certificate(made.public_bytes(Encoding.DER))
    assert set(certificate.name.split("+")) == set(certificate.issuer_name.split("+")) == {"SN=MARTIN", "GN=JEANNE"}
