"""Path validation against suites that others wrote: NIST PKITS, x509-limbo, and the real certificates of IGC-Santé.

The rule: what a suite refuses, we never accept. Where we refuse more, the tables give the reason. In our validator every
authority is pinned, so a suite's intermediates become anchors under the suite's roots.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from datetime import UTC, datetime

import pytest

from mssgw.core.errors import MailError
from mssgw.pki.certificates import Certificate, CertificateError
from mssgw.pki.judgement import Purpose
from mssgw.trust import anchors, paths, revocation
from mssgw.trust.faults import Fault, fault_of
from tests.conftest import TestClock
from tests.material import place
from tests.needs import shared
from tests.trust.conftest import NONE


def judge(pinned, leaf, purpose, at, crls=(), policies=frozenset(), mode="hard"):
    """The evidence or the exception, under these anchors and CRLs."""
    clock = TestClock(at)
    ledger = revocation.Ledger(clock)
    for octets in crls:
        for anchor in pinned.every:
            try:
                ledger.add_crl(revocation.read_crl(octets, anchor))
            except revocation.RevocationError:
                continue
    rule = revocation.Rule(mode)
    return paths.Validator(pinned, ledger, clock, paths.Rules(rule, rule, rule, policies))(leaf, purpose, at)


# -- NIST PKITS ------------------------------------------------------------------------------------------------------

PKITS = place("crypto/pkits")
PKITS_CASES = json.loads((PKITS / "pkits.json").read_text()) if PKITS.exists() else []
# Valid in the suite, refused here: sections of PKITS, each with the decision behind it.
PKITS_STRICTER = {
    "401": "DSA is not an algorithm of the national guide",
    "403": "names of issuer and authority are compared octet by octet: pinned authorities have one spelling",
    "404": "one CRL per authority, signed by the authority's own key",
    "405": "self-issued (roll-over) authorities: a new authority is pinned, not chained from the old one",
    "406": "BasicConstraints must be critical; paths are at most four authorities deep; an authority is no peer",
    "408": "policy constraints of authorities are not implemented, so such an authority is left out; initial policies must be met",
    "409": "as 408",
    "410": "as 408 (policy mappings)",
    "411": "as 408",
    "412": "as 408",
    "413": "name constraints are not implemented, so such an authority is left out",
    "414": "no indirect CRLs, none for some reasons only, none named by directory names",
    "415": "delta CRLs are not read; a certificate that needs one can't be judged",
}
PKITS_ACCEPTED_AT_LEAST = 22


def pkits_verdict(case):
    pinned = []
    for name in ("TrustAnchorRootCertificate.crt", *case.get("other_certs", ())):
        try:
            pinned.append(Certificate.read((PKITS / "certs" / name).read_bytes()))
        except CertificateError:
            continue
    given = case.get("params", {})
    asked = given.get("user_initial_policy_set") or ([paths.ANY_POLICY] if given.get("initial_explicit_policy") else ())
    crls = [(PKITS / "crls" / name).read_bytes() for name in {"TrustAnchorRootCRL.crl", *case.get("crls", ())}]
    leaf, at = (PKITS / "certs" / case["cert"]).read_bytes(), datetime(2020, 1, 1, tzinfo=UTC)
    try:
        judge(anchors.build(pinned), leaf, Purpose.MAIL_SIGN, at, crls, frozenset(asked))
    except MailError:
        return False
    return True


@pytest.mark.material("crypto/pkits")
@pytest.mark.parametrize("case", PKITS_CASES, ids=lambda case: case["id"] + "-" + case["name"])
def test_pkits(case):  # RFC 5280 6.1
    accepted, valid = pkits_verdict(case), "error" not in case
    if not valid:
        assert not accepted
    elif not accepted:
        assert case["id"][:3] in PKITS_STRICTER


@pytest.mark.material("crypto/pkits")
def test_pkits_is_not_refused_as_a_whole():
    assert sum(pkits_verdict(case) for case in PKITS_CASES if "error" not in case) >= PKITS_ACCEPTED_AT_LEAST


# -- x509-limbo ------------------------------------------------------------------------------------------------------

LIMBO = place("crypto/x509-limbo/limbo-nobettertls.json.gz")
LIMBO_CASES = json.loads(gzip.decompress(LIMBO.read_bytes()))["testcases"] if LIMBO.exists() else []
# Refused by the suite for something our validator is not asked: an operator is known by its listed subject, never by
# a host name (docs/reference/mssante.md 1.5), so names in SAN and CN, and rules of the CA/Browser Forum about them, don't apply.
LIMBO_NOT_ASKED = {
    re.compile(r"webpki::cn::"): "CA/B Forum: the CN repeats a SAN",
    re.compile(r"webpki::san::(mismatch|public-suffix|wildcard|unicode|san-wildcard|no-san)"): "matching of a host name",
    re.compile(r"webpki::san::san-critical-with-nonempty-subject"): "CA/B Forum; RFC 5280 4.2.1.6 only says SHOULD",
    re.compile(r"webpki::eku::ee-critical-eku"): "CA/B Forum; RFC 5280 4.2.1.12 allows it",
    re.compile(r"rfc5280::san::(underscore-dns|ip-in-dns)"): "spelling of host names, which are never used",
    re.compile(r"pathlen::max-chain-depth"): "a maximum depth as an input: ours is fixed",
}
LIMBO_STRICTER = {
    re.compile(r"::nc::"): "name constraints are not implemented, so such an authority is left out",
    re.compile(r"issuer-no-keyusage"): "an authority must say that it may sign certificates",
    re.compile(r"cve-2024-0567|self-issued|root-and-intermediate-swapped"): "cross-signed or self-issued authorities: nobody pins those",
    re.compile(r"pathlen-in-leaf|ca-as-leaf"): "an authority is no peer",
    re.compile(r"ee-without-eku|no-keyusage"): "a relay's certificate must say what it is for",
    re.compile(r"notafter-fractional"): "a certificate ends with the last second that it names",
    re.compile(r"online::|cryptographydotio"): "public authorities restrict their extended key usages: not implemented, so left out",
}


def limbo_verdict(case):
    def der(pem):
        return base64.b64decode(re.sub(r"-----[^-]+-----", "", pem))

    pinned = []
    for pem, trusted in [(pem, True) for pem in case["trusted_certs"]] + [(pem, False) for pem in case["untrusted_intermediates"]]:
        try:
            certificate = Certificate.read(der(pem))
        except CertificateError:
            continue
        if certificate.is_ca and (trusted or not certificate.self_signed):
            pinned.append(certificate)
    at = datetime.fromisoformat(case["validation_time"]) if case["validation_time"] else datetime(2026, 1, 1, tzinfo=UTC)
    purpose = Purpose.RELAY_SERVER if case["validation_kind"] == "SERVER" else Purpose.RELAY_CLIENT
    try:
        judge(
            anchors.build(pinned),
            der(case["peer_certificate"]),
            purpose,
            at,
            [der(pem) for pem in case["crls"]],
            mode="hard" if case["crls"] else "none",
        )
    except MailError:
        return False
    return True


@pytest.mark.parametrize("case", LIMBO_CASES, ids=lambda case: case["id"])
@pytest.mark.material("crypto/x509-limbo")
def test_limbo(case):
    accepted, valid = limbo_verdict(case), case["expected_result"] == "SUCCESS"
    if accepted and not valid:
        assert any(pattern.match(case["id"]) for pattern in LIMBO_NOT_ASKED)
    if valid and not accepted:
        assert any(pattern.search(case["id"]) for pattern in LIMBO_STRICTER)


# -- the real certificates -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
@shared("crypto/igc-sante")
def igc():
    return anchors.load(place("crypto/igc-sante"), "igc-sante")


def real(name):
    return (place("crypto/igc-sante") / name).read_bytes()


def test_the_nine_authorities_stand_and_nothing_is_left_out(igc):
    assert (len(igc.roots), len(igc.every), igc.left_out) == (3, 9, ())


@pytest.mark.material("crypto/igc-sante")
def test_the_whitelist_signer_of_2023_is_good_while_it_was_valid(igc):
    at = datetime(2025, 3, 1, tzinfo=UTC)
    evidence = judge(igc, real("prod-org-sign-whitelist-signer.der"), Purpose.LIST_SIGN, at, mode="none")
    assert evidence.subject.startswith("CN=alb.mssante.fr,OU=347976684200724")


REAL = [  # certificate, purpose, time, the fault
    ("prod-org-sign-whitelist-signer.der", Purpose.LIST_SIGN, datetime(2026, 9, 1, tzinfo=UTC), Fault.EXPIRED),
    ("prod-org-sign-whitelist-signer.der", Purpose.LIST_SIGN, datetime(2023, 8, 1, tzinfo=UTC), Fault.NOT_YET_VALID),
    ("prod-org-sign-whitelist-signer.der", Purpose.RELAY_CLIENT, datetime(2025, 3, 1, tzinfo=UTC), Fault.WRONG_USAGE),
    ("prod-org-sign-whitelist-signer.der", Purpose.MAIL_ENCRYPT, datetime(2025, 3, 1, tzinfo=UTC), Fault.WRONG_USAGE),
    # The test PKI never passes for production (docs/reference/crypto.md 9.30).
    ("test-serv-ssl.der", Purpose.RELAY_SERVER, datetime(2019, 1, 1, tzinfo=UTC), Fault.FOREIGN),
    ("test-org-auth-cli.der", Purpose.RELAY_CLIENT, datetime(2026, 1, 1, tzinfo=UTC), Fault.FOREIGN),
    ("test-cps-personne-fort-signature.der", Purpose.MAIL_SIGN, datetime(2021, 1, 1, tzinfo=UTC), Fault.FOREIGN),
]


@pytest.mark.parametrize(("name", "purpose", "at", "fault"), REAL)
@pytest.mark.material("crypto/igc-sante")
def test_real_certificates_are_refused_for_the_right_reason(igc, name, purpose, at, fault):
    with pytest.raises(MailError) as caught:
        judge(igc, real(name), purpose, at, mode="none")
    assert fault_of(caught.value) is fault


@pytest.mark.material("crypto/igc-sante")
def test_a_card_of_2013_that_nobody_can_parse_is_refused_not_a_crash(igc):
    with pytest.raises(MailError) as caught:
        judge(igc, real("test-cps2ter-authentification.der"), Purpose.MAIL_SIGN, datetime(2014, 1, 1, tzinfo=UTC), mode="none")
    assert fault_of(caught.value) in (Fault.UNREADABLE, Fault.FOREIGN, Fault.MALFORMED)


def test_a_person_may_not_relay_nor_sign_the_list(world, clock):
    rules = paths.Rules(NONE, NONE, NONE)
    pinned = anchors.Anchors("igc-sante-test", world.anchors.every)
    validator = paths.Validator(pinned, revocation.Ledger(clock), clock, rules)
    with pytest.raises(MailError) as caught:
        validator(world.martin.der, Purpose.LIST_SIGN, clock.now())
    assert fault_of(caught.value) is Fault.WRONG_POLICY
