"""What every flow of a worker works with."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mssgw.core.body import Body
from mssgw.core.clock import Clock
from mssgw.core.config import Config
from mssgw.flow.bounce import Reports
from mssgw.flow.delivery import LocalDelivery
from mssgw.flow.protection import Protection
from mssgw.store import Store

T = TypeVar("T")

OFF_LOOP = 128 * 1024  # octets from which a message is parsed and copied in a thread


@dataclasses.dataclass(frozen=True, slots=True)
class Resources:
    """What every flow of a worker works with."""

    config: Config
    store: Store
    clock: Clock
    local: LocalDelivery
    protection: Protection
    reports: Reports
    spool: Path

    @classmethod
    def of(cls, config: Config, store: Store, clock: Clock, protection: Protection) -> Resources:
        spool = Path(config.node.data) / "spool"
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        local = LocalDelivery(config, store)
        return cls(config, store, clock, local, protection, Reports(config, store, clock, local), spool)


async def off_loop(body: Body, work: Callable[[], T]) -> T:
    """Runs `work` at once for a small message, which is faster, and in a thread for a large one, so that the loop goes on."""
    return work() if body.size < OFF_LOOP else await asyncio.to_thread(work)
