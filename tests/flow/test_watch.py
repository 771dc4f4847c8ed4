"""Our own certificates are watched: each threshold, the end and a revocation are told once, by mail and in the log."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes

import pytest

from mssgw.core.errors import NotTrusted
from mssgw.flow.watch import Own, Watch
from mssgw.observe import OWN_EXPIRY_DAYS
from mssgw.pki.judgement import Purpose
from mssgw.store import Store, audit, mailboxes
from mssgw.trust.faults import Fault, refusal
from tests.conftest import TestClock
from tests.flow.conftest import HERE, People
from tests.flow.test_keyring import JEANNE, add
from tests.smime.people import DAY, NOW, Authority


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
        raise refusal(Fault.REVOKED, subject="Jeanne", when="2026-11-01")

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
        raise refusal(Fault.REVOKED, subject="mx", when="2026-11-01")

    await watch(sqlite_store, sqlite_config, NOW, revoked, files).look()
    assert await told(sqlite_store, people) == [0, 2]
