"""Stored queries of ITI-18 (IHE ITI TF-2 3.18.4.1.2): written by the client, read by the simulator.

Strings stand in single quotes, a quote inside is doubled, lists stand in parentheses; times stand bare.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lxml import etree

from dmp_connector.ebxml import names
from dmp_connector.ebxml.write import rim, slot
from dmp_connector.errors import BadAnswer
from dmp_connector.model.code import Code
from dmp_connector.model.documents import AvailabilityStatus, Dtm
from dmp_connector.model.people import Ins
from dmp_connector.texts import message

ReturnType = Literal["LeafClass", "ObjectRef"]


@dataclass(frozen=True, slots=True)
class FindDocuments:
    """Criteria of TD3.1a; empty means any. First search of an act: two years of service_start, Approved only
    (PDSM4DMP, exemples_usage): that default is the dossier service's choice, not ours."""

    statuses: tuple[AvailabilityStatus, ...] = (AvailabilityStatus.APPROVED,)
    created_from: Dtm | None = None
    created_to: Dtm | None = None
    service_from: Dtm | None = None
    service_to: Dtm | None = None
    types: tuple[Code, ...] = ()
    classes: tuple[Code, ...] = ()
    practices: tuple[Code, ...] = ()
    facilities: tuple[Code, ...] = ()
    formats: tuple[Code, ...] = ()
    confidentialities: tuple[Code, ...] = ()
    events: tuple[Code, ...] = ()
    reference: str = ""  # referenceIdList value: FindDocumentsByReferenceId


@dataclass(frozen=True, slots=True)
class StoredQuery:
    """A query as read: id, parameters by name (each a list of plain strings), wanted form of the answer."""

    id: str
    parameters: dict[str, list[str]] = field(default_factory=dict)
    return_type: str = "LeafClass"

    def one(self, name: str) -> str:
        """The first value of a parameter, "" when it is not given."""
        values = self.parameters.get(name)
        return values[0] if values else ""


def find_documents(ins: Ins, criteria: FindDocuments) -> etree._Element:
    """FindDocuments, or FindDocumentsByReferenceId when a reference is asked for."""
    codes = [
        ("TypeCode", criteria.types),
        ("ClassCode", criteria.classes),
        ("PracticeSettingCode", criteria.practices),
        ("HealthcareFacilityTypeCode", criteria.facilities),
        ("FormatCode", criteria.formats),
        ("ConfidentialityCode", criteria.confidentialities),
        ("EventCodeList", criteria.events),
    ]
    times = [
        ("CreationTimeFrom", criteria.created_from),
        ("CreationTimeTo", criteria.created_to),
        ("ServiceStartTimeFrom", criteria.service_from),
        ("ServiceStartTimeTo", criteria.service_to),
    ]
    parameters = [("$XDSDocumentEntryPatientId", [quoted(ins.cx)]), ("$XDSDocumentEntryStatus", listed(criteria.statuses))]
    parameters += [(f"$XDSDocumentEntry{name}", [str(moment)]) for name, moment in times if moment]
    parameters += [(f"$XDSDocumentEntry{name}", listed(f"{c.code}^^{c.system}" for c in values)) for name, values in codes if values]
    if criteria.reference:
        parameters.append(("$XDSDocumentEntryReferenceIdList", listed([criteria.reference])))
    return adhoc(names.FIND_BY_REFERENCE if criteria.reference else names.FIND_DOCUMENTS, parameters)


def get_documents(
    *, unique_ids: Sequence[str] = (), entry_uuids: Sequence[str] = (), return_type: ReturnType = "LeafClass"
) -> etree._Element:
    """GetDocuments by uniqueId (TD3.1b with ObjectRef) or by entryUUID."""
    name = "$XDSDocumentEntryUniqueId" if unique_ids else "$XDSDocumentEntryEntryUUID"
    return adhoc(names.GET_DOCUMENTS, [(name, listed(unique_ids or entry_uuids))], return_type)


def find_submission_sets(ins: Ins, since: Dtm | None) -> etree._Element:
    """FindSubmissionSets (ITI TF-2 3.18.4.1.2.3.7.2): the approved sets of a patient, since a moment when one is given."""
    parameters = [
        ("$XDSSubmissionSetPatientId", [quoted(ins.cx)]),
        ("$XDSSubmissionSetStatus", listed([AvailabilityStatus.APPROVED])),
    ]
    if since:
        parameters.append(("$XDSSubmissionSetSubmissionTimeFrom", [str(since)]))
    return adhoc(names.FIND_SUBMISSION_SETS, parameters)


def get_associations(uuids: Sequence[str]) -> etree._Element:
    """GetAssociations of these entryUUIDs (ITI TF-2 3.18.4.1.2.3.7.7)."""
    return adhoc(names.GET_ASSOCIATIONS, [("$uuid", listed(uuids))])


def get_documents_and_associations(uuids: Sequence[str]) -> etree._Element:
    """GetDocumentsAndAssociations of these entryUUIDs (ITI TF-2 3.18.4.1.2.3.7.8)."""
    return adhoc(names.GET_DOCUMENTS_AND_ASSOCIATIONS, [("$XDSDocumentEntryEntryUUID", listed(uuids))])


def adhoc(query_id: str, parameters: Iterable[tuple[str, list[str]]], return_type: ReturnType = "LeafClass") -> etree._Element:
    """AdhocQueryRequest of one stored query. `parameters`: name and values, already quoted."""
    root = etree.Element(f"{{{names.QUERY}}}AdhocQueryRequest", nsmap=names.NSMAP)
    option = f"{{{names.QUERY}}}ResponseOption"
    etree.SubElement(root, option, {"returnComposedObjects": "true", "returnType": return_type})
    query = rim(root, "AdhocQuery", id=query_id)
    for name, values in parameters:
        slot(query, name, values)
    return root


def quoted(text: str) -> str:
    """A string as a stored query wants it: in apostrophes, those inside doubled."""
    return "'" + text.replace("'", "''") + "'"


def listed(values: Iterable[str]) -> list[str]:
    """One `('a','b')` per value, so that none outgrows rim:LongName."""
    return [f"({quoted(str(value))})" for value in values]


def read_query(element: etree._Element) -> StoredQuery:
    """Any query of any maker: lists, quotes and bare values become plain strings. Raises BadAnswer."""
    query = element.find(f"{{{names.RIM}}}AdhocQuery")
    option = element.find(f"{{{names.QUERY}}}ResponseOption")
    if query is None:
        raise BadAnswer(message("ebxml.no-adhocquery-request"))
    parameters: dict[str, list[str]] = {}
    for node in query.findall(f"{{{names.RIM}}}Slot"):
        values = [plain for value in node.iter(f"{{{names.RIM}}}Value") for plain in _plain(value.text or "")]
        parameters.setdefault(node.get("name", ""), []).extend(values)
    return StoredQuery(query.get("id", ""), parameters, option.get("returnType", "") if option is not None else "")


_STRING = re.compile(r"'((?:[^']|'')*)'?")


def _plain(text: str) -> list[str]:
    text = text.strip()
    if "'" not in text:
        return [part for part in re.split(r"[(),\s]+", text) if part]
    return [found.replace("''", "'") for found in _STRING.findall(text)]
