"""LdapDirectory against a scripted server: caches, fail-over, hostile answers. Against a real one: tests/peers/test_slapd.py."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import warnings
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from mssgw import smime
from mssgw.core.address import Address, Domain
from mssgw.core.config.base import decode_hook
from mssgw.core.config.ldap import Ldap
from mssgw.core.errors import ConfigError
from mssgw.pki import der
from mssgw.smime.cms import capabilities
from mssgw.smime.cms.signed import Signer, certificates_only
from mssgw.smime.directories import ldap
from mssgw.smime.directories.candidate import Candidate
from mssgw.smime.directories.ldap import LdapDirectory, candidates
from mssgw.smime.directories.ldap_connection import Login
from mssgw.smime.directories.ldap_messages import Answer
from mssgw.smime.errors import DirectoryUnavailable
from mssgw.smime.protecting import Policy
from mssgw.smime.wire import oids
from tests.fuzz import examples
from tests.smime.fake_ldap import FakeLdap, Visit, entry, fake_ldap, knows, result
from tests.smime.letters import letter
from tests.smime.people import BOB, DAY, NOW, Authority, Person, usage

WHO = Address.parse(BOB)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def directory(*houses: FakeLdap, clock: Clock | None = None, **settings: object) -> LdapDirectory:
    urls = tuple(f"ldap://127.0.0.1:{house.port}" for house in houses)
    return LdapDirectory(
        Ldap(**({"urls": urls, "base": "dc=x", "starttls": False, "timeout_seconds": 2} | settings)),  # type: ignore[arg-type]
        clock=clock or Clock(),
    )


def certificates(found: tuple[Candidate, ...]) -> list[bytes]:
    return [one.certificate for one in found]


# --- what is found ------------------------------------------------------------------------------------------------------


# RFC 4523
async def test_a_certificate_is_found_and_asked_for_once(bob: Person) -> None:
    clock = Clock()
    async with fake_ldap(knows({"userCertificate;binary": [bob.der]})) as house:
        one = directory(house, clock=clock, cache_seconds=100)
        try:
            assert certificates(await one.find(WHO)) == [bob.der]
            assert certificates(await one.find(Address.parse(BOB.upper()))) == [bob.der]
            assert house.searches == 1
            clock.now += 100
            assert certificates(await one.find(WHO)) == [bob.der]
            assert (house.searches, house.visits) == (2, 1)
        finally:
            one.close()


async def test_nobody_is_remembered_for_a_shorter_time() -> None:
    clock = Clock()
    async with fake_ldap(knows(None)) as house:
        one = directory(house, clock=clock, cache_absent_seconds=30)
        assert [await one.find(WHO), await one.find(WHO)] == [(), ()]
        clock.now += 30
        assert await one.find(WHO) == ()
        assert house.searches == 2
        one.close()


async def test_one_question_for_all_who_wait(bob: Person) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()

    async def slow(visit: Visit) -> None:
        number, _, _ = await visit.request()
        reached.set()
        await gate.wait()
        await visit.say(entry(number, {"userCertificate": [bob.der]}), result(number, 0x65))

    async with fake_ldap(slow) as house:
        one = directory(house)
        asking = [asyncio.create_task(one.find(WHO)) for _ in range(20)]
        await reached.wait()
        one.close()  # a reload
        asking[0].cancel()  # one who gives up does not cancel the question of the others
        gate.set()
        answers = await asyncio.gather(*asking[1:])
        assert all(certificates(found) == [bob.der] for found in answers)
        assert house.searches == 1
        one.close()


async def test_no_more_questions_at_a_time_than_were_set(bob: Person) -> None:
    waiting, most = 0, 0
    gate = asyncio.Event()

    async def counting(visit: Visit) -> None:
        nonlocal waiting, most
        while True:
            number, _, _ = await visit.request()
            waiting += 1
            most = max(most, waiting)
            if waiting == 2:
                gate.set()
            await gate.wait()
            waiting -= 1
            await visit.say(result(number, 0x65))

    async with fake_ldap(counting) as house:
        one = directory(house, connections=2)
        await asyncio.gather(*(one.find(Address.parse(f"a{number}@beta.mssante.test")) for number in range(12)))
        assert (house.searches, most) == (12, 2)
        assert house.visits == 2  # connections are used again
        one.close()


async def test_an_idle_connection_is_closed_with_unbind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ldap, "IDLE", 0.0)
    left = asyncio.Event()

    async def script(visit: Visit) -> None:
        number, _, _ = await visit.request()
        await visit.say(result(number, 0x65))
        if (await visit.request())[1] == 0x42:  # UnbindRequest
            left.set()

    async with fake_ldap(script) as house:
        assert await directory(house).find(WHO) == ()
        await asyncio.wait_for(left.wait(), 5)


async def test_other_domains_are_not_asked_about() -> None:
    async with fake_ldap(knows(None)) as house:
        one = directory(house, domains=(Domain("alpha.mssante.test"),))
        assert await one.find(WHO) == ()
        assert not house.visits


async def test_the_filter_means_the_address_and_nothing_else() -> None:
    async with fake_ldap(knows(None)) as house:
        one = directory(house, filter="(&(objectClass=person)(|(mail={address})(proxyAddresses=smtp:{address})(uid={local}*)))")
        await one.find(Address.parse('"*)(uid=admin"@beta.mssante.test'))
        (asked,) = house.asked
        assert der.octets(b'"*)(uid=admin"@beta.mssante.test') in asked
        assert der.octets(b'smtp:"*)(uid=admin"@beta.mssante.test') in asked
        assert der.tlv(0x80, b"*)(uid=admin") in asked
        one.close()


# --- which certificates count -------------------------------------------------------------------------------------------


def held(*values: bytes, name: str = "usercertificate") -> list[Answer]:
    return [Answer(2, 0x64, values={name: values})]


def test_a_certificate_for_somebody_else_is_left(authority: Authority, bob: Person) -> None:
    other = authority.issue("rsa", "other@beta.mssante.test", number=2)
    assert certificates(candidates(held(other.der, bob.der), WHO, True)) == [bob.der]


def test_a_certificate_without_an_address_counts_only_when_tls_vouches(authority: Authority) -> None:
    card = authority.issue("rsa", number=2)
    assert certificates(candidates(held(card.der), WHO, True)) == [card.der]
    assert not candidates(held(card.der), WHO, False)


def entries(*given: tuple[bytes, str]) -> list[Answer]:
    return [Answer(2, 0x64, values={"usercertificate": (octets,)} | ({"mail": (mail.encode(),)} if mail else {})) for octets, mail in given]


@pytest.mark.parametrize(
    ("mails", "counts"),
    [
        (["", ""], False),
        (["other@beta.mssante.test", ""], False),
        ([BOB.upper(), ""], True),
        (["", BOB], False),
        (["other@beta.mssante.test"], False),
        (["no address"], False),
        ([BOB], True),
        ([""], True),
    ],
)
def test_a_card_of_somebody_else_among_several_entries_is_nobodys(authority: Authority, mails: list[str], counts: bool) -> None:
    """Regression: a filter that matched too much returned five entries, and mail was encrypted to the one card among them."""
    card, others = authority.issue("rsa", number=2), authority.issue("rsa", "other@beta.mssante.test", number=3)
    found = candidates(entries((card.der, mails[0]), *((others.der, mail) for mail in mails[1:])), WHO, True)
    assert certificates(found) == ([card.der] if counts else [])


def test_an_address_in_a_certificate_need_not_be_in_the_entry(authority: Authority, bob: Person) -> None:
    assert certificates(candidates(entries((bob.der, "other@beta.mssante.test"), (bob.der, "")), WHO, True)) == [bob.der]


async def test_the_entry_s_own_address_is_asked_for_and_compared(authority: Authority) -> None:
    card = authority.issue("rsa", number=2)
    other = "x@beta.mssante.test"
    for name, value, counts in (
        ("mail", BOB, True),
        ("rfc822Mailbox", other, False),
        ("proxyAddresses", f"SMTP:{BOB}", True),
        ("proxyAddresses", f"smtp:{other}", False),
        ("employeeMail", BOB.upper(), True),
    ):
        async with fake_ldap(knows({"userCertificate": [card.der], name: [value.encode()]})) as house:
            one = directory(house, address_attributes=("proxyAddresses", "employeeMail"))
            one._vouched = True  # as after a verified TLS handshake
            assert certificates(await one.find(WHO)) == ([card.der] if counts else [])
            assert all(der.octets(asked) in house.asked[0] for asked in (b"mail", b"proxyAddresses", b"employeeMail"))
            one.close()


def test_a_certificate_that_only_signs_is_left(authority: Authority) -> None:
    assert not candidates(held(authority.issue("rsa", BOB, ku=usage(digital_signature=True)).der), WHO, True)


def test_newest_first_and_rubbish_is_passed_over(authority: Authority, bob: Person) -> None:
    young = authority.issue("rsa", BOB, number=1, start=NOW - 10 * DAY)
    assert certificates(candidates(held(b"", b"rubbish", bob.der, b"0" * 300_000, young.der, bob.der), WHO, True)) == [young.der, bob.der]


def smime_certificate(who: Person) -> bytes:
    """userSMIMECertificate (RFC 2798 2.8): a signature over nothing."""
    return Signer(who.identity).sign(hashlib.sha256(b"").digest(), NOW)


# RFC 2798 2.8
def test_user_smime_certificate_has_their_capabilities(bob: Person) -> None:
    (found,) = candidates(held(bob.der, smime_certificate(bob), name="usersmimecertificate"), WHO, True)
    assert found.certificate == bob.der
    assert capabilities.stated(found.capabilities) == capabilities.MODERN


def test_unsigned_capabilities_do_not_count(bob: Person) -> None:
    value = smime_certificate(bob)
    at = value.index(oids.SMIME_CAPABILITIES) + 40
    altered = value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :]
    (found,) = candidates(held(altered), WHO, True)
    assert (found.certificate, found.capabilities) == (bob.der, None)


def test_a_bundle_of_certificates(bob: Person) -> None:
    (found,) = candidates(held(certificates_only([bob.certificate])), WHO, True)
    assert (found.certificate, found.capabilities) == (bob.der, None)


# --- servers that fail --------------------------------------------------------------------------------------------------


async def test_the_second_server_answers_and_the_first_is_left_alone(bob: Person) -> None:
    async def silent(visit: Visit) -> None:
        await visit.request()

    clock = Clock()
    async with fake_ldap(silent) as first, fake_ldap(knows({"userCertificate": [bob.der]})) as second:
        one = directory(first, second, clock=clock, cache_seconds=0)
        for _ in range(3):
            assert certificates(await one.find(WHO)) == [bob.der]
        assert (first.visits, second.searches) == (1, 3)
        clock.now += 1  # the first pause
        await one.find(WHO)
        clock.now += 1  # the second is longer
        await one.find(WHO)
        assert first.visits == 2
        one.close()


async def test_down_is_unknown_and_up_again_is_found(bob: Person) -> None:
    clock = Clock()
    async with fake_ldap(knows(None)) as gone:
        pass
    one = directory(gone, clock=clock, required=False)
    for _ in range(2):
        with pytest.raises(DirectoryUnavailable) as caught:
            await one.find(WHO)
    assert (caught.value.reply.code, caught.value.required) == (451, False)
    async with fake_ldap(knows({"userCertificate": [bob.der]})) as house:
        one._servers[0].server = dataclasses.replace(one._servers[0].server, port=house.port)
        clock.now += 1
        assert certificates(await one.find(WHO)) == [bob.der]
        one.close()


async def test_what_was_known_still_counts_while_it_is_down(bob: Person) -> None:
    clock = Clock()
    async with fake_ldap(knows({"userCertificate": [bob.der]})) as house:
        one = directory(house, clock=clock, cache_seconds=10, stale_seconds=1000)
        await one.find(WHO)
    one.close()
    clock.now += 500
    assert certificates(await one.find(WHO)) == [bob.der]
    clock.now += 500
    with pytest.raises(DirectoryUnavailable):
        await one.find(WHO)


async def test_an_open_connection_that_was_closed_meanwhile_is_no_failure(bob: Person) -> None:
    async def once(visit: Visit) -> None:
        number, _, _ = await visit.request()
        await visit.say(entry(number, {"userCertificate": [bob.der]}), result(number, 0x65))

    async with fake_ldap(once) as house:
        one = directory(house, cache_seconds=0)
        for _ in range(3):
            assert certificates(await one.find(WHO)) == [bob.der]
        assert house.visits == 3
        one.close()


async def test_a_refused_login_is_not_tried_again_for_minutes() -> None:
    async def no(visit: Visit) -> None:
        number, _, _ = await visit.request()
        await visit.say(result(number, 0x61, 49, b"no \x1b[31m"))

    clock = Clock()
    async with fake_ldap(no) as house:
        one = directory(house, clock=clock)
        one._login = lambda: Login("cn=us", b"secret")  # type: ignore[method-assign]  # in clear the settings refuse it
        for later in (0, 60, 200):
            clock.now += later
            with pytest.raises(DirectoryUnavailable) as caught:
                await one.find(WHO)
        assert house.visits == 1
        assert "secret" not in repr(caught.value)
        assert b"secret" in house.asked[0]
        assert (await one.problems()) == [f"ldap://127.0.0.1:{house.port}: login refused, invalid credentials: no  [31m"]


async def _flood(visit: Visit) -> None:
    number, _, _ = await visit.request()
    while True:
        await visit.say(entry(number, {"userCertificate": [os.urandom(60_000)]}))


async def _references(visit: Visit) -> None:
    number, _, _ = await visit.request()
    while True:
        await visit.say(der.sequence(der.integer(number), der.tlv(0x73, der.octets(b"ldap://elsewhere/"))))


def _says(*octets: bytes, search_code: int | None = None):
    async def script(visit: Visit) -> None:
        number, _, _ = await visit.request()
        await visit.say(*octets or [result(number, 0x65, search_code or 0)])
        await visit.reader.read()

    return script


HOSTILE = {
    "flood": _flood,
    "references": _references,
    "not ldap": _says(b"220 mail.example ESMTP\r\n"),
    "indefinite": _says(b"\x30\x80\x02\x01\x01"),
    "a gigabyte announced": _says(b"\x30\x84\x40\x00\x00\x00"),
    "nine octets of length": _says(b"\x30\x89" + b"\xff" * 9),
    "empty": _says(b"\x30\x00"),
    "another question": _says(result(7, 0x65)),
    "disconnection": _says(result(0, 0x78, 52)),
    "unknown": _says(b"\x30\x05\x02\x01\x01\x7e\x00"),
    "size limit": _says(search_code=4),
    "referral": _says(search_code=10),
    "no base": _says(search_code=32),
    "busy": _says(search_code=51),
}


@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_is_no_answer_is_unknown(script) -> None:
    async with fake_ldap(script) as house:
        one = directory(house)
        with pytest.raises(DirectoryUnavailable):
            await one.find(WHO)
        assert not one._servers[0].idle


@pytest.mark.parametrize("url", ["ldaps://a..b", "ldap://.x", "ldap://" + "x" * 70 + ".example", "ldaps://127.0.0.1:1"])
async def test_a_host_that_is_none_is_a_problem_and_no_crash(url: str) -> None:
    """Regression: the encoding of host names raises an error that is no OSError."""
    one = LdapDirectory(Ldap((url,), "dc=x", timeout_seconds=1))
    with pytest.raises(DirectoryUnavailable):
        await one.find(WHO)
    assert len(await one.problems()) == 1
    await one.look()


async def test_silence_ends() -> None:
    async def silent(visit: Visit) -> None:
        await visit.reader.read()

    async with fake_ldap(silent) as house:
        one = directory(house, timeout_seconds=1)
        with pytest.raises(DirectoryUnavailable, match="no answer in time"):
            await one.find(WHO)


async def test_clear_words_behind_starttls_end_the_session(bob: Person) -> None:
    """RFC 4513 3: the answer to our search, put behind the answer to StartTLS by somebody on the way."""

    async def injected(visit: Visit) -> None:
        number, _, _ = await visit.request()
        await visit.say(result(number, 0x78), result(0, 0x78, 52))
        await visit.reader.read()

    async with fake_ldap(injected) as house:
        one = directory(house, starttls=True)
        with pytest.raises(DirectoryUnavailable):
            await one.find(WHO)
        assert house.searches == 0


async def test_no_search_in_clear_when_starttls_is_refused() -> None:
    async def refuses(visit: Visit) -> None:
        number, _, _ = await visit.request()
        await visit.say(result(number, 0x78, 2, b"no TLS here"))
        await visit.reader.read()

    async with fake_ldap(refuses) as house:
        one = directory(house, starttls=True)
        with pytest.raises(DirectoryUnavailable, match="no TLS here"):
            await one.find(WHO)
        assert len(house.asked) == 1


# --- the decision before 250 --------------------------------------------------------------------------------------------


async def protect(policy: Policy, bob: Person, authority: Authority, *known: Candidate) -> tuple[smime.Protected, ...]:
    async def lookup(_who: Address) -> tuple[Candidate, ...]:
        return known

    return await smime.protect(letter(), [WHO], policy, NOW, signer=bob.identity, lookup=lookup, validate=authority.validate)


def unknown(required: bool) -> Candidate:
    return Candidate(b"", "ldap", unknown=DirectoryUnavailable(required=required))


@pytest.mark.parametrize("required", [True, False])
async def test_always_waits_for_a_directory_that_is_down(bob: Person, authority: Authority, required: bool) -> None:
    with pytest.raises(DirectoryUnavailable):
        await protect(Policy(encrypt="always"), bob, authority, unknown(required))


async def test_when_possible_waits_only_for_one_that_is_required(bob: Person, authority: Authority) -> None:
    with pytest.raises(DirectoryUnavailable):
        await protect(Policy(), bob, authority, unknown(True))
    (sent,) = await protect(Policy(), bob, authority, unknown(False))
    assert not sent.encrypted


async def test_a_known_certificate_does_not_wait_for_a_directory(bob: Person, authority: Authority) -> None:
    (sent,) = await protect(Policy(encrypt="always"), bob, authority, Candidate(bob.der, "mail"), unknown(True))
    assert sent.encrypted


async def test_a_revoked_certificate_and_a_directory_that_is_down_is_not_never(bob: Person, authority: Authority) -> None:
    authority.revoked.add(bob.cert.serial_number)
    with pytest.raises(DirectoryUnavailable):
        await protect(Policy(encrypt="always"), bob, authority, Candidate(bob.der, "mail"), unknown(True))
    with pytest.raises(smime.NoCertificate):
        await protect(Policy(encrypt="always"), bob, authority, Candidate(bob.der, "mail"))


# --- settings -----------------------------------------------------------------------------------------------------------


def settings(**given: object) -> Ldap:
    return msgspec.convert({"urls": ["ldaps://ldap.example"], "base": "dc=x", **given}, Ldap, dec_hook=decode_hook)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"urls": ["http://x"]}, "is not ldaps://host"),
        ({"urls": ["ldap://x:70000"]}, "is not ldaps://host"),
        ({"urls": []}, "length"),
        ({"bind_dn": "cn=x"}, "go together"),
        ({"urls": ["ldap://x"], "starttls": False, "bind_dn": "cn=x", "password": "file:x"}, "in clear"),
        ({"stale_seconds": 1}, "shorter"),
        ({"certificate": "x"}, "go together"),
        ({"domains": ["Ä"]}, "write it as"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=sentence):
        settings(**given)


def test_files_are_checked_all_at_once(tmp_path: Path, bob: Person) -> None:
    (tmp_path / "ca.pem").write_text("no")
    cert, _ = bob.write(tmp_path, "bob")
    wrong = settings(ca=str(tmp_path / "ca.pem"), certificate=str(cert), key=f"file:{tmp_path / 'absent'}")
    with pytest.raises(ConfigError) as caught:
        ldap.directories([settings(), wrong])
    assert [path for path, _ in caught.value.problems] == ["ldap[1].ca", "ldap[1].certificate"]


@effort(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2), st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=8), st.binary(max_size=64))
def test_fuzz_ldap_values(which: int, changes: list[tuple[int, int]], rubbish: bytes) -> None:
    """Whatever stands in an entry gives certificates for this address or none."""
    bob = Authority().issue("p256", BOB)
    changed = bytearray((bob.der, smime_certificate(bob), certificates_only([bob.certificate]))[which])
    for at, octet in changes:
        changed[at % len(changed)] = octet
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = candidates(held(bytes(changed), rubbish), WHO, False)
    assert all(WHO in smime.certificate(one.certificate).addresses for one in found)
