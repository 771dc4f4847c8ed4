"""The demo's accounts: made in the operator's own store before its node starts."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mssgw import store
from mssgw.core.address import Address
from mssgw.core.clock import SystemClock
from mssgw.core.config import load
from mssgw.demo.cast import Account as Player
from mssgw.demo.cast import Operator
from mssgw.identity.passwords import hash_password
from mssgw.store import accounts
from mssgw.store.accounts import Kind, NewAccount, Role


def create(config_file: Path, operator: Operator, passwords: dict[str, str]) -> None:
    """Master key, schema, accounts and memberships. What exists already is left alone."""
    home = config_file.parent
    if not (home / "master.key").exists():
        descriptor = os.open(home / "master.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(32))
    config = load(config_file)
    store.migrate(config)
    asyncio.run(_fill(config_file, operator.accounts, passwords))


async def _fill(config_file: Path, players: tuple[Player, ...], passwords: dict[str, str]) -> None:
    opened = await store.open(load(config_file), SystemClock(), worker="demo")
    try:
        known = await opened.read(lambda rx: {str(account.address) for account in accounts.list_all(rx)})
        missing = [player for player in players if player.address not in known]
        with ThreadPoolExecutor() as pool:  # argon2 is slow on purpose and releases the interpreter
            secrets = [player.address for player in missing if player.address in passwords]
            hashes = dict(zip(secrets, pool.map(lambda address: hash_password(passwords[address]), secrets), strict=True))

        def add(tx: store.Transaction) -> None:
            ids = {str(account.address): account.id for account in accounts.list_all(tx)}
            for player in missing:
                new = NewAccount(
                    Address.parse(player.address),
                    kind=Kind(player.kind),
                    role=Role.ADMIN if player.role == "admin" else Role.USER,
                    display_name=f"{player.given} {player.surname}".strip(),
                    rpps=player.rpps or None,
                    password_hash=hashes.get(player.address),
                )
                ids[player.address] = accounts.add(tx, new).id
            for player in missing:
                for member in player.members:
                    accounts.add_member(tx, ids[player.address], ids[member])

        await opened.write(add)
    finally:
        await opened.close()
