"""The verbs `mssgw smime …`: output, --json, exit status, `-` for standard input and output."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mssgw.core.body import Body
from mssgw.core.clock import SystemClock
from mssgw.core.errors import NotTrusted
from mssgw.core.texts import has
from mssgw.pki.judgement import Evidence, Purpose
from mssgw.smime import files
from mssgw.smime.errors import FileProblem, Reason
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.opening import open_now
from tests.cli.desk import mssgw
from tests.fuzz import examples
from tests.material import OURS
from tests.smime.letters import attachment, letter
from tests.smime.people import ALICE, BOB, NOW, Authority, usage

DATA = OURS / "crypto"
AT = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Workplace:
    path: Path
    authority: Authority

    def __call__(self, *arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """The command itself is run by `test_as_a_command`."""
        return mssgw("smime", *arguments, given=given)

    def json(self, *arguments: object, status: int = 0) -> dict[str, Any]:
        done = self(*arguments, "--json")
        assert done.returncode == status, done.stderr.decode()
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module", autouse=True)
def _a_day_of_the_certificates() -> Iterator[None]:
    """`sign` and `encrypt` take the time of the system, and warn of certificates that have expired by then."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SystemClock, "now", lambda self: NOW + timedelta(days=10))
        yield


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    path = tmp_path_factory.mktemp("cli")
    made = Workplace(path, Authority())
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


def test_verify_prints_each_sentence_in_french_then_english(workplace: Workplace) -> None:
    """Regression: the verdict was French and its reasons English."""
    said = workplace("verify", workplace.path / "s.eml", "--anchors", workplace.path / "anchors", "--at", AT).stdout.decode()
    assert said.startswith("Signature valide de l'expéditeur\N{NO-BREAK SPACE}: ")
    assert "\nValid signature of the sender: " in said
    assert "signing-time-far-off\N{NO-BREAK SPACE}: La date" in said
    assert "signing-time-far-off: The signing time" in said


def test_verify(workplace: Workplace) -> None:
    found = workplace.json("verify", workplace.path / "s.eml", "--anchors", workplace.path / "anchors", "--at", AT)
    assert found["valid"] is True
    assert found["from_matches"] is True
    assert found["algorithms"] == ["rsa-sha256"]
    assert found["signers"][0]["addresses"] == [ALICE]
    assert set(found["reasons"]) <= {"signing-time-far-off"}


def test_verify_names_what_does_not_hold(workplace: Workplace) -> None:
    message = (workplace.path / "s.eml").read_bytes()
    for name, data, reason in (
        ("altered", message.replace(b"compte rendu.", b"compte vendu."), "content-altered"),
        ("spoofed", message.replace(b"From: Alice Martin <alice.", b"From: <mallory.", 1), "from-not-signer"),
        ("plain", letter().read(), ""),
    ):
        path = workplace.path / f"{name}.eml"
        path.write_bytes(data)
        found = workplace.json("verify", path, "--anchors", workplace.path / "anchors", "--at", AT, status=1)
        assert not (found["valid"] and found["from_matches"])
        assert reason in [*found["reasons"], ""]
    strangers = workplace.path / "strangers"
    strangers.mkdir(exist_ok=True)
    (strangers / "ca.pem").write_bytes(Authority(cn="Other CA").pem())
    found = workplace.json("verify", workplace.path / "s.eml", "--anchors", strangers, "--at", AT, status=1)
    assert found["reasons"][0] == "certificate-not-trusted"


def test_decrypt(workplace: Workplace) -> None:
    done = workplace(
        "decrypt",
        "-",
        "--cert",
        workplace.path / "bob.pem",
        "--key",
        workplace.path / "bob.key",
        given=(workplace.path / "e.eml").read_bytes(),
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"multipart/signed" in done.stdout
    assert b"Voici le compte rendu" in done.stdout
    again = workplace("verify", "-", "--anchors", workplace.path / "anchors", "--at", AT, given=done.stdout)
    assert again.returncode == 0, again.stderr.decode()


def test_decrypt_with_the_wrong_key_writes_nothing(workplace: Workplace) -> None:
    out = workplace.path / "never.eml"
    done = workplace(
        "decrypt", workplace.path / "e.eml", "--cert", workplace.path / "alice.pem", "--key", workplace.path / "alice.key", "-o", out
    )
    assert done.returncode == 1
    assert b"no-key-for-this-message" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "s.eml"),
        ("decrypt", "e.eml", "--cert", "bob.pem"),
        ("verify", "s.eml", "--anchors", "anchors", "--cert", "bob.pem"),
        ("encrypt", "m.eml"),
        ("sign", "m.eml", "--nonsense"),
        ("encrypt", "m.eml", "--to", "bob.pem", "--cipher", "rot13"),
    ],
)
def test_usage(workplace: Workplace, arguments: tuple[str, ...]) -> None:
    assert workplace(*arguments).returncode == 2


