"""Whether this worker can take mail now: the answer of /health/ready. (/health/live only needs a running process.)"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from mssgw.core.errors import Deferred, MailError
from mssgw.store import Store
from mssgw.trust import Trust
from mssgw.trust.faults import Fault, fault_of

ANSWER_SECONDS = 5.0  # seconds; a database that takes longer counts as down


class Health:
    """Answers monitoring; at most one check runs at a time, and requests that come meanwhile share its result."""

    def __init__(self, store: Store, trust: Callable[[], Trust]) -> None:
        self._store, self._trust = store, trust
        self._asking: asyncio.Task[str] | None = None

    async def report(self) -> dict[str, str]:
        """What a node depends on (store, list, disk), each "ok" or a word for what is wrong. No names, addresses or sizes."""
        return {"store": await self._of_store(), "list": self._of_list(), "disk": self._of_disk()}

    async def _of_store(self) -> str:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        try:
            return await asyncio.wait_for(asyncio.shield(self._asking), ANSWER_SECONDS)
        except TimeoutError:
            return "silent"

    async def _ask(self) -> str:
        try:
            return "ok" if await self._store.has_accounts() else "no-account"
        except Deferred:
            return "unavailable"

    def _of_list(self) -> str:
        try:
            _ = self._trust().space
        except MailError as error:
            return "too-old" if fault_of(error) is Fault.LIST_TOO_OLD else "none"
        return "ok"

    def _of_disk(self) -> str:
        config = self._store.config
        try:
            disk = os.statvfs(config.node.data)
        except OSError:
            return "unavailable"
        return "ok" if disk.f_bavail * disk.f_frsize >= config.limits.free_disk else "full"
