"""S/MIME where gateways, lists and openssl leave it: generic types, text after the base64, PEM lines (RFC 8551 3.2.1, 3.9)."""

from __future__ import annotations

import re
from datetime import timedelta

import pybase64
import pytest

from mssgw.core.body import Body
from mssgw.smime.errors import Reason
from mssgw.smime.files import _paired
from mssgw.smime.opening import open_now
from mssgw.smime.verdict import Verdict
from tests.smime.forge import ENTITY, clear, good, opaque, plain_attributes, signed_data, signer_info
from tests.smime.people import ALICE, DAY, NOW, Authority, Person

FOOTER = b"\r\n_______________________________________________\r\nListe cardiologie -- se desabonner : https://list.test/\r\n"


def verdict(authority: Authority, body: Body) -> Verdict:
    return open_now(body, [], authority.validate, NOW).verdict


def signed(alice: Person) -> bytes:
    return signed_data([signer_info(alice, plain_attributes(ENTITY))], [alice], ENTITY)


def test_a_detached_signature_called_octet_stream(authority: Authority, alice: Person) -> None:
    whole = clear(ENTITY, good(alice)).read()
    for changed in (
        whole.replace(b"application/pkcs7-signature; name=", b"application/octet-stream; name="),
        whole.replace(b"application/pkcs7-signature; name=", b"application/octet-stream; name=").replace(
            b'protocol="application/pkcs7-signature"; ', b""
        ),
    ):
        assert verdict(authority, Body.of(changed)).valid
    other = whole.replace(b"application/pkcs7-signature; name=smime.p7s", b"application/octet-stream; name=smime.txt")
    assert not verdict(authority, Body.of(other)).valid


def test_what_a_list_added_after_the_base64_is_a_remark(authority: Authority, alice: Person) -> None:
    found = open_now(Body.of(opaque(signed(alice)).read() + FOOTER), [], authority.validate, NOW)
    assert found.verdict.valid
    assert found.verdict.reasons == (Reason.FOOTER,)
    assert "smime=pass (text-after-cms)" in found.verdict.results("mx")
    assert b"cardiologie" not in found.readable.read()


@pytest.mark.parametrize(
    "footer", [b"\r\n-- \r\nBonne journee\r\nLise\r\n", b"\r\n[liste]\r\n" * 40, b"**\r\n", b"\r\nListe\r\nde cardiologie\r\n"]
)
def test_footers_of_other_shapes(authority: Authority, alice: Person, footer: bytes) -> None:
    assert verdict(authority, Body.of(opaque(signed(alice)).read() + footer)).valid


def test_odd_octets_inside_the_base64_are_still_no_pass(authority: Authority, alice: Person) -> None:
    head, _, text = opaque(signed(alice)).read().partition(b"\r\n\r\n")
    lines = text.split(b"\r\n")
    for changed in (
        b"\r\n".join([*lines[:3], b"!-", *lines[3:]]),
        b"\r\n".join([*lines[:3], FOOTER, *lines[3:]]),
        text + FOOTER + pybase64.encodebytes(signed(alice)).replace(b"\n", b"\r\n"),
    ):
        assert not verdict(authority, Body.of(head + b"\r\n\r\n" + changed)).valid


def test_pem_lines_in_a_p7m(authority: Authority, alice: Person) -> None:
    head, _, text = opaque(signed(alice)).read().partition(b"\r\n\r\n")
    pem = b"-----BEGIN PKCS7-----\r\n" + text.rstrip() + b"\r\n-----END PKCS7-----\r\n"
    plain = re.sub(rb"(?i)content-transfer-encoding: base64", b"Content-Transfer-Encoding: 7bit", head)
    found = open_now(Body.of(plain + b"\r\n\r\n" + pem), [], authority.validate, NOW)
    assert found.verdict.valid
    assert b"Bonjour" in found.readable.read()
    twice = open_now(Body.of(head + b"\r\n\r\n" + pem), [], authority.validate, NOW)  # base64 that is none: read, and no pass
    assert b"Bonjour" in twice.readable.read()
    assert Reason.AMBIGUOUS in twice.verdict.reasons


def test_base64_that_nobody_declared(authority: Authority, alice: Person) -> None:
    whole = re.sub(rb"(?i)content-transfer-encoding: base64\r\n", b"", opaque(signed(alice)).read())
    assert verdict(authority, Body.of(whole)).valid


def test_of_two_certificates_with_one_key_the_one_valid_at_the_time_signs(authority: Authority) -> None:
    """Regression: the first of them counted, which had expired a second before its successor began."""
    old = authority.issue("rsa", ALICE, end=NOW - timedelta(seconds=1))
    new = authority.issue("rsa", ALICE, start=NOW, end=NOW + 300 * DAY)
    by_key = b"\x80\x14" + (new.certificate.key_id or b"")
    for order in ([old, new], [new, old]):
        cms = signed_data([signer_info(new, plain_attributes(ENTITY), sid=by_key)], order)
        found = verdict(authority, clear(ENTITY, cms))
        assert found.valid
        assert found.signers[0].fingerprint == new.certificate.fingerprint


def test_of_two_certificates_with_one_key_in_a_file_the_valid_one_is_the_holder(authority: Authority) -> None:
    gone, valid = (
        authority.issue("rsa", ALICE, start=NOW - 3000 * DAY, end=NOW - 2900 * DAY),
        authority.issue("rsa", ALICE, start=NOW - 2800 * DAY, end=NOW + 30000 * DAY),
    )
    for order in ([gone, valid], [valid, gone]):
        assert _paired([one.certificate for one in order], [valid.key], NOW).certificate == valid.certificate
