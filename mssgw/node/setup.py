"""The first configuration of a node: its text, the files beside it, the DNS records by which others find it.

Nothing that is there is ever replaced. What is made belongs to root and the service's group (configuration), to the
service (data) or to root alone (master key). A master key is made only where nothing can have been sealed yet.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mssgw.core import owner, unit
from mssgw.core.config import Config, credentials, parse
from mssgw.core.errors import ConfigError
from mssgw.core.texts import both, message, of_system
from mssgw.store.keys import write_master

CREDENTIAL: Final = "mssgw.master.key"  # the name in deploy/systemd/mssgw.service

_TEXT = """\
# Written by `mssgw init`. config/mssgw.toml of the sources has every setting with its meaning; `mssgw config show` tells
# what is in force. Where the machine has IPv6, each `listen` takes a second address, "[::]:25" and so on.
[node]
hostname = "{hostname}"
data = "{data}"
store = "{store}"

[seal]
master_key = "{master_key}"

[trust]
anchors = "anchors"

# Other operators. The certificate of IGC-Santé for this host, then its chain.
[relay]
listen = ["0.0.0.0:25"]
certificate = "operator.pem"
key = "file:operator.key"

# Mail clients. A certificate that their programs know.
[clients]
certificate = "clients.pem"
key = "file:clients.key"

[submission]
listen = ["0.0.0.0:587"]
listen_tls = ["0.0.0.0:465"]

[imap]
listen_tls = ["0.0.0.0:993"]

[metrics]
listen = ["127.0.0.1:9464"]
"""
_DOMAIN = """
[[domain]]
name = "{name}"
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What only an administrator knows. `store` and `master_key` as in the configuration."""

    hostname: str
    domains: tuple[str, ...]
    store: str
    data: Path
    master_key: str


@dataclass(frozen=True, slots=True)
class Service:
    """The user and group of the running node."""

    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> Service:
        """Raises ConfigError when there is no such user."""
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            raise ConfigError([("", message("setup.no-user", name=name))]) from None
        return cls(found.pw_uid, found.pw_gid)

    @classmethod
    def here(cls) -> Service:
        """For root the user of the installed unit, or `mssgw`; everybody else runs their own. Raises ConfigError."""
        return cls.named(unit.user() or "mssgw") if cls.is_root() else cls(os.geteuid(), os.getegid())

    @staticmethod
    def is_root() -> bool:
        return os.geteuid() == 0


def text_of(wanted: Wanted) -> str:
    """The configuration. Raises ConfigError with every answer that can't stand in it."""
    given = (wanted.hostname, *wanted.domains, wanted.store, str(wanted.data), wanted.master_key)
    if quoted := [part for part in given if set(part) & set('"\\\n')]:
        raise ConfigError([("", message("setup.quoted", given=repr(part))) for part in quoted])
    facts = {"hostname": wanted.hostname, "data": wanted.data, "store": wanted.store, "master_key": wanted.master_key}
    text = _TEXT.format(**facts) + "".join(_DOMAIN.format(name=name) for name in wanted.domains)
    parse(text, Path("/"))
    return text


def write_configuration(file: Path, text: str, service: Service) -> None:
    """A new file that root writes and the service reads. Raises FileExistsError, and other OSError."""
    _directory(file.parent, 0o750, -1, service.gid)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    with open(descriptor, "w", encoding="utf-8") as made:
        _give(descriptor, 0o640, -1, service.gid)
        made.write(text)
        made.flush()
        os.fsync(descriptor)


def make_directories(config: Config, service: Service) -> list[Path]:
    """The data directory and that of the anchors, where they are missing. Raises OSError."""
    wanted = ((config.node.data, 0o700, service.uid, service.gid), (config.trust.anchors, 0o755, -1, -1))
    return [path for path, mode, uid, gid in wanted if _directory(path, mode, uid, gid)]


def make_master_key(config: Config, service: Service) -> Path | None:
    """The new key's file; None when the key is there. Raises ConfigError when it is lost, or may not be used as it is."""
    reference = config.seal.master_key
    try:
        reference.read()
    except FileNotFoundError as error:
        if any(one.name != owner.LOST_FOUND for one in config.node.data.iterdir()):
            lost = message("setup.key-lost", secret=reference, why=of_system(error), path=config.node.data)
            raise ConfigError([("seal.master_key", lost)]) from None
    except OSError as error:
        raise ConfigError([("seal.master_key", message("at", place=reference, what=of_system(error)))]) from error
    else:
        return None
    by_systemd = reference.scheme == "credential"
    file = credentials.STORE / reference.name if by_systemd else Path(reference.name)
    _directory(file.parent, 0o700, -1, -1)
    write_master(file)
    if not by_systemd and service.uid != os.geteuid():
        os.chown(file, -1, service.gid)
        file.chmod(0o640)
    return file


def dns_records(config: Config) -> list[str]:
    """Lines of a zone file: MX for other operators, SRV for mail clients (RFC 6186, RFC 8314 5.1), autoconfig for Thunderbird."""
    host = config.node.hostname
    web = config.web is not None and any(listen.port == 443 for listen in config.web.listen)
    lines = [f"; {line}" for line in both(message("init.dns-host", host=host)).splitlines()]
    for domain in config.domain:
        if config.relay and any(listen.port == 25 for listen in config.relay.listen):
            lines.append(f"{domain.name}. IN MX 10 {host}.")
        lines += [f"_{service}._tcp.{domain.name}. IN SRV 0 1 {port} {host}." for service, port in _services(config)]
        lines.append(f"{'' if web else '; '}autoconfig.{domain.name}. IN CNAME {host}.")
    if not web:
        lines += [f"; {line}" for line in both(message("init.dns-web")).splitlines()]
    return lines


def _services(config: Config) -> Iterator[tuple[str, int]]:
    for name, listeners in (
        ("submissions", config.submission.listen_tls if config.submission else ()),
        ("submission", config.submission.listen if config.submission else ()),
        ("imaps", config.imap.listen_tls if config.imap else ()),
        ("imap", config.imap.listen if config.imap else ()),
    ):
        for port in sorted({listen.port for listen in listeners}):
            yield name, port


def _directory(path: Path, mode: int, uid: int, gid: int) -> bool:
    """Make it when it is missing. Returns whether it was."""
    if path.is_dir():
        return False
    for above in reversed([one for one in path.parents if not one.exists()]):
        above.mkdir()
        above.chmod(0o755)  # the service has to pass, whatever the umask
    path.mkdir()
    _give(path, mode, uid, gid)
    return True


def _give(what: Path | int, mode: int, uid: int, gid: int) -> None:
    if os.geteuid() == 0:
        os.chown(what, uid, gid)
    os.chmod(what, mode)
