"""The table of accepted keys: pinned here, printed in docs/trust.md, and its rules for sizes and for the keys of others."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x448

from mssgw.pki import policy
from mssgw.pki.policy import KeyRefused, Problem, Use
from mssgw.smime.errors import Reason

PAGE = (Path(__file__).parents[2] / "docs" / "trust.md").read_text(encoding="utf-8")
EVERYTHING = {Use.SIGN, Use.ENCRYPT, Use.ISSUE, Use.TLS}
PINNED = {
    "RSA": EVERYTHING,
    "P-256": EVERYTHING,
    "P-384": EVERYTHING,
    "P-521": EVERYTHING,
    "brainpoolP256r1": EVERYTHING,
    "brainpoolP384r1": EVERYTHING,
    "brainpoolP512r1": EVERYTHING,
    "Ed25519": {Use.SIGN},
    "X25519": {Use.ENCRYPT},
    "ML-DSA-44": {Use.SIGN},
    "ML-DSA-65": {Use.SIGN},
    "ML-DSA-87": {Use.SIGN},
    "ML-KEM-768": {Use.ENCRYPT},
    "ML-KEM-1024": {Use.ENCRYPT},
}


def test_the_table():
    assert {kind.name: set(kind.uses) for kind in policy.TABLE} == PINNED
    assert {kind.name for kind in policy.TABLE if kind.experimental} == {name for name in PINNED if name.startswith("ML-")}
    for kind in policy.TABLE:
        assert bool(kind.wraps) == (Use.ENCRYPT in kind.uses), kind.name
        assert kind.source


def test_the_page_prints_the_table():
    rows = [line for line in PAGE.partition("### Keys")[2].splitlines() if line.startswith("| ") and not line.startswith("| key |")]
    expected = []
    for kind in policy.TABLE:
        marks = ["yes" if use in kind.uses else "–" for use in (Use.SIGN, Use.ENCRYPT, Use.ISSUE, Use.TLS)]
        expected.append(f"| {kind.name}{' (experimental)' if kind.experimental else ''} | {' | '.join(marks)} | {kind.source} |")
    assert rows[: len(expected)] == expected


def _rsa(bits, exponent=65537):
    return rsa.RSAPublicNumbers(exponent, (1 << (bits - 1)) + 1).public_key()


@pytest.mark.parametrize(
    ("key", "problem", "text"),
    [
        (_rsa(1024), Problem.WEAK, "RSA key of 1024 bits (needed: 2048 to 8192)"),
        (_rsa(2047), Problem.WEAK, "RSA key of 2047 bits"),
        (_rsa(2049), Problem.UNSUPPORTED, "RSA key of 2049 bits, which are no whole octets"),
        (_rsa(8200), Problem.LIMIT, "RSA key of 8200 bits (needed: 2048 to 8192)"),
        (_rsa(2048, 3), Problem.WEAK, "RSA key with the exponent 3 (needed: 65537)"),
        (_rsa(2048, (1 << 64) + 1), Problem.LIMIT, "RSA key with an exponent of 65 bits"),
        (ec.generate_private_key(ec.SECP256K1()).public_key(), Problem.UNSUPPORTED, "key on the curve secp256k1 (accepted: P-256, "),
        (ec.generate_private_key(ec.SECP224R1()).public_key(), Problem.UNSUPPORTED, "key on the curve secp224r1"),
        (ed448.Ed448PrivateKey.generate().public_key(), Problem.UNSUPPORTED, "key of kind Ed448"),
        (x448.X448PrivateKey.generate().public_key(), Problem.UNSUPPORTED, "key of kind X448"),
        (dsa.generate_private_key(2048).public_key(), Problem.UNSUPPORTED, "key of kind DSA"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_key_that_is_not_in_the_table(key, problem, text):
    with pytest.raises(KeyRefused) as caught:
        policy.kind_of(key)
    assert caught.value.problem is problem
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("bits", [2048, 3072, 4096, 8192])
def test_sizes_that_are_accepted(bits):
    assert policy.kind_of(_rsa(bits)).name == "RSA"


def test_smime_has_a_reason_for_each_problem():
    assert {problem.value for problem in Problem} <= {reason.value for reason in Reason}
