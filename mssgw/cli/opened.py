"""The store of a configuration, opened for one verb, by the owner of its directory (core/owner.py).

A verb opens an existing store. When the store is missing it raises ConfigError and never makes a new one: an empty store
would pass `mssgw check`, and the loss would go unnoticed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from mssgw import store
from mssgw.cli.config import loaded
from mssgw.cli.frame import run
from mssgw.core import owner
from mssgw.core.clock import SystemClock
from mssgw.core.config import Config
from mssgw.store import Reader, Store, Transaction

T = TypeVar("T")


def acting(config: Config, *, make: bool = False) -> None:
    """From here on this process is the owner of `node.data`, with the secrets that only who called it could read.

    `make`: for verbs that make something where nothing is. Raises ConfigError.
    """
    if make:
        owner.make(config.node.data)
    if owner.differs(config.node.data):
        for _, secret in config.secrets():
            secret.hold()
    owner.become(config.node.data)


def with_store(config: Config, use: Callable[[Store], Awaitable[T]], *, make: bool = False) -> T:
    """`make` it, or bring it to the present schema, first: for the verb a new installation begins with."""
    acting(config, make=make)
    if make:
        store.migrate(config)

    async def work() -> T:
        opened = await store.open(config, SystemClock(), worker="cli")
        try:
            return await use(opened)
        finally:
            await opened.close()

    return run(work())


def writing(path: Path, function: Callable[[Transaction], T]) -> T:
    """One transaction, durable when this returns."""
    return with_store(loaded(path), lambda opened: opened.write(function))


def reading(path: Path, function: Callable[[Reader], T]) -> T:
    return with_store(loaded(path), lambda opened: opened.read(function))
