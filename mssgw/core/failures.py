"""What is logged of an exception that ended some work: an outage is no bug."""

from __future__ import annotations

import errno
import time
from typing import Any

from mssgw.core.errors import Deferred
from mssgw.observe import Event, log, log_bug

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
_EVERY = 60.0  # seconds between two lines with the same reason
_REASONS = 64  # that are remembered
_logged: dict[str, tuple[float, int]] = {}  # reason: when it was logged, and how often it was not since


def log_failure(error: BaseException, **fields: Any) -> None:
    """Logs it; nothing of it goes to the peer.

    A bug with its whole stack. While something that we need is away (a `Deferred`, a disk that is full or broken), one line a
    minute for each reason, with the number of `times` since the last.
    """
    if not isinstance(error, Deferred) and not (isinstance(error, OSError) and error.errno in _DISK):
        log_bug(error, **fields)
        return
    reason, now = str(error), time.monotonic()
    at, times = _logged.get(reason, (now - _EVERY, 0))
    if now < at + _EVERY:
        _logged[reason] = at, times + 1
        return
    if len(_logged) >= _REASONS:
        _logged.clear()
    _logged[reason] = now, 0
    log(Event.OUTAGE, "error", reason=reason, times=times + 1, **fields)
