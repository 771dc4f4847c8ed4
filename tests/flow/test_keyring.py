"""Persons' keys in the store: the one that is valid when the message comes signs it; retired ones open; changes need no reload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from mssgw import smime
from mssgw import store as store_package
from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.core.config import Config
from mssgw.core.config.smime import Smime
from mssgw.core.errors import Deferred, NotTrusted
from mssgw.flow.binding import of_accounts
from mssgw.flow.enrolment import NotTakenIn, Owner, from_files, require_path
from mssgw.flow.keyring import FileKeys, StoreKeys
from mssgw.flow.protection import Protection, signed_by
from mssgw.observe import PERSONAL_KEY_UNUSABLE
from mssgw.pki.judgement import Evidence, Purpose
from mssgw.protocol import mime
from mssgw.smime.directories import files
from mssgw.smime.directories.binding import Binding, Bound
from mssgw.smime.errors import KeyExpired, KeyUnavailable, KeyUnusable
from mssgw.smime.opening import open_now
from mssgw.smime.protecting import protect_now
from mssgw.store import Store, accounts, identities
from mssgw.store.identities import Identity, Kind, State
from mssgw.trust import faults
from mssgw.trust.faults import refusal
from tests.conftest import TestClock
from tests.flow.conftest import HERE, People, make_people
from tests.smime.letters import letter
from tests.smime.people import BOB, DAY, NOW, Authority, Person, usage

JEANNE = Address("jeanne.martin", HERE)
TO = [Address.parse(BOB)]


async def add(store: Store, people: People, who: Person, moment: datetime = NOW, *, retired: bool = False) -> Identity:
    owner = await store.read(lambda rx: Owner.of(rx, people.jeanne))
    new = from_files(owner, [who.certificate], [who.key], moment, kind=None, retired=retired)
    await store.require_key(HERE)
    return await store.write(lambda tx: identities.add(tx, people.jeanne, new, "test"))


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def damaged_store(sqlite_config: Config) -> AsyncIterator[Store]:
    """One that the test may damage: `check` does not run at its end."""
    store = await store_package.open(sqlite_config, TestClock(NOW), worker="w")
    yield store
    await store.close()


@pytest.fixture
async def people_there(damaged_store: Store) -> People:
    return await make_people(damaged_store)


@pytest.fixture
def protection(sqlite_store: Store, authority: Authority) -> Protection:
    return protection_of(sqlite_store, authority)


def protection_of(store: Store, authority: Authority) -> Protection:
    seal = authority.issue("rsa", f"contact@{HERE}", number=3, start=NOW - 100 * DAY, end=NOW + 900 * DAY)
    return Protection(
        {HERE: smime.Policy("always", "never")},
        {HERE: seal.identity},
        StoreKeys(store, Smime()),
        authority.validate,
        TestClock(NOW),
        mime.DEFAULT_LIMITS,
        1 << 20,
    )


async def signer(protection: Protection, authority: Authority, author: Address = JEANNE) -> tuple[str, str]:
    copies = await protection.protect(letter(), HERE, author, TO, in_person=True)
    (one,) = open_now(Body.of(copies[0].body.read()), [], authority.validate, protection.clock.now()).verdict.signers
    return one.fingerprint, signed_by(copies)["signer_kind"]


async def test_what_was_added_signs_from_the_next_message_on(
    sqlite_store: Store, people: People, protection: Protection, authority: Authority
) -> None:
    assert (await signer(protection, authority))[1] == "organisation"
    her = authority.issue("rsa", str(JEANNE))
    added = await add(sqlite_store, people, her)
    assert await signer(protection, authority) == (her.certificate.fingerprint, "person")
    await sqlite_store.write(lambda tx: identities.retire(tx, added.id, "test"))
    assert (await signer(protection, authority))[1] == "organisation"


async def test_a_renewal_overlaps(sqlite_store: Store, people: People, protection: Protection, authority: Authority) -> None:
    """At each moment the certificate that is valid then and lives longest signs."""
    old = authority.issue("rsa", str(JEANNE), start=NOW - 90 * DAY, end=NOW + 10 * DAY)
    new = authority.issue("rsa", str(JEANNE), number=1, start=NOW + 5 * DAY, end=NOW + 400 * DAY)
    await add(sqlite_store, people, old)
    await add(sqlite_store, people, new)
    for days, expected in ((0, old), (4, old), (6, new), (11, new)):
        moment = replace(protection, clock=TestClock(NOW + days * DAY))
        assert (await signer(moment, authority))[0] == expected.certificate.fingerprint


async def test_an_expired_certificate_seals_or_waits_as_the_domain_decides(
    sqlite_store: Store, people: People, protection: Protection, authority: Authority
) -> None:
    await add(sqlite_store, people, authority.issue("rsa", str(JEANNE), end=NOW + DAY))
    later = replace(protection, clock=TestClock(NOW + 2 * DAY))
    assert (await signer(later, authority))[1] == "organisation"
    waiting = replace(later, waiting=frozenset((HERE,)))
    with pytest.raises(KeyExpired) as caught:
        await waiting.protect(letter(), HERE, JEANNE, TO, in_person=True)
    assert caught.value.reply.code == 451
    assert "renew it" in caught.value.reply.text
    await add(sqlite_store, people, authority.issue("rsa", str(JEANNE), number=1, end=NOW + 90 * DAY))
    assert (await signer(waiting, authority))[1] == "person"


async def test_a_retired_key_opens_for_its_owner_and_for_nobody_else(
    sqlite_store: Store, people: People, protection: Protection, authority: Authority
) -> None:
    old = authority.issue("rsa", str(JEANNE), start=NOW - 900 * DAY, end=NOW - 300 * DAY)
    await add(sqlite_store, people, old, NOW - 600 * DAY, retired=True)
    policy = smime.Policy("never", "always")
    found = {JEANNE: [smime.Candidate(old.der, "file")]}
    (sealed,) = protect_now(letter(), [JEANNE], policy, NOW - 600 * DAY, None, found, authority.validate)
    for keys, expected in (({JEANNE.key}, "decrypted"), ({f"paul.petit@{HERE}"}, "no-key")):
        opened = await protection.open(Body.of(sealed.body.read()), [], keys)
        assert opened.verdict.encryption == expected


async def test_an_alias_opens_and_a_card_signs_for_every_address(
    sqlite_store: Store, people: People, protection: Protection, authority: Authority
) -> None:
    number = "10101010101"
    await sqlite_store.write(lambda tx: accounts.describe(tx, people.jeanne.id, "Jeanne Martin", number))
    people.jeanne = await sqlite_store.read(lambda rx: accounts.by_id(rx, people.jeanne.id))
    card = authority.issue("rsa", cn=f"8{number}", ku=usage(content_commitment=True))
    assert (await add(sqlite_store, people, card)).kind is Kind.SIGNING
    for author in (JEANNE, Address("j.martin", HERE)):
        assert (await signer(protection, authority, author))[0] == card.certificate.fingerprint
    assert (await signer(protection, authority, Address("cardiologie", HERE)))[1] == "organisation"


async def test_a_card_is_bound_to_the_account_with_its_number(sqlite_store: Store, people: People, authority: Authority) -> None:
    """Asked in a thread, as S/MIME asks: for a card alone, and for the holder's addresses alone."""
    number = "10101010101"
    await sqlite_store.write(lambda tx: accounts.describe(tx, people.jeanne.id, "Jeanne Martin", number))
    binds = of_accounts(sqlite_store)
    card, other = (authority.issue("rsa", cn=cn).certificate for cn in (f"8{number}", "899900000001"))
    named = authority.issue("rsa", "somebody@gamma.mssante.test", cn=number).certificate
    for one, address, expected in (
        (card, JEANNE, True),
        (card, Address("j.martin", HERE), True),
        (card, people.paul.address, False),
        (card, Address.parse(BOB), False),
        (other, JEANNE, False),
        (named, JEANNE, False),
    ):
        bound = await asyncio.to_thread(binds, one, address)
        assert (bound == Bound(Binding.DIRECTORY, "accounts")) is expected, address


