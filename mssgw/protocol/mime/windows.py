"""A body in a file as something to search and slice, one window in memory at a time."""

from __future__ import annotations

from mssgw.core.body import Body

WINDOW = 1 << 20


class Windows:
    """What the parser needs of `bytes`: len, slices (which should be small) and find."""

    __slots__ = ("_at", "_body", "_kept")

    def __init__(self, body: Body) -> None:
        self._body = body
        self._at, self._kept = 0, b""

    def __len__(self) -> int:
        return self._body.size

    def __getitem__(self, where: slice) -> bytes:
        start, stop, _ = where.indices(self._body.size)
        if self._at <= start and stop <= self._at + len(self._kept):
            return self._kept[start - self._at : stop - self._at]
        if stop - start > WINDOW:
            return self._body.read(start, stop - start)
        self._load(start)
        return self._kept[: max(0, stop - start)]

    def find(self, needle: bytes, start: int, end: int) -> int:
        at = start
        while at < end:
            if not self._at <= at <= self._at + len(self._kept) - len(needle):
                self._load(at)
            found = self._kept.find(needle, at - self._at, end - self._at)
            if found != -1:
                return self._at + found
            if self._at + len(self._kept) >= min(end, self._body.size):
                return -1
            at = self._at + len(self._kept) - len(needle) + 1
        return -1

    def _load(self, at: int) -> None:
        self._at, self._kept = at, self._body.read(at, WINDOW)
