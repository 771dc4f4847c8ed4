"""What every table of the configuration is made of: Settings, Listen, Secret, paths, networks."""

from __future__ import annotations

import re
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import msgspec

from mssgw.core.config import credentials
from mssgw.core.errors import Mistake, Problem
from mssgw.core.owner import group, unreadable, user
from mssgw.core.texts import Message, NotPermitted, NotThere, message

BASE_DIR: ContextVar[Path] = ContextVar("BASE_DIR", default=Path())


class _Parsed:
    """A value msgspec has to ask `decode_hook` for (it would take a dataclass apart itself)."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class Network(_Parsed):
    """An IP network, `10.1.0.0/16` or one address."""

    __slots__ = ("_network",)

    def __init__(self, text: str) -> None:
        try:
            self._network = ip_network(text)
        except ValueError as error:
            raise Mistake("config.network", text=text) from error

    @property
    def is_private(self) -> bool:
        """Not on the Internet: RFC 1918, RFC 4193, loopback, link-local and the like."""
        return self._network.is_private

    @property
    def is_everybody(self) -> bool:
        """So wide that it excludes hardly anybody: a prefix under 8 bits for IPv4, under 16 for IPv6."""
        return self._network.prefixlen < (8 if self._network.version == 4 else 16)

    def __contains__(self, peer: str) -> bool:
        address: IPv4Address | IPv6Address = ip_address(peer.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return address in self._network

    def __str__(self) -> str:
        return str(self._network)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table: frozen, unknown keys are mistakes."""


class Mistakes(ValueError):
    """Contradictions between settings of one table, and mistakes that no type can express: all of them, each under its setting."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("; ".join(str(sentence) for _, sentence in problems))


class Listen(_Parsed):
    """An address to listen on, `host:port` or `[v6]:port`."""

    __slots__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    @classmethod
    def parse(cls, text: str) -> Listen:
        found = re.fullmatch(r"\[([0-9a-fA-F:.]+)\]:(\d+)|([^:\s]+):(\d+)", text)
        if not found or not 0 <= int(found[2] or found[4]) <= 65535:
            raise Mistake("config.listen")
        return cls(found[1] or found[3], int(found[2] or found[4]))

    @property
    def is_loopback(self) -> bool:
        """Reached from this machine only."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Secret(_Parsed):
    """A reference to a secret: `file:PATH`, `credential:NAME` for systemd's LoadCredential, or `pkcs11:token=…;object=…`
    for a signing key that never leaves its token.

    `str()` and `repr()` show the reference, never the secret.
    """

    __slots__ = ("name", "scheme")

    def __init__(self, scheme: str, name: str) -> None:
        self.scheme, self.name = scheme, name

    @classmethod
    def parse(cls, text: str) -> Secret:
        scheme, colon, name = text.partition(":")
        if not colon or scheme not in ("file", "credential", "pkcs11") or not name:
            raise Mistake("config.secret")
        if scheme == "credential" and ("/" in name or name.startswith(".")):
            raise Mistake("config.credential-name")
        if scheme == "file":
            name = str(BASE_DIR.get() / name)
        return cls(scheme, name)

    @property
    def path(self) -> Path:
        """The file that holds the secret. Raises OSError when there is none: a token's key, a credential that is nowhere."""
        if held := credentials.held(str(self)):
            return held
        if self.scheme == "file":
            return Path(self.name)
        if self.scheme == "pkcs11":
            raise NotThere("config.in-token")
        return credentials.find(self.name)

    def read(self) -> bytes:
        """The secret's octets. Raises OSError; without the right to read them, it names the user and what gives the right."""
        path = self.path
        try:
            return path.read_bytes()
        except PermissionError as error:
            if credentials.is_stored(path):  # root's alone, and to stay so: systemd hands it to the service
                raise NotPermitted("credential.by-file", path=path, name=path.name) from error
            raise NotPermitted(unreadable(path, "key")) from error

    def hold(self) -> None:
        """Keep the secret, or why it can't be read, in the memory of this process, which is about to lose the right to read the file."""
        if self.scheme != "pkcs11":
            try:
                credentials.hold(str(self), self.read())
            except OSError as error:
                credentials.hold_refusal(str(self), error)

    def exposure(self, data: Path) -> Message | None:
        """Who beside the service may read or change the file; None when nobody.

        The service reads its keys by its group, which is that of the directory `data`: root's file with mode 0640. Of
        credentials `credentials.find` takes only private ones.
        """
        if self.scheme != "file":
            return None
        try:
            found = Path(self.name).stat()
        except OSError:
            return None  # reading it reports why
        try:
            owner, service = data.stat().st_uid, data.stat().st_gid
        except OSError:
            owner, service = found.st_uid, found.st_gid  # no data yet: nothing to compare with
        if found.st_mode & 0o007:
            who = message("config.exposed.everybody")
        elif found.st_mode & 0o070 and found.st_gid != service:
            who = message("config.exposed.group-reads", group=group(found.st_gid))
        elif found.st_mode & 0o020:
            who = message("config.exposed.group-changes", group=group(found.st_gid))
        elif found.st_uid not in (0, owner):
            who = message("config.exposed.owner", user=user(found.st_uid))
        else:
            return None
        mode = f"{found.st_mode & 0o777:04o}"
        return message("config.exposed", secret=self, mode=mode, who=who, group=group(service), file=self.name)

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}"


def check_store(text: str) -> str:
    """Raises Mistake unless it is the address of a store that exists: another kind of database is a mistake of the file."""
    scheme, colon, rest = text.partition(":")
    known = (scheme == "sqlite" and rest.strip("/")) or (scheme in ("postgresql", "postgres") and rest.startswith("//"))
    if not colon or not known:
        raise Mistake("config.store", given=scheme or text)
    return text


def sqlite_file(store: str, data: Path) -> Path | None:
    """The file of `sqlite:PATH`; a relative one lies below `data`, as all that is kept. None for PostgreSQL."""
    scheme, _, rest = store.partition(":")
    return data / rest.removeprefix("//") if scheme == "sqlite" else None


def decode_hook(kind: Any, given: Any) -> Any:
    """Turn a TOML value into one of our types. msgspec puts the path in front of what is raised here."""
    if not isinstance(given, str):
        raise Mistake("config.wrong-kind", wanted=message("config.kind.str"), found=message("config.kind.other"))
    if kind is Listen:
        return Listen.parse(given)
    if kind is Secret:
        return Secret.parse(given)
    if kind is Path:
        return BASE_DIR.get() / given
    if kind is Network:
        return Network(given)
    raise NotImplementedError(kind)
