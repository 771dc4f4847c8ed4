"""What a test needs of the machine, decided when tests are collected: before any fixture, and in one place.

    @pytest.mark.peer("openssl", "/usr/sbin/slapd")    programs by others: a name on PATH (or in /usr/sbin), or a file (a pattern)
    @pytest.mark.package("saxonche")                   Python packages that are extras
    @pytest.mark.root("Postfix starts as root")        the rights of root
    @pytest.mark.material("crypto/pkits")              test data that may not be redistributed, below the shared data
    @pytest.mark.wall_clock("why")                     the machine's true date: left out of `make calendar`
    @peer("pcscd") above a fixture                     everything that uses the fixture needs it

A test whose need is missing is skipped. It fails with MSSGW_REQUIRE_PEERS=1 (peer, package) or MSSGW_REQUIRE_DATA=1 (material).
One line at the end of the run counts what was skipped, by reason.
"""

from __future__ import annotations

import functools
import glob
import importlib.util
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tests import material

_F = TypeVar("_F", bound=Callable[..., object])
_REFUSED = pytest.StashKey[str]()
SWAKS_TLS = "/usr/lib/*/perl5/*/Net/SSLeay.pm"  # without it swaks has no TLS
KINDS = ("peer", "package", "root", "material", "wall_clock")
REQUIRED_BY = {"peer": "MSSGW_REQUIRE_PEERS", "package": "MSSGW_REQUIRE_PEERS", "material": "MSSGW_REQUIRE_DATA"}


def _decorator(kind: str) -> Callable[..., Callable[[_F], _F]]:
    def needs(*names: str) -> Callable[[_F], _F]:
        def marked(fixture: _F) -> _F:
            fixture.__dict__.setdefault("needs", []).append((kind, names))
            return fixture

        return marked

    return needs


peer, package, root, shared = (_decorator(kind) for kind in KINDS[:4])


@functools.cache
def there(kind: str, name: str) -> bool:
    """Whether the machine has it."""
    match kind:
        case "peer":
            return bool(shutil.which(name) or shutil.which(name, path="/usr/sbin") or (name.startswith("/") and glob.glob(name)))
        case "package":
            return importlib.util.find_spec(name) is not None
        case "root":
            return os.geteuid() == 0
        case "material":
            return material.place(name).exists()
        case "wall_clock":
            return "FAKETIME" not in os.environ
    raise AssertionError(kind)


def absence(kind: str, name: str) -> str:
    """How the line at the end names it."""
    return {
        "package": f"without the package {name}",
        "root": "not as root",
        "material": f"without the data {name}",
        "wall_clock": "under another date",
    }.get(kind, f"without {name.rpartition('/')[2]}")


def needed(item: pytest.Item) -> Iterator[tuple[str, str]]:
    """(kind, name) of each need of a test: its own marks, those of its parameters, those of its fixtures."""
    for kind in KINDS:
        for mark in item.iter_markers(kind):
            yield from ((kind, name) for name in mark.args or ("",))
    fixtures = getattr(item, "_fixtureinfo", None)
    for definitions in fixtures.name2fixturedefs.values() if fixtures else ():
        for kind, names in getattr(definitions[-1].func, "needs", ()):
            yield from ((kind, name) for name in names or ("",))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for kind, name in needed(item):
            if there(kind, name):
                continue
            if os.environ.get(REQUIRED_BY.get(kind, "")) == "1":
                item.stash[_REFUSED] = f"{absence(kind, name)}, and {REQUIRED_BY[kind]}=1 (`tests/peers/install` as root installs programs)"
            else:
                item.add_marker(pytest.mark.skip(reason=absence(kind, name)), append=False)  # before pytest's own for no parameters
            break


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if reason := item.stash.get(_REFUSED, None):
        pytest.fail(reason, pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line: how many were skipped for which reason."""
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", ()))
    if reasons:
        terminalreporter.write_line("skipped: " + ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())))
