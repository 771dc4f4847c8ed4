"""The verbs `mssgw smime …`: output, --json, exit status, `-` for standard input and output."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mssgw.core.body import Body
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
class Desk:
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


def test_verify_prints_each_sentence_in_french_then_english(desk: Desk) -> None:
    """Regression: the verdict was French and its reasons English."""
    said = desk("verify", desk.path / "s.eml", "--anchors", desk.path / "anchors", "--at", AT).stdout.decode()
    assert said.startswith("Signature valide de l'expéditeur\N{NO-BREAK SPACE}: ")
    assert "\nValid signature of the sender: " in said
    assert "signing-time-far-off\N{NO-BREAK SPACE}: La date" in said
    assert "signing-time-far-off: The signing time" in said


def test_verify(desk: Desk) -> None:
    found = desk.json("verify", desk.path / "s.eml", "--anchors", desk.path / "anchors", "--at", AT)
    assert found["valid"] is True
    assert found["from_matches"] is True
    assert found["algorithms"] == ["rsa-sha256"]
    assert found["signers"][0]["addresses"] == [ALICE]
    assert set(found["reasons"]) <= {"signing-time-far-off"}


def test_verify_says_what_does_not_hold(desk: Desk) -> None:
    message = (desk.path / "s.eml").read_bytes()
    for name, data, reason in (
        ("altered", message.replace(b"compte rendu.", b"compte vendu."), "content-altered"),
        ("spoofed", message.replace(b"From: Alice Martin <alice.", b"From: <mallory.", 1), "from-not-signer"),
        ("plain", letter().read(), ""),
    ):
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
def test_usage(desk: Desk, arguments: tuple[str, ...]) -> None:
    assert desk(*arguments).returncode == 2


def test_what_can_not_be_read_is_a_sentence(desk: Desk) -> None:
    (desk.path / "garbage.pem").write_bytes(b"garbage")
    for arguments in (
        ("verify", desk.path / "absent.eml", "--anchors", desk.path / "anchors"),
        ("sign", desk.path / "m.eml", "--cert", desk.path / "garbage.pem", "--key", desk.path / "alice.key"),
        ("sign", desk.path / "m.eml", "--cert", desk.path / "alice.pem", "--key", desk.path / "bob.key"),
        ("encrypt", desk.path / "m.eml", "--to", desk.path / "garbage.pem"),
    ):
        done = desk(*arguments)
        assert done.returncode == 1, arguments
        assert b"Traceback" not in done.stderr
        assert done.stderr.strip()


def test_encrypted_keys(desk: Desk) -> None:
    key = desk.authority.issue("rsa", ALICE).key
    (desk.path / "sealed.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"geheim"))
    )
    (desk.path / "pass").write_bytes(b"geheim\n")
    base = ("sign", desk.path / "m.eml", "--cert", desk.path / "alice.pem", "--key", desk.path / "sealed.key", "-o", desk.path / "p.eml")
    assert desk(*base, "--passphrase-file", desk.path / "pass").returncode == 0
    done = desk(*base)
    assert done.returncode == 1
    assert b"geheim" not in done.stderr


def test_as_a_command(desk: Desk) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mssgw", "smime", "verify", "-", "--anchors", desk.path / "anchors", "--at", AT, "--json"],
        input=(desk.path / "s.eml").read_bytes(),
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


def sealed(desk: Desk, passphrase: bytes = b"geheim") -> Path:
    key = desk.authority.issue("rsa", ALICE).key
    (desk.path / "geheim.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(passphrase))
    )
    (desk.path / "wrong").write_bytes(b"nein")
    return desk.path / "geheim.key"


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
def test_a_wrong_key_file_is_a_permanent_error(desk: Desk, key: str, more: tuple[str, ...], fault: str, french: str) -> None:
    sealed(desk)
    (desk.path / "rubbish.key").write_bytes(b"rubbish!")
    (desk.path / "void.key").write_bytes(b"")
    given = [desk.path / one if one == "wrong" else one for one in more]
    arguments = (
        "sign",
        desk.path / "m.eml",
        "--cert",
        desk.path / "alice.pem",
        "--key",
        desk.path / key,
        *given,
        "-o",
        desk.path / "no.eml",
    )
    done = desk(*arguments)
    said = done.stderr.decode()
    assert done.returncode == 1
    assert french in said.splitlines()[0], said
    assert key in said.splitlines()[0]
    assert key in said.splitlines()[1]
    assert "temporar" not in said
    assert "nein" not in said
    assert not (desk.path / "no.eml").exists()
    assert desk.json(*arguments, status=1)["fault"] == fault


def test_verify_outside_the_dates_names_subject_dates_and_time(desk: Desk) -> None:
    """Regression: only a fingerprint was shown."""
    done = desk("verify", desk.path / "s.eml", "--anchors", desk.path / "anchors", "--at", "2040-01-01")
    assert done.returncode == 1
    for part in (ALICE, f"{NOW - timedelta(days=300):%Y-%m-%d}", f"{NOW + timedelta(days=300):%Y-%m-%d}", "2040-01-01"):
        assert part in done.stderr.decode()
    found = desk.json("verify", desk.path / "s.eml", "--anchors", desk.path / "anchors", "--at", "2040-01-01", status=1)
    assert "expired on" in found["signers"][0]["detail"]


def test_verify_says_which_field_was_changed_and_what_is_signed(desk: Desk) -> None:
    """Regression: all that was shown of a changed Subject was the word protected-headers-differ."""
    message = (desk.path / "s.eml").read_bytes()
    subject = "XDM/1.0/DDM+Compte rendu"
    (desk.path / "changed.eml").write_bytes(message.replace(b"Subject: " + subject.encode(), b"Subject: Facture", 1))
    arguments = ("verify", desk.path / "changed.eml", "--anchors", desk.path / "anchors", "--at", AT)
    said = desk(*arguments).stdout.decode().replace("\N{NO-BREAK SPACE}", " ")
    assert f"le champ « Objet » a été modifié après la signature ; la valeur signée est « {subject} »" in said.splitlines()[0]
    assert f'the field "Subject" was changed after signing; the signed value is "{subject}"' in said.splitlines()[1]
    found = desk.json(*arguments)
    assert found["signed_fields"] == {"subject": subject}
    assert subject in found["banner"]["fr"]
    assert [(one["field"], subject in one["fr"], subject in one["en"]) for one in found["warnings"]] == [("subject", True, True)]


@pytest.mark.parametrize("verb", ["sign", "encrypt", "decrypt"])
def test_json_without_out_keeps_the_message(desk: Desk, verb: str) -> None:
    """Regression: `sign --json` without -o dropped the signed message."""
    alice, bob = (("--cert", desk.path / f"{who}.pem", "--key", desk.path / f"{who}.key") for who in ("alice", "bob"))
    arguments: tuple[object, ...] = {
        "sign": (desk.path / "m.eml", *alice),
        "encrypt": (desk.path / "m.eml", "--to", desk.path / "bob.pem"),
        "decrypt": (desk.path / "e.eml", *bob),
    }[verb]
    for more in ((), ("-o", "-")):
        found = desk.json(verb, *arguments, *more)
        message = base64.b64decode(found["message"], validate=True)
        assert len(message) == found["size"]
        assert {"sign": b"multipart/signed", "encrypt": b"enveloped-data", "decrypt": b"Voici le compte rendu"}[verb] in message
    assert "message" not in desk.json(verb, *arguments, "-o", desk.path / "out.eml")


def test_json_with_a_large_message(desk: Desk) -> None:
    (desk.path / "large.eml").write_bytes(attachment(5_000_000).read())
    found = desk.json("sign", desk.path / "large.eml", "--cert", desk.path / "alice.pem", "--key", desk.path / "alice.key")
    assert len(base64.b64decode(found["message"], validate=True)) == found["size"] > 5_000_000


def test_a_certificate_for_something_else_is_warned_of(desk: Desk) -> None:
    """Regression: a TLS certificate was used to sign and to encrypt without a warning."""
    tls = desk.authority.issue_for((ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH))
    tls.write(desk.path, "tls")
    for arguments in (
        ("sign", desk.path / "m.eml", "--cert", desk.path / "tls.pem", "--key", desk.path / "tls.key"),
        ("encrypt", desk.path / "m.eml", "--to", desk.path / "tls.pem"),
    ):
        done = desk(*arguments, "-o", desk.path / "tls.eml")
        assert done.returncode == 0
        assert "serverAuth, clientAuth, pas pour le courrier" in done.stderr.decode().splitlines()[0]
        codes = [one["code"] for one in desk.json(*arguments)["warnings"]]
        assert codes == (["purpose", "author"] if arguments[0] == "sign" else ["purpose"])
    assert desk.json("encrypt", desk.path / "m.eml", "--to", desk.path / "bob.pem")["warnings"] == []


def test_a_certificate_whose_profile_forbids_it_is_refused(desk: Desk) -> None:
    igc = desk.authority.issue_for((ExtendedKeyUsageOID.CLIENT_AUTH,), policy="1.2.250.1.213.1.7.2.1.1.1.1")
    igc.write(desk.path, "auth")
    desk.authority.issue("rsa", ALICE, ku=usage(key_encipherment=True)).write(desk.path, "cipher")
    desk.authority.issue("rsa", ALICE, ku=usage(digital_signature=True, content_commitment=True)).write(desk.path, "signs")  # ORG_SIGN
    for verb, name in (("sign", "auth"), ("encrypt", "auth"), ("sign", "cipher"), ("encrypt", "signs")):
        who = (
            ("--to", desk.path / f"{name}.pem")
            if verb == "encrypt"
            else ("--cert", desk.path / f"{name}.pem", "--key", desk.path / f"{name}.key")
        )
        assert desk.json(verb, desk.path / "m.eml", *who, status=1)["fault"] == "certificate-usage", (verb, name)


def test_an_expired_certificate_is_warned_of(desk: Desk) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    desk.authority.issue("rsa", ALICE, start=start, end=start + timedelta(days=9)).write(desk.path, "old")
    found = desk.json("sign", desk.path / "m.eml", "--cert", desk.path / "old.pem", "--key", desk.path / "old.key")
    assert [one["code"] for one in found["warnings"]] == ["expired"]


def test_legacy_reads_the_triple_des_messages_of_rfc4134(desk: Desk) -> None:
    """Regression: docs/smime.md promises it, and the command refused the key of 1024 bits."""
    (desk.path / "bob.rfc").write_bytes((DATA / "rfc4134/BobPrivRSAEncrypt.pri").read_bytes())
    bob = ("--cert", DATA / "rfc4134/BobRSASignByCarl.cer", "--key", desk.path / "bob.rfc")
    for name in ("5.1.bin", "5.2.bin", "5.3.eml"):
        done = desk("decrypt", DATA / "rfc4134" / name, *bob, "--legacy")
        assert done.returncode == 0, done.stderr.decode()
        assert b"This is some sample content." in done.stdout
        assert desk.json("decrypt", DATA / "rfc4134" / name, *bob, status=1)["fault"] == "file-weak"
    assert desk.json("sign", desk.path / "m.eml", *bob, status=1)["fault"] == "file-weak"


def test_key_and_certificate_in_one_file(desk: Desk) -> None:
    """A bundle needs no --cert. Regression: GnuPG's bundle was refused as no key."""
    both, enclosed = DATA / "notmuch-smime/key+cert.pem", desk.path / "notmuch.eml"
    assert desk("encrypt", desk.path / "m.eml", "--to", both, "-o", enclosed).returncode == 0
    for who in (("--cert", both, "--key", both), ("--key", both)):
        done = desk("decrypt", enclosed, *who)
        assert done.returncode == 0, done.stderr.decode()
        assert b"Voici le compte rendu" in done.stdout


