"""The signed list: what is refused and why (docs/reference/crypto.md 7, 9.23), and what of the real list's quirks survives."""

from __future__ import annotations

import re
import signal
import subprocess
from datetime import timedelta

import pytest
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod

from mssgw.core.errors import NotTrusted
from mssgw.demo.pki import Pki
from mssgw.demo.whitelist import NAMESPACE, ListEntry, quirky, render, sign
from mssgw.trust import whitelist
from mssgw.trust.faults import Fault, fault_of
from mssgw.trust.space import TrustSpace
from tests.material import place
from tests.trust.conftest import NOW

SIGNERS = ("alb.mssante.test",)
DSIG = "{http://www.w3.org/2000/09/xmldsig#}"


@pytest.fixture
def verify(validator):
    def verify(octets, **options):
        return whitelist.verify(octets, validator, SIGNERS, NOW, **options)

    return verify


@pytest.fixture(scope="module")
def good(world):
    return world.signed()


def refused(verify, octets, fault, *words, **options):
    """Asserts a refusal with that fault, whose sentence is one line of ASCII and holds these words."""
    with pytest.raises(NotTrusted) as caught:
        verify(octets, **options)
    text = caught.value.reply.text
    assert fault_of(caught.value) is fault, text
    assert text.isascii()
    assert text.isprintable()
    for word in words:
        assert word in text


def edited(octets, change):
    """The list after `change` was done to its tree; `change` may return another root."""
    root = etree.fromstring(octets)
    changed = change(root)
    return etree.tostring(root if changed is None else changed)


# -- what holds ------------------------------------------------------------------------------------------------------


def test_a_good_list_holds_and_names_its_signer(verify, good):
    found = verify(good)
    assert [entry.domain for entry in found.entries] == ["alpha.mssante.test", "gamma.mssante.test"]
    assert found.generated_at == NOW - timedelta(days=1)
    assert found.signer.subject.startswith("CN=alb.mssante.test,")


@pytest.mark.parametrize("returns", [True, False])
def test_carriage_returns_in_base64_are_java_on_windows(verify, world, returns):
    octets = world.signed(carriage_returns=returns)
    assert (b"&#13;\n" in octets) is returns
    assert len(verify(octets).entries) == 2


@pytest.mark.parametrize("method", [SignatureMethod.RSA_SHA384, SignatureMethod.RSA_SHA512])
def test_stronger_algorithms_only_by_setting(verify, world, method):
    octets = world.signed(method=method, digest=DigestAlgorithm.SHA512)
    assert len(verify(octets).entries) == 2
    refused(verify, octets, Fault.SIGNATURE, "is not accepted", stronger=False)


def test_every_quirk_of_the_real_list_at_once(verify, world):
    found = verify(world.signed(list(quirky(2000))))
    space = TrustSpace.of(found)
    assert (len(found.entries), found.left_out, space.unreadable) == (2000, (), ())
    assert any("<b>" in entry.description for entry in found.entries)
    assert max(len(entry.description) for entry in found.entries) == 255
    assert max(len(operators) for operators in space.domains.values()) > 1


def test_an_entry_that_cannot_be_read_is_reported_and_the_others_count(verify, world):
    bad = [
        ListEntry("under_score.mssante.test", "CN=a,OU=1,C=FR"),
        ListEntry("b.mssante.test", ""),
        ListEntry("c.mssante.test", "no name at all"),
        ListEntry("é.mssante.test", "CN=a,OU=1,C=FR"),
        ListEntry("d.mssante.test", "CN=" + "x" * 1030),
    ]
    space = TrustSpace.of(verify(world.signed([*world.entries(), *bad])))
    assert "alpha.mssante.test" in space.domains
    reported = {what.partition(".")[0] for what, _ in space.unreadable}
    assert reported == {"under_score", "b", "c", "d"}


def test_duplicates_and_domains_outside_mssante_fr(verify, world):
    entries = [*world.entries(), *world.entries(), ListEntry("MSSANTE.apicrypt.org", "CN=mailin.apicrypt.org,OU=3,C=FR")]
    space = TrustSpace.of(verify(world.signed(entries)))
    assert len(space.domains) == 3
    assert len(space.domains["alpha.mssante.test"]) == 1
    assert space.require_listed("mssante.apicrypt.org")


async def test_apart_has_the_same_result(good):
    assert await whitelist.open_apart(good) == whitelist.open_signed(good, contacts=False)


async def test_apart_refuses_the_same(good):
    with pytest.raises(NotTrusted) as caught:
        await whitelist.open_apart(good.replace(b"alpha.mssante", b"omega.mssante"))
    assert fault_of(caught.value) is Fault.SIGNATURE
    assert "changed after it was signed" in caught.value.reply.text


