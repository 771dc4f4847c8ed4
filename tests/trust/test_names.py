"""Names: every quirk of the real list and of real certificates (docs/reference/mssante.md 1.5, docs/reference/crypto.md 1.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssgw.demo.pki import organisation_name
from mssgw.pki import names
from mssgw.pki.certificates import Certificate
from mssgw.pki.names import Match, Name, NameSyntaxError, parse
from tests.material import place

PLAIN = "CN=mx.a.fr,OU=318751275100020,O=C.H. DE CADILLAC,ST=Gironde (33),C=FR"


@pytest.mark.parametrize(
    "written",
    [
        'CN=mx.a.fr,OU=318751275100020,O="C.H. DE  CADILLAC",ST=Gironde (33),C=FR',
        "CN=mx.a.fr , OU=318751275100020, O=C.H.  DE   CADILLAC, ST=Gironde (33), C=FR",
        "CN=mx.a.fr ,OU=318751275100020,O=C.H.\u00a0DE CADILLAC,ST=Gironde (33),C=FR",
        "C=FR,ST=Gironde (33),O=C.H. DE CADILLAC,OU=318751275100020,CN=mx.a.fr",
        "cn=MX.A.FR;ou=318751275100020;o=c.h. de cadillac;S=Gironde (33);c=fr",
        "OID.2.5.4.3=mx.a.fr,2.5.4.11=318751275100020,O=C.H. DE CADILLAC,ST=Gironde (33),C=FR",
        "CN=#0C076D782E612E6672,OU=318751275100020,O=C.H. DE CADILLAC,ST=Gironde (33),C=FR",
        "CN=mx\\2Ea\\2Efr,OU=318751275100020,O=C.H. DE CADILLAC\\ ,ST=Gironde (33),C=FR",
        "CN=mx.a.fr,OU=318751275100020,O=C.H. DE CADILLAC,ST=Gironde (33),C=FR,",
        "CN=mx.a.fr,OU=318751275100020,O=C.H. DE CADILLAC,ST=Gironde\t(33),C=FR",
        "CN=mx.a.fr,OU=318751275100020,O=Ｃ.H. DE CADILLAC,ST=Gironde (33),C=FR",
    ],
)
def test_one_name_written_in_many_ways(written):  # RFC 4518, 2253, 1779
    assert parse(written).equals(parse(PLAIN))


@pytest.mark.parametrize(
    ("written", "attribute"),
    [
        ("CN=mx.b.fr,OU=318751275100020,O=C.H. DE CADILLAC,ST=Gironde (33),C=FR", "CN"),
        ("CN=mx.a.fr,OU=318751275100021,O=C.H. DE CADILLAC,ST=Gironde (33),C=FR", "OU"),
        ("CN=mx.a.fr,OU=318751275100020,O=CH DE CADILLAC,ST=Gironde (33),C=FR", "O"),
        ("CN=mx.a.fr,OU=318751275100020,O=C.H. DE CADILLAC,ST=Gironde(33),C=FR", "ST"),  # a space is not insignificant before "("
        ("CN=mx.a.fr,OU=318751275100020,O=C.H. DE CADILLAC,ST=Gironde (33)", "C"),
        ("CN=mx.a.fr,OU=318751275100020,OU=2,O=C.H. DE CADILLAC,ST=Gironde (33),C=FR", "OU"),
    ],
)
def test_the_difference_names_the_attribute(written, attribute):
    other = parse(written)
    assert not other.equals(parse(PLAIN))
    assert [each.attribute for each in names.explain(other, parse(PLAIN))] == [attribute]


def test_st_and_l_are_two_differences():
    found = names.explain(parse("CN=a,L=Paris (75),C=FR"), parse("CN=a,ST=Paris (75),C=FR"))
    assert [str(each) for each in found] == ["L is 'Paris (75)', the list has none", "ST is missing, the list says 'Paris (75)'"]


def test_lenient_looks_at_cn_and_ou_only():
    moved = parse("CN=mx.a.fr,OU=318751275100020,O=GROUPE X,ST=Paris(75),C=FR")
    assert moved.equals(parse(PLAIN), Match.LENIENT)
    assert not moved.equals(parse(PLAIN))
    assert not parse("CN=mx.a.fr,OU=3,O=GROUPE X,C=FR").equals(parse(PLAIN), Match.LENIENT)


def test_lenient_without_ou_matches_nobody():
    assert not parse("CN=mx.a.fr,C=FR").equals(parse("CN=mx.a.fr,C=FR"), Match.LENIENT)


@pytest.mark.parametrize(
    ("written", "organisation"),
    [
        ('CN=a,O=CRLCC "PAUL STRAUSS",C=FR', 'CRLCC "PAUL STRAUSS"'),
        ("CN=a,O=HOPITAL, DE PARIS,C=FR", "HOPITAL, DE PARIS"),
        ("CN=a,O=SOINS + SANTE,C=FR", "SOINS + SANTE"),
        ("CN=a,O=L'HÔPITAL D'À CÔTÉ,C=FR", "L'HÔPITAL D'À CÔTÉ"),
        ('CN=a,O="X, Y",C=FR', "X, Y"),
        ('CN=a,O="X" Y,C=FR', '"X" Y'),
        ("CN=a,O=X\\, Y\\2C Z,C=FR", "X, Y, Z"),
        ("CN=a,O=A=B,C=FR", "A=B"),
        ("CN=a,O=Andr\\C3\\A9,C=FR", "André"),
        ("CN=a,O=,C=FR", ""),
        ("CN=a,O=x,,,OO", "x,,,OO"),
    ],
)
def test_values_survive(written, organisation):
    assert parse(written).first("O") == organisation


@pytest.mark.parametrize("written", ["", " ", "mx.a.fr", "=a", "CN", "XX=a", "," * 10, "CN=a" * 2000, "CN=a," * 40 + "C=FR"])
def test_what_is_no_name(written):
    with pytest.raises(NameSyntaxError):
        parse(written)


def test_a_separator_hidden_in_a_value_does_not_forge_an_attribute():
    """A certificate whose CN is `x,O=HOSPITAL` is not the one whose O is HOSPITAL."""
    forged = Name((("CN", "x,O=HOSPITAL"), ("C", "FR")))
    assert not forged.equals(parse("CN=x,O=HOSPITAL,C=FR"))
    assert parse(str(forged)).attributes == forged.attributes


@pytest.mark.material("crypto/igc-sante")
def test_multi_valued_rdn_and_teletex():
    card = Certificate((place("crypto/igc-sante") / "test-cps2ter-authentification.der").read_bytes()).subject
    assert card.first("OU") == "Médecin"
    person = Certificate((place("crypto/igc-sante") / "test-cps-personne-fort-signature.der").read_bytes()).subject
    assert dict(person.attributes) == {"SN": "INFIRMCS ADELI8751", "CN": "00B6087510", "GN": "OLIVIER", "TITLE": "Infirmier", "C": "FR"}


def test_certificate_order_equals_list_order():
    name = organisation_name("mx.a.fr", o="C.H. DE CADILLAC", ou="318751275100020", st="Gironde (33)")
    assert names.from_der(name.public_bytes()).equals(parse(PLAIN))


def test_what_could_disturb_a_log_is_escaped():
    assert str(Name((("CN", "a\n\x1b[2J\u202eb"),))) == "CN=a\\0A\\1B[2J\\E2\\80\\AEb"


_VALUES = st.text(st.characters(blacklist_categories=("Cs",)), max_size=40)


@given(st.lists(st.tuples(st.sampled_from(["CN", "OU", "O", "ST", "C", "1.2.3.4"]), _VALUES), min_size=1, max_size=6))
def test_what_we_print_reads_back_as_the_same_name(pairs):  # RFC 4514
    name = Name(tuple(pairs))
    assert parse(str(name)).equals(name)
