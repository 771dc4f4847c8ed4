"""3DES and RC2, read behind `smime.legacy`. RFC 2268 5's vectors; messages of openssl: tests/peers/test_openssl_cms.py."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssgw.pki import der
from mssgw.smime.cms import legacy
from mssgw.smime.cms.decrypting import Reading
from mssgw.smime.errors import Reason, SmimeError, Undecryptable
from mssgw.smime.opening import open_now
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import TRIPLE_DES, identifier
from tests.fuzz import examples
from tests.smime import forge
from tests.smime.people import NOW, Authority, Person

OLD = Reading(legacy=True)


@pytest.mark.parametrize(
    ("bits", "key", "plain", "cipher"),
    [
        (63, "0000000000000000", "0000000000000000", "ebb773f993278eff"),
        (64, "ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"),
        (64, "3000000000000000", "1000000000000001", "30649edf9be7d2c2"),
        (64, "88", "0000000000000000", "61a8a244adacccf0"),
        (64, "88bca90e90875a", "0000000000000000", "6ccf4308974c267f"),
        (64, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "1a807d272bbe5db1"),
        (128, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6"),
        (129, "88bca90e90875a7f0f79c384627bafb216f80a6f85920584c42fceb0be255daf1e", "0000000000000000", "5b78d3a43dfff1f1"),
    ],
)
def test_rc2_vectors(bits: int, key: str, plain: str, cipher: str) -> None:  # RFC 2268 5
    made = legacy.SmallRc2(bytes.fromhex(key), bits, bytes(8))
    assert made.update(bytes.fromhex(cipher)).hex() == plain


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.integers(0, 40), max_size=8))
def test_fuzz_rc2_pieces(cuts: list[int]) -> None:
    """However the octets are cut, the plaintext is the same."""
    data = bytes(range(240))
    whole, pieces = (legacy.SmallRc2(b"12345", 40, b"abcdefgh") for _ in range(2))
    parts, at = [], 0
    for cut in [*cuts, len(data)]:
        parts.append(pieces.update(data[at : at + cut]))
        at += cut
    assert b"".join(parts) + pieces.finalize() == whole.update(data)


def test_rc2_is_bounded_and_whole_blocks() -> None:
    slow = legacy.SmallRc2(b"12345", 40, bytes(8))
    with pytest.raises(SmimeError, match="RC2 over"):
        slow.update(bytes(legacy.MAX_SLOW + 8))
    slow = legacy.SmallRc2(b"12345", 40, bytes(8))
    slow.update(b"seven..")
    with pytest.raises(ValueError, match="whole blocks"):
        slow.finalize()


@pytest.mark.parametrize("length", [0, 8, 24, 31, 40, 48, 56])
def test_a_wrapped_key_that_is_wrong(length: int) -> None:  # RFC 3217 3.2
    with pytest.raises(Undecryptable):
        legacy.unwrap_3des(b"k" * 24, bytes(length))


def parameters(version: bytes) -> bytes:
    return der.sequence(version, der.octets(bytes(8)))


@pytest.mark.parametrize(
    ("oid", "given", "key", "reason"),
    [
        (oids.RC2_CBC, parameters(der.integer(160)), b"12345", Reason.UNDECRYPTABLE),
        (oids.RC2_CBC, parameters(der.integer(160)), b"1234", Reason.UNDECRYPTABLE),
        (oids.RC2_CBC, parameters(der.integer(52)), b"12345", Reason.UNSUPPORTED),
        (oids.RC2_CBC, parameters(der.integer(256)), b"k" * 32, Reason.UNSUPPORTED),
        (oids.RC2_CBC, parameters(der.NULL), b"12345", Reason.MALFORMED),
        (oids.RC2_CBC, der.NULL, b"12345", Reason.MALFORMED),
        (oids.RC2_CBC, der.sequence(der.integer(160), der.octets(b"short")), b"12345", Reason.MALFORMED),
        (TRIPLE_DES.oid, der.octets(bytes(8)), b"k" * 24, Reason.UNDECRYPTABLE),
    ],
    ids=str,
)
def test_what_is_wrong_has_one_face_once_a_key_was_found(
    authority: Authority, bob: Person, oid: bytes, given: bytes, key: bytes, reason: Reason
) -> None:
    body = forge.opaque(forge.enveloped(bob, oids.ENVELOPED_DATA, oid, given, key, b"rubbish." * 20))
    for reading, expected in ((OLD, reason), (Reading(), Reason.WEAK)):
        found = open_now(body, [bob.identity], authority.validate, NOW, reading=reading)
        assert found.verdict.reasons == (expected,)
        assert found.readable is body


def test_3des_wrap_is_refused_without_the_setting(authority: Authority) -> None:
    """The setting is checked first, whether RSA or ECDH carries the key."""
    bob = authority.issue("p256", forge.BOB)
    scheme = identifier(oids.ECDH_SHA1, identifier(oids.DES3_WRAP, der.NULL))
    info = der.explicit(
        1,
        der.integer(3),
        der.explicit(0, der.explicit(1, der.sequence(oids.EC_PUBLIC_KEY), der.tlv(der.BIT_STRING, b"\0\4" + bytes(64)))),
        scheme,
        der.sequence(der.sequence(bob.certificate.issuer_and_serial, der.octets(bytes(40)))),
    )
    hidden = der.sequence(oids.DATA, identifier(oids.AES256_CBC, der.octets(bytes(16))), der.tlv(0x80, bytes(32)))
    body = forge.opaque(forge.content_info(oids.ENVELOPED_DATA, der.sequence(der.integer(2), der.tlv(der.SET, info), hidden)))
    for reading, expected in ((OLD, Reason.UNDECRYPTABLE), (Reading(), Reason.WEAK)):
        assert open_now(body, [bob.identity], authority.validate, NOW, reading=reading).verdict.reasons == (expected,)