def test_what_can_not_be_read_is_a_sentence(workplace: Workplace) -> None:
    (workplace.path / "garbage.pem").write_bytes(b"garbage")
    for arguments in (
        ("verify", workplace.path / "absent.eml", "--anchors", workplace.path / "anchors"),
        ("sign", workplace.path / "m.eml", "--cert", workplace.path / "garbage.pem", "--key", workplace.path / "alice.key"),
        ("sign", workplace.path / "m.eml", "--cert", workplace.path / "alice.pem", "--key", workplace.path / "bob.key"),
        ("encrypt", workplace.path / "m.eml", "--to", workplace.path / "garbage.pem"),
    ):
        done = workplace(*arguments)
        assert done.returncode == 1, arguments
        assert b"Traceback" not in done.stderr
        assert done.stderr.strip()


def test_encrypted_keys(workplace: Workplace) -> None:
    key = workplace.authority.issue("rsa", ALICE).key
    (workplace.path / "sealed.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"geheim"))
    )
    (workplace.path / "pass").write_bytes(b"geheim\n")
    base = (
        "sign",
        workplace.path / "m.eml",
        "--cert",
        workplace.path / "alice.pem",
        "--key",
        workplace.path / "sealed.key",
        "-o",
        workplace.path / "p.eml",
    )
    assert workplace(*base, "--passphrase-file", workplace.path / "pass").returncode == 0
    done = workplace(*base)
    assert done.returncode == 1
    assert b"geheim" not in done.stderr


def test_as_a_command(workplace: Workplace) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mssgw", "smime", "verify", "-", "--anchors", workplace.path / "anchors", "--at", AT, "--json"],
        input=(workplace.path / "s.eml").read_bytes(),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["valid"] is True


