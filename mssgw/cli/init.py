"""`mssgw init`: the first configuration of a node, its key, its DNS records, and what is still missing."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from mssgw.cli.config import as_json, loaded, refused
from mssgw.cli.frame import Json, at, both, failure, output, say, warn
from mssgw.cli.judgement import judged
from mssgw.cli.opened import reading
from mssgw.cli.prompts import asked
from mssgw.core import owner
from mssgw.core.config import Config
from mssgw.core.errors import ConfigError, Deferred, Problem, located
from mssgw.core.texts import Message, message
from mssgw.node import setup
from mssgw.node.setup import CREDENTIAL, Service, Wanted
from mssgw.store import accounts

PLACE = Path("/etc/mssgw/mssgw.toml")
DATA = Path("/var/lib/mssgw")


def init(
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="FILE", envvar="MSSGW_CONFIG", help="The configuration to write.")
    ] = PLACE,
    hostname: Annotated[
        str, typer.Option(help="The name of this machine in the DNS and in its certificate; asked for when not given.")
    ] = "",
    domain: Annotated[list[str] | None, typer.Option(help="A mail domain that lives here; repeat. Asked for when not given.")] = None,
    store: Annotated[str, typer.Option(help="sqlite:PATH below the data, or postgresql://user@host/database.")] = "sqlite:store.db",
    data: Annotated[Path, typer.Option(metavar="DIR", help="What the node keeps.")] = DATA,
    master_key: Annotated[
        str, typer.Option(metavar="SECRET", help="credential:NAME (systemd; the default for root) or file:PATH (else).")
    ] = "",
    user: Annotated[str, typer.Option(help="Whom the node runs as; default: the user of the installed unit, else mssgw.")] = "",
    json: Json = False,
) -> None:
    """Write a small configuration, make the directories and the master key, print the DNS records and what is missing.

    Nothing that is there is changed: run it again to see what is still missing.
    """
    wanted = None if config.exists() else _wanted(hostname, domain, store, data, master_key)
    if wanted:
        _require_place(config, data)
    service = Service.named(user) if user else Service.here()
    made = [_written(config, wanted, service)] if wanted else []
    settings = loaded(config)
    if not made:
        _tell_differences(config, settings, hostname, domain)
    made += setup.make_directories(settings, service)
    if key := setup.make_master_key(settings, service):
        made.append(key)
    records = setup.dns_records(settings)
    missing, warnings = judged(settings, config)
    if not _has_accounts(config):
        if wanted:  # a new configuration: the first account makes the store
            missing = [one for one in missing if one[1].key != "store.make"]
        missing = [*missing, ("", message("init.no-account"))]
    document = {
        "config": str(config),
        "made": [str(one) for one in made],
        "dns": records,
        "missing": as_json(missing),
        "warnings": as_json(warnings),
    }
    output(_told(made, key, records, [*missing, *warnings]), json=json, document=document)


def _require_place(config: Path, data: Path) -> None:
    """Before anything is written: the data can be kept there. Raises the end of the program."""
    file, place = Path(os.path.abspath(config)), Path(os.path.abspath(config.parent / data))
    if place == file or file in place.parents:
        raise failure(at(config, say("init.data-is-file", data=place)), fault="configuration")
    if not place.is_dir() and (wrong := [at(config, located("node.data", one)) for one in owner.problems(place)]):
        raise failure(*wrong, fault="configuration")


def _wanted(hostname: str, domains: list[str] | None, store: str, data: Path, master_key: str) -> Wanted:
    """What was given; the rest is asked for at a terminal."""
    hostname = hostname or _asked("--hostname", say("init.ask.hostname"), socket.getfqdn())
    found = tuple(domains or ()) or (_asked("--domain", say("init.ask.domain"), hostname.partition(".")[2]),)
    default = f"credential:{CREDENTIAL}" if Service.is_root() else "file:master.key"
    return Wanted(hostname, found, store, data, master_key or default)


def _asked(option: str, question: Message, default: str) -> str:
    return asked(question, default if "." in default else "", option)


def _written(file: Path, wanted: Wanted, service: Service) -> Path:
    """Raises the end of the program, with every answer that can't stand in a configuration."""
    try:
        setup.write_configuration(file, setup.text_of(wanted), service)
    except ConfigError as error:
        raise refused(file, error.problems) from error
    return file


def _tell_differences(file: Path, settings: Config, hostname: str, domains: list[str] | None) -> None:
    """What was asked for and stands otherwise in the file, which stays as it is."""
    if hostname and hostname != settings.node.hostname:
        warn(say("init.stays", file=file, name="node.hostname", value=settings.node.hostname))
    known = {str(one.name) for one in settings.domain}
    for name in domains or ():
        if name not in known:
            warn(say("init.stays", file=file, name="domain.name", value=", ".join(sorted(known))))


def _has_accounts(file: Path) -> bool:
    try:
        return bool(reading(file, accounts.list_all))
    except (ConfigError, Deferred):  # no store yet; what else is wrong with it is told with the mistakes
        return False


def _told(made: list[Path], key: Path | None, records: list[str], missing: list[Problem]) -> str:
    parts = [both(say("init.made", path=one)) for one in made]
    if key:
        parts.append(both(say("init.key", path=key)))
    parts += ["", both(say("init.dns")), "", *records, ""]
    parts.append(both(say("init.missing")) if missing else both(say("init.complete")))
    parts += [f"  {line}" for line in both(*(located(*one) for one in missing)).splitlines()]
    return "\n".join(parts)
