"""Where a credential of systemd lies: for the service itself, and for a verb that root runs beside it.

The service finds what systemd gave it in `$CREDENTIALS_DIRECTORY`. A verb has no such directory, so it looks where the
unit's own credentials are: those of the running unit, then what `LoadCredential=` of the installed unit names, then the
directories in which systemd looks for credentials (systemd.exec(5)), in clear and encrypted (systemd-creds(1)).

A file that somebody else owns, or that others can read, is refused and not passed over: the next place might hold
another key. See docs/adr/0013.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mssgw.core import owner, unit
from mssgw.core.texts import NotPermitted, NotThere, message, of_system

STORE: Final = Path("/etc/credstore")  # where `mssgw init` puts the master key
DECRYPT_SECONDS: Final = 30
MAX_OCTETS: Final = 1_048_576  # systemd's own limit for a credential

_ROOT: Final = Path("/")
_STORES: Final = ("etc/credstore", "run/credstore", "usr/lib/credstore")

_held: Final[dict[str, Path]] = {}
_refused: Final[dict[str, OSError]] = {}


@dataclass(frozen=True, slots=True)
class Place:
    """A file that may hold a credential."""

    path: Path
    by_systemd: bool = False  # made for the service: its access list shows as the group's bits
    encrypted: bool = False


def places(name: str, root: Path = _ROOT) -> tuple[Place, ...]:
    """Where credential `name` may lie, in the order of looking. `root` stands for / (tests have their own)."""
    found = []
    if given := os.environ.get("CREDENTIALS_DIRECTORY"):
        found.append(Place(Path(given) / name, by_systemd=True))
    found.append(Place(root / "run/credentials" / unit.NAME / name, by_systemd=True))
    found += _of_unit(name, root)
    found += [Place(root / directory / name) for directory in _STORES]
    found += [Place(root / f"{directory}.encrypted" / name, encrypted=True) for directory in _STORES]
    return tuple(dict.fromkeys(found))


def find(name: str, root: Path = _ROOT) -> Path:
    """A file with the octets of credential `name`. Raises OSError: what was tried, or why what was found is not taken."""
    tried: list[object] = []
    hidden = False
    for place in places(name, root):
        try:
            found = place.path.stat()
        except FileNotFoundError:
            tried.append(place.path)
        except OSError as error:
            hidden = hidden or isinstance(error, PermissionError)
            tried.append(message("with-detail", said=str(place.path), detail=of_system(error)))
        else:
            _require_private(place, found)
            return in_memory(name, _decrypted(name, place.path)) if place.encrypted else place.path
    if hidden:
        raise NotPermitted("credential.out-of-reach", places=tuple(tried), user=owner.user(os.geteuid()))
    raise NotThere("credential.none", places=tuple(tried))


def is_stored(path: Path) -> bool:
    """Whether a file lies where only root and systemd look for credentials."""
    return str(path.parent).lstrip("/") in _STORES


def hold(reference: str, octets: bytes) -> None:
    """Keep a secret for this process, which is about to lose the right to read its file."""
    _held[reference] = in_memory("secret", octets)


def hold_refusal(reference: str, error: OSError) -> None:
    """Keep why root could not read a secret: once root is given away, only that the file is out of reach would be known."""
    _refused[reference] = error


def held(reference: str) -> Path | None:
    """The file of a secret that `hold` keeps. Raises OSError: what kept root from reading it."""
    if error := _refused.get(reference):
        raise error
    return _held.get(reference)


def in_memory(name: str, octets: bytes) -> Path:
    """A file that lies in the memory of this process and nowhere else, for libraries that want a path."""
    descriptor = os.memfd_create(name)  # stays open until the process ends
    os.write(descriptor, octets)
    return Path(f"/proc/self/fd/{descriptor}")


def _of_unit(name: str, root: Path) -> Iterator[Place]:
    """What the installed unit loads under this name."""
    for key in ("LoadCredential", "LoadCredentialEncrypted"):
        for value in unit.values(key, root):
            named, _, path = value.partition(":")
            if named == name and path.startswith("/"):
                yield Place(root / path.lstrip("/"), encrypted=key == "LoadCredentialEncrypted")


def _require_private(place: Place, found: os.stat_result) -> None:
    """Raises PermissionError when the file is not root's or ours, or when others can read or change it."""
    owners = {0, os.geteuid()} | ({place.path.parent.stat().st_uid} if place.by_systemd else set())
    if found.st_uid not in owners:
        raise NotPermitted("credential.owner", path=place.path, uid=found.st_uid)
    if not stat.S_ISREG(found.st_mode):
        raise NotPermitted("credential.no-file", path=place.path)
    mode = stat.S_IMODE(found.st_mode)
    if mode & (0o022 if place.encrypted else 0o007 if place.by_systemd else 0o077):  # systemd-creds lets everybody read what it encrypts
        raise NotPermitted("credential.open", path=place.path, mode=f"{mode:04o}")


def _decrypted(name: str, path: Path) -> bytes:
    """Raises OSError."""
    program = shutil.which("systemd-creds")
    if program is None:
        raise NotThere("credential.no-program", path=path)
    try:
        done = subprocess.run(  # noqa: S603 - systemd's own program, a path of ours
            [program, "decrypt", f"--name={name}", str(path), "-"], capture_output=True, timeout=DECRYPT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotPermitted("credential.slow", path=path, seconds=DECRYPT_SECONDS) from None
    if done.returncode or len(done.stdout) > MAX_OCTETS:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise NotPermitted("credential.refused", path=path, why=said or f"status {done.returncode}")
    return done.stdout