def test_names_of_people_have_no_numbers_in_them() -> None:
    """Regression: people read `2.5.4.4=MARTIN+2.5.4.42=JEANNE`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.RelativeDistinguishedName(
                [x509.NameAttribute(x509.NameOID.SURNAME, "MARTIN"), x509.NameAttribute(x509.NameOID.GIVEN_NAME, "JEANNE")]
            )
        ]
    )
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1)).sign(key, SHA256())
    certificate = Certificate(made.public_bytes(Encoding.DER))
    assert set(certificate.name.split("+")) == set(certificate.issuer_name.split("+")) == {"SN=MARTIN", "GN=JEANNE"}


# --- what a tester from outside found ---------------------------------------------------------------------------------


def sealed(workplace: Workplace, passphrase: bytes = b"geheim") -> Path:
    key = workplace.authority.issue("rsa", ALICE).key
    (workplace.path / "geheim.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(passphrase))
    )
    (workplace.path / "wrong").write_bytes(b"nein")
    return workplace.path / "geheim.key"


@pytest.mark.parametrize(
    ("key", "more", "fault", "french"),
    [
        ("bob.key", (), "file-not-of-certificate", "n'est celle d'aucun des certificats"),
        ("alice.pem", (), "file-no-key", "pas de clé privée"),
        ("rubbish.key", (), "file-unknown-format", "format inconnu"),
        ("void.key", (), "file-empty", "vide"),
        ("geheim.key", (), "file-passphrase-missing", "phrase secrète"),
        ("geheim.key", ("--passphrase-file", "wrong"), "file-passphrase-wrong", "fausse"),
        ("absent.key", (), "file", "n'existe pas"),
        ("anchors", (), "file", "répertoire"),
    ],
)
def test_a_wrong_key_file_is_a_permanent_error(workplace: Workplace, key: str, more: tuple[str, ...], fault: str, french: str) -> None:
    sealed(workplace)
    (workplace.path / "rubbish.key").write_bytes(b"rubbish!")
    (workplace.path / "void.key").write_bytes(b"")
    given = [workplace.path / one if one == "wrong" else one for one in more]
    arguments = (
        "sign",
        workplace.path / "m.eml",
        "--cert",
        workplace.path / "alice.pem",
        "--key",
        workplace.path / key,
        *given,
        "-o",
        workplace.path / "no.eml",
    )
    done = workplace(*arguments)
    said = done.stderr.decode()
    assert done.returncode == 1
    assert french in said.splitlines()[0], said
    assert key in said.splitlines()[0]
    assert key in said.splitlines()[1]
    assert "temporar" not in said
    assert "nein" not in said
    assert not (workplace.path / "no.eml").exists()
    assert workplace.json(*arguments, status=1)["fault"] == fault


def test_verify_outside_the_dates_names_subject_dates_and_time(workplace: Workplace) -> None:
    """Regression: only a fingerprint was shown."""
    done = workplace("verify", workplace.path / "s.eml", "--anchors", workplace.path / "anchors", "--at", "2040-01-01")
    assert done.returncode == 1
    for part in (ALICE, f"{NOW - timedelta(days=300):%Y-%m-%d}", f"{NOW + timedelta(days=300):%Y-%m-%d}", "2040-01-01"):
        assert part in done.stderr.decode()
    found = workplace.json("verify", workplace.path / "s.eml", "--anchors", workplace.path / "anchors", "--at", "2040-01-01", status=1)
    assert "expired on" in found["signers"][0]["detail"]


def test_verify_names_the_field_that_was_changed_and_its_signed_value(workplace: Workplace) -> None:
    """Regression: all that was shown of a changed Subject was the word protected-headers-differ."""
    message = (workplace.path / "s.eml").read_bytes()
    subject = "XDM/1.0/DDM+Compte rendu"
    (workplace.path / "changed.eml").write_bytes(message.replace(b"Subject: " + subject.encode(), b"Subject: Facture", 1))
    arguments = ("verify", workplace.path / "changed.eml", "--anchors", workplace.path / "anchors", "--at", AT)
    said = workplace(*arguments).stdout.decode().replace("\N{NO-BREAK SPACE}", " ")
    assert f"le champ « Objet » a été modifié après la signature ; la valeur signée est « {subject} »" in said.splitlines()[0]
    assert f'the field "Subject" was changed after signing; the signed value is "{subject}"' in said.splitlines()[1]
    found = workplace.json(*arguments)
    assert found["signed_fields"] == {"subject": subject}
    assert subject in found["banner"]["fr"]
    assert [(one["field"], subject in one["fr"], subject in one["en"]) for one in found["warnings"]] == [("subject", True, True)]


@pytest.mark.parametrize("verb", ["sign", "encrypt", "decrypt"])
def test_json_without_out_keeps_the_message(workplace: Workplace, verb: str) -> None:
    """Regression: `sign --json` without -o dropped the signed message."""
    alice, bob = (("--cert", workplace.path / f"{who}.pem", "--key", workplace.path / f"{who}.key") for who in ("alice", "bob"))
    arguments: tuple[object, ...] = {
        "sign": (workplace.path / "m.eml", *alice),
        "encrypt": (workplace.path / "m.eml", "--to", workplace.path / "bob.pem"),
        "decrypt": (workplace.path / "e.eml", *bob),
    }[verb]
    for more in ((), ("-o", "-")):
        found = workplace.json(verb, *arguments, *more)
        message = base64.b64decode(found["message"], validate=True)
        assert len(message) == found["size"]
        assert {"sign": b"multipart/signed", "encrypt": b"enveloped-data", "decrypt": b"Voici le compte rendu"}[verb] in message
    assert "message" not in workplace.json(verb, *arguments, "-o", workplace.path / "out.eml")


def test_json_with_a_large_message(workplace: Workplace) -> None:
    (workplace.path / "large.eml").write_bytes(attachment(5_000_000).read())
    found = workplace.json(
        "sign", workplace.path / "large.eml", "--cert", workplace.path / "alice.pem", "--key", workplace.path / "alice.key"
    )
    assert len(base64.b64decode(found["message"], validate=True)) == found["size"] > 5_000_000


def test_a_certificate_for_something_else_is_warned_of(workplace: Workplace) -> None:
    """Regression: a TLS certificate was used to sign and to encrypt without a warning."""
    tls = workplace.authority.issue_for((ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH))
    tls.write(workplace.path, "tls")
    for arguments in (
        ("sign", workplace.path / "m.eml", "--cert", workplace.path / "tls.pem", "--key", workplace.path / "tls.key"),
        ("encrypt", workplace.path / "m.eml", "--to", workplace.path / "tls.pem"),
    ):
        done = workplace(*arguments, "-o", workplace.path / "tls.eml")
        assert done.returncode == 0
        assert "serverAuth, clientAuth, pas pour le courrier" in done.stderr.decode().splitlines()[0]
        codes = [one["code"] for one in workplace.json(*arguments)["warnings"]]
        assert codes == (["purpose", "author"] if arguments[0] == "sign" else ["purpose"])
    assert workplace.json("encrypt", workplace.path / "m.eml", "--to", workplace.path / "bob.pem")["warnings"] == []


def test_a_certificate_whose_profile_forbids_it_is_refused(workplace: Workplace) -> None:
    igc = workplace.authority.issue_for((ExtendedKeyUsageOID.CLIENT_AUTH,), policy="1.2.250.1.213.1.7.2.1.1.1.1")
    igc.write(workplace.path, "auth")
    workplace.authority.issue("rsa", ALICE, ku=usage(key_encipherment=True)).write(workplace.path, "cipher")
    workplace.authority.issue("rsa", ALICE, ku=usage(digital_signature=True, content_commitment=True)).write(
        workplace.path, "signs"
    )  # ORG_SIGN
    for verb, name in (("sign", "auth"), ("encrypt", "auth"), ("sign", "cipher"), ("encrypt", "signs")):
        who = (
            ("--to", workplace.path / f"{name}.pem")
            if verb == "encrypt"
            else ("--cert", workplace.path / f"{name}.pem", "--key", workplace.path / f"{name}.key")
        )
        assert workplace.json(verb, workplace.path / "m.eml", *who, status=1)["fault"] == "certificate-usage", (verb, name)


def test_an_expired_certificate_is_warned_of(workplace: Workplace) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    workplace.authority.issue("rsa", ALICE, start=start, end=start + timedelta(days=9)).write(workplace.path, "old")
    found = workplace.json("sign", workplace.path / "m.eml", "--cert", workplace.path / "old.pem", "--key", workplace.path / "old.key")
    assert [one["code"] for one in found["warnings"]] == ["expired"]


def test_legacy_reads_the_triple_des_messages_of_rfc4134(workplace: Workplace) -> None:
    """Regression: docs/smime.md promises it, and the command refused the key of 1024 bits."""
    (workplace.path / "bob.rfc").write_bytes((DATA / "rfc4134/BobPrivRSAEncrypt.pri").read_bytes())
    bob = ("--cert", DATA / "rfc4134/BobRSASignByCarl.cer", "--key", workplace.path / "bob.rfc")
    for name in ("5.1.bin", "5.2.bin", "5.3.eml"):
        done = workplace("decrypt", DATA / "rfc4134" / name, *bob, "--legacy")
        assert done.returncode == 0, done.stderr.decode()
        assert b"This is some sample content." in done.stdout
        assert workplace.json("decrypt", DATA / "rfc4134" / name, *bob, status=1)["fault"] == "file-weak"
    assert workplace.json("sign", workplace.path / "m.eml", *bob, status=1)["fault"] == "file-weak"


def test_key_and_certificate_in_one_file(workplace: Workplace) -> None:
    """A bundle needs no --cert. Regression: GnuPG's bundle was refused as no key."""
    both, enclosed = DATA / "notmuch-smime/key+cert.pem", workplace.path / "notmuch.eml"
    assert workplace("encrypt", workplace.path / "m.eml", "--to", both, "-o", enclosed).returncode == 0
    for who in (("--cert", both, "--key", both), ("--key", both)):
        done = workplace("decrypt", enclosed, *who)
        assert done.returncode == 0, done.stderr.decode()
        assert b"Voici le compte rendu" in done.stdout


