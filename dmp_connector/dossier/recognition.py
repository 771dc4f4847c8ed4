"""Whose dossier is about to be opened: named by the register and agreed to, before anything is.

An INS that is mistyped and whose key holds is somebody else's. What opens a dossier or changes a document takes a
`Recognised`, and only `Recognition.of` makes one, so that no caller can forget to ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from dmp_connector.client import Call
from dmp_connector.dossier.desk import Desk
from dmp_connector.dossier.identity import NOTHING_TYPED, Qualified, Typed
from dmp_connector.dossier.rights import Action
from dmp_connector.errors import NotConfirmed
from dmp_connector.model.dossier import AdministrativeData
from dmp_connector.model.people import AccessMode, Ins, Patient
from dmp_connector.texts import message

Gesture = bool | Callable[[Patient], bool]
"""The explicit yes of a person: given already, or a question that is put once it is known whose dossier it is."""

_MADE_HERE: Final = object()


def given(gesture: Gesture, patient: Patient) -> bool:
    """The answer about this patient; the question is put now, when it is one."""
    return gesture if isinstance(gesture, bool) else gesture(patient)


class Blind(NotConfirmed):
    """An emergency access confirmed beforehand, without a trait of the patient to compare with the register."""

    def __init__(self) -> None:
        super().__init__(message("dossier.blind"))


class Recognised:
    """A patient whom the register has named, and the gesture that was made about this name. Made by `Recognition` only."""

    __slots__ = ("call", "confirmed", "patient")

    def __init__(self, call: Call, patient: Patient, confirmed: bool, *, made: object = None) -> None:
        if made is not _MADE_HERE:
            raise TypeError("only Recognition.of makes one")
        self.call, self.patient, self.confirmed = call, patient, confirmed


class Recognition:
    """Asks the register, once for each patient as long as this object lives: as long as a person's session."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: dict[Ins, AdministrativeData] = {}

    async def of(self, call: Call, gesture: Gesture = False, *, typed: Typed = NOTHING_TYPED, reason: str = "") -> Recognised:
        """The patient of the call, and the answer of who was asked about them. Raises what `patient` does."""
        patient = await self.patient(call, gesture, typed=typed, reason=reason)
        return Recognised(call, patient, given(gesture, patient), made=_MADE_HERE)

    async def patient(self, call: Call, gesture: Gesture = False, *, typed: Typed = NOTHING_TYPED, reason: str = "") -> Patient:
        """The person that the INS belongs to, by the DMP's administrative data (TD1.3a, open to everybody), before anything is opened.

        `typed`: what the caller knows of the patient. Raises AccessOpposed, TraitsDiffer when that is not what the register has,
        Blind when nobody would see whose dossier an emergency opens, NoDossier, Unavailable; ValueError for a call without patient.
        """
        if call.ins is None:
            raise ValueError("a call about nobody")
        if call.mode is not AccessMode.NORMAL and gesture is True and not typed.tells_persons_apart:
            raise Blind
        desk, asked = self._desk, replace(call, mode=AccessMode.NORMAL)
        if (data := self._known.get(call.ins)) is None:
            data = await desk.asked(asked, Action.READ_ADMINISTRATIVE, desk.dmp.td13a_read(asked))
            self._known[call.ins] = data
        typed.require(Qualified(data.patient, "DMP"))
        if data.oppositions.against(call.mode):  # the official answer of TD0.2 carries none: either one refuses
            dossier = replace(await desk.existence(asked), oppositions=data.oppositions)
            await desk.decided(call, dossier, Action.FIND, reason=reason, confirmed=True)
        return data.patient
