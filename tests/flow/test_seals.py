"""A seal that can't sign, or whose signature readers would refuse, makes mail wait: the mistake is ours, not the sender's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mssgw import smime
from mssgw.core.address import Address, Domain
from mssgw.core.body import Body
from mssgw.flow.keyring import FileKeys, Nobody
from mssgw.flow.protection import Protection
from mssgw.protocol import mime
from mssgw.smime.opening import open_now
from tests.conftest import TestClock
from tests.smime.letters import letter
from tests.smime.people import ALICE, BOB, DAY, NOW, Authority, Person, usage

DOMAIN = Domain("alpha.mssante.test")
TO = [Address.parse(BOB)]


def protection(authority: Authority, seal: Person, alice: Person | None = None) -> Protection:
    clock = TestClock(NOW)
    return Protection(
        {DOMAIN: smime.Policy("when-possible", "never")},
        {DOMAIN: seal.identity},
        FileKeys((alice.identity,)) if alice else Nobody(),
        authority.validate,
        clock,
        mime.DEFAULT_LIMITS,
        1 << 20,
    )


async def refused(resources: Protection) -> smime.KeyUnavailable:
    with pytest.raises(smime.KeyUnavailable) as caught:
        await resources.protect(letter(), DOMAIN, Address.parse(ALICE), TO, in_person=True)
    assert caught.value.reply.code == 451
    return caught.value


async def test_a_seal_that_may_not_sign() -> None:
    """Regression: every mail got a 554 that blamed its content."""
    authority = Authority()
    await refused(protection(authority, authority.issue("rsa", ALICE, ku=usage(key_encipherment=True))))


async def test_a_seal_out_of_its_dates() -> None:
    """Regression: mail left with its signature, which readers count as none."""
    authority = Authority()
    for dates in ({"end": NOW - DAY}, {"start": NOW + DAY}):
        assert "dates" in (await refused(protection(authority, authority.issue("rsa", ALICE, **dates)))).detail


async def test_a_person_s_certificate_that_ran_out_leaves_the_seal() -> None:
    authority = Authority()
    seal, gone = authority.issue("rsa", f"contact@{DOMAIN}", number=3), authority.issue("rsa", ALICE, end=NOW - DAY)
    (copy,) = await protection(authority, seal, gone).protect(letter(), DOMAIN, Address.parse(ALICE), TO, in_person=True)
    (signer,) = open_now(Body.of(copy.body.read()), [], authority.validate, NOW).verdict.signers
    assert signer.fingerprint == seal.certificate.fingerprint


async def test_a_person_s_key_signs_in_that_person_s_session_alone() -> None:
    """What the hospital's relay, a program or an organisation's box sends in her name carries the seal."""
    authority = Authority()
    seal, alice = authority.issue("rsa", f"contact@{DOMAIN}", number=3), authority.issue("rsa", ALICE)
    resources = protection(authority, seal, alice)
    for widened, in_person, expected in ((False, True, alice), (False, False, seal), (True, False, alice)):
        asked = replace(resources, lenient=frozenset((DOMAIN,)) if widened else frozenset())
        (copy,) = await asked.protect(letter(), DOMAIN, Address.parse(ALICE), TO, in_person=in_person)
        (signer,) = open_now(Body.of(copy.body.read()), [], authority.validate, NOW).verdict.signers
        assert signer.fingerprint == expected.certificate.fingerprint