def test_a_pkcs12_in_pem_is_certificate_and_key(workplace: Workplace) -> None:
    alice = workplace.authority.issue("rsa", ALICE)
    made = pkcs12.serialize_key_and_certificates(
        b"alice", alice.key, alice.cert, [workplace.authority.cert], serialization.BestAvailableEncryption(b"geheim")
    )
    (workplace.path / "alice.p12.pem").write_bytes(b"-----BEGIN PKCS12-----\n" + base64.encodebytes(made) + b"-----END PKCS12-----\n")
    (workplace.path / "pass").write_bytes(b"geheim\r\n")
    p12, secret = workplace.path / "alice.p12.pem", ("--passphrase-file", workplace.path / "pass")
    for who in (("--cert", p12, "--key", p12), ("--key", p12), ("--cert", workplace.path / "alice.pem", "--key", p12)):
        assert workplace.json("sign", workplace.path / "m.eml", *who, *secret)["signed"] is True


# --- a stranger's first hour --------------------------------------------------------------------------------------------


def test_a_saved_attachment_is_read_as_it_is(workplace: Workplace) -> None:
    """People save smime.p7m and have no message around it."""
    sealed_ = workplace("encrypt", workplace.path / "m.eml", "--to", workplace.path / "bob.pem").stdout
    armoured = sealed_.partition(b"\r\n\r\n")[2]
    bob = ("--cert", workplace.path / "bob.pem", "--key", workplace.path / "bob.key")
    for saved in (
        base64.b64decode(armoured),
        armoured,
        b"-----BEGIN PKCS7-----\n" + armoured + b"-----END PKCS7-----\n",
        b"\n-----BEGIN CMS-----\r\n" + armoured + b"-----END CMS-----",
    ):
        done = workplace("decrypt", "-", *bob, given=saved)
        assert done.returncode == 0, done.stderr.decode()
        assert b"Voici le compte rendu" in done.stdout


