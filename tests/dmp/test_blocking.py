"""The library without an event loop: each call waits for its answer, and Ctrl-C ends it in order."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import dmp_connector
from dmp_connector.blocking import Blocking
from dmp_connector.client import Dmp
from dmp_connector.dossier.consultation import Consultations
from dmp_connector.dossier.desk import Desk
from dmp_connector.dossier.recognition import Recognition
from dmp_connector.errors import NoDossier
from dmp_connector.model import DossierState
from dmp_connector.store import DmpStore
from tests.dmp.conftest import STORE_KEYS


def test_transactions_and_acts_without_an_event_loop(dmp_running, call_of, tmp_path):
    store = DmpStore.open(f"sqlite:{tmp_path / 'dmp.db'}", STORE_KEYS)
    with Blocking() as loop:
        dmp = loop.enter(Dmp(dmp_running.settings, dmp_running.signer, now=dmp_running.clock))
        call = call_of("PATIENT")
        assert loop.run(dmp.td02_existence(call)).state is DossierState.ACTIVE
        desk = Desk(dmp, store)
        consultations, recognition = Consultations(desk), Recognition(desk)
        consultation = loop.run(consultations.open(loop.run(recognition.of(call))))
        assert loop.run(consultations.find(consultation))
        with pytest.raises(NoDossier):
            loop.run(recognition.of(call_of("SANSDOSSIER")))
    store.close()


def test_what_was_entered_is_left_the_last_one_first():
    said: list[str] = []

    @asynccontextmanager
    async def room(name: str):
        yield name
        said.append(name)

    with Blocking() as loop:
        assert [loop.enter(room(name)) for name in ("first", "second")] == ["first", "second"]
    assert said == ["second", "first"]
    loop.close()  # a second time does nothing


def test_an_answer_that_does_not_come_in_time_is_a_timeout():
    with Blocking() as loop, pytest.raises(TimeoutError):
        loop.run(asyncio.Event().wait(), seconds=0.01)


def test_ctrl_c_ends_the_work_before_the_program_goes_on(monkeypatch):
    said: list[object] = []
    begun, real = threading.Event(), threading.Event.wait

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            await asyncio.sleep(0)
            said.append(error.args)
            raise

    def interrupted(self, timeout=None):
        monkeypatch.undo()
        assert begun.wait(20)
        raise KeyboardInterrupt

    with Blocking() as loop:
        monkeypatch.setattr(threading.Event, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.run(work())
    assert threading.Event.wait is real
    assert said == [("SIGINT",)]


def test_no_sentence_of_the_library_names_a_command_line():
    """The program around it says which command mends what (mssgw/cli/dmp/hints.py)."""
    for catalogue in Path(dmp_connector.__file__).parent.glob("locale/*/LC_MESSAGES/*.po"):
        sentences = [line for line in catalogue.read_text("utf-8").splitlines() if not line.startswith(("#", "msgid"))]
        assert not [line for line in sentences if re.search(r"(^|\s)--[a-z]|\bmssgw\b", line)]
