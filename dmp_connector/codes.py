"""Code tables (JDV, ASS) of the NOS, as dated data: one JSON file each in `config/dmp`.

A table names its source and its date; `versions()` goes into the audit of every document
built with them. Unknown codes are refused when we build and carried through when we read (docs/reference/dmp.md 3.4).
The files are copies of a certain day: they can be replaced by newer ones of the same form. `unconfirmed` in a file
names the codes that were not taken from the published set itself, and where they come from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from dmp_connector.errors import BadCode, BadSettings
from dmp_connector.model.code import Code
from dmp_connector.model.people import AUTHOR_SPECIALTIES, PROFESSIONS, Practitioner
from dmp_connector.texts import message

_HERE = Path(__file__).parent
# In a wheel the tables lie inside the package; in the source tree beside it.
DEFAULT_FOLDER = _HERE / "valuesets" if (_HERE / "valuesets").is_dir() else _HERE.parent / "config" / "dmp"

OID_LOINC = "2.16.840.1.113883.6.1"


@dataclass(frozen=True, slots=True)
class ValueSet:
    """One JDV. `date` is ISO 8601; `concepts` in the order of the file."""

    name: str
    version: str
    date: str
    concepts: tuple[Code, ...]
    unconfirmed: frozenset[Code]
    _by_code: Mapping[str, tuple[Code, ...]] = field(repr=False, compare=False)

    def find(self, code: str, system: str | None = None) -> Code | None:
        """The concept, with its label, or None. Without `system`, the first with that code."""
        for concept in self._by_code.get(code, ()):
            if system is None or concept.system == system:
                return concept
        return None

    def require(self, code: str, system: str | None = None) -> Code:
        """The concept, or BadCode naming the code, the set and its version."""
        found = self.find(code, system)
        if found is None:
            raise BadCode(message("codes.not", code=code, name=self.name, version=self.version))
        return found

    def __contains__(self, code: object) -> bool:
        return isinstance(code, Code) and self.find(code.code, code.system) is not None


@dataclass(frozen=True, slots=True)
class CodeTables:
    """Every table the connector needs. Loaded once per folder by `load`."""

    type_code: ValueSet  # JDV_J66, what the DMP takes
    type_code_cisis: ValueSet  # JDV_J07, the codes that a CDA may have
    class_code: ValueSet
    format_code: ValueSet
    content_type: ValueSet
    facility: ValueSet
    practice: ValueSet
    confidentiality: ValueSet
    specialty: ValueSet
    subject_role: ValueSet  # JDV_J65: professions and specialities a VIHF may claim
    class_of_type: Mapping[str, str]  # ASS_X04
    format_of_template: Mapping[str, str]  # ASS_A11
    format_of_media: Mapping[str, str]  # ASS_A12
    schematrons_of_model: Mapping[str, tuple[str, ...]]  # templateId (and type code) -> schematrons of the ANS kit, by version
    versions: Mapping[str, str]  # table name -> version, for the audit

    def specialty_of(self, practitioner: Practitioner) -> Code | None:
        """JDV_J01 code of a professional: G15_10/SM26 for a doctor, G15_60 for a nurse. None when not in the set."""
        if practitioner.profession.system not in {PROFESSIONS, ""}:
            return self.specialty.find(practitioner.profession.code)
        bare = f"G15_{practitioner.profession.code}"
        full = f"{bare}/{practitioner.speciality.code}" if practitioner.speciality else bare
        return self.specialty.find(full, AUTHOR_SPECIALTIES) or self.specialty.find(bare, AUTHOR_SPECIALTIES)

    def class_for(self, type_code: str) -> Code:
        """classCode from typeCode (ASS_X04). Raises BadCode."""
        found = self.class_of_type.get(type_code)
        if found is None:
            raise BadCode(message("codes.no-document-class-ass-x04", type_code=type_code))
        return self.class_code.find(found) or Code(found, "1.2.250.1.213.1.1.4.1")

    def format_for(self, template_ids: tuple[str, ...], media_type: str | None) -> Code:
        """formatCode: by media type for a level 1 body (ASS_A12), else by the document's templateId (ASS_A11)."""
        if media_type is not None:
            named = self.format_of_media.get(media_type)
        else:
            # The most specific template is written last by convention of the CI-SIS examples.
            named = next((self.format_of_template[t] for t in reversed(template_ids) if t in self.format_of_template), None)
        return self.format_code.require(named or "urn:asipSante:modelesHorsProfils:2011")


def _set(folder: Path | None, name: str) -> ValueSet:
    raw = _read(folder, name)
    concepts = tuple(Code(code, system, label) for code, system, label in raw["concepts"])
    index: dict[str, tuple[Code, ...]] = {}
    for concept in concepts:
        index[concept.code] = (*index.get(concept.code, ()), concept)
    doubt = raw.get("unconfirmed", {})
    unconfirmed = frozenset(c for c in concepts if c.code in doubt.get("codes", ()) or c.system in doubt.get("systems", ()))
    return ValueSet(raw["name"], raw["version"], raw["date"], concepts, unconfirmed, index)


def _read(own: Path | None, name: str) -> dict[str, Any]:
    folder = own if own is not None and (own / f"{name}.json").is_file() else DEFAULT_FOLDER
    try:
        found = json.loads((folder / f"{name}.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadSettings(message("codes.code-table-json", name=name, folder=folder, error=str(error))) from error
    if not isinstance(found, dict) or not {"name", "version", "date"} <= found.keys():
        raise BadSettings(message("codes.code-table-json-name-version", name=name, folder=folder))
    return found


def _checked(own: Path | None, name: str) -> ValueSet:
    try:
        return _set(own, name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadSettings(message("codes.code-table-json-concepts-lists", name=name, error=type(error).__name__)) from error


@cache
def load(own: Path | None = None) -> CodeTables:
    """Every table: the operator's file where the folder `own` has one of that name, else ours.

    Raises BadSettings naming the file that is missing or wrong.
    """
    if own is not None and not own.is_dir():
        raise BadSettings(message("codes.value-sets-not-folder", own=own))
    sets: dict[str, Any] = {
        name: _checked(own, file)
        for name, file in (
            ("type_code", "type-code"),
            ("type_code_cisis", "type-code-cisis"),
            ("class_code", "class-code"),
            ("format_code", "format-code"),
            ("content_type", "content-type-code"),
            ("facility", "healthcare-facility"),
            ("practice", "practice-setting"),
            ("confidentiality", "confidentiality"),
            ("specialty", "author-specialty"),
            ("subject_role", "subject-role"),
        )
    }
    maps = {
        name: _read(own, file)
        for name, file in (
            ("class_of_type", "type-to-class"),
            ("format_of_template", "template-to-format"),
            ("format_of_media", "media-to-format"),
            ("schematrons_of_model", "template-to-schematron"),
        )
    }
    versions = {s.name: s.version for s in sets.values()} | {m["name"]: m["version"] for m in maps.values()}
    associations: dict[str, Any] = {name: m["map"] for name, m in maps.items()}
    return CodeTables(**sets, **associations, versions=versions)
