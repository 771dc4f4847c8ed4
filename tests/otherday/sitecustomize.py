"""Read by every Python of `make calendar`: with true monotonic time, libfaketime (0.9.10) makes clock_nanosleep fail with EINVAL."""

import select
import time


def _sleep(seconds: float) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select((), (), (), seconds)


time.sleep = _sleep