async def test_a_signal_to_the_whole_service_is_no_fault_of_the_list(good, monkeypatch):
    """Regression: a stop of the service while a list was read was an error in the log, and used up an administrator's acceptance."""
    for number in (signal.SIGTERM, signal.SIGINT):
        monkeypatch.setattr(whitelist.subprocess, "run", lambda *_, n=number, **__: subprocess.CompletedProcess((), -n, b"", b""))
        with pytest.raises(whitelist.Stopped):
            await whitelist.open_apart(good)
    monkeypatch.setattr(whitelist.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess((), -signal.SIGKILL, b"", b""))
    with pytest.raises(OSError, match="status -9"):
        await whitelist.open_apart(good)


# -- the shared negative lists ---------------------------------------------------------------------------------------


@pytest.mark.material("mssante/listeblanche-excerpt-readable.not-signed-valid.xml")
def test_excerpt_of_the_real_list_is_refused_because_it_was_changed(verify):
    octets = place("mssante/listeblanche-excerpt-readable.not-signed-valid.xml").read_bytes()
    refused(verify, octets, Fault.SIGNATURE, "changed after it was signed", "digest")


@pytest.mark.material("mssante/listeblanche-2025-02-28-xmlns-as-element.invalid.xml")
def test_list_after_a_json_round_trip_is_refused_because_its_namespace_is_gone(verify):
    octets = place("mssante/listeblanche-2025-02-28-xmlns-as-element.invalid.xml").read_bytes()
    refused(verify, octets, Fault.NOT_A_LIST, "root element", NAMESPACE)


# -- attacks on the signature ----------------------------------------------------------------------------------------


def test_one_octet_changed(verify, good):
    refused(verify, good.replace(b"gamma.mssante.test</Nom>", b"gamme.mssante.test</Nom>"), Fault.SIGNATURE, "changed after it was signed")


def test_signature_value_changed(verify, good):
    changed = re.sub(rb"(<SignatureValue>)(.)", lambda found: found[1] + (b"A" if found[2] != b"A" else b"B"), good)
    refused(verify, changed, Fault.SIGNATURE, "signature value")


def test_no_signature(verify, world):
    refused(verify, render(world.entries(), NOW), Fault.SIGNATURE, "there is none")


def test_second_signature(verify, good):  # XML-DSig
    def twice(root):
        root.append(etree.fromstring(etree.tostring(root.find(f"{DSIG}Signature"))))

    refused(verify, edited(good, twice), Fault.SIGNATURE, "2 signatures")


def test_moved_signature(verify, good):
    def moved(root):
        root.find(f"{{{NAMESPACE}}}ListeDomaines").append(root.find(f"{DSIG}Signature"))

    refused(verify, edited(good, moved), Fault.SIGNATURE, "not a child of the root")


def test_wrapped_list_in_an_evil_root(verify, good, world):
    """The signed list as a child of a forged one: the classic wrapping attack."""

    def wrapped(root):
        evil = etree.fromstring(render([ListEntry("evil.test", "CN=evil,OU=1,C=FR")], NOW))
        evil.append(root)
        return evil

    refused(verify, edited(good, wrapped), Fault.SIGNATURE, "not a child of the root")


def test_wrapped_list_inside_the_signature(verify, good):
    """Forged content outside, the signed original hidden in an Object of its own signature."""

    def wrapped(root):
        evil = etree.fromstring(render([ListEntry("evil.test", "CN=evil,OU=1,C=FR")], NOW))
        signature = root.find(f"{DSIG}Signature")
        root.remove(signature)
        hidden = etree.SubElement(signature, f"{DSIG}Object", Id="original")
        hidden.append(root)
        evil.append(signature)
        return evil

    refused(verify, edited(good, wrapped), Fault.SIGNATURE, "expected SignedInfo, SignatureValue, KeyInfo")


@pytest.mark.parametrize("uri", ["#x", "http://127.0.0.1/list.xml", "file:///etc/passwd", "#xpointer(/)", None])
def test_external_or_partial_reference(verify, good, uri):
    def referring(root):
        reference = root.find(f".//{DSIG}Reference")
        if uri is None:
            del reference.attrib["URI"]
        else:
            reference.set("URI", uri)

    refused(verify, edited(good, referring), Fault.SIGNATURE, "not the whole document")


def test_second_reference(verify, good):
    def doubled(root):
        info = root.find(f".//{DSIG}SignedInfo")
        info.append(etree.fromstring(etree.tostring(info.find(f"{DSIG}Reference"))))

    refused(verify, edited(good, doubled), Fault.SIGNATURE, "SignedInfo holds")


@pytest.mark.parametrize(
    "algorithm",
    [
        "http://www.w3.org/TR/1999/REC-xslt-19991116",
        "http://www.w3.org/TR/1999/REC-xpath-19991116",
        "http://www.w3.org/2002/06/xmldsig-filter2",
        "http://www.w3.org/2000/09/xmldsig#base64",
    ],
)
def test_injected_transform(verify, good, algorithm):
    def replaced(root):
        root.findall(f".//{DSIG}Transform")[1].set("Algorithm", algorithm)

    def added(root):
        etree.SubElement(root.find(f".//{DSIG}Transforms"), f"{DSIG}Transform", Algorithm=algorithm)

    refused(verify, edited(good, replaced), Fault.SIGNATURE, "transforms")
    refused(verify, edited(good, added), Fault.SIGNATURE, "Transforms holds")


