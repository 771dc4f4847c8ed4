"""Verbs on the code tables: what `--type` and the settings take. They ask nobody and need no configuration."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from dmp_connector import codes
from dmp_connector.codes import CodeTables, ValueSet
from dmp_connector.errors import DmpError
from dmp_connector.model import Code
from mssgw.cli.config import loaded
from mssgw.cli.dmp.session import refused
from mssgw.cli.frame import Json, both, output, say

app = typer.Typer()

Words = Annotated[str, typer.Option("--search", "-s", metavar="WORDS", help="Only those with all these words in code or label.")]
Own = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration whose value_sets replace ours.")]

TABLES: Final[tuple[tuple[str, str, Callable[[CodeTables], ValueSet]], ...]] = (
    ("types", "Types of documents that the DMP takes (typeCode, JDV_J66).", lambda t: t.type_code),
    ("cda-types", "Types of documents that a CDA may have (JDV_J07).", lambda t: t.type_code_cisis),
    ("classes", "Classes of documents (classCode).", lambda t: t.class_code),
    ("formats", "Formats of documents (formatCode).", lambda t: t.format_code),
    ("contents", "Kinds of submission (contentTypeCode, JDV_J59).", lambda t: t.content_type),
    ("facilities", "Kinds of facility (healthcareFacilityTypeCode, JDV_J61).", lambda t: t.facility),
    ("practices", "Settings of practice (practiceSettingCode, JDV_J04).", lambda t: t.practice),
    ("confidentialities", "Confidentiality and visibility (confidentialityCode).", lambda t: t.confidentiality),
    ("specialties", "Professions and specialities of authors (JDV_J01).", lambda t: t.specialty),
    ("roles", "Professions and specialities of a VIHF (JDV_J65).", lambda t: t.subject_role),
)


def _verb(chosen: Callable[[CodeTables], ValueSet]) -> Callable[[str, Path | None, bool], None]:
    def listed(words: Words = "", config: Own = None, json: Json = False) -> None:
        try:
            table = chosen(codes.load(_folder(config)))
        except DmpError as error:
            refused(error, json=json)
        found = [concept for concept in table.concepts if _has(concept, words)]
        width = max((len(concept.code) for concept in found), default=0)
        lines = [f"{concept.code:{width}}  {concept.label}  [{concept.system}]" for concept in found]
        lines.append(both(say("dmp.table", found=len(found), whole=len(table.concepts), name=table.name, version=table.version)))
        document = {"ok": True, "name": table.name, "version": table.version, "date": table.date}
        document["concepts"] = [{"code": c.code, "system": c.system, "label": c.label} for c in found]
        output("\n".join(lines), json=json, document=document)

    return listed


def _folder(config: Path | None) -> Path | None:
    """Where the operator keeps tables that replace ours."""
    table = loaded(config).dmp if config else None
    return table.value_sets if table else None


def _has(concept: Code, words: str) -> bool:
    text = _plain(f"{concept.code} {concept.label}")
    return all(word in text for word in _plain(words).split())


def _plain(text: str) -> str:
    """Without case and accents: who searches « echographie » means « Échographie »."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


for _name, _help, _chosen in TABLES:
    app.command(_name, help=_help)(_verb(_chosen))
