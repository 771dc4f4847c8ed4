"""`mssgw recipient …`: which certificate is used and why; what is pinned wins over all."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from mssgw.core.address import Address
from mssgw.core.errors import NotTrusted
from mssgw.flow.lookup import Learned, Lookup
from mssgw.flow.recipients import views
from mssgw.smime.directories.candidate import Candidate
from mssgw.smime.directories.files import CertificateFiles
from mssgw.smime.protecting import Policy
from mssgw.store import Store, certificates
from tests.cli.desk import Node
from tests.cli.test_identity import JEANNE, LONG
from tests.smime.people import BOB, DAY, NOW, Authority, usage

WHO = Address.parse(BOB)


async def test_a_pin_wins_over_all_and_mail_does_not_undo_it(store: Store, tmp_path: Path) -> None:
    authority = Authority()
    filed, learned, pinned = (authority.issue("rsa", BOB, number=number) for number in range(3))
    filed.write(tmp_path, "bob")
    lookup = Lookup(CertificateFiles(tmp_path), Learned(store))
    await store.write(lambda tx: certificates.add(tx, WHO, learned.der, "mail", NOW))
    assert [one.certificate for one in await lookup(WHO)] == [filed.der, learned.der]
    await store.write(lambda tx: certificates.add(tx, WHO, pinned.der, certificates.PINNED, NOW))
    await store.write(lambda tx: certificates.add(tx, WHO, pinned.der, "mail", NOW + DAY))
    assert [(one.certificate, one.source) for one in await lookup(WHO)] == [(pinned.der, "pinned")]
    assert await store.write(lambda tx: certificates.forget(tx, WHO)) == 2
    assert [one.certificate for one in await lookup(WHO)] == [filed.der]


def test_the_first_that_can_be_used_is_chosen_and_the_others_say_why() -> None:
    authority = Authority()
    ended = authority.issue("rsa", BOB, end=NOW - DAY)
    signs = authority.issue("rsa", BOB, number=1, ku=usage(digital_signature=True))
    good, better = authority.issue("rsa", BOB, number=2), authority.issue("p256", BOB)
    candidates = [Candidate(one.der, "mail") for one in (ended, signs, good, better)]
    found = views(candidates, Policy(), NOW, authority.validate)
    assert [one.chosen for one in found] == [False, False, True, False]
    assert [one.refused is None for one in found] == [False, False, True, True]
    assert "expired" in found[0].detail
    assert found[2].reader
    assert found[2].reader.cipher.name == "aes256-cbc"


def test_nobody_is_chosen_under_another_authority() -> None:
    def distrust(*_):
        raise NotTrusted("unknown authority")

    (one,) = views([Candidate(Authority().issue("rsa", BOB).der, "file")], Policy(), NOW, distrust)
    assert not one.chosen
    assert one.refused
    assert "unknown authority" in one.refused.en


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made("account", "add", JEANNE, "--no-password")
    return made


def test_pin_and_forget(node: Node, tmp_path: Path) -> None:
    cert, _ = Authority().issue("rsa", BOB, **LONG).write(tmp_path, "bob")
    pinned = node("recipient", "pin", BOB, str(cert), "--json")
    assert pinned["address"] == BOB
    assert node("recipient", "forget", BOB, "--json")["certificates"] == 1
    text = str(node("trace", BOB, "--json"))
    assert "pinned" in text
    assert "forgotten" in text


def test_show(node: Node, tmp_path: Path) -> None:
    """With the trust that the node has: the test's own authority is pinned as its anchor."""
    authority = Authority(**LONG)
    (tmp_path / "anchors" / "root.pem").write_bytes(authority.pem())
    print_ = authority.cert.fingerprint(hashes.SHA256()).hex()
    lines = f'anchors = "anchors"\nanchor_fingerprints = ["{print_}"]\nrevocation = "soft"\n'
    node.config.write_text(node.config.read_text().replace('anchors = "anchors"\n', lines))
    cert, _ = authority.issue("rsa", BOB, **LONG).write(tmp_path, "bob")
    node("recipient", "pin", BOB, str(cert))
    (shown,) = node("recipient", "show", BOB, "--json")["certificates"]
    assert shown["source"] == "pinned"
    assert shown["not_after"].startswith("2999")
    assert (shown["chosen"], shown["cipher"]) == (False, None)  # the trust space takes IGC-Santé's policies alone, and says so
    assert "1.2.250.1.213.1.7.1." in shown["refused"]
    assert shown["refused_fr"]
    assert node("recipient", "show", "nobody@beta.mssante.test", "--json")["certificates"] == []


def test_a_certificate_that_only_signs_is_not_pinned(node: Node, tmp_path: Path) -> None:
    cert, _ = Authority().issue("rsa", BOB, ku=usage(digital_signature=True), **LONG).write(tmp_path, "bob")
    assert node("recipient", "pin", BOB, str(cert), "--json", status=1)["fault"] == "certificate-usage"
