"""`mssgw smime` names the cause, in French and in English, and skips nothing silently. Regressions, each found by an outside tester."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

from mssgw.core.body import Body
from mssgw.core.clock import SystemClock
from mssgw.pki import der
from mssgw.smime import files
from mssgw.smime.opening import open_now
from mssgw.smime.wire import oids
from tests.cli.desk import mssgw
from tests.smime.forge import ENTITY, clear, good, plain_attributes, signed_data, signer_info
from tests.smime.letters import letter
from tests.smime.people import ALICE, BOB, NOW, Authority, name, usage

AT = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Workplace:
    path: Path
    authority: Authority

    def __call__(self, *arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return mssgw("smime", *arguments, given=given)

    def json(self, *arguments: object, status: int = 0, given: bytes = b"") -> dict[str, Any]:
        done = self(*arguments, "--json", given=given)
        assert done.returncode == status, done.stderr.decode()
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def who(self, person: str) -> tuple[object, ...]:
        return "--cert", self.path / f"{person}.pem", "--key", self.path / f"{person}.key"

    def put(self, file: str, data: bytes) -> Path:
        (self.path / file).write_bytes(data)
        return self.path / file


@pytest.fixture(scope="module", autouse=True)
def _a_day_of_the_certificates() -> Iterator[None]:
    """`sign` and `encrypt` take the time of the system, and warn of certificates that have expired by then."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SystemClock, "now", lambda self: NOW + timedelta(days=10))
        yield


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    made = Workplace(tmp_path, Authority())
    made.put("ca.pem", made.authority.pem())
    made.put("m.eml", letter().read())
    made.authority.issue("rsa", ALICE).write(tmp_path, "alice")
    made.authority.issue("rsa", BOB, number=1).write(tmp_path, "bob")
    return made


