"""Passwords: argon2, remembered shortly, changed at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from mssgw.core.errors import Deferred, NotAllowed
from mssgw.identity.passwords import WAITING, Passwords, hash_password


class CountingHasher(PasswordHasher):
    verified = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
        self.verified += 1
        return super().verify(hash, password)


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher(time_cost=1, memory_cost=8, parallelism=1)


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def passwords(hasher: CountingHasher, seconds: Seconds) -> Iterator[Passwords]:
    made = Passwords(300, hasher=hasher, monotonic=seconds)
    yield made
    made.close()


async def test_right_is_remembered_wrong_is_not(passwords, hasher, seconds) -> None:
    stored = passwords.hash("secret")
    await passwords.verify(stored, "secret")
    await passwords.verify(stored, "secret")
    assert hasher.verified == 1
    for _ in range(2):
        with pytest.raises(NotAllowed):
            await passwords.verify(stored, "Secret")
    assert hasher.verified == 3
    seconds.now = 301
    await passwords.verify(stored, "secret")
    assert hasher.verified == 4


async def test_a_changed_password_ends_the_old_one_at_once(passwords) -> None:
    old, new = passwords.hash("old"), passwords.hash("new")
    await passwords.verify(old, "old")
    with pytest.raises(NotAllowed):
        await passwords.verify(new, "old")


async def test_nobody_costs_the_same_work_and_never_opens(passwords, hasher) -> None:
    for password in ("secret", "", "x" * 1000):
        before = hasher.verified
        with pytest.raises(NotAllowed):
            await passwords.verify(None, password)
        assert hasher.verified == before + 1


async def test_a_damaged_hash_is_a_wrong_password(passwords) -> None:
    with pytest.raises(NotAllowed):
        await passwords.verify("not argon2", "secret")


async def test_composed_and_decomposed_accents_are_one_password(passwords) -> None:  # RFC 8265
    await passwords.verify(passwords.hash("e\u0301te"), "\u00e9te")


async def test_what_the_command_line_stores_is_verified(passwords) -> None:
    stored = hash_password("secret")
    assert stored.startswith("$argon2id$")
    await passwords.verify(stored, "secret")


async def test_a_crowd_of_guesses_is_deferred_before_it_costs_memory(passwords) -> None:
    stored = passwords.hash("secret")
    answers = await asyncio.gather(*(passwords.verify(stored, f"guess {number}") for number in range(WAITING + 5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [NotAllowed] * WAITING + [Deferred] * 5
    await passwords.verify(stored, "secret")
