"""The ANS conformance kit (TestContenuCDA) as installed by the operator: which of its parts are there, which a document needs.

    KIT/infrastructure/cda/CDA_extended.xsd
    KIT/schematrons/profils/...              four generic schematrons, for every document
    KIT/schematrons/CI-SIS_<MODEL>.sch       one for each version of a document model

The model of a document follows from its templateIds, in one case from its type code (table `template-to-schematron`).
The version is the templateId's extension; when the kit does not have that one, the version that the document fits best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmp_connector import codes
from dmp_connector.cda.read import NS, Cda
from dmp_connector.errors import BadSettings
from dmp_connector.texts import message

GENERIC = (
    "profils/structurationMinimale/ASIP-STRUCT-MIN-StrucMin.sch",
    "profils/IHE.sch",
    "profils/CI-SIS_ModelesDeContenusCDA.sch",
    "profils/CI-SIS_Modeles_ANS.sch",
)
_XSD = Path("infrastructure", "cda", "CDA_extended.xsd")


@dataclass(frozen=True, slots=True)
class Models:
    """Which schematrons of models run: those a document needs ("auto"), none, or only the named (VSM_2023.01)."""

    only: frozenset[str] | None = None

    @classmethod
    def of(cls, names: Sequence[str]) -> Models:
        """The setting: ("auto",), ("none",) or names as in the kit. Raises BadSettings: a name nobody knows."""
        if tuple(names) == ("auto",):
            return cls()
        if tuple(names) in {("none",), ()}:
            return cls(frozenset())
        known = {name for versions in codes.load().schematrons_of_model.values() for name in versions}
        if strange := sorted(set(names) - known):
            raise BadSettings(message("validate.validation-models-no-model-kit", strange=", ".join(strange)))
        return cls(frozenset(names))

    def __contains__(self, name: str) -> bool:
        return self.only is None or name in self.only


@dataclass(frozen=True, slots=True)
class Kit:
    """One installed folder. Raises BadSettings when it is none."""

    folder: Path

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise BadSettings(message("validate.validation-kit-not-folder", folder=self.folder))

    @property
    def xsd(self) -> Path | None:
        """The XML Schema of CDA in this kit, None without."""
        path = self.folder / _XSD
        return path if path.is_file() else None

    @property
    def generic(self) -> tuple[Path, ...]:
        """Those of the generic schematrons that are there."""
        return tuple(path for name in GENERIC if (path := self.folder / "schematrons" / name).is_file())

    def model(self, name: str) -> Path:
        """Where the schematron of this document model lies, as CI-SIS_NAME.sch."""
        return self.folder / "schematrons" / f"CI-SIS_{name}.sch"

    @property
    def missing_for_all(self) -> tuple[str, ...]:
        """The parts that every document needs and that are missing, as paths in the kit."""
        return self._absent([_XSD, *(Path("schematrons", name) for name in GENERIC)])

    @property
    def missing_models(self) -> tuple[str, ...]:
        """Schematrons of models that the table names and the kit does not have."""
        return self._absent([self.model(name).relative_to(self.folder) for name in sorted(_names())])

    def _absent(self, paths: Sequence[Path]) -> tuple[str, ...]:
        return tuple(str(path) for path in paths if not (self.folder / path).is_file())


def _names() -> set[str]:
    return {name for versions in codes.load().schematrons_of_model.values() for name in versions}


def versions_for(document: Cda, models: Models, table: Mapping[str, tuple[str, ...]] | None = None) -> tuple[tuple[str, ...], ...]:
    """For each model the document claims: its versions to judge it by, one when the document names it."""
    known = codes.load().schematrons_of_model if table is None else table
    code = document.find("code")
    kind = code.get("code", "") if code is not None else ""
    found = []
    for template in document.root.findall("v:templateId", NS):
        oid, extension = template.get("root", ""), template.get("extension", "")
        versions = [name for name in known.get(oid) or known.get(f"{oid} {kind}") or () if name in models]
        named = [name for name in versions if extension and name.endswith(f"_{extension}")]
        if versions:
            found.append(tuple(named or versions))
    return tuple(dict.fromkeys(found))
