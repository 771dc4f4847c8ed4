"""The documents of one dossier: registry and repository together.

A document keeps its logicalId through metadata changes; each change makes a new version with a new entryUUID
and deprecates the old one. A replacement is a new document; the old one is deprecated (docs/reference/dmp.md 3.6). Deleted
content is gone. Errors are rs:RegistryError codes of IHE ITI TF-3 table 4.2.4.1-2.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from dmp_connector.errors import RegistryError, RegistryRefused
from dmp_connector.model.documents import Association, AvailabilityStatus, DocumentEntry, Dtm, SubmissionSet, Visibility


def refuse(code: str, context: str) -> RegistryRefused:
    """The error that the registry answers with; to be raised."""
    return RegistryRefused((RegistryError(code, context),))


def new_uuid() -> str:
    """A random entryUUID."""
    return f"urn:uuid:{uuid.uuid4()}"


@dataclass(slots=True)
class Stored:
    """One document: its versions, newest last, and its bytes."""

    versions: list[DocumentEntry]
    content: bytes
    structure: str  # Struct_IdNat of who fed it
    by_patient: bool = False

    @property
    def current(self) -> DocumentEntry:
        """The newest version of the metadata."""
        return self.versions[-1]


@dataclass(slots=True)
class DocumentStore:
    """The documents of one dossier, with every version of their metadata."""

    documents: dict[str, Stored] = field(default_factory=dict)  # by uniqueId
    sets: list[SubmissionSet] = field(default_factory=list)
    associations: list[Association] = field(default_factory=list)

    def require_new(self, unique_id: str, content_hash: str) -> None:
        """Raise RegistryRefused: the uniqueId is there, with the same octets or with others."""
        known = self.documents.get(unique_id)
        if known:
            same = known.current.hash == content_hash
            code = "XDSDuplicateUniqueIdInRegistry" if same else "XDSNonIdenticalHash"
            raise refuse(code, f"uniqueId {unique_id} déjà présent")

    def add(self, entry: DocumentEntry, content: bytes, set_uuid: str, *, structure: str, repository: str, now: datetime) -> DocumentEntry:
        """Store a document as the registry sees it first. `now`: aware. The entry as stored."""
        identifier = new_uuid()
        stored = replace(
            entry,
            entry_uuid=identifier,
            logical_id=identifier,
            version="1",
            status=AvailabilityStatus.APPROVED,
            repository_id=repository,
            submitted=Dtm.of(now),
            uri="",
        )
        self.documents[entry.unique_id] = Stored([stored], content, structure)
        self._member(set_uuid, identifier)
        return stored

    def add_set(self, submission: SubmissionSet) -> str:
        """Store a submission set; its entryUUID."""
        identifier = new_uuid()
        self.sets.append(replace(submission, entry_uuid=identifier, status=AvailabilityStatus.APPROVED))
        return identifier

    def replace(self, old_uuid: str, new: DocumentEntry) -> None:
        """Deprecate the document that the new one replaces. Raises RegistryRefused when it is not in force."""
        old = self.by_uuid(old_uuid)
        if old is None or old.current.entry_uuid != old_uuid or old.current.status is not AvailabilityStatus.APPROVED:
            raise refuse("XDSReplaceFailed", f"{old_uuid} n'est pas une fiche en vigueur")
        old.versions[-1] = replace(old.current, status=AvailabilityStatus.DEPRECATED)
        self.associations.append(Association(Association.REPLACES, new.entry_uuid, old_uuid, new_uuid()))

    def update_status(self, entry_uuid: str, old: AvailabilityStatus, new: AvailabilityStatus, set_uuid: str) -> None:
        """Archive, unarchive, delete. The bytes of a deleted document are dropped, and it never comes back."""
        stored = self.require_current(entry_uuid)
        if stored.current.status is not old:
            raise refuse("XDSMetadataUpdateError", f"statut actuel {stored.current.status}")
        allowed = {
            AvailabilityStatus.APPROVED: {AvailabilityStatus.ARCHIVED, AvailabilityStatus.DELETED},
            AvailabilityStatus.ARCHIVED: {AvailabilityStatus.APPROVED, AvailabilityStatus.DELETED},
        }
        if new not in allowed.get(old, ()):
            raise refuse("XDSMetadataUpdateError", f"passage de {old} à {new} impossible")
        self._new_version(stored, replace(stored.current, status=new), set_uuid)
        if new is AvailabilityStatus.DELETED:
            stored.content = b""

    def update_entry(self, entry: DocumentEntry, previous_version: str, set_uuid: str) -> None:
        """ITI-57 with a whole entry: only confidentiality may differ, and what became visible is never hidden again."""
        stored = next((s for s in self.documents.values() if s.current.logical_id == entry.logical_id), None)
        if stored is None:
            raise refuse("XDSMetadataUpdateError", "logicalId inconnu")
        current = stored.current
        if current.status not in (AvailabilityStatus.APPROVED, AvailabilityStatus.ARCHIVED):
            raise refuse("XDSMetadataUpdateError", "document supprimé ou obsolète")
        if previous_version != current.version:
            raise refuse("XDSMetadataVersionError", f"version actuelle {current.version}")
        hiding = {Visibility.HIDDEN_FROM_PATIENT, Visibility.HIDDEN_FROM_REPRESENTATIVES}
        if (entry.visibility - current.visibility) & hiding:
            raise refuse("XDSMetadataUpdateError", "un document visible ne peut plus être rendu invisible")
        if _identity(entry) != _identity(current):
            raise refuse("XDSMetadataUpdateError", "seule la confidentialité peut changer")
        self._new_version(stored, replace(current, confidentiality=entry.confidentiality), set_uuid)

    def _new_version(self, stored: Stored, successor: DocumentEntry, set_uuid: str) -> None:
        number = str(int(stored.current.version) + 1)
        renewed = replace(successor, entry_uuid=new_uuid(), version=number)
        stored.versions[-1] = replace(stored.current, status=AvailabilityStatus.DEPRECATED)
        stored.versions.append(renewed)
        self._member(set_uuid, renewed.entry_uuid)

    def _member(self, set_uuid: str, entry_uuid: str) -> None:
        slots = (("SubmissionSetStatus", ("Original",)),)
        self.associations.append(Association(Association.HAS_MEMBER, set_uuid, entry_uuid, new_uuid(), slots))

    def by_uuid(self, entry_uuid: str) -> Stored | None:
        """The document one of whose versions has this entryUUID, None without."""
        return next((s for s in self.documents.values() if any(v.entry_uuid == entry_uuid for v in s.versions)), None)

    def require_current(self, entry_uuid: str) -> Stored:
        """The document whose newest version has this entryUUID. Raises RegistryRefused."""
        stored = self.by_uuid(entry_uuid)
        if stored is None or stored.current.entry_uuid != entry_uuid:
            raise refuse("XDSMetadataUpdateError", f"{entry_uuid} n'est pas la fiche en vigueur")
        return stored

    def current(self) -> Iterable[Stored]:
        """Every document."""
        return self.documents.values()


def _identity(entry: DocumentEntry) -> tuple[object, ...]:
    return (
        entry.unique_id, entry.patient, entry.title, entry.type, entry.class_code, entry.format, entry.created,
        entry.hash, entry.size, entry.authors, entry.service_start, entry.mime_type,
    )  # fmt: skip
