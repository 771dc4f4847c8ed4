"""Our own certificates are watched: each threshold, the end and a revocation are told once, by mail and in the log."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes

import msgspec
import pytest

from mssgw.core.errors import NotTrusted
from mssgw.flow.watch import Broken, Own, Watch
from mssgw.observe import NOTICES_UNTOLD, OWN_CERTIFICATES, OWN_EXPIRY_DAYS
from mssgw.pki.judgement import Purpose
from mssgw.store import Store, accounts, audit, mailboxes
from mssgw.store.accounts import Status
from mssgw.store.identities import Fault
from mssgw.trust import faults
from mssgw.trust.faults import refusal
from tests.conftest import TestClock
from tests.flow.conftest import HERE, People
from tests.flow.test_keyring import DAMAGE, JEANNE, add, damaged_store, harm, people_there
from tests.smime.people import DAY, NOW, Authority

__all__ = ["damaged_store", "people_there"]


@pytest.fixture
def authority() -> Authority:
    return Authority()


def watch(store: Store, config, moment, validate, own=()) -> Watch:
    return Watch(config, store, TestClock(moment), validate, lambda: own)


async def told(store: Store, people: People) -> list[int]:
    """How many messages her and the administrator's inboxes have."""

    def count(rx):
        return [mailboxes.by_name(rx, one.id, "INBOX").messages for one in (people.jeanne, people.admin)]

    return await store.read(count)


async def test_each_threshold_is_told_once(sqlite_store: Store, sqlite_config, people: People, authority: Authority) -> None:
    end = NOW + 100 * DAY
    await add(sqlite_store, people, authority.issue("rsa", str(JEANNE), end=end))
    expected = 0
    for days, more in ((90, 0), (59, 1), (58, 0), (29, 1), (6, 1), (3, 0), (-1, 1), (-30, 0)):
        expected += more
        for _ in range(2):  # another worker, or a restart
            await watch(sqlite_store, sqlite_config, end - days * DAY, authority.validate).look()
        assert await told(sqlite_store, people) == [expected, expected], days
    rows = await sqlite_store.read(lambda rx: audit.find(rx, address=JEANNE))
    assert [one.what for one in rows].count("delivered") == expected


async def test_found_late_only_the_nearest_is_told(sqlite_store: Store, sqlite_config, people: People, authority: Authority) -> None:
    await add(sqlite_store, people, authority.issue("rsa", str(JEANNE), end=NOW + timedelta(days=3)))
    for _ in range(2):
        await watch(sqlite_store, sqlite_config, NOW, authority.validate).look()
    assert await told(sqlite_store, people) == [1, 1]


async def test_a_revocation_and_a_seal(sqlite_store: Store, sqlite_config, people: People, authority: Authority) -> None:
    await add(sqlite_store, people, authority.issue("rsa", str(JEANNE), end=NOW + 900 * DAY))
    seal = authority.issue("rsa", f"contact@{HERE}", number=3, end=NOW + 20 * DAY)

    def revoked(octets, purpose, moment):
        if octets == seal.der:
            raise NotTrusted(detail="another authority")
        raise refusal(faults.Fault.REVOKED, subject="Jeanne", when="2026-11-01")

    for _ in range(2):
        await watch(sqlite_store, sqlite_config, NOW, revoked, [Own("seal", seal.certificate)]).look()
    assert await told(sqlite_store, people) == [1, 2]


async def test_the_mail_names_the_certificate(sqlite_store: Store, sqlite_config, people: People, authority: Authority) -> None:
    made = watch(sqlite_store, sqlite_config, NOW, authority.validate)
    her = authority.issue("rsa", str(JEANNE), end=NOW + 20 * DAY)
    mail = message_from_bytes(made._written(Own("identity", her.certificate, JEANNE), "30", JEANNE, "trace").read())
    text = mail.get_payload(decode=True).decode()
    assert her.certificate.serial_hex in text
    assert f"{NOW + 20 * DAY:%Y-%m-%d}" in text
    assert mail["To"] == str(JEANNE)


