"""What a registry of the DMP asks of the metadata of a submitted document (docs/reference/dmp.md 3.2, 3.3, 3.4)."""

from __future__ import annotations

import re

from dmp_connector.codes import CodeTables
from dmp_connector.errors import BadDocument
from dmp_connector.model.documents import DocumentEntry, Visibility
from dmp_connector.proof import xades
from dmp_connector.simulator.gate import Visitor
from dmp_connector.simulator.registry import refuse

_OID = re.compile(r"[0-2](\.(0|[1-9]\d*))+")
_REQUIRED_CODES = ("type", "class_code", "format", "facility", "practice")
_REQUIRED = ("unique_id", "title", "confidentiality", "mime_type", "language", "source_patient_id", "legal_authenticator")


def require_complete(entry: DocumentEntry, content: bytes, visitor: Visitor, tables: CodeTables) -> None:
    """Raises RegistryRefused naming what is absent or wrong."""
    if entry.patient != visitor.ins:
        raise refuse("XDSPatientIdDoesNotMatch", f"{entry.unique_id}: autre patient")
    lacking = [name for name in _REQUIRED_CODES if not getattr(entry, name).code]
    lacking += [name for name in _REQUIRED if not getattr(entry, name)]
    if entry.service_start is None:
        lacking.append("serviceStartTime")
    if not any(author.person for author in entry.authors):
        lacking.append("authorPerson")
    if lacking:
        raise refuse("XDSRegistryMetadataError", f"{entry.unique_id}: métadonnées absentes : {', '.join(lacking)}")
    if entry.confidentiality[0].code not in ("N", "R", "V"):
        raise refuse("XDSRegistryMetadataError", f"{entry.unique_id}: la première confidentialité est N, R ou V")
    if not is_signature(entry):
        _require_form(entry, visitor, tables)
    try:
        entry.require_matches(content)
    except BadDocument as error:
        raise refuse("XDSRepositoryMetadataError", f"{entry.unique_id}: {error}") from error


def _require_form(entry: DocumentEntry, visitor: Visitor, tables: CodeTables) -> None:
    """Codes of the DMP's own value sets, an OID as uniqueId, the shape of a secret connection (docs/reference/dmp.md 3.2, 3.4, 7.5)."""
    for name, code, known in (
        ("typeCode", entry.type, tables.type_code),
        ("classCode", entry.class_code, tables.class_code),
        ("formatCode", entry.format, tables.format_code),
        ("healthcareFacilityTypeCode", entry.facility, tables.facility),
        ("practiceSettingCode", entry.practice, tables.practice),
    ):
        if known.find(code.code) is None:
            raise refuse("XDSRegistryMetadataError", f"{entry.unique_id}: {name} {code.code} hors du jeu de valeurs {known.name}")
    if tables.class_of_type.get(entry.type.code, entry.class_code.code) != entry.class_code.code:
        raise refuse("XDSRegistryMetadataError", f"{entry.unique_id}: classCode et typeCode ne correspondent pas (ASS_X04)")
    if not _OID.fullmatch(entry.unique_id) or len(entry.unique_id) > 64:
        raise refuse("XDSRegistryMetadataError", f"{entry.unique_id}: uniqueId : un OID est attendu")
    if visitor.secret and Visibility.HIDDEN_FROM_REPRESENTATIVES not in entry.visibility:
        raise refuse("XDSRegistryMetadataError", f"{entry.unique_id}: connexion secrète : invisible aux représentants légaux")


def is_signature(entry: DocumentEntry) -> bool:
    """Is it the signature of a submission set and no document of its own?"""
    return entry.class_code.code == xades.CLASS.code
