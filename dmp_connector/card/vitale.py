"""The patient's Vitale card behind one interface: the persons on it, traits unchanged (EX_GEN-1250).

The real card is read by the "API de lecture Vitale", licensed software with a layout that is not public: it
runs as an external program of the operator's (`ExternalVitaleReader`) that prints one JSON document. The
simulated card of tests and demonstrations is read over PC/SC (`PcscVitaleReader`) and carries the same JSON.

    {"kind": "real|test|demo", "serial": "...", "beneficiaries": [
      {"nir": "279035121518989", "rank": 1, "birth_name": "...", "used_name": "...", "given": "...",
       "birth_date": "1979-03-28", "sex": "F"}]}
"""

from __future__ import annotations

import enum
import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Protocol, TypeVar

from dmp_connector.card.readers import Slot, connect
from dmp_connector.errors import BadIns, CardUnreadable, NoCard, NoReader
from dmp_connector.insi import VitaleIdentity
from dmp_connector.model.people import Ins, InsKind, Patient, Sex
from dmp_connector.texts import message

T = TypeVar("T")

AID = bytes.fromhex("F04D535347572E564954414C45")  # proprietary (F0): "MSSGW.VITALE"
MAX_CARD = 16 * 1024
_MAX_BENEFICIARIES = 19  # bit field of ranks on one card
_SECONDS = 30.0


class VitaleKind(enum.StrEnum):
    """EX_GEN-1430: test (white) and demonstration (green) cards are blocked in production."""

    REAL = "real"
    TEST = "test"
    DEMO = "demo"


@dataclass(frozen=True, slots=True, repr=False)
class Beneficiary:
    """One person on the card. Names as the card has them; `nir` is her own number, "" for a child without one."""

    nir: str
    rank: int
    birth_name: str
    used_name: str
    given: str
    birth_date: date
    sex: Sex

    def as_patient(self, oid: str) -> Patient:
        """The traits untouched, for TD1.1 and for comparing with INSi. Raises BadIns when the card has no own number."""
        if not self.nir:
            raise BadIns(message("card.beneficiary-no-number-her-own"))
        return Patient(
            Ins.received(self.nir, oid), self.birth_name, self.given, self.birth_date, self.sex, used_name=self.used_name or None
        )


@dataclass(frozen=True, slots=True)
class VitaleCard:
    """A Vitale as read, at `read_at` (aware). `assertion`: what the card signed for INSi, empty without."""

    serial: str
    kind: VitaleKind
    beneficiaries: tuple[Beneficiary, ...]
    read_at: datetime
    assertion: bytes = field(default=b"", repr=False)

    @property
    def oid(self) -> str:
        """The INS OID that goes with the kind of card."""
        return {VitaleKind.REAL: InsKind.NIR, VitaleKind.TEST: InsKind.NIR_TEST, VitaleKind.DEMO: InsKind.NIR_DEMO}[self.kind].value

    def beneficiary(self, rank: int) -> Beneficiary:
        """The person of this rank, counted from 1. Raises CardUnreadable: nobody has it."""
        found = next((b for b in self.beneficiaries if b.rank == rank), None)
        if found is None:
            raise CardUnreadable(message("card.no-beneficiary-rank-card", rank=rank))
        return found

    def identity(self, rank: int) -> VitaleIdentity:
        """What INSi is asked with: the holder's number and the beneficiary's birth date and rank."""
        who, holder = self.beneficiary(rank), self.beneficiaries[0]
        born = who.birth_date.strftime("%Y%m%d")
        return VitaleIdentity(holder.nir, born, who.rank, who.birth_name, who.nir, self.assertion, self.read_at)


class VitaleReader(Protocol):
    """Whatever reads a Vitale: a simulated card over PC/SC, or the licensed programme."""

    def read(self) -> VitaleCard:
        """The card now in the reader. Blocks. Raises NoReader, NoCard, CardUnreadable."""


