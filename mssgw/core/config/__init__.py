"""Config: one TOML file as frozen values; all mistakes at once, each with its path.

`load` reads the file, validates every top-level table by itself, resolves relative paths against the
file's directory, checks whether tables contradict each other, and raises ConfigError with everything
that is wrong. Secrets stand in the file by reference (`file:`, `credential:`) and are read by
`Secret.read` when they are needed; `show` prints references, never the secrets.

A setting is a field; its sentence is the field's `Meta(description=...)`. `config/mssgw.toml` is
generated from these (`python -m mssgw.core.config.reference`), and a test compares.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mssgw.core.address import Address, AddressError, Domain
from mssgw.core.config.base import BASE_DIR, Listen, Mistakes, Secret, Settings, decode_hook
from mssgw.core.config.clients import Clients, Imap, Submission
from mssgw.core.config.dmp import Dmp, DmpActor
from mssgw.core.config.domain import DomainSettings, Route
from mssgw.core.config.exchange import Exchange
from mssgw.core.config.ldap import Ldap
from mssgw.core.config.node import Limits, Metrics, Node, Seal, Web
from mssgw.core.config.queue import Queue
from mssgw.core.config.relay import Hospital, Relay
from mssgw.core.config.smime import Smime
from mssgw.core.config.trust import Trust
from mssgw.core.config.validation import of_validation
from mssgw.core.errors import ConfigError, Problem
from mssgw.core.texts import message, of_system

__all__ = ["Config", "ConfigError", "DomainSettings", "Listen", "Secret", "Settings", "load", "parse"]


class Config(Settings, frozen=True):
    node: Annotated[Node, Meta(description="This machine: its name, its data, its processes.")]
    seal: Annotated[Seal, Meta(description="The master key that protects the keys of the message bodies.")]
    trust: Annotated[Trust, Meta(description="The trust space: signed whitelist, anchors, revocation.")]
    relay: Annotated[Relay | None, Meta(description="Port 25: other MSSanté operators, by mutual TLS.")] = None
    hospital: Annotated[Hospital | None, Meta(description="The port where the hospital's own relay hands over its mail.")] = None
    clients: Annotated[Clients | None, Meta(description="The certificate shown to mail clients, and how they log in.")] = None
    submission: Annotated[Submission | None, Meta(description="Ports 587 and 465: mail clients send.")] = None
    imap: Annotated[Imap | None, Meta(description="Ports 143 and 993: mail clients read.")] = None
    web: Annotated[Web | None, Meta(description="The web interface.")] = None
    metrics: Annotated[Metrics | None, Meta(description="Where Prometheus reads the metrics. Loopback only, no authentication.")] = None
    limits: Annotated[Limits, Meta(description="Limits: what is beyond them is refused or deferred.")] = msgspec.field(
        default_factory=Limits
    )
    queue: Annotated[Queue, Meta(description="The outbound queue: retries, delays, bounces.")] = msgspec.field(default_factory=Queue)
    smime: Annotated[Smime, Meta(description="Signing, encrypting, verifying, decrypting.")] = msgspec.field(default_factory=Smime)
    ldap: Annotated[tuple[Ldap, ...], Meta(description="A directory with recipients' certificates, asked over LDAP.")] = ()
    domain: Annotated[tuple[DomainSettings, ...], Meta(description="A mail domain that lives here. At least one.")] = ()
    route: Annotated[tuple[Route, ...], Meta(description="A static route, instead of the MX records of a domain.")] = ()

    dmp: Annotated[Dmp | None, Meta(description="The DMP connector: the national patient record.")] = None
    exchange: Annotated[Exchange, Meta(description="Documents of the DMP in mail.")] = msgspec.field(default_factory=Exchange)
    dmp_actor: Annotated[tuple[DmpActor, ...], Meta(description="A person who acts in the DMP from here.")] = ()

    def domain_named(self, name: Domain) -> DomainSettings | None:
        return next((domain for domain in self.domain if domain.name == name), None)

    def secrets(self) -> list[tuple[str, Secret]]:
        """Every reference to a secret, with its path in the file."""
        return list(_secrets(self, ""))


def _secrets(value: Any, path: str) -> Iterator[tuple[str, Secret]]:
    if isinstance(value, Secret):
        yield path, value
    elif isinstance(value, Settings):
        for name in value.__struct_fields__:
            yield from _secrets(getattr(value, name), f"{path}.{name}" if path else name)
    elif isinstance(value, tuple):
        for index, one in enumerate(value):
            yield from _secrets(one, f"{path}[{index}]")


def load(path: Path) -> Config:
    """Read and check the file. Raises ConfigError with every mistake found; its caller names the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([("", of_system(error))]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([("", message("config.not-utf8", octet=error.start))]) from error
    return parse(text, path.parent.absolute())


def parse(text: str, base: Path) -> Config:
    """Check the text of a configuration whose relative paths start at `base`. Raises ConfigError."""
    try:
        tables = tomllib.loads(text.removeprefix("\N{BYTE ORDER MARK}"))  # as Windows Notepad saves UTF-8
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([("", message("config.not-toml", why=str(error)))]) from error
    token = BASE_DIR.set(base)
    try:
        problems: list[Problem] = []
        values = {name: _table(name, given, problems) for name, given in tables.items()}
        _required(tables, problems)
        if problems:
            raise ConfigError(problems)
        config = Config(**values)
    finally:
        BASE_DIR.reset(token)
    if problems := list(_across(config)):
        raise ConfigError(problems)
    return config


_ROWS: dict[str, type[Settings]] = {"domain": DomainSettings, "route": Route, "ldap": Ldap, "dmp_actor": DmpActor}
_FIELDS = {field.name: field for field in msgspec.structs.fields(Config)}


def _table(name: str, given: Any, problems: list[Problem]) -> Any:
    if name not in _FIELDS:
        problems.append((name, message("config.no-table")))
        return None
    kind = _FIELDS[name].type
    if name in _ROWS and isinstance(given, list):
        item = _ROWS[name]
        return tuple(_convert(f"{name}[{index}]", one, item, problems) for index, one in enumerate(given))
    return _convert(name, given, kind, problems)


def _convert(path: str, given: Any, kind: Any, problems: list[Problem]) -> Any:
    """Convert; when it fails, take the wrong value out and convert again, so that all mistakes are found."""
    removed: set[str] = set()
    for _ in range(64):
        try:
            return msgspec.convert(given, kind, dec_hook=decode_hook)
        except msgspec.ValidationError as error:
            sentence, _, where = str(error).partition(" - at `$")
            where = where.rstrip("`")
            if isinstance(error.__cause__, Mistakes):  # what was taken out is reported already, and missing only because of that
                problems += [
                    (f"{path}{where}.{name}", told)
                    for name, told in error.__cause__.problems
                    if not any(gone.strip(".") in re.findall(r"\w+", f"{name} {told}") for gone in removed)
                ]
                return None
            if "missing required field" in sentence:
                problems += [
                    (f"{path}{where}.{name}", message("config.required"))
                    for name in _missing(kind, given, _steps(where))
                    if f"{where}.{name}" not in removed
                ]
                return None
            if "unknown field" in sentence:
                culprit = sentence.split("`")[1] if "`" in sentence else ""
                problems.append((f"{path}{where}.{culprit}", message("config.no-setting")))
                if not _remove(given, [*_steps(where), culprit]):
                    return None
            else:
                problems.append((f"{path}{where}", of_validation(error, sentence, _choices(kind, _steps(where)))))
                removed.add(where.partition("[")[0])
                if not _remove(given, _steps(where)):
                    return None
    return None


def _inside(kind: Any, steps: list[str | int]) -> Any:
    """The type of a setting as msgspec describes it."""
    found: Any = msgspec.inspect.type_info(kind)
    for step in [*steps, None]:
        while isinstance(found, msgspec.inspect.Metadata | msgspec.inspect.UnionType):
            found = (
                found.type
                if isinstance(found, msgspec.inspect.Metadata)
                else next(one for one in found.types if not isinstance(one, msgspec.inspect.NoneType))
            )
        if isinstance(found, msgspec.inspect.StructType) and isinstance(step, str):
            found = next((field.type for field in found.fields if field.encode_name == step), None)
        elif isinstance(found, msgspec.inspect.VarTupleType) and step is not None:
            found = found.item_type
    return found


def _choices(kind: Any, steps: list[str | int]) -> tuple[str, ...]:
    """The words that a setting may have, where it has a few: msgspec names only the wrong one."""
    found = _inside(kind, steps)
    return tuple(map(str, found.values)) if isinstance(found, msgspec.inspect.LiteralType) else ()


def _missing(kind: Any, given: Any, steps: list[str | int]) -> list[str]:
    found = _inside(kind, steps)
    for step in steps:
        given = given[step]
    return [field.encode_name for field in found.fields if field.required and field.encode_name not in given]


def _steps(where: str) -> list[str | int]:
    steps: list[str | int] = []
    for part in where.replace("[", ".[").split("."):
        if part.startswith("["):
            steps.append(int(part[1:-1]) if part[1:-1].isdigit() else part[1:-1])
        elif part:
            steps.append(part)
    return steps


def _remove(given: Any, steps: list[str | int]) -> bool:
    """Drop the wrong value (or the whole list it stands in). Returns whether there was something to drop."""
    while steps and isinstance(steps[-1], int):
        steps = steps[:-1]
    try:
        for step in steps[:-1]:
            given = given[step]
        del given[steps[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _required(tables: dict[str, Any], problems: list[Problem]) -> None:
    problems.extend((name, message("config.table-required")) for name in ("node", "seal", "trust") if name not in tables)
    if not tables.get("domain"):
        problems.append(("domain", message("config.domain-required")))


def _across(config: Config) -> Iterator[Problem]:
    """Contradictions between tables."""
    seen: set[Domain] = set()
    for index, domain in enumerate(config.domain):
        if domain.name in seen:
            yield f"domain[{index}].name", message("config.twice", name=domain.name)
        seen.add(domain.name)
    for index, route in enumerate(config.route):
        if route.domain in seen:
            yield f"route[{index}].domain", message("config.route-here", name=route.domain)
    yield from _mailboxes(config, seen)
    if (config.submission or config.imap) and config.clients is None:
        yield "clients", message("config.clients-required")
    if config.hospital and not config.hospital.networks:
        yield "hospital.networks", message("config.hospital-networks")
    if config.dmp_actor and config.dmp is None:
        yield "dmp", message("config.dmp-required")
    if config.dmp and (config.dmp.certificate is None) != (config.dmp.key is None):
        yield "dmp.key", message("config.together", one="certificate", other="key")
    for index, actor in enumerate(config.dmp_actor):
        if (actor.certificate is None) != (actor.key is None):
            yield f"dmp_actor[{index}].key", message("config.together", one="certificate", other="key")
        if actor.key is None and actor.authentication != "card":
            yield f"dmp_actor[{index}].key", message("config.card-only")
    listeners: dict[Listen, str] = {}
    for path, listen in _listeners(config):
        if listen in listeners:
            yield path, message("config.taken", listen=listen, other=listeners[listen])
        listeners[listen] = path


def _mailboxes(config: Config, here: Collection[Domain]) -> Iterator[Problem]:
    """Mail for them is kept here: nothing is ever forwarded to another domain."""
    named = [("node.postmaster", config.node.postmaster)]
    named += [(f"domain[{index}].catch_all", domain.catch_all) for index, domain in enumerate(config.domain)]
    for where, text in named:
        if text:
            try:
                address = Address.parse(text)
            except AddressError as error:
                yield where, message("at", place=text, what=error.message)
            else:
                if address.domain not in here:
                    yield where, message("config.mailbox-elsewhere", address=address, domains=tuple(sorted(here)))


def _listeners(config: Config) -> Any:
    for table in ("relay", "hospital", "submission", "imap", "web", "metrics"):
        if settings := getattr(config, table):
            for field in ("listen", "listen_tls"):
                for listen in getattr(settings, field, ()):
                    yield f"{table}.{field}", listen
