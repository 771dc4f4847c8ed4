"""A session that stays open from one act to the next, and when it does not."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from dmp_connector.errors import CardRemoved
from dmp_connector.model import AccessMode
from mssgw.dossier import Checks, Kept, Lasting
from mssgw.dossier.service import DmpService
from tests.dmp.nodes import DOCTOR, OTHER

from .conftest import no_pin


class Said(list[str]):
    """What happened to the sessions; `ended` once one is over."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def end(self) -> None:
        self.append("ended")
        self.ended.set()


@pytest.fixture
def opened(monkeypatch) -> Said:
    said = Said()
    real = DmpService._core

    async def counted(self, stack, setup, who, *more):
        stack.callback(said.end)
        said.append("opened")
        return await real(self, stack, setup, who, *more)

    monkeypatch.setattr(DmpService, "_core", counted)
    return said


def kept(house, lasting: Lasting = Lasting()) -> Kept:  # noqa: B008  # frozen
    assert house.service.config.dmp is not None
    return Kept(house.service, DOCTOR, Checks(house.service.config.dmp), lasting)


async def exists(session: Kept, house, patient: str = "PATIENT") -> None:
    async with session.session(pin=no_pin, act="exists", mode=AccessMode.NORMAL) as dmp:
        await dmp.dossiers.exists(house.of(patient))


async def test_a_kept_session_is_opened_once_and_ended_when_it_is_closed(house, opened):
    session = kept(house)
    await exists(session, house)
    await exists(session, house)
    assert opened == ["opened"]
    assert session.since is not None
    await session.close()
    assert opened == ["opened", "ended"]
    assert session.since is None
    await exists(session, house)
    assert opened == ["opened", "ended", "opened"]
    await session.close()


async def test_a_session_that_is_not_used_ends_by_itself(house, opened):
    session = kept(house, Lasting(idle=timedelta(0)))
    await exists(session, house)
    async with asyncio.timeout(20):
        await opened.ended.wait()
    assert session.since is None
    assert opened == ["opened", "ended"]


async def test_a_session_that_is_used_all_day_is_opened_anew(house, opened):
    session = kept(house, Lasting(longest=timedelta(0)))
    await exists(session, house)
    await exists(session, house)
    assert opened == ["opened", "ended", "opened"]
    await session.close()


async def test_after_a_card_that_failed_the_session_is_opened_anew(house, opened):
    session = kept(house)
    with pytest.raises(CardRemoved):
        async with session.session(pin=no_pin, act="find", mode=AccessMode.NORMAL):
            raise CardRemoved
    assert opened == ["opened", "ended"]


async def test_acts_of_a_kept_session_do_not_overlap(house):
    session, inside = kept(house), 0

    async def act() -> None:
        nonlocal inside
        async with session.session(pin=no_pin, act="exists", mode=AccessMode.NORMAL) as dmp:
            inside += 1
            assert inside == 1
            await dmp.dossiers.exists(house.of("PATIENT"))
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(act())
    await session.close()


async def test_a_session_that_cannot_be_opened_leaves_its_row_and_nothing_open(house, opened, tmp_path):
    session = kept(house)
    seal = next(one for one in house.service.config.dmp_actor if one.address == DOCTOR).key
    key = seal.path.read_bytes()
    seal.path.write_bytes(b"no key")
    try:
        with pytest.raises(Exception, match="key"):
            await exists(session, house)
    finally:
        seal.path.write_bytes(key)
    assert opened == ["opened", "ended"]
    assert (await house.rows())[-1] == ("exists", "refused")


async def test_sessions_share_one_validator_that_outlives_them(house):
    """The schematron process costs seconds and a gigabyte: one serves all actors of an agent."""
    assert house.service.config.dmp is not None
    checks, seen = Checks(house.service.config.dmp), []
    for address in (DOCTOR, OTHER):
        session = Kept(house.service, address, checks, Lasting())
        async with session.session(pin=no_pin, act="submit", mode=AccessMode.NORMAL) as dmp:
            seen.append(dmp.core.checks.validator)
        await session.close()
    assert seen == [checks.validator] * 2
    checks.close()
