"""Login: who may come in, and how often one may be wrong."""

from __future__ import annotations

import pytest

from mssgw.core.errors import Deferred, NoRoom, NotAllowed
from mssgw.flow import throttle
from mssgw.flow.login import CROWD, Login
from mssgw.store import audit
from tests.flow.conftest import SECRET

LIMIT = 3


@pytest.fixture
def login(sqlite_store, passwords, clock, people) -> Login:
    return Login(sqlite_store, passwords, clock, LIMIT)


async def attempt(login: Login, name: str = "jeanne.martin@alpha.mssante.test", password: str = SECRET, peer: str = "192.0.2.1"):
    return await login.authenticate(name, password, protocol="smtp", peer=peer)


@pytest.mark.parametrize("name", ["jeanne.martin@alpha.mssante.test", "Jeanne.MARTIN@Alpha.mssante.test", "j.martin@alpha.mssante.test"])
async def test_the_right_password_opens(login, people, name) -> None:
    assert (await attempt(login, name)).id == people.jeanne.id


@pytest.mark.parametrize(
    "name",
    [
        "jeanne.martin@alpha.mssante.test",
        "nobody@alpha.mssante.test",
        "no address",
        "paul.petit@alpha.mssante.test",
        "cardiologie@alpha.mssante.test",
    ],
)
async def test_every_failure_looks_the_same(login, name) -> None:
    password = SECRET if name.startswith("paul") else "wrong"
    with pytest.raises(NotAllowed) as refusal:
        await attempt(login, name, password)
    assert str(refusal.value.reply) == "535 5.7.8 User name or password is wrong"


async def test_an_account_without_password_has_none_that_fits(login) -> None:
    with pytest.raises(NotAllowed):
        await attempt(login, "cardiologie@alpha.mssante.test", "")


async def test_too_many_failures_from_one_address_wait(login, clock) -> None:
    for number in range(CROWD * LIMIT):
        with pytest.raises(NotAllowed):
            await attempt(login, f"guess{number}@alpha.mssante.test", "wrong")
    with pytest.raises(Deferred) as refusal:
        await attempt(login)
    assert (refusal.value.reply.code, refusal.value.reply.enhanced) == (454, "4.7.0")
    assert await attempt(login, peer="192.0.2.2")
    clock.advance(minutes=5)
    assert await attempt(login)


async def test_too_many_failures_at_one_account_wait_but_not_for_its_owner(login) -> None:
    await attempt(login, peer="198.51.100.1")
    for number in range(LIMIT):
        with pytest.raises(NotAllowed):
            await attempt(login, password="wrong", peer=f"192.0.2.{number}")
    with pytest.raises(Deferred):
        await attempt(login, peer="192.0.2.99")
    assert await attempt(login, peer="198.51.100.1")


@pytest.mark.parametrize("name", ["nobody@alpha.mssante.test", "no address"])
async def test_one_name_typed_wrongly_locks_out_nobody_else_behind_the_address(login, name) -> None:
    """Regression: a hospital has one address, and 20 wrong passwords of one device kept everybody else out."""
    for _ in range(LIMIT):
        with pytest.raises(NotAllowed):
            await attempt(login, name, "wrong")
    with pytest.raises(Deferred):
        await attempt(login, name, "wrong")
    assert await attempt(login)


async def test_who_logged_in_from_an_address_does_not_wait_for_others_there(login) -> None:
    await attempt(login)
    for number in range(CROWD * LIMIT):
        with pytest.raises(NotAllowed):
            await attempt(login, f"guess{number}@alpha.mssante.test", "wrong")
    assert await attempt(login)
    with pytest.raises(Deferred):
        await attempt(login, "admin@alpha.mssante.test")  # never logged in from there


async def test_even_who_is_known_at_an_address_has_so_many_guesses_there(login) -> None:
    await attempt(login)
    for _ in range(LIMIT):
        with pytest.raises(NotAllowed):
            await attempt(login, password="wrong")
    with pytest.raises(Deferred):
        await attempt(login)


async def test_a_right_password_pays_for_no_guesses_at_others(login) -> None:
    for number in range(CROWD * LIMIT):
        await attempt(login)
        with pytest.raises(NotAllowed):
            await attempt(login, f"guess{number}@alpha.mssante.test", "wrong")
    with pytest.raises(Deferred):
        await attempt(login, "admin@alpha.mssante.test")


def test_failures_are_remembered_within_bounds(clock, monkeypatch) -> None:
    monkeypatch.setattr(throttle, "KEYS", 5)
    counted = throttle.Throttle(clock, 2)
    for number in range(9):
        counted.failed(f"key{number // 2}")
        counted.failed(f"other{number}")
    assert len(counted._failures) == 5
    clock.advance(minutes=5)
    for _ in range(5):
        counted.failed("now")
    assert list(counted._failures) == ["now"]


async def test_logins_are_audited_without_what_strangers_typed(login, sqlite_store) -> None:
    await attempt(login)
    for name, password in (("jeanne.martin@alpha.mssante.test", "wrong"), ("my-password@alpha.mssante.test", "x")):
        with pytest.raises(NotAllowed):
            await attempt(login, name, password)
    rows = [row for row in await sqlite_store.read(lambda rx: audit.find(rx)) if row.what == "login"]
    assert [(row.who, row.outcome) for row in rows] == [
        ("jeanne.martin@alpha.mssante.test", "ok"),
        ("jeanne.martin@alpha.mssante.test", "refused"),
        ("unknown", "refused"),
    ]
    assert "my-password" not in str(rows)


@pytest.mark.parametrize(("password", "answer"), [(SECRET, None), ("wrong", NotAllowed)])
async def test_a_full_disk_keeps_nobody_from_their_mail(login, sqlite_store, monkeypatch, password, answer) -> None:
    """Regression: no row of the audit, no login: nobody could read, or delete to make room."""

    async def no_room(_function):
        raise NoRoom(detail="database or disk is full")

    monkeypatch.setattr(sqlite_store, "write", no_room)
    if answer is None:
        assert await attempt(login)
    else:
        with pytest.raises(answer):
            await attempt(login, password=password)


async def test_a_store_that_is_away_lets_nobody_in_unrecorded(login, sqlite_store, monkeypatch) -> None:
    async def away(_function):
        raise Deferred(detail="connection refused")

    monkeypatch.setattr(sqlite_store, "write", away)
    with pytest.raises(Deferred):
        await attempt(login)