# --- passphrases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["sign", "decrypt", "verify"])
def test_a_locked_pkcs12_asks_for_its_passphrase(workplace: Workplace, verb: str) -> None:
    alice = workplace.authority.issue("rsa", ALICE)
    shut = BestAvailableEncryption(b"geheim")
    p12 = workplace.put("alice.p12", pkcs12.serialize_key_and_certificates(b"a", alice.key, alice.cert, None, shut))
    more = ("--anchors", workplace.path / "ca.pem") if verb == "verify" else ()
    for given, fault, french in (
        ((), "file-passphrase-missing", "il faut sa phrase secrète"),
        (("--passphrase-file", workplace.put("wrong", b"nein")), "file-passphrase-wrong", "phrase secrète est fausse"),
    ):
        done = workplace(verb, workplace.path / "m.eml", "--key", p12, *given, *more)
        assert done.returncode == 1
        assert french in done.stderr.decode()
        assert "alice.p12" in done.stderr.decode()
        assert workplace.json(verb, workplace.path / "m.eml", "--key", p12, *given, *more, status=1)["fault"] == fault
    key = workplace.put("bare.key", alice.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert workplace.json(verb, workplace.path / "m.eml", "--key", key, *more, status=1)["fault"] == "file-no-certificate"


# --- causes in French ---------------------------------------------------------------------------------------------------


def test_a_certificate_of_another_class_is_refused_in_french_too(workplace: Workplace) -> None:
    workplace.authority.issue_for((ExtendedKeyUsageOID.CLIENT_AUTH,), "1.2.250.1.213.1.7.1.1").write(workplace.path, "auth")
    said = workplace("sign", workplace.path / "m.eml", *workplace.who("auth")).stderr.decode()
    assert "est fait pour clientAuth, pas pour le courrier" in said
    assert "is for clientAuth, not for mail" in said
    assert said.count("certificate-usage") == 2
    workplace.authority.issue("rsa", BOB, number=1, ku=usage(digital_signature=True)).write(workplace.path, "signs")
    said = workplace("encrypt", workplace.path / "m.eml", "--to", workplace.path / "signs.pem").stderr.decode()
    assert "ne permet pas de chiffrer pour lui" in said
    assert "does not allow encryption" in said


@pytest.mark.parametrize(
    ("dates", "french", "english"),
    [
        ({"start": NOW - timedelta(days=60), "end": NOW - timedelta(days=30)}, "a expiré le", "expired on"),
        ({"start": NOW + timedelta(days=30), "end": NOW + timedelta(days=60)}, "n'est valable qu'à partir du", "valid only from"),
    ],
)
def test_dates_of_others_certificates_come_without_advice_to_the_reader(
    workplace: Workplace, dates: dict[str, Any], french: str, english: str
) -> None:
    alice = workplace.authority.issue("rsa", ALICE, **dates)
    message = workplace.put("old.eml", clear(ENTITY, good(alice)).read())
    done = workplace("verify", message, "--anchors", workplace.path / "ca.pem", "--at", AT)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 1
    assert french in said
    assert english in said
    assert "check your clock" not in said
    assert "install the" not in said
    signer = workplace.json("verify", message, "--anchors", workplace.path / "ca.pem", "--at", AT, status=1)["signers"][0]
    assert french in signer["detail_fr"]
    assert english in signer["detail"]


def test_anchors_that_are_none_are_named_in_french_and_without_advice(workplace: Workplace) -> None:
    (workplace.path / "void").mkdir()
    for anchors, french, english in (
        ("/dev/null", "ni un fichier ni un répertoire", "neither a file nor a directory"),
        (workplace.path / "alice.pem", "aucune autorité racine", "no root authority"),
        (workplace.path / "m.eml", "aucun certificat dedans", "no certificate in it"),
        (workplace.path / "void", "aucun certificat dedans", "no certificate in it"),
        (workplace.path / "absent", "n'existe pas", "no such file"),
    ):
        said = workplace("verify", workplace.path / "m.eml", "--anchors", anchors).stderr.decode()
        assert french in said.splitlines()[0], said
        assert english in said
        assert str(anchors) in said
        assert "import-anchors" not in said
        assert "Not a directory" not in said
        assert workplace.json("verify", workplace.path / "m.eml", "--anchors", anchors, status=1)["fault"] in ("anchors", "file")


# --- verbs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opaque", [(), ("--opaque",)])
def test_decrypting_a_signed_message_never_mentions_trust(workplace: Workplace, opaque: tuple[str, ...]) -> None:
    workplace("sign", workplace.path / "m.eml", *workplace.who("alice"), *opaque, "-o", workplace.path / "s.eml")
    done = workplace("decrypt", workplace.path / "s.eml", *workplace.who("bob"))
    assert done.returncode == 1
    assert done.stdout == b""
    assert "n'est pas chiffré" in done.stderr.decode()
    assert "not-trusted" not in done.stderr.decode()
    assert workplace.json("decrypt", workplace.path / "s.eml", *workplace.who("bob"), status=1)["fault"] == "not-encrypted"


def test_decrypting_cbc_without_integrity_is_shown_to_people(workplace: Workplace) -> None:
    bob = workplace.path / "bob.pem"
    workplace("sign", workplace.path / "m.eml", *workplace.who("alice"), "-o", workplace.path / "s.eml")
    for message, cipher, warned in (("m.eml", "aes256-cbc", True), ("m.eml", "aes256-gcm", False), ("s.eml", "aes256-cbc", False)):
        workplace("encrypt", workplace.path / message, "--to", bob, "--cipher", cipher, "-o", workplace.path / "e.eml")
        done = workplace("decrypt", workplace.path / "e.eml", *workplace.who("bob"))
        assert done.returncode == 0
        assert ("ne protège pas contre les modifications" in done.stderr.decode()) == warned, (message, cipher)
        found = workplace.json("decrypt", workplace.path / "e.eml", *workplace.who("bob"), "-o", workplace.path / "d.eml")
        assert found["reasons"] == (["encryption-without-integrity"] if warned else [])


def test_every_reader_in_a_file_is_encrypted_to(workplace: Workplace) -> None:
    many = workplace.put(
        "many.pem", b"".join((workplace.path / one).read_bytes() for one in ("ca.pem", "alice.pem", "bob.pem", "alice.pem"))
    )
    found = workplace.json(
        "encrypt", workplace.path / "m.eml", "--to", many, "--to", workplace.path / "bob.pem", "-o", workplace.path / "e.eml"
    )
    assert len(found["recipients"]) == 2
    assert found["warnings"] == []
    for reader in ("alice", "bob"):
        assert b"Voici le compte rendu" in workplace("decrypt", workplace.path / "e.eml", *workplace.who(reader)).stdout


def test_a_file_with_self_signed_readers_and_one_that_can_not_read(workplace: Workplace) -> None:
    def own(cn: str) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            x509.CertificateBuilder()
            .subject_name(name(cn))
            .issuer_name(name(cn))
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(NOW - timedelta(days=9))
            .not_valid_after(NOW + timedelta(days=900))
            .add_extension(x509.BasicConstraints(True, None), True)
        )
        return made.sign(key, SHA256()).public_bytes(Encoding.PEM)

    both = workplace.put("both.pem", own("Un") + own("Deux"))
    assert len(workplace.json("encrypt", workplace.path / "m.eml", "--to", both, "-o", workplace.path / "e.eml")["recipients"]) == 2
    signs = workplace.authority.issue("rsa", "carol@alpha.mssante.test", number=1, ku=usage(digital_signature=True))
    mixed = workplace.put("mixed.pem", signs.pem() + (workplace.path / "bob.pem").read_bytes())
    assert workplace.json("encrypt", workplace.path / "m.eml", "--to", mixed, status=1)["fault"] == "certificate-usage"
    twice = workplace.put(
        "twice.pem",
        workplace.authority.issue("rsa", BOB, number=2, ku=usage(digital_signature=True)).pem() + (workplace.path / "bob.pem").read_bytes(),
    )
    assert len(workplace.json("encrypt", workplace.path / "m.eml", "--to", twice, "-o", workplace.path / "e.eml")["recipients"]) == 1


