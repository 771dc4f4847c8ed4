"""Whether a document is about the person in the register: recordTarget against INSi, trait by trait (RNIV; docs/reference/dmp.md 3.3, 8.2).

`Identities.qualified` asks for the register's traits: administrative data of the DMP (TD1.3a), confirmed by INSi where
that is configured. `require_identity` compares the header of a CDA with them, `Typed.require` what a person typed.

Names compare in capitals, without accents, hyphens and apostrophes. The first given name must begin the register's list
of given names ("Jean-Pierre" begins JEAN PIERRE MARIE; "Marie" does not); the list itself may be shorter than the
register's or longer, but not another one. A trait the document leaves out differs; one the register does not know is
not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from lxml import etree

from dmp_connector.cda.read import NS, Cda, text_of
from dmp_connector.client import Call, Dmp
from dmp_connector.errors import TraitsDiffer
from dmp_connector.insi import Insi
from dmp_connector.model.people import INS_OIDS, Ins, Patient, Sex, plain_name

OpenInsi = Callable[[], AbstractAsyncContextManager[Insi]]


@dataclass(frozen=True, slots=True)
class Qualified:
    """The traits of a register, and which register they came from."""

    patient: Patient
    register: Literal["INSi", "DMP"]


class Identities:
    """The identity of a patient. `insi` None: the teleservice is not configured, the DMP's own data are the reference."""

    def __init__(self, dmp: Dmp, insi: OpenInsi | None = None) -> None:
        self._dmp, self._insi = dmp, insi

    async def qualified(self, call: Call) -> Qualified:
        """The five traits of the call's patient.

        Raises TraitsDiffer when INSi knows another person, BadInput when it knows nobody, NoDossier, Unavailable.
        """
        known = (await self._dmp.td13a_read(call)).patient
        if self._insi is None:
            return Qualified(known, "DMP")
        async with self._insi() as insi:
            answer = await insi.by_traits(known.birth_name, known.first_given, known.sex, known.birth_date)
        register = answer.require_found()
        known.require_same_traits(register)
        return Qualified(replace(register, ins=known.ins, local_id=known.local_id), "INSi")


@dataclass(frozen=True, slots=True, repr=False)
class Typed:
    """Traits a person typed beside a document; None or "" where she typed nothing."""

    birth_name: str = ""
    given: str = ""
    birth_date: date | None = None
    sex: Sex | None = None

    @property
    def tells_persons_apart(self) -> bool:
        """A birth date or a birth name: who mistyped an INS would have to mistype it as well."""
        return self.birth_date is not None or bool(self.birth_name)

    def require(self, known: Qualified) -> None:
        """Raise TraitsDiffer naming what was typed otherwise than the register has it."""
        register = known.patient
        differing = []
        if self.birth_name and plain_name(self.birth_name) != plain_name(register.birth_name):
            differing.append("birth name")
        if self.given and not _begins(self.given, register.given_names):
            differing.append("given names")
        if self.birth_date is not None and self.birth_date != register.birth_date:
            differing.append("birth date")
        if self.sex is not None and self.sex is not register.sex:
            differing.append("sex")
        if differing:
            raise TraitsDiffer(tuple(differing), register=known.register)


NOTHING_TYPED = Typed()


def require_identity(document: Cda, known: Qualified) -> None:
    """Raise TraitsDiffer naming every strict trait of recordTarget that is not the register's."""
    differing = tuple(_differing(document, known.patient))
    if differing:
        raise TraitsDiffer(differing, register=known.register)


def same_person(first: Cda, second: Cda) -> tuple[str, ...]:
    """Names of the traits in which two documents of one INS differ; traits that either leaves out are not compared."""
    one, other = _traits(first), _traits(second)
    return tuple(name for name, value in one.items() if value and other[name] and not _alike(name, value, other[name]))


def _differing(document: Cda, register: Patient) -> Iterator[str]:
    named = [(i.get("extension", ""), i.get("root", "")) for i in document.all("recordTarget/patientRole/id")]
    if {Ins(*pair).same_as(register.ins) for pair in named if pair[1] in INS_OIDS} != {True}:
        yield "INS"
    said = _traits(document)
    if said["birth name"] != plain_name(register.birth_name):
        yield "birth name"
    first, *lists = said["given names"].split("|")
    listed = register.given_names
    if not _begins(first, listed) or not all(_begins(names, listed) or _begins(listed, names) for names in lists):
        yield "given names"
    if said["birth date"] != register.birth_date.strftime("%Y%m%d"):
        yield "birth date"
    if register.sex is not Sex.UNKNOWN and said["sex"] != register.sex.value:
        yield "sex"
    if register.birth_place and said["birth place"] != register.birth_place:
        yield "birth place"


def _traits(document: Cda) -> dict[str, str]:
    """The strict traits, made ready for comparison; "" for a missing one. Given names: the first, then the list, between bars."""
    patient = document.find("recordTarget/patientRole/patient")
    if patient is None:
        return dict.fromkeys(("birth name", "given names", "birth date", "sex", "birth place"), "")
    name = patient.find("v:name", NS)
    family = _parts(name, "family", "BR") or _parts(name, "family", None)
    given = [*_parts(name, "given", "BR")[:1], " ".join(_parts(name, "given", None))]
    born, sex = patient.find("v:birthTime", NS), patient.find("v:administrativeGenderCode", NS)
    return {
        "birth name": plain_name(family[0]) if family else "",
        "given names": "|".join(plain for text in given if (plain := plain_name(text))),
        "birth date": (born.get("value", "") if born is not None else "")[:8],
        "sex": (sex.get("code", "") if sex is not None else ""),
        "birth place": text_of(patient.find("v:birthplace/v:place/v:addr/v:county", NS)),
    }


def _parts(name: etree._Element | None, kind: str, qualifier: str | None) -> list[str]:
    if name is None:
        return []
    return [text_of(p) for p in name.findall(f"v:{kind}", NS) if p.get("qualifier") == qualifier and text_of(p)]


def _begins(given: str, listed: str) -> bool:
    """Whether `given` is the beginning of the list, in whole words."""
    words, whole = plain_name(given).split(), plain_name(listed).split()
    return bool(words) and whole[: len(words)] == words


def _alike(name: str, one: str, other: str) -> bool:
    if name != "given names":
        return one == other
    first, second = one.split("|")[0], other.split("|")[0]
    return _begins(first, second) or _begins(second, first)


def told_otherwise(info: Sequence[str], document: Cda) -> tuple[str, ...]:
    """Names of the traits in which XDS sourcePatientInfo (PID-5, PID-7, PID-8) and the document's header differ."""
    said, lines = _traits(document), [line.partition("|") for line in info]
    found = dict.fromkeys(said, "")
    for field, _, value in lines:
        if field == "PID-5" and value.endswith("^L"):
            family, _, rest = value.partition("^")
            found["birth name"], found["given names"] = plain_name(family), plain_name(rest.partition("^")[0])
        elif field == "PID-7":
            found["birth date"] = value[:8]
        elif field == "PID-8" and value != "U":
            found["sex"] = value
    return tuple(name for name, value in found.items() if value and said[name] and not _alike(name, value, said[name]))
