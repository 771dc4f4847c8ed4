"""The connector's own store, opened under a key that comes from the node's master key."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dmp_connector.store import DmpStore, StoreKeys
from mssgw.cli.frame import failure
from mssgw.cli.opened import acting
from mssgw.core.config import Config
from mssgw.core.config.base import sqlite_file
from mssgw.core.errors import ConfigError

_LABEL = b"mssgw dmp store"  # HKDF info: no other key of the node comes out of this


def open_store(config: Config, path: Path) -> DmpStore:
    """The store of [dmp], sealed under the node's master key. Raises DmpError; ends the program without that key."""
    if config.dmp is None:
        raise failure(f"{path}: there is no [dmp] table")
    acting(config, make=True)
    try:
        master = config.seal.master_key.read()
    except OSError as error:
        said = error.strerror or str(error)
        raise failure(f"{path}: seal.master_key: {config.seal.master_key}: {said}; `mssgw seal new-key` makes a key") from error
    if len(master) < 32:
        raise failure(f"{path}: seal.master_key: {config.seal.master_key}: expected 32 octets, found {len(master)}")
    return DmpStore.open(_address(config, path), StoreKeys(HKDF(SHA256(), 32, None, _LABEL).derive(master)))


def _address(config: Config, path: Path) -> str:
    if config.dmp is None:
        raise AssertionError("asked for by open_store")
    file = sqlite_file(config.dmp.store, config.node.data)
    if file is None:
        return config.dmp.store
    if sentence := config.dmp.misplaced(config.node.data, path.parent.absolute()):
        raise ConfigError([("dmp.store", sentence)])
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"sqlite:{file}"
