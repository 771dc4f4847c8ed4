"""The functional rights of the DMP as data (docs/reference/dmp.md 7.4).

The server enforces them; here they hide what cannot succeed and name the reason beforehand. A column is who
acts and how; a right is yes, no, own (documents of the actor), structure (documents of its structure), patient
(when the patient authorised the professional), or regulation (in mode centre_15 only).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from dmp_connector.model.people import AccessMode, Actor, AuthenticationMode


class Action(enum.StrEnum):
    """What a professional does in a dossier, by the transaction of the guide (docs/reference/dmp.md 7.4)."""

    EXISTS = "TD0.2"
    DECLARE = "TD0.3 ajout"
    REMOVE = "TD0.3 suppression"
    REMOVE_TREATING = "TD0.3 suppression MT"
    LIST = "TD0.4"
    SEARCH = "TD0.5"
    ADMINISTER = "TD1"
    READ_ADMINISTRATIVE = "TD1.3a"
    MODIFY = "TD1.3b"
    OPPOSE = "TD1.3b opposition"
    PROFESSIONALS = "TD1.6"
    FEED = "TD2.1"
    FIND = "TD3.1"
    LOCATE = "TD3.1b"
    RETRIEVE = "TD3.2"
    RETRIEVE_MASKED = "TD3.2 masqué"
    MASK = "TD3.3a masquer"
    UNMASK = "TD3.3a démasquer"
    MAKE_VISIBLE = "TD3.3b"
    DELETE = "TD3.3c"
    ARCHIVE = "TD3.3d"


class Column(enum.StrEnum):
    """A column of the matrix of rights: how the actor is authenticated, and in which mode."""

    CPS = "CPS normal"
    CPS_REGULATION = "CPS régulation"
    CPS_EMERGENCY = "CPS bris de glace"
    TREATING = "MT normal"
    TREATING_EMERGENCY = "MT bris de glace"
    OCCUPATIONAL = "médecin du travail"
    CPE = "CPE"
    STRUCTURE = "certificat ES (indirect)"
    AIR = "AIR"


class Right(enum.StrEnum):
    """A cell of the matrix: always, never, or for one's own documents, those of the structure, with the patient."""

    YES = "yes"
    NO = "no"
    OWN = "own"
    STRUCTURE = "structure"
    PATIENT = "patient"
    REGULATION = "regulation"  # in mode centre_15 only


OCCUPATIONAL_SPECIALTIES = frozenset({"SM25", "C41", "CAPA11"})  # médecine du travail, TRE_R01

_MEANING = {"+": Right.YES, "-": Right.NO, "o": Right.OWN, "s": Right.STRUCTURE, "p": Right.PATIENT, "r": Right.REGULATION}
# One letter per column, in the order of Column.
_TABLE: Mapping[Action, str] = {
    Action.EXISTS: "+++++++++",
    Action.DECLARE: "+--+-++-+",
    Action.REMOVE: "+--+-+--+",
    Action.REMOVE_TREATING: "---+-----",
    Action.LIST: "++++++s++",
    Action.SEARCH: "-+-----rr",
    Action.ADMINISTER: "+--+-++++",
    Action.READ_ADMINISTRATIVE: "+++++++++",
    Action.MODIFY: "+--+-++++",
    Action.OPPOSE: "+--+-++-+",  # TD1 as above, but by a person: a structure alone can't ask the patient
    Action.PROFESSIONALS: "+--+-+--+",
    Action.FEED: "++++++++-",
    Action.FIND: "++++++--+",
    Action.LOCATE: "+++++++++",
    Action.RETRIEVE: "+++++---+",
    Action.RETRIEVE_MASKED: "opp+p---o",
    Action.MASK: "+--+-+--+",
    Action.UNMASK: "o--+-o--o",
    Action.MAKE_VISIBLE: "+--+-+--+",
    Action.DELETE: "oooooosso",
    Action.ARCHIVE: "o++++o--o",
}


def column_of(actor: Actor, mode: AccessMode, *, treating_doctor: bool) -> Column:
    """Which column of the matrix an actor reads."""
    if actor.authentication is AuthenticationMode.INDIRECT:
        return Column.STRUCTURE
    if actor.staff_card:
        return Column.CPE
    if mode is AccessMode.CENTRE_15:
        return Column.CPS_REGULATION
    if mode is AccessMode.BRIS_DE_GLACE:
        return Column.TREATING_EMERGENCY if treating_doctor else Column.CPS_EMERGENCY
    if treating_doctor:
        return Column.TREATING
    speciality = actor.practitioner.speciality
    if speciality is not None and speciality.code in OCCUPATIONAL_SPECIALTIES:
        return Column.OCCUPATIONAL
    return Column.AIR if actor.authentication is AuthenticationMode.AIR else Column.CPS


def right(action: Action, column: Column) -> Right:
    """The cell of the matrix."""
    return _MEANING[_TABLE[action][list(Column).index(column)]]


def possible(actor: Actor, mode: AccessMode, *, treating_doctor: bool) -> frozenset[Action]:
    """The actions worth showing: everything that is not refused outright."""
    column = column_of(actor, mode, treating_doctor=treating_doctor)
    found = {action for action in Action if right(action, column) is not Right.NO}
    if actor.authentication is AuthenticationMode.AIR:
        found.discard(Action.FEED)  # docs/reference/dmp.md 7.4: AIR does not feed, whatever the role
    return frozenset(found)
