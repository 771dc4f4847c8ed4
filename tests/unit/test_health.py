"""What /health/ready is made of: each part by its word, and a database that never answers."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace

import pytest

from mssgw.core.errors import Deferred
from mssgw.node import health
from mssgw.node.health import Health
from mssgw.trust.faults import Fault, refusal


class Store:
    """A store that answers when told to; it counts how often it was asked."""

    def __init__(self, data, free_disk=0) -> None:
        self.config = SimpleNamespace(node=SimpleNamespace(data=data), limits=SimpleNamespace(free_disk=free_disk))
        self.answered = asyncio.Event()
        self.fails = False
        self.accounts = True
        self.asked = 0

    async def has_accounts(self) -> bool:
        self.asked += 1
        await self.answered.wait()
        if self.fails:
            raise Deferred(detail="gone")
        return self.accounts


class Trust:
    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault

    @property
    def space(self) -> object:
        if self.fault:
            raise refusal(self.fault)
        return object()


async def test_all_is_well(tmp_path):
    store = Store(tmp_path)
    store.answered.set()
    assert await Health(store, Trust).report() == {"store": "ok", "list": "ok", "disk": "ok"}


async def test_a_store_that_is_gone(tmp_path):
    store = Store(tmp_path)
    store.answered.set()
    store.fails = True
    assert (await Health(store, Trust).report())["store"] == "unavailable"


async def test_a_store_without_any_account_is_not_ready(tmp_path):
    """Regression: a store that had become an empty one was "ready", and mail was refused for good."""
    store = Store(tmp_path)
    store.answered.set()
    store.accounts = False
    assert (await Health(store, Trust).report())["store"] == "no-account"


async def test_a_silent_database_is_asked_once_whoever_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0)
    store = Store(tmp_path)
    one = Health(store, Trust)
    assert [(await one.report())["store"] for _ in range(3)] == ["silent"] * 3
    assert store.asked == 1
    store.answered.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    monkeypatch.setattr(health, "ANSWER_SECONDS", 60)
    assert (await one.report())["store"] == "ok"


@pytest.mark.parametrize(("fault", "word"), [(Fault.NO_LIST, "none"), (Fault.LIST_TOO_OLD, "too-old")])
async def test_a_list_that_can_not_be_used(tmp_path, fault, word):
    store = Store(tmp_path)
    store.answered.set()
    assert (await Health(store, lambda: Trust(fault)).report())["list"] == word


async def test_a_disk_that_is_full_or_gone(tmp_path):
    disk = os.statvfs(tmp_path)
    for data, least, word in ((tmp_path, disk.f_blocks * disk.f_frsize + 1, "full"), (tmp_path / "gone", 0, "unavailable")):
        store = Store(data, least)
        store.answered.set()
        assert (await Health(store, Trust).report())["disk"] == word
