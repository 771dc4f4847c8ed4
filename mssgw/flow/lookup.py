"""Whose certificate: what was pinned, alone; else the operator's files, what signed mail taught us, the directories, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mssgw.core.address import Address
from mssgw.smime import Candidate
from mssgw.smime.directories.files import CertificateFiles
from mssgw.smime.directories.ldap import LdapDirectory
from mssgw.smime.errors import DirectoryUnavailable
from mssgw.store import Store, certificates

REMEMBERED = 4096  # addresses whose certificates are not read again for each message


class Lookup:
    """Recipients' certificates: the operator's files first, then what valid signed mail taught us (newest first), then
    the directories. What they can read is listed in their last valid mail, else in a directory."""

    def __init__(self, files: CertificateFiles | None, learned: Learned, ldap: Sequence[LdapDirectory] = ()) -> None:
        self._files, self._learned, self._ldap = files, learned, ldap

    async def __call__(self, address: Address) -> Sequence[Candidate]:
        known, spoken = await self._learned.about(address)
        if pinned := [one for one in known if one.source == certificates.PINNED]:
            return [Candidate(one.der, one.source, spoken, one.seen) for one in pinned]
        files = self._files.find(address) if self._files else ()
        learned = [Candidate(one.der, one.source, spoken, one.seen) for one in known]
        asked = [found for directory in self._ldap for found in await _asked(directory, address)]
        return [
            *(replace(one, capabilities=spoken) for one in files),
            *learned,
            *(replace(one, capabilities=spoken or one.capabilities) for one in asked),
        ]


class Learned:
    """What valid signed mail taught the store about an address, read again when any worker learned something new."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._news = store.doorbell.subscribe(certificates.CHANGED)
        self._remembered: dict[Address, tuple[list[certificates.Known], bytes | None]] = {}
        self._generation = 0

    async def about(self, address: Address) -> tuple[list[certificates.Known], bytes | None]:
        """Certificates, last seen first, and capabilities (DER)."""
        self._hear()
        if (found := self._remembered.get(address)) is None:
            generation = self._generation
            known, said = await self._store.read(lambda rx: (certificates.of(rx, address), certificates.capabilities(rx, address)))
            found = known, said[0] if said else None
            self._hear()
            if generation == self._generation:  # else what was read may be older than the change
                if len(self._remembered) >= REMEMBERED:
                    self._remembered.clear()
                self._remembered[address] = found
        return found

    def close(self) -> None:
        """End the subscription."""
        self._news.close()

    def _hear(self) -> None:
        if self._news.take():
            self._remembered.clear()
            self._generation += 1


async def _asked(directory: LdapDirectory, address: Address) -> Sequence[Candidate]:
    """The certificates in a directory. When it can't answer, that counts only if no other source has a certificate."""
    try:
        return await directory.find(address)
    except DirectoryUnavailable as error:
        return (Candidate(b"", "ldap", unknown=error),)