async def test_the_sealed_key_opens_in_its_own_row_alone(damaged_store: Store, people_there: People, authority: Authority) -> None:
    import sqlalchemy as sa

    from mssgw.store import schema
    from mssgw.store.seal import SealBroken

    first = await add(damaged_store, people_there, authority.issue("rsa", str(JEANNE)))
    second = await add(damaged_store, people_there, authority.issue("rsa", str(JEANNE), number=1))

    def exchange(tx):
        table = schema.identity.c
        (sealed,) = tx.run(sa.select(table.sealed).where(table.id == first.id)).one()
        tx.run(sa.update(schema.identity).where(table.id == second.id).values(sealed=sealed))

    assert await damaged_store.read(lambda rx: identities.private(rx, first.id))
    await damaged_store.write(exchange)
    with pytest.raises(SealBroken):
        await damaged_store.read(lambda rx: identities.private(rx, second.id))


async def test_a_retired_certificate_that_is_added_again_is_active(sqlite_store: Store, people: People, authority: Authority) -> None:
    her = authority.issue("rsa", str(JEANNE))
    added = await add(sqlite_store, people, her)
    with pytest.raises(Exception, match="already"):
        await add(sqlite_store, people, her)
    await sqlite_store.write(lambda tx: identities.retire(tx, added.id, "test"))
    again = await add(sqlite_store, people, her)
    assert (again.id, again.state) == (added.id, State.ACTIVE)


