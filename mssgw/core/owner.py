"""As which user a process works in the data directory: as its owner, so that no file there belongs to somebody else.

A file of root in the data directory stops the service, which is not root, at its next start. So root becomes the owner
before anything is opened there, and any third user is refused. What only root can read is read before.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from mssgw.core import unit
from mssgw.core.errors import ConfigError
from mssgw.core.texts import Message, message, of_system

LOST_FOUND: Final = "lost+found"  # root's, at the top of each file system of ext4
_SHOWN = 3  # files of others that are named
_LOOKED_AT = 10_000  # entries
_BODIES = 32  # bodies looked at in each of the 256 directories


def differs(directory: Path) -> bool:
    """Whether `become` would change the user."""
    return os.geteuid() == 0 and _owner(directory) not in (None, 0)


def make(directory: Path) -> None:
    """Root makes it, when it is not there, for the user that the unit names. Where no service is installed, and for any
    other user, whoever keeps something there makes it. Raises ConfigError."""
    if os.geteuid() != 0 or _owner(directory) is not None or not (name := unit.user()):
        return
    try:
        entry = pwd.getpwnam(name)
        directory.mkdir(mode=0o700, parents=True)
        os.chown(directory, entry.pw_uid, entry.pw_gid)
    except KeyError:
        raise ConfigError([("node.data", message("owner.no-user", name=name))]) from None
    except OSError as error:
        raise ConfigError([("node.data", message("owner.not-made", path=directory, why=of_system(error)))]) from error


def become(directory: Path) -> None:
    """Root takes the user and the groups of the directory's owner, for good. Raises ConfigError for anybody else."""
    uid = _owner(directory)
    if uid is None or uid == os.geteuid():
        return
    if os.geteuid() != 0:
        raise ConfigError([("node.data", message("owner.other", path=directory, user=user(uid)))])
    _become(uid, directory.stat().st_gid)


def become_service() -> None:
    """Root takes the user and the groups that the unit names, for good. Raises ConfigError: there is no such user."""
    try:
        entry = pwd.getpwnam(name := unit.user())
    except KeyError:
        raise ConfigError([("node.data", message("owner.no-user", name=name))]) from None
    _become(entry.pw_uid, entry.pw_gid)


def _become(uid: int, gid: int) -> None:
    try:
        entry = pwd.getpwuid(uid)
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    except KeyError:
        groups = []
    os.setgroups(sorted({gid, *groups}))
    os.setgid(gid)
    os.setuid(uid)


def problems(directory: Path) -> Iterator[Message]:
    """Why the present user cannot keep data there, each with what to do. A directory that is missing can be made, or not."""
    try:
        uid = _owner(directory)
    except OSError as error:
        yield message("at", place=directory, what=of_system(error))
        return
    if len(directory.absolute().parts) <= 2:  # "/" and what lies at its top
        yield message("owner.system", path=directory)
    elif uid is None:
        yield from _no_place(directory)
    elif not directory.is_dir():
        yield message("owner.no-directory", path=directory)
    elif uid != os.geteuid():
        yield message("owner.runs-as", path=directory, user=user(uid), me=user(os.geteuid()))
    elif not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        yield message("owner.not-writable", path=directory, user=user(uid))
    elif foreign := list(islice(_of_others(directory, uid), _SHOWN)):
        service = unit.user()
        owner = f"{service}:" if service and service != user(uid) else f"{user(uid)}:{group(directory.stat().st_gid)}"
        yield message("owner.foreign", user=user(uid), files=tuple(foreign), owner=owner, path=directory)


def unreadable(path: Path, kind: Literal["key", "public", "directory"]) -> Message:
    """Which user can't read a file, and the commands that give the right, by the rule of docs/operations.md, "Who may read what".

    A key is its owner's and for the group of who reads it; a certificate or a list is for everybody.
    """
    me, mine = user(os.geteuid()), group(os.getegid())
    closed = next((one for one in reversed(path.absolute().parents) if one.is_dir() and not os.access(one, os.X_OK)), None)
    if closed is not None:
        return message("owner.closed", path=closed, user=me, group=mine)
    kind = "directory" if path.is_dir() else kind
    return message(f"owner.unreadable.{kind}", path=path, user=me, group=mine)


def of_public(error: OSError, path: Path) -> Message:
    """What the system says about a file or directory that is no secret, with what to do where it lacks a right."""
    return unreadable(path, "public") if isinstance(error, PermissionError) else of_system(error)


def user(uid: int) -> str:
    """The name of a user, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group(gid: int) -> str:
    """The name of a group, or its number."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _owner(directory: Path) -> int | None:
    """None when it is not there. Raises OSError."""
    try:
        return directory.stat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return None


def _no_place(directory: Path) -> Iterator[Message]:
    above = next(one for one in directory.absolute().parents if one.exists())
    if not above.is_dir():
        yield message("owner.not-made", path=directory, why=message("owner.no-directory", path=above))
    elif not os.statvfs(above).f_blocks:
        yield message("owner.not-made", path=directory, why=message("owner.kernel", path=above))
    elif not os.access(above, os.W_OK | os.X_OK) or os.statvfs(above).f_flag & os.ST_RDONLY:
        name = user(os.geteuid())
        yield message("owner.install", path=directory, user=name, above=above)


def _of_others(directory: Path, uid: int) -> Iterator[Path]:
    """Files and directories of somebody else. Of the bodies of messages, which are many, some in each directory are looked at."""
    for folder, names, files in islice(os.walk(directory), _LOOKED_AT):
        if Path(folder) == directory and LOST_FOUND in names:
            names.remove(LOST_FOUND)
        for name in [*names, *files[: _BODIES if Path(folder).parent.name == "blobs" else _LOOKED_AT]]:
            path = Path(folder) / name
            with contextlib.suppress(OSError):
                if path.lstat().st_uid != uid:
                    yield path
