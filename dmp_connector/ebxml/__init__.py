"""ebXML registry metadata: DocumentEntry and SubmissionSet <-> ebRIM 3.0. Pure.

names       namespaces and the UUIDs of IHE ITI TF-3
write       values -> lcm:SubmitObjectsRequest, ITI-41, 43, 57 payloads
read        RegistryObjectList -> values; RegistryResponse -> errors
query       stored queries of ITI-18, both directions
"""

from dmp_connector.ebxml.query import FindDocuments, StoredQuery, find_documents, get_documents, read_query
from dmp_connector.ebxml.read import Registry, read_registry, require_success
from dmp_connector.ebxml.write import submit_objects

__all__ = [
    "FindDocuments",
    "Registry",
    "StoredQuery",
    "find_documents",
    "get_documents",
    "read_query",
    "read_registry",
    "require_success",
    "submit_objects",
]