def test_line_ends_of_unix_are_the_same_message(workplace: Workplace) -> None:
    given = (workplace.path / "m.eml").read_bytes().replace(b"\r\n", b"\n")
    signed = workplace("sign", "-", "--cert", workplace.path / "alice.pem", "--key", workplace.path / "alice.key", given=given)
    for message in (signed.stdout, signed.stdout.replace(b"\r\n", b"\n")):
        assert workplace("verify", "-", "--anchors", workplace.path / "anchors", "--at", AT, given=message).returncode == 0


def test_an_empty_message_is_not_signed(workplace: Workplace) -> None:
    done = workplace("sign", "-", "--cert", workplace.path / "alice.pem", "--key", workplace.path / "alice.key", given=b"\r\n")
    assert done.returncode == 1
    assert done.stdout == b""
    assert "vide" in done.stderr.decode()


def test_anchors_may_be_one_file_and_a_root_of_openssl(workplace: Workplace) -> None:
    """Regression: roots of `openssl req -x509` have no KeyUsage, and a file after --anchors ended in `Not a directory`."""
    assert workplace("verify", workplace.path / "s.eml", "--anchors", workplace.path / "anchors" / "ca.pem", "--at", AT).returncode == 0
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "own.key", "-out", "own.pem", "-subj", "/CN=Essai"],
        cwd=workplace.path,
        capture_output=True,
        check=True,
        timeout=60,
    )
    found = workplace.json("verify", workplace.path / "s.eml", "--anchors", workplace.path / "own.pem", "--at", AT, status=1)
    assert found["reasons"][0] == "certificate-not-trusted"  # and not that there is no root
    found = workplace.json("verify", workplace.path / "s.eml", "--anchors", workplace.path / "alice.pem", "--at", AT, status=1)
    assert found["fault"] == "anchors"


def test_out_may_be_the_message_itself_and_is_never_half_written(workplace: Workplace) -> None:
    (workplace.path / "same.eml").write_bytes(letter().read())
    alice = ("--cert", workplace.path / "alice.pem", "--key", workplace.path / "alice.key")
    assert workplace("sign", workplace.path / "same.eml", *alice, "-o", workplace.path / "same.eml").returncode == 0
    assert b"multipart/signed" in (workplace.path / "same.eml").read_bytes()
    assert workplace("sign", workplace.path / "same.eml", *alice, "-o", workplace.path / "absent" / "x.eml").returncode == 1
    assert workplace("sign", workplace.path / "same.eml", *alice, "-o", workplace.path).returncode == 1
    assert not list(workplace.path.glob(".*"))


def test_decrypting_what_is_not_encrypted_is_named_as_such(workplace: Workplace) -> None:
    bob = ("--cert", workplace.path / "bob.pem", "--key", workplace.path / "bob.key")
    assert workplace.json("decrypt", workplace.path / "m.eml", *bob, status=1)["fault"] == "not-encrypted"
    assert "n'est pas chiffré" in workplace("decrypt", workplace.path / "m.eml", *bob).stderr.decode()


