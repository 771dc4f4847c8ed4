"""How many inputs a property gets, and the long run of a fuzzer.

Profiles of hypothesis: `dev`, each day, a third of the inputs, others each time; `ci` (MSSGW_HYPOTHESIS=ci), all of them, the
same each time, so that a red run is red again. MSSGW_FUZZ=long: ten minutes shared by the readers of mail, every call watched.
"""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Callable

from hypothesis import HealthCheck, settings

PROFILE = os.environ.get("MSSGW_HYPOTHESIS", "dev")
LONG = os.environ.get("MSSGW_FUZZ") == "long"
SECONDS = 150.0  # each of the four: messages, CMS, certificates, MIME
MOST_SECONDS, MOST_KB = 1.0, 200 * 1024


def load_profile() -> None:
    """No deadlines and no complaint about slowness: nothing here depends on how fast a machine is."""
    named = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("dev", **named)
    settings.register_profile("ci", **named, derandomize=True, print_blob=True)
    settings.load_profile(PROFILE)


def examples(number: int) -> int:
    """max_examples of a property that `ci` tries `number` times."""
    return number if PROFILE == "ci" else max(number // 3, 10)


def watched(work: Callable[[random.Random], None], seconds: float = SECONDS) -> str:
    """Call `work` with ever new seeds; fails with the seed of a call that takes too long or too much memory. Prints the worst (-rP)."""
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
    """The most memory that this process ever held, in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