def test_a_pkcs12_in_pem_is_certificate_and_key(desk: Desk) -> None:
    alice = desk.authority.issue("rsa", ALICE)
    made = pkcs12.serialize_key_and_certificates(
        b"alice", alice.key, alice.cert, [desk.authority.cert], serialization.BestAvailableEncryption(b"geheim")
    )
    (desk.path / "alice.p12.pem").write_bytes(b"-----BEGIN PKCS12-----\n" + base64.encodebytes(made) + b"-----END PKCS12-----\n")
    (desk.path / "pass").write_bytes(b"geheim\r\n")
    p12, secret = desk.path / "alice.p12.pem", ("--passphrase-file", desk.path / "pass")
    for who in (("--cert", p12, "--key", p12), ("--key", p12), ("--cert", desk.path / "alice.pem", "--key", p12)):
        assert desk.json("sign", desk.path / "m.eml", *who, *secret)["signed"] is True


# --- a stranger's first hour --------------------------------------------------------------------------------------------


def test_a_saved_attachment_is_read_as_it_is(desk: Desk) -> None:
    """People save smime.p7m and have no message around it."""
    sealed_ = desk("encrypt", desk.path / "m.eml", "--to", desk.path / "bob.pem").stdout
    armoured = sealed_.partition(b"\r\n\r\n")[2]
    bob = ("--cert", desk.path / "bob.pem", "--key", desk.path / "bob.key")
    for saved in (
        base64.b64decode(armoured),
        armoured,
        b"-----BEGIN PKCS7-----\n" + armoured + b"-----END PKCS7-----\n",
        b"\n-----BEGIN CMS-----\r\n" + armoured + b"-----END CMS-----",
    ):
        done = desk("decrypt", "-", *bob, given=saved)
        assert done.returncode == 0, done.stderr.decode()
        assert b"Voici le compte rendu" in done.stdout


