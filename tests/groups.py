"""Which tests run in one process, one after the other, when pytest runs several (`-n`, `--dist loadgroup`).

A file is a group, because the files' own fixtures (keys, programs by others) cost more than their tests. Tests that share
something of which a machine has one are a group across files. Groups that take longest begin first, so that none is left
over at the end: their files have `pytestmark = pytest.mark.slow`.
"""

from __future__ import annotations

import pytest

# A fixture that stands for something of which a machine or a session has one, and where it is defined.
ONE_AT_A_TIME = {
    "pcscd": "tests/dmp/cards/",  # the card daemon and its virtual reader
    "world": "tests/peers/",  # one demo for all programs by others
}


def group(item: pytest.Item) -> str:
    """The name of the group: that fixture, else the file."""
    for name in getattr(item, "fixturenames", ()):
        if item.nodeid.startswith(ONE_AT_A_TIME.get(name, "\0")):
            return name
    return item.nodeid.partition("::")[0]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)  # stable: slow files first, the rest in order
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))
