"""`mssgw identity …`: taking keys in, what is refused, the life of a key."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from tests.cli.desk import Node
from tests.smime.people import Authority, Person, private, usage

JEANNE, PAUL = "jeanne.martin@alpha.mssante.test", "paul.petit@alpha.mssante.test"
RPPS = "10101010101"
LONG = {"start": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), "end": datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC)}
PAST = {"start": datetime.datetime(2015, 1, 1, tzinfo=datetime.UTC), "end": datetime.datetime(2018, 1, 1, tzinfo=datetime.UTC)}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made("account", "add", JEANNE, "--no-password", "--rpps", RPPS)
    made("account", "add", PAUL, "--no-password")
    return made


def held(who: Person, directory: Path, name: str = "her") -> tuple[str, str]:
    cert, key = who.write(directory, name)
    return str(cert), str(key)


def test_pem_and_its_life(node: Node, tmp_path: Path) -> None:
    added = node("identity", "add", JEANNE, *held(Authority().issue("rsa", JEANNE, **LONG), tmp_path), "--json")
    assert (added["state"], added["kind"], added["address"]) == ("active", "both", JEANNE)
    (listed,) = node("identity", "list", "--json")
    assert added.items() > listed.items()
    assert "trust" in added["warning"]  # this node has no authorities
    assert added["warning_fr"] != added["warning"]
    assert node("identity", "list", "--expiring", "60", "--json") == []
    number = str(added["identity"])
    assert node("identity", "show", number, "--json")["serial"] == added["serial"]
    assert node("identity", "retire", number, "--json")["state"] == "retired"
    rows = node("trace", JEANNE, "--json")
    text = str(rows)
    assert "added" in text
    assert "retired" in text


def test_pkcs12_and_an_encrypted_key_with_their_passphrase(node: Node, tmp_path: Path) -> None:
    who, secret = Authority().issue("rsa", JEANNE, **LONG), serialization.BestAvailableEncryption(b"sesame")
    (tmp_path / "her.p12").write_bytes(pkcs12.serialize_key_and_certificates(b"her", who.key, who.cert, None, secret))
    (tmp_path / "right").write_bytes(b"sesame\n")
    (tmp_path / "wrong").write_bytes(b"sesam\n")
    arguments = ("identity", "add", JEANNE, str(tmp_path / "her.p12"), "--json", "--passphrase-file")
    assert node(*arguments, str(tmp_path / "wrong"), status=1)["fault"] == "file-passphrase-wrong"
    assert node(*arguments, str(tmp_path / "right"))["state"] == "active"
    other = Authority().issue("p256", PAUL, **LONG)
    (tmp_path / "his.pem").write_bytes(other.pem())
    sealed = other.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    (tmp_path / "his.key").write_bytes(sealed)
    files = (str(tmp_path / "his.pem"), str(tmp_path / "his.key"))
    assert node("identity", "add", PAUL, *files, "--json", "--passphrase-file", str(tmp_path / "right"))["address"] == PAUL


def test_a_request_is_completed_by_its_certificate(node: Node, tmp_path: Path) -> None:  # RFC 2986
    asked = node("identity", "request", JEANNE, "--algorithm", "p256", "--out", str(tmp_path / "her.csr"), "--json")
    assert asked["state"] == "requested"
    csr = x509.load_pem_x509_csr((tmp_path / "her.csr").read_bytes())
    names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == [JEANNE]
    authority = Authority()
    extensions = [
        (x509.SubjectAlternativeName([x509.RFC822Name(JEANNE)]), False),
        (usage(digital_signature=True, key_agreement=True), True),
    ]
    cert = authority._sign("Jeanne", csr.public_key(), extensions, **LONG)
    (tmp_path / "her.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    done = node("identity", "add", JEANNE, str(tmp_path / "her.pem"), "--json")
    assert (done["identity"], done["state"]) == (asked["identity"], "active")
    again = node("identity", "renew", str(done["identity"]), "--algorithm", "p256", "--json")
    assert again["identity"] != done["identity"]
    assert {one["state"] for one in node("identity", "list", JEANNE, "--json")} == {"active", "requested"}


def refused_ones() -> list[tuple[str, Person, str]]:
    authority = Authority()
    mixed = authority.issue("rsa", JEANNE, **LONG)
    mixed.key = private("rsa", 7)
    return [
        ("not-of-certificate", mixed, "not that of the certificate"),
        ("forbidden-use", authority.issue("rsa", JEANNE, ku=usage(data_encipherment=True), **LONG), "does not allow"),
        ("expired", authority.issue("rsa", JEANNE, **PAST), "ended on 2018-01-01"),
        ("address", authority.issue("rsa", PAUL, **LONG), PAUL),
        ("address", authority.issue("rsa", cn="899900000001", **LONG), "899900000001"),
    ]


@pytest.mark.parametrize("number", range(5))
def test_what_is_refused(node: Node, tmp_path: Path, number: int) -> None:
    fault, who, words = refused_ones()[number]
    answer = node("identity", "add", JEANNE, *held(who, tmp_path), "--json", status=1)
    assert (answer["fault"], answer["valid"]) == (fault, False)
    assert words in answer["reason"]
    assert answer["reason_fr"]
    assert node("identity", "list", "--json") == []


def test_a_card_names_its_holder_by_the_national_number(node: Node, tmp_path: Path) -> None:
    for number, cn in enumerate((RPPS, f"8{RPPS}")):
        who = Authority().issue("rsa", cn=cn, number=number, ku=usage(content_commitment=True), **LONG)
        assert node("identity", "add", JEANNE, *held(who, tmp_path), "--json")["kind"] == "signing"


def test_a_key_of_the_past_is_taken_in_to_open_old_mail(node: Node, tmp_path: Path) -> None:
    old = Authority().issue("rsa", JEANNE, **PAST)
    assert node("identity", "add", JEANNE, *held(old, tmp_path), "--retired", "--json")["state"] == "retired"


def test_import_takes_the_directory(node: Node, tmp_path: Path) -> None:
    directory, authority = tmp_path / "identities", Authority()
    directory.mkdir()
    authority.issue("rsa", JEANNE, **LONG).write(directory, "jeanne")
    authority.issue("rsa", PAUL, number=1, **PAST).write(directory, "paul")
    authority.issue("rsa", "nobody@alpha.mssante.test", number=2, **LONG).write(directory, "nobody")
    answer = node("identity", "import", str(directory), "--json", status=1)
    assert {Path(one["file"]).stem: one["fault"] for one in answer} == {"jeanne": None, "paul": None, "nobody": "address"}
    assert {one["address"]: one["state"] for one in node("identity", "list", "--json")} == {JEANNE: "active", PAUL: "retired"}
    (directory / "nobody.pem").unlink()
    (directory / "nobody.key").unlink()
    assert all(one["identity"] for one in node("identity", "import", str(directory), "--json"))  # again: what is there counts


def test_an_unknown_number(node: Node) -> None:
    assert "99" in node("identity", "retire", "99", "--json", status=1)["reason"]


def test_what_can_not_be_used_is_named_by_list_show_and_check(node: Node, tmp_path: Path) -> None:
    """Regression: `list` ended in a stack when a certificate could not be read, and `check` found nothing."""
    files = held(Authority().issue("rsa", JEANNE, **LONG), tmp_path)
    number = str(node("identity", "add", JEANNE, *files, "--json")["identity"])
    for column, fault in (("der", "certificate"), ("sealed", "seal")):
        with contextlib.closing(sqlite3.connect(tmp_path / "data" / "store.db")) as database, database:
            database.execute(f"UPDATE identity SET {column} = x'3000'")
        (listed,) = node("identity", "list", "--json")
        assert (listed["state"], listed["fault"]) == ("unusable", fault)
        assert listed["why"] != listed["why_fr"]
        assert b"mssgw identity retire" in node.called.stderr
        assert listed["why"] in node("identity", "show", number)
        (problem,) = node("check", "--json", status=1)["problems"]
        assert (problem["invariant"], problem["where"]) == (f"identity {fault}", f"identity {number}")
        assert problem["sentence"] != problem["sentence_fr"]
        said = node("check", status=1)
        assert problem["sentence"] in said
        assert problem["sentence_fr"].partition(" ")[0] in said
        assert node("identity", "add", JEANNE, *files, "--json")["state"] == "active"  # mended
        assert "ok" in node("check")


def test_expiring_leaves_out_what_is_retired(node: Node, tmp_path: Path) -> None:
    node("identity", "add", JEANNE, *held(Authority().issue("rsa", JEANNE, **PAST), tmp_path), "--retired", "--json")
    for who in ((), (JEANNE,)):
        assert node("identity", "list", *who, "--expiring", "60", "--json") == []