async def test_a_tls_certificate_that_is_replaced_on_disk_is_watched_from_then_on(
    sqlite_store: Store, sqlite_config, people: People, authority: Authority
) -> None:
    """Regression: there were two watches; one did not see a new file before a reload, the other no revocation."""
    files = [Own("tls", authority.issue("rsa", f"contact@{HERE}", number=5, end=NOW + 20 * DAY).certificate)]
    made = Watch(sqlite_config, sqlite_store, TestClock(NOW), authority.validate, lambda: files)
    await made.look()
    assert await told(sqlite_store, people) == [0, 1]
    assert OWN_EXPIRY_DAYS.labels("tls")._value.get() == 20
    files[:] = [Own("tls", authority.issue("rsa", f"contact@{HERE}", number=6, end=NOW + 800 * DAY).certificate)]
    await made.look()
    assert await told(sqlite_store, people) == [0, 1]
    assert OWN_EXPIRY_DAYS.labels("tls")._value.get() == 800

    def revoked(octets, purpose, moment):
        assert purpose is Purpose.RELAY_SERVER
        raise refusal(faults.Fault.REVOKED, subject="mx", when="2026-11-01")

    await watch(sqlite_store, sqlite_config, NOW, revoked, files).look()
    assert await told(sqlite_store, people) == [0, 2]


async def untold(store: Store, config, moment, validate) -> float:
    await watch(store, config, moment, validate).look()
    return NOTICES_UNTOLD._value.get()


async def test_a_reader_who_can_not_be_told_is_told_later_and_the_others_are_told_once(
    sqlite_store: Store, sqlite_config, people: People, authority: Authority
) -> None:
    """Regression: a mail to a postmaster without an account, or with a full mailbox, was lost and counted as told."""
    await add(sqlite_store, people, authority.issue("rsa", str(JEANNE), end=NOW + 20 * DAY))
    await sqlite_store.write(lambda tx: accounts.set_status(tx, people.admin.id, Status.SUSPENDED))
    for _ in range(2):
        assert await untold(sqlite_store, sqlite_config, NOW, authority.validate) == 1
        assert await told(sqlite_store, people) == [1, 0]
    await sqlite_store.write(lambda tx: accounts.set_status(tx, people.admin.id, Status.ACTIVE))
    for _ in range(2):
        assert await untold(sqlite_store, sqlite_config, NOW, authority.validate) == 0
        assert await told(sqlite_store, people) == [1, 1]


async def test_a_full_mailbox_is_tried_again(sqlite_store: Store, sqlite_config, people: People, authority: Authority) -> None:
    await add(sqlite_store, people, authority.issue("rsa", str(JEANNE), end=NOW + 20 * DAY))
    full = msgspec.structs.replace(sqlite_config, limits=msgspec.structs.replace(sqlite_config.limits, quota=1))
    assert await untold(sqlite_store, full, NOW, authority.validate) == 2
    assert await told(sqlite_store, people) == [0, 0]
    assert await untold(sqlite_store, sqlite_config, NOW, authority.validate) == 0
    assert await told(sqlite_store, people) == [1, 1]


async def test_told_before_a_nearer_threshold_the_late_reader_gets_the_nearer_one_alone(
    sqlite_store: Store, sqlite_config, people: People, authority: Authority
) -> None:
    await add(sqlite_store, people, authority.issue("rsa", str(JEANNE), end=NOW + 50 * DAY))
    await sqlite_store.write(lambda tx: accounts.set_status(tx, people.admin.id, Status.SUSPENDED))
    await untold(sqlite_store, sqlite_config, NOW, authority.validate)
    await sqlite_store.write(lambda tx: accounts.set_status(tx, people.admin.id, Status.ACTIVE))
    assert await untold(sqlite_store, sqlite_config, NOW + 30 * DAY, authority.validate) == 0
    assert await told(sqlite_store, people) == [2, 1]


async def test_a_key_that_can_not_be_used_is_told_to_its_owner_again_after_it_was_mended(
    damaged_store: Store, sqlite_config, people_there: People, authority: Authority
) -> None:
    her = authority.issue("rsa", str(JEANNE), end=NOW + 900 * DAY)
    for day in (1, 2):
        damaged_store.clock.advance(days=1)
        await add(damaged_store, people_there, her)
        await harm(damaged_store, DAMAGE["seal"])
        for _ in range(2):
            assert await untold(damaged_store, sqlite_config, NOW, authority.validate) == 0
            assert await told(damaged_store, people_there) == [day, day]
            assert OWN_CERTIFICATES.labels("identity", "unusable")._value.get() == 1


def test_the_mail_about_a_broken_key_says_why_in_both_languages(sqlite_store: Store, sqlite_config, authority: Authority) -> None:
    made = watch(sqlite_store, sqlite_config, NOW, authority.validate)
    broken = Broken("Jeanne", Fault.SEAL.message, JEANNE, "1")
    text = message_from_bytes(made._written(broken, "unusable", JEANNE, "trace").read()).get_payload(decode=True).decode()
    for words in (Fault.SEAL.message.fr, Fault.SEAL.message.en, "Jeanne"):
        assert words in text
