"""The keys of the domains: random, one row of `domain_key` each, wrapped by the master key of `seal.master_key`.

A key is made with the first content of its domain and never changes. Each process opens what it finds at its start,
and again when it meets a key that another process made since. The row of the empty domain seals nothing: it is there
from the first start on, so that every later start recognises its master key before anything is sealed with another.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from mssgw.core.address import Domain
from mssgw.core.config.base import Secret
from mssgw.core.errors import ConfigError
from mssgw.observe import Event, log
from mssgw.store import schema
from mssgw.store.engine import Reader, Readers, Transaction, Writer
from mssgw.store.seal import KEY_OCTETS, MasterKey, Seal, SealBroken

_PROBE = Domain("")
_table = schema.domain_key.c
_ALL = sa.select(_table.id, _table.domain, _table.wrapped)


def read_master(reference: Secret, data: Path, *, in_use: bool) -> MasterKey:
    """The master key; `data`: of the node; `in_use` when it has sealed something already, and only that one helps. Raises ConfigError."""
    try:
        master = MasterKey(reference.read())
    except (OSError, ValueError) as error:
        said = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        remedy = "this store is sealed: restore the key from its copy" if in_use else "`mssgw seal new-key` makes a key"
        raise ConfigError([("seal.master_key", f"{reference}: {said}; {remedy}")]) from error
    if exposure := reference.exposure(data):
        log(Event.KEY_EXPOSED, "warning", setting="seal.master_key", reason=exposure)
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
                raise ConfigError([("seal.master_key", "this is not the key that seals this store; put the right one back")]) from None


def ensure(tx: Transaction, domain: Domain) -> None:
    """Make the domain's key unless it is there. Not opened here: the transaction may still be rolled back, and the number with it."""
    wrapped = tx.context.master.wrap(domain, os.urandom(KEY_OCTETS))
    tx.run(schema.insert_new(tx.dialect, schema.domain_key), {"domain": domain, "wrapped": wrapped, "created": tx.now})


def is_of(master: MasterKey, probe: bytes) -> bool:
    """Whether a probe that was kept elsewhere, in a backup, was wrapped by this master key."""
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
