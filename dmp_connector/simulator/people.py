"""Test patients: invented persons under the test OID, one for each state of a dossier.

The INS are made here from sex, year, month, place and order, with their true key: no one's real number.
"""

from __future__ import annotations

from datetime import date

from dmp_connector.model.people import InsKind, ins_key
from dmp_connector.simulator.config import Person


def test_ins(sex: str, birth: date, place: str, order: int) -> str:
    """A matricule of the test series: 1|2, year, month, place (5), order (3), key."""
    body = f"{'1' if sex == 'M' else '2'}{birth:%y%m}{place[:2]}{place[2:]}{order:03d}"
    return body + ins_key(body)


def _person(name: str, given: str, sex: str, birth: date, place: str, order: int, **facts: object) -> Person:
    return Person(
        ins=test_ins(sex, birth, place, order), oid=InsKind.NIR_TEST.value, name=name, given=given, birth_date=birth,
        sex=sex, birth_place=place, postal_code=f"{place[:2]}000", city="PARIS" if place.startswith("75") else "VILLE", **facts,  # type: ignore[arg-type]
    )  # fmt: skip


def demo_patients(professional: str, *others: str) -> tuple[Person, ...]:
    """The persons of the demo. `professional` (PS_IdNat) is the one who has authorisations; `others` share them."""
    who = (professional, *others)
    return (
        _person("PATIENT", "ACTIF MARIE", "F", date(1979, 3, 28), "75115", 901, state="ACTIVE", authorisation="VALIDE",
                authorised=who, mt=False, rattachement_ens=True, documents=5),
        _person("TRAITANTE", "ALINE", "F", date(1958, 11, 2), "75112", 902, state="ACTIVE", authorisation="VALIDE",
                authorised=who, mt=True, rattachement_ens=True, documents=3),
        _person("ANCIEN", "PAUL RENE", "M", date(1945, 1, 17), "33063", 903, state="ACTIVE", authorisation="EXPIRE",
                authorised=who, documents=2),
        _person("NOUVEAU", "LEA", "F", date(1991, 6, 9), "69381", 904, state="ACTIVE", authorisation="NON_EXISTE", documents=2),
        _person("BLOQUANT", "HUGO", "M", date(1983, 9, 30), "13055", 905, state="ACTIVE", authorisation="INTERDIT",
                authorised=who, rattachement_ens=True, documents=2),
        _person("OPPOSANTE", "INES", "F", date(1966, 12, 24), "59350", 906, state="ACTIVE", opposition_bris_de_glace=True,
                opposition_acces_urgence=True, rattachement_ens=True, documents=2),
        _person("FERMEE", "JEANNE", "F", date(1938, 5, 5), "44109", 907, state="CLOSED", authorisation="NON_EXISTE", documents=1),
        _person("SANSDOSSIER", "LUC", "M", date(2001, 2, 14), "35238", 908, state="NO_DMP"),
        _person("CORSE", "ANTOINE", "M", date(1980, 3, 2), "2B033", 909, state="ACTIVE", authorisation="VALIDE", authorised=who,
                opposition_acces_urgence=True, documents=1),
    )  # fmt: skip