@pytest.mark.parametrize("label", [b"ENCRYPTED MESSAGE", b"CMS", b"PKCS7"])
def test_armour_of_gpgsm_is_read(workplace: Workplace, label: bytes) -> None:
    made = (
        workplace("encrypt", workplace.path / "m.eml", "--to", workplace.path / "bob.pem")
        .stdout.partition(b"\r\n\r\n")[2]
        .replace(b"\r\n", b"\n")
    )
    done = workplace("decrypt", "-", *workplace.who("bob"), given=b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, made, label))
    assert done.returncode == 0, done.stderr.decode()
    assert b"Voici le compte rendu" in done.stdout
    alice = workplace.authority.issue("rsa", ALICE)
    cms = signed_data([signer_info(alice, plain_attributes(ENTITY))], [alice], ENTITY)
    given = b"-----BEGIN SIGNED MESSAGE-----\n%b-----END SIGNED MESSAGE-----\n" % base64.encodebytes(cms)
    asked = ("verify", "-", "--anchors", workplace.path / "ca.pem", "--at", AT)
    assert workplace.json(*asked, "--from", ALICE, given=given)["valid"] is True
    done = workplace(*asked, given=given)  # a bare structure names nobody
    assert done.returncode == 1
    assert "--from" in done.stderr.decode()


def test_a_signed_time_stamp_and_a_receipt_are_named_as_what_they_are(workplace: Workplace) -> None:
    alice = workplace.authority.issue("rsa", ALICE)
    stamp = der.oid("1.2.840.113549.1.9.16.1.4")
    for kind, french in ((stamp, "n'est pas un message"), (oids.RECEIPT, "accusé de réception signé")):
        info = signer_info(alice, plain_attributes(ENTITY, content_type=kind))
        body = files.as_message(Body.of(signed_data([info], [alice], ENTITY, kind)))
        found = open_now(body, [], workplace.authority.validate, NOW).verdict
        assert french in found.banner("fr")
        assert not found.valid
    cms = signed_data([signer_info(alice, plain_attributes(ENTITY, content_type=stamp))], [alice], ENTITY, stamp)
    done = workplace("verify", workplace.put("t.p7s", cms), "--anchors", workplace.path / "ca.pem", "--at", AT)
    assert done.returncode == 1
    assert "horodatage" in done.stderr.decode()
    assert "TSTInfo" in done.stderr.decode()


def test_signing_for_a_from_that_is_not_in_the_certificate_is_warned_of(workplace: Workplace) -> None:
    for message, codes in ((letter(), []), (letter(sender=BOB), ["author"]), (Body.of(b"Subject: x\r\n\r\nBonjour\r\n"), ["no-author"])):
        done = workplace("sign", workplace.put("x.eml", message.read()), *workplace.who("alice"), "-o", workplace.path / "s.eml")
        assert done.returncode == 0
        assert bool(codes) == ("ATTENTION" in done.stderr.decode()), codes
        found = workplace.json("sign", workplace.path / "x.eml", *workplace.who("alice"), "-o", workplace.path / "s.eml")
        assert [one["code"] for one in found["warnings"]] == codes


def test_the_directory_of_out_is_what_does_not_exist(workplace: Workplace) -> None:
    for out, french in (("nonexist/x", "ce répertoire n'existe pas"), ("m.eml/x", "ce n'est pas un répertoire")):
        done = workplace("sign", workplace.path / "m.eml", *workplace.who("alice"), "-o", workplace.path / out)
        assert done.returncode == 1
        assert french in done.stderr.decode()
        assert str((workplace.path / out).parent) + "\N{NO-BREAK SPACE}:" in done.stderr.decode()


def test_a_key_in_a_token_is_never_taken_for_a_file_name(workplace: Workplace) -> None:
    said = workplace(
        "sign", workplace.path / "m.eml", "--key", "pkcs11:token=igc;object=seal", "--cert", workplace.path / "alice.pem"
    ).stderr.decode()
    assert "token" in said.splitlines()[0]
    assert "n'existe pas" not in said
    assert "no key in a token" in said


def test_the_options_of_the_verbs_stand_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs/smime.md").read_text()
    commands = page[page.index("## Commands") : page.index("## Matrix")]
    from typer.main import get_command

    from mssgw.cli.smime import app

    verbs: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    for verb in verbs.values():
        for option in [word for one in verb.params for word in (*one.opts, *one.secondary_opts) if word.startswith("--")]:
            assert option in commands, (verb.name, option)