class PcscVitaleReader:
    """The simulated card over PC/SC: SELECT by AID, then READ BINARY until short."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def read(self) -> VitaleCard:
        """Select the application and read its one file. Blocks. Raises NoCard, CardUnreadable."""
        with connect(self._slot) as card:
            _, status = card.transmit(bytes((0x00, 0xA4, 0x04, 0x00, len(AID))) + AID)
            if status != 0x9000:
                raise CardUnreadable(message("card.not-vitale-card-we-can"))
            content = b""
            while True:
                piece, status = card.transmit(bytes((0x00, 0xB0, len(content) >> 8, len(content) & 0xFF, 0xFA)))
                if status not in {0x9000, 0x6282} or len(content) + len(piece) > MAX_CARD:
                    raise CardUnreadable(message("card.card-answered", status=f"{status:04X}"))
                content += piece
                if status == 0x6282 or len(piece) < 0xFA:
                    return parse_card(content)


class ExternalVitaleReader:
    """The licensed API behind a program of the operator's: no argument of ours, JSON on its standard output.

    Exit 0: read. 3: no reader. 4: no card. Anything else, silence or a page of text: unreadable.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    def read(self) -> VitaleCard:
        """Run the programme and read the card as JSON from its output. Blocks. Raises NoReader, NoCard, CardUnreadable."""
        try:
            ran = subprocess.run(self._command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603 - the operator's program, from the configuration
        except FileNotFoundError as error:
            raise NoReader(message("card.vitale-program-not-installed", command=self._command[0])) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CardUnreadable(message("card.vitale-program-gave-no-answer")) from error
        if ran.returncode == 3:
            raise NoReader(message("card.vitale-program-sees-no-reader"))
        if ran.returncode == 4:
            raise NoCard(message("card.no-vitale-card-reader"))
        if ran.returncode != 0:
            raise CardUnreadable(message("card.vitale-program-ended-status", returncode=ran.returncode))
        return parse_card(ran.stdout)


def parse_card(content: bytes, *, now: datetime | None = None) -> VitaleCard:
    """The JSON form of a card. Raises CardUnreadable, which names no value of the card."""
    if len(content) > MAX_CARD:
        raise CardUnreadable(message("card.card-s-data-too-long"))
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CardUnreadable(message("card.card-s-data-not-json")) from error
    people = tuple(_beneficiary(b, f"beneficiaries[{n}].") for n, b in enumerate(_field(raw, "beneficiaries", list)))
    assertion = str(raw.get("assertion", "")).encode()
    card = VitaleCard(_field(raw, "serial", _word), _field(raw, "kind", VitaleKind), people, now or datetime.now(UTC), assertion)
    if people and not people[0].nir:
        holder = "beneficiaries[0].nir"  # INSi is asked with this number
        raise CardUnreadable(message("card.field-card-missing", holder=holder))
    if not 0 < len(people) <= _MAX_BENEFICIARIES or len({b.rank for b in people}) != len(people):
        raise CardUnreadable(message("card.card-no-beneficiary-two-one"))
    return card


def _field(raw: Any, name: str, read: Callable[[Any], T], within: str = "") -> T:
    """One field of the card. Raises CardUnreadable naming the field, never its value."""
    if not isinstance(raw, dict) or name not in raw:
        raise CardUnreadable(message("card.field-card-missing-2", within=within + name))
    try:
        return read(raw[name])
    except (ValueError, TypeError, AttributeError) as error:
        raise CardUnreadable(message("card.field-card-cannot-read", within=within + name)) from error


def _word(value: Any) -> str:
    """A text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("empty")
    return value.strip()


def _number(value: Any) -> str:
    """A NIR of thirteen digits with or without its key (2A, 2B for Corsica), or none."""
    if not isinstance(value, str) or not re.fullmatch(r"([0-9]{5}[0-9AB][0-9]{7}([0-9]{2})?)?", value.replace(" ", "")):
        raise ValueError("not a NIR")
    return value.replace(" ", "")


def _beneficiary(raw: Any, within: str) -> Beneficiary:
    rank = _field(raw, "rank", int, within)
    return Beneficiary(
        nir=_field(raw, "nir", _number, within) if raw.get("nir") is not None else "",
        rank=rank,
        birth_name=_field(raw, "birth_name", _word, within),
        used_name=str(raw.get("used_name", "")),
        given=_field(raw, "given", _word, within),
        birth_date=_field(raw, "birth_date", date.fromisoformat, within),
        sex=_field(raw, "sex", Sex, within),
    )
