"""The matrix of functional rights (docs/reference/dmp.md 7.4) as a table, read by one function.

Columns: who calls and in which mode. Cells: Y yes, N no, O own documents only, A if the patient authorised
the caller, S documents of the caller's structure only. AIR follows the card column for professionals, except
feeding, which is not open to it; staff (PE) follow the staff column.
"""

from __future__ import annotations

import enum
from typing import Final

from dmp_connector.errors import AccessDenied


class Right(enum.Enum):
    """A row of the matrix of rights, written again here so that the client is not judged by its own table."""

    EXISTENCE = "TD0.2"
    AUTHORISE = "TD0.3 declare"
    WITHDRAW = "TD0.3 remove"
    WITHDRAW_TREATING = "TD0.3 remove MT"
    LIST = "TD0.4"
    SEARCH = "TD0.5"
    MANAGE = "TD1.1 to TD1.5"
    READ_ADMINISTRATIVE = "TD1.3a"
    PROFESSIONALS = "TD1.6"
    FEED = "TD2.1"
    FIND = "TD3.1a"
    LOCATE = "TD3.1b"
    RETRIEVE = "TD3.2"
    RETRIEVE_MASKED = "TD3.2 masked"
    MASK = "TD3.3a mask"
    UNMASK = "TD3.3a unmask"
    MAKE_VISIBLE = "TD3.3b"
    ARCHIVE = "TD3.3d"
    ARCHIVE_DOCTOR = "TD3.3d by a doctor"
    DELETE = "TD3.3c"


class Column(enum.IntEnum):
    """A column of it."""

    CARD = 0
    CARD_REGULATION = 1
    CARD_BRIS_DE_GLACE = 2
    TREATING = 3
    TREATING_BRIS_DE_GLACE = 4
    OCCUPATIONAL = 5
    STAFF_CARD = 6
    STRUCTURE = 7


class Reach(enum.Enum):
    """How far a right goes."""

    ALL = "Y"
    NONE = "N"
    OWN = "O"
    AUTHORISED = "A"
    STRUCTURE = "S"


#                                 CPS reg bris MT MTbris MdT CPE ES
_TABLE: Final[dict[Right, str]] = {
    Right.EXISTENCE:              "Y   Y   Y   Y   Y   Y   Y   Y",
    Right.AUTHORISE:              "Y   N   N   Y   N   Y   Y   N",
    Right.WITHDRAW:               "Y   N   N   Y   N   Y   N   N",
    Right.WITHDRAW_TREATING:      "N   N   N   Y   N   N   N   N",
    Right.LIST:                   "Y   Y   Y   Y   Y   Y   Y   Y",
    Right.SEARCH:                 "N   Y   N   N   N   N   N   N",
    Right.MANAGE:                 "Y   N   N   Y   N   Y   Y   Y",
    Right.READ_ADMINISTRATIVE:    "Y   Y   Y   Y   Y   Y   Y   Y",
    Right.PROFESSIONALS:          "Y   N   N   Y   N   Y   N   N",
    Right.FEED:                   "Y   Y   Y   Y   Y   Y   Y   Y",
    Right.FIND:                   "Y   Y   Y   Y   Y   Y   N   N",
    Right.LOCATE:                 "Y   Y   Y   Y   Y   Y   Y   Y",
    Right.RETRIEVE:               "Y   Y   Y   Y   Y   N   N   N",
    Right.RETRIEVE_MASKED:        "O   A   A   Y   A   N   N   N",
    Right.MASK:                   "Y   N   N   Y   N   Y   N   N",
    Right.UNMASK:                 "O   N   N   Y   N   O   N   N",
    Right.MAKE_VISIBLE:           "Y   N   N   Y   N   Y   N   N",
    Right.ARCHIVE:                "O   N   N   Y   Y   O   N   N",
    Right.ARCHIVE_DOCTOR:         "O   Y   Y   Y   Y   O   N   N",
    Right.DELETE:                 "O   O   O   O   O   O   S   S",
}  # fmt: skip
_MATRIX: Final = {right: tuple(Reach(cell) for cell in cells.split()) for right, cells in _TABLE.items()}


def reach(right: Right, column: Column, *, air: bool = False, regulation: bool = False) -> Reach:
    """The cell of the table. `air`: asserted by the structure after a strong login. `regulation`: mode centre_15."""
    if right is Right.FEED and air:
        return Reach.NONE  # PDT-INF-606
    if right is Right.SEARCH and column is Column.STRUCTURE and regulation:
        return Reach.ALL
    if right is Right.LIST and column is Column.STRUCTURE and regulation:
        return Reach.NONE
    return _MATRIX[right][column]


def deny(right: Right, why: str = "") -> AccessDenied:
    """The refusal of the service of rights; to be raised."""
    text = f"Accès refusé par le service des droits ({right.value})" + (f" : {why}" if why else "")
    return AccessDenied("DMPAccessDeniedByRightsService", text)
