"""Fuzz: every reader of octets from outside either reads what was signed or raises its own error; it never fails otherwise.

Short by default; `MSSGW_FUZZ=long` (make fuzz) runs each a hundred times longer.
"""

from __future__ import annotations

import os
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssgw.core.errors import MailError
from mssgw.demo.authority import make_answer, make_crl
from mssgw.pki import names
from mssgw.pki.certificates import Certificate, CertificateError
from mssgw.pki.judgement import Purpose
from mssgw.trust import paths, revocation, whitelist
from mssgw.trust.revocation import RevocationError, read_answer, read_crl
from tests.conftest import TestClock
from tests.fuzz import examples
from tests.trust.conftest import NONE, NOW

FACTOR = 100 if os.environ.get("MSSGW_FUZZ") == "long" else 1
short = settings(max_examples=examples(150) * FACTOR, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def mutated(draw, good):
    """`good` with a few octets cut, put in or changed somewhere."""
    at, length = draw(st.integers(0, len(good) - 1)), draw(st.integers(0, 8))
    return good[:at] + draw(st.binary(max_size=8)) + good[at + length :]


@short
@given(st.text(st.sampled_from('CNOUS=",;+\\# é\u00a0"' + string.hexdigits), max_size=60))
def test_names_as_text(text):
    try:
        names.parse(text)
    except names.NameSyntaxError:
        return


@short
@given(st.binary(max_size=80))
def test_names_as_der(octets):
    for encoded in (octets, b"\x30" + bytes([len(octets)]) + octets):
        try:
            names.from_der(encoded)
        except names.NameSyntaxError:
            continue


@short
@given(st.binary(max_size=200))
def test_certificate_outline(octets):
    try:
        Certificate(octets)
    except CertificateError:
        return


@short
@given(draw=st.data())
def test_certificates(world, draw):
    changed = draw.draw(mutated(world.alpha.der))
    if changed == world.alpha.der:
        return
    clock = TestClock(NOW)
    validator = paths.Validator(world.anchors, revocation.Ledger(clock), clock, paths.Rules(NONE, NONE, NONE))
    with pytest.raises(MailError):
        validator(changed, Purpose.RELAY_CLIENT, NOW)


@short
@given(draw=st.data())
def test_lists(world, draw):
    good = draw.draw(st.just(_signed(world)))
    try:
        found = whitelist.open_signed(draw.draw(mutated(good)))
    except MailError:
        return
    assert found.entries == whitelist.open_signed(good).entries


@short
@given(draw=st.data())
def test_crls(world, draw):
    good = _crl(world)
    changed = draw.draw(mutated(good))
    for anchor in world.anchors.every:
        try:
            crl = read_crl(changed, anchor)
        except RevocationError:
            continue
        assert crl == read_crl(good, anchor)


@short
@given(draw=st.data())
def test_ocsp_answers(world, draw):
    issuer = next(each for each in world.anchors.every if each.certificate.subject_der == world.alpha.certificate.issuer.public_bytes())
    certificate = Certificate.read(world.alpha.der)
    good = make_answer(world.pki, revocation.ocsp_request(certificate, issuer), NOW)
    try:
        answer = read_answer(draw.draw(mutated(good)), certificate, issuer, NOW)
    except RevocationError:
        return
    assert answer == read_answer(good, certificate, issuer, NOW)


_made = {}


def _signed(world):
    return _made.setdefault("list", world.signed())


def _crl(world):
    if "crl" not in _made:
        authority = world.pki.issuer_of(world.alpha.certificate)
        _made["crl"] = make_crl(authority, NOW, number=3, extra=range(5, 50))
    return _made["crl"]
