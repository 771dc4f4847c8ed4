"""xmlsec1 as a second opinion on lists: we verify what it verifies, and it verifies what our demo's authority signs."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime

import pytest

from mssgw.core.errors import NotTrusted
from mssgw.demo.pki import Pki
from mssgw.demo.whitelist import quirky, render, sign
from mssgw.trust import whitelist

pytestmark = pytest.mark.peer("xmlsec1")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    directory = tmp_path_factory.mktemp("xmlsec1")
    pki = Pki()
    signer = pki.list_signer()
    pki.write_anchors(directory)
    return directory, sign(render(quirky(500), datetime.now(UTC)), signer)


def xmlsec1(directory, octets, *options):
    (directory / "list.xml").write_bytes(octets)
    command = [
        shutil.which("xmlsec1"),
        "--verify",
        "--trusted-pem",
        directory / "ACR-EL.pem",
        "--untrusted-pem",
        directory / "ACI-EL-ORG.pem",
        *options,
        directory / "list.xml",
    ]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def ours(octets):
    try:
        whitelist.open_signed(octets)
    except NotTrusted:
        return False
    return True


def test_both_verify_our_list(scene):
    directory, octets = scene
    assert xmlsec1(directory, octets)
    assert ours(octets)


@pytest.mark.parametrize(
    "change",
    [
        (b"etablissement-1.", b"etablissement-l."),
        (b"<SignatureValue>", b"<SignatureValue>AAAA"),
        (b"<DigestValue>", b"<DigestValue>A"),
        (b"DateMAJ>2026", b"DateMAJ>2027"),
    ],
)
def test_neither_verifies_a_changed_one(scene, change):
    directory, octets = scene
    changed = octets.replace(*change, 1)
    assert changed != octets
    assert not xmlsec1(directory, changed)
    assert not ours(changed)


def test_we_verify_a_list_that_xmlsec1_signed(tmp_path):
    pki = Pki()
    signer = pki.list_signer()
    signer.write(tmp_path, "signer")
    (tmp_path / "one.pem").write_bytes(signer.pem)
    template = sign(render(quirky(20), datetime.now(UTC)), signer, carriage_returns=False)
    import re

    for element in (b"DigestValue", b"SignatureValue", b"X509Data"):
        template = re.sub(b"<" + element + b">.*?</" + element + b">", b"<" + element + b"/>", template, flags=re.DOTALL)
    (tmp_path / "template.xml").write_bytes(template)
    subprocess.run(
        [
            "xmlsec1",
            "--sign",
            "--privkey-pem",
            f"{tmp_path / 'signer.key'},{tmp_path / 'one.pem'}",
            "--output",
            tmp_path / "signed.xml",
            tmp_path / "template.xml",
        ],
        check=True,
        capture_output=True,
    )
    assert len(whitelist.open_signed((tmp_path / "signed.xml").read_bytes()).entries) == 20
