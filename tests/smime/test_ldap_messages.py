"""LDAP messages and filters, without a server (RFC 4511, RFC 4515)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from mssgw.core.address import Address
from mssgw.core.config.ldap_filter import FilterError, parse
from mssgw.pki import der
from mssgw.smime.directories.ldap_messages import LdapError, fill, frame, read
from tests.fuzz import examples
from tests.smime.fake_ldap import entry, result
from tests.smime.people import BOB

WHO = Address.parse(BOB)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mail={address}",
        "(mail={address}",
        "(mail={address}))",
        "(=x)",
        "(&)",
        "(!(a={local})(b=c))",
        "(mail={who})",
        "(mail:caseExactMatch:={address})",
        "(mail=x)",
        r"(mail={address}\2)",
        "(mail=**)(",
        "(" * 30,
        "(&(a=*)(b=*))",
        "(ma il={address})",
    ],
)
def test_what_is_no_filter_or_names_nobody(text: str) -> None:
    with pytest.raises(FilterError):
        parse(text)


def test_filters_on_the_wire() -> None:
    """RFC 4515, RFC 4511 4.5.1."""
    assert fill(parse(r"(&(!(a=*))(b>={domain})(c=x*{local}**\2a)(mail={address}))"), WHO) == der.tlv(
        0xA0,
        der.tlv(0xA2, der.tlv(0x87, b"a")),
        der.tlv(0xA5, der.octets(b"b"), der.octets(b"beta.mssante.test")),
        der.tlv(0xA4, der.octets(b"c"), der.sequence(der.tlv(0x80, b"x"), der.tlv(0x81, b"bob.durand"), der.tlv(0x82, b"*"))),
        der.tlv(0xA3, der.octets(b"mail"), der.octets(BOB.encode())),
    )


# --- fuzzing ------------------------------------------------------------------------------------------------------------

_GOOD = [
    result(1, 0x65, 4, b"text"),
    entry(1, {"userCertificate;binary": [b"x" * 40], "cn": [b"a", b"b"]}),
    result(3, 0x78),
    der.sequence(der.integer(1), der.tlv(0x73, der.octets(b"ldap://x"))),
]


@effort(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda good, at, octet, cut: (good[: at % len(good)] + bytes((octet,)) + good[at % len(good) + 1 :])[: len(good) - cut % 3],
            st.sampled_from(_GOOD),
            st.integers(0, 1000),
            st.integers(0, 255),
            st.integers(0, 5),
        ),
    )
)
def test_fuzz_ldap_messages(data: bytes) -> None:
    """Anything is an answer or an LdapError."""
    for reader in (frame, read):
        with contextlib.suppress(LdapError):
            reader(data)


@effort(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text("(&|!)=*{}address\\2a~<> ", max_size=60))
def test_fuzz_ldap_filters(text: str) -> None:
    try:
        made = fill(parse(text), WHO)
    except FilterError:
        return
    der.whole(made, made[0])
