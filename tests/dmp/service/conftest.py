"""The DMP service without a command line: a configuration, the running simulator, sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mssgw.core.config import load
from mssgw.dossier import Access, DmpService, DmpSession
from tests.dmp.conftest import Running
from tests.dmp.nodes import DOCTOR


async def no_pin(tries_left: int | None) -> str:
    raise AssertionError("the key is a file: nobody is asked for a PIN")


class NodeWithPatients:
    """The service of one node, and the patients of its DMP."""

    def __init__(self, file: Path, running: Running) -> None:
        self.service = DmpService(load(file), file, running.clock)
        self.running = running

    @asynccontextmanager
    async def session(self, who: str = DOCTOR, **options) -> AsyncIterator[DmpSession]:
        async with self.service.session(who, pin=no_pin, **options) as session:
            yield session

    def of(self, patient: str, **more) -> Access:
        return Access(self.running.ins(patient).value, **more)

    async def rows(self, who: str = DOCTOR) -> list[tuple[str, str]]:
        """(what, outcome) of the whole trail."""
        async with self.session(who) as session:
            return [(r.record.what, r.record.outcome) for r in await session.trail.audit(Access(), limit=1000)]


@pytest.fixture
def house(write_config, dmp_running: Running) -> NodeWithPatients:
    return NodeWithPatients(write_config(), dmp_running)
