"""Accounts, aliases, organisations; certificates, facts and the journal."""

from datetime import timedelta

import pytest

from mssgw.core.address import Address
from mssgw.core.errors import NotFound, Refused
from mssgw.store import accounts, audit, certificates, facts
from mssgw.store.accounts import Kind, NewAccount, Role, Status
from tests.store.messages import DOMAIN, new_account


async def test_found_in_any_case(store):
    account = await new_account(store, "Jean.Dupont")
    for text in ("jean.dupont@alpha.mssante.test", "JEAN.DUPONT@ALPHA.mssante.test"):
        found = await store.read(lambda rx, text=text: accounts.by_address(rx, Address.parse(text)))
        assert found == account
    assert str(account.address) == "Jean.Dupont@alpha.mssante.test"
    assert await store.read(lambda rx: accounts.by_address(rx, Address("nobody", DOMAIN))) is None
    with pytest.raises(NotFound):
        await store.read(lambda rx: accounts.by_id(rx, 4711))


async def test_an_address_is_taken_once(store):
    alice = await new_account(store, "alice")
    await store.write(lambda tx: accounts.add_alias(tx, alice.id, Address("al", DOMAIN)))
    for name in ("ALICE", "Al"):
        with pytest.raises(Refused, match="already in use"):
            await new_account(store, name)
        with pytest.raises(Refused, match="already in use"):
            await store.write(lambda tx, name=name: accounts.add_alias(tx, alice.id, Address(name, DOMAIN)))
    assert await store.read(lambda rx: accounts.by_address(rx, Address("AL", DOMAIN))) == alice
    assert await store.read(lambda rx: accounts.aliases(rx, alice.id)) == [Address("al", DOMAIN)]
    await store.write(lambda tx: accounts.remove_alias(tx, Address("al", DOMAIN)))
    await new_account(store, "al")


async def test_suspending_keeps_everything_else(store):
    new = NewAccount(Address("alice", DOMAIN), Kind.PER, Role.ADMIN, "Dr Alice", "10000000001", "argon2")
    alice = await store.write(lambda tx: accounts.add(tx, new))
    await store.write(lambda tx: accounts.set_status(tx, alice.id, Status.SUSPENDED))
    assert await store.read(accounts.first_admin) is None
    await store.write(lambda tx: accounts.set_status(tx, alice.id, Status.ACTIVE))
    await store.write(lambda tx: accounts.set_password(tx, alice.id, None))
    await store.write(lambda tx: accounts.describe(tx, alice.id, "Dr A.", None))
    now = await store.read(accounts.first_admin)
    assert (now.status, now.password_hash, now.display_name, now.rpps, now.role) == (Status.ACTIVE, None, "Dr A.", None, Role.ADMIN)
    outcomes = [one.outcome for one in await store.read(lambda rx: audit.find(rx, address=alice.address))]
    assert outcomes == ["added", "suspended", "active", "password", "described"]
    with pytest.raises(NotFound):
        await store.write(lambda tx: accounts.set_role(tx, 4711, Role.USER))


async def test_passwords_are_not_printed(store):
    alice = await store.write(lambda tx: accounts.add(tx, NewAccount(Address("alice", DOMAIN), password_hash="SECRET")))
    assert "SECRET" not in repr(alice)


async def test_members(store):
    alice, cabinet = await new_account(store, "alice"), await new_account(store, "cabinet", Kind.ORG)
    for _ in range(2):
        await store.write(lambda tx: accounts.add_member(tx, cabinet.id, alice.id))
    assert await store.read(lambda rx: accounts.members(rx, cabinet.id)) == [alice]
    assert await store.read(lambda rx: accounts.organisations_of(rx, alice.id)) == [cabinet]
    with pytest.raises(Refused):
        await store.write(lambda tx: accounts.add_member(tx, alice.id, alice.id))
    with pytest.raises(Refused):
        await store.write(lambda tx: accounts.add_member(tx, cabinet.id, cabinet.id))
    await store.write(lambda tx: accounts.remove_member(tx, cabinet.id, alice.id))
    assert await store.read(lambda rx: accounts.members(rx, cabinet.id)) == []
    assert [one.address.local for one in await store.read(accounts.list_all)] == ["alice", "cabinet"]


