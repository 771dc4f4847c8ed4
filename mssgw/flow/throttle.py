"""Throttle: how many failures are too many, by any key. In the memory of one worker, bounded."""

from __future__ import annotations

from collections import OrderedDict, deque
from datetime import datetime, timedelta

from mssgw.core.clock import Clock
from mssgw.core.errors import Deferred

WINDOW = timedelta(minutes=5)
KEYS = 50_000  # keys remembered at most; the one without failures for longest is forgotten first


class Throttle:
    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock, self._limit = clock, limit
        self._failures: OrderedDict[str, deque[datetime]] = OrderedDict()

    def require(self, key: str) -> None:
        """Raises Deferred 454 while `limit` failures lie within the last five minutes."""
        failures = self._recent(key)
        if failures is not None and len(failures) >= self._limit:
            raise Deferred("Too many failed logins, wait five minutes", code=454, enhanced="4.7.0", detail=key)

    def failed(self, key: str) -> None:
        failures = self._failures.setdefault(key, deque(maxlen=self._limit))
        failures.append(self._clock.now())
        self._failures.move_to_end(key)
        for _ in range(2):  # one more than may come
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Forget the key without failures for longest when its time is over, or when there are too many."""
        last = next(iter(self._failures.values()))
        if len(self._failures) > KEYS or last[-1] <= self._clock.now() - WINDOW:
            self._failures.popitem(last=False)

    def forget(self, key: str) -> None:
        self._failures.pop(key, None)

    def _recent(self, key: str) -> deque[datetime] | None:
        failures = self._failures.get(key)
        while failures and failures[0] <= self._clock.now() - WINDOW:
            failures.popleft()
        if failures is not None and not failures:
            del self._failures[key]
        return failures
