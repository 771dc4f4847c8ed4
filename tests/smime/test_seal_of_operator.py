"""ADR 17: the seal of the organisation that the whitelist ties to the domain of From, and of nobody else."""

from __future__ import annotations

from datetime import datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mssgw.core.body import Body
from mssgw.flow.binding import of_whitelist
from mssgw.flow.shown import DOUBTFUL, SEALED, SIGNED, keywords
from mssgw.smime.directories.binding import Binding
from mssgw.smime.opening import Opened, open_now
from mssgw.trust.space import build
from mssgw.trust.whitelist import Entry
from tests.smime.forge import ENTITY, clear, good
from tests.smime.people import ALICE, NOW, Authority, Person

OURS, OTHERS = "318751275100020", "347976684200724"
LIST = [
    Entry("alpha.mssante.test", f"CN=mx.alpha.mssante.test,OU={OURS},O=C.H. DE CADILLAC,ST=Gironde (33),C=FR"),
    Entry("beta.mssante.test", f"CN=mx.beta.mssante.test,OU={OTHERS},O=AUTRE,ST=Paris (75),C=FR"),
]


def seal(authority: Authority, structure: str, **more: str) -> Person:
    attributes = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "C.H. DE CADILLAC"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, structure),
        *(x509.NameAttribute(getattr(NameOID, kind), value) for kind, value in more.items()),
        x509.NameAttribute(NameOID.COMMON_NAME, "seal"),
    ]
    return authority.issue("rsa", "boite@chu.mssante.test", cn=x509.Name(attributes), number=5)


def opened(authority: Authority, body: Body) -> Opened:
    space = build(LIST, NOW, "")

    def runs(structure, domain) -> datetime | None:
        return space.generated_at if space.runs(structure, domain) else None

    return open_now(body, [], authority.validate, NOW, of_whitelist(runs))


def test_the_operator_of_the_author_s_domain_is_a_pass_that_says_what_it_proves(authority: Authority) -> None:
    got = opened(authority, clear(ENTITY, good(seal(authority, OURS))))
    verdict, results = got.verdict, got.verdict.results("mx")
    assert verdict.valid
    assert verdict.sealed
    assert "smime=pass" in results
    assert "policy.binding=operator" in results
    assert f'policy.binding-source="whitelist {NOW:%Y-%m-%d}"' in results
    assert "Scellé par l'organisation C.H. DE CADILLAC" in verdict.banner("fr")
    assert "not a person's signature" in verdict.banner("en")
    assert keywords(verdict, "keyword") == {SEALED}
    assert (got.capabilities, got.certificates) == (None, ())  # nobody's certificate to encrypt to


@pytest.mark.parametrize(
    ("structure", "more"),
    [
        (OTHERS, {}),
        ("CARDIOLOGIE", {}),
        ("0", {}),
        (OURS, {"GIVEN_NAME": "ALICE"}),
        (OURS, {"SURNAME": "MARTIN"}),
        (OURS, {"TITLE": "Infirmier"}),
    ],
    ids=["another operator", "no structure", "too short", "a person", "a surname", "a profession"],
)
def test_anything_else_binds_nobody(authority: Authority, structure: str, more: dict[str, str]) -> None:
    verdict = opened(authority, clear(ENTITY, good(seal(authority, structure, **more)))).verdict
    assert verdict.binding is Binding.NONE
    assert "smime=policy" in verdict.results("mx")
    assert keywords(verdict, "keyword") == {DOUBTFUL}


def test_an_operator_seals_for_its_own_domains_alone(authority: Authority) -> None:
    got = opened(authority, clear(ENTITY, good(seal(authority, OURS)), header="From: <paul@beta.mssante.test>\r\n"))
    assert not got.verdict.valid


def test_the_author_s_own_signature_counts_more(authority: Authority, alice: Person) -> None:
    verdict = opened(authority, clear(ENTITY, good(alice))).verdict
    assert verdict.binding is Binding.CERTIFICATE
    assert keywords(verdict, "keyword") == {SIGNED}
    assert ALICE in verdict.signers[0].addresses
