"""Fixtures: one authority, Alice who signs, Bob who reads."""

from __future__ import annotations

import pytest

from tests.smime.people import ALICE, BOB, Authority, Person


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def alice(authority: Authority) -> Person:
    return authority.issue("rsa", ALICE)


@pytest.fixture
def bob(authority: Authority) -> Person:
    return authority.issue("rsa", BOB, number=1)