@pytest.mark.parametrize(
    "given",
    [
        b"Bonjour le monde\nDeux lignes\n",
        b"Bonjour le monde\n\nDeux lignes\n",
        b"Note: ceci\nDeux lignes\n\nx\n",
        bytes(range(256)) * 20,
        b"x" * 3_000_000,
    ],
)
def test_a_bare_text_keeps_its_first_lines(workplace: Workplace, given: bytes) -> None:
    """Regression: they were taken for a broken header and left out silently."""
    alice = ("--cert", workplace.path / "alice.pem", "--key", workplace.path / "alice.key")
    for arguments in (("sign", "-", *alice), ("encrypt", "-", "--to", workplace.path / "bob.pem")):
        done = workplace(*arguments, given=given)
        assert (done.returncode, done.stdout) == (1, b"")
        assert "ce n'est pas un message" in done.stderr.decode()
        if len(given) < 100:
            assert b"Deux lignes" in workplace("sign", "-", *alice, given=b"\n" + given).stdout
    mbox = b"From alice Mon Nov 23\n" + letter().read()
    assert workplace("sign", "-", *alice, given=mbox).returncode == 0


def test_an_authority_as_recipient_is_warned_of(workplace: Workplace) -> None:
    key, name = rsa.generate_private_key(65537, 2048), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Essai")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=300))
    made = made.add_extension(x509.BasicConstraints(True, None), True).sign(key, SHA256())
    (workplace.path / "auth.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    found = workplace.json("encrypt", workplace.path / "m.eml", "--to", workplace.path / "auth.pem")
    assert [one["code"] for one in found["warnings"]] == ["authority"]


def test_a_whole_message_inside_keeps_its_header(workplace: Workplace) -> None:
    """`openssl cms -encrypt -in message` encrypts the header too. Regression: From, To and Subject were lost at decryption."""
    done = subprocess.run(
        ["openssl", "cms", "-encrypt", "-in", "m.eml", "-aes256", "-outform", "PEM", "alice.pem"],
        cwd=workplace.path,
        capture_output=True,
        check=True,
        timeout=60,
    )
    alice = ("--cert", workplace.path / "alice.pem", "--key", workplace.path / "alice.key")
    found = workplace("decrypt", "-", *alice, given=done.stdout).stdout
    assert b"Subject: XDM/1.0/DDM+Compte rendu\r\n" in found
    assert b"From: Alice Martin" in found
    assert b"Voici le compte rendu" in found


def test_a_detached_signature_alone_is_refused_with_what_is_missing(workplace: Workplace) -> None:
    subprocess.run(
        ["openssl", "cms", "-sign", "-in", "m.eml", "-signer", "alice.pem", "-inkey", "alice.key", "-outform", "DER", "-out", "alone.p7s"],
        cwd=workplace.path,
        capture_output=True,
        check=True,
        timeout=60,
    )
    done = workplace("verify", workplace.path / "alone.p7s", "--anchors", workplace.path / "anchors", "--at", AT)
    assert done.returncode == 1
    assert b"without the content that it is about" in done.stderr


def test_every_reason_and_every_problem_of_a_file_has_its_sentence() -> None:
    assert all(has(f"smime.reason.{one}") for one in Reason)
    assert all(has(f"smime.file.{one}") for one in FileProblem)


_STARTS = st.sampled_from(
    [
        b"",
        b"0\x80\x06\x09",
        b"0\x82\xff\xff\x06\x09*\x86H\x86\xf7\r\x01\x07\x03",
        b"-----BEGIN CMS-----",
        b"-----BEGIN PKCS7-----\n",
        b"MIIG3gYJKoZIhvcNAQcDoIIGzzCCBssCAQExDTALBglghkgBZQMEAgEwCwYJKoZIhvcNAQcB",
        b"From a\n",
        b"From: a@b.test\n",
    ]
)


@settings(max_examples=examples(200), deadline=None)
@given(_STARTS, st.binary(max_size=200))
def test_fuzz_what_people_hand_to_the_verbs(start: bytes, rest: bytes) -> None:
    body = files.as_message(Body.of(start + rest))
    files.is_message(body)
    assert open_now(body, [], _nobody, NOW).verdict.banner("fr")


def _nobody(_certificate: bytes, _purpose: Purpose, _at: datetime) -> Evidence:
    raise NotTrusted
