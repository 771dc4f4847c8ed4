"""What a database error means: try again at once, later, or never. One table for both engines.

Unknown means temporary: the peer or the queue keeps the message.
"""

from __future__ import annotations

import enum
import sqlite3

import sqlalchemy as sa

from mssgw.core.errors import Deferred, NoRoom


class Fault(enum.Enum):
    RETRY = enum.auto()  # another writer was in the way; run it again
    GONE = enum.auto()  # the connection ended
    FULL = enum.auto()  # no room
    FAILED = enum.auto()  # trouble of the disk or the server; later
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
    if state is None:  # psycopg gives none when the connection was lost or never made
        return Fault.GONE if any(kind.__name__ == "OperationalError" for kind in type(driver).__mro__) else Fault.BUG
    return next((fault for start, fault in _POSTGRESQL if state.startswith(start)), Fault.BUG)


def deferred(error: BaseException) -> Deferred:
    """The error for the caller. The text of the database goes to the log only."""
    said = str(getattr(error, "orig", None) or error).partition("\n")[0]
    return NoRoom(detail=said) if classify(error) is Fault.FULL else Deferred("Mail store unavailable, try again later", detail=said)