async def test_certificates_keep_their_history(store, clock):
    bob = Address.parse("Bob@beta.mssante.test")
    first = clock.now()
    await store.write(lambda tx: certificates.add(tx, bob, b"old", "mail", first))
    await store.write(lambda tx: certificates.add(tx, bob, b"new", "directory", first + timedelta(days=1)))
    await store.write(lambda tx: certificates.add(tx, bob, b"old", "file", first + timedelta(days=2)))
    known = await store.read(lambda rx: certificates.of(rx, Address.parse("bob@beta.mssante.test")))
    assert [(one.der, one.source, one.first_seen, one.seen) for one in known] == [
        (b"old", "file", first, first + timedelta(days=2)),
        (b"new", "directory", first + timedelta(days=1), first + timedelta(days=1)),
    ]
    await store.write(lambda tx: certificates.drop(tx, bob, b"old"))
    assert [one.der for one in await store.read(lambda rx: certificates.of(rx, bob))] == [b"new"]


async def test_the_last_mail_has_the_capabilities_that_count(store, clock):
    bob, now = Address.parse("bob@beta.mssante.test"), clock.now()
    assert await store.read(lambda rx: certificates.capabilities(rx, bob)) is None
    for der, age in ((b"gcm", 1), (b"ancient", 5), (b"newer", 0)):
        await store.write(lambda tx, der=der, age=age: certificates.set_capabilities(tx, bob, der, now - timedelta(days=age)))
        if der == b"ancient":
            assert (await store.read(lambda rx: certificates.capabilities(rx, bob)))[0] == b"gcm"
    assert await store.read(lambda rx: certificates.capabilities(rx, bob)) == (b"newer", now)


async def test_facts(store):
    assert await store.read(lambda rx: facts.get(rx, "list")) is None
    for value in ({"date": "2026-11-22", "n": 3}, [1, None, "é"], "text"):
        await store.write(lambda tx, value=value: facts.put(tx, "list", value))
        assert await store.read(lambda rx: facts.get(rx, "list")) == value
    await store.write(lambda tx: facts.drop(tx, "list"))
    assert await store.read(lambda rx: facts.get(rx, "list")) is None


async def test_the_journal_lists_the_whole_way_of_a_message(store, clock):
    alice, bob = Address.parse("Alice@alpha.test"), Address.parse("bob@beta.test")

    def write(tx):
        audit.add(tx, "smtpd", "accepted", "ok", "T1", sender=alice, message_id="<1@alpha>", octets=12, tls=None, when=clock.now())
        audit.add(tx, "relay", "sent", "ok", "T1", recipient=bob, reply="250 ok")
        audit.add(tx, "smtpd", "accepted", "ok", "T2", sender=bob)
        audit.add(tx, "login", "login", "failed", sender=alice)

    await store.write(write)
    assert [one.what for one in await store.read(lambda rx: audit.find(rx, trace="T1"))] == ["accepted", "sent"]
    assert [(one.trace, one.what) for one in await store.read(lambda rx: audit.find(rx, address=bob))] == [
        ("T1", "accepted"),
        ("T1", "sent"),
        ("T2", "accepted"),
    ]
    (first, _) = await store.read(lambda rx: audit.find(rx, message_id="<1@alpha>"))
    assert first.facts == {"octets": 12, "when": str(clock.now())}
    assert await store.read(lambda rx: audit.find(rx, trace="T9")) == []
    assert len(await store.read(lambda rx: audit.find(rx, address="aLICE@alpha.test"))) == 3
    assert len(await store.read(lambda rx: audit.find(rx, since=clock.now(), limit=1))) == 1
