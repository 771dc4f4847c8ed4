"""The long run of a fuzzer: MSSGW_FUZZ=long, ten minutes shared by the readers of mail, every single call watched."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Callable

LONG = os.environ.get("MSSGW_FUZZ") == "long"
SECONDS = 150.0  # each of the four: messages, CMS, certificates, MIME
MOST_SECONDS, MOST_KB = 1.0, 200 * 1024


def watched(work: Callable[[random.Random], None], seconds: float = SECONDS) -> str:
    """Call `work` with ever new seeds; fails with the seed of a call that takes too much. What was the worst, for -rP."""
    began, ends, seed = _peak(), time.monotonic() + seconds, random.randrange(1 << 64)
    calls, slowest = 0, 0.0
    while time.monotonic() < ends:
        seed += 1
        start, before = time.process_time(), _peak()
        work(random.Random(seed))
        spent = time.process_time() - start
        assert spent < MOST_SECONDS, f"{spent:.1f} s for seed {seed}"
        assert _peak() - before < MOST_KB, f"{_peak() - before} kB for seed {seed}"
        calls, slowest = calls + 1, max(slowest, spent)
    return f"{work.__name__}: {calls:,} inputs, the slowest {slowest * 1e3:.0f} ms, memory +{(_peak() - began) / 1024:.0f} MB"


def _peak() -> int:
    """kB, the most this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
