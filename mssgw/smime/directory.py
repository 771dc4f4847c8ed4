"""Certificates and identities in directories of files: what an operator puts there by hand or by script.

A PEM or DER file belongs to the addresses in its certificates; one without an address belongs to whom its name says,
`jeanne.martin@chu.example.pem`. A file named by a bare domain (`chu.example.pem`) serves every address of that
domain: the organisation's own certificate, and what it signs is bound to that domain's addresses. Beside `NAME.pem`,
`NAME.key` makes it an identity of ours.

A file that comes or goes is seen at the next question; a file that can't be read is logged once and left out.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mssgw.core.address import Address, AddressError
from mssgw.core.config.base import Secret
from mssgw.observe import Event, log
from mssgw.smime.certificates import Certificate
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.keys import MAX_KEY_FILE, FileKey, Identity, load_certificates
from mssgw.smime.keys import identity as make_identity

LOOK_SECONDS = 5.0
SUFFIXES = {".pem", ".crt", ".cer", ".der"}


@dataclass(frozen=True, slots=True)
class Holder:
    """The mailboxes that belong to a certificate: single ones, and whole domains."""

    keys: frozenset[str] = frozenset()

    def __contains__(self, address: object) -> bool:
        return isinstance(address, Address) and (address.key in self.keys or address.domain in self.keys)


NOBODY = Holder()


class CertificateFiles:
    """Correspondents' certificates by address, and addresses by certificate. Thread-safe: the indexes are replaced as a whole."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: tuple[tuple[str, int, int], ...] = ()
        self._index: dict[str, tuple[bytes, ...]] = {}
        self._holders: dict[bytes, Holder] = {}
        self._changed, self._look_at = 0, 0.0

    def of(self, address: Address) -> tuple[bytes, ...]:
        """DER of the certificates for an address, its own before those of its whole domain."""
        self._look_again()
        return self._index.get(address.key, ()) + self._index.get(address.domain, ())

    def holder(self, certificate: bytes) -> Holder:
        """Whose certificate (DER) it is, for the binding of signatures (`judging.Directory`)."""
        self._look_again()
        return self._holders.get(certificate, NOBODY)

    def _look_again(self) -> None:
        """Files that come and go change the directory's own time; one rewritten in place is seen a little later."""
        try:
            changed = os.stat(self._directory).st_mtime_ns
        except OSError:
            changed = 0
        if changed and changed == self._changed and time.monotonic() < self._look_at:
            return
        self._changed, self._look_at = changed, time.monotonic() + LOOK_SECONDS
        seen = tuple(sorted(_state(self._directory)))
        if seen == self._seen:
            return
        index: dict[str, list[bytes]] = defaultdict(list)
        holders: dict[bytes, set[str]] = defaultdict(set)
        for name, *_ in seen:
            path = self._directory / name
            for certificate in _read(path):
                for key in _owners(certificate, path.stem):
                    index[key].append(certificate.der)
                    holders[certificate.der].add(key)
        self._index = {key: tuple(found) for key, found in index.items()}
        self._holders = {der: Holder(frozenset(keys)) for der, keys in holders.items()}
        self._seen = seen


def identities(directory: Path) -> Iterator[Identity]:
    """Every `NAME.pem` that has a `NAME.key` beside it. Keys are read when they are first used."""
    for name, *_ in sorted(_state(directory)):
        path = directory / name
        key = path.with_suffix(".key")
        if key.exists() and (certificates := _read(path)):
            yield make_identity(certificates, FileKey(Secret("file", str(key))))


def _state(directory: Path) -> Iterator[tuple[str, int, int]]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():
                    facts = entry.stat()
                    yield entry.name, facts.st_mtime_ns, facts.st_size
    except OSError as error:
        log(Event.SMIME_DIRECTORY, "error", path=directory, reason=error.strerror)


def _read(path: Path) -> tuple[Certificate, ...]:
    try:
        if path.stat().st_size > MAX_KEY_FILE:
            raise SmimeError(Reason.LIMIT, "file over 1 MB")
        return load_certificates(path.read_bytes())
    except (OSError, SmimeError) as error:
        log(Event.SMIME_DIRECTORY, "error", path=path, reason=error)
        return ()


def _owners(certificate: Certificate, stem: str) -> set[str]:
    try:
        owners = {address.key for address in certificate.addresses}
    except SmimeError as error:
        log(Event.SMIME_DIRECTORY, "error", path=stem, reason=error)
        owners = set()
    try:
        owners.add(Address.parse(stem).key)
    except AddressError:
        if "." in stem and "@" not in stem:
            owners.add(stem.lower())
    return owners
