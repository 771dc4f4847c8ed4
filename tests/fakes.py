"""Small stand-ins shared by tests: a clock that tests move, and short ways to make values."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

from mssgw.core.address import Address


def address(text):
    return Address.parse(text)


class FakeClock:
    """Time stands still until `advance`; sleepers wake in the order of their time."""

    def __init__(self, start=datetime(2026, 11, 22, 12, 0, tzinfo=UTC)):
        self._now = start
        self._sleepers = []
        self._count = 0

    def now(self):
        return self._now

    async def sleep(self, seconds):
        woken = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), self._count, woken))
        await woken

    async def advance(self, seconds):
        """Move on, waking everybody whose time comes; gives the loop turns so that they run."""
        until = self._now + timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= until:
            self._now, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
            await turns()
        self._now = until
        await turns()


async def turns(count=10):
    for _ in range(count):
        await asyncio.sleep(0)
