"""The keys of the domains: random, one row of `domain_key` each, wrapped by the master key of `seal.master_key`.

A key is made with the first content of its domain and never changes. Each process opens what it finds at its start,
and again when it meets a key that another process made since. The row of the empty domain seals nothing: it is there
from the first start on, so that every later start recognises its master key before anything is sealed with another.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mssgw.core.address import Domain
from mssgw.core.config.base import Secret
from mssgw.core.config.node import Seal as SealSettings
from mssgw.core.errors import ConfigError, Deferred, Mistake
from mssgw.core.texts import message, of_system
from mssgw.observe import Event, log
from mssgw.store import schema
from mssgw.store.engine import Reader, Readers, Transaction, Writer
from mssgw.store.seal import KEY_OCTETS, MasterKey, MasterKeys, Seal, SealBroken

_PROBE = Domain("")
_table = schema.domain_key.c
_ALL = sa.select(_table.id, _table.domain, _table.wrapped)
# With a share of the row's lock: a key is not made while the store changes its master key.
_PROBE_ROW = sa.select(_table.wrapped).where(_table.domain == _PROBE).with_for_update(read=True)


def not_ours(setting: str = "master_key") -> ConfigError:
    return ConfigError([(f"seal.{setting}", message("seal.not-ours"))])


def read_masters(settings: SealSettings, data: Path, *, in_use: bool) -> MasterKeys:
    """The master keys; `data`: of the node; `in_use` when one has sealed something already, and only that one helps. Raises ConfigError."""
    current = _read("master_key", settings.master_key, data, in_use=in_use)
    return MasterKeys(current, _read("former_key", settings.former_key, data, in_use=True) if settings.former_key else None)


def _read(setting: str, reference: Secret, data: Path, *, in_use: bool) -> MasterKey:
    try:
        master = MasterKey(reference.read())
    except PermissionError as error:  # it is there: another key, from a copy or new, would not help
        raise ConfigError([(f"seal.{setting}", message("at", place=reference, what=of_system(error)))]) from error
    except (OSError, Mistake) as error:
        why = of_system(error) if isinstance(error, OSError) else error.message
        said = message("seal.restore-key" if in_use else "seal.key-wrong", secret=reference, why=why)
        raise ConfigError([(f"seal.{setting}", said)]) from error
    if exposure := reference.exposure(data):
        log(Event.KEY_EXPOSED, "warning", setting=f"seal.{setting}", reason=exposure)
    return master


def write_master(file: Path) -> None:
    """A new master key, 0600. Raises FileExistsError (a key is never overwritten) and other OSError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as made:
        made.write(os.urandom(KEY_OCTETS))
        made.flush()
        os.fsync(descriptor)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def load(rx: Reader) -> None:
    """Open every key of the store that this process has not opened yet. Raises ConfigError: another master key wrapped it."""
    seal, master = rx.context.seal, rx.context.master
    for number, domain, wrapped in rx.raw(_ALL):
        if not seal.has(number):
            try:
                seal.add(number, Domain(domain), master.unwrap(domain, wrapped))
            except SealBroken:
                raise not_ours() from None


def ensure(tx: Transaction, domain: Domain) -> None:
    """Make the domain's key unless it is there. Not opened here: the transaction may still be rolled back, and the number with it.

    It is wrapped by the key that the store is under, which changes for all rows at once (`rotation.rotate`). Raises Deferred when this
    process does not have that key yet: it was rotated, and this process was not reloaded since.
    """
    wrapped = _in_force(tx).wrap(domain, os.urandom(KEY_OCTETS))
    tx.run(schema.insert_new(tx.dialect, schema.domain_key), {"domain": domain, "wrapped": wrapped, "created": tx.now})


def _in_force(tx: Transaction) -> MasterKey:
    probe = tx.raw(_PROBE_ROW)
    try:
        return tx.context.master.that_wrapped(_PROBE, probe[0][0]) if probe else tx.context.master.current
    except SealBroken as error:
        raise Deferred(detail="seal.master_key: the store is under another key; reload the node") from error


def require_ours(rx: Reader, masters: MasterKeys) -> None:
    """Raises ConfigError: none of these keys opens every key of the store."""
    _require_all(rx.raw(_ALL), masters)


def require_ours_before(connection: sa.Connection, masters: MasterKeys) -> None:
    """The same before a store is opened, for `config check` and the start of a node."""
    _require_all(connection.execute(_ALL), masters)


def _require_all(rows: Iterable[Any], masters: MasterKeys) -> None:
    for _, domain, wrapped in rows:
        try:
            masters.that_wrapped(domain, wrapped)
        except SealBroken:
            raise not_ours() from None


def is_of(master: MasterKeys, probe: bytes) -> bool:
    """Whether a probe that was kept elsewhere, in a backup, was wrapped by one of these master keys."""
    try:
        master.unwrap(_PROBE, probe)
    except SealBroken:
        return False
    return True


async def make(writer: Writer, readers: Readers, domain: Domain) -> None:
    """Make sure that the domain has a key, here and in the store. Raises Deferred."""
    await writer.write(partial(ensure, domain=domain))
    await readers.read(load)


async def recognise(writer: Writer, readers: Readers, seal: Seal) -> None:
    """Open the keys that are there, and leave one by which the next start recognises the master key. Raises ConfigError, Deferred."""
    await readers.read(load)
    if not seal.knows(_PROBE):
        await make(writer, readers, _PROBE)
