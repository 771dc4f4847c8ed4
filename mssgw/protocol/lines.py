"""Line ends: CRLF and nothing else (RFC 5321 2.3.8, RFC 2045 2.7, 2.8; docs/reference/crypto.md 9.24).

Each question is answered in two passes over the octets.
"""

from __future__ import annotations

import re

_LONE_CR = re.compile(rb"\r(?!\n)")
_WITHIN_LINES = bytes(octet for octet in range(256) if octet not in b"\r\n")


def count_crlf(octets: bytes) -> int | None:
    """How many CRLF stand in these octets; None when a CR or an LF stands alone."""
    ends = octets.translate(None, _WITHIN_LINES)
    count = ends.count(b"\n")
    if 2 * count != len(ends) or _LONE_CR.search(octets):  # each CR has its LF, and there are as many of both
        return None
    return count
