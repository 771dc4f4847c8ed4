"""What a log says of work that failed: an outage is one line a minute, a bug has its stack."""

from __future__ import annotations

import json
import subprocess
import sys


def logged(script: str) -> list[dict[str, object]]:
    """The lines of a process that runs this with a log."""
    script = f"import errno\nfrom mssgw import observe\nfrom mssgw.core import failures\nfrom mssgw.core.errors import Deferred\nobserve.configure('info', 'json')\n{script}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_an_outage_is_no_bug_and_one_line_while_it_lasts():
    """Regression: while the database was stopped, or the disk full, `node.bug` came with its whole stack every second."""
    lines = logged(
        """
clock = 0.0
failures.time.monotonic = lambda: clock
for clock in range(0, 121, 10):
    failures.log_failure(Deferred(detail="connection refused"))
    failures.log_failure(OSError(errno.ENOSPC, "No space left on device"))
    failures.log_failure(ValueError("wrong"))
"""
    )
    outages = [(one["reason"], one["times"]) for one in lines if one["event"] == "node.outage"]
    assert [times for reason, times in outages if "connection refused" in str(reason)] == [1, 6, 6]
    assert [times for reason, times in outages if "No space left" in str(reason)] == [1, 6, 6]
    assert not any("exception" in one for one in lines if one["event"] == "node.outage")
    bugs = [one for one in lines if one["event"] == "node.bug"]
    assert len(bugs) == 13
    assert "ValueError: wrong" in str(bugs[0]["exception"])


def test_reasons_that_never_repeat_are_not_kept_for_ever():
    lines = logged("for number in range(200): failures.log_failure(Deferred(detail=str(number)))\nassert len(failures._logged) <= 64")
    assert len(lines) == 200