def test_the_domain_decides(sqlite_config: Config) -> None:
    assert sqlite_config.domain[0].personal_key_expired == "seal"


DAMAGE = {
    "certificate": "UPDATE identity SET der = x'300130'",
    "state": "UPDATE identity SET state = 'gone'",
    "kind": "UPDATE identity SET kind = 'neither'",
    "chain": "UPDATE identity SET chain = x'3001'",
    "public": "UPDATE identity SET public = x'00'",
    "seal": "UPDATE identity SET sealed = x'01020304'",
    "token": "UPDATE identity SET sealed = NULL, token = 'pkcs11:nonsense'",
    "no module for the token": "UPDATE identity SET sealed = NULL, token = 'pkcs11:token=a;object=b'",
}


async def harm(store: Store, damage: str) -> None:
    await store.write(lambda tx: tx.connection.exec_driver_sql(damage))


@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_key_that_can_not_be_used_counts_as_there_and_the_domain_decides(
    damaged_store: Store, people_there: People, authority: Authority, kind: str
) -> None:
    """Regression: a damaged row was left out with a line in the log, and the seal signed unseen, even under sign = "always"."""
    made = protection_of(damaged_store, authority)
    await add(damaged_store, people_there, authority.issue("rsa", str(JEANNE)))
    await harm(damaged_store, DAMAGE[kind])
    before = PERSONAL_KEY_UNUSABLE.labels("seal")._value.get()
    assert (await signer(made, authority))[1] == "organisation"
    assert PERSONAL_KEY_UNUSABLE.labels("seal")._value.get() == before + 1
    waiting = replace(made, waiting=frozenset((HERE,)))
    for _ in range(2):
        with pytest.raises(KeyUnusable) as caught:
            await waiting.protect(letter(), HERE, JEANNE, TO, in_person=True)
    assert caught.value.reply.code == 451
    assert "can't be used" in caught.value.reply.text
    assert caught.value.message.fr != caught.value.message.en
    other = await waiting.protect(letter(), HERE, people_there.admin.address, TO, in_person=True)
    assert signed_by(other)["signer_kind"] == "organisation"  # nobody else waits


async def test_another_good_certificate_signs_for_whom_has_a_broken_one(
    damaged_store: Store, people_there: People, authority: Authority
) -> None:
    made = replace(protection_of(damaged_store, authority), waiting=frozenset((HERE,)))
    first = await add(damaged_store, people_there, authority.issue("rsa", str(JEANNE), end=NOW + 300 * DAY))
    good = authority.issue("rsa", str(JEANNE), number=1, end=NOW + 10 * DAY)
    await add(damaged_store, people_there, good)
    await harm(damaged_store, f"UPDATE identity SET sealed = x'00' WHERE id = {first.id}")
    assert await signer(made, authority) == (good.certificate.fingerprint, "person")


async def test_retired_or_mended_it_counts_no_more_without_a_reload(
    damaged_store: Store, people_there: People, authority: Authority
) -> None:
    made = replace(protection_of(damaged_store, authority), waiting=frozenset((HERE,)))
    her = authority.issue("rsa", str(JEANNE))
    first = await add(damaged_store, people_there, her)
    await harm(damaged_store, DAMAGE["seal"])
    with pytest.raises(KeyUnusable):
        await signer(made, authority)
    mended = await add(damaged_store, people_there, her)  # the same certificate with its key, again
    assert (mended.id, mended.state, mended.fault) == (first.id, State.ACTIVE, None)
    assert await signer(made, authority) == (her.certificate.fingerprint, "person")
    await harm(damaged_store, DAMAGE["certificate"])
    await damaged_store.write(lambda tx: tx.ring(identities.CHANGED))
    with pytest.raises(KeyUnusable):
        await signer(made, authority)
    await damaged_store.write(lambda tx: identities.retire(tx, first.id, "test"))
    assert (await signer(made, authority))[1] == "organisation"


