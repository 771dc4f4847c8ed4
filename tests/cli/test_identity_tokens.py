"""`mssgw identity … --token`: the token is tried before anything is recorded, and certifies its own key again (SoftHSM)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mssgw.smime import places
from tests.cli.desk import Node
from tests.cli.test_identity import JEANNE, LONG
from tests.smime.people import Authority, Person, usage
from tests.smime.test_tokens import MODULE

pytestmark = pytest.mark.peer("softhsm2-util", "/usr/lib/softhsm/libsofthsm2.so" if MODULE is None else str(MODULE))
PIN = "60318452"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    made = Node(tmp_path)
    made("account", "add", JEANNE, "--no-password")
    (tmp_path / "tokens").mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    util("--init-token", "--free", "--label", "card", "--pin", PIN, "--so-pin", "12345678")
    yield made
    for token in places._tokens.values():
        token.close()
    places._tokens.clear()


def util(*arguments: str) -> None:
    subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True)


def put(who: Person, directory: Path, label: str, number: str) -> str:
    cert, key = who.write(directory, label)
    util("--import", str(key), "--token", "card", "--label", label, "--id", number, "--pin", PIN)
    return str(cert)


def reference(label: str, more: str = "") -> str:
    return f"pkcs11:token=card;object={label}?module-path={MODULE}{more}"


def add(node: Node, cert: str, label: str, pin: str = PIN, status: int = 0, more: str = "") -> dict[str, object]:
    answer: dict[str, object] = node(
        "identity", "add", JEANNE, cert, "--token", reference(label, more), "--pin-stdin", "--json", given=pin + "\n", status=status
    )
    said = node.called.stdout + node.called.stderr
    assert pin.encode() not in said
    return answer


def test_what_the_token_can_not_do_is_not_recorded(node: Node, tmp_path: Path) -> None:
    """Regression: `add --token` recorded any reference, and every mail of the person waited."""
    authority = Authority()
    cert = put(authority.issue("rsa", JEANNE, **LONG), tmp_path, "sign", "01")
    other, _ = authority.issue("rsa", JEANNE, number=1, **LONG).write(tmp_path, "other")
    for given, label, pin, why in (
        (str(other), "sign", PIN, "does not fit the certificate"),
        (cert, "absent", PIN, "0 private keys"),
        (cert, "sign", "wrong-pin", "PinIncorrect"),
    ):
        answer = add(node, given, label, pin, status=1)
        assert answer["fault"] == "token"
        assert why in str(answer["detail"])
        assert answer["reason"] != answer["reason_fr"]
        assert node("identity", "list", "--json") == []
    assert add(node, cert, "sign")["state"] == "active"


def test_a_key_that_only_opens_is_tried_by_opening(node: Node, tmp_path: Path) -> None:
    authority, only = Authority(), usage(key_encipherment=True)
    cert = put(authority.issue("rsa", JEANNE, ku=only, **LONG), tmp_path, "open", "01")
    other, _ = authority.issue("rsa", JEANNE, number=1, ku=only, **LONG).write(tmp_path, "other")
    assert add(node, str(other), "open", status=1)["fault"] == "token"
    assert add(node, cert, "open")["kind"] == "encryption"


def test_the_pin_of_a_file_is_not_asked_for(node: Node, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text(PIN + "\n")
    cert = put(Authority().issue("rsa", JEANNE, **LONG), tmp_path, "sign", "01")
    assert add(node, cert, "sign", "not read", more=f"&pin-source=file:{tmp_path}/pin")["state"] == "active"


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_renewed_the_same_key_is_certified_again(node: Node, tmp_path: Path, kind: str) -> None:
    """RFC 2986 4.2: the request is signed by the key in the token."""
    authority = Authority()
    who = authority.issue(kind, JEANNE, **LONG)
    first = add(node, put(who, tmp_path, "sign", "01"), "sign")
    assert node("identity", "renew", str(first["identity"]), "--pin-stdin", "--json", given="wrong\n", status=1)["fault"] == "token"
    asked = node("identity", "renew", str(first["identity"]), "--pin-stdin", "--json", given=PIN + "\n")
    assert (asked["state"], asked["key"]) == ("requested", reference("sign"))
    csr = x509.load_pem_x509_csr(asked["csr"].encode())
    assert csr.is_signature_valid
    assert csr.public_key() == who.cert.public_key()
    names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == [JEANNE]
    granted = usage(digital_signature=True, key_encipherment=kind == "rsa", key_agreement=kind != "rsa")
    extensions = [(names, False), (granted, True)]
    made = authority._sign("Jeanne", csr.public_key(), extensions, **LONG)
    (tmp_path / "next.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    done = node("identity", "add", JEANNE, str(tmp_path / "next.pem"), "--json")
    assert (done["identity"], done["state"], done["key"]) == (asked["identity"], "active", reference("sign"))
    assert "ok" in node("check")
