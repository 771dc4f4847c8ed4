"""Certificates and identities in directories of files that an operator maintains by hand or by script.

A PEM or DER file belongs to the addresses in its certificates; one without an address belongs to the address that is its
name, `jeanne.martin@chu.example.pem`. A file named by a bare domain (`chu.example.pem`) serves every address of that
domain: the organisation's own certificate, and what it signs is bound to that domain's addresses. Beside `NAME.pem`,
`NAME.key` makes it an identity of ours.

A file that comes or goes is seen at the next query. A file that can't be read does not count as absent: the certificates of
those it was for, or of the address that is its name, are unknown, and when neither shows whose it is, those of everybody.
The same holds while the directory itself can't be read. Unknown is temporary: mail waits, it does not leave in clear.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from mssgw.core.address import Address, AddressError
from mssgw.core.config.base import Secret
from mssgw.core.errors import ConfigError
from mssgw.core.texts import Message, message, of_system
from mssgw.observe import Event, log
from mssgw.smime.directories.binding import Binding, Bound
from mssgw.smime.directories.candidate import Candidate
from mssgw.smime.errors import DirectoryUnavailable, KeyUnavailable, Reason, SmimeError, of_error
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.keys.key import MAX_KEY_FILE, FileKey, Identity, load_certificates, require_same_key
from mssgw.smime.keys.key import identity as make_identity

LOOK_SECONDS = 5.0
SUFFIXES = {".pem", ".crt", ".cer", ".der"}
ANYBODY = ""  # the owner of a file whose owner can't be found out

State = tuple[int, int, int] | None  # None: not even that can be read


@dataclass(frozen=True, slots=True)
class Holder:
    """The mailboxes that belong to a certificate: single ones, and whole domains."""

    keys: frozenset[str] = frozenset()

    def __contains__(self, address: object) -> bool:
        return isinstance(address, Address) and (address.key in self.keys or address.domain in self.keys)


NOBODY = Holder()


@dataclass(frozen=True, slots=True)
class _File:
    """What a file held when it was last read. With a problem, its owners are the former ones, or those in its name."""

    state: State
    certificates: tuple[Certificate, ...]
    owners: tuple[frozenset[str], ...]  # of each certificate; of a broken file, all in one
    problem: Message | None = None


@dataclass(frozen=True, slots=True)
class _Index:
    certificates: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    holders: Mapping[bytes, Holder] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)  # by owner: why their certificates are unknown now

    @classmethod
    def of(cls, files: Mapping[str, _File]) -> _Index:
        certificates: dict[str, list[bytes]] = defaultdict(list)
        holders: dict[bytes, set[str]] = defaultdict(set)
        unknown: dict[str, str] = {}
        for one in files.values():
            for certificate, owners in zip(one.certificates, one.owners, strict=False):
                for key in sorted(owners):
                    certificates[key].append(certificate.der)
                holders[certificate.der] |= owners
            if one.problem:
                unknown |= dict.fromkeys(frozenset().union(*one.owners), str(one.problem))
        return cls(
            {key: tuple(found) for key, found in certificates.items()},
            {der: Holder(frozenset(keys)) for der, keys in holders.items()},
            unknown,
        )

    def why(self, address: Address) -> str:
        """Why it is unknown now whether there is a certificate for an address; "" when it is known."""
        return next((self.unknown[key] for key in (address.key, address.domain, ANYBODY) if key in self.unknown), "")


class CertificateFiles:
    """Correspondents' certificates by address, and addresses by certificate. Thread-safe: the index is replaced as a whole."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, _File] = {}
        self._index = _Index()
        self._changed, self._look_at, self._lost = 0, 0.0, ""

    def find(self, address: Address) -> tuple[Candidate, ...]:
        """The certificates for an address, its own before those of its whole domain. What can't be read now stands last, as unknown."""
        index = self._look_again()
        found = (*index.certificates.get(address.key, ()), *index.certificates.get(address.domain, ()))
        candidates = tuple(Candidate(der, "file") for der in found)
        if why := index.why(address):
            return (*candidates, Candidate(b"", "file", unknown=DirectoryUnavailable(detail=why)))
        return candidates

    def binds(self, certificate: Certificate, address: Address) -> Bound | None:
        """Whether a file gives this certificate to this address, or to its whole domain: then it is an organisation's, and nobody's own."""
        holder = self._look_again().holders.get(certificate.der, NOBODY)
        if address not in holder:
            return None
        return Bound(Binding.DIRECTORY if address.key in holder.keys else Binding.OPERATOR, "files")

    def _look_again(self) -> _Index:
        """Files that come and go change the directory's own time; one rewritten in place is seen a little later."""
        try:
            changed = os.stat(self._directory).st_mtime_ns
        except OSError:
            changed = 0
        if changed and changed == self._changed and time.monotonic() < self._look_at:
            return self._index
        self._changed, self._look_at = changed, time.monotonic() + LOOK_SECONDS
        try:
            seen = _states(self._directory)
        except OSError as error:
            lost = f"{self._directory}: {error.strerror or error}"
            if lost != self._lost:
                log(Event.SMIME_DIRECTORY, "error", path=self._directory, reason=error.strerror)
            self._changed, self._lost = 0, lost
            self._index = replace(self._index, certificates={}, unknown={ANYBODY: lost})
            return self._index
        files = {name: _look(self._directory / name, state, self._files.get(name)) for name, state in seen.items()}
        if files != self._files or self._lost:
            for name, one in files.items():
                if one.problem and one != self._files.get(name):
                    log(Event.SMIME_DIRECTORY, "error", path=self._directory / name, reason=one.problem)
            self._files, self._index, self._lost = files, _Index.of(files), ""
        return self._index


