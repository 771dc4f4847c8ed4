"""What is remembered of foreign octets is bounded in size, not only in number."""

from __future__ import annotations

import gc
import weakref

from mssgw.pki import der


class Answer:
    pass


def test_long_octets_are_never_kept() -> None:
    """Regression: a thousand algorithm identifiers of a megabyte each stayed in memory."""
    asked: list[int] = []

    @der.lasting(4)
    def parse(octets: bytes) -> Answer:
        asked.append(len(octets))
        return Answer()

    kept, dropped = weakref.ref(parse(b"1234")), weakref.ref(parse(b"12345"))
    gc.collect()
    assert kept() is parse(b"1234")
    assert dropped() is None
    parse(b"12345")
    assert asked == [4, 5, 5]
