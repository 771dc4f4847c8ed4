"""Which tests run in one process, one after the other, when pytest runs several (`-n`).

A file is a group, because the files' own fixtures (keys, programs by others) cost more than their tests. Files that share
something of which a machine has one are one group. Files that take longest begin first, so that none is left over at the
end: they say so with `pytestmark = pytest.mark.slow`.

A scheduler of ours, because pytest-xdist 3.8 loses its marks `xdist_group` under pytest 9.2 (it writes `Item._nodeid`,
which nobody reads any more): two processes then waited for each other's card daemon.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]
# What a machine or a session has one of: a fixture, and the folder whose tests take it.
ONE_AT_A_TIME = {
    "pcscd": "tests/dmp/cards/",  # the card daemon and its virtual reader
    "world": "tests/peers/",  # one demo for all programs by others
}


@functools.cache
def group(file: str) -> str:
    """The name of the group of a file: the fixture that it shares with others, else the file."""
    for fixture, folder in ONE_AT_A_TIME.items():
        if file.startswith(folder) and re.search(rf"\b{fixture}\b", (ROOT / file).read_text(encoding="utf-8")):
            return fixture
    return file


class ByGroup(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup:
    return ByGroup(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)  # stable: slow files first, the rest in order