async def test_a_broken_key_whose_certificate_has_ended_is_one_that_has_ended(
    damaged_store: Store, people_there: People, authority: Authority
) -> None:
    made = protection_of(damaged_store, authority)
    await add(damaged_store, people_there, authority.issue("rsa", str(JEANNE), end=NOW + DAY))
    await harm(damaged_store, DAMAGE["seal"])
    later = replace(made, clock=TestClock(NOW + 2 * DAY), waiting=frozenset((HERE,)))
    with pytest.raises(KeyExpired):
        await later.protect(letter(), HERE, JEANNE, TO, in_person=True)


async def test_what_was_encrypted_to_a_key_that_can_not_be_used_waits(
    damaged_store: Store, people_there: People, authority: Authority
) -> None:
    made, her = protection_of(damaged_store, authority), authority.issue("rsa", str(JEANNE))
    await add(damaged_store, people_there, her)
    found = {JEANNE: [smime.Candidate(her.der, "file")]}
    (sealed,) = protect_now(letter(), [JEANNE], smime.Policy("never", "always"), NOW, None, found, authority.validate)
    await harm(damaged_store, DAMAGE["token"])
    with pytest.raises(KeyUnavailable):
        await made.open(Body.of(sealed.body.read()), [], {JEANNE.key})


async def test_a_file_of_an_identity_that_can_not_be_read_is_not_one_that_is_not_there(tmp_path: Path, authority: Authority) -> None:
    """Regression: a worker started after the file broke sealed for its owner unseen."""
    for name in (str(JEANNE), "her"):
        directory = tmp_path / name
        directory.mkdir()
        authority.issue("rsa", str(JEANNE)).write(directory, name)
        (directory / f"{name}.pem").write_text("garbage")
        keys = FileKeys(files.identities(directory, NOW))
        assert [one.name for one in (await keys.at((JEANNE.key,))).signing(JEANNE.key).lost] == [f"{directory}/{name}.pem"]
        paul = f"paul.petit@{HERE}"  # a name that shows no owner: it may be his
        assert len((await keys.at((paul,))).signing(paul).lost) == (name == "her")


def test_the_path_of_a_certificate_is_judged_before_it_is_taken_in(authority: Authority) -> None:
    """By the authorities of this node, for what it will be used for. Revoked is refused, another authority is a warning."""
    own = authority.issue("rsa", str(JEANNE)).certificate
    asked: list[Purpose] = []

    def judge(error: Exception | None):
        def validate(octets: bytes, purpose: Purpose, moment: datetime) -> Evidence:
            asked.append(purpose)
            if error:
                raise error
            return authority.validate(octets, purpose, moment)

        return validate

    assert require_path(own, Kind.BOTH, judge(None), NOW) is None
    assert require_path(own, Kind.ENCRYPTION, judge(None), NOW) is None
    assert asked == [Purpose.MAIL_SIGN, Purpose.MAIL_ENCRYPT]
    for error in (NotTrusted("Another authority"), Deferred("No fresh list")):
        said = require_path(own, Kind.BOTH, judge(error), NOW)
        assert said is not None
        assert said.fr != said.en
        assert own.name in said.en
    with pytest.raises(NotTakenIn) as caught:
        require_path(own, Kind.BOTH, judge(refusal(faults.Fault.REVOKED, subject="x", when="2026-11-01")), NOW)
    assert caught.value.why == "revoked"


async def test_at_each_moment_one_key_alone_signs(
    sqlite_store: Store, people: People, protection: Protection, authority: Authority
) -> None:
    """Of two that end together the one that was added first, in every worker."""
    first = authority.issue("rsa", str(JEANNE))
    for who in (first, authority.issue("rsa", str(JEANNE), number=1)):
        await add(sqlite_store, people, who)
    for _ in range(2):
        another = replace(protection, keys=StoreKeys(sqlite_store, Smime()))
        assert (await signer(another, authority))[0] == first.certificate.fingerprint