def test_hmac_confusion(verify, good):
    """The public key as an HMAC secret: the method is refused before any key is looked at."""
    changed = good.replace(b"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", b"http://www.w3.org/2001/04/xmldsig-more#hmac-sha256")
    refused(verify, changed, Fault.SIGNATURE, "hmac-sha256", "not accepted")


@pytest.mark.parametrize(
    ("what", "weak"),
    [
        (b"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", b"http://www.w3.org/2000/09/xmldsig#rsa-sha1"),
        (b"http://www.w3.org/2001/04/xmlenc#sha256", b"http://www.w3.org/2000/09/xmldsig#sha1"),
    ],
)
def test_weak_algorithms(verify, good, what, weak):
    refused(verify, good.replace(what, weak), Fault.SIGNATURE, "sha1 is not accepted")


def test_key_value_beside_the_certificate(verify, good):
    def added(root):
        etree.SubElement(root.find(f".//{DSIG}KeyInfo"), f"{DSIG}KeyValue")

    refused(verify, edited(good, added), Fault.SIGNATURE, "KeyInfo holds")


def test_comment_in_a_name_is_harmless(verify, good):
    """Canonicalisation drops comments, so the signature holds; the whole name is read, as it was signed."""
    changed = good.replace(b"<Nom>alpha.mssante.test", b"<Nom>alpha<!-- x -->.mssante.test").replace(b"CN=mx.gamma", b"CN=mx<!---->.gamma")
    assert [entry.domain for entry in verify(changed).entries] == ["alpha.mssante.test", "gamma.mssante.test"]
    assert verify(changed).entries == verify(good).entries


def test_processing_instruction_in_a_name_is_refused(verify, world):
    """Refused even when the authority itself signed it: a part of a name is another name."""
    unsigned = render(world.entries(), NOW).replace(b"<Nom>alpha.mssante.test", b"<Nom>evil.test<?x?>.mssante.test")
    refused(verify, sign(unsigned, world.signer), Fault.NOT_A_LIST, "more than text")


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + f']><ListeBlancheMSSante xmlns="{NAMESPACE}">&j;</ListeBlancheMSSante>'
).encode()


def test_dtd_bomb(verify):
    refused(verify, BOMB, Fault.NOT_A_LIST, "document type declaration")


def test_external_entity(verify, good):
    changed = good.replace(b"<ListeBlanche", b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><ListeBlanche', 1)
    refused(verify, changed.replace(b"<Description>", b"<Description>&e;", 1), Fault.NOT_A_LIST, "document type declaration")


@pytest.mark.parametrize("octets", [b"", b"<", b"<html><body>Incapsula</body></html>", b"\x00" * 100, b"<x/>", "liste".encode("utf-16")])
def test_what_is_no_list_at_all(verify, octets):
    refused(verify, octets, Fault.NOT_A_LIST)


def test_too_large(verify, good):
    refused(verify, good, Fault.NOT_A_LIST, "more than 1,000", limit=1000)


def test_deep_nesting(verify):
    refused(verify, b"<a>" * 100_000, Fault.NOT_A_LIST, "not well-formed")


@pytest.mark.parametrize("date", ["", "hier", "2026-11-21", "2026-11-21T12:00:00+01:00"])
def test_a_date_that_is_none(verify, world, date):
    unsigned = re.sub(rb"(<DateDeGeneration>)[^<]*", lambda found: found[1] + date.encode(), render(world.entries(), NOW))
    refused(verify, sign(unsigned, world.signer), Fault.NOT_A_LIST, "DateDeGeneration")


def test_an_empty_list(verify, world):
    refused(verify, world.signed([]), Fault.NOT_A_LIST, "no domain")


# -- the signer ------------------------------------------------------------------------------------------------------


def test_signer_of_another_pki(verify, world):
    refused(
        verify, world.signed(signer=Pki(prefix="AUTRE").list_signer()), Fault.FOREIGN, "The certificate was issued by", "AUTRE AC IGC-SANTE"
    )


def test_signer_with_another_name(verify, world):
    refused(verify, world.signed(signer=world.seal), Fault.SIGNER, "trust.signer_common_names")


def test_an_operator_signs_the_list(verify, world):
    refused(verify, world.signed(signer=world.alpha), Fault.WRONG_USAGE, "emailProtection")


def test_signer_expired(verify, world):
    signer = world.pki.list_signer(not_before=NOW - timedelta(days=90), not_after=NOW - timedelta(hours=1))
    refused(verify, world.signed(signer=signer), Fault.EXPIRED, "2026-11-22")


def test_a_list_of_an_expired_signer_holds_at_its_own_time(validator, world):
    signer = world.pki.list_signer(not_before=NOW - timedelta(days=90), not_after=NOW - timedelta(hours=1))
    octets = world.signed(signer=signer)
    assert whitelist.verify(octets, validator, SIGNERS, NOW - timedelta(days=1)).entries
