"""Checks that the databases of a configuration answer: a part of `mssgw config check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from mssgw.core.address import Address
from mssgw.core.clock import SystemClock
from mssgw.core.config import Config
from mssgw.core.errors import ConfigError, Problem
from mssgw.core.texts import message
from mssgw.store import accounts, bond, database, keys
from mssgw.store.engine import Context, Reader
from mssgw.store.migration import current, missing, require_known, require_restored, without_tables
from mssgw.store.seal import Seal


def require_answer(config: Config) -> None:
    """Connect to both stores and change nothing; a DMP store may not exist yet. Raises ConfigError with all problems."""
    require_restored(config.node.data)
    problems: list[Problem] = []
    for setting, store in [("node.store", config.node.store), *([("dmp.store", config.dmp.store)] if config.dmp else [])]:
        try:
            _ask(database.address(setting, store, config.node.data), config if setting == "node.store" else None)
        except ConfigError as error:
            problems += [(at if at.startswith("seal.") else setting, sentence) for at, sentence in error.problems]
        except sa.exc.OperationalError as error:
            said = str(error.orig).strip().partition("\n")[0]
            problems.append((setting, message("store.silent", why=said)))
        except sa.exc.DBAPIError as error:
            problems.append((setting, message("store.no-database", why=str(error.orig).strip())))
    if problems:
        raise ConfigError(problems)


def require_own(config: Config) -> None:
    """The mail store is there, is that of the data directory, and opens with the master key of the configuration. Raises ConfigError."""
    _ask(database.url_of(config), config)


def unknown_accounts(config: Config, named: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Those of the addresses, each under its setting, that are no account's; none while there is no store. Raises ConfigError."""
    for rx in _reading(config) if named else ():
        for setting, address in named.items():
            if accounts.by_address(rx, Address.parse(address)) is None:
                yield setting, address


def _reading(config: Config) -> Iterator[Reader]:
    """The mail store once, as it is; nothing while there is none. Raises ConfigError."""
    url = database.url_of(config)
    if missing(url):
        return
    masters = keys.read_masters(config.seal, config.node.data, in_use=True)
    engine = database.connect_reader(url)
    try:
        with database.opening(), engine.connect() as connection:
            if current(connection) is not None:
                yield Reader(connection, Context(SystemClock(), masters, Seal(), config.limits, "check"))
    finally:
        engine.dispose()


def accounts_elsewhere(config: Config) -> dict[str, int]:
    """The domains that have accounts and are not in the configuration, with their number. Raises ConfigError."""
    served = {str(one.name) for one in config.domain}
    counted: dict[str, int] = {}
    for rx in _reading(config):
        for one in accounts.list_all(rx):
            if str(one.address.domain) not in served:
                counted[str(one.address.domain)] = counted.get(str(one.address.domain), 0) + 1
    return counted


def _ask(url: sa.URL, config: Config | None) -> None:
    """`config`: of the node whose mail store this is; None for a store that is not ours to judge."""
    if absent := missing(url):
        if config:
            bond.require_there(absent, config.node.data)
        return
    engine = database.connect_reader(url)
    try:
        with engine.connect() as connection:
            found = current(connection) if config else None
            connection.execute(sa.text("SELECT 1"))
            if config:
                if found is None:
                    bond.require_there(without_tables(connection), config.node.data)
                require_known(found)
                bond.require(connection, config.node.data)
                keys.require_ours_before(connection, keys.read_masters(config.seal, config.node.data, in_use=True))
    finally:
        engine.dispose()
