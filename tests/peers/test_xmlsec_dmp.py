"""xmlsec1 (a C library nobody here wrote) verifies our VIHF and our submission signatures, and sees a changed byte."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dmp_connector.client import Call
from dmp_connector.model import (
    AccessMode,
    Actor,
    AuthenticationMode,
    Author,
    Code,
    Document,
    DocumentEntry,
    Dtm,
    Ins,
    InsKind,
    Institution,
    Person,
    Practitioner,
    Structure,
    SubmissionSet,
)
from dmp_connector.proof import practitioner, vihf, xades
from dmp_connector.settings import Software, VihfSettings
from dmp_connector.signer import Algorithm, FileSigner
from dmp_connector.wire import soap
from tests.dmp.pki import Root

pytestmark = pytest.mark.peer("xmlsec1")
SAML = "urn:oasis:names:tc:SAML:2.0:assertion:Assertion"
INS = Ins("279035121518989", InsKind.NIR_TEST)
DOCTOR = Practitioner(
    "899700367909",
    "D'HÉRAULT & <FILS>",
    "ZOÉ",
    Code("10", "1.2.250.1.71.1.2.7", "Médecin"),
    Code("SM26", "1.2.250.1.71.4.2.5", "Générale (SM)"),
)
STRUCTURE = Structure("10B0073160", "HÔPITAL «TEST»", Code("SA07", "1.2.250.1.71.4.2.4", "Cabinet"))


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> tuple[FileSigner, Path]:
    root = Root()
    leaf = root.issue("CACHET, TEST", signature=True)
    anchor = tmp_path_factory.mktemp("xmlsec") / "ca.pem"
    anchor.write_bytes(root.pem)
    return FileSigner(leaf.certificate, leaf.key), anchor


def verify(file: Path, anchor: Path, *ids: str) -> subprocess.CompletedProcess[str]:
    options = [option for name in ids for option in ("--id-attr:" + name.partition("=")[0], name.partition("=")[2])]
    return subprocess.run(
        ["xmlsec1", "--verify", *options, "--trusted-pem", str(anchor), "--enabled-key-data", "x509", "--ignore-manifests", str(file)],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("authentication", list(AuthenticationMode))
@pytest.mark.parametrize("mode", list(AccessMode))
def test_vihf_alone_and_inside_its_envelope(signer, tmp_path: Path, authentication, mode) -> None:
    key, anchor = signer
    now = datetime.now(UTC)
    call = Call(Actor(DOCTOR, STRUCTURE, authentication, now), INS, mode, secret=True)
    assertion = vihf.assertion(call, key, Software(homologation="H-1"), VihfSettings(), now)
    envelope = soap.compose(b'<x xmlns="urn:x" xmlns:wsa="urn:other"/>', action="urn:a", to="https://x", assertion=assertion)
    for name, content in (("alone.xml", assertion), ("envelope.xml", envelope)):
        file = tmp_path / name
        file.write_bytes(content)
        result = verify(file, anchor, f"ID={SAML}")
        assert result.returncode == 0, result.stderr
        file.write_bytes(content.replace(b"899700367909", b"899700000017"))
        assert verify(file, anchor, f"ID={SAML}").returncode != 0


def test_the_statement_of_a_card_for_insi(signer, tmp_path: Path) -> None:
    key, anchor = signer
    holder = practitioner.CardHolder("899700367909", "991130972", "01", "SA07")
    content = soap.compose(b'<x xmlns="urn:x"/>', action="urn:a", assertion=practitioner.assertion(holder, key, datetime.now(UTC)))
    file = tmp_path / "insi.xml"
    file.write_bytes(content)
    result = verify(file, anchor, f"ID={SAML}")
    assert result.returncode == 0, result.stderr
    file.write_bytes(content.replace(b"991130972", b"991130973"))
    assert verify(file, anchor, f"ID={SAML}").returncode != 0


def test_sha1_for_old_servers(signer, tmp_path: Path) -> None:
    key, anchor = signer
    now = datetime.now(UTC)
    call = Call(Actor(DOCTOR, STRUCTURE, AuthenticationMode.DIRECT, now), INS)
    file = tmp_path / "sha1.xml"
    file.write_bytes(vihf.assertion(call, key, Software(), VihfSettings(algorithm=Algorithm.RSA_SHA1), now))
    result = verify(file, anchor, f"ID={SAML}")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_signature01(signer, tmp_path: Path, algorithm: Algorithm) -> None:
    key, anchor = signer
    now = datetime.now(UTC)
    author = Author(Person.of(DOCTOR), Institution.of(STRUCTURE))
    code = Code("x", "1.2")
    entry = DocumentEntry("1.2.3.4", INS, "T", code, code, code, Dtm.of(now), (author,), STRUCTURE.sector, code, Dtm.of(now))
    documents = [Document(replace(entry, unique_id=f"1.2.3.{n}").describing(b"<a/>"), b"<a/>") for n in range(3)]
    submission = SubmissionSet("1.2.3.9", "1.2.3", INS, code, author, Dtm.of(now))
    signature = xades.signature_document(submission, documents, key, algorithm, now, unique_id="1.2.3.10")
    file = tmp_path / "signature.xml"
    ids = ("Id=http://www.w3.org/2000/09/xmldsig#:Manifest", "Id=http://uri.etsi.org/01903/v1.1.1#:SignedProperties")
    file.write_bytes(signature.content)
    result = verify(file, anchor, *ids)
    assert result.returncode == 0, result.stderr
    assert "SignedInfo References (ok/all): 2/2" in result.stderr + result.stdout
    file.write_bytes(signature.content.replace(b"urn:oid:1.2.3.0", b"urn:oid:1.2.3.7"))
    assert verify(file, anchor, *ids).returncode != 0