def file_problems(directory: Path) -> list[Message]:
    """The certificate files that can't be read, a sentence each. Raises OSError when it is the directory."""
    looked = (_look(directory / name, state, None) for name, state in _states(directory).items())
    return [one.problem for one in looked if one.problem]


def _look(path: Path, state: State, before: _File | None) -> _File:
    """A file that failed is read again each time: what kept it from being read may not show in its time stamp or size."""
    if before and before.state == state and not before.problem:
        return before
    try:
        certificates = _read(path)
        return _File(state, certificates, tuple(_owners(one, path.stem) for one in certificates))
    except (OSError, SmimeError) as error:
        owners = frozenset().union(*before.owners) if before else _named(path.stem)
        return _File(state, (), (owners,), _sentence(path, error))


@dataclass(frozen=True, slots=True)
class Unread:
    """An identity whose certificate can't be read. `owners` (`Address.key`): None when the file's name does not show whose it is."""

    path: Path
    owners: frozenset[str] | None
    why: Message


def identities(directory: Path, now: datetime) -> Iterator[Identity | Unread]:
    """Every `NAME.pem` that has a `NAME.key` beside it. Keys are read when they are first used; what can't be read is
    logged, and given as such: somebody signs with it. Raises ConfigError when it is the directory."""
    for path, key in _pairs(directory):
        try:
            yield make_identity(_read(path), FileKey(Secret("file", str(key))), now)
        except (OSError, SmimeError) as error:
            said, owners = _sentence(path, error), _named(path.stem)
            log(Event.SMIME_DIRECTORY, "error", path=path, reason=said)
            yield Unread(path, None if ANYBODY in owners else owners, said)


def key_files(directory: Path) -> list[tuple[Path, ...]]:
    """What is an identity, or would be: NAME.pem with NAME.key, and each PKCS#12. Raises ConfigError when it is the directory."""
    return [*_pairs(directory), *((path,) for path in _bundles(directory))]


def identity_remarks(directory: Path) -> list[Message]:
    """What stands there and is not used, a sentence each."""
    try:
        paired = {path for pair in _pairs(directory) for path in pair}
        alone = [directory / name for name in _states(directory) if directory / name not in paired]
        keys = sorted(path for path in directory.glob("*.key") if path not in paired and not path.name.startswith("."))
        bundles = _bundles(directory)
    except (ConfigError, OSError):
        return []  # a mistake, and reported as one
    return [
        *(message("remark.no-key-beside", path=path, name=path.with_suffix(".key").name) for path in alone),
        *(message("remark.no-certificate-beside", path=path, name=path.with_suffix(".pem").name) for path in keys),
        *(message("remark.bundle", path=path) for path in bundles),
    ]


def _bundles(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix.lower() in (".p12", ".pfx") and not path.name.startswith("."))
    except OSError as error:
        raise ConfigError([("smime.identities", message("at", place=directory, what=of_system(error)))]) from error


def identity_problems(directory: Path, now: datetime) -> list[Message]:
    """What is wrong with the identities, a sentence each: certificates, keys, keys of other certificates."""
    problems: list[Message] = []
    try:
        pairs = list(_pairs(directory))
    except ConfigError as error:
        return [sentence for _, sentence in error.problems]
    for path, key in pairs:
        try:
            require_same_key(_read(path), key, now)
        except KeyUnavailable as error:
            problems.append(message("at", place=key, what=of_error(error)))
        except (OSError, SmimeError) as error:
            problems.append(_sentence(path, error))
    return problems


def _pairs(directory: Path) -> Iterator[tuple[Path, Path]]:
    try:
        names = _states(directory)
    except OSError as error:
        raise ConfigError([("smime.identities", message("at", place=directory, what=of_system(error)))]) from error
    for name in names:
        path = directory / name
        if (key := path.with_suffix(".key")).exists():
            yield path, key


def _states(directory: Path) -> dict[str, State]:
    """The files with certificates, by name. Raises OSError."""
    found: dict[str, State] = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            if os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.name.startswith("."):
                try:
                    if not entry.is_dir():
                        facts = entry.stat()
                        found[entry.name] = facts.st_ino, facts.st_mtime_ns, facts.st_size
                except OSError:
                    found[entry.name] = None
    return dict(sorted(found.items()))


def _read(path: Path) -> tuple[Certificate, ...]:
    """Raises OSError, SmimeError."""
    if not path.is_file():
        path.stat()  # raises with the reason
        raise SmimeError(Reason.MALFORMED, "not a file")
    if path.stat().st_size > MAX_KEY_FILE:
        raise SmimeError(Reason.LIMIT, "file over 1 MB")
    return load_certificates(path.read_bytes())


def _sentence(path: Path, error: OSError | SmimeError) -> Message:
    return message("at", place=path, what=of_system(error) if isinstance(error, OSError) else message("words", words=error.detail))


def _owners(certificate: Certificate, stem: str) -> frozenset[str]:
    """Raises SmimeError."""
    owners = {address.key for address in certificate.addresses}
    try:
        owners.add(Address.parse(stem).key)
    except AddressError:
        if "." in stem and "@" not in stem:
            owners.add(stem.lower())
    return frozenset(owners)


def _named(stem: str) -> frozenset[str]:
    """The owner of a file that was never readable. `paul.petit` may be a domain, or a person whose certificate would have the address."""
    try:
        return frozenset((Address.parse(stem).key,))
    except AddressError:
        return frozenset((ANYBODY,))