def test_line_ends_of_unix_are_the_same_message(desk: Desk) -> None:
    given = (desk.path / "m.eml").read_bytes().replace(b"\r\n", b"\n")
    signed = desk("sign", "-", "--cert", desk.path / "alice.pem", "--key", desk.path / "alice.key", given=given)
    for message in (signed.stdout, signed.stdout.replace(b"\r\n", b"\n")):
        assert desk("verify", "-", "--anchors", desk.path / "anchors", "--at", AT, given=message).returncode == 0


def test_an_empty_message_is_not_signed(desk: Desk) -> None:
    done = desk("sign", "-", "--cert", desk.path / "alice.pem", "--key", desk.path / "alice.key", given=b"\r\n")
    assert done.returncode == 1
    assert done.stdout == b""
    assert "vide" in done.stderr.decode()


def test_anchors_may_be_one_file_and_a_root_of_openssl(desk: Desk) -> None:
    """Regression: roots of `openssl req -x509` have no KeyUsage, and a file after --anchors ended in `Not a directory`."""
    assert desk("verify", desk.path / "s.eml", "--anchors", desk.path / "anchors" / "ca.pem", "--at", AT).returncode == 0
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "own.key", "-out", "own.pem", "-subj", "/CN=Essai"],
        cwd=desk.path,
        capture_output=True,
        check=True,
        timeout=60,
    )
    found = desk.json("verify", desk.path / "s.eml", "--anchors", desk.path / "own.pem", "--at", AT, status=1)
    assert found["reasons"][0] == "certificate-not-trusted"  # and not that there is no root
    found = desk.json("verify", desk.path / "s.eml", "--anchors", desk.path / "alice.pem", "--at", AT, status=1)
    assert found["fault"] == "anchors"


