"""A mail flow to back up beside: `python -m tests.backup.writer CONFIG`. Prints each message once the store has committed it."""

import asyncio
import sys
from pathlib import Path

from mssgw import store as store_package
from mssgw.core.address import Address
from mssgw.core.clock import SystemClock
from mssgw.core.config import load
from mssgw.store import accounts, mailboxes
from tests.store.messages import DOMAIN, inbox_of, new_message


async def main(path: Path) -> None:
    store = await store_package.open(load(path), SystemClock(), worker="writer")
    box = await inbox_of(store, await store.read(lambda rx: accounts.by_address(rx, Address("alice", DOMAIN))))
    for number in range(1000, 1_000_000):
        message = await new_message(store, number, size=300_000 if number % 5 == 0 else 400)
        await store.write(lambda tx, message=message: mailboxes.append(tx, box, message))
        sys.stdout.write(f"{message.content.blob}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
