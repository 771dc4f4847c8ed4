"""What a database error means: again at once, later, never. One table for both engines.

Unknown means temporary: the peer or the queue keeps the message.
"""

from __future__ import annotations

import enum
import sqlite3

import sqlalchemy as sa

from mssgw.core.errors import Deferred


class Fault(enum.Enum):
    RETRY = enum.auto()  # another writer was in the way; run it again
    GONE = enum.auto()  # the connection ended
    FULL = enum.auto()  # no room
    FAILED = enum.auto()  # disk or server trouble; later, perhaps
    BUG = enum.auto()  # a statement or a value of ours is wrong


_SQLITE = (
    ("SQLITE_BUSY", Fault.RETRY),
    ("SQLITE_LOCKED", Fault.RETRY),
    ("SQLITE_FULL", Fault.FULL),
    ("SQLITE_CONSTRAINT", Fault.BUG),
    ("SQLITE_ERROR", Fault.BUG),
    ("SQLITE_MISMATCH", Fault.BUG),
    ("SQLITE_RANGE", Fault.BUG),
    ("SQLITE_MISUSE", Fault.BUG),
)
_POSTGRESQL = (  # SQLSTATE, by its beginning
    ("40", Fault.RETRY),  # serialization failure, deadlock
    ("55P03", Fault.RETRY),  # lock not available
    ("53100", Fault.FULL),
    ("53", Fault.FAILED),
    ("57", Fault.GONE),
    ("08", Fault.GONE),
    ("58", Fault.FAILED),
    ("XX", Fault.FAILED),
)


def classify(error: BaseException) -> Fault:
    driver = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(driver, sqlite3.Error):
        name = getattr(driver, "sqlite_errorname", None) or ""
        return next((fault for start, fault in _SQLITE if name.startswith(start)), Fault.FAILED if name else Fault.BUG)
    if isinstance(driver, OSError):
        return Fault.FAILED
    state = getattr(driver, "sqlstate", None)
    if state is None:  # psycopg has none when it lost, or never had, the connection
        return Fault.GONE if any(kind.__name__ == "OperationalError" for kind in type(driver).__mro__) else Fault.BUG
    return next((fault for start, fault in _POSTGRESQL if state.startswith(start)), Fault.BUG)


def full(detail: str) -> Deferred:
    """No room for mail: RFC 3463 4.3.1 says the system is full, RFC 5321 4.2.3 the code."""
    return Deferred("Insufficient system storage, try again later", code=452, enhanced="4.3.1", detail=detail)


def deferred(error: BaseException) -> Deferred:
    """What the caller hears. The text of the database goes to the log only."""
    said = str(getattr(error, "orig", None) or error).partition("\n")[0]
    return full(said) if classify(error) is Fault.FULL else Deferred("Mail store unavailable, try again later", detail=said)
