"""Opening and ending a session: who it is for, the row that every attempt leaves, what a cancelled one closes."""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import mssgw.dossier
from dmp_connector.card import guard
from dmp_connector.card.pkcs11 import Pkcs11CardReader
from dmp_connector.dossier.identity import Typed
from dmp_connector.errors import BadIns, NoCard
from dmp_connector.model import AccessMode
from mssgw.core.config import load
from mssgw.dossier import Access, DmpService, Interrupted, NotSetUp, documents, opening
from tests.dmp.nodes import ACTORS, DOCTOR

from .conftest import NodeWithPatients, no_pin

WHY = "Patient inconscient aux urgences"
ROOT = Path(mssgw.dossier.__file__).parent


def test_the_service_brings_no_terminal_with_it():
    """A console or an IMAP session must not load the command line for it."""
    program = "import sys, mssgw.dossier; print(sorted({'typer', 'rich', 'mssgw.cli'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.py")), ids=lambda p: p.name)
def test_the_service_neither_prints_nor_asks(path):
    named = {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Name | ast.Attribute)}
    assert not {"print", "input", "sys.stdin", "sys.stdout", "sys.stderr", "os.environ"} & named


async def test_an_actor_is_known_by_the_address_in_any_case(house):
    async with house.session(DOCTOR.upper()) as dmp:
        assert dmp.actor.practitioner.family == "MARTIN"


async def test_who_is_not_an_actor_is_refused_in_both_languages(house):
    with pytest.raises(NotSetUp) as refused:
        async with house.session("nobody@alpha.test"):
            pass
    assert "nobody@alpha.test" in refused.value.message.fr
    assert refused.value.message.fr != refused.value.message.en


async def test_a_node_without_dmp_has_no_session(house, tmp_path):
    file = tmp_path / "mssgw.toml"
    lines = file.read_text().partition("[dmp]")[0]
    file.write_text(lines)
    with pytest.raises(NotSetUp):
        await DmpService(load(file), file).doctor()


async def test_an_attempt_leaves_one_row_under_its_own_name(house):
    async with house.session() as dmp:
        for typed in ("123", ""):
            with pytest.raises(BadIns):
                await dmp.dossiers.exists(Access(typed))
        with pytest.raises(BadIns):
            async with dmp.attempt("find", Access("123")):
                await dmp.documents.consult(Access("123"))
    assert await house.rows() == [("exists", "refused"), ("exists", "refused"), ("find", "refused")]


async def test_a_cancelled_emergency_access_is_closed_and_leaves_a_row(house):
    urgent = house.of("NOUVEAU", mode=AccessMode.BRIS_DE_GLACE, reason=WHY, confirmed=True, typed=Typed("NOUVEAU"))
    async with house.session() as dmp:

        async def read() -> None:
            async with dmp.attempt("find", urgent):
                await dmp.documents.consult(urgent)
                opened.set()
                await asyncio.Event().wait()

        opened = asyncio.Event()
        task = asyncio.create_task(read())
        await opened.wait()
        task.cancel("the page was left")
        with pytest.raises(asyncio.CancelledError):
            await task
        rows = [r.record for r in await dmp.trail.audit(Access())]
        assert [(r.what, r.outcome) for r in rows[-2:]] == [("consultation", "closed"), ("find", "interrupted")]
        assert dict(rows[-1].facts) == {"signal": "the page was left"}
        assert await dmp.documents.end() == 0


async def test_a_watched_consultation_ends_with_who_watches_it(house):
    async with house.session() as dmp:
        consultation = await dmp.documents.consult(house.of("PATIENT"))
        left = asyncio.Event()
        left.set()
        assert await dmp.documents.watch(consultation, until=left.wait()) == "hand"
        assert await dmp.documents.end() == 0


class Reader:
    """A card in a reader that shows how many tries are left; every PIN is wrong but the tests never get that far."""

    def __init__(self, module: Path, *, reader: str = "") -> None:
        self.tries_left = 2

    def see(self) -> Reader:
        return self

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def by_card(write_config, dmp_running) -> NodeWithPatients:
    return NodeWithPatients(write_config(ACTORS | {"carte@alpha.test": ACTORS[DOCTOR] | {"key": ""}}), dmp_running)


async def test_who_stops_at_the_pin_leaves_a_row(by_card, monkeypatch):
    asked = []

    async def stopped(tries_left: int | None) -> str:
        asked.append(tries_left)
        raise Interrupted("SIGINT")

    monkeypatch.setattr(opening, "Pkcs11CardReader", Reader)
    with pytest.raises(Interrupted):
        async with by_card.service.session("carte@alpha.test", pin=stopped, act="find"):
            pass
    assert asked == [2]
    assert await by_card.rows() == [("find", "interrupted")]


async def test_without_a_card_nobody_is_asked_and_an_audit_row_names_the_patient(by_card, monkeypatch):
    def none(self, *given, **options):
        raise NoCard("no card")

    monkeypatch.setattr(Pkcs11CardReader, "__init__", none)
    with pytest.raises(NoCard):
        async with by_card.service.session("carte@alpha.test", pin=no_pin, act="find"):
            pass
    assert await by_card.rows() == [("find", "refused")]


async def test_the_store_is_checked_and_gets_new_keys_without_a_session(house):
    async with house.session() as dmp:
        await dmp.dossiers.exists(house.of("PATIENT"))
    assert await house.service.check_store() == ()
    assert await house.service.check_store(rotate=True) == ()
    assert await house.rows() == [("TD0.2", "ACTIVE")]


async def test_a_master_key_that_is_too_short_is_refused(house, tmp_path):
    (tmp_path / "master").write_bytes(b"m" * 31)
    with pytest.raises(NotSetUp, match="32"):
        await house.service.check_store()


class PulledAtOnce:
    """PC/SC telling that the card left, from a thread of its own as `Watch` does."""

    def __init__(self, slot: object, gone: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=gone)
        self._thread.start()

    def stop(self) -> None:
        self._thread.join()


async def test_a_watched_consultation_ends_when_the_card_is_pulled(house, monkeypatch):
    monkeypatch.setattr(guard, "Watch", PulledAtOnce)
    monkeypatch.setattr(documents, "slot_of", lambda part: part)
    async with house.session() as dmp:
        consultation = await dmp.documents.consult(house.of("PATIENT"))
        assert await dmp.documents.watch(consultation, presence="reader", until=asyncio.Event().wait()) == "card removed"
        assert await dmp.documents.end() == 0


async def test_a_watched_consultation_ends_with_its_time(house):
    async with house.session() as dmp:
        consultation = await dmp.documents.consult(house.of("PATIENT"))
        house.running.clock.offset += timedelta(minutes=30)
        assert await dmp.documents.watch(consultation, until=asyncio.Event().wait()) == "time"
        assert await dmp.documents.end() == 0
