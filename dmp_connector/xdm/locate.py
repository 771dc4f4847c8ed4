"""Which file of an archive a document's metadata mean, however the sender wrote its name.

Tried in order: the URI beside METADATA.XML, below IHE_XDM, from the top, as it stands and then unquoted;
the base name or the object id; hash and size; the only file it can be. Whatever is found must still have the hash and
size that were announced. A URI that leaves the archive is refused before anything is tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from urllib.parse import unquote

from dmp_connector.errors import BadArchive
from dmp_connector.model.documents import DocumentEntry, content_hash
from dmp_connector.texts import Message, message
from dmp_connector.xdm.members import folded

_OF_THE_MEDIUM = {"index.htm", "index.html", "readme.txt", "metadata.xml"}  # ITI-32: no documents


class Locator:
    """The files of one archive, looked through for each of its documents. `notes` gets a remark for each detour."""

    def __init__(self, files: Mapping[str, bytes], notes: list[Message]) -> None:
        self._files, self._notes = files, notes

    def locate(self, entry: DocumentEntry, metadata: str, folder: str) -> str:
        """The path of the document. `metadata`: path of its METADATA.XML; `folder`: prefix of its URIs. Raises BadArchive."""
        uri = entry.uri.replace("\\", "/")
        spellings = tuple(dict.fromkeys((uri, unquote(uri)))) if uri else ()
        for spelling in spellings:
            _require_inside(spelling)
        if not uri:
            self._notes.append(message("xdm.document-no-uri"))
        others = [path for path in self._files if path != metadata]
        found = self._by_path(spellings, folder, others) or self._by_base_name(spellings or (entry.entry_uuid,), folder, others)
        found = found or self._by_hash(entry, metadata) or ("" if uri else self._only_one(folder, others))
        if not found:
            raise BadArchive(message("xdm.document-named-metadata-xml-not") if uri else message("xdm.cannot-tell-which-file"))
        return found

    def _by_path(self, spellings: Iterable[str], folder: str, others: list[str]) -> str:
        by_name = {folded(path): path for path in others}
        above = folder.rstrip("/").rpartition("/")[0]
        for spelling in spellings:
            candidates = (folder + spelling, f"{above}/{spelling}" if above else spelling, spelling)
            for candidate in candidates:
                found = by_name.get(folded(candidate))
                if found:
                    if found not in candidates:
                        self._notes.append(message("xdm.document-s-name-differs-case"))
                    return found
        return ""

    def _by_base_name(self, spellings: Iterable[str], folder: str, others: list[str]) -> str:
        for spelling in spellings:
            base = folded(spelling.rpartition("/")[2])
            near = [p for p in others if base and base in {_base(p, folder), _base(p, folder).rpartition(".")[0]}]
            if len(near) == 1:
                self._notes.append(message("xdm.document-found-name-only"))
                return near[0]
        return ""

    def _by_hash(self, entry: DocumentEntry, metadata: str) -> str:
        """Of several equal files the first: they are the same document."""
        found = next((path for path in self._hashed.get(entry.hash, ()) if path != metadata), "") if entry.hash else ""
        if found:
            self._notes.append(message("xdm.document-found-hash"))
        return found

    @cached_property
    def _hashed(self) -> Mapping[str, list[str]]:
        """Every file by its hash: computed once, whatever the number of documents."""
        found: dict[str, list[str]] = {}
        for path, content in self._files.items():
            found.setdefault(content_hash(content), []).append(path)
        return found

    def _only_one(self, folder: str, others: list[str]) -> str:
        """The only file beside METADATA.XML. The caller compares hash and size, as of every document."""
        beside = [p for p in others if p.startswith(folder) and _base(p, folder) not in _OF_THE_MEDIUM]
        if len(beside) != 1:
            return ""
        self._notes.append(message("xdm.document-only-file"))
        return beside[0]


def _require_inside(uri: str) -> None:
    inside = uri.replace("\\", "/")
    if inside.startswith("/") or ".." in inside.split("/") or ":" in inside or any(ord(c) < 32 for c in inside):
        raise BadArchive(message("xdm.document-s-uri-leaves-archive"))


def _base(path: str, folder: str) -> str:
    return folded(path.removeprefix(folder).rpartition("/")[2])
