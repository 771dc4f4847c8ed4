"""The groups of tests that several processes share: what there is one of is used by one process."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from tests.groups import ByGroup, group


def test_files_that_share_a_daemon_are_one_group() -> None:
    assert group("tests/dmp/cards/test_vitale.py") == group("tests/dmp/cards/test_consultation_by_card.py") == "pcscd"
    assert group("tests/peers/test_raw_relay.py") == group("tests/peers/test_swaks_submission.py") == "world"
    assert group("tests/trust/test_service.py") == "tests/trust/test_service.py"


@dataclass(eq=False)
class Process:
    """A process of the run, as pytest-xdist's scheduler sees it. It only notes the numbers of the tests it is given."""

    name: str
    given: list[int] = field(default_factory=list)
    shutting_down: bool = False

    @property
    def gateway(self) -> SimpleNamespace:
        return SimpleNamespace(id=self.name)

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.given += numbers

    def shutdown(self) -> None:
        self.shutting_down = True


TESTS = [
    f"{file}::{name}[{n}]"
    for n in range(6)  # mixed: neighbours belong to different groups
    for file, name in (
        ("tests/dmp/cards/test_vitale.py", "test_a"),
        ("tests/trust/test_service.py", "test_b"),
        ("tests/dmp/cards/test_consultation_by_card.py", "TestClass::test_c"),
        ("tests/trust/test_status.py", "TestClass::test_d"),
        ("tests/trust/test_status.py", "test_e"),
    )
]


@pytest.mark.parametrize("reorder", [True, False])
def test_a_group_runs_in_one_process(request: pytest.FixtureRequest, reorder: bool) -> None:
    """By the scheduler that this very run asks for. Marks `xdist_group` were lost in silence under a newer pytest."""
    option = SimpleNamespace(tx=["popen", "popen"], loadscopereorder=reorder, maxprocesses=None, px=[])
    config = SimpleNamespace(option=option, getvalue=lambda name: getattr(option, name))
    scheduler = request.config.hook.pytest_xdist_make_scheduler(config=config, log=None)
    assert isinstance(scheduler, ByGroup)
    processes = [Process("one"), Process("two")]
    for process in processes:
        scheduler.add_node(process)
        scheduler.add_node_collection(process, TESTS)
    scheduler.schedule()
    done: set[int] = set()
    while len(done) < len(TESTS):
        for process in processes:  # in turn, as fast as each other
            if pending := [n for n in process.given if n not in done]:
                scheduler.mark_test_complete(process, pending[0])
                done.add(pending[0])
    assert not scheduler.has_pending

    assert Counter(n for process in processes for n in process.given) == Counter(range(len(TESTS)))
    assert all(process.given for process in processes)
    where = [{group(TESTS[n].partition("::")[0]) for n in process.given} for process in processes]
    assert where[0].isdisjoint(where[1])