def test_out_may_be_the_message_itself_and_is_never_half_written(desk: Desk) -> None:
    (desk.path / "same.eml").write_bytes(letter().read())
    alice = ("--cert", desk.path / "alice.pem", "--key", desk.path / "alice.key")
    assert desk("sign", desk.path / "same.eml", *alice, "-o", desk.path / "same.eml").returncode == 0
    assert b"multipart/signed" in (desk.path / "same.eml").read_bytes()
    assert desk("sign", desk.path / "same.eml", *alice, "-o", desk.path / "absent" / "x.eml").returncode == 1
    assert desk("sign", desk.path / "same.eml", *alice, "-o", desk.path).returncode == 1
    assert not list(desk.path.glob(".*"))


def test_decrypting_what_is_not_encrypted_says_so(desk: Desk) -> None:
    bob = ("--cert", desk.path / "bob.pem", "--key", desk.path / "bob.key")
    assert desk.json("decrypt", desk.path / "m.eml", *bob, status=1)["fault"] == "not-encrypted"
    assert "n'est pas chiffré" in desk("decrypt", desk.path / "m.eml", *bob).stderr.decode()


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
def test_a_bare_text_keeps_its_first_lines(desk: Desk, given: bytes) -> None:
    """Regression: they were taken for a broken header and left out silently."""
    alice = ("--cert", desk.path / "alice.pem", "--key", desk.path / "alice.key")
    for arguments in (("sign", "-", *alice), ("encrypt", "-", "--to", desk.path / "bob.pem")):
        done = desk(*arguments, given=given)
        assert (done.returncode, done.stdout) == (1, b"")
        assert "ce n'est pas un message" in done.stderr.decode()
        if len(given) < 100:
            assert b"Deux lignes" in desk("sign", "-", *alice, given=b"\n" + given).stdout
    mbox = b"From alice Mon Nov 23\n" + letter().read()
    assert desk("sign", "-", *alice, given=mbox).returncode == 0


def test_an_authority_as_recipient_is_warned_of(desk: Desk) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "auth.key", "-out", "auth.pem", "-subj", "/CN=Essai"],
        cwd=desk.path,
        capture_output=True,
        check=True,
        timeout=60,
    )
    found = desk.json("encrypt", desk.path / "m.eml", "--to", desk.path / "auth.pem")
    assert [one["code"] for one in found["warnings"]] == ["authority"]


def test_a_whole_message_inside_keeps_its_header(desk: Desk) -> None:
    """`openssl cms -encrypt -in message` encrypts the header too. Regression: From, To and Subject were lost at decryption."""
    done = subprocess.run(
        ["openssl", "cms", "-encrypt", "-in", "m.eml", "-aes256", "-outform", "PEM", "alice.pem"],
        cwd=desk.path,
        capture_output=True,
        check=True,
        timeout=60,
    )
    alice = ("--cert", desk.path / "alice.pem", "--key", desk.path / "alice.key")
    found = desk("decrypt", "-", *alice, given=done.stdout).stdout
    assert b"Subject: XDM/1.0/DDM+Compte rendu\r\n" in found
    assert b"From: Alice Martin" in found
    assert b"Voici le compte rendu" in found


def test_a_detached_signature_alone_says_what_is_missing(desk: Desk) -> None:
    subprocess.run(
        ["openssl", "cms", "-sign", "-in", "m.eml", "-signer", "alice.pem", "-inkey", "alice.key", "-outform", "DER", "-out", "alone.p7s"],
        cwd=desk.path,
        capture_output=True,
        check=True,
        timeout=60,
    )
    done = desk("verify", desk.path / "alone.p7s", "--anchors", desk.path / "anchors", "--at", AT)
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
